"""`unnoise redo`: a picture made again from what it says of itself, and compared pixel by pixel."""

from pathlib import Path
from typing import Annotated, Any

import typer

from unnoise.cli.options import Device, Json
from unnoise.cli.speak import say, tell
from unnoise.config import UserError

DIFFERS = 1  # the exit status where pixels differ


def redo(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="A PNG of `unnoise serve` or `sample --each`.")],
    run: Annotated[
        list[Path] | None, typer.Option("--run", help="Where to look for the run, beside the one it names and runs/.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="The picture that it was begun with, where it was.")] = None,
    mask: Annotated[Path | None, typer.Option(help="The mask that came with that.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the picture made again.")] = None,
    device: Device = "auto",
    json: Json = False,
) -> int:
    """Make a picture again from the run whose weights drew it, and compare: exit status 0 if every pixel is the same.

    The weights are found by their hash, in whatever checkpoint they stand.
    """
    from unnoise.cli import asking
    from unnoise.report import grids
    from unnoise.serve.again import Found, made_again

    told = grids.settings(picture)
    given = [path.read_bytes() if path is not None else None for path in (image, mask)]
    named = [Path(str(told["run"]))] if "run" in told else []
    places = [*(run or []), *named, *sorted(Path("runs").glob("*"))]
    found: Found = made_again(picture.read_bytes(), told, places, asking.device(device), *given)
    if out is not None:
        grids.save(found.image, out, told)
    sentence = _sentence(picture, found)
    say(sentence, beside=json)
    if json:
        tell({"same": found.same, "pixels": found.pixels, "differ": found.differ, "largest": found.largest,
              "run": str(found.run), "weights": found.weights, "why": found.why})  # fmt: skip
    return 0 if found.same else DIFFERS


def _sentence(picture: Path, found: Any) -> str:
    whence = f"by the weights {found.weights[:12]} of {found.run}"
    if found.same:
        return f"{picture} is made again {whence}: all {found.pixels} pixels are the same"
    if found.differ is None:
        raise UserError(f"{picture} is not what is made again {whence}: {found.why}")
    far = f"{found.differ} of {found.pixels} pixels differ, by {found.largest} of 255 at most"
    return f"{picture} is made again {whence}: {far}; {found.why}"


__all__ = ["redo"]
