"""`unnoise evaluate`: how good a run is, as a table, metrics.json and report.html."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unnoise.cli.options import Device, Folder, Grid, Guidance, Json, Pairs, Sampler, Steps
from unnoise.cli.speak import Meter, say, span, tell
from unnoise.config import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence


def evaluate(
    run: Folder,
    options: Pairs = None,
    against: Annotated[str, typer.Option(help="The part of the data to stand against: test or validation.")] = "test",
    draws: Annotated[
        int | None, typer.Option(help="Fewer draws, for a quick look: 2 at least, or nothing tells the spread.", min=2)
    ] = None,
    sampler: Sampler = None,
    steps: Steps = None,
    grid: Grid = None,
    guidance: Guidance = None,
    ema: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTH|all",
            help="Another average of the weights, such as 0.05; 0: the last weights; all: compare them first.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the two files; the run's if silent.")] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure a run beside its floors: a table, metrics.json, report.html."""
    import json as text_of

    import torch

    from unnoise import __version__, files
    from unnoise import run as runs
    from unnoise.cli import asking, averages, page
    from unnoise.report import html

    opened = runs.open(run, asking.device(device))
    if ema == "all":
        averages.show(opened, averages.compare(opened))
    else:
        opened = asking.averaged(opened, _width(ema))
    plan, how = asking.plan_of(opened, sampler, steps, grid, options)
    rules = opened.protocol(against)
    rules = replace(rules, draws=draws) if draws is not None else rules
    labels = None if rules.labels is None else rules.labels.reshape(-1).tolist()
    total = rules.draws * rules.count
    parts: list[torch.Tensor] = []
    done = 0
    with Meter("sample", total, "samples", lambda: done) as meter:
        for part in opened.batches(range(total), plan, labels, guidance):
            parts.append(part)
            done += len(part)
    say(f"measuring against {rules.count:,} items of {against} ...", beside=True)
    x = torch.cat(parts)
    measures = opened.measure(rules, x)
    sentence = page.verdict(measures)
    record: dict[str, Any] = {
        "run": str(run),
        "recipe": opened.recipe.name,
        "items": opened.checkpoint.items,
        "weights": opened.weights,
        "average": opened.average,
        "sampler": {**how, "guidance": guidance, "evaluations": plan.rows, "plan": plan.digest},
        "against": against,
        "verdict": sentence,
        "measures": [measure.to_json() for measure in measures],
        **({} if opened.excess is None else {"excess": opened.excess.record()}),
        "samples": total,
        "seconds": round(meter.seconds, 2),
        "unnoise": __version__,
    }
    folder = out or run
    metrics = files.put(folder / "metrics.json", text_of.dumps(record, indent=2, allow_nan=False) + "\n")
    words = ["unnoise", "evaluate", str(run), *_flags(options, against, draws, sampler, steps, grid, guidance, ema)]
    made = page.report(opened, rules, measures, x, plan, how, meter.seconds, shlex.join(words), guidance)
    report = html.save(made, folder / "report.html")
    if json:
        tell({**record, "files": [str(metrics), str(report)]})
        return
    _table(measures)
    say(f"\n{sentence}")
    where = f"the numbers are in {shlex.quote(str(metrics))}. Open {shlex.quote(str(report))}"
    say(f"Drawn in {span(meter.seconds)}; {where}")


def _width(ema: str | None) -> float | None:
    try:
        return None if ema is None else float(ema)
    except ValueError:
        raise UserError(f"--ema is a width such as 0.05, 0 for the last weights, or all; got '{ema}'") from None


def _flags(options: "Sequence[str] | None", against: str, draws: int | None, *how: Any) -> list[str]:
    """The command line's own words again."""
    named = dict(zip(("--sampler", "--steps", "--grid", "--guidance", "--ema"), how, strict=True))
    named |= {"--against": None if against == "test" else against, "--draws": draws}
    flags = [word for flag, value in named.items() if value is not None for word in (flag, str(value))]
    return [*(options or ()), *flags]


def _table(measures: "Sequence[Any]") -> None:
    import sys

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from unnoise.report.words import BETTER, called, figure_of

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("measure", "this run", "real against real", "", "in words"):
        table.add_column(title, justify="right" if title in ("this run", "real against real") else "left")
    for m in measures:
        figures = figure_of(m.value, m.spread), figure_of(m.floor, m.floor_spread)
        table.add_row(called(m.name), *figures, BETTER[m.better], m.verdict)
    Console(width=None if sys.stdout.isatty() else 140, highlight=False).print(table)


__all__ = ["evaluate"]
