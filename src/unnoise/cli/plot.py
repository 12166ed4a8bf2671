"""`unnoise plot`: schedules, plans, exact errors and scores before anything is trained; what was learned after."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from unnoise.cli.options import Count, Device, Grid, Guidance, Label, Pairs, Sampler, Seeds, Steps, pairs
from unnoise.cli.speak import Meter, say
from unnoise.config import UserError, choose

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from unnoise.metrics import Measure

plots = typer.Typer(help="Draw schedules, plans, errors, trajectories: a PNG, or an SVG by the file's ending.")


def _drawable(out: Path | None) -> Path | None:
    """A format that cannot be written is told before anything is computed."""
    if out is not None:
        choose("picture format", out.suffix.lower().lstrip("."), dict.fromkeys(("png", "svg")))
    return out


Picture: TypeAlias = Annotated[Path | None, typer.Option(help="The picture's file: .png or .svg.", callback=_drawable)]
Theme: TypeAlias = Annotated[str, typer.Option(help="light or dark.")]
Schedule: TypeAlias = Annotated[str, typer.Option(help="Noise schedule: linear, cosine, karras, flow ...")]

COMPARED = "linear,cosine,sigmoid,flow,karras"
RACED = "ddpm,ddim,heun,dpmpp_2m"
BOUNDED = {"posterior": "least variance (posterior)", "beta": "largest variance (beta)", "learned": "learned"}
ASKED = 50  # steps of a chain that an item is asked about for a picture, at most
FITTED = 5000  # items that a spectrum or a mixture is made of, at most


@plots.command()
def schedules(
    schedules: Annotated[str, typer.Option(help="Names with commas between them.")] = COMPARED,
    out: Picture = None,
    theme: Theme = "light",
) -> None:
    """How fast schedules destroy data: beta, signal share and logSNR over t."""
    from unnoise.report import schedules as drawn

    named = {name: _schedule(name) for name in _words(schedules)}
    _save(drawn.schedules(named, theme), out, Path("schedules.png"))


@plots.command()
def forward(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or file.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[NODE.KEY=VALUE]...")] = None,
    n: Annotated[int | None, typer.Option(help="Items shown: 4 images, or 2,000 points.", min=1)] = None,
    schedule: Annotated[str | None, typer.Option(help="Another schedule than the recipe's.")] = None,
    out: Picture = None,
    theme: Theme = "light",
) -> None:
    """A recipe's data on its way to noise."""
    import torch

    from unnoise.recipe import load
    from unnoise.report import schedules as drawn

    made = load(recipe, overrides or ())
    points = made.modality.name == "points"
    items = made.source.split("validation")
    x0 = made.modality.encode(items.take(range(min(n or (2000 if points else 4), len(items))))[0])
    chosen = made.process.schedule if schedule is None else _schedule(schedule)
    name = schedule or made.nodes["process"]["schedule"]["kind"]

    def render(batch: Any) -> list[Any]:
        return made.modality.show(torch.from_numpy(batch))

    fig = drawn.forward(x0.double().numpy(), chosen, name=name, render=None if points else render, theme=theme)
    _save(fig, out, Path(f"forward-{made.name}.png"))


@plots.command()
def plan(
    sampler: Annotated[str, typer.Argument(metavar="SAMPLER|RUN", help="A sampler's name, or a run's folder.")],
    options: Pairs = None,
    steps: Steps = None,
    schedule: Schedule = "cosine",
    grid: Grid = None,
    evaluations: Annotated[
        int | None, typer.Option(help="Of a run: its tuned plan of so many, beside its ancestor.", min=1)
    ] = None,
    guidance: Guidance = None,
    out: Picture = None,
    theme: Theme = "light",
) -> None:
    """A sampler as a table of numbers, and where its questions fall."""
    from unnoise import run as runs
    from unnoise.cli import asking, tuned_page
    from unnoise.process import Gaussian
    from unnoise.report import plans
    from unnoise.samplers import plan as write

    if evaluations is not None:
        opened = runs.open(sampler)
        how = "" if guidance is None else f"-w{guidance:g}" if isinstance(guidance, float) else "-guided"
        place = opened.folder / "plots" / f"tuned-{evaluations}{how}.png"
        _save(tuned_page.beside(opened, opened.tuned(evaluations, guidance), theme), out, place)
        return
    if Path(sampler).is_dir() or "/" in sampler:
        opened = runs.open(sampler)
        table, how = asking.plan_of(opened, None, steps, grid, options)
        chosen, name = opened.recipe.process.schedule, f"{opened.recipe.name}: {asking.called(how)}"
        place = opened.folder / "plots" / "plan.png"
    else:
        chosen = _schedule(schedule)
        table = write(sampler, Gaussian(chosen), steps or 10, grid, **pairs(options))
        rest = ", ".join([f"{steps or 10} steps", schedule, *([f"grid {grid}"] if grid else []), *(options or ())])
        name, place = f"{sampler}, {rest}", Path(f"plan-{sampler}-{steps or 10}.png")
    _save(plans.plan(table, name, chosen.logsnr, theme), out, place)


