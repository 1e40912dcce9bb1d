"""Dual rules: how multiplier and threshold follow the batches; one module a rule."""
