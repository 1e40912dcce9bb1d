"""Constant memory: a histogram of the scores that widens with their range and merges exactly.

Scores are squashed, ``u = sign(x) log(1 + |x|)``, and counted in cells of equal width. The width is
a power of two and the cells' edges are its multiples, so that a wider grid's cells are unions of a
narrower one's: widening and merging lose nothing, and a grid depends on its scores alone, not on
their order or batches. Counts at a cell's edge are therefore exact, but for what squashing a narrow
score rounds; only the order within is lost.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._batch import rows_per_block
from gobj.distributed import Group, range_over_ranks, sum_over_ranks
from gobj.metrics._curve import Curve, draw, ratio
from gobj.metrics._examples import Examples

_FARTHEST = 16.0  # squashed: scores beyond +-8.9e6 share the outermost cells
_NARROWEST = 2.0**-44  # edges up to the farthest and shares of the widest cell stay exact


class ScoreGrid(NamedTuple):
    """A histogram of squashed scores, detached.

    Attributes:
        low: Lowest squashed score, shape ``[*labels]``; ``+inf`` before the first.
        high: Highest squashed score, shape ``[*labels]``; ``-inf`` before the first.
        scale: Cells per unit, a power of two, shape ``[*labels]``.
        top: Number of the topmost edge, shape ``[*labels]``. Cell ``c`` holds what lies above edge
            ``top - c - 1`` and not above edge ``top - c``; edge ``k`` is at ``k / scale``.
        weights: Weight of the negatives and of the positives in each cell, from the highest scores
            down, shape ``[*labels, 2, cells]``.
        squares: Sum of the positives' squared weights, shape ``[*labels]``; over their weight it is
            the size of the step that one positive makes.
    """

    low: Tensor
    high: Tensor
    scale: Tensor
    top: Tensor
    weights: Tensor
    squares: Tensor

    def add(self, examples: Examples) -> "ScoreGrid":
        """Widen the grid to the batch's range and count the batch in it."""
        scores = examples.scores
        if scores.shape[0] == 0:
            return self
        classes = examples.weights_of_classes(self.low.dtype)
        low = _squashed(examples.scores_or(math.inf).amin(0))
        high = _squashed(examples.scores_or(-math.inf).amax(0))
        nobody = low > high
        low, high = (torch.where(nobody, x, x.clamp(-_FARTHEST, _FARTHEST)) for x in (low, high))
        squares = self.squares + classes[1].square().sum(0)
        wide = self._widen(low + 0 * (squares + classes[0].sum(0)), high)  # NaN where a label is
        counts, rows = wide.weights, rows_per_block(scores, 1)
        for block in zip(*(torch.split(x, rows) for x in (scores, *classes)), strict=True):
            counts = wide._count(counts, *block)
        return wide._replace(weights=counts, squares=squares)

    def _count(self, counts: Tensor, scores: Tensor, negative: Tensor, positive: Tensor) -> Tensor:
        """Add the weights of scores within the range to counts, which are used up."""
        cells, dtype = self.weights.shape[-1], scores.dtype
        near = functional.hardtanh_(_squashed(scores), -_FARTHEST, _FARTHEST)
        cell = (near * -self.scale.to(dtype)).floor_().add_(self.top.to(dtype))
        cell = functional.hardtanh_(cell, 0, cells - 1).nan_to_num_().long()
        index = cell.movedim(0, -1).unsqueeze(-2).expand(*counts.shape[:-1], -1)
        added = torch.stack((negative, positive)).movedim((0, 1), (-2, -1))
        return counts.scatter_add_(-1, index, added.contiguous())

    def merge(self, other: "ScoreGrid") -> "ScoreGrid":
        """Bring two grids to their common range and add them."""
        mine, its = self._widen(other.low, other.high), other._widen(self.low, self.high)
        return mine._replace(weights=mine.weights + its.weights, squares=mine.squares + its.squares)

    def over_ranks(self, group: Group) -> "ScoreGrid":
        """Bring the grids of all ranks to their common range and add them."""
        low, high, _ = range_over_ranks(self.low, self.high, 0, group)
        wide = self._widen(low, high)
        broken = torch.where(self.low.isnan() | self.high.isnan(), math.nan, 0 * self.squares)
        weights, squares, broken = sum_over_ranks([wide.weights, wide.squares, broken], group)
        return wide._replace(low=wide.low + broken, weights=weights, squares=squares)

    def points(self) -> Curve:
        """Count at the cells' edges, of which a run of empty cells keeps the lowest."""
        cells = self.weights.shape[-1]
        rank = torch.arange(1, cells + 1, device=self.top.device)
        edges = ((self.top[..., None] - rank) / self.scale[..., None]).double()
        threshold = torch.where(rank < cells, edges.abs().expm1().copysign(edges), -math.inf)
        occupied = self.weights.sum(-2) != 0
        cuts = torch.cat([occupied[..., 1:], occupied.any(-1, keepdim=True)], -1)
        return draw(self.weights, threshold, cuts, self.low.isnan() | self.high.isnan())

    def average_precision(self, curve: Curve) -> Tensor:
        """Average the precision over the positives, in expectation over the order within each cell.

        A positive of weight ``c`` that comes after a share ``t`` of its cell's other weight has
        precision ``(hits + c + t (p - c)) / (all + c + t (p + n - c))``, which is integrated over
        ``t``. A cell with empty neighbours holds one repeated score: all of it comes at once.
        """
        negative, positive = self.weights.double().unbind(-2)
        both = negative + positive
        hits, total = positive.cumsum(-1), both.cumsum(-1)
        step = torch.minimum(ratio(self.squares.double(), hits[..., -1])[..., None], positive)
        start, rest = total - both + step, both - step
        slope = ratio(positive - step, rest)
        inverse = torch.where(rest > 0, ratio(rest, start).log1p() / rest, 1 / start)
        mixed = slope + (hits - positive + step - slope * start) * inverse
        beside = functional.pad((both != 0).to(both.dtype), (1, 1))
        alone = beside[..., 2:] + beside[..., :-2] == 0
        precision = torch.where(alone | (positive == 0), ratio(hits, total), mixed)
        return ratio((precision * positive).sum(-1), curve.true_positives[..., -1])

    def _widen(self, low: Tensor, high: Tensor) -> "ScoreGrid":
        """Return the grid over a range that includes ``low`` and ``high`` as well."""
        low = torch.minimum(self.low, low).to(self.low.dtype)
        high = torch.maximum(self.high, high).to(self.low.dtype)
        scale, top = _edges(low, high, self.weights.shape[-1])
        shrink = scale / self.scale
        first, cells = top - self.top * shrink, self.weights.shape[-1]
        cell = torch.arange(cells, dtype=first.dtype, device=first.device)
        index = torch.addcmul(first[..., None], shrink[..., None], cell).long()
        index = index.clamp(0, cells - 1).unsqueeze(-2).expand_as(self.weights)
        weights = torch.zeros_like(index, dtype=low.dtype).scatter_add_(-1, index, self.weights)
        scale, top = scale.to(low.dtype), top.to(low.dtype)
        return ScoreGrid(low, high, scale, top, weights, self.squares)


def empty_grid(shape: Sequence[int], cells: int, like: Tensor) -> ScoreGrid:
    """Return a grid without scores, with the dtype and device of ``like``."""
    low, squares = like.new_full(shape, math.inf), like.new_zeros(shape)
    scale, top = (edge.to(low.dtype) for edge in _edges(low, -low, cells))
    return ScoreGrid(low, -low, scale, top, like.new_zeros(*shape, 2, cells), squares)


def _squashed(scores: Tensor) -> Tensor:
    """Return ``sign(x) log(1 + |x|)``."""
    return scores.abs().log1p_().mul_(scores.sign())


def _edges(low: Tensor, high: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Return scale and top of the narrowest cells that cover a range, in float64."""
    low, high, spaces = low.double(), high.double(), cells - 2  # both ends may be inside a cell
    width = (high - low).clamp(min=_NARROWEST * spaces).log2()
    scale = (math.log2(spaces) - width).floor().exp2()
    return scale, (high * scale).ceil()
