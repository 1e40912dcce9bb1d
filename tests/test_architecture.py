"""How the package is cut: which way its parts depend on each other, and how large they are."""

import ast
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import gobj

ROOT = Path(gobj.__file__).parent
FILES = {
    ".".join(("gobj", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): (
        path
    )
    for path in sorted(ROOT.rglob("*.py"))
}
BLANK = (
    tokenize.ENCODING,
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}

# Each layer may use those above it, and its own modules where they do not use it back.
LAYERS = [
    ["gobj._checks"],
    ["gobj.surrogates", "gobj.problem", "gobj.state", "gobj.labels", "gobj.distributed"],
    ["gobj._batch"],
    ["gobj.lagrangian", "gobj.duals.rule"],
    ["gobj.duals.implicit", "gobj.duals.focus", "gobj.duals.lagrangian"],
    ["gobj.initial"],
    ["gobj._view", "gobj.sharded"],
    ["gobj.constrained", "gobj.accumulation", "gobj.stateless", "gobj.state_module", "gobj.linear"],
    ["gobj.modules", "gobj.losses", "gobj.metrics", "gobj.weight_map"],
    ["gobj.operating_point", "gobj.diagnosis"],
    ["gobj.plot"],
    ["gobj.objectives", "gobj.weights"],
    ["gobj.classical"],
    ["gobj.nn"],
]
# What answers on a table uses the libraries of an extra; all else needs torch alone.
STUDY = ("gobj.study", "gobj.__main__")
# Modules show and save their settings; to gather rows needs their number on every rank; pictures
# and what is read from held-back scores are no losses.
READERS = (
    "gobj.state_module",
    "gobj.stateless",
    "gobj.distributed",
    "gobj.operating_point",
    "gobj.plot",
)
LARGEST_MODULE, LARGEST_BODY, LARGEST_CORE = 200, 45, 4100

each_module = pytest.mark.parametrize("module", TREES)


def layer(module: str) -> int | None:
    """Return the layer of the longest prefix that is listed."""
    found = [
        (len(prefix), index)
        for index, prefixes in enumerate(LAYERS)
        for prefix in prefixes
        if module == prefix or module.startswith(prefix + ".")
    ]
    return max(found)[1] if found else None


def imported(module: str, *, nested: bool = True) -> set[str]:
    """Name the modules that a module imports, those inside functions too if ``nested``."""
    tree = TREES[module]
    nodes = ast.walk(tree) if nested else iter(tree.body)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module is not None
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (inner & FILES.keys()) or {node.module}
    return names


def ours(module: str) -> set[str]:
    """Name the modules of the package that a module imports."""
    return {name for name in imported(module) if name in FILES and name != "gobj"}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Module) -> list[ast.stmt]:
    """Return the statements of a body after its docstring."""
    return node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body


def code_lines(module: str) -> int:
    """Count the lines of code: without docstrings, comments, blank lines and imports."""
    left_out: set[int] = set()
    for node in ast.walk(TREES[module]):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body
        first = node.body[0] if documented else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            left_out |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
        if isinstance(node, ast.Import | ast.ImportFrom):
            left_out |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    written: set[int] = set()
    with FILES[module].open("rb") as source:
        for token in tokenize.tokenize(source.readline):
            if token.type not in BLANK:
                written |= set(range(token.start[0], token.end[0] + 1))
    return len(written - left_out)


@pytest.mark.parametrize("module", [name for name in TREES if not name.startswith(STUDY)])
def test_the_package_depends_downwards(module: str) -> None:
    here = layer(module)
    if module == "gobj" or not ours(module):
        return
    assert here is not None, f"{module} has no layer"
    for name in ours(module):
        there = layer(name)
        assert there is not None, f"{module} uses {name}"
        assert there <= here, f"{module} uses {name}"


def test_nothing_imports_itself_by_a_detour() -> None:
    settled: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in settled:
            for name in ours(module):
                visit(name, (*path, module))
            settled.add(module)

    for module in TREES:
        visit(module, ())


def test_only_the_front_door_collects_the_package() -> None:
    for module in TREES:
        if not module.startswith(STUDY):
            assert "gobj" not in imported(module), f"{module} imports the package as a whole"


@pytest.mark.parametrize("module", [name for name in TREES if not name.startswith(STUDY)])
def test_torch_and_the_standard_library_are_enough(module: str) -> None:
    outside = {name.split(".")[0] for name in imported(module)}
    assert outside - {"gobj", "torch"} <= set(sys.stdlib_module_names)


def test_importing_the_package_loads_no_library_of_an_extra() -> None:
    program = (
        "import sys, torch; before = set(sys.modules); import gobj, gobj.nn;"
        "new = {name.split('.')[0] for name in set(sys.modules) - before};"
        "print(*sorted(new - set(sys.stdlib_module_names) - {'gobj', 'torch'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    assert done.stdout.split() == []


@each_module
def test_modules_stay_small(module: str) -> None:
    assert code_lines(module) <= LARGEST_MODULE


def test_the_package_stays_small() -> None:
    core = [name for name in TREES if not name.startswith("gobj.study")]
    assert sum(map(code_lines, core)) <= LARGEST_CORE
    assert len(core) <= 64


@each_module
def test_bodies_of_functions_stay_small(module: str) -> None:
    for function in functions(TREES[module]):
        body = without_docstring(function)
        if body:
            size = (body[-1].end_lineno or body[-1].lineno) - body[0].lineno + 1
            assert size <= LARGEST_BODY, f"{module}.{function.name} has {size} lines"


@each_module
def test_no_module_is_called_by_what_it_is_not(module: str) -> None:
    assert not {"utils", "util", "common", "base", "helpers", "misc"} & {
        part.strip("_") for part in module.split(".")
    }


@pytest.mark.parametrize("module", [name for name in TREES if not name.startswith(STUDY)])
def test_errors_are_raised_in_one_place(module: str) -> None:
    raised = [node.lineno for node in ast.walk(TREES[module]) if isinstance(node, ast.Raise)]
    assert len(raised) == (module == "gobj._checks"), f"{module} raises in lines {raised}"


@pytest.mark.parametrize("module", [name for name in TREES if layer(name) is not None])
def test_losses_never_read_a_value_back(module: str) -> None:
    reading = {"item", "tolist", "numpy", "cpu", "nonzero", "unique", "masked_select", "argwhere"}
    used = {node.attr for node in ast.walk(TREES[module]) if isinstance(node, ast.Attribute)}
    assert not reading & used or module.startswith(READERS)


@pytest.mark.parametrize("module", [name for name in TREES if not name.startswith(STUDY)])
def test_nothing_private_of_torch_is_used(module: str) -> None:
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("torch."):
            assert not any(part.startswith("_") for part in ast.unparse(node).split("."))


def test_the_core_has_four_functions_of_autograd() -> None:
    classes = [n for tree in TREES.values() for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    found = [c.name for c in classes for base in c.bases if "autograd" in ast.unparse(base)]
    assert sorted(found) == ["_Charged", "_Known", "_Shared", "_Sum"]


@each_module
def test_modules_say_what_they_are(module: str) -> None:
    assert ast.get_docstring(TREES[module]) or not TREES[module].body


@each_module
def test_everything_public_is_documented(module: str) -> None:
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ClassDef) or (
            isinstance(node, ast.FunctionDef) and node in TREES[module].body
        ):
            stated = [ast.unparse(decorator) for decorator in node.decorator_list]
            private = node.name.startswith("_") or "overload" in stated
            assert private or ast.get_docstring(node), f"{module}.{node.name}"
