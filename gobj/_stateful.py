"""Modules that keep the state of a loss: saved, moved with the module, frozen by ``eval()``."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Literal, Self, TypedDict

import torch
from torch import Tensor, nn

from gobj._batch import Batch, make_batch
from gobj._checks import (
    Number,
    Reduction,
    check_labels,
    check_logits,
    check_number,
    check_reduction,
    kind,
    require,
    spread_weights,
)
from gobj._lagrangian import share_of_positives
from gobj._rows import as_rows
from gobj._state import AreaState, DualState, like, state_dict
from gobj._surrogates import Surrogate, cross_entropy, hinge
from gobj.duals._rule import DualRule
from gobj.duals.frozen import FrozenDual
from gobj.objectives._initial import DEFAULT_RULE, init_state
from gobj.objectives._stepped import Given, reduced

LOSS_TYPES = {"cross_entropy": cross_entropy, "hinge": hinge}


class Options(TypedDict, total=False):
    """The keyword arguments of every module; :class:`StatefulLoss` says what they mean."""

    loss_type: Literal["cross_entropy", "hinge"] | None
    surrogate: Surrogate | None
    rule: DualRule
    dual_rate_factor: float | None
    reduction: Reduction


class StatefulLoss(nn.Module):
    """Hold the state of a loss in buffers.

    Called as ``criterion(logits, targets)`` like ``torch.nn.BCEWithLogitsLoss``, with the same
    shapes: ``[n]`` or ``[n, 1]`` for one label, ``[n, num_labels]`` for several; more dimensions,
    such as pixels, are more examples. The loss is a scalar unless ``reduction="none"``. In
    training mode a call also moves the state.

    With ``dual_rate_factor`` the module is the classical one: the multipliers and thresholds are
    parameters, which an optimiser of the user's choice moves by its own rule; the gradient of the
    multipliers is reversed and scaled by the factor, so that descent ascends. The factor only
    matters to optimisers whose step grows with the gradient: to Adam it does nothing. Multipliers
    below zero count as zero and are set to it at the next call in training mode; weight decay
    belongs off.

    Attributes:
        state: The state as the pure functions take it; its tensors have a first axis of labels.
        multiplier: Price of the constraint, ``[num_labels]``, with anchors
            ``[num_labels, anchors]``.
        threshold: An example is called positive where its logit is above it; shape as before.

    Args:
        num_labels: Number of labels, each with its own multipliers and thresholds.
        anchors: Anchors of an area, as in :func:`gobj.init_state`.
        loss_type: ``"cross_entropy"`` or ``"hinge"``: short for ``surrogate``.
        surrogate: Upper bound of the indicator of an error; by default the rule's own, and cross
            entropy in the classical mode.
        rule: How multipliers and thresholds follow the batches; in the classical mode they do not,
            and it plays no part.
        dual_rate_factor: Scale of the reversed gradient, at or above 0, for the classical mode,
            in which an area takes as long as its anchors one by one.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
    """

    def __init__(
        self,
        num_labels: int = 1,
        anchors: int | Tensor | None = None,
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
        whole = isinstance(num_labels, int) and num_labels >= 1
        require(whole, name, "num_labels", "be a whole number above 0", kind(num_labels))
        check_reduction(name, reduction)
        known = loss_type is None or (loss_type in LOSS_TYPES and surrogate is None)
        requirement = f"be one of {list(LOSS_TYPES)}, without `surrogate` beside it"
        require(known, name, "loss_type", requirement, loss_type)
        fine = surrogate is None or isinstance(surrogate, Surrogate)
        require(fine, name, "surrogate", "be a gobj.Surrogate", surrogate)
        self.surrogate = surrogate if loss_type is None else LOSS_TYPES[loss_type]
        self.rule, self.reduction, self.num_labels = rule, reduction, num_labels
        self.dual_rate_factor = dual_rate_factor
        if dual_rate_factor is not None:
            check_number(name, "dual_rate_factor", dual_rate_factor, low=0, closed=True)
        rule, labels = rule if dual_rate_factor is None else FrozenDual(), (num_labels,)
        if anchors is None:
            self._make_state(init_state(labels, rule=rule))
        else:
            self._make_state(init_state(labels, anchors=anchors, rule=rule))

    @abstractmethod
    def _loss(self, given: Given) -> tuple[Tensor, DualState | AreaState]:
        """Return the loss of a batch and the state after it."""

    @abstractmethod
    def _elements(
        self, batch: Batch, prior: Tensor, duals: tuple[Tensor, Tensor], surrogate: Surrogate
    ) -> tuple[Tensor, Tensor]:
        """Return the Lagrangian example by example, and its constant; nothing is detached.

        The duals are multiplier and threshold.
        """

    def _make_state(self, state: DualState | AreaState) -> None:
        for name, leaf in state_dict(state).items():
            if self.dual_rate_factor is None or name == "anchors":
                self.register_buffer(name.replace(".", "_"), leaf.clone())
            else:
                self.register_parameter(name, nn.Parameter(leaf.clone()))
        self._template = state

    @property
    def state(self) -> Any:
        """The state as the pure functions take it."""
        names = state_dict(self._template)
        held = (getattr(self, name.replace(".", "_")) for name in names)
        return like(self._template, held)

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
        loss, after = self._loss(given)
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
                multiplier.relu_()
        still = multiplier.detach()
        reversed_ = still.relu() + factor * (still - multiplier)
        prior = share_of_positives(name, batch, label_priors)
        surrogate = self.surrogate or cross_entropy
        elements, constant = self._elements(batch, prior, (reversed_, threshold), surrogate)
        return reduced(batch, elements, constant, self.reduction)[0]

    def extra_repr(self) -> str:
        """Name the number of labels."""
        return f"num_labels={self.num_labels}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the state with the module, but keep it in float32 or wider."""

        def widened(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            narrow = moved.is_floating_point() and moved.dtype.itemsize < torch.float32.itemsize
            return tensor.to(moved.device) if narrow else moved

        moved: Self = super()._apply(widened, recurse)  # type: ignore[no-untyped-call]
        return moved
