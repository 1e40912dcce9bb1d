"""Sums over the anchors of many labels, in a time that hardly depends on the anchors' number."""

from functools import partial

import torch
from torch import Tensor

from gobj._anchor_blocks import joined, label_blocks, settled, small_blocks
from gobj._anchor_examples import Examples
from gobj._anchor_pieces import Kinked
from gobj._anchored import Anchored, AnchoredSums, OneByOne
from gobj._anchored_cells import MOST_NODES, InCells, Smooth, nodes_of
from gobj._anchored_kinks import BetweenKinks
from gobj._attached import Terms, attached, evaluation_point
from gobj._checks import Number
from gobj._surrogates import Surrogate, cross_entropy

FEW_ANCHORS, FEW_COSTS = 2, 4096  # up to these, one anchor after the other is as fast


class AnchoredLabels:
    r"""A surrogate summed over anchors, example by example, and over examples, anchor by anchor.

    A hinge, its square and the indicator are exact. The smooth surrogates run on a grid whose
    spacing follows the range of a label's thresholds: up to 40 temperatures, values are within 1e-6
    of the sum of coefficients or of themselves, and slopes within 1e-5 per temperature, where many
    anchors share the weight; within 2e-6 and 4e-5 where one has all. From there on the error of
    slopes grows with the cube of the range. With few anchors or examples, a surrogate of one's own,
    or a generalized cross entropy of a power below 0.16, anchors are summed one after the other.

    Args:
        examples: Scores ``[n, labels]``, of which an infinite one counts as a huge one, sides and
            weights.
        thresholds: Thresholds of the anchors, in any order, shape ``[labels, anchors]``.
        surrogate: Upper bound of the indicator of an error.
    """

    def __init__(self, examples: Examples, thresholds: Tensor, surrogate: Surrogate) -> None:
        """Cut the labels into blocks."""
        thresholds = thresholds.detach()
        self._examples, (labels, anchors) = examples, thresholds.shape
        of = examples._replace(scores=examples.scores.detach())
        self._blocks = label_blocks(labels, 8 * anchors + 2 * MOST_NODES)
        self._parts = [
            _anchored(of.of_labels(block), thresholds[block], surrogate) for block in self._blocks
        ]

    def costs(
        self,
        of_positives: Tensor,
        of_negatives: Tensor,
        rest: Tensor | None = None,
        mass: Number | None = None,
    ) -> Tensor:
        r"""Sum over anchors what every example costs.

        .. math:: F(z_i) = \sum_k c_k^{\pm}\, s\bigl(\pm (z_i - b_k)\bigr)
            + r \operatorname{BCE}(z_i)

        Args:
            of_positives: Coefficients of positives, at or above 0, shape of the thresholds.
            of_negatives: Coefficients of negatives, likewise.
            rest: Weight of cross entropy, in bits, shape ``[labels]``; None for 0.
            mass: Total weight of the examples, a number or ``[labels]``. If it is given, every
                value is replaced by the weighted average of its label; slopes stay.

        Returns:
            Shape of the scores, differentiable in them alone; NaN where something is missing.
        """
        coefficients = torch.stack((of_negatives, of_positives), 1).detach()
        costs = []
        for block, part in zip(self._blocks, self._parts, strict=True):
            terms, constants = part.terms(coefficients[block])
            if rest is not None:
                terms, constants = partial(_with_rest, terms), [rest[block].detach(), *constants]
            total = mass[block] if isinstance(mass, Tensor) else mass
            costs.append(_attached(self._examples.of_labels(block), terms, constants, total))
        return joined(costs, 1)

    def sums(self) -> AnchoredSums:
        r"""Sum over examples, at each anchor, what is above it and what pulls on it.

        .. math:: \sum_i w_i 1[z_i > b_k], \qquad \sum_i w_i |s'(\pm (z_i - b_k))|

        for positives and for negatives. The first are exact, and so are the pulls of a hinge. Those
        of a smooth surrogate come from a grid, to within 1e-3 for thresholds within 40 temperatures
        of each other.

        Returns:
            The sums, without gradients. What is missing is above nothing, and makes all else of its
            label NaN.
        """
        parts = [part.sums() for part in self._parts]
        return AnchoredSums(
            *(torch.cat(x) if len(x) > 1 else x[0] for x in zip(*parts, strict=True))
        )


def _anchored(examples: Examples, thresholds: Tensor, surrogate: Surrogate) -> Anchored:
    """Choose how to sum."""
    anchors = thresholds.shape[1]
    if anchors > FEW_ANCHORS and anchors * len(examples.scores) > FEW_COSTS:
        if isinstance(surrogate, Kinked):
            return BetweenKinks(examples, thresholds, surrogate)
        if isinstance(surrogate, Smooth) and nodes_of(surrogate) <= MOST_NODES:
            return InCells(examples, thresholds, surrogate)
    return OneByOne(examples, thresholds, surrogate)


def _attached(
    examples: Examples, terms: Terms, constants: list[Tensor], mass: Number | None
) -> Tensor:
    """Compute value and slope block by block, and attach them to the scores."""
    scores, sides, weights = examples
    constants, at = settled(constants), evaluation_point(scores)
    values: list[Tensor] = []
    slopes: Tensor | None = None
    for rows in (blocks := small_blocks(scores)):
        value, slope = terms(at[rows], sides[rows], *constants)
        if mass is not None:
            value = (value if weights is None else value * weights[rows]).sum(0, keepdim=True)
        values.append(value)
        if len(blocks) == 1:
            slopes = slope
        else:
            slopes = slope.new_empty(scores.shape) if slopes is None else slopes
            slopes[rows] = slope
        del value, slope
    assert slopes is not None
    value = joined(values)
    if mass is not None:
        value = (value.sum(0) / mass).expand_as(scores)
    return attached(scores, (value, slopes), terms, sides, *constants)


def _with_rest(
    terms: Terms, scores: Tensor, sides: Tensor, rest: Tensor, *constants: Tensor
) -> tuple[Tensor, Tensor]:
    """Add weighted cross entropy to value and slope."""
    value, slope = terms(scores, sides, *constants)
    cost, fall = cross_entropy.terms(scores * sides)
    value = torch.addcmul(value, rest, cost)
    del cost
    return value, torch.addcmul(slope, rest, fall.mul_(sides))
