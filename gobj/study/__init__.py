"""The study behind ``python -m gobj``: would an objective help on a table? Needs an extra."""
