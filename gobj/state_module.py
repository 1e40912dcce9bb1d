"""A module that holds the state of a loss: saved, loaded and moved with the rest of a model."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from gobj._checks import refuse
from gobj.duals.rule import DualRule
from gobj.initial import init_state
from gobj.problem import AnyProblem
from gobj.state import leaves, state_dict, unflatten
from gobj.stateless import GobjModule, written

ROUNDING = 4e-3  # of an anchor that was saved in half precision


class _Buffers(nn.Module):
    """The tensors of a NamedTuple as buffers, so that ``state_dict`` names them by dots."""

    def __init__(self, tensors: Any) -> None:
        super().__init__()
        for name, value in zip(tensors._fields, tensors, strict=True):
            if isinstance(value, Tensor):
                self.register_buffer(name, value)
            else:
                self.add_module(name, _Buffers(value))


class StateModule(GobjModule):
    """Hold a state in buffers, in float32 or wider; in the classical mode two are parameters.

    Attributes:
        builder: Function that builds the problem from the settings.
        num_labels: Number of labels.
        rule: The dual rule that moves the state.
        multiplier: Price of the constraint, ``[num_labels]``, with anchors
            ``[num_labels, anchors]``.
        threshold: An example is called positive where its logit is above it; shape as before.
    """

    builder: Callable[..., AnyProblem]
    num_labels: int
    rule: DualRule
    multiplier: Tensor
    threshold: Tensor

    def _hold(self, settings: Mapping[str, Any], anchors: int | Tensor | None) -> None:
        """Register the first state, and the settings that it is for."""
        self._anchors = anchors.detach().clone() if isinstance(anchors, Tensor) else anchors
        self._register(self._first_state())
        self._keep(settings, self.multiplier.device, persistent=False)
        self.register_load_state_dict_pre_hook(_prepare_to_load)  # type: ignore[no-untyped-call]

    def _first_state(self, **options: Any) -> Any:
        labels = (self.num_labels,)
        if self._anchors is None:
            return init_state(labels, rule=self.rule, **options)
        return init_state(labels, anchors=self._anchors, rule=self.rule, **options)

    def _register(self, state: Any) -> None:
        """Register the tensors of a state: buffers, and in the classical mode two parameters."""
        # only its shape is wanted: a compiled call would watch whether buffers are its tensors
        self._template = unflatten(state, (leaf.detach().to("meta") for leaf in leaves(state)))
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
                    path, _, last = name.rpartition(".")
                    holder = _get(self, path) if path else self
                    kept = getattr(holder, last)
                    if isinstance(kept, nn.Parameter):
                        continue
                    if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
                        # what the compiler computes again in backward has to find the old values;
                        # an export would forget what is set
                        setattr(holder, last, leaf)
                    else:
                        kept.copy_(leaf)
        except RuntimeError:  # a transform does not let a module change its buffers
            function = getattr(self.builder, "__name__", "constrained").removeprefix("_")
            called = f"be outside of torch.func, where gobj.{function}_loss is called"
            refuse("logits", called, logits)

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
