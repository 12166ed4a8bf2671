"""Writes the tables of docs/recipes.md from the code: python docs/nodes.py. A test says where they have parted."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from unnoise.adapt import Part, Prior
from unnoise.augment import Augment
from unnoise.conditions import Condition
from unnoise.data import Source
from unnoise.denoise.target import Target
from unnoise.denoise.variance import Variance
from unnoise.loop.sampling import Sampling
from unnoise.modality import Modality
from unnoise.nets import Net
from unnoise.process.schedules import Schedule
from unnoise.recipe import TABLES
from unnoise.samplers import GRIDS, SAMPLERS
from unnoise.train import Aim, Levels, Objective, TrainConfig, Weight

PAGE = Path(__file__).with_name("recipes.md")
MARK = "<!-- what follows is written by docs/nodes.py -->\n"
# What a node is given by those around it.
KNOWN = ("self", "shape", "classes", "heard", "augment", "answers", "cell", "path")

SECTIONS: dict[str, tuple[str, Any]] = {
    "data": ("`data`: where items come from", Source),
    "modality": ("`modality`: raw thing ↔ tensor", Modality),
    "conditions": ("`conditions`: what the model is told, by the name that it has in the data", Condition),
    "augment": ("`augment`: what training shows beside the items themselves", Augment),
    "schedule": ("`process.schedule`: how fast data is destroyed", Schedule),
    "net": ("`net`: the network", Net),
    "adapt": ("`adapt`: what is trained around a frozen network; `--lora`, `--control` and `--image` write it", Part),
    "target": ("`target`: what its answer means", Target),
    "variance": ("`variance`: of a step back: the sampler's own, or learned", Variance),
    "objective": ("`objective`: what training minimises; a critic and an encoder are as `net` unless named", Objective),
    "levels": ("`objective.levels`: which noise levels a batch trains on", Levels),
    "weight": ("`objective.weight`: what an error weighs at each of them", Weight),
    "aim": ("`objective.aim`: what the answer is compared with", Aim),
}


def tables() -> str:
    """All of the page below the mark."""
    parts = [f"## {title}\n\n{_kinds(TABLES[base])}" for title, base in SECTIONS.values()]
    prior = [(f"`{name}`", f"`{_plain(p.default)}`") for name, p in inspect.signature(Prior).parameters.items()]
    parts.append(f"## `prior`: what of the base is learned again\n\n{_first(Prior)}\n\n{_rows(prior, FIELDS[:2])}")
    parts.append(f"## `train`: how long, how fast and with what care\n\n{_rows(_commented(TrainConfig), FIELDS)}")
    parts.append(
        f"## `sample`: how samples are drawn, unless one says otherwise\n\n{_first(Sampling)}\n\n{_sampling()}"
    )
    return "\n\n".join(parts) + "\n"


FIELDS = ("field", "default", "what it says")


def _kinds(table: Mapping[str, Callable[..., Any]]) -> str:
    rows = [(f"`{kind}`", _fields(made), _first(made)) for kind, made in table.items()]
    return _rows(rows, ("kind", "fields and defaults", "what it is"))


def _sampling() -> str:
    fields = [(f"`{name}`", f"`{_plain(p.default)}`") for name, p in inspect.signature(Sampling).parameters.items()]
    samplers = [
        (f"`{name}`", _fields(entry.rule), str(entry.promised()), f"`{entry.grid}`", _first(entry.rule))
        for name, entry in SAMPLERS.items()
    ]
    grids = [(f"`{name}`", _first(grid)) for name, grid in GRIDS.items()]
    return "\n\n".join(
        (
            _rows(fields, FIELDS[:2]),
            _rows(samplers, ("sampler", "options", "order", "grid", "what it is")),
            _rows(grids, ("grid", "where the steps fall")),
        )
    )


def _commented(made: type) -> Iterator[tuple[str, str, str]]:
    """Every field of a class whose lines read `name: type = default  # what it says`."""
    for line in inspect.getsource(made).splitlines():
        found = re.fullmatch(r"    (\w+): [^#]*?  # (.*)", line)
        if found:
            yield f"`{found[1]}`", f"`{_plain(inspect.signature(made).parameters[found[1]].default)}`", found[2]


def _fields(made: Callable[..., Any]) -> str:
    shown = [f"`preset` ({', '.join(presets)})"] if (presets := getattr(made, "presets", None)) else []
    for name, parameter in inspect.signature(made).parameters.items():
        if name in KNOWN or parameter.annotation is Net:
            continue
        silent = parameter.default is parameter.empty
        shown.append(f"`{name}`" if silent else f"`{name}: {_plain(parameter.default)}`")
    return ", ".join(shown) or "–"


def _plain(value: Any) -> str:
    """A default as a recipe writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_plain, value))}]"
    kinds = (kind for table in TABLES.values() for kind, made in table.items() if made is type(value))
    return next(kinds, str(value))


def _first(made: Any) -> str:
    """The first paragraph of its docstring, on one line."""
    return " ".join((inspect.getdoc(made) or "").split("\n\n")[0].split())


def _rows(rows: Any, head: tuple[str, ...]) -> str:
    cells = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)


def page(text: str) -> str:
    """The page with its tables as the code has them now."""
    return text.partition(MARK)[0] + MARK + "\n" + tables()


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
