"""`unnoise train PATH`: a word is told to be a recipe or data; for data the plan is shown before anything starts."""

import shlex
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from unnoise.cli.speak import say, span, tell
from unnoise.config import UserError

if TYPE_CHECKING:
    from unnoise.advise.cost import Cost
    from unnoise.advise.propose import Plan
    from unnoise.recipe import Recipe

MINUTES = 10.0  # of training, unless one says otherwise
WIDE = 12  # letters of a plan's first column


def recipe_of(
    word: str,
    overrides: Sequence[str],
    out: Path | None,
    resume: bool,
    device: str,
    yes: bool,
    dry_run: bool,
    minutes: float | None,
    json: bool,
) -> "Recipe":
    """The recipe that a word means: by name or file, or inferred from data at a path, agreed upon, or none at all.

    Raises typer.Exit where nothing is to be trained: after --dry-run, or where the answer was no.
    """
    from unnoise import recipes
    from unnoise.advise.survey import is_data, name_of, survey
    from unnoise.recipe import load

    if not is_data(word):
        if minutes is not None:
            raise UserError(f"--minutes is for data: how long {word} trains, train.items says")
        if Path(word).is_dir() and word in recipes.names():
            say(f"note: {word} is the recipe; the folder is ./{word}", beside=True)
        with reading(json):
            named = load(word, overrides)
        if dry_run:
            _show(named, out or Path("runs") / named.name, device, json)
            raise typer.Exit
        return named
    if not Path(word).exists() or (Path(word) / "recipe.yaml").exists():
        survey(word)  # nothing is no data, nor is a run, and it says so
    folder = out or Path("runs") / name_of(word)
    standing = folder / "recipe.yaml"
    if standing.exists() and not dry_run:
        if not resume:
            raise UserError(f"{folder} holds a run already: go on with --resume, or name another folder with --out")
        return load(standing, overrides)  # its lengths were measured when it began
    if not (yes or dry_run or _terminal()):
        raise UserError(
            f"what was inferred from {word} is to be agreed upon, and no terminal is there to ask: --yes starts at "
            "once, --dry-run shows the plan"
        )
    from unnoise.advise import propose

    with reading(json):
        made = propose.plan(word, overrides, MINUTES if minutes is None else minutes, device)
    lines = told(made, folder, device)
    if json:
        if dry_run:
            tell(record(made))
    else:
        for line in lines:
            say(line)
    if dry_run:
        raise typer.Exit
    if not yes and not _agreed():
        say("Nothing was trained.", beside=json)
        raise typer.Exit
    return made.recipe


@contextmanager
def reading(quiet: bool = False) -> Generator[None]:
    """Says how far a long reading of data has come."""
    import time

    from unnoise.data import watching

    last = time.monotonic()

    def watch(what: str, share: float, done: int) -> None:
        nonlocal last
        if time.monotonic() - last > 3 and share < 1 and not quiet:
            last = time.monotonic()
            say(f"{what}: {done:,} ({100 * share:.0f} %)", beside=True)

    with watching(watch):
        yield


def _show(recipe: "Recipe", folder: Path, device: str, json: bool) -> None:
    """What a recipe that is there already trains, and what it costs here."""
    from unnoise.advise import propose
    from unnoise.advise.cost import measure

    cost = measure(recipe, device, propose.SECONDS)
    parameters = recipe.denoiser().net.parameter_count()
    if json:
        nodes = {"name": recipe.name, **recipe.nodes}
        seconds = propose.seconds_of(recipe.train, cost)
        tell({"recipe": nodes, "parameters": parameters, "rate": cost.rate, "memory": cost.memory, "seconds": seconds})
        return
    train, count = recipe.train, recipe.facts().items
    for line in (
        _line("network", f"{recipe.nodes['net']['kind']}: {parameters:,} parameters"),
        _line("training", f"{train.items:,} items in batches of {train.batch}, {_passes(train.items, count)}"),
        *_costs(recipe, cost, device),
        _line("goes to", shlex.quote(str(folder))),
    ):
        say(line)


def _passes(items: int, count: int) -> str:
    passes = items / max(count, 1)
    return f"{passes:,.0f} passes" if passes >= 1.5 else f"{passes:.2g} of a pass"


