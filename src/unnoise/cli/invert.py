"""`unnoise invert`: real things to the noise they would be drawn from, and back, with the error of the way."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unnoise.cli.options import Device, Ema, Folder, Grid, Guidance, Json, Label, Pairs, Sampler, Steps, pairs
from unnoise.cli.speak import Meter, say, tell
from unnoise.config import UserError

if TYPE_CHECKING:
    from unnoise.loop import Adaptive
    from unnoise.run import Run
    from unnoise.samplers import Plan
    from unnoise.tensor import Tensor


@dataclass(frozen=True, eq=False)
class There:
    """Items (n, ...) on their way to noise and back, as the model sees them."""

    x0: "Tensor"
    noise: "Tensor"  # at the end of the way
    unit: "Tensor"  # the same, divided by the deviation that noise has there
    back: "Tensor"  # drawn from it again
    end: float  # the time at which the noise stands
    flow: float  # root mean square error at the way's own start, where nothing is lost but by the rule
    asked: tuple[int, int]  # evaluations there and back, of an item in the mean


def invert(
    run: Folder,
    given: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A picture or a folder of them, .npy, .csv; or test:0-7, of the data."),
    ],
    options: Pairs = None,
    label: Label = None,
    sampler: Sampler = None,
    steps: Steps = None,
    grid: Grid = None,
    guidance: Guidance = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Draw the noise that clean items lack, from this seed on; silent: none.", min=0),
    ] = None,
    ema: Ema = None,
    out: Annotated[Path | None, typer.Option(help="Noise file (.safetensors, .npy) or folder to write.")] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Find the noise of real things: a file for `sample --start`, a picture of the way, its error."""
    import numpy as np

    from unnoise import run as runs
    from unnoise.cli import asking, noises
    from unnoise.cli.given import real

    opened = asking.averaged(runs.open(run, asking.device(device)), ema)
    sampler = opened.still(sampler, **pairs(options))
    _, settings = asking.way_of(opened, sampler, steps, grid, options)
    raw, labels = real(opened, given)
    labels = labels if label is None else _labels(opened, label, len(raw))
    seeds = None if seed is None else range(seed, seed + len(raw))
    told_by = {"label": label, "w": guidance, "seed": seed, "ema": ema}
    path = _path(opened, out, f"{_stem(given)}-{asking.filed(settings)}{_filed(told_by)}")
    made = _way(opened, raw, settings, labels, guidance, seeds)
    level = -float(opened.recipe.process.schedule.logsnr(np.array(made.end))) / 2
    facts = {"run": str(run), "given": given, **settings, "labels": labels, "guidance": guidance, "seed": seed}
    written = [noises.save(path, made.noise, {**facts, "level": level, "weights": opened.weights[:12]})]
    title = f"{opened.recipe.name}: {asking.called(settings)}"
    written += _draw(opened, made, path.with_suffix(".png"), title, facts)
    told = _measured(opened, made, raw)
    names = " and ".join(shlex.quote(str(file)) for file in written)
    say(f"{_count(len(raw))} to noise and back ({asking.called(settings)}) in {names}", beside=json)
    for line in _lines({**facts, **told}):
        say(f"  {line}", beside=json)
    if json:
        tell({**facts, **told, "files": [str(file) for file in written]})
        return
    again = _again(settings, labels, guidance, ema)
    say(f"Next: unnoise sample {shlex.quote(str(run))} --start {shlex.quote(str(path))}{again}")


def _labels(run: "Run", label: str, count: int) -> list[int | str]:
    """One label for all items, or one each."""
    from unnoise.cli import asking

    words = label.split(",")
    if label == "all" or len(words) not in (1, count):
        raise UserError(f"--label says what the {count} items are: one label, or {count} with commas; got '{label}'")
    _, labels, _ = asking.asked(run, count, None, label)
    assert labels is not None
    return labels


def _way(
    run: "Run",
    raw: Any,
    settings: dict[str, Any],
    labels: Sequence[int | str] | None,
    guidance: float | str | None,
    seeds: Sequence[int] | None,
) -> There:
    """To noise, and back both to where the way began and to the end of sampling."""
    import numpy as np

    from unnoise import run as runs
    from unnoise.loop import Step
    from unnoise.samplers import Plan

    up, falling, mirror = run.rising(**settings), run.way(**settings), _mirror(run, settings)
    x, schedule, done = run.begin(raw, up.start, seeds), run.recipe.process.schedule, 0

    def walk(way: "Plan | Adaptive", start: "Tensor") -> "tuple[Tensor, int]":
        asked: dict[int, int] = {}

        def events() -> Any:
            nonlocal done
            for event in run.draw(range(len(start)), way, labels, guidance, start):
                if isinstance(event, Step):
                    asked[event.index] = event.row
                    done += 1
                yield event

        return runs.collect(events(), len(start)), round(sum(asked.values()) / len(start))

    total = sum(way.rows if isinstance(way, Plan) else 1 for way in (up, mirror, falling))
    with Meter("invert", total * len(x), "evaluations" if isinstance(up, Plan) else "items", lambda: done):
        noise, there = walk(up, x)
        again, _ = walk(mirror, noise)
        drawn, back = walk(falling, noise)
    alpha, sigma = float(schedule.alpha(np.array(up.start))), float(schedule.sigma(np.array(up.end)))
    off = float((again - x).square().mean().sqrt()) / alpha
    return There(run.encode(raw, seeds), noise, noise / sigma, drawn, up.end, off, (there, back))


