"""``help`` lists the public names, and links of the README lead on.

That the reference lists the same names is checked where the pages are built, in ``docs/conf.py``.
"""

import importlib
import pydoc
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = ("gobj", "gobj.nn", "gobj.metrics", "gobj.plot", "gobj.study")


def public(module: str) -> set[str]:
    names = importlib.import_module(module).__all__
    return {name for name in names if f"{module}.{name}" not in MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_help_lists_each_public_name(module: str) -> None:
    text = pydoc.render_doc(importlib.import_module(module), renderer=pydoc.plaintext)
    found = re.findall(r"^    (?:class )?(\w+)(?:\(| = )", text, re.MULTILINE)
    assert public(module) <= set(found)


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
