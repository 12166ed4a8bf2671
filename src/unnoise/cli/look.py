"""`unnoise look`: what data hold, before anything is trained on them; what matters first."""

import shlex
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unnoise.cli.options import Json
from unnoise.cli.speak import say, tell

if TYPE_CHECKING:
    from unnoise.advise.census import Census, Copies
    from unnoise.data import Source
    from unnoise.recipe import Recipe

ROW = 12  # pictures of a label on the sheet
LABELS = 24  # labels on the sheet
CAPTIONED = 12  # pictures with captions on the sheet
MANY = 96  # pictures without labels on the sheet
GROUPS = 12  # groups of copies that are shown
UNEVEN = 5.0  # how many times as frequent a label may be before it is worth a word
RARE = 20  # items of a label below which it is drawn poorly


def look(
    data: Annotated[
        str, typer.Argument(metavar="RECIPE|DATA", help="A recipe, named data, or a folder, archive, array or table.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[NODE.KEY=VALUE]...", help="Such as data.size=64.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the pictures; look-<name> if silent.")] = None,
    json: Json = False,
) -> None:
    """Say what data hold: sizes, labels, ranges, copies, what cannot be read; and draw a sheet of them."""
    from unnoise.advise.census import Copies, census
    from unnoise.advise.tells import captions, conditions, lines
    from unnoise.cli.ask_first import reading
    from unnoise.data import World

    with reading(json), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what was left out is said below, and first
        name, source, said, gaps = _opened(data, overrides or ())
        names: Sequence[str] = _names(source)
        found = census(source, names, gaps)
        if isinstance(source, World):  # what is drawn anew is alike by chance
            found = replace(found, near=Copies())
    texts, named = captions(source), conditions(source)
    folder = out or Path(f"look-{name}")
    written = _draw(source, found, folder, name)
    if json:
        more = {} if texts is None else {"captions": texts}
        told = {
            **record(found),
            **more,
            "told": named,
            "notes": notes(found),
            "said": list(said),
            "files": [*map(str, written)],
        }
        tell({"data": data, **told})
        return
    say(f"{name}: {headline(found)}")
    for sentence in (*said, *found.warnings):
        say(f"  {sentence}")
    for sentence in notes(found):
        say(f"• {sentence}")
    say("")
    for line in (*details(found), *lines(texts, named)):
        say(line.rstrip())
    say(f"\nDrawn in {' and '.join(shlex.quote(str(path)) for path in written)}")


def _opened(word: str, overrides: Sequence[str]) -> tuple[str, "Source", Sequence[str], dict[str, int]]:
    """(name, data, what was decided on the way, missing values by column) of a recipe's data, or of those at a path."""
    from unnoise import recipes
    from unnoise.advise.propose import Found, choose_size
    from unnoise.advise.survey import gaps, is_data, name_of, survey
    from unnoise.config import UserError, build, nearest
    from unnoise.data import SOURCES, Source
    from unnoise.recipe import TABLES, load, override

    if word in SOURCES and word not in recipes.names() and not Path(word).exists():  # drawn data that no recipe uses
        named: Source = build(Source, override({"data": word}, overrides)["data"], TABLES, f"{word}: data")[0]
        return word, named, (), {}
    if not is_data(word) and not Path(word).suffix and word not in recipes.names():
        known = sorted({*recipes.names(), *SOURCES})
        raise UserError(f"there is no recipe and no data '{word}'; {nearest(word, known)}")
    if not is_data(word):
        made: Recipe = load(word, overrides)
        return made.name, made.source, (), {}
    seen = survey(word)
    node = dict(seen.node)
    if seen.kind == "pictures":
        node["size"] = choose_size(Found.of(seen))
    missing: dict[str, int] = {}
    if seen.kind == "table":
        node["missing"] = "drop"
        missing = gaps(seen)
    wanted = override({"data": node}, overrides)["data"]
    source: Source = build(Source, wanted, TABLES, f"{name_of(word)}: data")[0]
    return name_of(word), source, seen.said, missing


def _names(source: "Source") -> list[str]:
    """What columns and channels are called."""
    from unnoise.data.standard import standard

    if source.raw == "image":
        shape = source.split("train").items.shape
        return ["grey"] if shape[1] == 1 else ["red", "green", "blue"]
    header = standard(source).get("header")
    return [name for name in header if name != getattr(source, "label", None)] if header else []


