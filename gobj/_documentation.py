"""What the constrained objectives have in common, said once and set into each docstring."""

from collections.abc import Callable
from textwrap import indent
from typing import TypeVar

Documented = TypeVar("Documented", bound=Callable[..., object])

OPEN_UNIT = "a number in (0, 1) or a tensor that broadcasts to ``[*labels]``."

BATCH = """\
logits: Scores of the examples, shape ``[n, *labels]``; any floating dtype, computed in float32 or
    wider.
labels: 0 or 1 (boolean, integer or float; positive where above 0), shape of the logits.
state: What came back from the previous batch, or :func:`gobj.init_state` before the first."""

OPTIONS = """\
weights: At or above 0, scalar, ``[n]`` or up to ``[n, *labels]``; 1 by default. They count in cost
    and constraint alike; only their ratios matter. An example with weight 0, such as a missing
    label, is as if absent, even where it is NaN.
surrogate: Upper bound of the indicator of an error; by default the rule's own.
rule: How multiplier and threshold follow the batches; the one that ``state`` was made for, or
    :class:`gobj.FrozenDual`.
label_priors: Share of positives in the constant term, in [0, 1], broadcasts to ``[*labels]``; by
    default the batch's own.
reduction: ``"mean"`` over labels of the weighted average over examples, ``"none"`` for a loss per
    example with that mean and the logits' shape, ``"sum"`` for the sum of those."""

OUTCOME = """\
Returns:
    The loss, which differentiates with respect to the logits alone, and the state for the next
    batch, detached. An example is called positive where ``logit > state.threshold``. A batch that
    is empty, has no weight or gives a loss that is not finite leaves the state as it was.

Raises:
    ValueError: If a shape, a dtype, the state or the target is not as above.
"""

POSED = """\
Returns:
    The pair of linear forms, cost and constraint, over joint rates.

Raises:
    ValueError: If the target is a number outside (0, 1).
"""

PAPER = """\
References:
    Eban et al., `Scalable Learning of Non-Decomposable Objectives
    <https://arxiv.org/abs/1608.04802>`_, AISTATS 2017.
"""

PARTS = {
    "{open_unit}": OPEN_UNIT,
    "{batch}": indent(BATCH, " " * 8).lstrip(),
    "{options}": indent(OPTIONS, " " * 8).lstrip(),
    "{outcome}": indent(OUTCOME, " " * 4).strip(),
    "{posed}": indent(POSED, " " * 4).strip(),
    "{paper}": indent(PAPER, " " * 4).strip(),
}


def documented(function: Documented) -> Documented:
    """Set the shared parts of a docstring in the place of their names."""
    for name, text in PARTS.items():
        if function.__doc__ is not None:  # absent under python -OO
            function.__doc__ = function.__doc__.replace(name, text)
    return function
