"""Real things that a command is given: a file or a folder of them, or items of the run's own data."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageColor

from unnoise.cli.options import seeds
from unnoise.config import UserError, nearest
from unnoise.data import SPLITS
from unnoise.data.pictures import Decodable
from unnoise.modality import Image, Points
from unnoise.reading import delimited
from unnoise.reading.decode import Limits, Unreadable, decode, quiet
from unnoise.reading.fit import Fit, pixels
from unnoise.reading.layout import Layout
from unnoise.reading.open_store import open_store
from unnoise.reading.paths import found
from unnoise.run import Run

Raw = npt.NDArray[Any]
MOST = 4096  # items at one asking
TABLES = (".csv", ".tsv", ".txt")


def real(run: Run, word: str) -> tuple[Raw, list[int | str] | None]:
    """The raw items (n, ...) that a word names, and their labels where these are known.

    word: test:0-7 or validation:3, items of a part of the run's data by number; a picture, or a folder or an archive
    of them, brought to the run's size; .npy in raw units; .csv of rows.
    """
    part, colon, places = word.partition(":")
    if colon and part in SPLITS:
        return _own(run, part, places)
    if colon and re.fullmatch(r"[0-9,\- ]+", places) and not Path(word).exists():
        raise UserError(f"there is no part '{part}' of the data; {nearest(part, SPLITS)}")
    path = found(word)
    if path.suffix.lower() in (".npy", ".npz"):
        items, labels = _array(run, path), None
    elif run.recipe.modality.name == "points":
        items, labels = _rows(run, path)
    elif run.recipe.modality.name == "image":
        items, labels = _pictures(run, path), None
    else:
        raise UserError(f"{run.recipe.name} knows arrays: give a .npy file, got {path}")
    if items.dtype.kind == "f" and not np.isfinite(items).all():
        raise UserError(f"{path} holds numbers that are not finite, and there is no way back from these")
    if len(items) > MOST:
        raise UserError(f"{path} holds {len(items):,} items, and at most {MOST:,} are taken at one asking")
    return items, labels


def _own(run: Run, part: str, places: str) -> tuple[Raw, list[int | str] | None]:
    items = run.recipe.source.split(part)
    try:
        wanted = list(seeds(places))
    except UserError:
        raise UserError(f"items are written {part}:0-7 or {part}:1,5,9-12, upwards, got '{part}:{places}'") from None
    if max(wanted) >= len(items) or len(wanted) > MOST:
        raise UserError(f"the {part} part has the items 0 to {len(items) - 1}, got {places}")
    raw, cond = items.take(wanted)
    labels: list[int | str] | None = cond["label"].tolist() if run.recipe.classes and "label" in cond else None
    return raw, labels


def _array(run: Run, path: Path) -> Raw:
    """Items of a .npy or .npz: as `unnoise sample` writes them, or a single one."""
    try:
        kept: Any = np.load(path, allow_pickle=False)
        array: Raw = kept if isinstance(kept, np.ndarray) else kept[kept.files[0]]
    except (ValueError, EOFError, OSError, IndexError):
        raise UserError(f"{path} cannot be read: it is no array of numbers, or damaged") from None
    modality, shape = run.recipe.modality, run.recipe.shape
    whole = len(getattr(modality, "layout", "")) or len(shape)
    if isinstance(modality, Image):
        array = array[None] if array.shape in (shape, shape[1:], (*shape[1:], shape[0])) else array
        return Layout.of(str(path), array).arrange(array)
    array = array[None] if array.ndim == whole else array
    return modality.batch(list(array))


def _rows(run: Run, path: Path) -> tuple[Raw, list[int | str] | None]:
    """The columns that the run knows, by name, or by place where it knows no names."""
    modality, dim = run.recipe.modality, run.recipe.shape[0]
    assert isinstance(modality, Points)
    if path.suffix.lower() not in TABLES:
        raise UserError(f"{run.recipe.name} draws points: give a .csv or .npy of rows, got {path}")
    names, mark, named = delimited.header(path, None, None)
    label = modality.label or "label"
    wanted = list(modality.columns) or [name for name in names if name not in ("seed", label)]
    missing = [name for name in wanted if name not in names]
    if missing or len(wanted) != dim:
        few = f"'{missing[0]}' is missing" if missing else f"it has {len(wanted)}"
        raise UserError(f"{run.recipe.name} knows rows of {dim} numbers, and {path} has others: {few}")
    known = label if label in names and run.recipe.classes else None
    table = delimited.read(path, mark, named, names, wanted, known)
    if np.isnan(table.numbers).any():
        raise UserError(f"{path} has missing values, and every number of a row is needed")
    if known is None or table.labels is None:
        return table.numbers, None
    words = [table.kinds[k] for k in table.labels.tolist()]
    classes = run.recipe.classes
    return table.numbers, [int(word) if word.isdecimal() and word not in classes else word for word in words]


def _pictures(run: Run, path: Path) -> Raw:
    """Pictures of a file, a folder or an archive at the run's size and in its levels, in the order of their names."""
    channels, height, width = run.recipe.shape
    fit = _fit(run, (height, width))
    made: list[PIL.Image.Image] = []
    with quiet():
        for name, data in _files(path):
            try:
                if isinstance(data, str):
                    raise Unreadable(data)
                made.append(decode(data, Limits(), fit.background, (height, width)))
            except Unreadable as error:
                raise UserError(f"{name} is no picture that can be read: {error}") from None
            if len(made) > MOST:
                raise UserError(f"{path} holds more than {MOST:,} pictures, the most that are taken at one asking")
    if not made:
        raise UserError(f"there is no picture in {path}")
    modality = run.recipe.modality
    small = [pixels(fit.middle(image), channels) for image in made]
    flat = [PIL.Image.fromarray(item[0] if channels == 1 else np.moveaxis(item, 0, -1)) for item in small]
    return modality.batch(flat)


def _files(path: Path) -> list[tuple[str, bytes | str]]:
    if path.is_file() and path.suffix.lower() not in (".zip", ".tar", ".gz", ".tgz", ".parquet", ".pq"):
        return [(str(path), path.read_bytes())]
    found: list[tuple[str, bytes | str]] = []
    for entry in open_store(path):
        if not entry.is_text:
            found.append((entry.name, entry.read(Limits().bytes)))
        if len(found) > MOST:
            break
    return found


def _fit(run: Run, size: tuple[int, int]) -> Fit:
    """As the run's own data were brought to size, where they were."""
    source = run.recipe.source
    if not isinstance(source, Decodable):
        return Fit(size)
    red, green, blue = PIL.ImageColor.getrgb(source.background)[:3]
    return Fit(size, source.crop, source.filter, (red, green, blue))


__all__ = ["real"]
