"""`unnoise sample`: draw from a run, as a picture, single pictures, or numbers."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from unnoise.cli import speak
from unnoise.cli.options import (
    Count,
    Device,
    Ema,
    Evaluations,
    Folder,
    Grid,
    Guidance,
    Json,
    Label,
    Out,
    Pairs,
    Sampler,
    Seeds,
    Steps,
    Tell,
    Text,
)
from unnoise.cli.parts import Worn, unshown, worn
from unnoise.cli.speak import Meter, say
from unnoise.config import UserError, nearest


def sample(
    run: Folder,
    options: Pairs = None,
    n: Count = None,
    seeds: Seeds = None,
    label: Label = None,
    text: Text = None,
    tell: Tell = None,
    sampler: Sampler = None,
    steps: Steps = None,
    evaluations: Evaluations = None,
    grid: Grid = None,
    guidance: Guidance = None,
    ema: Ema = None,
    lora: Worn = None,
    start: Annotated[
        Path | None, typer.Option(help="Begin at the noise of a file of `unnoise invert`, not at a seed's.")
    ] = None,
    between: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="SEED SEED", help="From one seed to another; with --start, from item to item of it."),
    ] = None,
    size: Annotated[str | None, typer.Option(help="Height by width of images, 48x80, if not the recipe's.")] = None,
    out: Out = None,
    each: Annotated[bool, typer.Option("--each", help="Single PNGs too, each with its settings inside.")] = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Draw samples: a PNG of all, and with --each single ones; numbers where --out ends in .npy or .csv.

    Between two seeds, the first noise turns from one's to the other's: cos·a + sin·b, which is noise everywhere.
    """
    from unnoise import run as runs
    from unnoise.cli import asking, pictures, starts
    from unnoise.guide import evaluations as answers
    from unnoise.loop import Adaptive, Event, Step
    from unnoise.samplers import Plan

    opened = worn(asking.averaged(runs.open(run, asking.device(device)), ema), lora)
    for line in unshown(opened):
        say(line, beside=True)
    if each and pictures.of_points(opened):
        raise UserError(f"--each writes single images, and {opened.recipe.name} draws points: take .csv or .npy")
    if between is not None and seeds is not None:
        raise UserError(f"--between {between[0]} {between[1]} names its two seeds: leave out --seeds")
    plan, how = asking.way_of(opened, sampler, steps, grid, options, evaluations, guidance)
    shape = _shape(opened, size)
    begun = None
    if start is not None or between is not None:
        begun = starts.noise(opened, plan, how["sampler"], start, between, n, shape)
        n = starts.asking(len(begun), None if between else n, seeds, label)
    wanted, given, rows = asking.told(opened, n, seeds, label, text, tell)
    cond, labels, prompts = opened.cond(len(wanted), given), given.get("label"), _prompts(opened, given)
    settings = {"run": str(run), **how, "guidance": guidance, "label": label, "weights": opened.weights[:12]}
    rest = {
        "text": text,
        "tell": tell,
        "lora": lora,
        "ema": ema,
        "size": size,
        "start": start and str(start),
        "between": between,
    }
    settings |= {name: value for name, value in rest.items() if value is not None}
    settings |= {} if begun is not None and not plan.stochastic else {"seeds": list(wanted)}
    named = how if ema is None else {**how, "ema": f"{ema:g}"}
    named = named if size is None else {**named, "size": size}
    words = [_slug(word) for word in (*(text or ()), *(tell or ()), *(lora or ()))]
    path = _path(opened, out, _name(named, starts.whence(start, between, seeds, wanted, rows), label, words, guidance))
    x0 = None if begun is None else starts.each(begun, wanted)
    asked = spent = 0
    last: list[Event] = []
    free = isinstance(plan, Adaptive)  # in how many questions it asks
    with Meter("sample", len(wanted) * (1 if free else plan.rows), "samples" if free else "evaluations", lambda: asked):
        for event in opened.draw(wanted, plan, cond, guidance, x0, shape):
            if isinstance(event, Step):
                asked, spent = asked + 1, spent + (event.row if free else 1)
            else:
                last.append(event)
    x, evaluations = runs.collect(last, len(wanted)), round(spent / len(wanted))
    if isinstance(plan, Plan):  # what guides ask beside is counted
        first = {name: leaf[:1] for name, leaf in cond.items()}
        evaluations = answers(opened.guided(guidance), plan, shape or opened.recipe.shape, first)
    told, across = settings | {"evaluations": evaluations}, None if between is None or begun is None else len(begun)
    written = _write(opened, x, path, wanted, labels, rows, told, each, across, prompts)
    each_in = f"{evaluations} evaluation{'s' * (evaluations > 1)} {'on average' if free else 'each'}"
    say(f"{_count(len(x))} ({asking.called(how)}: {each_in}) in {_names(written)}", beside=json)
    if json:
        speak.tell({**settings, "labels": labels, "evaluations": evaluations,
              "files": [str(file) for file in written]})  # fmt: skip


