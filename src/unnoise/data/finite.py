"""Data that is all there: read once, divided by content, told apart by a digest."""

import hashlib
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError
from unnoise.data.source import SPLITS, Items, Raw, Source
from unnoise.data.split import Indices, divide
from unnoise.files import naming
from unnoise.reading.paths import cache_folder

LARGE = 1 << 30  # bytes: a mapped file beyond this is not held in memory, but laid out once more and mapped again
_CHUNK = 1 << 22  # numbers looked at together: what is mapped from a file is read a part at a time


@dataclass(frozen=True, eq=False)
class Content:
    """What was read: items (N, ...), labels (N,) as places in `classes`, and what is to be said of the reading."""

    items: Raw
    labels: npt.NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    header: tuple[str, ...] = ()  # the columns of a table in the order of the file, the label's among them
    label: str = ""  # the label's column
    warnings: tuple[str, ...] = ()
    dropped: Sequence[tuple[str, str]] = field(default_factory=tuple)  # (which, why) of what was left out
    cond: Mapping[str, Raw] = field(default_factory=dict[str, Raw])  # what else is told: numbers, places, captions
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])  # names of such places


@dataclass(frozen=True, kw_only=True)
class Finite(Source):
    """A source whose items are all there.

    held_out: the share of the items for validation, and again for test; seed: which they are. An item's part
    depends on its content, label included, and on the seed alone (`divide`). Items keep the order of the file
    within each part.
    """

    held_out: float = 0.1
    seed: int = 0

    @abstractmethod
    def _read(self) -> Content:
        """All items, checked: every number finite."""

    @abstractmethod
    def standard(self) -> dict[str, Any]:
        """The modality that suits the data, a node with every number that it takes from the training part."""

    @property
    def classes(self) -> tuple[str, ...]:
        return self._content.classes

    @property
    def values(self) -> Mapping[str, tuple[str, ...]]:
        return {**super().values, **self._content.values}

    @property
    def tells(self) -> Mapping[str, str]:
        kinds = {name: "words" if leaf.dtype.kind == "U" else "numbers" for name, leaf in self._content.cond.items()}
        told = {name: "labels" if name in self.values else kind for name, kind in kinds.items()}
        return {**super().tells, **told}

    @property
    def counts(self) -> dict[str, int]:
        """How many items each class has, in all parts together; empty where there are no labels."""
        labels = self._content.labels
        if labels is None:
            return {}
        return dict(zip(self.classes, np.bincount(labels, minlength=len(self.classes)).tolist(), strict=True))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences on what a person should know of these data before training on them."""
        return self._content.warnings

    @property
    def skipped(self) -> Sequence[tuple[str, str]]:
        return self._content.dropped

    @property
    def digest(self) -> str:
        """SHA-256 of the items in their order, of labels, names and shapes."""
        return self._ordered[2]

    def _split(self, name: str) -> Items:
        content, bounds, _ = self._ordered
        first, last = bounds[name]
        cond: dict[str, Raw] = {} if content.labels is None else {"label": content.labels[first:last]}
        return Items(content.items[first:last], cond | {name: leaf[first:last] for name, leaf in content.cond.items()})

    @property
    def _content(self) -> Content:
        return self._ordered[0]

    @cached_property
    def _ordered(self) -> tuple[Content, dict[str, tuple[int, int]], str]:
        """The content with its parts one after the other, where each begins and ends, and the digest.

        The parts are views of one array, so that nothing is held twice; of a large file, mapped.
        """
        content = self._read()
        names = [] if content.labels is None else [content.classes[k].encode() for k in content.labels]
        digests = list(_digests(content.items, names))
        about = (content.items.shape, str(content.items.dtype), content.classes, content.header, content.label)
        whole = hashlib.sha256(repr(about).encode())
        for digest in digests:
            whole.update(digest)
        for name, leaf in content.cond.items():
            whole.update(repr((name, content.values.get(name))).encode() + np.ascontiguousarray(leaf).tobytes())
        try:
            parts = divide(digests, self.held_out, self.seed)
        except UserError as error:
            raise UserError(f"{self._called}: {error}") from None
        order = np.concatenate([parts[name] for name in SPLITS])
        ends = np.cumsum([len(parts[name]) for name in SPLITS]).tolist()
        bounds = {name: (end - len(parts[name]), end) for name, end in zip(SPLITS, ends, strict=True)}
        labels = None if content.labels is None else content.labels[order]
        said = content.warnings
        if labels is not None:
            seen = np.bincount(labels[: bounds["train"][1]], minlength=len(content.classes))
            unseen = [name for name, count in zip(content.classes, seen, strict=True) if not count]
            few = ", ".join(f"'{name}'" for name in unseen[:4]) + (f" and {len(unseen) - 4} more" if unseen[4:] else "")
            said += (f"no training item of the label {few}: all fell into other parts",) if unseen else ()
        given = Content(
            _arranged(content.items, order, f"{whole.hexdigest()} {self.held_out} {self.seed}"),
            labels,
            content.classes,
            content.header,
            content.label,
            said,
            content.dropped,
            {name: leaf[order] for name, leaf in content.cond.items()},
            content.values,
        )
        return given, bounds, whole.hexdigest()

    @property
    @abstractmethod
    def _called(self) -> str:
        """What the data are called in a message: the path of their file."""


def _arranged(items: Raw, order: Indices, known: str) -> Raw:
    """The items in the order given: in memory, or, where a file too large for that is mapped, in a file of the cache.

    known: what the file of the cache holds, in words; it is written once, beside and renamed.
    """
    if not isinstance(items, np.memmap) or items.nbytes <= LARGE:
        return np.asarray(items[order])
    path = cache_folder() / "arrays" / f"{hashlib.sha256(known.encode()).hexdigest()[:40]}.npy"
    if not path.exists():
        beside = path.with_suffix(f".{os.getpid()}.new")
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                made = np.lib.format.open_memmap(beside, "w+", items.dtype, (len(order), *items.shape[1:]))
                for rows in chunks(items):
                    made[rows] = items[order[rows]]
                made.flush()
                os.replace(beside, path)
            finally:
                beside.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _digests(items: Raw, names: Sequence[bytes]) -> Iterator[bytes]:
    """SHA-256 of each item's numbers, little-endian, and of the name of its label."""
    for rows in chunks(items):
        part = np.ascontiguousarray(items[rows])
        part = part.astype(part.dtype.newbyteorder("<"), copy=False)
        for i, item in enumerate(part, rows.start):
            yield hashlib.sha256(item.tobytes() + (names[i] if names else b"")).digest()


