"""The command line, and what `import synthbench` offers."""
