"""What stands beside each other: runs, grouped by all but their seed, and each drawn in one or several ways."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unnoise.comparison.drawing import Drawing, Drawings
from unnoise.config import UserError
from unnoise.recipe import Recipe
from unnoise.run import Run
from unnoise.train import aims
from unnoise.training import BOOKS

FREE = {"train.seed", *(f"train.{field}" for field in BOOKS)}  # what runs of one entry may differ in
PLACES = ("path", "cache")  # where data lie, which says nothing of what they are
TOLD = 4  # settings by which an entry is called, at most


@dataclass(frozen=True)
class Group:
    """Runs that differ by their seed alone, or a single one."""

    name: str
    settings: Mapping[str, str]
    runs: tuple[Run, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of their trainings."""
        return tuple(run.recipe.train.seed for run in self.runs)


@dataclass(frozen=True)
class Candidate:
    """A group of runs and the way their samples are drawn: one line of the comparison."""

    name: str
    group: Group
    drawing: Drawing

    @property
    def settings(self) -> dict[str, str]:
        """What sets it apart, by axis."""
        return {**self.group.settings, **self.drawing.settings}


def candidates(groups: Sequence[Group], drawings: Drawings) -> list[Candidate]:
    """Each group drawn in each way."""
    found: list[Candidate] = []
    for group in groups:
        for drawing in drawings:
            parts = [group.name] if len(groups) > 1 or not drawing.name else []
            name = " · ".join([*parts, *filter(None, [drawing.name])])
            found.append(Candidate(name, group, drawing))
    return found


def grouped(runs: Sequence[Run]) -> list[Group]:
    """Runs put together that differ by their seed alone, called by what sets the groups apart, or by their folders."""
    leaves = {run.folder: _leaves(run.recipe.nodes) for run in runs}
    kinds: dict[str, list[Run]] = {}
    for run in runs:
        known = {path: value for path, value in leaves[run.folder].items() if path not in FREE}
        kinds.setdefault(repr(sorted(known.items())), []).append(run)
    differ = sorted(
        path
        for path in {path for told in leaves.values() for path in told} - FREE
        if len({repr(leaves[group[0].folder].get(path)) for group in kinds.values()}) > 1
    )
    found: list[Group] = []
    for group in kinds.values():
        group = sorted(group, key=lambda run: run.recipe.train.seed)
        twice = len({run.recipe.train.seed for run in group}) < len(group)
        for part in [[run] for run in group] if twice else [group]:
            told = leaves[part[0].folder]
            shown = {path: _said(told[path]) for path in differ if path in told}
            found.append(Group(_called(part), dict(list(shown.items())[:TOLD]), tuple(part)))
    names = [group.name for group in found]
    if len(set(names)) < len(names):  # folders of one name in different places
        found = [Group(str(group.runs[0].folder), group.settings, group.runs) for group in found]
    return found


def comparable(recipes: Iterable[tuple[str, Recipe]]) -> None:
    """Refuses, in one line, recipes of different data: numbers measured of them would say nothing of each other."""
    (first, a), *others = recipes
    only = "only runs of the same data can be compared"
    for other, b in others:
        if a.shape != b.shape:
            raise UserError(f"{first} draws items of the shape {a.shape}, {other} of the shape {b.shape}: {only}")
        if a.classes != b.classes:
            told = [", ".join(recipe.classes) or "none" for recipe in (a, b)]
            raise UserError(f"{first} and {other} have different labels ({told[0]}; {told[1]}): {only}")
        told = [{k: v for k, v in recipe.nodes["data"].items() if k not in PLACES} for recipe in (a, b)]
        if told[0] != told[1]:  # another split too: what one is tested on, the other may have seen
            field = next(k for k in {**told[0], **told[1]} if told[0].get(k) != told[1].get(k))
            values = [told[k].get(field) for k in (0, 1)]
            raise UserError(f"{first} and {other} differ in data.{field} ({values[0]}, {values[1]}): {only}")
        if a.nodes["data"] != b.nodes["data"] and data_of(a) != data_of(b):
            raise UserError(f"the data of {first} and {other} have different contents: {only}")


def data_of(recipe: Recipe) -> str:
    """SHA-256 of the data."""
    return recipe.known.digest if recipe.known is not None else recipe.facts().digest


def ways(run: Run, name: str, drawings: Drawings) -> None:
    """Refuses ways of drawing that a run cannot go; it need not be trained."""
    for drawing in drawings:
        _way(run, name, drawing)


def _way(run: Run, name: str, drawing: Drawing) -> None:
    try:
        drawing.plan(run)
        run.recipe.check_guidance(run.recipe.sampling.guidance if drawing.guidance is None else drawing.guidance)
    except UserError as error:
        raise UserError(f"{' · '.join(filter(None, [name, drawing.name]))}: {error}") from None


def same_questions(groups: Sequence[Group]) -> bool:
    """Whether held-out losses of all groups answer the same questions, so that they can be drawn on one axis."""
    recipes = [group.runs[0].recipe.nodes for group in groups]
    told = [[nodes[name] for name in ("modality", "augment", "process", "target")] for nodes in recipes]
    return len({repr([one, aims.asked(nodes["objective"])]) for one, nodes in zip(told, recipes, strict=True)}) == 1


def _called(runs: Sequence[Run]) -> str:
    """The folder's name; of several, what their names begin with."""
    names = [run.folder.resolve().name for run in runs]
    if len(names) == 1:
        return names[0]
    first, last = min(names), max(names)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:same].rstrip("-_. 0123456789").removesuffix("seed").rstrip("-_. ") or names[0]


def _leaves(nodes: Any, path: str = "") -> dict[str, Any]:
    if isinstance(nodes, Mapping):
        return {k: v for key, node in nodes.items() for k, v in _leaves(node, f"{path}.{key}".lstrip(".")).items()}
    return {path: nodes}


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def folder_of(runs: Sequence[Path]) -> Path:
    """Where a comparison of these runs lies unless one says otherwise."""
    names = [path.resolve().name for path in runs]
    return Path("comparisons") / ("-".join(names) if len(names) < 4 else f"{names[0]}-and-{len(names) - 1}-others")


__all__ = [
    "Candidate",
    "Group",
    "candidates",
    "comparable",
    "data_of",
    "folder_of",
    "grouped",
    "same_questions",
    "ways",
]
