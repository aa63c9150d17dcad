"""Tables, sentences, figures and exports, made of numbers from `analysis`. Trains nothing."""
