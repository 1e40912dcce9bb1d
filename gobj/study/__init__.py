"""The job behind ``python -m gobj``, as functions; needs the extra ``study``."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gobj.study.command import Result, fit
    from gobj.study.estimator import ObjectiveClassifier
    from gobj.study.model import Model, load_model
    from gobj.study.options import Options
    from gobj.study.scoring import score_frame

__all__ = [
    "Model",
    "ObjectiveClassifier",
    "Options",
    "Result",
    "fit",
    "load_model",
    "score_frame",
]

HOMES = {
    "Model": "model",
    "ObjectiveClassifier": "estimator",
    "Options": "options",
    "Result": "command",
    "fit": "command",
    "load_model": "model",
    "score_frame": "scoring",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for: the command line reads its options before it loads the packages."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415, not a name of this module

    return getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names, so that ``help`` and editors find what is not loaded yet."""
    return __all__
