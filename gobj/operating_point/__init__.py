"""From scores to a decision: thresholds of a sample, with and without a guarantee."""

from gobj.operating_point.certificate import Certificate, certify, explain
from gobj.operating_point.fit import OperatingPoint, fit_threshold, fit_threshold_to_curve
from gobj.operating_point.shift import Shift, adjust_threshold

__all__ = [
    "Certificate",
    "OperatingPoint",
    "Shift",
    "adjust_threshold",
    "certify",
    "explain",
    "fit_threshold",
    "fit_threshold_to_curve",
]