def told(made: "Plan", folder: Path, device: str) -> list[str]:
    """The plan in lines: what was found, what will be trained and why, what it costs, what to expect."""
    found, recipe = made.found, made.recipe
    lines = [_line("found", _found(made))]
    lines += [_line("", sentence) for sentence in made.said]
    because = {reason.key: reason.because for reason in made.reasons}

    def entry(title: str, text: str, key: str) -> None:
        lines.append(_line(title, f"{text}{f' ({because[key]})' if key in because else ''}"))

    if found.kind == "pictures" and "size" in recipe.nodes["data"]:
        entry("size", " × ".join(map(str, found.shape[1:])), "data.size")
    net = recipe.nodes["net"]
    size = f"width {net['width']}, depth {net['depth']}" if net["kind"] == "mlp" else f"widths {_list(net['widths'])}"
    entry("network", f"{net['kind']}, {size}: {made.parameters:,} parameters", "net")
    train = recipe.train
    text = f"{train.items:,} items in batches of {train.batch}, {_passes(train.items, found.count)}"
    entry("training", text, "train.items")
    if recipe.nodes["augment"]["kind"] != "nothing":
        entry("augmented", recipe.nodes["augment"]["kind"], "augment")
    entry("precision", train.precision, "train.precision")
    if made.cost is not None:
        lines += _costs(recipe, made.cost, device)
    lines += [_line("expect" if i == 0 else "", text) for i, text in enumerate(made.expectation)]
    lines.append(_line("goes to", shlex.quote(str(folder))))
    return lines


def _costs(recipe: "Recipe", cost: "Cost", device: str) -> list[str]:
    """Time and memory, as they were measured, and what may make them worse."""
    import torch

    from unnoise.advise import machine
    from unnoise.advise.propose import seconds_of

    middle, least, most = seconds_of(recipe.train, cost)
    threads = torch.get_num_threads()
    where = device if device != "cpu" else f"{threads} thread{'s' * (threads > 1)}"
    text = f"{span(middle)}, by {len(cost.seconds)} steps on {where} ({cost.rate:,.0f} items a second)"
    if most - least > 0.1 * middle:
        text += f"; {span(least)} to {span(most)} if the machine stays as uneven as it was"
    lines = [_line("time", text)]
    busy = (machine.others(0.2) or 0.0) if device == "cpu" and threads > 1 else 0.0
    if busy > 0.5:
        text = f"other processes keep {busy:.1f} cores busy: --threads 1 may be faster, and unnoise doctor tells"
        lines.append(_line("", text))
    whole = f" of {_bytes(machine.machine().memory)}" if device == "cpu" else ""
    return [*lines, _line("memory", f"{_bytes(cost.memory)}{whole}")]


def record(made: "Plan") -> dict[str, Any]:
    """The plan as plain numbers and words."""
    from dataclasses import asdict

    cost = made.cost
    return {
        "recipe": {"name": made.recipe.name, **made.recipe.nodes},
        "found": {**asdict(made.found), "said": list(made.said)},
        "reasons": {reason.key: reason.because for reason in made.reasons},
        "parameters": made.parameters,
        "seconds": made.seconds,
        "rate": None if cost is None else cost.rate,
        "memory": None if cost is None else cost.memory,
        "expectation": list(made.expectation),
    }


def _found(made: "Plan") -> str:
    found, source = made.found, made.recipe.source
    shape = found.shape
    if found.kind == "pictures":
        what = (
            f"{found.total:,} {'patches' if found.patches else 'pictures'} in {'colour' if shape[0] == 3 else 'grey'}"
        )
        if found.sides:
            low, high = found.sides
            what += f", sides of {low:,} to {high:,} pixels" if low != high else f", {low} pixels wide and high"
    elif found.kind == "rows":
        what = f"{found.total:,} rows of {shape[0]:,} number{'s' * (shape[0] > 1)}"
    else:
        what = f"{found.total:,} items of {' × '.join(map(str, shape))}"
    if found.labels:
        few = [f"{name} {count:,}" for name, count in list(found.labels.items())[:6]]
        more = f" and {len(found.labels) - 6} more" if len(found.labels) > 6 else ""
        what += f"; {len(found.labels)} labels: {', '.join(few)}{more}"
    if source.skipped:
        name, why = source.skipped[0]
        what += f"; {len(source.skipped):,} left out, such as {name}: {why}"
    return what


def _line(title: str, text: str) -> str:
    import textwrap

    wide = 100 if not sys.stdout.isatty() else 0
    if not wide:
        import shutil

        wide = max(60, min(120, shutil.get_terminal_size().columns))
    return (
        "\n".join(textwrap.wrap(text, wide - WIDE, break_long_words=False, break_on_hyphens=False, initial_indent=""))
        .replace("\n", f"\n{' ' * WIDE}")
        .join([f"{title:<{WIDE}}", ""])
    )


def _terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _agreed() -> bool:
    print("\nStart? [Y/n] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    return bool(answer) and answer.strip().lower() in ("", "y", "yes")


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _bytes(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"


__all__ = ["reading", "recipe_of", "record", "told"]
