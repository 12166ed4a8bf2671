"""One set of items against another, as they lie on the disk: every measure, its interval, and what chance makes of it.

Two numbers are told of a measure. Of all items, as other programs print it. And of equal numbers of both, beside what
one half of the second set reads against its other half: most measures lean with the count, so only that pair says
whether the sets differ.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError, choose
from unnoise.metrics.distances import flat
from unnoise.metrics.interval import about, clipped, over_halves
from unnoise.metrics.lots import Features, some
from unnoise.metrics.measure import Measure, row
from unnoise.metrics.rules import MEASURES, Rule
from unnoise.metrics.sets import BATCH, Set
from unnoise.metrics.statistics import Statistics
from unnoise.rng import host

Raw = npt.NDArray[Any]
MOST = 10_000  # items whose numbers are kept, at random: all measures but the Fréchet distance are read on them
BYTES = 1 << 29  # of numbers kept of a set: of very many columns fewer items
WIDEST = 4096  # columns of which a covariance is kept: 134 MB
TOGETHER = 1024  # items that a covariance hears of at once: each time costs some passes over all its numbers
LOT = 1000  # items that the spread of a measure is taken of, at most
SPLITS, FEW_SPLITS = 5, 2  # ways to halve the second set; of wide features few, whose distances take long
WIDE = 512
LEAST = 24  # items of the second set, half as many of the first: halves of these have 5 neighbours each


class Plain:
    """Raw items as they are, flattened: the numbers that stand for themselves."""

    name, digest, by_place = "raw", "", True

    def features(self, raw: Raw) -> Raw:
        """(N, D)."""
        return raw.reshape(len(raw), -1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Side:
    """A set as it was read: its statistics over all items, and the numbers of some MOST of them.

    reader: what read the numbers; shape: of an item, where numbers belong to places in it.
    """

    name: str
    count: int
    statistics: Statistics | None
    features: Raw | None = None
    probabilities: Raw | None = None
    left_out: int = 0
    reader: str = "raw"
    shape: tuple[int, ...] = ()

    def numbers(self, kind: str) -> Raw | None:
        return self.probabilities if kind == "probabilities" else self.features


@dataclass(frozen=True)
class Compared:
    """A measure of A against B.

    value: of all items (or of `used` of each); low, high: its 95 % interval by half samples, None where only
    statistics are known. equal: of equal counts, beside the floor of B against itself.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    used: tuple[int, int]
    features: str
    text: str
    warning: str
    equal: Measure | None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "equal": None if self.equal is None else self.equal.to_json()}


def standard(features: Features) -> tuple[str, ...]:
    """The measures that are asked of two sets where none is named."""
    of_features = () if isinstance(features, Plain) else ("frechet", "kid")
    return (*of_features, "two_sample", "coverage", "density", "precision", "recall")


def asked(names: Sequence[str] | None, features: Features) -> tuple[str, ...]:
    """The measures by these names ("all": every one that can be asked of two sets), or the standard ones."""
    if names is None:
        return standard(features)
    classes = hasattr(features, "probabilities")
    able = [
        name
        for name, rule in MEASURES.items()
        if rule.numbers in ("features", "either") or (rule.numbers == "probabilities" and classes)
    ]
    for name in names:
        if name != "all" and choose("measure", name, MEASURES) and name not in able:
            needs = "class probabilities" if MEASURES[name].numbers == "probabilities" else "training items or labels"
            raise UserError(f"{name} takes {needs}, which {features.name} features of two sets do not have")
    return tuple(dict.fromkeys(able if "all" in names else names))


def gather(of: Set, features: Features | None, probabilities: bool = False, most: int = MOST) -> Side:
    """A set read once, in memory for a batch, for statistics, and for the numbers of `most` items at random."""
    if of.statistics is not None:
        return Side(of.name, of.statistics.count, of.statistics)
    reader: Any = features or Plain()
    kept, classes = _Kept(most), _Kept(most)
    statistics: Statistics | None = None
    waiting: list[Raw] = []
    shape: tuple[int, ...] = ()

    def settle() -> None:
        nonlocal statistics
        rows = np.concatenate(waiting)
        waiting.clear()
        start = Statistics.empty(rows.shape[1], reader.name, reader.digest, of.name)
        statistics = (statistics or start).update(rows)

    for part in _merged(of):
        rows = flat(reader.features(part))
        of_item = part.shape[1:] if getattr(reader, "by_place", False) else ()
        if kept.shape is not None and (rows.shape[1:] != kept.shape or of_item != shape):
            raise UserError(
                f"{of.path} holds pictures of several sizes: bring them to one (--size), or name --features"
            )
        shape = of_item
        kept.add(rows.astype(np.float32))
        if probabilities:
            classes.add(reader.probabilities(part).astype(np.float32))
        if rows.shape[1] <= WIDEST:
            waiting.append(rows)
            if sum(map(len, waiting)) >= TOGETHER:
                settle()
    if waiting:
        settle()
    found = classes.rows if probabilities else None
    return Side(of.name, kept.seen, statistics, kept.rows, found, len(of.left_out), reader.name, shape)


def _merged(of: Set) -> Iterator[Raw]:
    """The batches of a set, small neighbours of one shape together again."""
    waiting: list[Raw] = []
    for part in of.batches():
        if waiting and (waiting[0].shape[1:] != part.shape[1:] or sum(map(len, waiting)) + len(part) > BATCH):
            yield np.concatenate(waiting)
            waiting = []
        waiting.append(part)
    if waiting:
        yield np.concatenate(waiting)


