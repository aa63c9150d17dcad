"""The ways in: the command line, and what `import synthbench` gives."""
