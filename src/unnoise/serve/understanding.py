"""Why a model draws as it does: its schedule and plan in numbers, the error they promise, a way from noise, copies."""

import base64
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError
from unnoise.conformance import judge
from unnoise.distill.shelf import Shelf
from unnoise.guide import Guidance
from unnoise.loop.sampling import Sampling
from unnoise.metrics.neighbours import copy_threshold, match
from unnoise.process import Gaussian
from unnoise.report import films, grids
from unnoise.report.plans import table
from unnoise.run import Given, Run
from unnoise.run import open as open_run
from unnoise.samplers import SAMPLERS, Plan
from unnoise.samplers import plan as write
from unnoise.serve.refusals import wrong
from unnoise.tensor import Array, Tensor

CURVE = 101  # points of a schedule's curves
CELLS = 64  # rows of a plan that are told in full
FITTED = 2000  # items that the data's spectrum is made of
WIDEST = 1024  # numbers in an item, beyond which a model spectrum stands for it
COUNTS = (2, 4, 8, 16, 32, 64, 128)  # step counts of the error's curve
BESIDE = ("ddim", "heun", "dpmpp_2m")  # samplers that others are seen beside
MOMENTS = 120  # of a way that are shown, at most
REAL = 600  # real points behind drawn ones
LOOKED = 20_000  # training items that copies are looked for among
HELD = 500  # held-out items that say how near chance comes


def planned(run: Run, sampling: Sampling, plan: Plan) -> dict[str, Any]:
    """The schedule's curves, and the plan's rows on them; numbers that are not finite are null.

    A tuned plan has no grid and no order: it was written by no rule.
    """
    schedule = run.recipe.process.schedule
    t = np.linspace(0.0, 1.0, CURVE)
    rows = np.append(plan.t, plan.end)
    named, options = SAMPLERS.get(sampling.sampler), sampling.options or {}
    groups = [
        {"name": name, "columns": columns, "values": _numbers(values[:CELLS])} for name, columns, values in table(plan)
    ]
    return {
        "sampler": sampling.sampler,
        "grid": (sampling.grid or named.grid) if named else None,
        "steps": sampling.steps,
        "evaluations": plan.rows,
        "stochastic": bool(np.any(plan.base[:, -1]) or np.any(plan.ask[:, -1])),
        "order": named.promised(**options) if named else None,
        "head": plan.head is not None,
        "digest": plan.digest[:16],
        "schedule": {
            "t": _numbers(t),
            "alpha": _numbers(schedule.alpha(t)),
            "sigma": _numbers(schedule.sigma(t)),
            "logsnr": _numbers(schedule.logsnr(t)),
        },
        "rows": {"t": _numbers(rows), "logsnr": _numbers(schedule.logsnr(rows)), "slot": plan.slot[:CELLS].tolist()},
        "groups": groups,
    }


def promised(run: Run, sampling: Sampling, plan: Plan, guidance: Guidance | None = None) -> dict[str, Any]:
    """The exact error of the chosen sampler over its evaluations, some known ones beside it; nothing is drawn.

    Root mean square over directions of the 2-Wasserstein distance, for Gaussian data of the training data's own
    mean and covariance (of a model spectrum where these are not at hand), as a share of the data's deviation. Beside a
    tuned plan stand the others tuned for the same guidance; where one has a head start its error is null.
    """
    mean, variance, whose = _spectrum(str(run.folder))
    process, scale = run.recipe.process, float(np.sqrt(variance.mean()))
    tuned = sampling.sampler == "tuned"
    grid = sampling.grid or SAMPLERS[BESIDE[-1] if tuned else sampling.sampler].grid

    def off(plan: Plan) -> float | None:
        if plan.head is not None:
            return None
        error = judge.distance(plan, process.schedule, mean, variance) / scale
        return error if math.isfinite(error) else None

    names = [*(() if tuned else (sampling.sampler,)), *(name for name in BESIDE if name != sampling.sampler)]
    own = {"tuned": _tuned(run, guidance, off)} if tuned else {}
    curves = own | {
        name: _errors(process, name, grid, sampling if name == sampling.sampler else None, off) for name in names
    }
    return {
        "on": whose,
        "grid": grid,
        "curves": {name: points for name, points in curves.items() if points},
        "here": {"sampler": sampling.sampler, "evaluations": plan.rows, "error": off(plan)},
    }


def _tuned(run: Run, guidance: Guidance | None, off: Callable[[Plan], float | None]) -> list[list[float]]:
    found: dict[int, float] = {}
    for entry in Shelf(run.folder, run.weights).all():
        try:
            plan = run.tuned(entry["evaluations"], guidance).plan
        except UserError:  # tuned for another guidance, or to other weights
            continue
        if error := off(plan):
            found[plan.rows] = error
    return [[float(rows), error] for rows, error in found.items()]


def _errors(
    process: Gaussian, name: str, grid: str, own: Sampling | None, off: Callable[[Plan], float | None]
) -> list[list[float]]:
    found: list[list[float]] = []
    for steps in COUNTS:
        try:
            plan = write(name, process, steps, grid, **((own.options if own else None) or {}))
            error = off(plan) if plan.rows <= 4 * COUNTS[-1] else None
        except (UserError, ValueError):  # a rule that wants more steps, or another grid
            continue
        if error:
            found.append([float(plan.rows), error])
    return found


