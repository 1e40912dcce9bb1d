"""The constrained objectives; one module each: its forms, its function and its module."""
