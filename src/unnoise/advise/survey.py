"""What lies at a path, told from names and headers: pictures, an array or a table, and how to name it in a recipe."""

import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unnoise.config import UserError
from unnoise.reading import columnar, delimited
from unnoise.reading.decode import FORMATS, SUFFIXES, Limits, Unreadable, header
from unnoise.reading.labels import LABELS
from unnoise.reading.open_store import open_store
from unnoise.reading.paths import found
from unnoise.reading.stores import PARQUET

ARRAYS, TABLES, ARCHIVES = (".npy", ".npz"), (".csv", ".tsv", ".txt"), (".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz")
KNOWN = (*ARRAYS, *TABLES, *ARCHIVES, ".tar.bz2", ".tar.zst", ".tbz2", ".txz", PARQUET)  # endings that promise data
HEADERS = 200  # files whose headers are read, spread over all
ROWS = 500  # rows of a table that tell which columns hold numbers
FEW = 20  # different words of a text column up to which it may be a label, or a tenth of the rows
ITEMS = ("x", "data", "images", "items", "arr_0", "x_train")  # keys of an .npz that are taken for the items


@dataclass(frozen=True)
class Survey:
    """kind: "pictures", "array" or "table"; node: the data node that reads it, but for what is chosen (the size).

    said: what was decided on the way, a sentence each; sides: (height, width) of the pictures whose headers were read.
    """

    kind: str
    node: dict[str, Any]
    said: tuple[str, ...] = ()
    sides: tuple[tuple[int, int], ...] = field(default=(), repr=False)

    @property
    def side(self) -> int:
        """The shorter side that three pictures in four reach; 0 where there are none."""
        return int(np.quantile([min(size) for size in self.sides], 0.25)) if self.sides else 0

    @property
    def one_size(self) -> tuple[int, int] | None:
        """The size that all pictures have, where they have one."""
        return self.sides[0] if len(set(self.sides)) == 1 else None


def survey(path: str | Path) -> Survey:
    """Tells what lies at a path. Raises UserError where it is nothing that can be trained on."""
    place = found(str(path))
    suffix = place.suffix.lower()
    if place.is_dir() and (place / "recipe.yaml").exists():
        raise UserError(
            f"{place} is a run, not data: go on with unnoise train {place}/recipe.yaml --out {place} --resume"
        )
    if suffix in ARRAYS:
        return _array(place)
    if suffix in TABLES:
        return _table(place)
    if suffix == PARQUET and not _has_pictures(place):
        return _table(place)
    if suffix in SUFFIXES and place.is_file():
        raise UserError(f"{place} is a single picture: give the folder of many")
    return _pictures(place)


def is_data(word: str) -> bool:
    """Whether a word of the command line means a path to data and not a recipe: it stands there, or looks like one."""
    from unnoise import recipes

    path = Path(word)
    if path.suffix in (".yaml", ".yml") or word in recipes.names():
        return False
    return path.exists() or "/" in word or "\\" in word or word.lower().endswith(KNOWN)


def name_of(path: str | Path) -> str:
    """A run's name from a path: photos.tar.gz is photos."""
    name = Path(path).expanduser().resolve().name
    stem = name.partition(".")[0] if name.lower().endswith(KNOWN) else name
    return re.sub(r"[^\w-]+", "-", stem).strip("-") or "data"


def _pictures(place: Path) -> Survey:
    store = open_store(place)
    sides: list[tuple[int, int]] = []
    tried, names = 0, list[str]()
    for entry in store:
        names.append(entry.name)
        if entry.share * HEADERS < tried and tried >= 1:
            continue  # far enough until a further two-hundredth of the store has passed
        if not entry.sure and Path(entry.name).suffix.lower() not in SUFFIXES:
            continue
        tried += 1
        try:
            told = header(entry.read(Limits.bytes), Limits())
        except Unreadable:
            continue
        sides.append((told.height, told.width))
        if len(sides) >= HEADERS:
            break
    if not sides:
        raise UserError(_none(place, names))
    return Survey("pictures", {"kind": "pictures", "path": str(place)}, sides=tuple(sides))


def _none(place: Path, names: list[str]) -> str:
    """Why there is nothing to train on in a folder or archive."""
    if not names:
        return (
            f"{place} is empty: expected pictures ({', '.join(FORMATS[:5])} ...), in folders by label if there are any"
        )
    data = [name for name in names if name.lower().endswith((*ARRAYS, ".csv", ".tsv", PARQUET))]
    if data:
        return f"there is no picture in {place}, but a file of numbers: give {place / data[0]}"
    few = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"there is no picture that can be read in {place}: it holds {few}"


