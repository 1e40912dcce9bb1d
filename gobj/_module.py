"""The module layer over the pure functions: a loss that keeps its state in buffers."""

from collections.abc import Callable, Iterator
from typing import Literal, Self, TypedDict

import torch
from torch import Tensor, nn

from gobj._batch import make_batch
from gobj._checks import (
    Number,
    Reduction,
    check_labels,
    check_logits,
    check_number,
    check_reduction,
    check_target,
    require,
    spread_weights,
)
from gobj._forms import Problem
from gobj._lagrangian import bounded_elements, share_of_positives
from gobj._rows import as_rows
from gobj._state import DualState, like, state_dict
from gobj._surrogates import Surrogate, cross_entropy, hinge
from gobj.duals._rule import DualRule
from gobj.duals.frozen import FrozenDual
from gobj.objectives._constrained import (
    DEFAULT_RULE,
    constrained_loss,
    init_state,
    pose,
    reduced,
)

Given = tuple[Tensor, Tensor, Number | None, Number | None]
LOSS_TYPES = {"cross_entropy": cross_entropy, "hinge": hinge}


class Options(TypedDict, total=False):
    """The keyword arguments of every module; :class:`DualLoss` says what they mean."""

    loss_type: Literal["cross_entropy", "hinge"] | None
    surrogate: Surrogate | None
    rule: DualRule
    dual_rate_factor: float | None
    reduction: Reduction


class DualLoss(nn.Module):
    """Hold the state of a constrained loss: saved, moved with the module, frozen by ``eval()``.

    Called as ``criterion(logits, targets)`` like ``torch.nn.BCEWithLogitsLoss``, with the same
    shapes: ``[n]`` or ``[n, 1]`` for one label, ``[n, num_labels]`` for several; more dimensions,
    such as pixels, are more examples. The loss is a scalar unless ``reduction="none"``. In
    training mode a call also moves the state.

    With ``dual_rate_factor`` the module is the classical one: the multipliers and thresholds are
    parameters, which an optimiser of the user's choice moves by its own rule; the gradient of the
    multipliers is reversed and scaled by the factor, so that descent ascends. The factor only
    matters to optimisers whose step grows with the gradient: to Adam it does nothing. Multipliers
    below zero are set to zero at the next call, weight decay belongs off.

    Args:
        problem: Builder of the problem, such as :func:`gobj.recall_at_precision`.
        target: Name and value of its target, a number in (0, 1) or a tensor ``[num_labels]``.
        num_labels: Number of labels, each with its own multiplier and threshold.
        loss_type: ``"cross_entropy"`` or ``"hinge"``: short for ``surrogate``.
        surrogate: Upper bound of the indicator of an error; by default the rule's own.
        rule: How multiplier and threshold follow the batches.
        dual_rate_factor: Scale of the reversed gradient, at or above 0, for the classical mode.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
    """

    target: Number

    def __init__(
        self,
        problem: Callable[[Number], Problem],
        target: tuple[str, Number],
        num_labels: int = 1,
        *,
        loss_type: Literal["cross_entropy", "hinge"] | None = None,
        surrogate: Surrogate | None = None,
        rule: DualRule = DEFAULT_RULE,
        dual_rate_factor: float | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        """Make the state; see the class."""
        super().__init__()
        name = type(self).__name__
        check_target(name, *target)
        check_number(name, "num_labels", num_labels, low=1, closed=True)
        check_reduction(name, reduction)
        known = loss_type is None or (loss_type in LOSS_TYPES and surrogate is None)
        requirement = f"be one of {list(LOSS_TYPES)}, without `surrogate` beside it"
        require(known, name, "loss_type", requirement, loss_type)
        fine = surrogate is None or isinstance(surrogate, Surrogate)
        require(fine, name, "surrogate", "be a gobj.Surrogate", surrogate)
        self.problem, (self.target_name, value) = problem, target
        if isinstance(value, Tensor):
            self.register_buffer("target", value.detach().clone())
        else:
            self.target = value
        self.surrogate = surrogate if loss_type is None else LOSS_TYPES[loss_type]
        self.rule, self.reduction, self.num_labels = rule, reduction, num_labels
        self.dual_rate_factor = dual_rate_factor
        self._make_state()

    def _make_state(self) -> None:
        factor = self.dual_rate_factor
        if factor is not None:
            check_number(type(self).__name__, "dual_rate_factor", factor, low=0, closed=True)
        state = init_state((self.num_labels,), rule=self.rule if factor is None else FrozenDual())
        for name, leaf in state_dict(state).items():
            if factor is None:
                self.register_buffer(name.replace(".", "_"), leaf.clone())
            else:
                self.register_parameter(name, nn.Parameter(leaf.clone()))
        self._template = state

    @property
    def state(self) -> DualState:
        """The state as the pure functions take it."""
        names = state_dict(self._template)
        held = (getattr(self, name.replace(".", "_")) for name in names)
        state: DualState = like(self._template, held)
        return state

    def lambda_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the multipliers of the classical mode, for an optimiser of their own."""
        if self.dual_rate_factor is not None:
            yield self.get_parameter("multiplier")

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        weights: Number | None = None,
        label_priors: Number | None = None,
    ) -> Tensor:
        """Return the loss of a batch, and in training mode take the batch into the state.

        Args:
            logits: Scores, shape ``[n]``, ``[n, num_labels]`` or ``[n, num_labels, ...]``.
            labels: 0 or 1, shape of the logits.
            weights: Scalar, ``[n]`` or up to the shape of the logits.
            label_priors: Share of positives, scalar or ``[num_labels]``.

        Returns:
            A scalar, or the logits' shape for ``reduction="none"``.
        """
        name = type(self).__name__
        check_logits(name, logits)
        check_labels(name, logits, labels)
        rows, restore = as_rows(name, logits, self.num_labels)
        if isinstance(weights, Tensor):
            weights = rows(spread_weights(name, weights, logits).expand_as(logits))
        given, factor = (rows(logits), rows(labels), weights, label_priors), self.dual_rate_factor
        return restore(self._step(given) if factor is None else self._classical(factor, given))

    def _step(self, given: Given) -> Tensor:
        target = self.target_name, self.target
        loss, after = constrained_loss(
            self.problem, target, given, self.state, self.surrogate, self.rule, self.reduction
        )
        if self.training:
            for key, leaf in state_dict(after).items():
                setattr(self, key.replace(".", "_"), leaf)
        return loss

    def _classical(self, factor: float, given: Given) -> Tensor:
        (logits, labels, weights, label_priors), name = given, type(self).__name__
        batch = make_batch(name, logits, labels, weights)
        multiplier, threshold = self.get_parameter("multiplier"), self.get_parameter("threshold")
        if self.training:
            with torch.no_grad():
                multiplier.clamp_(min=0)
        still = multiplier.detach()
        reversed_ = still + factor * (still - multiplier)
        problem = pose(name, self.problem, (self.target_name, self.target), batch)
        prior = share_of_positives(name, batch, label_priors)
        surrogate = self.surrogate or cross_entropy
        form, distance = problem.lagrangian(reversed_), batch.scores - threshold
        elements = bounded_elements(batch, form, distance, surrogate, prior)
        return reduced(batch, elements, 0.0, self.reduction)[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the state with the module, but keep it in float32 or wider."""

        def widened(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            narrow = moved.is_floating_point() and moved.dtype.itemsize < torch.float32.itemsize
            return tensor.to(moved.device) if narrow else moved

        moved: Self = super()._apply(widened, recurse)  # type: ignore[no-untyped-call]
        return moved