def _shape(run: Any, size: str | None) -> tuple[int, ...] | None:
    """The shape of a sample of the size asked for: 48x80 is 48 pixels high and 80 wide."""
    if size is None:
        return None
    sides = size.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and 0 < int(side) <= 4096 for side in sides):
        raise UserError(f"--size is written HEIGHTxWIDTH, such as 48x80, each from 1 to 4096; got '{size}'")
    if run.recipe.modality.name != "image" or not run.denoiser.net.any_size:
        raise UserError(
            f"{run.recipe.name} draws the shape {run.recipe.shape} alone: its network takes items of no other size"
        )
    return (run.recipe.shape[0], int(sides[0]), int(sides[1]))


def _write(
    run: Any,
    x: Any,
    path: Path,
    seeds: Sequence[int],
    labels: Any,
    rows: list[str],
    settings: Any,
    each: bool,
    across: int | None = None,
    prompts: Sequence[str] = (),
) -> list[Path]:
    """The files that are asked for, each written beside and renamed; across: how many pictures stand side by side."""
    from unnoise.cli import pictures

    written: list[Path] = []
    points = pictures.of_points(run)
    if path.suffix.lower() != ".png":
        written.append(pictures.numbers(run, x, path, seeds, labels, "seed" if "seeds" in settings else "place"))
    if path.suffix.lower() == ".png" or (points and x.shape[1] > 1) or run.recipe.modality.name == "array":
        picture = path.with_suffix(".png")
        written.append(pictures.picture(run, x, picture, labels, rows, settings, across, prompts))
    if each:
        written += pictures.singles(run, x, path.with_suffix(""), seeds, labels, settings)
    return written


def _path(run: Any, out: Path | None, name: str) -> Path:
    """Where to write: the file named, or the folder named with a name that tells the settings."""
    from unnoise.cli import pictures

    kinds = (".png", ".npy", ".csv") if pictures.of_points(run) else (".png", ".npy")
    if out is None or out.is_dir() or not out.suffix:
        kind = {"points": ".csv", "array": ".npy"}.get(run.recipe.modality.name, ".png")
        return (out or run.folder / "samples") / f"{name}{kind}"
    if out.suffix.lower() not in kinds:
        raise UserError(f"samples of {run.recipe.name} are not written as '{out.suffix}'; {nearest(out.suffix, kinds)}")
    return out


def _prompts(run: Any, given: dict[str, Any]) -> Sequence[str]:
    """The prompts of the samples, where they are several."""
    prompts = given.get(run.recipe.telling.text)
    return () if prompts is None or isinstance(prompts, str) else prompts


def _slug(words: str) -> str:
    """Words as a part of a file's name, 40 letters at most."""
    return re.sub(r"[^\w.=-]+", "-", words).strip("-")[:40]


def _name(
    how: dict[str, Any], whence: str, label: str | None, words: Sequence[str], guidance: float | str | None
) -> str:
    """A file name that tells the settings: heun-18-label-7-seeds-0-15."""
    from unnoise.cli import asking

    rest = [*([f"label-{label}"] if label is not None else []), *words[:2]]
    if guidance is not None:
        rest += [re.sub(r"[^\w.=-]+", "-", guidance) if isinstance(guidance, str) else f"w-{guidance:g}"]
    return "-".join([asking.filed(how), *rest, whence]).replace("/", "_").replace(" ", "")


def _count(samples: int) -> str:
    return f"{samples:,} sample{'s' * (samples > 1)}"


def _names(files: list[Path]) -> str:
    few = [shlex.quote(str(file)) for file in files[:2]]
    return " and ".join(few) if len(files) <= 2 else f"{few[0]} and {len(files) - 1} files in {files[-1].parent}/"


__all__ = ["sample"]
