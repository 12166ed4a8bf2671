"""Imports run strictly down the floors of the house, without a circle, and nothing heavy stands at its door."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src"
FLOORS = {
    **dict.fromkeys(["config", "files", "reading", "tensor", "hashed", "rng", "brownian"], 0),
    **dict.fromkeys(["nets", "modality", "data", "recipes", "sweeps", "augment"], 1),
    **dict.fromkeys(["process", "conditions"], 2),
    **dict.fromkeys(["adapt", "denoise", "sample", "samplers"], 3),
    **dict.fromkeys(["restore", "guide", "loop", "train"], 4),
    **dict.fromkeys(["metrics", "conformance", "distill"], 5),
    **dict.fromkeys(["recipe", "folder", "adapting", "run", "training", "tuning"], 6),
    **dict.fromkeys(["advise", "report", "comparison"], 7),
    "serve": 8,
    "cli": 9,
    **dict.fromkeys(["", "__main__"], 10),  # the package itself, which shows all rooms and is seen by none
}
ORDERED = {
    ("hashed", "tensor"),  # the lowest floor's own order
    ("rng", "hashed"),
    ("rng", "tensor"),
    ("brownian", "hashed"),
    ("brownian", "rng"),
    ("brownian", "tensor"),
    ("config", "tensor"),
    ("reading", "config"),
    ("reading", "files"),
    ("folder", "recipe"),  # a folder is a recipe with what its training left
    ("adapting", "folder"),  # parts around a folder's network
    ("adapting", "recipe"),
    ("run", "adapting"),
    ("run", "folder"),
    ("run", "recipe"),
    ("training", "recipe"),
    ("training", "folder"),
    ("training", "run"),  # a training leaves a run
    ("tuning", "run"),  # a plan is tuned to a run
    ("restore", "guide"),  # what holds to a measurement is a guide
    ("comparison", "report"),  # a comparison ends in a page
    ("cli", ""),  # says the version
}
DOORS = ("unnoise", "unnoise.__main__", "unnoise.cli", "unnoise.cli.recipes")  # what --help and recipes load
HEAVY = {"torch", "numpy", "scipy", "sklearn", "matplotlib", "PIL", "safetensors", "jaxtyping"}


def sources() -> dict[str, str]:
    """Module name → text, for every file of the package; a package goes by its folder's name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def _base(name: str, node: ast.ImportFrom, packages: set[str]) -> str:
    """The module that `from .. import` names, relative dots resolved."""
    if not node.level:
        return node.module or ""
    here = name.split(".") if name in packages else name.split(".")[:-1]
    return ".".join([*here[: len(here) - node.level + 1], *([node.module] if node.module else [])])


def imports(name: str, text: str, modules: set[str], *, top: bool = False) -> set[str]:
    """What a module imports, wherever in its text; `top`: only what runs when it is first imported."""
    packages = {m.rsplit(".", 1)[0] for m in modules if "." in m}
    found: set[str] = set()

    def see(node: ast.AST) -> None:
        if top and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            return
        if top and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                see(child)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(name, node, packages)
            whole = {f"{base}.{alias.name}" for alias in node.names}
            found.update(whole & modules)
            if whole - modules:
                found.add(base)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func)
            if called.rpartition(".")[2] in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                found.add(node.args[0].value)
        for child in ast.iter_child_nodes(node):
            see(child)

    see(ast.parse(text))
    return found


def room(module: str) -> str:
    """unnoise.denoise.target → denoise; the package itself → ''."""
    return module.split(".")[1] if "." in module else ""


def trespasses(texts: dict[str, str]) -> list[str]:
    """Every import that does not run down."""
    found = []
    for name, text in texts.items():
        for other in sorted(imports(name, text, set(texts))):
            if other.split(".")[0] != "unnoise":
                continue
            here, there = room(name), room(other)
            unknown = [r for r in (here, there) if r not in FLOORS]
            if unknown:
                found.append(f"{name}: room '{unknown[0]}' has no floor")
            elif here != there and FLOORS[there] >= FLOORS[here] and (here, there) not in ORDERED:
                found.append(f"{name} (floor {FLOORS[here]}) imports {other} (floor {FLOORS[there]})")
            elif here == there == "" or other == name:
                found.append(f"{name} imports itself")
    return found


def circle(texts: dict[str, str]) -> list[str]:
    """The modules of one circle of imports, lazy ones counted; empty where there is none."""
    modules = set(texts)
    edges = {name: sorted(imports(name, text, modules) & modules) for name, text in texts.items()}
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in edges[name]:
            if found := walk(other, [*path, name]):
                return found
        done.add(name)
        return []

    for name in sorted(modules):
        if found := walk(name, []):
            return found
    return []


