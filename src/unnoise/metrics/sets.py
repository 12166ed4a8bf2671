"""The items that lie at a path, batch by batch: pictures of a folder or an archive, arrays, statistics."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError
from unnoise.metrics.statistics import Statistics, is_statistics
from unnoise.reading import progress
from unnoise.reading.decode import SUFFIXES, Limits, Unreadable, decode, quiet
from unnoise.reading.fit import Fit, pixels
from unnoise.reading.layout import Layout
from unnoise.reading.open_store import open_store
from unnoise.reading.paths import found
from unnoise.reading.stores import Entry, Store

Raw = npt.NDArray[Any]
BATCH = 64  # items of a batch at most
ARRAYS = (".npy", ".npz")


@dataclass(frozen=True)
class Set:
    """What lies at `path`. kind: "image", "points" or "array", or "statistics", which have no items any more.

    batches: the items (N, ...) in their order, each batch of one shape and of BATCH items at most; asked anew, they
    come again. left_out: names of files that promised a picture and gave none, known when the batches have been read.
    """

    path: Path
    kind: str
    batches: Callable[[], Iterator[Raw]]
    statistics: Statistics | None = None
    left_out: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    @property
    def name(self) -> str:
        return self.path.name or str(self.path)


def opened(path: str, size: int | None = None) -> Set:
    """The set at a path: a folder, zip, tar or parquet of pictures, a .npy or .npz, or a file of statistics.

    size: pictures are brought to size × size (the middle part, reduced without aliasing); silent: as they are.
    """
    place = found(path)
    if is_statistics(place):
        return Set(place, "statistics", lambda: iter(()), Statistics.load(place))
    if place.suffix.lower() in ARRAYS:
        if size is not None:
            raise UserError(f"pictures of a folder or an archive are brought to a size, and {place} is an array")
        return _array(place)
    if place.is_file() and place.suffix.lower() == ".safetensors":
        raise UserError(f"{place} holds no statistics of features: `unnoise statistics` writes such files")
    if size is not None and size < 1:
        raise UserError(f"a size is 1 pixel or more, got {size}")
    store, lost = open_store(place), list[tuple[str, str]]()
    return Set(place, "image", lambda: _pictures(store, size, lost), None, lost)


def _pictures(store: Store, size: int | None, lost: list[tuple[str, str]]) -> Iterator[Raw]:
    """(N, 3, H, W) uint8: neighbours of one size together. Grey stands in three equal channels."""
    lost.clear()
    limits, fit = Limits(), None if size is None else Fit((size, size))
    wanted = None if size is None else (size, size)

    def read(entry: Entry, data: bytes | str) -> npt.NDArray[np.uint8] | str:
        try:
            if isinstance(data, str):
                raise Unreadable(data)
            image = decode(data, limits, wanted=wanted)
        except Unreadable as error:
            named = entry.sure or PurePosixPath(entry.name).suffix.lower() in SUFFIXES
            return str(error) if named else ""
        return pixels(image if fit is None else fit.middle(image), 3)

    done = 0
    with quiet(), ThreadPoolExecutor(min(8, os.cpu_count() or 1), "decode") as pool:
        for chunk in _chunks(store, limits):
            made = list(zip(chunk, pool.map(lambda one: read(*one), chunk), strict=True))
            lost += [(entry.name, answer) for (entry, _), answer in made if isinstance(answer, str) and answer]
            good = [answer for _, answer in made if not isinstance(answer, str)]
            for _, alike in groupby(good, key=lambda picture: picture.shape):
                batch = np.stack(list(alike))
                done += len(batch)
                yield batch
            progress.tell(f"reading {store.path.name}", min(chunk[-1][0].share, 0.999), done)
    if not done:
        few = f": {len(lost):,} files are none, such as {lost[0][0]} ({lost[0][1]})" if lost else ""
        raise UserError(f"there is no picture in {store.path}{few}")
    progress.tell(f"reading {store.path.name}", 1.0, done)


def _chunks(store: Store, limits: Limits) -> Iterator[list[tuple[Entry, bytes | str]]]:
    """BATCH files at a time, each with its bytes or why these cannot be had."""
    chunk: list[tuple[Entry, bytes | str]] = []
    for entry in store:
        if entry.is_text:
            continue
        try:
            chunk.append((entry, entry.read(limits.bytes)))
        except Unreadable as error:
            chunk.append((entry, str(error)))
        if len(chunk) == BATCH:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _array(path: Path) -> Set:
    try:
        kept: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(kept, np.ndarray):
            names = list(kept.files)
            if len(names) != 1 and "arr_0" not in names:
                raise UserError(f"{path} holds {len(names)} arrays ({', '.join(names[:6])}): store the items alone")
            kept = kept[names[0] if len(names) == 1 else "arr_0"]
    except UserError:
        raise
    except (ValueError, EOFError, OSError, BadZipFile) as error:
        pickled = "it holds Python objects (a pickle), and those are never opened" if "pickle" in str(error) else ""
        raise UserError(f"{path} cannot be read: {pickled or 'it is damaged or cut short'}") from None
    array: Raw = kept
    layout = Layout.of(str(path), array)
    items = layout.arrange(array)

    def batches() -> Iterator[Raw]:
        for first in range(0, len(items), BATCH):
            part = np.ascontiguousarray(items[first : first + BATCH])
            if part.dtype.kind == "f" and not np.isfinite(part).all():
                raise UserError(
                    f"{path} holds numbers that are NaN or infinite, in items {first} to {first + len(part)}"
                )
            yield part
            progress.tell(
                f"reading {path.name}", min((first + BATCH) / len(items), 1.0), min(first + BATCH, len(items))
            )

    return Set(path, layout.kind, batches)


__all__ = ["BATCH", "Set", "opened"]
