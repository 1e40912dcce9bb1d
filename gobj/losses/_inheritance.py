"""Signature and reference card of a function that passes its keywords on to another."""

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

_TITLES = "Args", "Returns", "Raises", "Example", "References"


def completed_from(source: Callable[..., Any], **described: str) -> Callable[[Function], Function]:
    """Complete signature and docstring of a function that ends in ``**keywords`` for ``source``.

    The keywords of ``source`` that have a default take the place of ``**keywords``, and sections
    that the docstring leaves out are those of ``source``. ``described`` has the descriptions of
    the arguments that ``source`` has not.
    """

    def complete(function: Function) -> Function:
        own = inspect.signature(function)
        parameters = {n: p for n, p in own.parameters.items() if p.kind is not p.VAR_KEYWORD}
        for name, parameter in inspect.signature(source).parameters.items():
            if parameter.default is not parameter.empty:
                parameters.setdefault(name, parameter)
        function.__dict__["__signature__"] = own.replace(parameters=list(parameters.values()))
        if function.__doc__ and source.__doc__:
            function.__doc__ = _merge(source.__doc__, function.__doc__, described, list(parameters))
        return function

    return complete


def _merge(inherited: str, written: str, described: dict[str, str], names: list[str]) -> str:
    sections = {**_sections(inherited), **_sections(written)}
    known = _arguments(sections["Args"]) | described
    sections["Args"] = "".join(f"    {name}: {known[name]}\n" for name in names) + "\n"
    card = "".join(f"{title}:\n{sections[title].rstrip()}\n\n" for title in _TITLES)
    return f"{sections['']}{card}"


def _sections(docstring: str) -> dict[str, str]:
    """Return the text under each title, and under no title what comes first."""
    first, *rest = re.split(
        rf"^({'|'.join(_TITLES)}):\n", inspect.cleandoc(docstring) + "\n", flags=re.MULTILINE
    )
    return {"": first, **dict(zip(rest[::2], rest[1::2], strict=True))}


def _arguments(section: str) -> dict[str, str]:
    """Return the description of each argument."""
    return dict(re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE))
