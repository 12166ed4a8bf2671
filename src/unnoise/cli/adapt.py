"""`unnoise adapt`: trained parts merged into a network, or written as other libraries read them."""

import json as jsons
import shlex
from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.options import Device, Folder, Json
from unnoise.cli.speak import say, tell
from unnoise.config import UserError

adapt = typer.Typer(help="Trained LoRAs: merged into a network, or written as other libraries read them.")
Adapter = Annotated[Path, typer.Argument(metavar="ADAPTER", help="A run that trained one, or its file.")]


@adapt.command()
def merge(
    run: Folder,
    out: Annotated[Path, typer.Option(help="The folder of the new run.")],
    loras: Annotated[
        list[str] | None, typer.Argument(metavar="[PATH=WEIGHT]...", help="LoRAs, runs or files; none: the run's own.")
    ] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Add LoRAs to a run's weights: a new run that costs what the base costs. The base stays as it is."""
    from unnoise import run as runs
    from unnoise.adapting import merged
    from unnoise.cli.asking import device as device_of
    from unnoise.cli.parts import worn

    opened = worn(runs.open(run, device_of(device)), loras)
    made = merged(opened, opened.dials, out)
    say(f"{' and '.join(loras or ['its own LoRA'])} merged into {run}: {shlex.quote(str(made))}", beside=json)
    if json:
        tell({"run": str(made), "base": str(run), "merged": list(loras or ())})


@adapt.command()
def export(
    adapter: Adapter,
    out: Annotated[Path, typer.Option(help="A .safetensors file, or of peft a folder.")],
    to: Annotated[str, typer.Option(help="Whose names of the weights: peft or diffusers.")] = "peft",
    json: Json = False,
) -> None:
    """Write a LoRA under the names that peft or diffusers give its weights."""
    from unnoise.adapt.store import renamed

    if to not in ("peft", "diffusers"):
        raise UserError(f"a LoRA is written for peft or diffusers, got '{to}'")
    written = renamed(adapter, out, to)
    say(f"{adapter} for {to}: {shlex.quote(str(written))}", beside=json)
    if json:
        tell({"file": str(written), "to": to})


@adapt.command()
def show(adapter: Adapter, json: Json = False) -> None:
    """Say what an adapter is: its kind, its options, how many numbers it holds and on which layers."""
    from unnoise.adapt.store import read

    found = read(adapter)
    numbers = sum(tensor.numel() for tensor in found.tensors.values())
    layers = sorted({name.rpartition(".lora_")[0] for name in found.tensors if ".lora_" in name})
    at = f" at {len(layers)} layers" if layers else ""
    of = f", trained around weights {found.base[:12]}" if found.base else ""
    say(f"{found.path}: {found.kind}, {numbers:,} numbers{at}{of}; {jsons.dumps(dict(found.settings))}", beside=json)
    if json:
        tell({"file": str(found.path), "kind": found.kind, "numbers": numbers, "layers": layers,
              "settings": dict(found.settings), "base": found.base})  # fmt: skip


__all__ = ["adapt"]