def headline(found: "Census") -> str:
    """What it is, in a line."""
    size = " × ".join(map(str, found.shape[-2:]))
    what = {
        "image": f"pictures of {size} in {'colour' if found.shape[0] == 3 else 'grey'}",
        "points": f"rows of {found.shape[0]} number{'s' * (found.shape[0] > 1)}",
        "array": f"items of {' × '.join(map(str, found.shape))} ({found.dtype})",
    }[found.raw]
    parts = ", ".join(f"{count:,} {name}" for name, count in found.counts.items())
    labels = f", {len(found.labels)} labels" if found.labels else ""
    return f"{found.total:,} {what}{labels} ({parts})"


def notes(found: "Census") -> list[str]:
    """What a person should know before training, the most serious first; empty where nothing is amiss."""
    said: list[str] = []
    if found.skipped:
        few = "; ".join(f"{name}: {reason}" for name, reason in found.skipped[:3])
        more = f"; and {len(found.skipped) - 3:,} more" if len(found.skipped) > 3 else ""
        said.append(f"{len(found.skipped):,} left out: {few}{more}.")
    for name, count in found.missing.items():
        said.append(f"Column '{name}' misses {count:,} value{'s' * (count > 1)}; those rows are left out here.")
    if found.total < 1000:
        said.append(
            f"{found.total:,} items are few: a model will know them by heart before it knows what they share."
            if found.total < 100
            else f"{found.total:,} items are few: watch the near-copies after training."
        )
    if found.labels and found.imbalance > UNEVEN:
        most, least = (pick(found.labels, key=lambda k: found.labels[k]) for pick in (max, min))
        said.append(
            f"Labels are uneven: '{most}' has {found.labels[most]:,} items, '{least}' {found.labels[least]:,}, "
            f"{found.imbalance:.0f} times fewer."
        )
    rare = [name for name, count in found.labels.items() if count < RARE]
    if rare:
        few = ", ".join(rare[:5]) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
        said.append(f"Fewer than {RARE} items, too few to be drawn well: {few}.")
    if found.exact.groups:
        said.append(f"{_copied(found.exact, 'exact copies')}.")
    if found.near.groups:
        over = (
            f"; {found.near.across:,} of the groups reach from training into validation or test, where they flatter"
            if found.near.across
            else ""
        )
        said.append(f"{_copied(found.near, 'near-copies')}{over}.")
    if found.constant:
        said.append(f"{found.constant:,} item{'s are' if found.constant > 1 else ' is'} one number throughout.")
    still = [column.name for column in found.columns if column.constant]
    if still:
        said.append(f"Never varies: {', '.join(still[:5])}{f' and {len(still) - 5} more' * (len(still) > 5)}.")
    small = sum(count for height, width, count in found.sizes if min(height, width) < min(found.shape[-2:]))
    if small:
        said.append(f"{small:,} picture{'s are' if small > 1 else ' is'} smaller than {found.shape[-1]} and enlarged.")
    return said


def _copied(copies: "Copies", what: str) -> str:
    groups = len(copies.groups)
    many = "1 group" if groups == 1 else f"{groups:,} groups"
    return f"{copies.surplus:,} {what if copies.surplus > 1 else what.replace('copies', 'copy')} in {many}"


def details(found: "Census") -> list[str]:
    """Numbers in lines: sizes of files' pictures, labels, columns."""
    lines: list[str] = []
    if found.sizes:
        few = [f"{width} × {height}{f' ({count:,})' if count > 1 else ''}" for height, width, count in found.sizes[:6]]
        more = f" and {len(found.sizes) - 6} more" if len(found.sizes) > 6 else ""
        lines.append(f"sizes of the files  {', '.join(few)}{more}")
    if found.labels:
        wide = max(map(len, found.labels))
        most = max(found.labels.values())
        for name, count in list(found.labels.items())[:40]:
            lines.append(f"{name:<{wide}}  {count:>9,}  {'█' * round(30 * count / most)}".rstrip())
        if len(found.labels) > 40:
            lines.append(f"and {len(found.labels) - 40} more labels")
    if found.columns:
        wide = min(30, max(7, *(len(column.name) for column in found.columns)))
        lines.append(f"{'':<{wide}}{'kind':>9}{'min':>12}{'mean':>12}{'max':>12}{'deviation':>12}{'missing':>9}")
        for column in found.columns[:60]:
            kind = "constant" if column.constant else "whole" if column.whole else "decimal"
            numbers = "".join(f"{v:>12.5g}" for v in (column.low, column.mean, column.high, column.deviation))
            lines.append(f"{column.name[:wide]:<{wide}}{kind:>9}{numbers}{found.missing.get(column.name, 0) or '':>9}")
        if len(found.columns) > 60:
            lines.append(f"and {len(found.columns) - 60} more columns")
    return lines


