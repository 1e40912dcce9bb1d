"""The docstrings of objectives: what they have in common is said once and set into each."""

import inspect
from collections.abc import Callable
from textwrap import fill, indent
from typing import TypeVar

Documented = TypeVar("Documented", bound=Callable[..., object])

TARGET = """a number in (0, 1), or a tensor that broadcasts to ``[*labels]``, whose values are not
    checked."""

ARGUMENTS = {
    "logits": """Scores of the examples, shape ``[n, *labels]``; any floating dtype, computed in
    float32 or wider.""",
    "labels": "0 or 1 (boolean, integer or float; positive where above 0), shape of the logits.",
    "state": "What came back from the batch before; :func:`gobj.init_state` makes the first.",
    "precision_range": "Precisions that the anchors lie between, two numbers in [0, 1].",
    "fpr_range": "False positive rates that the anchors lie between, two numbers in [0, 1].",
    "tpr_range": "True positive rates between which area counts, two numbers in [0, 1].",
    "weights": """At or above 0, scalar, ``[n]`` or up to ``[n, *labels]``; 1 by default. They count
    in cost and constraint alike, and only their ratios matter. An example with weight 0, such as a
    missing label, is as if absent, even where it is NaN.""",
    "surrogate": "Upper bound of the indicator of an error; by default the rule's own.",
    "rule": """How multiplier and threshold follow the batches: the rule that ``state`` was made
    for, or :class:`gobj.FrozenDual`.""",
    "label_priors": """Share of positives in the constant term, in [0, 1], broadcasts to
    ``[*labels]``; by default the batch's own.""",
    "reduction": """``"mean"`` over labels of the weighted average over examples, ``"none"`` for a
    loss per example with that mean and the logits' shape, ``"sum"`` for the sum of those.""",
}

LOSS = """\
Returns:
    The loss, which differentiates with respect to the logits alone, and the state for the next
    batch, detached. An example is called positive where ``logit > state.threshold``. A batch that
    is empty, has no weight or gives a loss that is not finite leaves the state as it was.

Raises:
    ValueError: If a shape, a dtype, the state or the target is not as above.

Example:
    >>> import gobj, torch
    >>> logits, labels = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0])
    >>> loss, state = gobj.{name}(logits, labels, gobj.init_state(), {target}=0.5)
    >>> loss.isfinite(), state.threshold.isfinite()
    (tensor(True), tensor(True))
"""

AREA = """\
Returns:
    The loss, which differentiates with respect to the logits alone, and the state for the next
    batch, detached. At anchor ``k`` an example is called positive where
    ``logit > state.threshold[..., k]``. A batch that is empty, has no weight or gives a loss that
    is not finite leaves the state as it was.

Raises:
    ValueError: If a shape, a dtype, the state or a range is not as above.

Example:
    >>> import gobj, torch
    >>> logits, labels = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0])
    >>> loss, state = gobj.{name}(logits, labels, gobj.init_state(anchors=8))
    >>> loss.isfinite(), state.threshold.shape
    (tensor(True), torch.Size([8]))
"""

PROBLEM = """\
Returns:
    The pair of linear forms, cost and constraint, over joint rates.

Raises:
    ValueError: If the target is a number outside (0, 1).

Example:
    >>> import gobj, torch
    >>> problem, multiplier, threshold = gobj.{name}(0.5), 1.0, 0.0
    >>> batch = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0])
    >>> bound = gobj.lagrangian(*batch, problem, multiplier, threshold)
    >>> counted = gobj.lagrangian(
    ...     *batch, problem, multiplier, threshold, surrogate=gobj.zero_one
    ... )
    >>> bool(counted < bound)
    True
"""

PAPER = """\
References:
    Eban et al., `Scalable Learning of Non-Decomposable Objectives
    <https://arxiv.org/abs/1608.04802>`_, AISTATS 2017.
"""


def documented(meaning: str = "") -> Callable[[Documented], Documented]:
    """Complete the docstring of an objective; its target, if it has one, has the given meaning."""

    def complete(function: Documented) -> Documented:
        if function.__doc__ is None:  # under python -OO
            return function
        lines, target = ["Args:"], ""
        for name in inspect.signature(function).parameters:
            if name not in ARGUMENTS:
                target = name
            entry = " ".join(f"{name}: {ARGUMENTS.get(name, f'{meaning}, {TARGET}')}".split())
            lines.append(fill(entry, 96, initial_indent=" " * 4, subsequent_indent=" " * 8))
        rest = PROBLEM if target == "target" else LOSS if target else AREA
        rest = rest.replace("{name}", function.__name__).replace("{target}", target)
        shared = "\n".join([*lines, "", rest, PAPER])
        function.__doc__ = function.__doc__.rstrip() + "\n\n" + indent(shared, "    ")
        return function

    return complete
