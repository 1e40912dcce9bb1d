"""A call at a state: its examples, seen from a threshold, are summed and charged in blocks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from gobj._batch import Batch, Points, Sums, join
from gobj._checks import Number
from gobj.distributed import Group, number_of_ranks, sum_over_ranks
from gobj.duals.rule import DualRule
from gobj.problem import AnyProblem, problem_at
from gobj.state import AreaState, DualState, cast, leaves, unflatten
from gobj.surrogates import Surrogate


class Call(NamedTuple):
    """A checked call at a state, which is in the dtype of the batch, and the problem there."""

    batch: Batch
    rule: DualRule
    surrogate: Surrogate | None
    state: Any
    problem: Any
    group: Group

    def at(self, problem: AnyProblem, state: DualState | AreaState) -> "Call":
        """Return the same call at another state."""
        state = cast(state, self.batch.scores.dtype, constant=self.rule.detached)
        return self._replace(state=state, problem=problem_at(problem, state))

    def seen_from(self) -> Any:
        """Return the threshold from which the state was last updated, or is to be."""
        first = self.rule.order == "update_first"
        return self.state.previous_threshold if first else self.state.threshold

    def joined(self, sums: Sums) -> tuple["Call", Sums]:
        """Add up sums over the ranks, and return the call as a part of the joined batch."""
        if number_of_ranks(self.group) == 1:
            return self, sums
        *tensors, rows = sum_over_ranks([*leaves(sums), self.batch.rows_as_tensor()], self.group)
        # what is not finite on one rank makes the loss NaN on all
        weight = tensors[0] + sum(0 * tensor for tensor in tensors)
        return self._scaled(weight, rows), unflatten(sums, tensors)

    def scaled(self, total_weight: Number | None = None) -> "Call":
        """Return the call as a part of a batch with this weight, or of that of all ranks."""
        rows: Number = self.batch.rows
        if total_weight is None:
            if number_of_ranks(self.group) == 1:
                return self
            own = [self.batch.total, self.batch.rows_as_tensor()]
            total_weight, rows = sum_over_ranks(own, self.group)
        return self._scaled(total_weight, rows)

    def _scaled(self, weight: Number, rows: Number) -> "Call":
        """Return the call with what its mean divides by: the share of a rank in the weight."""
        several = isinstance(self.state, AreaState)
        batch = self.batch.with_total(weight, several=several)
        total = batch.total / number_of_ranks(self.group)
        return self._replace(batch=batch._replace(total=total, rows=rows))


class View:
    """The examples of a call seen from a threshold, in blocks that are looked at one by one.

    What sums and charges share is measured once and kept; but for an area of many examples, where
    it would take too much memory, it is measured again. Nothing is recorded for ``backward`` but
    what each example costs, and how fast that rises with its score.
    """

    def __init__(self, call: Call, threshold: Tensor) -> None:
        self.call, self.threshold = call, threshold
        self.several = isinstance(call.state, AreaState)
        # the compiler joins passes and differentiates them; so does forward mode, at any depth
        self.fused = torch.compiler.is_compiling() or _has_tangent(call, threshold)
        self.blocks = call.batch.blocks(threshold.shape[-1] if self.several else 1)
        self.kept: list[Any] | None = None
        if not self.several or len(self.blocks) == 1:
            self.kept = self.each(lambda *measured: measured)

    def each(self, use: Callable[..., Any]) -> list[Any]:
        """Return what a function makes of the points and measures of every block."""
        with torch.set_grad_enabled(self.fused and torch.is_grad_enabled()):
            if self.kept is not None:
                return [use(*measured) for measured in self.kept]
            found = []
            for block in self.blocks:
                seen = block if self.fused else block._replace(scores=block.scores.detach())
                points = seen.points(self.threshold, several=self.several)
                found.append(use(points, self.call.rule.measure(points, self.call.surrogate)))
            return found

    def sum(self) -> Sums:
        """Return the sums over all examples."""
        batch, rule, _, state, problem, _ = self.call
        total = batch.total.unsqueeze(-1) if self.several else batch.total

        def add_up(points: Points, measures: Any) -> Sums:
            return points.count_up(total, rule.observe(points, measures, problem, state))

        with torch.no_grad():
            sums = join(self.each(add_up))._replace(weight=total)
            shape = self.threshold.shape  # what belongs to a label counts at each of its anchors
            same = (x if x.shape == shape else x.expand(shape) for x in leaves(sums))
            joined: Sums = unflatten(sums, (x.detach() for x in same) if self.fused else same)
            return joined

    def charge(self, call: Call) -> Tensor:
        """Return what each example costs at the state of a call, ``[n, *labels]``."""
        rule = call.rule
        prices = rule.prices(call.problem, call.state)

        def again(*inputs: Tensor) -> Tensor:
            scores, labels, prior, threshold, *tensors = inputs
            block = Batch(scores, labels, prior, None, *call.batch[4:])
            points = block.points(threshold, several=self.several)
            measures = rule.measure(points, call.surrogate)
            return rule.charge(points, measures, unflatten(prices, tensors))[0]

        charges = self.each(lambda points, measures: rule.charge(points, measures, prices))
        parts: list[Tensor] = [costs for costs, _ in charges]
        if not self.fused:
            apply: Any = _Charged.apply
            shared = self.threshold, *leaves(prices)
            pairs = zip(charges, self.blocks, strict=True)
            parts = [apply(again, *each, *block[:3], *shared) for each, block in pairs]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class _Charged(torch.autograd.Function):
    """Costs that are known, with their slopes, as a function of all that they depend on."""

    generate_vmap_rule = True

    @staticmethod
    def forward(charge: Any, costs: Tensor, slopes: Tensor, *inputs: Tensor) -> Tensor:
        return costs.view_as(costs)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.charge = inputs[0]
        ctx.save_for_backward(*inputs[2:])  # vmap wants the same for both modes
        ctx.save_for_forward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        slopes, *inputs = ctx.saved_tensors
        if not (torch.is_grad_enabled() or any(ctx.needs_input_grad[4:])):
            return None, None, None, gradient * slopes, *(None for _ in inputs[1:])
        # to be differentiated again, or in more than the scores: by operations that are recorded
        vjp: Any = torch.func.vjp
        return None, None, None, *vjp(ctx.charge, *inputs)[1](gradient)

    @staticmethod
    def jvp(ctx: Any, _: None, costs: Tensor, slopes: Tensor, *tangents: Tensor | None) -> Any:
        """Move on in forward mode above reverse mode: twice backwards is forwards."""
        inputs = ctx.saved_tensors[1:]
        pairs = zip(inputs, tangents, strict=True)
        moves = tuple(torch.zeros_like(x) if move is None else move for x, move in pairs)
        vjp: Any = torch.func.vjp
        out, pull = vjp(ctx.charge, *inputs)
        return vjp(pull, torch.zeros_like(out))[1](moves)[0]


def _has_tangent(call: Call, threshold: Tensor) -> bool:
    """Tell whether derivatives are taken in forward mode."""
    inputs = call.batch.scores, threshold, *leaves(call.state)
    unpack: Any = forward_ad.unpack_dual
    return any(unpack(x).tangent is not None for x in inputs)