def record(found: "Census") -> dict[str, Any]:
    """The census as plain numbers and words."""
    from dataclasses import asdict

    def copies(of: "Copies") -> dict[str, Any]:
        return {"groups": len(of.groups), "surplus": of.surplus, "across": of.across, "places": of.groups[:100]}

    return {
        "kind": found.raw,
        "items": found.total,
        "parts": dict(found.counts),
        "shape": list(found.shape),
        "dtype": found.dtype,
        "labels": dict(found.labels),
        "imbalance": found.imbalance,
        "columns": [{**asdict(column), "missing": found.missing.get(column.name, 0)} for column in found.columns],
        "constant": found.constant,
        "exact_copies": copies(found.exact),
        "near_copies": copies(found.near),
        "sizes": [list(size) for size in found.sizes],
        "skipped": [list(entry) for entry in found.skipped],
        "warnings": list(found.warnings),
    }


def _draw(source: "Source", found: "Census", folder: Path, name: str) -> list[Path]:
    """A sheet of pictures, with captions where there are some, and one of copies; histograms of all other items."""
    import numpy as np

    from unnoise.report import grids, sheets, style
    from unnoise.report.captions import captioned

    if found.raw != "image":
        items = source.split("train").items
        few = np.unique(np.linspace(0, len(items) - 1, min(len(items), 50_000)).astype(np.int64))
        rows = np.moveaxis(items[few].reshape(len(few), len(found.columns), -1), 1, -1).astype(np.float64)
        rows = rows.reshape(-1, len(found.columns))[:1_000_000]
        names = [column.name for column in found.columns]
        return [style.save(sheets.histograms(rows, names, f"{name}: {found.total:,} items"), folder / "columns.png")]
    high = max(column.high for column in found.columns)
    text = source.split("train").cond.get("text")
    if text is not None:
        few = [_picture(source, place, high) for place in range(min(len(text), CAPTIONED))]
        written = [grids.save(captioned(few, text[: len(few)].tolist()), folder / "sheet.png")]
    else:
        written = [grids.save(sheets.sheet(_rows(source, found, high)), folder / "sheet.png")]
    groups = [*found.exact.groups, *found.near.groups][:GROUPS]
    if groups:
        shown = {
            f"{i}: {len(group)} alike": [_picture(source, place, high) for place in group[:ROW]]
            for i, group in enumerate(groups, 1)
        }
        written.append(grids.save(sheets.sheet(shown), folder / "copies.png"))
    return written


def _rows(source: "Source", found: "Census", high: float) -> Mapping[str, list[Any]]:
    """Pictures for the sheet: the first of each label, or some of all, spread over the data."""
    import numpy as np

    train = source.split("train")
    if not found.labels:
        places = np.unique(np.linspace(0, len(train) - 1, min(len(train), MANY)).astype(np.int64))
        return {"": [_shown(train.items[int(place)], high) for place in places]}
    rows: dict[str, list[Any]] = {}
    for k, label in enumerate(list(found.labels)[:LABELS]):
        places = np.flatnonzero(train.cond["label"] == k)[:ROW]
        if len(places):
            rows[label] = [_shown(train.items[int(place)], high) for place in places]
    return rows


def _picture(source: "Source", place: int, high: float) -> Any:
    """The picture at a place among all items."""
    from unnoise.data import SPLITS

    for name in SPLITS:
        items = source.split(name).items
        if place < len(items):
            return _shown(items[place], high)
        place -= len(items)
    raise AssertionError("a place beyond the data")


def _shown(item: Any, high: float) -> Any:
    """(C, H, W) of levels 0 .. high as an image of 8 bits."""
    import numpy as np

    levels = np.moveaxis(np.asarray(item), 0, -1)
    return levels if high > 127 else np.rint(levels * (255 / max(high, 1))).astype(np.uint8)


__all__ = ["details", "headline", "look", "notes", "record"]
