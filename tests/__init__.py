"""Tests of gobj."""
