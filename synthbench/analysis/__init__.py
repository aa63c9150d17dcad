"""Numbers made of results: rows, intervals, tests, verdicts. No words."""