def chunks(items: Raw) -> Iterator[slice]:
    """Slices of rows, each of some millions of numbers."""
    step = max(1, _CHUNK // max(1, items[:1].size))
    for first in range(0, len(items), step):
        yield slice(first, min(first + step, len(items)))


def moments(items: Raw, axes: tuple[int, ...]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and deviation over `axes` (the items' among them), one each of what is left: in float64, part by part.

    Both are sums about the mean of the first items, so that numbers far from 0 keep their digits.
    """
    first = items[: max(1, min(len(items), 1024))].astype(np.float64).mean(axis=axes, keepdims=True)
    count, total, square = 0, np.zeros_like(first), np.zeros_like(first)
    for rows in chunks(items):
        part = items[rows].astype(np.float64) - first
        total += part.sum(axis=axes, keepdims=True)
        square += (part**2).sum(axis=axes, keepdims=True)
        count += part.size // total.size
    shift = total / count
    variance = np.maximum(square / count - shift**2, 0)
    # Where all are one number the sums leave rounding behind, and that is no deviation.
    variance[variance < (1e-12 * np.abs(first + shift)) ** 2] = 0
    return (first + shift).reshape(-1), np.sqrt(variance).reshape(-1)


def named(values: Sequence[Any] | npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Labels as places in the sorted names: whole numbers by size, names by letters."""
    kinds, places = np.unique(np.asarray(values), return_inverse=True)
    return places.reshape(-1).astype(np.int64), tuple(str(kind) for kind in kinds.tolist())


__all__ = ["Content", "Finite", "chunks", "moments", "named"]
