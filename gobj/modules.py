"""The module of a loss with a state, and that of a problem of one's own."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Self, TypedDict, Unpack

import torch
from torch import Tensor, nn

from gobj._batch import spread_weights, widen
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
from gobj.constrained import constrained_loss
from gobj.distributed import ModuleGroup, group_of_module
from gobj.duals.lagrangian import OptimizerAscent
from gobj.duals.rule import DualRule
from gobj.initial import chosen_rule, init_state
from gobj.problem import AnyProblem
from gobj.state import state_dict, unflatten
from gobj.stateless import GobjModule, written
from gobj.surrogates import Surrogate, cross_entropy, hinge

ROUNDING = 4e-3  # of an anchor that was saved in half precision
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


class _Buffers(nn.Module):
    """The tensors of a NamedTuple as buffers, so that ``state_dict`` names them by dots."""

    def __init__(self, tensors: Any) -> None:
        super().__init__()
        for name, value in zip(tensors._fields, tensors, strict=True):
            if isinstance(value, Tensor):
                self.register_buffer(name, value)
            else:
                self.add_module(name, _Buffers(value))


class StatefulLoss(GobjModule):
    """Hold the state of a loss in buffers.

    **Shapes.** Called as ``criterion(logits, labels)`` like ``torch.nn.BCEWithLogitsLoss``: ``[n]``
    or ``[n, 1]`` for one label, ``[n, num_labels]`` for several; further dimensions, such as
    ``[n, num_labels, height, width]``, are more examples. The loss is a scalar unless
    ``reduction="none"``.

    **State.** A call moves the state while the module is in training mode and gradients are on.
    Otherwise, as in a validation loop, the loss is that of each example at the state as it is. The
    state is kept in float32 or wider, whatever the dtype of the model. A forward pass that is
    computed again would move it twice: checkpoint the activations of the model and not of the loss.
    Where a closure evaluates the loss several times a step, as for L-BFGS, call the criterion once
    before the step and evaluate the closure under ``criterion.eval()``. In a transform of
    ``torch.func`` use the function, which returns the state.

    **Classical mode.** With ``dual_rate_factor`` the multipliers and thresholds are parameters,
    which an optimiser of the user's choice moves; see :class:`gobj.OptimizerAscent`. The factor
    only matters to optimisers whose step grows with the gradient: to Adam it does nothing.
    Multipliers below zero count as zero and are set to it at the next call that trains; weight
    decay belongs off.

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

    multiplier: Tensor
    threshold: Tensor

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
        self.options = {"surrogate": surrogate, "ignore_index": ignore_index}
        self.process_group, self.reduction = process_group, reduction
        self._anchors = anchors.detach().clone() if isinstance(anchors, Tensor) else anchors
        self._register(self._first_state())
        self._keep(settings or {}, self.multiplier.device, persistent=False)
        self._frozen_rule = self.rule.frozen()
        self.register_load_state_dict_pre_hook(_prepare_to_load)  # type: ignore[no-untyped-call]
        no_examples = self.multiplier.new_zeros(0, num_labels)
        self._call(no_examples, no_examples, self.state)  # checks the settings

    def _first_state(self, **options: Any) -> Any:
        labels = (self.num_labels,)
        if self._anchors is None:
            return init_state(labels, rule=self.rule, **options)
        return init_state(labels, anchors=self._anchors, rule=self.rule, **options)

    def _register(self, state: Any) -> None:
        """Register the tensors of a state: buffers, and in the classical mode two parameters."""
        self._template = state
        for name, value in zip(state._fields, state, strict=True):
            if not isinstance(value, Tensor):
                self.add_module(name, _Buffers(value))
            elif not self.rule.detached and name in ("multiplier", "threshold"):
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def _tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the state by name."""
        return {name: _get(self, name) for name in state_dict(self._template)}

    @property
    def state(self) -> Any:
        """The state as the pure functions take it."""
        return unflatten(self._template, self._tensors().values())

    def reset_parameters(self) -> None:
        """Write the first state and the settings into the tensors, such as after ``to_empty``."""
        first = self._first_state(device=self.multiplier.device, dtype=self.multiplier.dtype)
        with torch.no_grad():
            for name, leaf in (*state_dict(first).items(), *self._tensors_of_settings()):
                _get(self, name).copy_(leaf)

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
        check_logits(logits)
        check_labels(logits, labels)
        spread = spread_weights(weights, widen(logits))
        weights = None if spread is None else self._rows(spread.expand_as(logits))
        moving = self.training and torch.is_grad_enabled()
        batch = self._rows(logits), self._rows(labels)
        options: Any = {"weights": weights, "label_priors": label_priors}
        options["rule"] = self.rule if moving else self._frozen_rule
        options["process_group"] = group_of_module(self.process_group, training=self.training)
        loss, after = self._call(*batch, self._snapshot(), **options)
        if moving:
            self._move(after, logits)
        return self._restored(loss, logits) if self.reduction == "none" else loss

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
        return self._restored(self._rows(logits) > threshold, logits)

    def _call(self, logits: Tensor, labels: Tensor, state: Any, **options: Any) -> Any:
        given = {name: self._setting(name) for name in self.settings}
        for name, value in given.items():
            if isinstance(value, Tensor):
                given[name] = target_per_label(name, value, logits)
        options = {**self.options, "rule": self.rule, "reduction": self.reduction, **options}
        return constrained_loss(self.builder(**given), logits, labels, state, **options)

    def _snapshot(self) -> Any:
        """Return the state with clones of its buffers, which may then move before ``backward``."""
        tensors = self._tensors().values()
        return unflatten(
            self._template, (x if isinstance(x, nn.Parameter) else x.clone() for x in tensors)
        )

    def _move(self, after: Any, logits: Tensor) -> None:
        """Write the next state into the buffers; a multiplier below 0 becomes 0."""
        try:
            with torch.no_grad():
                if isinstance(self.multiplier, nn.Parameter):
                    self.multiplier.relu_()
                for name, leaf in state_dict(after).items():
                    kept = _get(self, name)
                    if not isinstance(kept, nn.Parameter):
                        kept.copy_(leaf)
        except RuntimeError:  # a transform does not let a module change its buffers
            function = getattr(self.builder, "__name__", "constrained").removeprefix("_")
            called = f"be outside of torch.func, where gobj.{function}_loss is called"
            refuse("logits", called, logits)

    def _rows(self, values: Tensor) -> Tensor:
        """Turn the shape of the logits into ``[examples, num_labels]``."""
        if values.dim() == 1 and self.num_labels == 1:
            return values.unsqueeze(1)
        if values.dim() == 1 or values.shape[1] != self.num_labels:
            refuse("logits", f"have {self.num_labels} labels in dimension 1", values)
        return values.movedim(1, -1).reshape(-1, self.num_labels)

    def _restored(self, rows: Tensor, logits: Tensor) -> Tensor:
        """Turn ``[examples, num_labels]`` into the shape of the logits."""
        if logits.dim() == 1:
            return rows.squeeze(1)
        return rows.reshape(logits.movedim(1, -1).shape).movedim(-1, 1)

    def get_extra_state(self) -> Tensor:
        """Return the objective and its settings as bytes, for ``state_dict``."""
        return torch.tensor(list(repr(self).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Refuse the state of another objective, target or range."""
        saved = bytes(state.tolist()).decode()
        if saved != repr(self):
            ours = f"be of {self!r}; to change that on purpose, delete its `_extra_state`"
            refuse("state_dict", ours, saved)

    def __repr__(self) -> str:
        """Return one line: what the state is for."""
        return f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self) -> str:
        """Name the settings and the number of labels."""
        shown = (f"{name}={written(value)}" for name, value in self.settings.items())
        return ", ".join([*shown, f"num_labels={self.num_labels}"])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the state with the module, but keep it in float32 or wider."""

        def widened(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return tensor.to(moved.device) if _is_narrow(moved) else moved

        moved: Self = super()._apply(widened, recurse)  # type: ignore[no-untyped-call]
        return moved


def _get(module: nn.Module, name: str) -> Any:
    """Return an attribute by its dotted name."""
    return functools.reduce(getattr, name.split("."), module)


def _is_narrow(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dtype.itemsize < torch.float32.itemsize


def _prepare_to_load(module: Any, saved: dict[str, Any], prefix: str, *_: Any) -> None:
    """Let loaded tensors own their memory, in float32 or wider, even if they are assigned.

    A dict of :func:`gobj.state_dict` has the same names, and no settings to compare.
    """
    settings = saved.setdefault(f"{prefix}_extra_state", module.get_extra_state())
    module.set_extra_state(settings)  # before any tensor is copied
    own, given = getattr(module._first_state(), "anchors", None), saved.get(f"{prefix}anchors")
    if own is not None and given is not None:
        near = own.shape == given.shape and torch.allclose(own, given.to(own), atol=ROUNDING)
        if not near:
            refuse("state_dict", f"have the anchors {own.tolist()}", given, type(module).__name__)
    for name in module._tensors():
        tensor = saved.get(prefix + name)
        if isinstance(tensor, Tensor):
            wide = tensor.float() if _is_narrow(tensor) else tensor
            saved[prefix + name] = wide.detach().clone()


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
        >>> cost = gobj.LinearForm(false_negative=10.0, false_positive=1.0)
        >>> alarms = gobj.LinearForm(false_positive=1.0, negatives=-0.05)  # FPR <= 0.05
        >>> criterion = gobj.nn.ConstrainedLoss(gobj.Problem(cost, alarms))
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
