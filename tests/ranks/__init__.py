"""Losses over several processes of this machine."""