def way(run: Run, plan: Plan, seed: int, label: Given, guidance: Guidance | None) -> dict[str, Any]:
    """One sample from noise to data: at each moment what was asked about, at the data's scale, and the belief."""
    made = run.trajectory([seed], plan, label, guidance)
    last = np.flatnonzero(np.append(np.diff(made.times) != 0, True))
    if len(last) > MOMENTS:
        last = last[np.linspace(0, len(last) - 1, MOMENTS).round().astype(int)]
    logsnr = run.recipe.process.schedule.logsnr(made.times[last])
    states, beliefs = made.shown[last.tolist()][:, 0], made.beliefs[last.tolist()][:, 0]
    return {
        "times": _numbers(made.times[last]),
        "logsnr": _numbers(logsnr),
        "evaluations": plan.rows,
        "states": [shown(run, x) for x in states],
        "beliefs": [shown(run, x) for x in beliefs],
    }


def copies(run: Run, raw: npt.NDArray[Any], count: int = 6) -> dict[str, Any]:
    """The nearest training items to one raw item (1, ...), nearest first, and how near real items come to them.

    A copy lies nearer than 99 of 100 held-out items lie to theirs (see metrics.neighbours.copy_threshold).
    """
    modality = run.recipe.modality
    train = run.recipe.source.split("train")  # raises UserError where the data are elsewhere
    known, _ = train.take(np.arange(min(len(train), LOOKED)))
    distances = modality.distances
    here = distances(raw)
    threshold = _threshold(str(run.folder))
    left, nearest = known, []
    index = np.arange(len(known))
    for _ in range(min(count, len(known))):
        place, distance = match(here, left, distances)
        nearest.append((int(index[place[0]]), float(distance[0])))
        left, index = np.delete(left, place[0], axis=0), np.delete(index, place[0])
    items = modality.encode(known[[i for i, _ in nearest]])
    first = nearest[0][1]
    return {
        "items": [
            {"distance": round(distance, 4), "index": place, **shown(run, x)}
            for (place, distance), x in zip(nearest, items, strict=True)
        ],
        "threshold": threshold,
        "copy": bool(first < threshold or first == 0),
        "looked": len(known),
        "of": len(train),
    }  # fmt: skip


def surroundings(run: Run) -> dict[str, Any]:
    """What numbers are drawn in: of points the names, the range and some real rows; of pictures their name alone."""
    modality, recipe = run.recipe.modality, run.recipe
    if modality.name != "points":
        return {"draws": modality.name}
    width = recipe.shape[0]
    names = list(getattr(modality, "columns", ())) or (
        ["x", "y", "z"] if width < 4 else [f"x{i}" for i in range(width)]
    )
    mean, scale = (
        np.broadcast_to(np.asarray(getattr(modality, key), np.float64), (width,)) for key in ("mean", "scale")
    )
    try:
        held = recipe.source.split("validation")
        rows, _ = held.take(np.arange(min(len(held), REAL)))
        real = np.asarray(rows, np.float64)
    except UserError:
        real = np.zeros((0, width))
    spread = real if len(real) else np.stack([mean - 3 * scale, mean + 3 * scale])
    return {
        "draws": "points",
        "columns": names[:width],
        "mean": _numbers(mean),
        "scale": _numbers(scale),
        "low": _numbers(spread.min(axis=0)),
        "high": _numbers(spread.max(axis=0)),
        "box": list(films.frame_of(spread[:, :2])) if width >= 2 else None,
        "real": np.round(real, 5).tolist(),
        "decimals": list(getattr(modality, "decimals", ())),
    }


def shown(run: Run, x: Tensor) -> dict[str, Any]:
    """One item (*dims) as a browser takes it: a PNG in base64, or its numbers in raw units."""
    modality = run.recipe.modality
    try:
        return {"png": base64.b64encode(grids.png(modality.show(x[None])[0])).decode()}
    except NotImplementedError:
        return {"values": _numbers(np.asarray(modality.quantise(x[None])[0], np.float64).ravel())}


def raw_of(run: Run, values: Sequence[float]) -> npt.NDArray[Any]:
    """Numbers in raw units as a raw batch of one item."""
    size = math.prod(run.recipe.shape)
    if run.recipe.modality.name != "points" or len(values) != size:
        raise wrong(f"{run.recipe.name} draws items of shape {run.recipe.shape}, got {len(values)} numbers")
    return np.asarray(values, np.float64).reshape(1, *run.recipe.shape)


@lru_cache(maxsize=16)
def _spectrum(folder: str) -> tuple[Array, Array, str]:
    """Mean and variance of a run's data along the axes of their covariance, and whose they are."""
    run = open_run(folder)
    if math.prod(run.recipe.shape) <= WIDEST:
        try:
            items = run.recipe.source.split("train")
            some, _ = items.take(np.arange(min(len(items), FITTED)))
            x = run.recipe.modality.encode(some).flatten(1).double().numpy()
            return *judge.spectrum_of(x), "training data"
        except UserError:
            pass
    return *judge.spectrum(), "a model spectrum"


@lru_cache(maxsize=16)
def _threshold(folder: str) -> float:
    recipe = open_run(folder).recipe
    seen, source = recipe.modality.distances, recipe.source
    held, train = source.split("validation"), source.split("train")
    known, _ = train.take(np.arange(min(len(train), LOOKED)))
    others, _ = held.take(np.arange(min(len(held), HELD)))
    return round(copy_threshold(seen(known), seen(others)), 4)


def _numbers(values: npt.ArrayLike) -> list[Any]:
    """Six digits of each, null where it is not finite."""
    found = np.asarray(values, np.float64)
    return [_numbers(row) for row in found] if found.ndim > 1 else [
        float(f"{value:.6g}") if math.isfinite(value) else None for value in found.tolist()
    ]  # fmt: skip


__all__ = ["copies", "planned", "promised", "raw_of", "shown", "surroundings", "way"]
