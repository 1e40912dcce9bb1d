"""Every recipe is a short script, and a page that shows it whole."""

from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "docs/recipes"
SCRIPTS = sorted(RECIPES.glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_has_at_most_forty_lines_and_a_page_shows_it(script: Path) -> None:
    assert len(script.read_text().splitlines()) <= 40
    shown = f"{{literalinclude}} {script.name}"
    assert any(shown in page.read_text() for page in RECIPES.glob("*.md"))


def test_every_page_is_on_the_list() -> None:
    listed = (RECIPES / "index.md").read_text()
    pages = [page.name for page in RECIPES.glob("*.md") if page.name != "index.md"]
    assert pages
    assert [page for page in pages if f"({page})" not in listed] == []
