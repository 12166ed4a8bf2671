"""A sweep: one recipe, what is varied in it, and the seeds that each variant is trained with."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from unnoise import sweeps
from unnoise.comparison.drawing import Drawings
from unnoise.config import UserError, arguments
from unnoise.recipe import Recipe, load

SEEDS = 3  # the least by which the noise of training is known at all
MILESTONES = 4  # equal parts of a training, at whose ends samples are measured
MOST = 1000  # trainings that one sweep may ask for: a slip of the pen, beyond that


@dataclass(frozen=True)
class Variant:
    """One setting of what is varied: how it is called, axis by axis, and the overrides that make it."""

    name: str
    settings: Mapping[str, str]
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Training:
    """A training that the sweep needs: the recipe, and the folder, below the sweep's own, where its run stands."""

    variant: Variant
    seed: int
    recipe: Recipe
    folder: Path


@dataclass(frozen=True)
class Sweep:
    """All that one file asks for. Everything in it was checked: what is wrong is told before anything is trained."""

    name: str
    text: str  # as it was written
    asks: str  # its first line, if that is a comment: the question
    recipes: Mapping[str, Recipe]  # variant's name → its recipe, at the first seed
    variants: tuple[Variant, ...]
    axes: Mapping[str, tuple[str, ...]]  # what is varied → its values, as they are called
    seeds: tuple[int, ...]
    drawings: Drawings
    judge: str | None
    measures: tuple[str, ...]
    features: str | None
    draws: int | None
    count: int | None
    against: str

    def trainings(self, out: Path) -> list[Training]:
        """Every training, the first seed of all variants before the second of any: an early look is a fair one."""
        return [
            Training(variant, seed, _seeded(self.recipes[variant.name], seed), out / "runs" / _folder(variant, seed))
            for seed in self.seeds
            for variant in self.variants
        ]


def read(sweep: str | Path, changes: Sequence[str] = ()) -> Sweep:
    """The sweep of a name or a file; `changes` are overrides of every variant, after its own."""
    path = Path(sweep)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"there is no sweep file {path}")
        try:
            name, text, beside = path.stem, path.read_text(encoding="utf-8"), path.parent
        except UnicodeDecodeError:
            raise UserError(f"{path} is no sweep: it is not text in UTF-8") from None
    else:
        name, text, beside = str(sweep), sweeps.text(str(sweep)), None
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = "" if where is None else f"line {where.line + 1}: "
        raise UserError(f"{path} is not YAML: {line}{getattr(error, 'problem', error)}") from None
    if not isinstance(fields, dict):
        raise UserError(f"{path} is no sweep: expected fields, such as 'recipe' and 'vary'")
    first = text.partition("\n")[0]
    head = {"name": name, "text": text, "asks": first.lstrip("# ") if first.startswith("#") else "",
            "beside": beside, "changes": tuple(changes)}  # fmt: skip
    values, _ = arguments(make, {str(key): value for key, value in fields.items()}, {}, name, head)
    return make(**values)


