"""Constant memory: a histogram of the scores that widens with their range and merges exactly.

Scores are squashed, ``u = sign(x) log(1 + |x|)``, and counted in cells of equal width. The width is
a power of two and the cells' edges are its multiples, so that a wider grid's cells are unions of a
narrower one's: widening and merging lose nothing, and a grid depends on its scores alone, not on
their order or batches. Counts at a cell's edge are therefore exact; only the order within is lost.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj.metrics._curve import Curve, draw, ratio
from gobj.metrics._examples import Examples

_FARTHEST = 16.0  # squashed: scores beyond +-8.9e6 share the outermost cells
_NARROWEST = 2.0**-44  # edges up to the farthest and shares of the widest cell stay exact


class ScoreGrid(NamedTuple):
    """A histogram of squashed scores, detached.

    Attributes:
        low: Lowest squashed score, shape ``[*labels]``; ``+inf`` before the first.
        high: Highest squashed score, shape ``[*labels]``; ``-inf`` before the first.
        weights: Weight of the negatives and of the positives in each cell, from the highest scores
            down, shape ``[*labels, 2, cells]``.
        squares: Sum of the positives' squared weights, shape ``[*labels]``; over their weight it is
            the size of the step that one positive makes.
    """

    low: Tensor
    high: Tensor
    weights: Tensor
    squares: Tensor

    def add(self, examples: Examples) -> "ScoreGrid":
        """Widen the grid to the batch's range and count the batch in it."""
        scores, labels, weights, _ = examples
        if scores.shape[0] == 0:
            return self
        squashed = scores.abs().log1p_().copysign_(scores)
        mass, squares = self.low.new_ones(()), labels.sum(0)
        if weights is not None:
            mass = weights.expand_as(scores).movedim(0, -1)
            squares = (weights.square() * labels).sum(0)
        squashed_or = examples._replace(scores=squashed).scores_or
        low, high = squashed_or(math.inf).amin(0), squashed_or(-math.inf).amax(0)
        wide, scale, top = self._widen(low + 0 * squares, high)  # NaN where a label is
        cells, dtype = self.weights.shape[-1], scores.dtype
        cell = (squashed * -scale.to(dtype)).floor_().add_(top.to(dtype)).clamp(0, cells - 1)
        index = cell.add_(labels, alpha=cells).nan_to_num_().long().movedim(0, -1).contiguous()
        flat = wide.weights.flatten(-2)
        flat = flat.scatter_add_(-1, index, mass.to(flat.dtype).expand_as(index))
        squares = self.squares + squares.to(flat.dtype)
        return wide._replace(weights=flat.view_as(wide.weights), squares=squares)

    def merge(self, other: "ScoreGrid") -> "ScoreGrid":
        """Bring two grids to their common range and add them."""
        mine, *_ = self._widen(other.low, other.high)
        its, *_ = other._widen(self.low, self.high)
        return mine._replace(weights=mine.weights + its.weights, squares=mine.squares + its.squares)

    def points(self) -> Curve:
        """Count at the cells' edges, of which a run of empty cells keeps the lowest."""
        scale, top = self._edges()
        cells = self.weights.shape[-1]
        rank = torch.arange(1, cells + 1, device=top.device)
        edges = (top[..., None] - rank) / scale[..., None]
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

    def _widen(self, low: Tensor, high: Tensor) -> tuple["ScoreGrid", Tensor, Tensor]:
        """Return a grid, and its edges, over a range that includes ``low`` and ``high`` as well."""
        low = torch.minimum(self.low, low.clamp(min=-_FARTHEST).to(self.low.dtype))
        high = torch.maximum(self.high, high.clamp(max=_FARTHEST).to(self.high.dtype))
        wide = self._replace(low=low, high=high)
        (scale, top), (wide_scale, wide_top) = self._edges(), wide._edges()
        shrink = wide_scale / scale
        first, cells = wide_top - top * shrink, self.weights.shape[-1]
        cell = torch.arange(cells, dtype=first.dtype, device=first.device)
        index = torch.addcmul(first[..., None], shrink[..., None], cell).long()
        index = index.clamp(0, cells - 1).unsqueeze(-2).expand_as(self.weights)
        weights = torch.zeros_like(index, dtype=low.dtype).scatter_add_(-1, index, self.weights)
        return wide._replace(weights=weights), wide_scale, wide_top

    def _edges(self) -> tuple[Tensor, Tensor]:
        """Return the cells per unit, a power of two, and the number of the topmost edge.

        Cell ``c`` holds the scores above edge ``top - c - 1`` and not above edge ``top - c``.
        """
        low, high = self.low.double(), self.high.double()
        span, spaces = high - low, self.weights.shape[-1] - 2  # both ends may lie inside a cell
        scale = (math.log2(spaces) - span.clamp(min=_NARROWEST * spaces).log2()).floor().exp2()
        return scale, (high * scale).ceil()
