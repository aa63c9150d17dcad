"""Fleets of compact transformers. Knows no task: it sees token tensors, masks and per-run hyperparameters."""
