"""The module of a loss with a state, and that of a problem of one's own."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TypedDict, Unpack

import torch
from torch import Tensor, nn

from gobj._batch import Sums, spread_weights, widen
from gobj._checks import (
    REDUCTIONS,
    Number,
    Reduction,
    check_choice,
    check_count,
    check_labels,
    check_logits,
    check_number,
    refuse,
    target_per_label,
)
from gobj.accumulation import Accumulation
from gobj.constrained import constrained_loss, observe, weigh
from gobj.distributed import ModuleGroup, check_group_of_module, group_of_module, is_sharded, shards
from gobj.duals.lagrangian import OptimizerAscent
from gobj.duals.rule import DualRule
from gobj.initial import chosen_rule
from gobj.problem import AnyProblem
from gobj.state import cast, load_state_dict
from gobj.state_module import StateModule
from gobj.surrogates import Surrogate, cross_entropy, hinge

LOSS_TYPES = {"cross_entropy": cross_entropy, "hinge": hinge}


class ModuleOptions(TypedDict, total=False):
    """The keyword arguments of every module with a state; :class:`StatefulLoss` explains them."""

    loss_type: Literal["cross_entropy", "hinge"] | None
    surrogate: Surrogate | None
    rule: DualRule | None
    dual_rate_factor: float | None
    ignore_index: int | None
    process_group: ModuleGroup
    reduction: Reduction


class StatefulLoss(StateModule):
    """Hold the state of a loss in buffers.

    **Shapes.** Called as ``criterion(logits, labels)`` like ``torch.nn.BCEWithLogitsLoss``: ``[n]``
    or ``[n, 1]`` for one label, ``[n, num_labels]`` for several; further dimensions, such as
    ``[n, num_labels, height, width]``, are more examples. The loss is a scalar unless
    ``reduction="none"``.

    **State.** A call moves the state while the module is in training mode and gradients are on.
    Otherwise, as in a validation loop, the loss is that of each example at the state as it is. The
    state is kept in float32 or wider, whatever the dtype of the model. A forward pass that is
    computed again finds another state: checkpoint the activations of the model and not of the loss.
    Where a closure evaluates the loss several times a step, as for L-BFGS, call the criterion once
    before the step and evaluate the closure under ``criterion.eval()``. In a transform of
    ``torch.func`` use the function, which returns the state.

    **Classical mode.** With ``dual_rate_factor`` the multipliers and thresholds are parameters,
    which an optimiser of the user's choice moves; see :class:`gobj.OptimizerAscent`. The factor
    only matters to optimisers whose step grows with the gradient: to Adam it does nothing.
    Multipliers below zero count as zero and are set to it at the next call that trains; weight
    decay belongs off.

    **Several ranks.** While training, the batches of all ranks are one; see ``process_group``. All
    have to call the criterion in every step, be it with an empty batch. At rest, and without
    gradients, each rank is by itself.

    Attributes:
        state: The state as the pure functions take it; its tensors have a first axis of labels.
        multiplier: Price of the constraint, ``[num_labels]``, with anchors
            ``[num_labels, anchors]``.
        threshold: An example is called positive where its logit is above it; shape as before.

    Args:
        builder: A function that builds the problem, such as :func:`gobj.recall_at_precision`.
        num_labels: Number of labels, each with its own multipliers and thresholds.
        settings: Keyword arguments of that function, such as its target.
        anchors: Anchors of an area, as in :func:`gobj.init_state`.
        loss_type: ``"cross_entropy"`` or ``"hinge"``: short for ``surrogate``.
        surrogate: Upper bound of the indicator of an error, for a rule that has one; by default the
            rule's own, and cross entropy in the classical mode.
        rule: How multipliers and thresholds follow the batches; by default that of
            :func:`gobj.init_state`.
        dual_rate_factor: Scale of the reversed gradient of the multipliers, at or above 0, for the
            classical mode, in which an optimiser moves them; see :class:`gobj.OptimizerAscent`.
        ignore_index: Label that marks an example as absent; None for no such label.
        process_group: Ranks whose batches are parts of one while training: ``"world"`` for all
            ranks where ``torch.distributed`` runs several, None for this process alone.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import gobj, torch
        >>> criterion = gobj.nn.StatefulLoss(gobj.tpr_at_fpr, 3, {"target_fpr": 0.1})
        >>> logits, labels = torch.randn(8, 3, 4, 4), torch.ones(8, 3, 4, 4)
        >>> criterion(logits, labels).shape, criterion.threshold.shape
        (torch.Size([]), torch.Size([3]))
    """

    def __init__(
        self,
        builder: Callable[..., AnyProblem],
        num_labels: int = 1,
        settings: Mapping[str, Any] | None = None,
        *,
        anchors: int | Tensor | None = None,
        loss_type: Literal["cross_entropy", "hinge"] | None = None,
        surrogate: Surrogate | None = None,
        rule: DualRule | None = None,
        dual_rate_factor: float | None = None,
        ignore_index: int | None = None,
        process_group: ModuleGroup = "world",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_count("num_labels", num_labels)
        check_choice("reduction", reduction, REDUCTIONS)
        if loss_type is not None:
            check_choice("loss_type", loss_type, tuple(LOSS_TYPES))
            if surrogate is not None:
                refuse("loss_type", "not stand beside `surrogate`", loss_type)
            surrogate = LOSS_TYPES[loss_type]
        if dual_rate_factor is not None:
            check_number("dual_rate_factor", dual_rate_factor, low=0, closed=True)
            own = OptimizerAscent(dual_rate_factor)
            if rule not in (None, own):
                refuse("dual_rate_factor", "not stand beside `rule`", dual_rate_factor)
            rule = own
        self.rule = chosen_rule(rule, area=anchors is not None)
        self.builder, self.num_labels = builder, num_labels
        self.options: dict[str, Any] = {"surrogate": surrogate, "ignore_index": ignore_index}
        check_group_of_module(process_group)
        self.process_group, self.reduction = process_group, reduction
        self._hold(settings or {}, anchors)
        self._frozen_rule = self.rule.frozen()
        self._accumulation: Accumulation | None = None
        none, own = self.multiplier.detach().new_zeros(0, num_labels), self.state
        weigh(self._problem(none), none, none, own, rule=self.rule, **self.options)  # checks all

    def lambda_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the multipliers of the classical mode, for an optimiser of their own."""
        if isinstance(self.multiplier, nn.Parameter):
            yield self.multiplier

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        weights: Number | None = None,
        label_priors: Number | None = None,
    ) -> Tensor:
        """Return the loss of a batch; while training, take the batch into the state.

        Args:
            logits: Scores, shape ``[n]``, ``[n, num_labels]`` or ``[n, num_labels, ...]``.
            labels: Share of a positive that each example is, in [0, 1], shape of the logits.
            weights: Scalar, ``[n]`` or up to the shape of the logits.
            label_priors: Share of positives, scalar or ``[num_labels]``.

        Returns:
            A scalar, or the logits' shape for ``reduction="none"``.
        """
        problem, batch, options = self._prepared(logits, labels, weights, label_priors)
        moving = self.training and torch.is_grad_enabled()
        group = group_of_module(self.process_group, logits, training=moving)
        if moving and self._accumulation is not None:
            return self._accumulation.weigh(problem, group, *batch, **options)
        options["rule"] = self.rule if moving else self._frozen_rule
        options["process_group"] = group
        options["reduction"] = self.reduction
        loss, after = constrained_loss(problem, *batch, self._snapshot(), **options)
        if moving:
            self._move(after, logits)
        return self._restored(loss, logits) if self.reduction == "none" else loss

    def observe(
        self,
        logits: Tensor,
        labels: Tensor,
        weights: Number | None = None,
        label_priors: Number | None = None,
    ) -> None:
        """Take a part of a batch into the sums of :meth:`accumulating`; arguments as for a call."""
        if self._accumulation is None:
            refuse("logits", "be observed within `accumulating()`", logits)
        problem, batch, options = self._prepared(logits, labels, weights, label_priors)
        group = group_of_module(self.process_group, logits, training=True)
        self._accumulation.observe(problem, group, *batch, **options)

    @contextmanager
    def accumulating(
        self, total_weight: Number | None = None, saved: Mapping[str, Tensor] | None = None
    ) -> Iterator[None]:
        """Take the calls within as parts of one batch, after which the state moves once.

        The losses add up to that of the whole batch, and so do their gradients. A loss needs to
        know the whole: either each part is shown to :meth:`observe` before the first loss, which
        takes a second forward pass, or ``total_weight`` is given, and the rule weighs first, as
        ``gobj.ImplicitMultiplier(order="weigh_first")`` does. An error within leaves the state as
        it was. Over several ranks the sums are added up once.

        Args:
            total_weight: Weight of the whole, or the number of its examples, over all parts and
                ranks; where an engine divides each loss by the number of parts, so is this.
            saved: What ``gobj.state_dict(criterion.sums)`` listed on this rank in the middle of a
                batch, which is now resumed from there.

        Example:
            >>> import gobj, torch
            >>> criterion = gobj.nn.RecallAtPrecisionLoss(0.9)
            >>> model = torch.nn.Linear(4, 1)
            >>> inputs, labels = torch.randn(32, 4), torch.arange(32).view(32, 1) % 2
            >>> parts = list(zip(inputs.split(8), labels.split(8)))
            >>> with criterion.accumulating():
            ...     for x, y in parts:
            ...         criterion.observe(model(x).detach(), y)
            ...     for x, y in parts:
            ...         criterion(model(x), y).backward()
            >>> rule = gobj.ImplicitMultiplier(order="weigh_first")
            >>> criterion = gobj.nn.RecallAtPrecisionLoss(0.9, rule=rule)
            >>> with criterion.accumulating(total_weight=32):
            ...     for x, y in parts:
            ...         criterion(model(x), y).backward()
        """
        if self._accumulation is not None or not self.training:
            refuse("criterion", "be in training mode, and not be accumulating already", self)
        if self.reduction != "mean":
            refuse("reduction", "be 'mean' to accumulate", self.reduction)
        none = self.multiplier.detach().new_zeros(0, self.num_labels)
        problem, state = self._problem(none), self._snapshot()
        # in float32 a count of 2^24 would not grow by 1; Metal has nothing wider
        wide = none.dtype if none.device.type == "mps" else torch.float64
        sums = cast(observe(problem, none, none, state, rule=self.rule), wide)
        if saved is not None:
            sums = load_state_dict(sums, saved)
        group = group_of_module(self.process_group, none, training=True)
        accumulation = Accumulation(problem, state, sums, self.rule, group, total_weight)
        if saved is not None:
            accumulation.observed = math.inf
        self._accumulation = accumulation
        try:
            yield
            self._move(accumulation.after()[0], none)
        finally:
            self._accumulation = None

    @property
    def sums(self) -> Sums | None:
        """Sums over the parts of a batch so far, within :meth:`accumulating`."""
        return None if self._accumulation is None else self._accumulation.sums

    def predict(self, logits: Tensor, anchor: int | None = None) -> Tensor:
        """Tell which scores are above the threshold of their label.

        Args:
            logits: Scores, as for a call.
            anchor: For an area the index of the anchor whose threshold it is.

        Returns:
            Boolean, shape of the logits.
        """
        check_logits(logits)
        if (anchor is None) != (self._anchors is None):
            several = f"be the index of one of {self.threshold.shape[-1]} anchors"
            refuse("anchor", "be None" if self._anchors is None else several, anchor)
        threshold = self.threshold if anchor is None else self.threshold[:, anchor]
        if is_sharded(logits):
            sharded: Any = logits
            threshold = shards().replicated(threshold, sharded.device_mesh)
        return self._restored(self._rows(logits) > threshold, logits)

    def _prepared(
        self, logits: Tensor, labels: Tensor, weights: Number | None, label_priors: Number | None
    ) -> tuple[AnyProblem, tuple[Tensor, Tensor], dict[str, Any]]:
        """Return the problem, the rows of a batch, and the options that every step takes."""
        check_logits(logits)
        check_labels(logits, labels)
        spread = spread_weights(weights, widen(logits))
        rows = None if spread is None else self._rows(spread.expand(logits.shape))
        options = {**self.options, "weights": rows, "label_priors": label_priors}
        return self._problem(logits), (self._rows(logits), self._rows(labels)), options

    def _problem(self, logits: Tensor) -> AnyProblem:
        """Build the problem in the precision of the logits."""
        settings = {name: self._setting(name) for name in self.settings}
        like = widen(logits).new_empty(0, self.num_labels)
        for name, value in settings.items():
            if isinstance(value, Tensor):
                settings[name] = target_per_label(name, value, like)
        return self.builder(**settings)

    def _rows(self, values: Tensor) -> Tensor:
        """Turn the shape of the logits into ``[examples, num_labels]``."""
        if values.dim() == 1 and self.num_labels == 1:
            return values.unsqueeze(1)
        if values.dim() == 1 or values.shape[1] != self.num_labels:
            refuse("logits", f"have {self.num_labels} labels in dimension 1", values)
        return values if values.dim() == 2 else values.movedim(1, -1).reshape(-1, self.num_labels)

    def _restored(self, rows: Tensor, logits: Tensor) -> Tensor:
        """Turn ``[examples, num_labels]`` into the shape of the logits."""
        if logits.dim() <= 2:
            return rows.squeeze(1) if logits.dim() == 1 else rows
        return rows.reshape(logits.movedim(1, -1).shape).movedim(-1, 1)


