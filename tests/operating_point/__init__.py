"""Thresholds for new data."""
