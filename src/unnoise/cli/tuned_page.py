"""tuning.html of a run: its tuned plans in a table, the same seeds drawn by one, each plan beside its ancestor."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unnoise.cli import pictures
from unnoise.distill import Tuned, fine
from unnoise.distill.shelf import FOLDER, Shelf
from unnoise.guide import Guidance
from unnoise.report import panels
from unnoise.report import tuned as drawings
from unnoise.report.tuning_page import Drawn, Table, TuningPage, save
from unnoise.run import Run, collect
from unnoise.samplers import plan as write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "tuning.html"
SHOWN = 5  # evaluations of the plan whose samples are shown, or the nearest there are
ITEMS, DOTS = 11, 800  # pictures, or points, of it


def write_page(run: Run) -> Path | None:
    """The page of all plans that are tuned to the run's weights, in their folder; None where there is none."""
    found = list(_plans(run))
    if not found:
        return None
    last = min(found, key=lambda entry: entry[1].share)
    where = shlex.quote(str(run.folder))
    told = TuningPage(
        title=f"{run.recipe.name} · tuned plans · unnoise",
        verdict=_verdict(found),
        facts={
            "weights": run.weights[:12],
            "judged on": f"{last[1].items:,} items apart from those that were fitted to",
            "fine solution": f"{fine.STEPS} steps of dpmpp_3m",
        },
        tables=[_table(found)],
        drawn=[*_samples(run, found), *(_beside(run, *entry) for entry in found)],
        commands=[
            ("Draw by one", f"unnoise sample {where} --sampler tuned --evaluations {found[0][1].plan.rows}"),
            ("Tune another", f"unnoise tune {where} --evaluations 7"),
        ],
    )
    return save(told, run.folder / FOLDER / NAME)


def beside(run: Run, found: Tuned, theme: str = "light") -> "Figure":
    """A tuned plan of a run beside the untuned one that it had to be better than."""
    before, process = found.ancestor, run.recipe.process
    names = f"Tuned: {found.distance:.4f} from the fine solution", f"{before.name}: {found.before:.4f}"
    return drawings.beside(
        found.plan,
        write(before.sampler, process, before.steps, before.grid),
        names,
        found.budget,
        found.before,
        process.schedule.logsnr,
        title=f"{run.recipe.name}: {found.plan.rows} evaluations, {found.share:.2f} of its ancestor's distance",
        theme=theme,
    )


def _plans(run: Run) -> Any:
    """(how it is guided in words, the plan, a weight or guides to draw it by), fewest evaluations first."""
    shelf = Shelf(run.folder, run.weights)
    for entry in shelf.all():
        if entry["weights"] != run.weights:
            continue
        least, most = entry["guidance"]
        guided: Guidance = entry["guides"] or (least + most) / 2
        said = entry["guides"] or (f"{least:g}" if least == most else f"{least:g} to {most:g}")
        yield said, shelf.read(entry), guided


def _verdict(found: Sequence[tuple[str, Tuned, Guidance]]) -> str:
    said = [f"{tuned.share:.2f} at {tuned.plan.rows}" + _by(how) for how, tuned, _ in found]
    said[0] = said[0].replace(f"at {found[0][1].plan.rows}", f"at {found[0][1].plan.rows} evaluations")
    listed = " and ".join([", ".join(said[:-1]), said[-1]]) if len(said) > 1 else said[0]
    return f"Of the best untuned plan's distance to the fine solution there is left {listed}."


def _by(how: str) -> str:
    return "" if how == "1" else f" (guidance {how})"


def _table(found: Sequence[tuple[str, Tuned, Guidance]]) -> Table:
    names = ["evaluations", "guidance", "tuned", "best untuned", "its distance", "ratio", "head start"]
    rows = [
        [
            *(str(tuned.plan.rows), how, f"{tuned.distance:.4f}", tuned.ancestor.name, f"{tuned.before:.4f}"),
            *(f"{tuned.share:.2f}", "yes" if tuned.plan.head else "no"),
        ]
        for how, tuned, _ in found
    ]
    text = "Distances are means of |x − fine|/√d. Best untuned: the nearest of 21 pairs of sampler and grid."
    return Table("Tuned and untuned", names, rows, names.index("ratio"), (3, 6), text)


def _samples(run: Run, found: Sequence[tuple[str, Tuned, Guidance]]) -> list[Drawn]:
    """The same seeds by the best untuned plan, the tuned one, and 64 steps: pictures, or points of the plane."""
    how, tuned, guided = min(found, key=lambda entry: (abs(entry[1].plan.rows - SHOWN), entry[0] != "1"))
    before, points = tuned.ancestor, pictures.of_points(run)
    if points and run.recipe.shape != (2,):
        return []
    seeds, count, process = range(DOTS if points else ITEMS), tuned.plan.rows, run.recipe.process
    plans = {
        f"{before.name}, {count} evaluations": write(before.sampler, process, before.steps, before.grid),
        f"tuned, {count} evaluations": tuned.plan,
        f"the fine solution, {fine.STEPS}": write("dpmpp_3m", process, fine.STEPS, "karras", start="multistep"),
    }
    cond = run.some(len(seeds))
    drawn = {name: _draw(run, seeds, plan, cond, guided) for name, plan in plans.items()}
    title = f"The same seeds, by {count} questions" + _by(how)
    if points:
        clouds = {name: np.asarray(xs) for name, xs in drawn.items()}
        return [Drawn(title, lambda theme: panels.clouds(clouds, "", theme=theme), title, dots=True)]
    return [Drawn(title, lambda theme: drawings.strips(drawn, "", theme=theme), title, dots=True)]


def _draw(run: Run, seeds: range, plan: Any, cond: Any, guided: Guidance) -> Any:
    x = collect(run.draw(seeds, plan, cond, guided), len(seeds))
    modality = run.recipe.modality
    return modality.decode(x) if pictures.of_points(run) else modality.show(x)


def _beside(run: Run, how: str, tuned: Tuned, guided: Guidance) -> Drawn:
    title = f"The plan of {tuned.plan.rows} evaluations" + _by(how)
    alt = f"{title}: its table and its ancestor's, where both ask, what each row costs"
    return Drawn(title, lambda theme: beside(run, tuned, theme), alt, dots=True)


__all__ = ["NAME", "beside", "write_page"]
