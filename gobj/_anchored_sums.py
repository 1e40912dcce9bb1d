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
    the surrogate falls at the margins of a class. A window is how much closer than the spread the
    scores of a class are to the threshold; it is None without a spread.
    """

    hits: Tensor
    alarms: Tensor
    pulls_of_positives: Tensor
    pulls_of_negatives: Tensor
    windows_of_positives: Tensor | None = None
    windows_of_negatives: Tensor | None = None


def anchored_sums(
    scores: Tensor,
    sides: Tensor,
    weights: Tensor | None,
    thresholds: Tensor,
    surrogate: Surrogate,
    spread: Tensor | None = None,
) -> AnchoredSums:
    r"""Sum over examples, at each anchor, what is above it and what pulls on it.

    .. math:: \sum_i w_i 1[z_i > b_k], \qquad \sum_i w_i |s'(\pm (z_i - b_k))|, \qquad
        \sum_i w_i \max(0, d - |z_i - b_k|)

    for positives and for negatives. The first are exact, and so are the pulls of a hinge. Those of
    a smooth surrogate come from a grid, to within 1e-3 for thresholds within 40 temperatures of
    each other, as do windows that are as wide as the scores are spread.

    Args:
        scores: Scores, shape ``[n, labels]``; nothing that comes back has a gradient.
        sides: +1 for positives and -1 for negatives, shape of the scores.
        weights: At or above 0, shape ``[n, 1]`` or ``[n, labels]``, or None for 1.
        thresholds: Thresholds of the anchors, in any order, shape ``[labels, anchors]``.
        surrogate: Upper bound of the indicator of an error.
        spread: Half the width of the windows, shape ``[labels]``.

    Returns:
        The sums. What is missing is above nothing, and makes all else of its label NaN.
    """
    scores, thresholds = scores.detach(), thresholds.detach()
    sums = _one_by_one if one_by_one(scores, thresholds, surrogate) else _together
    parts = []
    for block in label_blocks(len(thresholds), 8 * thresholds.shape[1] + 8 * NODES):
        some = weights if weights is None or weights.shape[1] == 1 else weights[:, block]
        around = None if spread is None else spread[block].detach()
        parts.append(
            sums(
                Examples(scores[:, block], sides[:, block], some),
                thresholds[block],
                surrogate,
                around,
            )
        )
    whole = [torch.cat(pair) if len(pair) > 1 else pair[0] for pair in zip(*parts, strict=True)]
    return AnchoredSums(*whole)


def _one_by_one(
    examples: Examples, thresholds: Tensor, surrogate: Surrogate, spread: Tensor | None
) -> list[Tensor]:
    scores, sides, weights = examples
    near, share = scores.clamp(-FURTHEST, FURTHEST), 1 if weights is None else weights
    classes = (sides > 0) * share, (sides < 0) * share
    rows = []
    for threshold in thresholds.unbind(1):
        distance = near - threshold
        values = [(scores > threshold).to(near.dtype), -surrogate.terms(distance * sides)[1]]
        if spread is not None:
            values.append((spread - distance.abs()).relu())
        rows.append([(value * of_class).sum(0) for value in values for of_class in classes])
    return [torch.stack(column, 1) for column in zip(*rows, strict=True)]


def _together(
    examples: Examples, thresholds: Tensor, surrogate: Surrogate, spread: Tensor | None
) -> list[Tensor]:
    found = list(ranked(examples, thresholds, surrogate))
    if isinstance(surrogate, Smooth) or spread is not None:
        reach = reach_of(surrogate, FOLDS) if isinstance(surrogate, Smooth) else 1.0
        grid, rung = lay_grid(thresholds, reach, NODES, spread)
        seen = histogram(grid, examples)
        if isinstance(surrogate, Smooth):
            found.append(seen.pulls(thresholds, surrogate, (spacings(reach, NODES), rung)))
        if spread is not None:
            found.append(seen.windows(thresholds, spread))
    return [x.to(thresholds.dtype) for both in found for x in both.unbind(1)[::-1]]