class ConstrainedLoss(StatefulLoss):
    """Minimise the cost of a problem of your own subject to its constraint.

    The module of :func:`gobj.constrained_loss`; :class:`StatefulLoss` says which shapes it takes,
    what it keeps and when that moves.

    Args:
        problem: A :class:`gobj.Problem`, or for an area a function that returns one.
        num_labels: Number of labels, each with its own multipliers and thresholds.
        num_anchors: For an area the number of anchors, or a tensor of their places in (0, 1).
        loss_type: ``"cross_entropy"`` or ``"hinge"``: short for ``surrogate``.
        surrogate: Upper bound of the indicator of an error, for a rule that has one; by default the
            rule's own, and cross entropy in the classical mode.
        rule: How multipliers and thresholds follow the batches; by default that of
            :func:`gobj.init_state`.
        dual_rate_factor: Scale of the reversed gradient of the multipliers, at or above 0, for the
            classical mode, in which an optimiser moves them; see :class:`gobj.OptimizerAscent`.
        ignore_index: Label that marks an example as absent; None for no such label.
        process_group: Ranks whose batches are parts of one while training: ``"world"`` for all
            ranks where ``torch.distributed`` runs several, None for this process alone.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import gobj, torch
        >>> missed = gobj.LinearForm(false_negative=1.0)
        >>> alarms = gobj.LinearForm(false_positive=1.0, negatives=-0.05)  # FPR <= 0.05
        >>> criterion = gobj.nn.ConstrainedLoss(gobj.Problem(missed, alarms))
        >>> logits, labels = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1.0, 0.0, 0.0])
        >>> criterion(logits, labels).isfinite()
        tensor(True)
    """

    def __init__(
        self,
        problem: AnyProblem,
        num_labels: int = 1,
        num_anchors: int | Tensor | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        settings = {"problem": problem}
        super().__init__(_constrained, num_labels, settings, anchors=num_anchors, **options)


def _constrained(problem: AnyProblem) -> AnyProblem:
    """Return a problem that needs no building."""
    return problem
