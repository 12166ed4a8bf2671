"""`unnoise statistics`: mean and covariance of a set's features, in one file that is kept and shared."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from unnoise.cli.measure import Download, Features, Size, lost, reader_of
from unnoise.cli.options import Device, Json
from unnoise.cli.speak import say, tell
from unnoise.config import UserError


def statistics(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A folder or archive of pictures, or an array.")],
    features: Features = None,
    out: Annotated[
        Path | None, typer.Option(help="The file (.safetensors); NAME-FEATURES.safetensors here if silent.")
    ] = None,
    size: Size = None,
    download: Download = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Save the statistics of a set's features, for `unnoise measure` to hold others against."""
    from dataclasses import replace

    from unnoise.cli.ask_first import reading
    from unnoise.metrics import between, sets

    if out is not None and out.suffix != ".safetensors":
        raise UserError(f"statistics are written as .safetensors, got {out}")
    of = sets.opened(path, size)
    if of.statistics is not None:
        raise UserError(f"{path} holds statistics already")
    with reading(json):
        reader = reader_of(features, device, download)
        side = between.gather(of, reader, most=between.LEAST)
    found = side.statistics
    if found is None:
        raise UserError(
            f"{reader.name} features are too many for a covariance: at most {between.WIDEST:,}, so name others "
            "(--features) or bring pictures to a smaller size (--size)"
        )
    notes = {} if size is None else {"size": str(size)}
    file = replace(found, notes=notes).save(out or Path(f"{of.path.stem}-{reader.name}.safetensors"))
    if json:
        told = {"name": reader.name, "digest": reader.digest, "columns": len(found.mean)}
        tell({"file": str(file), "items": found.count, "left_out": side.left_out, "features": told})
        return
    say(f"{found.count:,} items of {of.name}, {len(found.mean):,} {reader.name} features{lost(side.left_out)}")
    if found.count <= len(found.mean):
        say(f"too few for a covariance of {len(found.mean):,} features: {len(found.mean) + 1:,} items at least")
    say(f"written to {shlex.quote(str(file))}; unnoise measure SAMPLES {shlex.quote(str(file))} reads it")


__all__ = ["statistics"]
