"""Where own cards and code start: commented files that work at once, and the schemas that editors complete cards by."""
