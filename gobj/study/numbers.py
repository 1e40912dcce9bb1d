"""Numbers as a reader wants them: as many digits as they deserve."""

import math

from gobj.study.measures import Estimate


def written(value: float, digits: int = 3) -> str:
    """Write a rate with three decimals, and a small one with two significant digits."""
    if value and abs(value) < 0.01:
        digits = max(digits, 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 8)}f}"


def interval(found: Estimate) -> tuple[float, float]:
    """Return the interval of a rate, which stays in [0, 1]."""
    return max(found.mean - found.half_width, 0.0), min(found.mean + found.half_width, 1.0)
