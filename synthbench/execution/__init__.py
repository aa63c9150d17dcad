"""Training what a plan asks for: the scheduler, worker processes, and the fleets that they train."""
