"""synthbench: what an optimizer makes a language model learn, and what it makes the model forget."""

__version__ = "0.1.0"
