"""The native path: forward, backward and optimizers of a fleet in C++. Importing it imports no torch."""
