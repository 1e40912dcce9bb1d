"""Messages for what the command line cannot work with."""

from difflib import get_close_matches
from textwrap import shorten
from typing import Any


def require(condition: bool, argument: str, requirement: str, got: object) -> None:
    """Raise the package's one form of ``ValueError`` unless ``condition`` holds."""
    if not condition:
        shown = got if isinstance(got, str) else repr(got)
        raise ValueError(f"gobj: `{argument}` must {requirement}; got {shown}.")


def require_column(columns: Any, argument: str, name: str) -> None:
    """Require a column of this name, and suggest one that is spelled alike."""
    known = [str(column) for column in columns]
    near = get_close_matches(name, known, 1, 0.6)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    listed = shorten(", ".join(known), 200)
    require(name in known, argument, f"name a column ({listed})", f"{name!r}{hint}")