@plots.command()
def trajectory(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    options: Pairs = None,
    n: Count = None,
    seeds: Seeds = None,
    label: Label = None,
    sampler: Sampler = None,
    steps: Steps = None,
    grid: Grid = None,
    guidance: Guidance = None,
    out: Annotated[Path | None, typer.Option(help="A .png or .svg, or .apng for a film.")] = None,
    theme: Theme = "light",
    device: Device = "auto",
) -> None:
    """The way from noise to data: states and beliefs of a run, step by step; a film where --out ends in .apng."""
    from unnoise import files
    from unnoise import run as runs
    from unnoise.cli import asking, pictures
    from unnoise.report import films, trajectories

    opened = runs.open(run, asking.device(device))
    points = pictures.of_points(opened)
    count = n if points or n is not None or seeds is not None or (label and "," in label) else 3
    wanted, labels, _ = asking.asked(opened, count, seeds, label)
    table, how = asking.plan_of(opened, sampler, steps, grid, options)
    way: Any = pictures.way(opened, opened.trajectory(wanted, table, labels, guidance), asking.called(how))
    place = opened.folder / "plots" / "trajectory.png"
    if out is not None and out.suffix.lower() == ".apng":
        rows = films.point_frames(way.states, 400, way.truth) if points else films.image_frames(way.states)
        enlarged = 1 if points else max(1, 400 // max(rows[0].size))
        say(f"drawn in {files.put(out, films.film(rows, factor=enlarged))}")
        return
    title = f"{opened.recipe.name}: {way.sampler}"
    if points:
        fig = trajectories.point_panels(way.states, way.beliefs, way.times, way.truth, theme=theme, title=title)
    else:
        fig = trajectories.image_strip(way.states, way.beliefs, way.times, theme=theme, title=title)
    _save(fig, out, place)


@plots.command()
def history(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    out: Picture = None,
    theme: Theme = "light",
) -> None:
    """Training and held-out loss over items; held-out error by noise level, beside the least where it is known."""
    from unnoise import run as runs
    from unnoise.cli import pictures
    from unnoise.report import curves

    opened = runs.open(run)
    told = pictures.history(opened)
    if not len(told.items):
        raise UserError(f"{run} has no history yet: its first record comes after train.log_every items")
    levels = pictures.levels(opened)
    title = opened.recipe.name if levels is not None else f"{opened.recipe.name}: training loss"
    _save(curves.training(told, levels, theme, title), out, opened.folder / "plots" / "history.png")


@plots.command()
def ema(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    out: Picture = None,
    theme: Theme = "light",
    device: Device = "auto",
) -> None:
    """Averages of a run's weights by their width, compared on its validation part: a picture and a table."""
    from unnoise import run as runs
    from unnoise.cli import asking, averages
    from unnoise.report import curves

    opened = runs.open(run, asking.device(device))
    told = averages.compare(opened)
    averages.show(opened, told)
    widths, losses = ([row[name] for row in told["widths"]] for name in ("width", "loss"))
    fig = curves.averages(
        widths, losses, averages.asked(opened), theme, f"{opened.recipe.name}: averages of the weights"
    )
    _save(fig, out, opened.folder / "plots" / "ema.png")


@plots.command()
def score(
    which: Annotated[
        str, typer.Argument(metavar="RUN|RECIPE", help="A run's folder; or a recipe or world of points: no run.")
    ],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[NODE.KEY=VALUE]...")] = None,
    level: Annotated[
        str | None, typer.Option(metavar="σ/α,...", help="Noise levels with commas between them; three if silent.")
    ] = None,
    at: Annotated[str | None, typer.Option(metavar="X,Y", help="The point whose score is told in numbers.")] = None,
    out: Picture = None,
    theme: Theme = "light",
    device: Device = "auto",
) -> None:
    """The score of data in the plane over its density: exact, learned, the error, and what it is of noise and mean."""
    from unnoise.cli import score as asked
    from unnoise.report import scores

    fields, title, place = asked.told(which, level, at, overrides, device)
    for found in fields:
        if found.off is not None:
            say(f"σ/α = {found.ratio:.3g}: the learned score is off by {100 * found.off:.2g} % over the data")
    _save(scores.scores(fields, theme, title), out, place)


@plots.command()
def error(
    samplers: Annotated[str, typer.Option(help="Names with commas between them.")] = RACED,
    data: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="A recipe's name or file: errors on its data's own spectrum.")
    ] = None,
    mixture: Annotated[
        int | None, typer.Option(help="With --data: on the exact flow of so many normal laws fitted to it.", min=1)
    ] = None,
    schedule: Annotated[str | None, typer.Option(help="Noise schedule; the recipe's, or karras.")] = None,
    grid: Annotated[str, typer.Option(help="One grid for all: karras, logsnr, time ...")] = "karras",
    most: Annotated[int, typer.Option(help="Evaluations at most.", min=4, max=4096)] = 256,
    from_prior: Annotated[
        bool,
        typer.Option("--from-prior", help="Start at the prior, whose own error is then counted too."),
    ] = False,
    out: Picture = None,
    theme: Theme = "light",
) -> None:
    """The exact error of samplers over their evaluations, on Gaussian data or on your data's: nothing is trained."""
    import numpy as np

    from unnoise.conformance import blend, judge
    from unnoise.process import Gaussian
    from unnoise.recipe import load
    from unnoise.report import errors
    from unnoise.samplers import SAMPLERS, Plan
    from unnoise.samplers import plan as write

    names = _words(samplers)
    for name in names:
        choose("sampler", name, SAMPLERS)
    if mixture is not None and data is None:
        raise UserError("--mixture is fitted to data: name a recipe with --data")
    if mixture is not None and from_prior:
        raise UserError("--from-prior goes with the algebra of a covariance: leave it out beside --mixture")
    made = None if data is None else load(data)
    process = Gaussian(_schedule(schedule or "karras")) if schedule or made is None else made.process
    whose = schedule or ("karras" if made is None else str(made.nodes["process"]["schedule"]["kind"]))
    title = f"{whose} schedule, {grid} grid"
    truth: blend.Blend | None = None
    if made is None:
        moments, title = judge.spectrum(), f"Gaussian data: {title}"
    else:
        items = made.source.split("train")
        shown, _ = items.take(np.arange(min(len(items), FITTED)))
        x = made.modality.encode(shown).flatten(1).double().numpy()
        moments, title = judge.spectrum_of(x), f"{made.name}: {title}"
        truth = None if mixture is None else blend.fitted(x, mixture, process, grid)

    def off(table: Plan) -> float:
        if truth is not None:
            return truth.error(table)
        return judge.distance(table, process.schedule, *moments, from_prior=from_prior)

    drawn: dict[str, tuple[list[int], list[float]]] = {name: ([], []) for name in names}
    counts = [2**k for k in range(2, 13) if 2**k <= most]
    done = 0
    with Meter("algebra" if truth is None else "paths", len(names) * len(counts), "plans", lambda: done):
        for name in names:
            for steps in counts:
                table = write(name, process, steps, grid)
                if table.rows <= most:
                    drawn[name][0].append(table.rows)
                    drawn[name][1].append(max(off(table), np.finfo(float).tiny))
                done += 1
    for name, (asked, _) in drawn.items():
        if not asked:
            least = write(name, process, counts[0], grid).rows
            raise UserError(f"{name} asks {least} times in {counts[0]} steps, more than --most {most}")
    law = "2-Wasserstein distance, rms over directions" if truth is None else "distance to the exact flow's ends, rms"
    fitted = f", {mixture} normal laws" if mixture else ", its covariance" if made else ""
    fig = errors.error(drawn, title=f"Exact error on {title}{fitted}", measure=law, theme=theme)
    _save(fig, out, Path("error.png"))