def make(
    name: str,
    text: str,
    asks: str,
    beside: Path | None,
    changes: tuple[str, ...],
    recipe: str,
    vary: dict[str, Any] | None = None,
    seeds: list[int] | int = SEEDS,
    set: dict[str, Any] | list[str] | None = None,
    sampling: dict[str, Any] | None = None,
    judge: str | None = None,
    measures: list[str] | None = None,
    features: str | None = None,
    draws: int | None = None,
    count: int | None = None,
    against: str = "test",
    milestones: int = MILESTONES,
) -> Sweep:
    """A sweep from its fields.

    recipe: a name or a file (beside the sweep's); set: overrides of every variant; vary: axis → {name: overrides}, or
    node.key → values; several axes give their product; seeds: of training, a list, or how many from 0; sampling:
    samplers, steps, evaluations, grids, guidance, ema, whose product each run is drawn by; judge: the measure that
    decides; measures: others than the standard ones; features: read on these too; draws, count: lots of samples of each
    run, and how many in a lot; milestones: parts of a training, at whose ends samples are measured.
    """
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not numbers or min(numbers) < 0 or len({*numbers}) < len(numbers):
        raise UserError(f"{name}: seeds are different whole numbers from 0, or how many of them, got {seeds}")
    if draws is not None and draws < 2:
        raise UserError(f"{name}: draws must be 2 at least, or nothing tells the spread, got {draws}")
    if milestones < 0:
        raise UserError(f"{name}: milestones must be 0 or more, got {milestones}")
    axes = {str(axis): _axis(f"{name}: vary.{axis}", str(axis), node) for axis, node in (vary or {}).items()}
    variants = [_variant(dict(zip(axes, row, strict=True)), axes, Path(recipe).stem) for row in product(*axes.values())]
    if len(variants) * len(numbers) > MOST:
        raise UserError(
            f"{name} asks for {len(variants) * len(numbers):,} trainings, at most {MOST:,} are made at once"
        )
    source = Path(recipe)
    if beside is not None and source.suffix in (".yaml", ".yml") and (beside / source).is_file():
        source = beside / source
    ways, _ = arguments(Drawings, sampling or {}, {}, f"{name}: sampling")
    made: dict[str, Recipe] = {}
    for variant in variants:
        every = [*_changes(f"{name}: set", set), *variant.changes, *changes]
        try:
            loaded = load(source if source.suffix else recipe, every)
        except UserError as error:
            raise UserError(f"{name}: {variant.name + ': ' if axes else ''}{error}") from None
        step = -(-loaded.train.items // milestones) if milestones else 0
        made[variant.name] = replace_train(loaded, sample_every=step)
    slugs = {_folder(variant, 0) for variant in variants}
    if len(slugs) < len(variants):
        raise UserError(f"{name}: two variants are called alike: name them apart")
    named = {axis: tuple(entry for entry in entries) for axis, entries in axes.items()}
    return Sweep(
        name=name,
        text=text,
        asks=asks,
        recipes=made,
        variants=tuple(variants),
        axes=named,
        seeds=numbers,
        drawings=Drawings(**ways),
        judge=judge,
        measures=tuple(measures or ()),
        features=features,
        draws=draws,
        count=count,
        against=against,
    )


def replace_train(recipe: Recipe, **fields: Any) -> Recipe:
    """A recipe whose `train` node has other fields; what does not change the training's bits needs no more."""
    train = replace(recipe.train, **fields)
    return replace(recipe, train=train, nodes={**recipe.nodes, "train": {**recipe.nodes["train"], **fields}})


def digest(value: Any) -> str:
    """SHA-256 of plain values, as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _seeded(recipe: Recipe, seed: int) -> Recipe:
    return replace_train(recipe, seed=seed)


def _axis(where: str, axis: str, node: Any) -> dict[str, tuple[str, ...]]:
    """What an axis is called at each of its values, and the overrides that each stands for."""
    if isinstance(node, Mapping) and node:
        return {str(key): _changes(f"{where}.{key}", value) for key, value in node.items()}
    if isinstance(node, list) and node and "." in axis:
        return {_said(value): (f"{axis}={_plain(value)}",) for value in node}
    raise UserError(
        f"{where}: expected names with their overrides, such as {{small: {{net.widths: [16, 32]}}}}, "
        f"or for a node.key a list of values; got {node!r}"
    )


def _changes(where: str, value: Any) -> tuple[str, ...]:
    """Overrides from a table of node.key: value, from one written node.key=value, or a list of those."""
    if isinstance(value, Mapping):
        return tuple(f"{key}={_plain(entry)}" for key, entry in value.items())
    listed = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(entry, str) for entry in listed):
        raise UserError(f"{where}: expected overrides, {{node.key: value}} or node.key=value, got {value!r}")
    return tuple(listed)


def _variant(chosen: Mapping[str, str], axes: Mapping[str, Mapping[str, tuple[str, ...]]], alone: str) -> Variant:
    """alone: what it is called where nothing is varied."""
    parts = [f"{axis.rpartition('.')[2]} {value}" if "." in axis else value for axis, value in chosen.items()]
    changes = [change for axis, value in chosen.items() for change in axes[axis][value]]
    return Variant(" · ".join(parts) or alone, dict(chosen), tuple(changes))


def _plain(value: Any) -> str:
    """A value as YAML in one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else _plain(value)


def _folder(variant: Variant, seed: int) -> str:
    """A name that every file system takes."""
    return f"{re.sub(r'[^A-Za-z0-9.+-]+', '-', variant.name).strip('-.') or 'variant'}-seed{seed}"


__all__ = ["MILESTONES", "SEEDS", "Sweep", "Training", "Variant", "digest", "make", "read", "replace_train"]