def _mirror(run: "Run", settings: dict[str, Any]) -> "Plan | Adaptive":
    """The way from data to noise, from its end to its start."""
    from dataclasses import replace

    from unnoise.loop import Adaptive
    from unnoise.samplers import plan
    from unnoise.samplers.grid import risen, times
    from unnoise.samplers.table import SAMPLERS

    up = run.rising(**settings)
    if isinstance(up, Adaptive):
        return replace(up, start=up.end, end=up.start)
    name, schedule = settings["sampler"], run.recipe.process.schedule
    falling = times(settings.get("grid") or SAMPLERS[name].grid, schedule, settings["steps"])
    options = {key: value for key, value in settings.items() if key not in ("sampler", "steps", "grid")}
    return plan(name, run.recipe.process, grid=risen(falling, schedule)[::-1], **options)


def _measured(run: "Run", made: There, raw: Any) -> dict[str, Any]:
    """By how much what comes back errs, in the model's units and in raw ones, and how long the noise is."""
    import numpy as np

    error = (made.back - made.x0).double()
    quantised = run.recipe.modality.quantise(made.back.cpu())
    whole = np.asarray(quantised).dtype.kind in "iub"
    given = run.recipe.modality.quantise(made.x0.cpu())
    return {
        "items": len(error),
        "error": float(error.square().mean().sqrt()),
        "flow_error": made.flow,
        "exact": int((quantised == given).reshape(len(error), -1).all(1).sum()) if whole else None,
        "noise": float(made.unit.double().square().mean().sqrt()),
        "evaluations": list(made.asked),
    }


def _lines(told: dict[str, Any]) -> list[str]:
    """The measures in words."""
    exact = "" if told["exact"] is None else f"; {told['exact']} of {told['items']} come back to the very levels"
    there, back = told["evaluations"]
    short = "; --seed 0 gives what a clean item lacks of it" if told["seed"] is None and told["noise"] < 0.95 else ""
    return [
        f"return   off by {told['error']:.2g}, in the model's units{exact}",
        f"flow     off by {told['flow_error']:.2g} before the last step, the one onto no noise at all",
        f"noise    of deviation {told['noise']:.2f}, where noise has 1{short}",
        f"asked    {there} times to noise, {back} back",
    ]


def _draw(run: "Run", made: There, path: Path, title: str, facts: dict[str, Any]) -> list[Path]:
    """Four rows of pictures, or the points of the plane; of rows of more numbers nothing is drawn."""
    import numpy as np

    from unnoise.modality.views import view
    from unnoise.report import grids, inversions, style

    modality, few = run.recipe.modality, slice(0, inversions.MOST)
    if modality.name == "points":
        if made.x0.shape[1] != 2:
            return []
        there, back = (modality.quantise(x.cpu()).astype(np.float64) for x in (made.x0, made.back))
        fig = inversions.points(there, made.unit.cpu().double().numpy(), back, title)
        return [style.save(fig, path)]
    unit, x0, back = (x[few].cpu().double().numpy() for x in (made.unit, made.x0, made.back))
    by = inversions.gain((back - x0) / 2)
    noise = [view(np.clip(0.5 + item / (2 * inversions.SHOWN), 0, 1)) for item in unit]
    errors = [view(np.clip(0.5 + by * item / 2, 0, 1)) for item in back - x0]
    rows = modality.show(made.x0[few].cpu()), noise, modality.show(made.back[few].cpu()), errors
    return [grids.save(inversions.pictures(*rows, by), path, facts)]


def _path(run: "Run", out: Path | None, name: str) -> Path:
    """The noise file: as named, or in the folder named with a name that tells the settings."""
    from unnoise.cli.noises import KINDS
    from unnoise.config import nearest

    if out is None or out.is_dir() or not out.suffix:
        return (out or run.folder / "inversions") / f"{name}{KINDS[0]}"
    if out.suffix.lower() not in KINDS:
        raise UserError(f"noise is not written as '{out.suffix}'; {nearest(out.suffix, KINDS)}")
    return out


def _stem(given: str) -> str:
    """What was given, as part of a file's name."""
    return given.replace(":", "-").replace(",", "-") if ":" in given else Path(given).stem


def _filed(told_by: dict[str, Any]) -> str:
    """What else the noise was found by, as part of a file's name."""
    words = (f"-{name}-{_plain(value)}" for name, value in told_by.items() if value is not None)
    return re.sub(r"[^\w.,=-]+", "-", "".join(words))


def _plain(value: Any) -> str:
    """2 for 2.0; words as they are."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _again(
    settings: dict[str, Any], labels: Sequence[int | str] | None, guidance: float | str | None, ema: float | None
) -> str:
    """The options that sample by the same way."""
    words = [f"--{key} {settings[key]}" for key in ("sampler", "steps", "grid") if key in settings]
    told = list(dict.fromkeys(labels or ()))
    words += [f"--label {','.join(map(str, told if len(told) == 1 else labels or ()))}"] if told else []
    words += [] if guidance is None else [f"--guidance {shlex.quote(_plain(guidance))}"]
    words += [] if ema is None else [f"--ema {ema:g}"]
    others = (f"{key}={value}" for key, value in settings.items() if key not in ("sampler", "steps", "grid"))
    return " ".join(["", *words, *others])


def _count(items: int) -> str:
    return f"{items:,} item{'s' * (items > 1)}"


__all__ = ["invert"]
