"""How entries converged: held-out loss, and quality at milestones, over items and over seconds, by their seeds."""

from collections.abc import Mapping, Sequence

import numpy as np

from unnoise.comparison import milestones
from unnoise.comparison.judge import interval
from unnoise.comparison.measured import Lab
from unnoise.report.comparison import Point, Value
from unnoise.run import Run


def held_out(runs: Sequence[Run]) -> list[Point]:
    """The held-out loss of the average that is sampled from, where every run was asked."""
    found: list[dict[int, float]] = []
    for run in runs:
        own = {
            record["items"]: next(iter(record["held_out"].values()))["mean"]
            for record in run.history
            if record.get("held_out")
        }
        found.append({items: value for items, value in own.items() if value is not None})
    return _points(runs, found)


def quality(runs: Sequence[Run], lab: Lab, measure: str, end: Value) -> list[Point]:
    """A measure at each milestone, of one lot of samples, and at the end; empty where nothing was drawn on the way."""
    found: list[dict[int, float]] = []
    for run in runs:
        told = {items: lab.milestone(path) for items, path in milestones.kept(run, lab.rules.against).items()}
        found.append({items: m.value for items, measures in told.items() for m in measures if m.name == measure})
    if not all(found):
        return []
    for own, run, value in zip(found, runs, end.seeds, strict=True):
        own[run.checkpoint.items] = value
    return _points(runs, found)


def _points(runs: Sequence[Run], found: Sequence[Mapping[int, float]]) -> list[Point]:
    """Means over the runs at the items that all of them tell of."""
    shared = sorted(set(found[0]).intersection(*found[1:])) if found else []
    points: list[Point] = []
    for items in shared:
        values = [own[items] for own in found]
        seconds = [_seconds(run, items) for run in runs]
        points.append(Point(items, float(np.mean(seconds)), float(np.mean(values)), *interval(values)))
    return points


def _seconds(run: Run, items: int) -> float:
    """How long training took up to there; nan where no clock was kept."""
    clock = run.clock
    if not clock:
        return float("nan")
    return float(np.interp(items, *np.array([(0, 0.0), *clock]).T))


__all__ = ["held_out", "quality"]
