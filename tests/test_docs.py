"""The documents say what the code does: tables of fields, names of measures, lines of Python that run."""

import inspect
import re
import runpy
from pathlib import Path

import pytest

from unnoise.data import SOURCES, World
from unnoise.metrics import MEASURES, protocol
from unnoise.recipe import NODES, resolve

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.S)


def test_the_tables_of_recipes_are_the_codes():
    page = runpy.run_path(str(DOCS / "nodes.py"))["page"]
    text = (DOCS / "recipes.md").read_text(encoding="utf-8")
    assert text == page(text), "run: python docs/nodes.py"
    assert all(f"`{node}" in text for node in NODES)


def test_the_recipe_shown_is_one():
    import yaml

    (shown,) = blocks(DOCS / "recipes.md", "yaml")
    assert resolve("shown", yaml.safe_load(shown)).train.items == 128000


@pytest.mark.parametrize("name", [k for k, made in SOURCES.items() if "path" not in inspect.signature(made).parameters])
def test_every_measure_of_every_source_is_explained(name):
    rules = protocol(SOURCES[name]())
    text = (DOCS / "measures.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(\w+)`", text, re.M))
    assert {*rules.names, *MEASURES} <= told
    points, raw = f"points in {'up to 6' if rules.count == 5000 else 'more'} dimensions", rules.source.raw
    kind = "digits" if name == "digits" else points if raw == "points" else "drawn pictures"
    kind = "drawn arrays (`fields`)" if raw == "array" else kind
    if name != "digits" and not isinstance(rules.source, World):
        kind = "pictures of one's own" if raw == "image" else "tables and arrays of one's own"
        assert rules.count == min(len(rules.source.split("test")), 1000 if raw == "image" else 5000)
        assert f"| {kind} | {rules.draws} × all held out, 1000 at most" in text
        return
    row = next(line for line in text.splitlines() if line.startswith(f"| {kind} |"))
    assert f"| {rules.draws} × {rules.count} |" in row


def test_the_python_of_the_readme_runs():
    """All that needs no training: the parts, as they are written."""
    (shown,) = blocks(ROOT / "README.md", "python")
    parts = "import unnoise as un\n" + shown[shown.index("process =") :]
    names: dict[str, object] = {}
    exec(compile(parts, "README.md", "exec"), names)
    assert tuple(names["x"].shape) == (1000, 2)  # type: ignore[attr-defined]


def test_links_lead_somewhere():
    for page in (*ROOT.glob("*.md"), *DOCS.glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"
