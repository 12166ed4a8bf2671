"""Draws the pictures of docs/conditioning.md on what a model is told: python docs/told.py [FOLDER of runs].

Runs that are not in the folder are trained first: seconds for the table, minutes for `shapes-told`, `digits-gap` and
`parts`.
"""

import sys
from pathlib import Path

import numpy as np
import PIL.Image

from unnoise import files
from unnoise.data.grammar import UNTOLD
from unnoise.metrics.following import ATTRIBUTES, follow
from unnoise.recipe import load, resolve
from unnoise.report import grids, style
from unnoise.report.captions import captioned
from unnoise.rng import host
from unnoise.run import Run
from unnoise.run import open as open_run
from unnoise.training import fit

HERE = Path(__file__).parent
PARTS = 30_000  # items of the run that is told of scenes by parts
STALL = {
    "data": {"kind": "table", "path": "", "labels": ["day"], "tell": ["degrees"]},
    "modality": "data",
    "process": {"schedule": {"kind": "karras", "sigma_min": 0.01, "sigma_max": 20}},
    "net": {"kind": "mlp", "width": 64, "depth": 3},
    "target": {"kind": "edm", "sigma_data": 1.0},
    "train": {"items": 40_000, "batch": 128, "lr": 4.0e-3, "drop": 0.15, "validate_every": 0},
    "sample": {"sampler": "heun", "steps": 20},
}


def stall(path: Path, rows: int = 2000) -> None:
    """What a stall sells, and how long people wait, by temperature and day; some of both is not known."""
    rng = host("stall")
    degrees, weekend = rng.uniform(2, 32, rows), rng.integers(0, 2, rows)
    sold = 15 + 5 * degrees + weekend * (30 + 2 * degrees) + rng.normal(0, 8 + 0.4 * degrees, rows)
    wait = np.maximum(0, 0.04 * sold + rng.normal(0, 1, rows))
    lines = ["sold,wait,degrees,day"]
    for i in range(rows):
        told = ["" if i % 10 == 0 else f"{degrees[i]:.1f}", "" if i % 7 == 0 else ("weekday", "weekend")[weekend[i]]]
        lines.append(f"{sold[i]:.1f},{wait[i]:.2f},{told[0]},{told[1]}")
    files.put(path, "\n".join(lines) + "\n")


def told_numbers(folder: Path) -> None:
    """Rows of the table, and what the model draws for temperatures that it is told, and for none."""
    if not (folder / "stall.csv").exists():
        stall(folder / "stall.csv")
    nodes = {**STALL, "data": {**STALL["data"], "path": str(folder / "stall.csv")}}
    run = _run(folder / "stall", lambda out: fit(resolve("stall", nodes), out))
    train = run.recipe.source.split("train")
    with style.themed("light") as look:
        fig = style.figure((9.6, 3.4))
        left, right = fig.subplots(1, 2, width_ratios=(3, 2), sharey=True)
        known = train.cond["day"] < 2
        left.scatter(
            train.cond["degrees"][known], train.items[known, 0], s=5, color=look.line, label="rows of the table"
        )
        for day, line in zip(("weekday", "weekend"), look.series(2), strict=True):
            for t in (5, 15, 25):
                sold = _rows(run, 60, degrees=t, day=day)[:, 0]
                left.scatter(t + host("spread").uniform(-0.6, 0.6, 60), sold, s=5, color=line["color"],
                             label=f"drawn, told a {day}" if t == 5 else None)  # fmt: skip
            right.hist(_rows(run, 2000, day=day)[:, 0], 40, histtype="step", orientation="horizontal",
                       density=True, label=f"told a {day}", **line)  # fmt: skip
        left.set(xlabel="degrees that are told", ylabel="sold", title="Told the temperature and the day")
        right.set(xlabel="share", title="Told the day alone")
        for axes in (left, right):
            axes.legend(fontsize=8)
    style.save(fig, HERE / "told-numbers.png")
    for t in (5, 15, 25):
        said = [f"{day} {_rows(run, 1000, degrees=t, day=day)[:, 0].mean():.1f}" for day in ("weekday", "weekend")]
        print(f"{t} degrees: {', '.join(said)}; in truth {15 + 5 * t} and {45 + 7 * t}")


