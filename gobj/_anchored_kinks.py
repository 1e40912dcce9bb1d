"""Surrogates of straight lines and parabolas at many anchors, without any error."""

from functools import partial

from torch import Tensor

from gobj._anchor_counts import ranked
from gobj._anchor_pieces import Kinked, pieces_of
from gobj._anchor_ranks import AnchorRanks
from gobj._anchored import FURTHEST, Anchored, AnchoredSums, polynomial, sums_of
from gobj._attached import Terms


class BetweenKinks(Anchored):
    """A hinge, its square or the indicator: exact polynomials between the kinks of all anchors."""

    surrogate: Kinked

    def terms(self, coefficients: Tensor) -> tuple[Terms, list[Tensor]]:
        """Tabulate the polynomials."""
        ranks, tables = pieces_of(self.thresholds, coefficients, self.surrogate)
        return partial(_terms, ranks.width), [*ranks[1:], *tables]

    def sums(self) -> AnchoredSums:
        """Rank the scores among the kinks."""
        found = ranked(self.examples, self.thresholds, self.surrogate)
        return sums_of(found, self.thresholds.dtype)


def _terms(width: int, scores: Tensor, sides: Tensor, *constants: Tensor) -> tuple[Tensor, Tensor]:
    """Evaluate value and slope of the polynomials."""
    rank = AnchorRanks(width, *constants[:3]).locate(scores.detach(), sides)
    place = scores - constants[3].index_select(0, rank).view(scores.shape)
    place = place.clamp(-FURTHEST, FURTHEST) + (sides - sides)  # a missing side is loud
    return polynomial(rank, place, constants[4:])
