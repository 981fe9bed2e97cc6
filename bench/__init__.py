"""Benchmarks: each module starts its own cluster, prints one table and can write it as JSON."""
