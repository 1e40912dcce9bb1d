"""What modules share, and the module of a loss without state."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, get_args, get_type_hints

from torch import Tensor, nn

from gobj._checks import Number


class _Brief(type):
    """Keep ``help`` of a class short: what every ``torch.nn.Module`` has is left out."""

    def __dir__(cls) -> list[str]:
        """List what classes of this package define."""
        own = [base for base in cls.__mro__ if base.__module__.startswith("gobj")]
        names = {name for base in own for name in vars(base)}
        return sorted(name for name in names if name == "__init__" or not name.startswith("__"))


class GobjModule(nn.Module, metaclass=_Brief):
    """A ``torch.nn.Module`` whose ``help`` shows what it adds to one."""

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
        cls.__signature__ = inspect.Signature(
            [x for x in _keywords(cls.function) if x.name != "weights"]
        )

    def __init__(self, **settings: object) -> None:
        super().__init__()
        type(self).__signature__.bind(**settings)  # a misspelt name is a TypeError at once
        tensors = {name: value for name, value in settings.items() if isinstance(value, Tensor)}
        for name, value in tensors.items():
            self.register_buffer(name, value.detach().clone())
        self.settings = {name: settings[name] for name in settings.keys() - tensors.keys()}

    def forward(self, logits: Tensor, labels: Tensor, weights: Number | None = None) -> Tensor:
        """Return the loss of a batch."""
        return type(self).function(
            logits, labels, weights=weights, **self.settings, **self._buffers
        )

    def extra_repr(self) -> str:
        """Return the settings for ``print``."""
        return ", ".join(f"{name}={value!r}" for name, value in self.settings.items())


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
