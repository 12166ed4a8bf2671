"""The score that a run has learned, or that a world has, at several noise levels: what `unnoise plot score` draws."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unnoise.cli.speak import Meter
from unnoise.config import UserError
from unnoise.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from unnoise.metrics.field import Field
    from unnoise.run import Run

ITEMS = 20_000  # of the data, at most
SHARES = (0.1, 0.45, 0.8)  # quantiles of the levels trained, where none is named


def told(
    which: str, levels: str | None, at: str | None, overrides: Sequence[str] | None, device: str
) -> tuple[list["Field"], str, Path]:
    """The fields of a run's folder, or of a recipe or world by name; the picture's title, and its place if silent."""
    from unnoise import recipes
    from unnoise import run as runs
    from unnoise.cli import asking
    from unnoise.data import SOURCES
    from unnoise.recipe import load

    if Path(which).is_dir() or ("/" in which and not which.endswith((".yaml", ".yml"))):
        if overrides:
            raise UserError(f"{which} is trained: changes such as {overrides[0]} are for a recipe")
        opened = runs.open(which, asking.device(device))
        found, law = _fields(opened.recipe, levels, at, opened)
        place = opened.folder / "plots" / "score.png"
        return found, f"{opened.recipe.name}: the score it learned, {law}", place
    world = which in SOURCES and which not in recipes.names()  # a world without a recipe stands in that of another
    made = load("swissroll" if world else which, [*([f"data={which}"] if world else []), *(overrides or ())])
    made = replace(made, name=which) if world else made
    found, law = _fields(made, levels, at, None)
    return found, f"{made.name}: the score, {law}", Path(f"score-{made.name}.png")


def _fields(recipe: Recipe, levels: str | None, at: str | None, run: "Run | None") -> tuple[list["Field"], str]:

    from unnoise.denoise.exact import Empirical
    from unnoise.denoise.truth import traced
    from unnoise.metrics.field import field
    from unnoise.modality import Points

    if recipe.shape != (2,):
        size = "×".join(map(str, recipe.shape))
        raise UserError(
            f"a score is drawn in the plane, and an item of {recipe.name} is of {size} numbers: "
            "take a world such as swissroll, gaussians8 or data={kind: mixture, dim: 2}"
        )
    if recipe.objective.once:
        raise UserError(f"{recipe.name} is a generator: it has learned one answer, and no score")
    part = recipe.source.split("train")
    raw, _ = part.take(np.arange(min(len(part), ITEMS)))
    items = recipe.modality.encode(raw).double().numpy()
    modality = recipe.modality
    plain = isinstance(modality, Points) and not np.any(modality.mean) and np.all(np.asarray(modality.scale) == 1)
    exact = traced(recipe.source, recipe.process) if plain else None
    truth = exact or Empirical(recipe.process, items)
    law = "beside the exact one" if run is not None else "exact"
    law += "" if exact is not None else f" of {len(items):,} of its items, its law being in no formula"
    chosen = _levels(recipe, levels)
    where, place = run.device if run else "cpu", None if at is None else _pair(at)
    learned = None if run is None else run.denoiser

    def nothing(count: int) -> "dict[str, Tensor]":
        return {name: leaf.to(where) for name, leaf in recipe.telling.cond(count, {}).items()}

    found: list[Field] = []
    with Meter("field", len(chosen), "levels", lambda: len(found)):
        found.extend(field(truth, recipe.process, items, ratio, learned, nothing, place, where) for ratio in chosen)
    return found, law


def _levels(recipe: Recipe, words: str | None) -> list[float]:
    """sigma/alpha of the levels named, or of quantiles of those that are trained."""
    from unnoise.train import AtLevels

    if words is not None:
        try:
            named = [float(word) for word in words.split(",")]
        except ValueError:
            raise UserError(
                f"levels are numbers σ/α with commas between them, such as 0.1,0.5,2; got '{words}'"
            ) from None
        if not all(0 < ratio < np.inf for ratio in named):
            raise UserError(f"a level σ/α is above 0 and finite, got '{words}'")
        return named
    schedule, objective = recipe.process.schedule, recipe.objective
    shares = np.array(SHARES)
    t = objective.levels.quantile(shares, schedule) if isinstance(objective, AtLevels) else shares
    return sorted({round(float(ratio), 12) for ratio in np.exp(-schedule.logsnr(t) / 2) if np.isfinite(ratio)})


def _pair(text: str) -> tuple[float, float]:
    try:
        x, y = (float(word) for word in text.split(","))
    except ValueError:
        raise UserError(f"a point is two numbers with a comma, such as 0.5,-1; got '{text}'") from None
    return x, y


__all__ = ["told"]