def told_shapes(folder: Path) -> None:
    """A label alone; a size alone; a place alone; all three; a size, and away from a label."""
    run = _run(folder / "shapes-told", lambda out: fit(load("shapes-told"), out))
    away = "cfg weight=2 negative.label=circle negative.size=0.5"
    asked = [
        ({"label": "circle"}, 2.0, "label circle"),
        ({"size": [0.3, 0.4, 0.5, 0.6, 0.7, 0.7]}, 2.0, "size 0.3, 0.4 .. 0.7"),
        ({"position": [(x, y) for y in (0.3, 0.7) for x in (0.3, 0.5, 0.7)]}, 2.0, "six positions"),
        ({"label": "square", "size": 0.4, "position": [(0.3 + 0.08 * k, 0.5) for k in range(6)]}, 2.0, "all three"),
        ({"size": 0.5}, 1.0, "size 0.5"),
        ({"size": 0.5}, away, "the same seeds, away from circle"),
    ]
    pictures, said = [], []
    for given, guidance, words in asked:
        pictures += run.sample(6, tell=given, guidance=guidance)
        said += [words, *[""] * 5]
    grids.save(captioned(pictures, said, 6, wide=96), HERE / "told-shapes.png")
    for guidance in (1.0, away):
        circles = [_fill(one) for one in run.sample(60, tell={"size": 0.5}, guidance=guidance)]
        print(f"size 0.5, guidance {guidance}: {sum(0.68 < one < 0.92 for one in circles)} of 60 are circles")


def _fill(picture: PIL.Image.Image) -> float:
    """The share of its own box that a shape fills: a triangle half, a circle 0.79, a square all."""
    lit = np.asarray(picture.convert("L")) > 127
    rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
    return float(lit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean()) if len(rows) else 0.0


def told_gap(folder: Path) -> None:
    """Digits of the test part, what is left of them around a gap, and how three seeds fill it."""
    run = _run(folder / "digits-gap", lambda out: fit(load("digits-gap"), out))
    items = run.recipe.source.split("test").items[:6]
    pictures, said = [], []
    for k, item in enumerate(items):
        holed = item.astype(np.float64)
        holed[:, 2:6, 1 + (k % 2) : 6 + (k % 2)] = np.nan
        shown = np.nan_to_num(holed, nan=6)
        filled = run.sample(3, tell={"gap": [holed] * 3}, seeds=range(3 * k, 3 * k + 3))
        levels = np.stack([item, shown]).astype(np.uint8)
        pictures += [*run.recipe.modality.decode(run.recipe.modality.encode(levels)), *filled]
        said += ["real", "told", "drawn", "drawn", "drawn"] if not k else [""] * 5
    grids.save(captioned(pictures, said, 5, wide=96), HERE / "told-gap.png")


def told_parts(folder: Path) -> None:
    """Scenes by a label for each of two objects: all told, one place left open, shapes alone, colours alone."""
    over = [
        "conditions={shape: labels, colour: labels}",
        "objective.levels={kind: logit_normal, mean: 0.8, std: 1.2}",  # it is too short for a curriculum
        f"train.items={PARTS}",
        "train.optimiser=adamw",
        "train.lr=1.0e-3",
        "sample={sampler: dpmpp_2m, steps: 20, guidance: 3}",
        "train.validate_every=0",
        "train.sample_every=0",
    ]
    run = _run(folder / "parts", lambda out: fit(load("scenes", over), out))
    asked = [
        ({"shape": "circle,star", "colour": "blue,yellow"}, "circle, star; blue, yellow"),
        ({"shape": "ring,*", "colour": "green,purple"}, "ring, *; green, purple"),
        ({"shape": "triangle,triangle"}, "triangle, triangle"),
        ({"colour": "cyan,orange"}, "cyan, orange"),
    ]
    pictures, said = [], []
    for given, words in asked:
        pictures += run.sample(6, tell=given)
        said += [words, *[""] * 5]
    grids.save(captioned(pictures, said, 6, wide=96), HERE / "told-parts.png")
    told = run.recipe.source.scenes(60, 1)[1]
    each = {name: [[k if k < UNTOLD[name] else None for k in row] for row in getattr(told, name).tolist()]
            for name in ATTRIBUTES[:2]}  # fmt: skip
    drawn = run.sample(60, tell=each)
    found = follow(told, np.stack([np.moveaxis(np.asarray(one), -1, 0) for one in drawn]))
    for k, name in enumerate(ATTRIBUTES[:2]):
        print(f"{name}: {found.right[..., k].sum() / found.told[..., k].sum():.2f} of what is told is shown")


def _rows(run: Run, count: int, **tell: object) -> np.ndarray:
    return np.asarray(run.sample(count, tell=tell))[:, :2].astype(float)


def _run(folder: Path, train) -> Run:
    return open_run(folder) if (folder / "recipe.yaml").exists() else train(folder)


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "runs")
    for draw in (told_numbers, told_shapes, told_gap, told_parts):
        draw(place)
