"""Benchmarks against the peers: `python -m benchmarks` checks, measures and writes the tables."""
