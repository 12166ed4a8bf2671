"""The room's face: a comparison of runs or of a sweep, from what a person types to files on the disk."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unnoise import sweeps
from unnoise.comparison.contest import PAGE, Contest, Found
from unnoise.comparison.drawing import Drawings
from unnoise.comparison.entries import folder_of
from unnoise.comparison.sweep import Sweep, read
from unnoise.config import UserError, nearest
from unnoise.report.comparison import Comparison
from unnoise.run import RECIPE

MOST_JOBS = 8  # trainings at a time, unless more are asked for


def compare(
    *what: str | Path,
    changes: Sequence[str] = (),
    samplers: Sequence[str] = (),
    steps: Sequence[int] = (),
    evaluations: Sequence[int] = (),
    grids: Sequence[str] = (),
    guidance: Sequence[float] = (),
    ema: Sequence[float] = (),
    judge: str | None = None,
    measures: Sequence[str] = (),
    draws: int | None = None,
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
    decides; measures: others than the standard ones; draws: lots of samples of each run; seeds: of a sweep, how many;
    jobs: pieces of work at a time; threads: of each; out: comparisons/<name> if silent.
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
        draws=draws,
        against=against,
        seeds=seeds,
        jobs=jobs,
        threads=threads,
        out=out,
        device=device,
    )
    contest.training.run()
    contest.measuring.run()
    found = contest.found()
    save(contest, found)
    return found.page


def prepare(
    what: Sequence[str | Path],
    changes: Sequence[str] = (),
    samplers: Sequence[str] = (),
    steps: Sequence[int] = (),
    evaluations: Sequence[int] = (),
    grids: Sequence[str] = (),
    guidance: Sequence[float] = (),
    ema: Sequence[float] = (),
    judge: str | None = None,
    measures: Sequence[str] = (),
    draws: int | None = None,
    against: str = "test",
    seeds: int | None = None,
    jobs: int | None = None,
    threads: int = 1,
    out: str | Path | None = None,
    device: str = "cpu",
    command: str = "",
) -> Contest:
    """A comparison about to begin, all that was asked checked. Arguments as of `compare`."""
    asked = Drawings(samplers, steps, evaluations, grids, guidance, ema)
    sweep = _sweep(what, changes)
    many = max(1, min(_processors() // threads, MOST_JOBS) if device == "cpu" else 1) if jobs is None else jobs
    if sweep is None:
        folders = [Path(folder) for folder in what]
        if len({folder.resolve() for folder in folders}) < len(folders):
            raise UserError("a run cannot be compared with itself: each folder is named once")
        for flag, given in (("seeds", seeds), ("changes of a recipe", changes)):
            if given:
                raise UserError(f"{flag} belong to a sweep; runs are compared as they were trained")
        place = Path(out) if out is not None else folder_of(folders)
        made = Contest(
            place.name, place, asked, None, folders, device, many, threads, judge, measures, draws, against, command
        )
        made.check()
        return made
    if seeds is not None:
        sweep = replace(sweep, seeds=tuple(range(seeds)))
    place = Path(out) if out is not None else Path("comparisons") / sweep.name
    made = Contest(
        sweep.name,
        place,
        asked if any(axis for axis in vars(asked).values()) else sweep.drawings,
        sweep,
        (),
        device,
        many,
        threads,
        judge or sweep.judge,
        (*sweep.measures, *measures),
        draws or sweep.draws,
        sweep.against if against == "test" else against,
        command,
    )
    made.check()
    return made


def save(contest: Contest, found: Found) -> list[Path]:
    """comparison.json, comparison.csv, comparison.html."""
    from unnoise.report import comparison_page

    made = contest.save(found)
    return [*made[:2], comparison_page.save(found.page, contest.out / PAGE)]


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


__all__ = ["compare", "prepare", "save"]