class _Kept:
    """`most` rows at random of all that are added, each as likely (Vitter's algorithm R, 1985)."""

    def __init__(self, most: int) -> None:
        self.most, self.seen, self._parts, self._rng = most, 0, list[Raw](), host("kept", most)

    @property
    def shape(self) -> tuple[int, ...] | None:
        return self._parts[0].shape[1:] if self._parts else None

    @property
    def rows(self) -> Raw:
        return np.concatenate(self._parts)

    def add(self, rows: Raw) -> None:
        if not self.seen:
            self.most = min(self.most, max(LEAST, BYTES // (4 * rows.shape[1])))
        free = max(self.most - self.seen, 0)
        if free and len(rows):
            self._parts.append(rows[:free].copy())
        if free < len(rows):
            if len(self._parts) > 1:
                self._parts = [self.rows]
            for i, one in enumerate(rows[free:], self.seen + free):
                place = int(self._rng.integers(0, i + 1))
                if place < self.most:
                    self._parts[0][place] = one
        self.seen += len(rows)


def between(a: Side, b: Side, names: Sequence[str], told: Callable[[str], None] = lambda name: None) -> list[Compared]:
    """Every measure of A against B. told: hears the name of each before it is computed."""
    if a.features is not None and b.features is not None and a.features.shape[1] != b.features.shape[1]:
        sizes = f"{a.features.shape[1]:,} and {b.features.shape[1]:,} numbers"
        raise UserError(f"{a.name} and {b.name} hold items of {sizes}: bring pictures to one size (--size)")
    if _sides(a) != _sides(b) and min(len(_sides(a)), len(_sides(b))) > 1:
        sizes = " and ".join(" × ".join(map(str, side.shape)) for side in (a, b))
        raise UserError(f"{a.name} and {b.name} hold items of {sizes}: bring pictures to one size (--size)")
    if a.features is not None and b.features is not None and (a.count < LEAST // 2 or b.count < LEAST):
        raise UserError(
            f"a measure takes {LEAST // 2} items of the first set and {LEAST} of the second, "
            f"got {a.count} and {b.count}"
        )
    if a.statistics is not None and b.statistics is not None:
        a.statistics.comparable(b.statistics)
    found: list[Compared] = []
    for name in names:
        rule = MEASURES[name]
        kind = "probabilities" if rule.numbers == "probabilities" else "features"
        x, y = a.numbers(kind), b.numbers(kind)
        told(name)
        if x is None or y is None:
            if name != "frechet":
                without = (a if x is None else b).name
                raise UserError(f"{without} holds statistics, which tell the Fréchet distance alone, and no {name}")
            found.append(_of_statistics(rule, a, b))
        else:
            found.append(_of_rows(name, rule, a, b, x, y))
    return found


def _sides(of: Side) -> tuple[int, ...]:
    """An item's shape without axes of one; a single axis is a row, whose places nobody knows."""
    return tuple(side for side in of.shape if side > 1)


def _of_statistics(rule: Rule, a: Side, b: Side) -> Compared:
    if a.statistics is None or b.statistics is None:
        raise UserError("a Fréchet distance from statistics takes those of both sets, and these features are too many")
    columns = len(a.statistics.mean)
    counts = [side.count for side in (a, b) if side.count]
    warning = rule.warning(min(counts), columns) if counts else ""
    value = a.statistics.frechet(b.statistics)
    name = a.statistics.features or b.statistics.features or "features"
    return Compared("frechet", value, None, None, (a.count, b.count), name, rule.text, warning, None)


def _of_rows(name: str, rule: Rule, a: Side, b: Side, x: Raw, y: Raw) -> Compared:
    features = a.reader
    columns, n = x.shape[1], min(len(x), len(y), rule.most)
    whole = name == "frechet" and a.statistics is not None and b.statistics is not None
    if whole and a.statistics is not None and b.statistics is not None and min(a.count, b.count) > columns:
        used, value = (a.count, b.count), a.statistics.frechet(b.statistics)
    elif name == "frechet":  # of fewer items than columns no covariance is needed
        used, value = (len(x), len(y)), rule.of(x, y)
    else:  # neighbours mean nothing between sets of different counts
        used, value = (n, n), rule.of(x[some(len(x), n)], y[some(len(y), n)])
    lot = min(n, LOT)
    spread = over_halves(rule.of, x[some(len(x), lot)], y[some(len(y), lot)]) * np.sqrt(lot / min(used))
    low, high = clipped(about(value, spread), rule.span)
    equal = _equal(name, rule, x, y, features)
    return Compared(name, value, low, high, used, features, rule.text, rule.warning(min(used), columns), equal)


def _equal(name: str, rule: Rule, x: Raw, y: Raw, features: str) -> Measure:
    """n of A against n of B beside n other ones of B against these: n as many as half of B has, and A."""
    n = min(len(x), len(y) // 2, rule.most)
    values, floors = list[float](), list[float]()
    for split in range(SPLITS if x.shape[1] <= WIDE or n < WIDE else FEW_SPLITS):
        rng = host("split", split)
        mine, theirs = rng.permutation(len(x))[:n], rng.permutation(len(y))
        held, other = y[np.sort(theirs[:n])], y[np.sort(theirs[n : 2 * n])]
        values.append(rule.of(x[np.sort(mine)], held))
        floors.append(rule.of(other, held))
    text = f"{rule.text}; {n:,} items against {n:,}; floor: {n:,} others of the second set in their place"
    made = row(name, values, floors, better=rule.better, count=n, protocol=text)
    return replace(made, features=features, warning=rule.warning(n, x.shape[1]))


__all__ = ["MOST", "Compared", "Plain", "Side", "asked", "between", "gather", "standard"]
