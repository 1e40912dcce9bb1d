"""Tests of gobj.metrics."""
