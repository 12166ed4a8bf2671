"""`unnoise compare`: what is best, by how much, and whether that is more than noise."""

import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unnoise.cli.options import Device, Json
from unnoise.cli.speak import Meter, say, span, table, tell
from unnoise.cli.stopping import asked_to_stop
from unnoise.config import UserError

if TYPE_CHECKING:
    from unnoise.comparison.jobs import Jobs


def compare(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="SWEEP|RUN...", help="A sweep's name or YAML file, or the folders of runs."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NODE.KEY=VALUE", help="Of a sweep: a change of every training; may be repeated."
        ),
    ] = None,
    samplers: Annotated[str | None, typer.Option(metavar="A,B", help="Samplers to draw each run by.")] = None,
    steps: Annotated[str | None, typer.Option(metavar="5,10,20", help="Steps to draw each run by.")] = None,
    evaluations: Annotated[
        str | None, typer.Option(metavar="5,10,20", help="In place of steps: the most questions put to the network.")
    ] = None,
    grids: Annotated[str | None, typer.Option(metavar="A,B", help="Grids of times to draw each run by.")] = None,
    guidance: Annotated[
        str | None, typer.Option(metavar="1,2,4", help="Guidance to draw each run by: weights, or guides in words.")
    ] = None,
    ema: Annotated[
        str | None, typer.Option(metavar="0.05,0.1", help="Averages of the weights to draw each run by; 0: the last.")
    ] = None,
    judge: Annotated[str | None, typer.Option(help="The measure that decides, such as two_sample.")] = None,
    measures: Annotated[str | None, typer.Option(metavar="A,B", help="Measures beside the standard ones.")] = None,
    features: Annotated[
        str | None,
        typer.Option(metavar="NAME[:PATH]", help="Read on these features too: classifier, inception:weights.pth ..."),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch published weights that are not here.")] = False,
    draws: Annotated[int | None, typer.Option(help="Lots of samples of each run; 5 if silent.", min=2)] = None,
    count: Annotated[
        int | None, typer.Option(help="Samples in a lot, and real items they stand against; the protocol's if silent.")
    ] = None,
    against: Annotated[str, typer.Option(help="The part of the data to stand against: test or validation.")] = "test",
    seeds: Annotated[int | None, typer.Option(help="Of a sweep: how many trainings of each variant.", min=1)] = None,
    jobs: Annotated[
        int | None,
        typer.Option(help="Pieces of work at a time; as many as there are processors if silent.", min=1),
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads of each.", min=1)] = 1,
    out: Annotated[Path | None, typer.Option(help="The folder; comparisons/<name> if silent.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the sweeps that come along, and stop.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained and measured, and stop.")
    ] = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Compare runs, ways of sampling one, or the trainings of a sweep: a page, a table, and a verdict in words."""
    if listed:
        _list(json)
        return
    if not what:
        raise UserError("give a sweep, or the folders of runs; --list lists the sweeps that come along")
    from unnoise.cli import asking
    from unnoise.comparison import compare as room

    where = asking.device(device)
    flags: dict[str, Any] = {
        "--samplers": samplers, "--steps": steps, "--evaluations": evaluations, "--grids": grids,
        "--guidance": guidance, "--ema": ema, "--judge": judge, "--measures": measures, "--features": features,
        "--draws": draws, "--count": count, "--against": None if against == "test" else against, "--seeds": seeds,
    }  # fmt: skip
    words = [word for flag, value in flags.items() if value is not None for word in (flag, str(value))]
    words += [word for change in set_ or () for word in ("--set", change)]
    beside = [*(["--out", str(out)] if out else []), *(["--threads", str(threads)] if threads > 1 else [])]
    again = shlex.join(["unnoise", "compare", *what, *words, *beside])
    contest = room.prepare(
        what,
        changes=set_ or (),
        samplers=_list_of("--samplers", samplers, str),
        steps=_list_of("--steps", steps, int),
        evaluations=_list_of("--evaluations", evaluations, int),
        grids=_list_of("--grids", grids, str),
        guidance=_guides(guidance),
        ema=_list_of("--ema", ema, float),
        judge=judge,
        measures=_list_of("--measures", measures, str),
        features=features,
        download=download,
        draws=draws,
        count=count,
        against=against,
        seeds=seeds,
        jobs=jobs,
        threads=threads,
        out=out,
        device=where,
        command=again,
    )
    trainings, work = contest.trainings, contest.training
    if trainings:
        sizes = sorted({task.recipe.train.items for task in trainings})
        each = " to ".join(f"{size:,}" for size in sorted({sizes[0], sizes[-1]}))
        say(
            f"{contest.name}: {len(trainings)} trainings of {each} items, {len(work.todo)} of them to be done, "
            f"{min(work.many, max(len(work.todo), 1))} at a time on {where} → {contest.out}",
            beside=json,
        )
    if dry_run:
        for task, job in zip(trainings, work.jobs, strict=True):
            say(f"  {task.folder}" + ("" if job in work.todo else "  trained"), beside=json)
        return
    _do(work, "train", "items", f"saved in {contest.out}", again)
    _do(contest.measuring, "measure", "samples", f"what was measured is kept in {contest.out}", again)
    found = room.found(contest)
    made = [str(path) for path in room.save(contest, found)]
    if json:
        tell({"verdict": found.page.verdict, "advice": list(found.page.advice), "out": str(contest.out), "files": made,
              "judged": found.page.judged, "entries": _rows(found.page)})  # fmt: skip
        return
    _table(found.page)
    say(f"\n{found.page.verdict}")
    for sentence in found.page.advice:
        say(sentence)
    say(f"\nAll of it stands in {shlex.quote(made[-1])}, the numbers in {shlex.quote(made[1])}.")


def _do(work: "Jobs", what: str, unit: str, kept: str, again: str) -> None:
    """Work with its bar; on Ctrl-C it ends well, and it is said how to go on."""
    if not work.todo:
        return
    with asked_to_stop(work.stop) as asked, Meter(what, work.total, unit, lambda: work.done, lambda: work.now):
        whole = work.run()
    if whole:
        return
    say(f"Stopped at {work.done:,} of {work.total:,} {unit}, {kept}. Go on with:", beside=True)
    say(f"  {again}{f' --jobs {work.many}' if work.many > 1 else ''}", beside=True)
    raise typer.Exit(128 + (asked[0] if asked else signal.SIGINT))


def _guides(text: str | None) -> list[float | str]:
    """Weights, or guides in words, written with commas."""
    from unnoise.guide import several

    found = [] if text is None else several(text)
    if "" in found or len({*found}) < len(found):
        raise UserError(f"--guidance takes different weights or guides with commas between them, got '{text}'")
    return found


def _list_of(flag: str, text: str | None, kind: Callable[[str], Any]) -> list[Any]:
    """The values of a flag, written with commas."""
    if text is None:
        return []
    try:
        found = [kind(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError:
        what = {int: "whole numbers", float: "numbers"}[kind]  # type: ignore[index]
        raise UserError(f"{flag} takes {what} with commas between them, got '{text}'") from None
    if not found or len(set(found)) < len(found):
        raise UserError(f"{flag} takes different values with commas between them, got '{text}'")
    return found


def _rows(page: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": entry.name,
            **{name: value.mean for name, value in entry.values.items()},
            "evaluations": entry.evaluations,
            "won": entry.won,
            "tied": entry.tied,
        }
        for entry in page.ranked
    ]


SHOWN = 4  # columns of measures in the terminal: the page has them all


def _table(page: Any) -> None:
    """The entries, best first, with their floors last."""
    import math

    from unnoise.report.words import called, figure_of

    judged = page.scale(page.judged)
    scales = [judged, *(scale for scale in page.measures if scale is not judged)][:SHOWN]
    figures = (*(_narrow(called(scale.name)) for scale in scales), "training", "evaluations", "ms a\nsample")
    rows: list[list[str]] = []

    def figure(value: Any) -> str:
        half = (value.high - value.low) / 2
        return figure_of(value.mean, half if math.isfinite(half) else None)

    for entry in page.ranked:
        cells = [figure(entry.values[scale.name]) for scale in scales]
        took = "–" if entry.train_seconds is None else span(entry.train_seconds)
        speed = "–" if entry.seconds_per_sample is None else figure_of(1e3 * entry.seconds_per_sample)
        mark = "best" if entry.won else "tied" if entry.tied else ""
        rows.append([entry.name, *cells, took, str(entry.evaluations), speed, mark])
    floors = ["real against real", *(figure_of(scale.floor) for scale in scales), "", "", "", ""]
    table(("", *figures, ""), rows, figures, width=140, whole=True, faint=floors)


def _narrow(title: str) -> str:
    """A title on two lines, where it has several words."""
    return title.replace(" ", "\n", 1)


def _list(json: bool) -> None:
    from unnoise import sweeps

    there = sweeps.listed()
    if json:
        tell(there)
        return
    wide = max(map(len, there), default=0)
    for name, line in there.items():
        say(f"{name:<{wide}}  {line}")


__all__ = ["compare"]