def burdens(texts: dict[str, str]) -> list[str]:
    """Heavy libraries that the package or the command line loads at once, through whatever it imports at once."""
    modules, found = set(texts), []
    for start in (door for door in DOORS if door in modules):
        seen, waiting = {start}, [start]
        while waiting:
            name = waiting.pop()
            for other in imports(name, texts[name], modules, top=True):
                if other.split(".")[0] in HEAVY:
                    found.append(f"{start} loads {other} through {name}")
                chain = [".".join(other.split(".")[: i + 1]) for i in range(1, other.count(".") + 1)]
                for loaded in (m for m in (*chain, other) if m in modules and m not in seen):
                    seen.add(loaded)
                    waiting.append(loaded)
    return found


def test_imports_run_down_the_floors():
    texts = sources()
    assert len(texts) > 20
    assert trespasses(texts) == []


def test_there_is_no_circle():
    assert circle(sources()) == []


def test_nothing_heavy_is_loaded_at_the_door():
    assert burdens(sources()) == []


def test_the_package_is_lazy():
    said = f"import sys, unnoise; print(sorted({{m.split('.')[0] for m in sys.modules}} & {HEAVY!r}))"
    here = os.environ | {"PYTHONPATH": str(ROOT)}
    made = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True, env=here)
    assert made.stdout.strip() == "[]"


HOUSE = {
    "unnoise": "def __getattr__(name):\n    import unnoise.cli\n",
    "unnoise.tensor": "import torch",
    "unnoise.rng": "from unnoise.tensor import Tensor",
    "unnoise.process": "from unnoise.process.level import Level\nfrom unnoise import rng",
    "unnoise.process.level": "from unnoise.process.schedule import Schedule",
    "unnoise.process.schedule": "import numpy as np",
    "unnoise.denoise": "from unnoise.process import Level",
    "unnoise.sample": "import unnoise.process.schedule",
    "unnoise.loop": "import unnoise.sample\nfrom unnoise.denoise import D",
    "unnoise.guide": "",
    "unnoise.guide.cfg": "from ..denoise import D",
    "unnoise.cli": "def main():\n    from unnoise import loop",
}


def _with(**changes):
    return HOUSE | {f"unnoise.{k.replace('__', '.')}" if k != "unnoise" else k: v for k, v in changes.items()}


def test_a_sound_house_is_passed():
    assert trespasses(HOUSE) == []
    assert circle(HOUSE) == []
    assert burdens(HOUSE) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"denoise": "from unnoise.sample import plan"}, "unnoise.denoise (floor 3) imports unnoise.sample (floor 3)"),
        ({"sample": "def f():\n    from unnoise.denoise import D"}, "unnoise.sample (floor 3) imports unnoise.denoise"),
        ({"process": "import unnoise.loop"}, "unnoise.process (floor 2) imports unnoise.loop (floor 4)"),
        ({"tensor": "if TYPE_CHECKING:\n    from unnoise import rng"}, "unnoise.tensor (floor 0) imports unnoise.rng"),
        ({"guide__cfg": "from .. import loop"}, "unnoise.guide.cfg (floor 4) imports unnoise.loop (floor 4)"),
        ({"guide__cfg": "from ..loop import x"}, "unnoise.guide.cfg (floor 4) imports unnoise.loop (floor 4)"),
        ({"process__level": "from .. import denoise"}, "unnoise.process.level (floor 2) imports unnoise.denoise"),
        ({"loop": "import unnoise"}, "unnoise.loop (floor 4) imports unnoise (floor 10)"),
        ({"loop": "from unnoise import sample_now"}, "unnoise.loop (floor 4) imports unnoise (floor 10)"),
        ({"rng": "m = importlib.import_module('unnoise.cli')"}, "unnoise.rng (floor 0) imports unnoise.cli (floor 9)"),
        ({"cellar": "import os\nimport unnoise.rng"}, "unnoise.cellar: room 'cellar' has no floor"),
        ({"process__level": "from unnoise.process.level import x"}, "unnoise.process.level imports itself"),
    ],
    ids=str,
)
def test_a_forbidden_import_is_seen(changes, says):
    assert any(found.startswith(says) for found in trespasses(_with(**changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"process__schedule": "from unnoise.process.level import Level"},
        {"process__schedule": "def f():\n    from unnoise.process import level"},
        {"process__schedule": "if TYPE_CHECKING:\n    from .level import Level"},
        {"process__level": "from unnoise.process import Level"},  # through the room's own door
    ],
    ids=str,
)
def test_a_circle_is_seen(changes):
    assert circle(_with(**changes))[0].startswith("unnoise.process")
    assert trespasses(_with(**changes)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"cli": "import torch"},
        {"cli": "from unnoise.loop import sample"},
        {"cli": "try:\n    import matplotlib.pyplot\nexcept ImportError:\n    pass"},
        {"unnoise": "from unnoise.process import schedule"},
    ],
    ids=str,
)
def test_a_burden_is_seen(changes):
    assert burdens(_with(**changes)) != []


def test_what_is_lazy_or_for_the_checker_alone_is_no_burden():
    lazy = "if TYPE_CHECKING:\n    import torch\ndef f():\n    import numpy"
    assert burdens(_with(cli=lazy, unnoise=lazy)) == []
