"""What a run draws, as files: pictures of images and of points, tables of numbers."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from unnoise import files
from unnoise.config import UserError
from unnoise.data import Items
from unnoise.modality import Array, Points
from unnoise.report import grids, panels, style, tables
from unnoise.report.beliefs import Excess
from unnoise.report.captions import captioned
from unnoise.report.curves import History, Levels
from unnoise.report.html import Trajectory as Film
from unnoise.run import Run, Trajectory
from unnoise.tensor import Tensor

DOTS = 2000  # real points shown beside drawn ones

Labels: TypeAlias = Sequence[int | str] | None


def of_points(run: Run) -> bool:
    """Whether a run draws rows of numbers; else it draws images."""
    return run.recipe.modality.name == "points"


def picture(
    run: Run,
    x: Tensor,
    path: Path,
    labels: Labels = None,
    rows: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    across: int | None = None,
    captions: Sequence[str] = (),
) -> Path:
    """One picture of all samples: a grid, a named row of each of `rows`, or points beside real ones.

    across: how many stand side by side in a grid; captions: of each picture, beneath it.
    Points in the plane are scattered; of more coordinates the histograms of the columns are drawn.
    """
    if of_points(run):
        known = real(run) if x.shape[1] > 2 else None
        if known is None:
            return style.save(_scatter(run, x, labels), path)
        title = f"{run.recipe.name}: {len(x):,} samples, {len(known):,} held-out rows"
        return style.save(tables.histograms(columns(run, x, known.items), title=title), path)
    items = run.recipe.modality.show(x)
    if rows:
        each = len(items) // len(rows)
        made = grids.class_rows({name: items[i * each : (i + 1) * each] for i, name in enumerate(rows)})
    elif captions:
        made = captioned(items, captions, min(len(items), across or 4))
    else:
        made = grids.grid(items, across)
    return grids.save(made, path, settings)


def columns(run: Run, x: Tensor, real: Any) -> tables.Columns:
    """Samples beside real rows, column by column, in their own units."""
    drawn, modality = run.recipe.modality.quantise(x).astype(np.float64), run.recipe.modality
    known = modality.columns if isinstance(modality, Points) else ()
    return tables.Columns(drawn, real.astype(np.float64), known or [f"x{i + 1}" for i in range(drawn.shape[1])])


def _scatter(run: Run, x: Tensor, labels: Labels) -> Any:
    points = run.recipe.modality.quantise(x)
    title = f"{run.recipe.name}: {len(points)} samples"
    title += f", the first two of {points.shape[1]} coordinates" if points.shape[1] > 2 else ""
    named = {"drawn": points[:, :2].astype(np.float64)}
    kinds = None if labels is None else {"drawn": np.asarray(run.labels(labels, len(points))["label"])}
    found = real(run)
    if found is not None:
        named["real"] = found.items[:, :2].astype(np.float64)
        kinds = None if kinds is None else {**kinds, "real": found.cond["label"]}
    kinds = None if kinds is None else {name: values.astype(np.int64) for name, values in kinds.items()}
    return panels.clouds(named, title, kinds, run.recipe.classes)


def real(run: Run) -> Items | None:
    """Held-out items to stand beside drawn ones; None where a run is sampled without its data."""
    try:
        held_out = run.recipe.source.split("validation")
    except UserError:
        return None
    return Items(*held_out.take(np.arange(min(len(held_out), DOTS))))


def singles(
    run: Run, x: Tensor, folder: Path, seeds: Sequence[int], labels: Labels, settings: Mapping[str, Any]
) -> list[Path]:
    """A PNG of each sample at its own size, with all that makes it again inside."""
    written: list[Path] = []
    for i, (item, seed) in enumerate(zip(run.recipe.modality.show(x), seeds, strict=True)):
        own = {} if labels is None else {"label": labels[i]}
        name = "-".join([f"seed-{seed:04d}", *(f"label-{label}" for label in own.values())])
        written.append(grids.save(item, folder / f"{name}.png", {**settings, **own, "seed": seed}))
    return written


def numbers(run: Run, x: Tensor, path: Path, seeds: Sequence[int], labels: Labels, first: str = "seed") -> Path:
    """The samples in raw units: .npy (N, ...), or .csv with a line for each.

    Rows of a table stand under the table's own header, with the label's name in its column; other points say their
    seed (or what `first` calls it) and label.
    """
    modality = run.recipe.modality
    raw = modality.quantise(x)
    if isinstance(modality, Array):
        raw = modality.laid(raw)
    if path.suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, raw, allow_pickle=False)
        return files.put(path, buffer.getvalue())
    if isinstance(modality, Points) and modality.header:
        names = run.recipe.classes
        told = None if labels is None else [names[k] for k in run.labels(labels, len(raw))["label"].tolist()]
        return files.put(path, modality.table(raw, told))
    axes = ["x", "y", "z"][: raw.shape[1]] if raw.shape[1] <= 3 else [f"x{i}" for i in range(raw.shape[1])]
    lines = [",".join([first, *(["label"] if labels is not None else []), *axes])]
    for i, row in enumerate(raw):
        known = [str(seeds[i]), *([str(labels[i])] if labels is not None else [])]
        lines.append(",".join([*known, *(f"{value:.9g}" for value in row)]))
    return files.put(path, "\n".join(lines) + "\n")


def way(run: Run, made: Trajectory, sampler: str) -> Film:
    """A trajectory as the report and the plots take it: images row by row, or points with the truth behind.

    Where a sampler asks twice at one time, as Heun's does, the last question is shown: the better state.
    """
    last = np.flatnonzero(np.append(np.diff(made.times) != 0, True))
    times, shown, believed = made.times[last], made.shown[last.tolist()], made.beliefs[last.tolist()]
    show, quantise = run.recipe.modality.show, run.recipe.modality.quantise
    if not of_points(run):
        states, beliefs = ([show(x) for x in moments] for moments in (shown, believed))
        return Film(times, states, beliefs, None, sampler)
    found = real(run)
    truth = None if found is None else found.items[:, :2].astype(np.float64)
    rows = (np.stack([quantise(x)[:, :2] for x in moments]) for moments in (shown, believed))
    states, beliefs = (row.astype(np.float64) for row in rows)
    return Film(times, states, beliefs, truth, sampler)


def history(run: Run) -> History:
    """Training and held-out loss of a run, from what it wrote down."""
    rows = [
        {**row, "held_loss": _first(row["held_out"])["mean"]} if row.get("held_out") else row for row in run.history
    ]
    held = [row["held_out"] for row in run.history if row.get("held_out")]
    first, *rest = held[-1] if held else [""]
    others = {name: [one[name]["mean"] for one in held] for name in rest if all(name in one for one in held)}
    return replace(History.of(rows), others=others, name=first)


def levels(run: Run) -> Levels | None:
    """The last held-out error by noise level, where there is one."""
    last = next((_first(row["held_out"]) for row in reversed(run.history) if row.get("held_out")), None)
    if last is None:
        return None
    return Levels(last["noise"], last["error"], (), last.get("optimum") or ())


def excess(run: Run) -> Excess | None:
    """How its beliefs fall short of the exact ones, where these are known."""
    found = run.excess
    if found is None:
        return None
    told = found.record()
    return Excess(*(told[name] for name in ("noise", "excess", "low", "high", "bits")))


def _first(held_out: Mapping[str, Any]) -> Any:
    return next(iter(held_out.values()))


__all__ = ["columns", "excess", "history", "levels", "numbers", "of_points", "picture", "real", "singles", "way"]
