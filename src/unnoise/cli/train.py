"""`unnoise train`: from a recipe to a run folder."""

import shlex
import signal
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from unnoise.cli import parts
from unnoise.cli.options import Device, Json
from unnoise.cli.parts import Control, Image, Lora, Prior
from unnoise.cli.speak import Meter, say, span, tell
from unnoise.cli.stopping import asked_to_stop
from unnoise.config import UserError


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE|DATA",
            help="A name from `unnoise recipes`, a YAML file, or your data: a folder, archive, array or table.",
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NODE.KEY=VALUE]...", help="Changes, such as train.items=200000 net.widths=[32,64]."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/<recipe> if silent.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the run in the folder stopped; start where there is none.")
    ] = False,
    start_from: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="A run to fine-tune: begin with its weights that fit.")
    ] = None,
    lora: Lora = None,
    control: Control = None,
    image: Image = None,
    prior: Prior = None,
    track: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Tell a tracker as well: tensorboard, wandb, mlflow or trackio; may recur."),
    ] = None,
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.", min=1)] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Of data: the time that training may take; 10 if silent.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Of data: start without asking.")] = False,
    page: Annotated[bool, typer.Option("--page", help="Watch it in a browser as it goes on, on this machine.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and its cost, and stop.")] = False,
    json: Json = False,
) -> None:
    """Train a recipe, or a model of your own data, into a run folder."""
    import torch

    from unnoise.cli.ask_first import recipe_of
    from unnoise.cli.asking import device as device_of
    from unnoise.training import Training

    if threads is not None:
        torch.set_num_threads(threads)
    where = device_of(device)
    made = recipe_of(recipe, overrides or (), out, resume, where, yes, dry_run, minutes, json)
    asked_parts = {"lora": lora, "control": control, "image": image}
    made = parts.recipe_of(made, start_from, asked_parts, prior, overrides or ())
    folder = out or Path("runs") / made.name
    training = Training(made, folder, resume, where, start_from, track or ())
    trainer, total = training.trainer, made.train.steps * made.train.batch
    flags = {"--out": out, "--device": None if device == "auto" else device, "--threads": threads}
    words = [word for flag, value in flags.items() if value is not None for word in (flag, str(value))]
    asked = {f"--{kind}": given for kind, given in asked_parts.items()} | {"--prior": prior}
    asked["--from"] = [str(start_from)] if start_from and any(asked.values()) else None
    words += [word for flag, given in asked.items() for value in given or () for word in (flag, value)]
    words += [word for name in training.track for word in ("--track", name)]
    again = ["unnoise", "train", recipe, *(overrides or ()), *words, "--resume"]
    facts: dict[str, Any] = {
        "run": str(folder),
        "recipe": made.name,
        "items": trainer.items,
        "of": total,
        "parameters": sum(p.numel() for p in trainer.denoiser.net.parameters()),
        "device": where,
    }
    if training.done:
        _say_end(json, facts, f"{folder} is trained already: {trainer.items:,} items.")
        return
    on = f"{where}, {torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}" if where == "cpu" else where
    begun = f" from item {trainer.items:,}" if trainer.items else ""
    say(f"{made.name}: {facts['parameters']:,} parameters, {total:,} items{begun}, {on} → {folder}", beside=json)

    if training.origin is not None and not trainer.items:
        told = training.origin
        say(f"begins with {told['summary']}, of {told['run']} at {told['items']:,} items", beside=json)

    previews = _previews(made.train.sample_every)
    seen: dict[str, float] = {}
    meter = Meter("train", total, "items", lambda: trainer.items, lambda: _loss(seen))
    with ExitStack() as stack:
        if page:
            say(f"Watch it at {stack.enter_context(_watched(folder))}", beside=True)
        asked = stack.enter_context(asked_to_stop(training.stop))
        stack.enter_context(meter)
        for tick in training.ticks(previews and partial(previews.draw, training)):
            seen["loss"] = tick.loss
            if training.held_out:
                found = next(iter(training.held_out.values()))
                seen["held out"] = found.mean
                if found.excess is not None:  # over the least loss that there can be
                    seen["excess"] = float(found.excess.mean())
    if previews is not None and not training.done:
        previews.keep_film(training.run())
    facts |= {
        "items": trainer.items,
        "skipped": trainer.skipped,
        "seconds": round(meter.seconds, 2),
        **{k.replace(" ", "_"): v for k, v in seen.items()},
    }
    if not training.done:
        say(f"Stopped at {trainer.items:,} of {total:,} items, saved in {folder}. Go on with:", beside=True)
        say(f"  {shlex.join(again)}", beside=True)
        if json:
            tell(facts)
        raise typer.Exit(128 + (asked[0] if asked else signal.SIGINT))
    lost = f", {trainer.skipped:,} steps skipped for want of a finite gradient" if trainer.skipped else ""
    _say_end(json, facts, f"Trained in {span(meter.seconds)}: {', '.join(_loss(seen).split('  '))}{lost}.")


def _watched(folder: Path) -> Any:
    """The page beside a training."""
    try:
        from unnoise.serve.beside import watched
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("fastapi", "starlette", "uvicorn", "prometheus_client"):
            raise
        raise UserError(f"a page needs {error.name}: pip install 'unnoise[serve]'") from None
    return watched(folder)


def _previews(wanted: int) -> Any:
    """What draws as it trains; drawing is not imported where nothing is drawn."""
    if not wanted:
        return None
    from unnoise.cli import previews

    return previews


def _say_end(json: bool, facts: dict[str, Any], sentence: str) -> None:
    say(f"{sentence} Next: unnoise evaluate {shlex.quote(facts['run'])}", beside=json)
    if json:
        tell(facts)


def _loss(seen: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in seen.items())


__all__ = ["train"]
