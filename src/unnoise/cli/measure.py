"""`unnoise measure`: one set of items against another, as they lie on the disk."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from unnoise.cli.options import Device, Json
from unnoise.cli.speak import say, table, tell
from unnoise.config import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unnoise.metrics.between import Compared, Side

Features = Annotated[
    str | None,
    typer.Option(metavar="NAME[:PATH]", help="What to read them on: inception:weights.pth, dinov2:FOLDER ..."),
]
Size = Annotated[
    int | None, typer.Option(help="Bring pictures to so many pixels a side first; silent: as they are.", min=1)
]
Download = Annotated[bool, typer.Option("--download", help="Fetch published weights that are not here yet.")]


def measure(
    a: Annotated[
        str, typer.Argument(metavar="A", help="A folder, archive, array, or file of statistics: the samples.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The same of what they are held against: real items.")],
    features: Features = None,
    measures: Annotated[
        str | None, typer.Option(metavar="NAME,...|all", help="These measures: frechet,kid,two_sample ...")
    ] = None,
    size: Size = None,
    download: Download = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure one set against another: folders or archives of pictures, arrays, statistics."""
    from unnoise.cli import asking
    from unnoise.cli.ask_first import reading
    from unnoise.metrics import between, sets

    both = [sets.opened(path, size) for path in (a, b)]
    statistics = [one.statistics for one in both if one.statistics is not None]
    with reading(json):
        reader = reader_of(features, device, download)
        names = asking.measures(measures)
        if names is None and statistics:
            names = ("frechet",)
        names = between.asked(names, reader)
        if len(statistics) == 1 and statistics[0].features not in ("", reader.name):
            wanted = f"--features {spec_of(statistics[0].features)}"
            raise UserError(f"the statistics are of the features {statistics[0].features}: give {wanted}")
        probabilities = "inception_score" in names
        read = [between.gather(one, reader, probabilities) for one in both]
        found = between.between(read[0], read[1], names, lambda name: None if json else say(f"{name} ...", beside=True))
    if json:
        digest = statistics[0].digest if len(statistics) == 2 else reader.digest
        name = statistics[0].features if len(statistics) == 2 else reader.name
        told = [{"path": path, **_facts(side)} for path, side in zip((a, b), read, strict=True)]
        rows = [one.to_json() for one in found]
        tell({"a": told[0], "b": told[1], "features": {"name": name, "digest": digest}, "measures": rows})
        return
    for side in read:
        say(_told(side))
    if features is None and not statistics:
        say("read on raw values; --features inception:weights.pth reads what pictures show")
    _table(found)


def reader_of(spec: str | None, device: str, download: bool) -> Any:
    """The features of a name; raw values where none is given."""
    from unnoise.cli import asking
    from unnoise.metrics.between import Plain
    from unnoise.metrics.features import features_of

    if spec is None or spec == "raw":
        return Plain()
    return features_of(spec, asking.device(device), download)


def spec_of(name: str) -> str:
    """What --features is given to read features of this name."""
    known = {"raw": "raw", "lpips-alex": "lpips:PATH", "stored classifier": "classifier:PATH"}
    return known.get(name, f"{name}:PATH")


def _facts(side: "Side") -> dict[str, Any]:
    return {"items": side.count, "left_out": side.left_out}


def _told(side: "Side") -> str:
    """A set in a line."""
    if not side.count:
        return f"{side.name}: statistics of an unknown number of items"
    return f"{side.name}: {side.count:,} items{lost(side.left_out)}"


def lost(files: int) -> str:
    """The end of a line that says how many files gave no picture; silent where all did."""
    return f", {files:,} file{'s' * (files > 1)} left out that gave no picture" if files else ""


def _table(found: "Sequence[Compared]") -> None:
    from unnoise.metrics.rules import MEASURES
    from unnoise.report.words import ARROW, called, figure_of, range_of

    counts = sorted({one.equal.count for one in found if one.equal is not None})
    figures = ("A against B", "95 %", "equal counts", "floor")
    titles = ("measure", "", *(figures if counts else figures[:1]), *(("in words",) if counts else ()))
    rows: list[list[str]] = []
    for one in found:
        cells = [called(one.name), ARROW[MEASURES[one.name].better], f"{one.value:.4g}"]
        if one.equal is not None:
            cells += [range_of(one.low, one.high), figure_of(one.equal.value, one.equal.spread)]
            cells += [figure_of(one.equal.floor, one.equal.floor_spread), one.equal.verdict]
        rows.append(cells)
    table(titles, rows, right=figures)
    if counts:
        many = " or ".join(f"{count:,}" for count in counts)
        say(f"equal counts: {many} of A against as many of B; floor: as many others of B in their place")
    for one in found:
        if one.warning:
            say(f"{called(one.name)}: {one.warning}")


__all__ = ["Download", "Features", "Size", "lost", "measure", "reader_of"]
