"""Plans tuned to a run: told of as it goes, kept in its folder, gone on with after an interruption."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from unnoise import rng
from unnoise.config import UserError
from unnoise.distill import Law, Subject, Told, Tuning
from unnoise.distill import tune as fitted
from unnoise.distill.shelf import Shelf, weight_of
from unnoise.guide import Guidance, words
from unnoise.run import Run

EVALUATIONS = (4, 5, 6, 8, 10)
LAW = 10_000  # training items that mean and covariance are taken of, at most


def tune(
    run: Run,
    evaluations: Sequence[int] = EVALUATIONS,
    guidance: Guidance | tuple[float, float] | None = None,
    how: Tuning | None = None,
    again: bool = False,
) -> Iterator[Told]:
    """Tunes a plan for each number of evaluations, and keeps it in the run's folder where it helps.

    guidance: a weight, a range of weights (least, most), or other guides in words; the recipe's if None. again: tune
    what is kept already too. Yields what is done so far; a plan that `Told.tuned` holds stands in the folder where
    `Tuned.better`. What was left half done is gone on with, if all settings are the same.
    """
    how, (bounds, guides) = how or Tuning(), _asked(run, guidance)
    shelf = Shelf(run.folder, run.weights)
    wanted = tuple(n for n in dict.fromkeys(evaluations) if again or not shelf.has(n, bounds, guides))
    if not wanted:
        return
    subject = about(run, bounds, guides)
    work = shelf.store(bounds, guides, how, subject.law.digest)
    for told in fitted(subject, wanted, how, work):
        if told.tuned is not None and told.tuned.better:
            shelf.put(told.tuned, guides)
        yield told
    work.done()


def about(run: Run, bounds: tuple[float, float] = (1.0, 1.0), guides: str | None = None) -> Subject:
    """What a plan of a run is tuned for."""
    recipe = run.recipe
    if recipe.objective.once:
        raise UserError(f"{recipe.name} is asked once: there is no plan to tune")
    denoiser = run.guided(bounds[1] if guides is None else guides)
    return Subject(denoiser, recipe.shape, law_of(run), len(recipe.classes), bounds, run.device)


def law_of(run: Run) -> Law:
    """Mean and covariance of the training part, of each class and of all."""
    items, recipe = run.recipe.source.split("train"), run.recipe
    rows = np.unique(np.linspace(0, len(items) - 1, min(len(items), LAW)).astype(np.int64))
    raw, cond = items.take(rows)
    parts = np.array_split(np.arange(len(rows)), max(1, len(rows) // 1000))
    draws = rng.host("law of the data")
    x0 = torch.cat([recipe.modality.encode(raw[part], draws).flatten(1) for part in parts])
    labels = cond.get("label") if recipe.classes else None
    return Law.of(x0, None if labels is None else np.asarray(labels, np.int64), len(recipe.classes))


def _asked(run: Run, guidance: Guidance | tuple[float, float] | None) -> tuple[tuple[float, float], str | None]:
    """The range of weights, and the guides in words where they are no weight alone."""
    if isinstance(guidance, tuple) and len(guidance) == 2:
        least, most = (float(weight) for weight in guidance)
        if not 0 <= least <= most < np.inf:
            raise UserError(f"a range of guidance weights runs upwards from at least 0, got {least:g} to {most:g}")
        return (least, most), None
    asked = run.recipe.sampling.guidance if guidance is None else guidance
    weight = weight_of(asked)
    if weight is not None and not np.isfinite(weight):
        raise UserError(f"a weight of guidance is a finite number, got {weight:g}")
    return ((weight, weight), None) if weight is not None else ((1.0, 1.0), words(asked))


__all__ = ["EVALUATIONS", "about", "law_of", "tune"]