def _array(place: Path) -> Survey:
    node: dict[str, Any] = {"kind": "array", "path": str(place)}
    if place.suffix.lower() == ".npy":
        return Survey("array", node)
    shapes = _members(place)
    if not shapes:
        raise UserError(f"{place} holds no array")
    items = next((k for word in ITEMS for k in shapes if k.lower() == word), None)
    items = items or max(shapes, key=lambda k: (len(shapes[k]) > 1, int(np.prod(shapes[k]))))
    count = shapes[items][0] if shapes[items] else 0
    labels = next((k for word in LABELS for k in shapes if k.lower() == word and shapes[k][:1] == (count,)), None)
    said: list[str] = []
    if len(shapes) > 1:
        node["key"] = items
        said.append(f"of the arrays {', '.join(shapes)}, '{items}' holds the items")
    if labels is not None and labels != items:
        node["labels"] = labels
        said.append(f"'{labels}' holds the labels")
    return Survey("array", node, tuple(said))


def _members(place: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays of an .npz, from their headers alone."""
    import zipfile

    shapes: dict[str, tuple[int, ...]] = {}
    try:
        with zipfile.ZipFile(place) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    version: Any = np.lib.format.read_magic(file)
                    read: Any = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
                    shapes[name.removesuffix(".npy")] = tuple(read(file)[0])
    except (zipfile.BadZipFile, OSError, ValueError, AttributeError) as error:
        why = "it is empty" if not place.stat().st_size else str(error)
        raise UserError(f"{place} cannot be read: {why}") from None
    return shapes


def _table(place: Path) -> Survey:
    node: dict[str, Any] = {"kind": "table", "path": str(place)}
    if place.suffix.lower() == PARQUET:
        names = columnar.header(place)
        label = next((n for word in LABELS for n in names if n.lower() == word), None)
        return _labelled(node, label, ())
    names, mark, named = delimited.header(place, None, None)
    kinds: list[set[str]] = [set() for _ in names]
    worded = [0] * len(names)
    seen = 0
    with delimited.rows_of(place, mark) as rows:
        for _, row in itertools.islice(rows, int(named), ROWS + int(named)):
            seen += 1
            for i, text in enumerate(row[: len(names)]):
                kinds[i].add(text.strip())
                worded[i] += delimited.number(text) is None
    texts = [name for name, count in zip(names, worded, strict=True) if 2 * count > seen]
    classed = [n for n, found in zip(names, kinds, strict=True) if len(found) <= max(FEW, seen // 20)]
    label = next((n for word in LABELS for n in classed if n.lower() == word), None)  # no measurement called y
    if label is None:
        few = [n for n in texts if len(kinds[names.index(n)]) <= max(FEW, seen // 10)]
        label = few[-1] if few else None  # by custom it comes last
    return _labelled(node, label, tuple(name for name in texts if name != label))


def gaps(seen: Survey) -> dict[str, int]:
    """How many values are missing in each column that a table's node names, where some are: the file is read once."""
    place = Path(seen.node["path"])
    if place.suffix.lower() == PARQUET:
        return {}
    names, mark, named = delimited.header(place, None, None)
    kept = [i for i, name in enumerate(names) if name not in seen.node.get("drop", ())]
    counts = dict.fromkeys((names[i] for i in kept), 0)
    with delimited.rows_of(place, mark) as rows:
        for _, row in itertools.islice(rows, int(named), None):
            for i in kept:
                if i < len(row) and delimited.missing(row[i]):
                    counts[names[i]] += 1
    return {name: count for name, count in counts.items() if count}


def _labelled(node: dict[str, Any], label: str | None, drop: tuple[str, ...]) -> Survey:
    said: list[str] = []
    if label is not None:
        node["label"] = label
        said.append(f"column '{label}' is the label")
    if drop:
        node["drop"] = list(drop)
        few = ", ".join(f"'{name}'" for name in drop[:4]) + (f" and {len(drop) - 4} more" if len(drop) > 4 else "")
        said.append(f"{few} {'holds text and is' if len(drop) == 1 else 'hold text and are'} left out")
    return Survey("table", node, tuple(said))


def _has_pictures(place: Path) -> bool:
    """Whether a parquet file has a column of pictures: bytes, or bytes with a path."""
    from unnoise.reading.parquet import Parquet

    try:
        Parquet(place, [place])
    except UserError as error:
        if "no column of pictures" in str(error):
            return False
        raise
    return True


__all__ = ["KNOWN", "Survey", "gaps", "is_data", "name_of", "survey"]
