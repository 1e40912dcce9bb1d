"""Pages of the documentation: their code runs, and the commands that they name exist."""

import doctest
import importlib.util
import re
from pathlib import Path

import matplotlib as mpl
import pytest
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
CODE = Sybil([PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS)], path=str(ROOT))
FENCE = re.compile(r"^```(\S+).*?^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```python$.*?^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"python -m (gobj|benchmarks)((?:\.\w+)*)([^`\n#]*(?:\n\s*[^`\n#]*)?)[`#\n]")
# A block in another language is not run: commands, plain text, and what Sphinx itself reads.
OTHER_LANGUAGES = {"sh", "text", "json", "toml", "bibtex"}

each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).with_suffix("").as_posix()
)


@each_page
def test_every_block_of_python_runs_in_order(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # pages may write files
    mpl.use("agg")
    examples = list(CODE.parse(page).examples())
    for block in BLOCK.finditer(page.read_text()):
        assert any(block.start() <= example.start < block.end() for example in examples)
    for example in examples:
        example.evaluate()


@each_page
def test_every_block_names_a_language(page: Path) -> None:
    languages = set(FENCE.findall(page.read_text()))
    assert {name for name in languages if not name.startswith("{")} <= {"python", *OTHER_LANGUAGES}


def commands() -> list[tuple[str, str]]:
    found = {
        ("gobj" + name if package == "gobj" else package + name, option)
        for page in PAGES
        for package, name, rest in COMMAND.findall(page.read_text())
        for option in re.findall(r"(?<!\S)--[a-z][\w-]*", rest) or [""]
    }
    return sorted(found)


@pytest.mark.parametrize(("module", "option"), commands())
def test_every_command_names_a_module_and_an_option_that_exist(module: str, option: str) -> None:
    specification = importlib.util.find_spec(module)
    assert specification is not None
    package = module.partition(".")[0]
    sources = (ROOT / package).rglob("*.py") if package == "gobj" else [Path(specification.origin)]
    assert any(f'"{option}"' in source.read_text() for source in sources) or not option
