"""The room's face: a comparison of runs or of a sweep, from what a person types to files on the disk."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unnoise import sweeps
from unnoise.comparison.contest import Contest
from unnoise.comparison.drawing import Drawings
from unnoise.comparison.entries import folder_of
from unnoise.comparison.findings import found, save
from unnoise.comparison.sweep import Sweep, read
from unnoise.config import UserError, nearest
from unnoise.folder import RECIPE
from unnoise.report.comparison import Comparison

MOST_JOBS = 8  # trainings at a time, unless more are asked for


def compare(
    *what: str | Path,
    changes: Sequence[str] = (),
    samplers: Sequence[str] = (),
    steps: Sequence[int] = (),
    evaluations: Sequence[int] = (),
    grids: Sequence[str] = (),
    guidance: Sequence[float | str] = (),
    ema: Sequence[float] = (),
    judge: str | None = None,
    measures: Sequence[str] = (),
    features: str | None = None,
    download: bool = False,
    draws: int | None = None,
    count: int | None = None,
    against: str = "test",
    seeds: int | None = None,
    jobs: int | None = None,
    threads: int = 1,
    out: str | Path | None = None,
    device: str = "cpu",
) -> Comparison:
    """What `unnoise compare` does: trains what is missing, measures what is not known, writes and gives the comparison.

    what: a sweep's name or file, or folders of runs; changes: overrides of all of a sweep's trainings; samplers,
    steps (or evaluations), grids, guidance, ema: lists whose product each run is drawn by; judge: the measure that
    decides; measures: others than the standard ones; features: "name" or "name:PATH", read on these too; draws, count:
    lots of samples of each run, and how many in a lot; seeds: of a sweep, how many; jobs: pieces of work at a time;
    threads: of each; out: comparisons/<name> if silent.
    """
    contest = prepare(
        what,
        changes=changes,
        samplers=samplers,
        steps=steps,
        evaluations=evaluations,
        grids=grids,
        guidance=guidance,
        ema=ema,
        judge=judge,
        measures=measures,
        features=features,
        download=download,
        draws=draws,
        count=count,
        against=against,
        seeds=seeds,
        jobs=jobs,
        threads=threads,
        out=out,
        device=device,
    )
    contest.training.run()
    contest.measuring.run()
    all_found = found(contest)
    save(contest, all_found)
    return all_found.page


def prepare(
    what: Sequence[str | Path],
    changes: Sequence[str] = (),
    samplers: Sequence[str] = (),
    steps: Sequence[int] = (),
    evaluations: Sequence[int] = (),
    grids: Sequence[str] = (),
    guidance: Sequence[float | str] = (),
    ema: Sequence[float] = (),
    judge: str | None = None,
    measures: Sequence[str] = (),
    features: str | None = None,
    download: bool = False,
    draws: int | None = None,
    count: int | None = None,
    against: str = "test",
    seeds: int | None = None,
    jobs: int | None = None,
    threads: int = 1,
    out: str | Path | None = None,
    device: str = "cpu",
    command: str = "",
) -> Contest:
    """A comparison about to begin, all that was asked checked. Arguments as of `compare`."""
    for name, number in (("jobs", jobs), ("threads", threads), ("seeds", seeds)):
        if number is not None and number < 1:
            raise UserError(f"{name} are 1 or more, got {number}")
    asked = Drawings(samplers, steps, evaluations, grids, guidance, ema)
    sweep = _sweep(what, changes)
    many = max(1, min(_processors() // threads, MOST_JOBS) if device == "cpu" else 1) if jobs is None else jobs
    told: dict[str, Any] = {
        "device": device,
        "jobs": many,
        "threads": threads,
        "judge": judge,
        "features": features,
        "download": download,
        "draws": draws,
        "count": count,
        "against": against,
        "measures": measures,
        "command": command,
    }
    if sweep is None:
        folders = [Path(folder) for folder in what]
        if len({folder.resolve() for folder in folders}) < len(folders):
            raise UserError("a run cannot be compared with itself: each folder is named once")
        for flag, given in (("seeds", seeds), ("changes of a recipe", changes)):
            if given:
                raise UserError(f"{flag} belong to a sweep; runs are compared as they were trained")
        place = Path(out) if out is not None else folder_of(folders)
        made = Contest(place.name, place, asked, folders=folders, **told)
    else:
        if seeds is not None:
            sweep = replace(sweep, seeds=tuple(range(seeds)))
        for name in ("judge", "features", "draws", "count"):  # what is said now goes before what the file says
            told[name] = getattr(sweep, name) if told[name] is None else told[name]
        told["measures"] = (*sweep.measures, *measures)
        told["against"] = sweep.against if against == "test" else against
        ways = asked if any(vars(asked).values()) else sweep.drawings
        made = Contest(sweep.name, Path(out or Path("comparisons") / sweep.name), ways, sweep, **told)
    made.check()
    return made


def _sweep(what: Sequence[str | Path], changes: Sequence[str]) -> Sweep | None:
    """The sweep that is asked for, or None where runs are."""
    first = Path(what[0]) if what else Path()
    runs = [(Path(entry) / RECIPE).exists() for entry in what]
    if all(runs):
        return None
    if len(what) == 1 and (first.suffix in (".yaml", ".yml") or str(what[0]) in sweeps.names()):
        return read(first if first.suffix else str(what[0]), changes)
    lost = [str(entry) for entry, stands in zip(what, runs, strict=True) if not stands]
    there = sorted({str(path.parent) for path in Path("runs").glob(f"*/{RECIPE}")})
    options = [*there, *(sweeps.names() if len(what) == 1 else ())]
    neither = f"{lost[0]} is no run{' and no sweep' if len(what) == 1 else ''}"
    raise UserError(f"{neither}; {nearest(lost[0], options)}" if options else neither)


def _processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


__all__ = ["compare", "found", "prepare", "save"]
