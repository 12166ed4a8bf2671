"""`unnoise nets`: what networks cost at a shape, by family and size, or that of a recipe or a run."""

import time
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unnoise.cli.options import Device, Json
from unnoise.cli.speak import say, table, tell
from unnoise.config import UserError, nearest

if TYPE_CHECKING:
    from unnoise.nets import Net

SHAPE = (3, 32, 32)  # which the presets are matched at
ROUNDS = 5
LETTERS = {0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
SECONDS = 0.2  # that a rate is measured for in each round, a pass at least


def nets(
    which: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NET]...", help="Families (unet, dit ...), recipes or folders of runs; all families."),
    ] = None,
    shape: Annotated[str | None, typer.Option(help="Of one item: 3,32,32 if silent, its own for a recipe.")] = None,
    preset: Annotated[str | None, typer.Option(help="This size alone: tiny, small, base or large.")] = None,
    rate: Annotated[bool, typer.Option("--rate", help="Measure items a second here; a minute or more.")] = False,
    batch: Annotated[int, typer.Option(help="Items at a time, for the rates.", min=1)] = 16,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """List what networks cost: parameters, multiply-adds and memory of an item."""
    from unnoise.nets import count

    sizes = None if shape is None else _shape(shape)
    where = ""
    if rate:
        from unnoise.cli.asking import device as device_of

        where = device_of(device)
    told: list[dict[str, Any]] = []
    for name, kind, size, net, own in _networks(which or [], sizes, preset, real=rate):
        cost = count(net, own)
        entry: dict[str, Any] = {"net": name, "kind": kind, "preset": size, "shape": list(own), **cost._asdict()}
        if rate:
            entry |= {"device": where, "batch": batch, **_rates(net, own, batch, where)}
        told.append(entry)
    if json:
        tell(told)
        return
    _table(told)
    say("Multiply-adds and memory are of one item: of a forward pass, and what training keeps of it in float32.")


def _shape(text: str) -> tuple[int, ...]:
    parts = text.replace("x", ",").split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"--shape is written channels,height,width, such as 3,32,32, or 13 for a row; got '{text}'")
    return tuple(map(int, parts))


def _networks(
    which: list[str], shape: tuple[int, ...] | None, preset: str | None, real: bool
) -> "list[tuple[str, str, str | None, Net, tuple[int, ...]]]":
    """(name, kind, preset, network, shape of an item) of each that was asked for; not real: without numbers."""
    import torch

    from unnoise import recipes
    from unnoise import run as runs
    from unnoise.config import choose
    from unnoise.nets import NETS, PRESETS
    from unnoise.recipe import load

    found: list[tuple[str, str, str | None, Net, tuple[int, ...]]] = []
    for name in which or list(NETS):
        if name in NETS:
            asked = shape or SHAPE
            for size in [preset] if preset else PRESETS[name]:
                options = choose(f"preset of '{name}'", size, PRESETS[name])
                try:
                    with torch.device("cpu" if real else "meta"):
                        found.append((name, name, size, NETS[name](asked, **options), asked))
                except ValueError as error:
                    if which:
                        raise UserError(f"{name}: {error}") from None
                    say(f"{name} is left out: {error}", beside=True)
                    break
            continue
        if preset is not None and not any(other in PRESETS for other in which):
            raise UserError(f"--preset is a size of a family; {name} is a recipe or a run, whose network has its own")
        if Path(name).is_dir():
            recipe = runs.open(Path(name)).recipe
        elif Path(name).suffix in (".yaml", ".yml") or name in recipes.names():
            recipe = load(name)
        else:
            raise UserError(f"there is no network, recipe or run '{name}'; {nearest(name, [*NETS, *recipes.names()])}")
        net = recipe.denoiser().net
        if shape is not None and not net.any_size and shape != recipe.shape:
            raise UserError(f"the network of {name} takes items of {recipe.shape} alone, got the shape {shape}")
        if shape is not None and shape[0] != recipe.shape[0]:
            raise UserError(f"the network of {name} has {recipe.shape[0]} channels, got the shape {shape}")
        found.append((name, recipe.nodes["net"]["kind"], None, net, shape or recipe.shape))
    return found


def _rates(net: "Net", shape: tuple[int, ...], batch: int, device: str) -> dict[str, float]:
    """Items a second that are answered, and that are trained on (forward and backward), by the median of rounds."""
    import torch

    from unnoise.advise.cost import synchronise

    net = net.to(device).train()
    x, level = torch.randn(batch, *shape, device=device), torch.zeros(batch, device=device)

    def answer() -> None:
        with torch.no_grad():
            net(x, level, {})

    def train() -> None:
        net(x, level, {}).square().mean().backward()
        net.zero_grad()

    def once(work: Any) -> float:
        passes, begun = 0, time.perf_counter()
        while not passes or time.perf_counter() - begun < SECONDS:
            work()
            synchronise(device)
            passes += 1
        return passes * batch / (time.perf_counter() - begun)

    taken: dict[str, list[float]] = {"answered": [], "trained": []}
    for _ in range(ROUNDS + 1):
        for name, work in (("answered", answer), ("trained", train)):
            taken[name].append(once(work))
    return {name: sorted(rates[1:])[ROUNDS // 2] for name, rates in taken.items()}  # the first round warms up


def _table(told: list[dict[str, Any]]) -> None:
    rates = {"items/s answered": "answered", "items/s trained": "trained"} if told and "answered" in told[0] else {}
    figures = ("parameters", "multiply-adds", "memory", *rates)
    rows: list[list[str]] = []
    for entry in told:
        shape = "×".join(map(str, entry["shape"]))
        work, kept = scaled(entry["multiply_adds"]), f"{scaled(entry['memory'])}B"
        row = [entry["net"], entry["preset"] or entry["kind"], shape, f"{entry['parameters']:,}", work, kept]
        rows.append([*row, *(f"{entry[key]:,.3g}" for key in rates.values())])
    table(("net", "size", "items", *figures), rows, right=figures, width=120, whole=True)


def scaled(number: int | float) -> str:
    """Three digits and the letter of a thousand, a million, a thousand million: 13.7 M."""
    power = 0 if number < 999.5 else min(12, int(floor(log10(number) + log10(1.0005)) / 3) * 3)
    figure = f"{number / 10**power:#.3g}".rstrip(".") if power else f"{number:.0f}"
    return f"{figure} {LETTERS[power]}"


__all__ = ["nets"]
