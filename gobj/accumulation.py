"""Micro-batches: parts of a batch that together move a state once."""

from typing import Any

from torch import Tensor

from gobj._batch import Sums
from gobj._checks import Number, refuse
from gobj.constrained import observe, update, weigh
from gobj.distributed import Group, sum_over_ranks
from gobj.duals.rule import DualRule
from gobj.problem import AnyProblem
from gobj.state import leaves, unflatten


class Accumulation:
    """Add up what the parts of a batch show, and weigh each as a part of the whole.

    Attributes:
        sums: Of the parts so far, on this rank.
    """

    def __init__(
        self,
        problem: AnyProblem,
        state: Any,
        sums: Sums,
        rule: DualRule,
        group: Group,
        total_weight: Number | None,
    ) -> None:
        if total_weight is not None and rule.order == "update_first":
            one_pass = "be None for a rule that updates first: observe every part before its loss, "
            refuse("total_weight", one_pass + "or take a rule of order='weigh_first'", total_weight)
        self.problem, self.state, self.sums, self.rule = problem, state, sums, rule
        self.group, self.total_weight = group, total_weight
        self.observed: float = 0  # examples; beyond any number where their sums have been saved
        self._weighed = 0
        self._after: Any = None

    def observe(
        self, problem: AnyProblem, group: Group, logits: Tensor, labels: Tensor, **options: Any
    ) -> None:
        """Add a part to the sums, and learn the ranks that have others."""
        if self._after is not None:
            refuse("logits", "be observed before the first loss of their batch", logits)
        part = observe(problem, logits, labels, self.state, rule=self.rule, **options)
        self.problem, self.group, self.sums = problem, group, self.sums + part
        self.observed += logits.shape[0]

    def weigh(
        self, problem: AnyProblem, group: Group, logits: Tensor, labels: Tensor, **options: Any
    ) -> Tensor:
        """Return the loss of a part, which adds up to that of the whole."""
        at, total = self.state, self.total_weight
        self._weighed += logits.shape[0]
        if total is not None:
            self.observe(problem, group, logits, labels, **options)
        elif self._weighed > self.observed:
            known = "be observed, all parts of the batch, unless `total_weight` is given"
            refuse("logits", known, logits)
        else:
            after, total = self.after()
            at = after if self.rule.order == "update_first" else at
        options |= {"rule": self.rule, "total_weight": total, "process_group": group}
        return weigh(problem, logits, labels, at, **options)

    def after(self) -> tuple[Any, Tensor]:
        """Return the next state, and the weight of all parts on all ranks."""
        if self._after is None:
            joined = sum_over_ranks(leaves(self.sums), self.group)
            sums = unflatten(self.sums, joined)
            after = update(self.problem, self.state, sums, rule=self.rule)
            # what is not finite on one rank makes the loss NaN on all
            self._after = after, joined[0] + sum(0 * tensor for tensor in joined)
        state, weight = self._after
        return state, weight
