"""What data hold, as numbers: sizes, ranges, labels, copies and near-copies. A part at a time, in bounded memory.

Near-copies of pictures: difference hashes of 64 bits (Krawetz, 2013) that differ in at most 3, found by four bands of
16 bits of which one must then agree, and thumbnails of 8 by 8 no further apart than NEAR of the range. Of rows: equal
after rounding to a hundredth of each column's deviation.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from unnoise.data import SPLITS, Source
from unnoise.data.finite import chunks

BITS = 3  # of 64 in which the hashes of near-copies may differ
NEAR = 0.03  # of the range: how far thumbnails of near-copies may be apart, root mean square
CROWD = 64  # items of one band that are compared with each other; more are compared with the first of them
THUMB = 8  # sides of a thumbnail
STEP = 0.01  # of a column's deviation, to which rows are rounded
SPACE = 8  # numbers of a row from which on near-copies tell something: in fewer, many rows lie as near by chance

Rows = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Copies:
    """Groups of items that are the same, or nearly: their places among all items, each group ascending."""

    groups: Sequence[Sequence[int]] = ()
    across: int = 0  # groups with items in more than one of the parts

    @property
    def surplus(self) -> int:
        """Items that would go if one of each group stayed."""
        return sum(len(group) - 1 for group in self.groups)


@dataclass(frozen=True)
class Column:
    """One column of rows, or one channel of items."""

    name: str
    low: float
    mean: float
    high: float
    deviation: float
    whole: bool  # whole numbers alone

    @property
    def constant(self) -> bool:
        return self.low == self.high


@dataclass(frozen=True, eq=False)
class Census:
    """All that was counted. Places are among all items: those of train first, then validation, then test."""

    raw: str  # image, points or array
    counts: Mapping[str, int]  # items of each part
    shape: tuple[int, ...]  # of one raw item
    dtype: str
    labels: Mapping[str, int]
    columns: Sequence[Column]
    constant: int  # items that are one number throughout
    exact: Copies
    near: Copies  # beyond the exact ones
    sizes: Sequence[tuple[int, int, int]] = ()  # (height, width, count) of the files' pictures, commonest first
    skipped: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()
    missing: Mapping[str, int] = field(default_factory=dict[str, int])  # gaps by column

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def imbalance(self) -> float:
        """How many times as frequent the most frequent label is as the rarest; 1 without labels."""
        return max(self.labels.values()) / max(1, min(self.labels.values())) if self.labels else 1.0


def census(source: Source, names: Sequence[str] = (), missing: Mapping[str, int] | None = None) -> Census:
    """Counts a source. names: of its columns or channels; missing: gaps that were found while reading."""
    parts = {name: source.split(name) for name in SPLITS}
    first = parts["train"].items
    raw, bounds = source.raw, np.cumsum([len(parts[name]) for name in SPLITS])
    columns, exact, constant = _once([parts[name].items for name in SPLITS], raw, names)
    if raw == "image":
        near = _near_pictures([parts[name].items for name in SPLITS], exact)
    else:
        near = _near_rows([parts[name].items for name in SPLITS], columns, exact)
    labels: dict[str, int] = {}
    if source.classes:
        values = np.concatenate([parts[name].cond["label"] for name in SPLITS])
        labels = dict(zip(source.classes, np.bincount(values, minlength=len(source.classes)).tolist(), strict=True))
    facts: Mapping[str, Any] = getattr(source, "facts", {})
    return Census(
        raw=raw,
        counts={name: len(parts[name]) for name in SPLITS},
        shape=tuple(first.shape[1:]),
        dtype=str(first.dtype),
        labels=labels,
        columns=columns,
        constant=constant,
        exact=_copies(exact, bounds),
        near=_copies(near, bounds),
        sizes=[(int(h), int(w), int(n)) for h, w, n in facts.get("sizes", ())],
        skipped=list(source.skipped),
        warnings=list(getattr(source, "warnings", ())),
        missing=missing or {},
    )


def _pieces(lots: Sequence[Rows]) -> Iterator[tuple[int, Rows]]:
    """(place of the first, rows) of every piece of every part."""
    start = 0
    for lot in lots:
        for rows in chunks(lot):
            yield start + rows.start, np.asarray(lot[rows])
        start += len(lot)


def _once(lots: Sequence[Rows], raw: str, names: Sequence[str]) -> tuple[list[Column], list[list[int]], int]:
    """One pass: each column's (or channel's) range, exact copies by hash, and items without any variation."""
    seen: dict[bytes, list[int]] = {}
    low = high = total = square = whole = shift = np.zeros(0)
    count, constant = 0, 0
    for start, part in _pieces(lots):
        flat = part.reshape(len(part), part.shape[1] if part.ndim > 1 else 1, -1).astype(np.float64)
        if not len(low):
            shift = flat.mean(axis=(0, 2))  # sums about a first mean keep their digits
            low, high = np.full(len(shift), np.inf), np.full(len(shift), -np.inf)
            total, square, whole = np.zeros(len(shift)), np.zeros(len(shift)), np.ones(len(shift), bool)
        low, high = np.minimum(low, flat.min(axis=(0, 2))), np.maximum(high, flat.max(axis=(0, 2)))
        whole = whole & (flat == np.rint(flat)).all(axis=(0, 2))
        centred = flat - shift[:, None]
        total, square = total + centred.sum(axis=(0, 2)), square + (centred**2).sum(axis=(0, 2))
        count += flat.shape[0] * flat.shape[2]
        if flat[0].size > 1:
            constant += int((flat.min(axis=(1, 2)) == flat.max(axis=(1, 2))).sum())
        for i, item in enumerate(np.ascontiguousarray(part)):
            seen.setdefault(hashlib.blake2b(item.tobytes(), digest_size=16).digest(), []).append(start + i)
    mean = total / count
    deviation = np.sqrt(np.maximum(square / count - mean**2, 0))
    what = "channel" if raw != "points" else "x"
    columns = [
        Column(
            names[k] if k < len(names) else f"{what}{k + 1}",
            float(low[k]), float(mean[k] + shift[k]), float(high[k]), float(deviation[k]), bool(whole[k]),
        )
        for k in range(len(low))
    ]  # fmt: skip
    return columns, [group for group in seen.values() if len(group) > 1], constant


def _near_pictures(lots: Sequence[Rows], exact: Sequence[Sequence[int]]) -> list[list[int]]:
    """Groups of pictures that look the same; of exact copies the first stands for all."""
    hashes: list[npt.NDArray[np.uint8]] = []
    thumbs: list[npt.NDArray[np.float32]] = []
    for _, part in _pieces(lots):
        x = torch.from_numpy(part.astype(np.float32)).mean(dim=1, keepdim=True)
        wide = F.adaptive_avg_pool2d(x, (8, 9))[:, 0]
        hashes.append(np.packbits((wide[:, :, 1:] > wide[:, :, :-1]).flatten(1).numpy(), axis=1))
        thumbs.append(F.adaptive_avg_pool2d(x, THUMB).flatten(1).numpy())
    bits, small = np.concatenate(hashes), np.concatenate(thumbs)
    reach = NEAR * float(max(small.max() - small.min(), 1e-9))
    joined = _Joined(len(bits))
    twins = {place for group in exact for place in group[1:]}
    alone = np.array([place for place in range(len(bits)) if place not in twins], np.int64)
    for band in range(4):
        keys = bits[alone, 2 * band : 2 * band + 2].astype(np.uint32) @ np.array([256, 1], np.uint32)
        order = np.argsort(keys, kind="stable")
        for run in np.split(alone[order], np.flatnonzero(np.diff(keys[order])) + 1):
            for i, place in enumerate(run[:-1] if len(run) <= CROWD else run[:1]):
                rest = run[i + 1 :]
                apart = np.unpackbits(bits[rest] ^ bits[place], axis=1).sum(axis=1)
                far = np.sqrt(((small[rest] - small[place]) ** 2).mean(axis=1))
                for other in rest[(apart <= BITS) & (far <= reach)]:
                    joined.join(int(place), int(other))
    return joined.groups()


def _near_rows(lots: Sequence[Rows], columns: Sequence[Column], exact: Sequence[Sequence[int]]) -> list[list[int]]:
    """Groups of rows (or of items pooled to a few numbers) that are equal after rounding."""
    if lots[0][:1].size < SPACE:
        return []
    scale = np.array([column.deviation or 1.0 for column in columns])
    twins = {place for group in exact for place in group[1:]}
    seen: dict[bytes, list[int]] = {}
    for start, part in _pieces(lots):
        flat = part.reshape(len(part), len(scale), -1).astype(np.float64) / scale[:, None]
        for i, row in enumerate(np.rint(flat / STEP).astype(np.int64)):
            if start + i not in twins:
                key = hashlib.blake2b(row.tobytes(), digest_size=16).digest()
                seen.setdefault(key, []).append(start + i)
    return [group for group in seen.values() if len(group) > 1]


class _Joined:
    """Which places hang together, by a forest of parents."""

    def __init__(self, count: int):
        self._parent = list(range(count))

    def _root(self, place: int) -> int:
        while self._parent[place] != place:
            self._parent[place] = self._parent[self._parent[place]]
            place = self._parent[place]
        return place

    def join(self, a: int, b: int) -> None:
        first, second = sorted((self._root(a), self._root(b)))
        self._parent[second] = first

    def groups(self) -> list[list[int]]:
        found: dict[int, list[int]] = {}
        for place, parent in enumerate(self._parent):
            if parent != place:
                found.setdefault(self._root(place), []).append(place)
        return [[root, *others] for root, others in sorted(found.items())]


def _copies(groups: Sequence[Sequence[int]], bounds: npt.NDArray[np.int64]) -> Copies:
    """The groups, the largest first, and how many of them reach over parts."""
    ordered = sorted((sorted(group) for group in groups), key=lambda group: (-len(group), group[0]))
    across = sum(len(set(np.searchsorted(bounds, group, side="right").tolist())) > 1 for group in ordered)
    return Copies(ordered, across)


__all__ = ["Census", "Column", "Copies", "census"]