@plots.command()
def bound(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    count: Annotated[int, typer.Option(help="Held-out items that are asked about.", min=2)] = 128,
    device: Device = "auto",
    out: Picture = None,
    theme: Theme = "light",
) -> None:
    """What each step of a run's chain costs under the variational bound, and chains of fewer steps, by variance."""
    from functools import partial

    from unnoise import run as runs
    from unnoise.cli import asking
    from unnoise.denoise.variance import Learned, chain_of
    from unnoise.metrics.bound import Bound
    from unnoise.metrics.bound import bound as told
    from unnoise.metrics.likelihood import held_out
    from unnoise.report import bounds

    opened = runs.open(run, asking.device(device))
    recipe = opened.recipe
    if recipe.objective.once:
        raise UserError(f"{recipe.name} is asked once: a generator has no chain of steps")
    chain = chain_of(recipe.variance, recipe.process.schedule)
    ways = [name for name in BOUNDED if name != "learned" or isinstance(recipe.variance, Learned)]
    raw = held_out(recipe.source, "test", count).items
    cond = opened.labels(None, len(raw))
    steps = sorted({max(2, chain // part) for part in (1, 2, 5, 10)})
    drawn: list[bounds.Chain] = []
    done = 0
    with Meter("bound", len(ways) * len(steps), "chains", lambda: done):
        for way in ways:
            found: list[Bound] = []
            for some in steps:
                ask = partial(told, steps=some, variance=way, asked=min(some, ASKED), device=opened.device)
                found.append(ask(opened.denoiser, recipe.modality, raw, cond))
                done += 1
            rows, whole = [one.likelihood for one in found], found[-1].terms
            noise = -recipe.process.schedule.logsnr(whole.times[:-1]) / 2
            values, errors = [row.value for row in rows], [row.error for row in rows]
            by_step = whole.by_step * rows[-1].value / rows[-1].nats.mean()  # nats an item, in the rows' unit
            drawn.append(bounds.Chain(BOUNDED[way], steps, values, errors, noise.tolist(), by_step.tolist()))
    unit = "bits a number" if recipe.modality.whole else "nats a number"
    _save(bounds.bounds(drawn, unit, theme), out, Path(f"bound-{run.resolve().name}.png"))


@plots.command()
def following(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that is told of scenes.")],
    options: Pairs = None,
    guidance: Annotated[str, typer.Option(metavar="0,1,2", help="Weights of classifier-free guidance.")] = "0,1,2,3,5",
    prompts: Annotated[int, typer.Option(help="Prompts, and as many of pairs never seen, twice each.")] = 125,
    sampler: Sampler = None,
    steps: Steps = None,
    grid: Grid = None,
    out: Picture = None,
    theme: Theme = "light",
    device: Device = "auto",
) -> None:
    """How well prompts are followed, and how samples of one prompt differ, by weight; the numbers beside, as JSON."""
    import json

    import numpy as np

    from unnoise import files
    from unnoise import run as runs
    from unnoise.cli import asking
    from unnoise.report import followed

    opened = runs.open(run, asking.device(device))
    asked = opened.following(prompts)
    if asked is None:
        raise UserError(f"{opened.recipe.name} is told of no scenes: whether it follows cannot be read off a picture")
    try:
        weights = sorted({float(word) for word in guidance.split(",")})
    except ValueError:
        raise UserError(f"weights are numbers with commas between them, such as 0,1,2,5; got '{guidance}'") from None
    plan, how = asking.plan_of(opened, sampler, steps, grid, options)
    told = opened.recipe.telling.leaves(asked.cond, len(asked))
    found: list[list[Measure]] = []
    done = 0
    with Meter("sample", len(weights) * len(asked), "samples", lambda: done):
        for weight in weights:
            pictures: list[Any] = []
            for part in opened.batches(range(len(asked)), plan, told, weight):
                pictures.append(opened.recipe.modality.quantise(part))
                done += len(part)
            found.append(asked.measure(np.concatenate(pictures)))
    title = f"{opened.recipe.name}: {asking.called(how)}, {asked.prompts} prompts"
    made = followed.by_weight(weights, [{m.name: m for m in rows} for rows in found], title, theme)
    place = out or opened.folder / "plots" / "following.png"
    rows = [{"weight": w, **{m.name: m.to_json() for m in of}} for w, of in zip(weights, found, strict=True)]
    record = {"run": str(run), "weights": opened.weights, "sampler": how, "prompts": asked.prompts, "rows": rows}
    files.put(place.with_suffix(".json"), json.dumps(record, indent=2) + "\n")
    _save(made, place, place)


def _schedule(name: str) -> Any:
    """A schedule of the table with its own defaults; a few stand on another, which is the linear one here."""
    from unnoise.config import build
    from unnoise.recipe import TABLES, Schedule

    stand = {made: {"schedule": "linear"} for made in ("zero_terminal", "sub_vp", "discrete")}
    return build(Schedule, {"kind": name, **stand.get(name, {})}, TABLES, "schedule")[0]


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word for word in (part.strip() for part in text.split(",")) if word))


def _save(fig: "Figure", out: Path | None, place: Path) -> None:
    from unnoise.report import style

    say(f"drawn in {style.save(fig, out or place)}")


__all__ = ["plots"]
