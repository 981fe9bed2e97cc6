"""Developer tools: what the Makefile runs, importable by tests and benchmarks."""
