"""What a batch shows at many anchors, in a time that hardly depends on their number."""

from typing import NamedTuple

import torch
from torch import Tensor

from gobj._anchor_blocks import label_blocks
from gobj._anchor_counts import Examples, ranked
from gobj._anchor_fields import Smooth, reach_of
from gobj._anchor_grid import FURTHEST, lay_grid, spacings
from gobj._anchor_histogram import histogram
from gobj._anchored_costs import one_by_one
from gobj._surrogates import Surrogate

FOLDS = 8.0  # where a slope is constant but for exp(-FOLDS), scores may count as being closer
NODES = 192


class AnchoredSums(NamedTuple):
    """Sums over the examples of a class, each ``[labels, anchors]``.

    ``hits`` and ``alarms`` are the positives and negatives above the threshold. A pull is how steep
    the surrogate falls at the margins of a class.
    """

    hits: Tensor
    alarms: Tensor
    pulls_of_positives: Tensor
    pulls_of_negatives: Tensor


def anchored_sums(
    scores: Tensor,
    sides: Tensor,
    weights: Tensor | None,
    thresholds: Tensor,
    surrogate: Surrogate,
) -> AnchoredSums:
    r"""Sum over examples, at each anchor, what is above it and what pulls on it.

    .. math:: \sum_i w_i 1[z_i > b_k], \qquad \sum_i w_i |s'(\pm (z_i - b_k))|

    for positives and for negatives. The first are exact, and so are the pulls of a hinge. Those of
    a smooth surrogate come from a grid, to within 1e-3 for thresholds within 40 temperatures of
    each other.

    Args:
        scores: Scores, shape ``[n, labels]``; nothing that comes back has a gradient.
        sides: +1 for positives and -1 for negatives, shape of the scores.
        weights: At or above 0, shape ``[n, 1]`` or ``[n, labels]``, or None for 1.
        thresholds: Thresholds of the anchors, in any order, shape ``[labels, anchors]``.
        surrogate: Upper bound of the indicator of an error.

    Returns:
        The sums. What is missing is above nothing, and makes all else of its label NaN.
    """
    scores, thresholds = scores.detach(), thresholds.detach()
    sums = _one_by_one if one_by_one(scores, thresholds, surrogate) else _together
    parts = []
    for block in label_blocks(len(thresholds), 8 * thresholds.shape[1] + 8 * NODES):
        some = weights if weights is None or weights.shape[1] == 1 else weights[:, block]
        examples = Examples(scores[:, block], sides[:, block], some)
        parts.append(sums(examples, thresholds[block], surrogate))
    whole = [torch.cat(pair) if len(pair) > 1 else pair[0] for pair in zip(*parts, strict=True)]
    return AnchoredSums(*whole)


def _one_by_one(examples: Examples, thresholds: Tensor, surrogate: Surrogate) -> list[Tensor]:
    scores, sides, weights = examples
    near, share = scores.clamp(-FURTHEST, FURTHEST), 1 if weights is None else weights
    classes = (sides > 0) * share, (sides < 0) * share
    rows = []
    for threshold in thresholds.unbind(1):
        fall = surrogate.terms((near - threshold) * sides)[1]
        values = (scores > threshold).to(near.dtype), -fall
        rows.append([(value * of_class).sum(0) for value in values for of_class in classes])
    return [torch.stack(column, 1) for column in zip(*rows, strict=True)]


def _together(examples: Examples, thresholds: Tensor, surrogate: Surrogate) -> list[Tensor]:
    found = list(ranked(examples, thresholds, surrogate))
    if isinstance(surrogate, Smooth):
        reach = reach_of(surrogate, FOLDS)
        grid, rung = lay_grid(thresholds, reach, NODES)
        ladder = spacings(reach, NODES), rung
        found.append(histogram(grid, examples).pulls(thresholds, surrogate, ladder))
    return [x.to(thresholds.dtype) for both in found for x in both.unbind(1)[::-1]]
