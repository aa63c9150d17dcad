"""Results in a folder: runs, observations, weights, and the leases of processes that work on them."""
