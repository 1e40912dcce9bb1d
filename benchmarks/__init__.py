"""Benchmarks: what the losses cost, and what they are worth."""
