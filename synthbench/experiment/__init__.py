"""Experiments: what to run next, running it, observing it, keeping it."""
