"""Build the pages: ``python -m sphinx -W --keep-going docs build/docs``."""

import importlib
import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.logging import getLogger

import gobj

HERE = Path(__file__).parent
# Modules whose names the reference lists, each name on a page of its own.
PUBLIC = ("gobj", "gobj.nn", "gobj.metrics", "gobj.plot", "gobj.study")

project, author, release = "gobj", "the gobj developers", gobj.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx-mathjax-offline",  # formulas without a network
]
exclude_patterns = ["recipes/*.py"]
suppress_warnings = ["myst.header"]  # a notebook may end its text with a heading of its own

html_theme = "furo"
html_title = f"gobj {release}"
html_copy_source = False
html_show_copyright = False  # the licence says it

myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebooks are kept with their outputs; tests run their sources
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

templates_path = ["templates"]
autosummary_generate = True
autodoc_typehints = "none"  # the arguments say their shapes, ranges and units in words
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_rtype, napoleon_use_ivar = False, True
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(torch|numpy|pandas|sklearn|matplotlib)\..*"),
    ("py:class", r"gobj\.study\.\w+\.\w+"),  # parts of a model that are no names for users
]


def copy_notebooks(app: Sphinx, config: Any) -> None:
    """Bring the executed notebooks into the sources, where the pages are looked for."""
    pages = HERE / "notebooks"
    pages.mkdir(exist_ok=True)
    for notebook in (HERE.parent / "notebooks").glob("*.ipynb"):
        shutil.copy(notebook, pages)


def public_names() -> set[str]:
    """Return each public name with that of its module, as the reference has to list it."""
    names = set()
    for module in map(importlib.import_module, PUBLIC):
        names |= {f"{module.__name__}.{name}" for name in module.__all__}
    return names - set(PUBLIC)


def check_reference(app: Sphinx, environment: BuildEnvironment) -> None:
    """Warn of a public name without a page, and of a page whose name is not public."""
    documented = {
        name
        for name, entry in environment.domains["py"].objects.items()
        if entry.docname == f"reference/{name}"
    }
    for name in sorted(public_names() ^ documented):
        getLogger(__name__).warning("reference: %s is public or has a page, but not both", name)


def skip_fields(app: Sphinx, kind: str, name: str, member: Any, skip: bool, options: Any) -> bool:
    """Leave out fields of a NamedTuple, which its docstring describes, and what is of a host."""
    described = str(getattr(member, "__doc__", "")).startswith("Alias for field number")
    routing = name.endswith("_request") or name == "get_metadata_routing"  # of scikit-learn
    return skip or described or routing or isinstance(member, type)


def setup(app: Sphinx) -> None:
    """Connect the steps above."""
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("config-inited", copy_notebooks)
    app.connect("env-check-consistency", check_reference)
