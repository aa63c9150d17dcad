"""Training what a plan asks for: scheduler, worker processes, the fleets that they train."""
