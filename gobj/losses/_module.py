"""The module form of a loss without state."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from gobj._checks import Number


class LossModule(nn.Module):
    """Call ``function`` with the settings given at construction; tensors among them are buffers.

    A subclass names its function. It takes the function's keyword arguments except ``weights``,
    which belong to a batch and are passed with it.
    """

    function: ClassVar[Callable[..., Tensor]]

    def __init_subclass__(cls, **keywords: object) -> None:
        """Show the function's settings as the signature of the class."""
        super().__init_subclass__(**keywords)
        parameters = inspect.signature(cls.function).parameters.values()
        settings = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "weights"]
        cls.__signature__ = inspect.Signature(settings)  # type: ignore[attr-defined]

    def __init__(self, **settings: object) -> None:
        """Keep the settings, the function's own defaults where none is given."""
        super().__init__()
        bound = inspect.signature(type(self)).bind(**settings)
        bound.apply_defaults()
        self.settings: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if isinstance(value, Tensor):
                self.register_buffer(name, value)
            else:
                self.settings[name] = value

    def forward(self, logits: Tensor, labels: Tensor, weights: Number | None = None) -> Tensor:
        """Return the loss of a batch."""
        return type(self).function(
            logits, labels, weights=weights, **self.settings, **self._buffers
        )

    def extra_repr(self) -> str:
        """Return the settings for ``print``."""
        return ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
