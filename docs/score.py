"""Draws the pictures of docs/score.md, a quarter of an hour on one thread: python docs/score.py [FOLDER OF RUNS]."""

import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import unnoise as un
from unnoise.cli import score
from unnoise.data.points import SwissRoll
from unnoise.metrics.distances import sliced_wasserstein
from unnoise.report import grids, panels, scores, style
from unnoise.run import Run
from unnoise.tensor import Array

HERE = Path(__file__).parent
SIGMAS = {0.02: 500_000, 0.1: 1_000_000, 0.5: 500_000}  # one at a time, and the items it is trained on
WIDTH = 1.0  # of the start, where there is one sigma
DRAWN = 2000
REVERSED = {
    "langevin": {},
    "euler_maruyama": {"steps": 100, "grid": "time"},
    "predictor_corrector": {"steps": 60, "grid": "time"},
    "dpmpp_2m": {"steps": 20, "grid": "logsnr"},
}


def saved(fig: Figure, name: str) -> None:
    """A picture of the page, in 128 colours: a third of the bytes, and no eye tells."""
    place = style.save(fig, HERE / name)
    with Image.open(place) as whole:
        few = whole.convert("RGB").quantize(128)
    few.save(place, optimize=True)


def trained(folder: Path, name: str, recipe: str, *changes: str) -> Run:
    """A run of a folder, trained where it does not stand."""
    place = folder / name
    return un.open(place) if place.exists() else un.fit(recipe, place, *changes)


def runs(folder: Path) -> dict[str, Run]:
    """One for each sigma, and one of the ladder."""
    found = {f"σ = {sigma:g}": _fixed(folder, sigma) for sigma in SIGMAS}
    return {**found, "24 levels, 0.01 to 4": trained(folder, "swissroll-score", "swissroll-score")}


def _fixed(folder: Path, sigma: float) -> Run:
    least = f"process.schedule.sigma_min={sigma / 10:g}"
    return trained(
        folder, f"fixed-{sigma:g}", "swissroll-fixed", f"process.schedule.sigma_max={sigma:g}", least,
        f"sample.options.wide={WIDTH / sigma:g}", f"train.items={SIGMAS[sigma]}",
    )  # fmt: skip


def drawn(run: Run, sampler: str | None = None, **how: object) -> Array:
    """Samples of a run: (DRAWN, 2)."""
    return run.sample(DRAWN, sampler, raw=False, **how).double().numpy()  # type: ignore[arg-type]


def items(run: Run, part: str) -> Array:
    """Real items of a part: (DRAWN, 2)."""
    return run.recipe.source.split(part).take(np.arange(DRAWN))[0].astype(np.float64)


def far(name: str, x: Array, run: Run) -> None:
    """The sliced distance to held-out items; how far from the curve samples lie; and how many lie off it."""
    source = run.recipe.source
    assert isinstance(source, SwissRoll)
    gap = np.sqrt(((x[:, None] - source.nodes(2048)[None]) ** 2).sum(-1).min(1))
    off = 100 * float((gap > 4 * source.noise).mean())  # of real items, one in ten thousand
    deviation = float(np.sqrt(np.square(gap[gap < 4 * source.noise]).mean()))
    distance = sliced_wasserstein(x, items(run, "test"))
    print(f"{name}: sliced distance {distance:.3f}, deviation from the curve {deviation:.3f}, off it {off:.1f} %")


def ladder(all_runs: dict[str, Run]) -> None:
    """What is drawn by one sigma, and by the ladder; and by the ladder's network in other ways."""
    last = list(all_runs.values())[-1]
    real = items(last, "test")
    far("real items", items(last, "train"), last)
    clouds = {name: drawn(run) for name, run in all_runs.items()}
    ways = {name: drawn(last, name, **how) for name, how in REVERSED.items()}
    for name, x in (clouds | ways).items():
        far(name, x, last)
    title = "Langevin dynamics: one noise level, and a ladder"
    saved(panels.clouds(clouds, title, behind=real), "score-ladder.png")
    saved(panels.clouds(ways, "One network, four ways back", behind=real), "score-ways.png")


def fields(all_runs: dict[str, Run]) -> None:
    """The field of the ladder's network, and that of one sigma, both by the command."""
    for name, run, levels in (("score", "24 levels, 0.01 to 4", "0.04,0.2,1"), ("score-fixed", "σ = 0.1", "0.1")):
        found, title, _ = score.told(str(all_runs[run].folder), levels, None, None, "cpu")
        print(name, [f"σ/α = {one.ratio:g}: {100 * (one.off or 0):.2g} %" for one in found])
        saved(scores.scores(found, "light", title), f"{name}.png")


def digits(folder: Path) -> None:
    """Digits by annealed Langevin dynamics, by the reverse SDE, and by its probability flow; judged by benchmarks/."""
    rows: dict[str, list[grids.Picture]] = {}
    drawn_by = {"digits-ncsn": ("langevin",), "digits-ve": ("predictor_corrector", "euler_maruyama", "dpmpp_2m")}
    for recipe, samplers in drawn_by.items():
        run = trained(folder, recipe, recipe)
        for sampler in samplers:
            how = {} if sampler == run.recipe.sampling.sampler else REVERSED[sampler]
            x = run.sample(sampler=sampler, seeds=range(20), label=[*range(10)] * 2, raw=False, **how)  # type: ignore[arg-type]
            rows[f"{recipe.removeprefix('digits-')}: {sampler}"] = list(run.recipe.modality.show(x))
    grids.save(grids.class_rows(rows), HERE / "score-digits.png")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else place)
        all_of_them = runs(folder)
        fields(all_of_them)
        ladder(all_of_them)
        digits(folder)
