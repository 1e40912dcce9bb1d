"""Streaming ROC and precision-recall curves with explicit state, exact or in constant memory."""

from gobj.metrics._buffer import ScoreBuffer
from gobj.metrics._curve import Curve
from gobj.metrics._grid import ScoreGrid
from gobj.metrics._reading import curve_compute, curve_points
from gobj.metrics._streaming import CurveState, curve_init, curve_merge, curve_update

__all__ = [
    "Curve",
    "CurveState",
    "ScoreBuffer",
    "ScoreGrid",
    "curve_compute",
    "curve_init",
    "curve_merge",
    "curve_points",
    "curve_update",
]
