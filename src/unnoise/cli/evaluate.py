"""`unnoise evaluate`: how good a run is, as a table, metrics.json and report.html."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unnoise.cli.options import Device, Folder, Grid, Guidance, Json, Pairs, Sampler, Steps
from unnoise.cli.speak import Meter, say, span, table, tell
from unnoise.config import UserError

PROMPTS = 250  # whose following is told, unless one says otherwise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def evaluate(
    run: Folder,
    options: Pairs = None,
    against: Annotated[str, typer.Option(help="The part of the data to stand against: test or validation.")] = "test",
    measures: Annotated[
        str | None,
        typer.Option(metavar="NAME,...|all", help="These measures, in place of the standard table: kid,mmd,energy ..."),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(metavar="NAME[:PATH]", help="Read on these features: classifier, inception:weights.pth ..."),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch published weights that are not here.")] = False,
    draws: Annotated[int | None, typer.Option(help="Fewer draws, for a quick look, or more.", min=1)] = None,
    count: Annotated[
        int | None,
        typer.Option(help="Samples in a draw, and real items they stand against; the protocol's if silent.", min=1),
    ] = None,
    prompts: Annotated[
        int, typer.Option(help="Prompts, and as many never seen, whose following is told where it can be; 0: none.")
    ] = PROMPTS,
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
    likelihood: Annotated[
        str | None,
        typer.Option(metavar="ode|bound|both", help="How likely held-out items are too, in bits or nats a number."),
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Of one step of the likelihood's flow; 1e-4 if silent.", show_default=False)
    ] = None,
    exact: Annotated[
        int | None,
        typer.Option(help="Numbers of an item up to which the flow's trace is exact, not by random signs.", min=0),
    ] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure a run beside its floors: a table, metrics.json, report.html."""
    import json as text_of

    import torch

    from unnoise import __version__, files
    from unnoise import run as runs
    from unnoise.cli import asking, averages, classified, page
    from unnoise.cli import likelihood as likelihoods
    from unnoise.report import html

    wanted = likelihoods.wanted(likelihood, tolerance, exact)
    opened = runs.open(run, asking.device(device))
    if ema == "all":
        averages.show(opened, averages.compare(opened))
    else:
        opened = asking.averaged(opened, _width(ema))
    if opened.recipe.objective.of_labels:
        classified.evaluate(opened, against, out, json)
        return
    plan, how = asking.plan_of(opened, sampler, steps, grid, options)
    reader = None if features is None else asking.features(opened, features, download)
    rules = opened.protocol(against, reader, asking.measures(measures), draws, count)
    likely = likelihoods.measure(opened, wanted, against, count)  # first: where it fails, no samples are lost
    _ = rules.reals  # what cannot be asked of the data is told before samples are drawn
    like, total = opened.like(rules), rules.draws * rules.count
    prompted = opened.following(prompts) if prompts else None
    more = 0 if prompted is None else len(prompted)
    beside = None if prompted is None else opened.recipe.telling.leaves(prompted.cond, more)
    parts: list[torch.Tensor] = []
    done = 0
    with Meter("sample", total + more, "samples", lambda: done) as meter:
        for count_, told_of in ((total, like), (more, beside)):
            for part in opened.batches(range(count_), plan, told_of, guidance):
                parts.append(part.cpu())  # the clock waits for the device
                done += len(part)
    say(f"measuring against {rules.count:,} items of {against} ...", beside=True)
    x, asked_of = torch.cat(parts).split([total, more])
    told = opened.measure(rules, x)
    sentence = page.verdict(told)
    if prompted is not None:
        told += prompted.measure(opened.recipe.modality.quantise(asked_of))
    record: dict[str, Any] = {
        "run": str(run),
        "recipe": opened.recipe.name,
        "items": opened.checkpoint.items,
        "weights": opened.weights,
        "average": opened.average,
        "sampler": {**how, "guidance": guidance, "evaluations": plan.rows, "plan": plan.digest},
        "against": against,
        "features": None if reader is None else {"name": reader.name, "digest": reader.digest},
        "verdict": sentence,
        "measures": [measure.to_json() for measure in told],
        **({} if opened.excess is None else {"excess": opened.excess.record()}),
        **({"likelihood": [one.record() for one in likely]} if likely else {}),
        "samples": total + more,
        "seconds": round(meter.seconds, 2),
        "unnoise": __version__,
    }
    folder = out or run
    metrics = files.put(folder / "metrics.json", text_of.dumps(record, indent=2, allow_nan=False) + "\n")
    asked = {"measures": measures, "features": features, "draws": draws, "count": count}
    asked |= {"prompts": None if prompts == PROMPTS else prompts}
    asked |= {"likelihood": likelihood, "tolerance": tolerance, "exact": exact}
    words = ["unnoise", "evaluate", str(run), *_flags(options, against, asked, sampler, steps, grid, guidance, ema)]
    made = page.report(opened, rules, told, x, plan, how, meter.seconds, shlex.join(words), guidance, likely)
    report = html.save(made, folder / "report.html")
    if json:
        tell({**record, "files": [str(metrics), str(report)]})
        return
    _table(told)
    if likely:
        likelihoods.show(likely)
    say(f"\n{sentence}")
    where = f"the numbers are in {shlex.quote(str(metrics))}. Open {shlex.quote(str(report))}"
    say(f"Drawn in {span(meter.seconds)}; {where}")


def _width(ema: str | None) -> float | None:
    try:
        return None if ema is None else float(ema)
    except ValueError:
        raise UserError(f"--ema is a width such as 0.05, 0 for the last weights, or all; got '{ema}'") from None


def _flags(options: "Sequence[str] | None", against: str, asked: "Mapping[str, Any]", *how: Any) -> list[str]:
    """The command line's own words again."""
    named = dict(zip(("--sampler", "--steps", "--grid", "--guidance", "--ema"), how, strict=True))
    named |= {"--against": None if against == "test" else against}
    named |= {f"--{name}": value for name, value in asked.items()}
    flags = [word for flag, value in named.items() if value is not None for word in (flag, str(value))]
    return [*(options or ()), *flags]


def _table(measures: "Sequence[Any]") -> None:
    from unnoise.report.words import ARROW, called, figure_of, range_of

    figures = ("this run", "95 % of the mean", "real against real")
    rows: list[list[str]] = []
    for m in measures:
        name = called(m.name) if m.features in ("raw", "stored classifier") else f"{called(m.name)}, {m.features}"
        value, floor = figure_of(m.value, m.spread), figure_of(m.floor, m.floor_spread)
        rows.append([name, ARROW[m.better], value, range_of(m.low, m.high), floor, m.verdict])
    table(("measure", "", *figures, "in words"), rows, figures, least={"in words": len("indistinguishable")})
    for m in measures:
        if m.warning:
            say(f"{called(m.name)}: {m.warning}")


__all__ = ["evaluate"]
