"""What modules share, and the module of a loss without state."""

import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Self, get_args, get_type_hints

import torch
from torch import Tensor, nn

from gobj._checks import Number, is_number
from gobj.distributed import ModuleGroup, check_group_of_module, group_of_module
from gobj.state import leaves, unflatten


class _Brief(type):
    """Keep ``help`` of a class short: what every ``torch.nn.Module`` has is left out."""

    def __dir__(cls) -> list[str]:
        """List what classes of this package define."""
        own = [base for base in cls.__mro__ if base.__module__.startswith("gobj")]
        names = {name for base in own for name in vars(base)}
        return sorted(name for name in names if name == "__init__" or not name.startswith("__"))


class GobjModule(nn.Module, metaclass=_Brief):
    """A ``torch.nn.Module`` whose ``help`` shows what it adds to one.

    Attributes:
        settings: The keyword arguments that each call of the function gets.
    """

    settings: dict[str, Any]

    def _keep(
        self, settings: Mapping[str, Any], device: torch.device | None, *, persistent: bool
    ) -> None:
        """Keep settings, their tensors as buffers."""
        self.settings = dict(settings)
        for name, tensor in self._tensors_of_settings():
            held = tensor.detach().to(device, copy=True)
            self.register_buffer(name, held, persistent=persistent)

    def _tensors_of_settings(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the tensors that the module was made with, by the names of their buffers."""
        for name, value in self.settings.items():
            if isinstance(value, Tensor):
                yield name, value
            elif hasattr(value, "_fields"):
                yield from ((f"{name}_{i}", leaf) for i, leaf in enumerate(leaves(value)))

    def _setting(self, name: str) -> Any:
        """Return a setting with its tensors where the module is."""
        value = self.settings[name]
        if hasattr(value, "_fields"):
            held = (getattr(self, f"{name}_{i}") for i in range(len(leaves(value))))
            return unflatten(value, held)
        return getattr(self, name) if isinstance(value, Tensor) else value

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy everything but a process group, which stays the one that it is."""
        group = self.settings.get("process_group", getattr(self, "process_group", None))
        memo[id(group)] = group
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__ = copy.deepcopy(self.__dict__, memo)
        return copied

    def __dir__(self) -> list[str]:
        """List everything, unlike that of the class."""
        return sorted({*object.__dir__(self), *self._parameters, *self._buffers, *self._modules})


class StatelessLoss(GobjModule):
    """Call a loss without state with settings that are given at construction.

    A subclass names its ``function`` and takes its keyword arguments except ``weights``, which
    belong to a batch and are passed with it. Tensors among them become buffers.

    Args:
        **settings: Keyword arguments of the function.

    Example:
        >>> import gobj, torch
        >>> criterion = gobj.nn.FBetaLoss(beta=2.0)
        >>> criterion(torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0])).shape
        torch.Size([])
    """

    function: ClassVar[Callable[..., Tensor]]
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls) -> None:
        """Give the class the keyword arguments of its function as its signature."""
        super().__init_subclass__()
        given = [x for x in _keywords(cls.function) if x.name != "weights"]
        cls.__signature__ = inspect.Signature([_for_module(x) for x in given])

    def __init__(self, **settings: object) -> None:
        super().__init__()
        type(self).__signature__.bind(**settings)  # a misspelt name is a TypeError at once
        check_group_of_module(settings.get("process_group"))
        self._keep(settings, None, persistent=True)

    def forward(self, logits: Tensor, labels: Tensor, weights: Number | None = None) -> Tensor:
        """Return the loss of a batch."""
        settings = {name: self._setting(name) for name in self.settings}
        group = settings.get("process_group", "world")
        settings["process_group"] = group_of_module(
            group, logits, training=self.training and torch.is_grad_enabled()
        )
        return type(self).function(logits, labels, weights=weights, **settings)

    def extra_repr(self) -> str:
        """Return the settings for ``print``."""
        return ", ".join(f"{name}={written(value)}" for name, value in self.settings.items())


def written(value: Any) -> Any:
    """Write a setting such that what differs reads differently, and what is equal alike."""
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, functools.partial):
        return f"{written(value.func)}{written(value.args)}"
    if isinstance(value, tuple):
        name = type(value).__name__ if hasattr(value, "_fields") else ""
        return f"{name}({', '.join(str(written(x)) for x in value)})"
    return float(value) if is_number(value) else getattr(value, "__qualname__", value)


def _for_module(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a keyword as a module takes it: its batches are by default those of all ranks."""
    if parameter.name != "process_group":
        return parameter
    return parameter.replace(default="world", annotation=ModuleGroup)


def _keywords(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """List the keyword arguments of a function, those behind ``**options: Unpack[...]`` too."""
    found: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            found.append(parameter)
        elif parameter.kind is parameter.VAR_KEYWORD:
            hints = get_type_hints(get_args(parameter.annotation)[0])
            found += [
                inspect.Parameter(name, parameter.KEYWORD_ONLY, default=..., annotation=hint)
                for name, hint in hints.items()
            ]
    return found
