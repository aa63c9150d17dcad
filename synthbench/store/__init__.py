"""Results in a folder: runs, observations, weights, and who is at work on them."""
