"""Planning: the runs of an experiment, what can run next, and what it costs. Trains nothing."""
