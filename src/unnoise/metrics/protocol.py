"""How samples are judged: which items they stand against, how many, how often, and by which measures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError, choose, nearest
from unnoise.data import Items, Source, World
from unnoise.metrics.classifier import CLASSIFIERS, Classifier
from unnoise.metrics.interval import about, clipped, halved, of_share, over_draws, over_halves
from unnoise.metrics.lots import Features, Lot, gathered, some, stratified
from unnoise.metrics.measure import Measure, row, share_spread
from unnoise.metrics.neighbours import match
from unnoise.metrics.rules import COPIES, MEASURES
from unnoise.modality import Modality
from unnoise.rng import key

FLOORS = 20  # draws of real items that the floor of a finite source is the mean of
FEW_FLOORS = 5  # the same on features that were asked for: a large network reads every item of them
HELD_OUT = ("test", "validation")  # the parts that samples may stand against
PLANE = 6  # points of more dimensions are judged in smaller draws: their neighbours cost more
LEAST, FEW = 7, 16  # held-out items that neighbours can be asked of; samples drawn where there are fewer
ALONE = 12  # items of a draw that stands alone: its halves are asked for its spread
MANY, MOST = 1000, 5000  # items of a draw at most: of many dimensions, and of points in up to PLANE
BESIDE = ("training", "labels")  # what is read beside the training part, not against held-out items

Raw = npt.NDArray[Any]
Kind = Literal["distances", "features", "probabilities"]


@dataclass(frozen=True, eq=False)
class Protocol:
    """`draws` lots of `count` samples against as many held-out real items; and real items in their place.

    A finite source: every lot stands against the part `against` (a stratified subset where it holds more
    than `count`), and the floor is FLOORS stratified random subsets of the other items. A world: every
    lot has fresh real items of its own, and the floor is one more fresh lot. A part of fewer than LEAST items
    (beside a single draw, ALONE) has no neighbourhoods to speak of: then near-copies and labels alone are told.

    modality: in whose distances all is measured, so that columns of different units count alike; silent: raw units.
    features: what features and probabilities are read with; silent: the stored classifier of the source.
    measures: names of MEASURES, or "all" that can be asked; silent: the standard table. Named measures are read on
    `features` where these are given, the standard table's neighbours always on raw items. more: names beside those
    of the standard table (or of `measures`), read as named ones are.
    """

    source: Source
    draws: int
    count: int
    against: str = "test"
    classifier: Classifier | None = None
    modality: Modality | None = None
    features: Features | None = None
    measures: tuple[str, ...] | None = None
    more: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.draws < 1 or self.count < LEAST:
            raise UserError(
                f"a protocol has at least 1 draw of {LEAST} samples (5 neighbours are asked), "
                f"got {self.draws} of {self.count}"
            )
        if isinstance(self.source, World) and self.count < self.least:
            raise UserError(f"a single draw has {ALONE} samples at least (its halves are asked), got {self.count}")
        for name in (*(self.measures or ()), *self.more):
            if name != "all":
                choose("measure", name, MEASURES)
                if missing := self._missing(name):
                    raise UserError(missing)

    @property
    def least(self) -> int:
        """Items of a draw, and of the part it stands against, that comparisons take."""
        return LEAST if self.draws > 1 else ALONE

    @cached_property
    def references(self) -> list[Items]:
        """The real items that each draw of samples is held against."""
        if isinstance(self.source, World):
            return [self.source.draw(self.count, key("reference", i)) for i in range(self.draws)]
        items = self.source.split(self.against)
        if min(len(items), self.count) < self.least:
            return [items] * self.draws
        if self.count > len(items):
            raise UserError(f"{self.against} holds {len(items)} items, fewer than the {self.count} of a draw")
        return [Items(*items.take(stratified(items, self.count, 0)))] * self.draws

    @cached_property
    def reals(self) -> list[tuple[Items, Items]]:
        """Real items where samples stand, each with what they are held against: the floor's draws."""
        if isinstance(self.source, World):
            fresh = [self.source.draw(self.count, key("floor", i)) for i in range(self.draws)]
            return list(zip(fresh, self.references, strict=True))
        pool = [self.source.split(part) for part in ("train", "validation") if part != self.against]
        left = sum(map(len, pool))
        if self.count > left:
            raise UserError(f"{left} items are left for the floor, fewer than the {self.count} of a draw")
        known = [part.cond for part in pool]
        # Rows are chosen before any is read: the training part may be larger than memory.
        rows = Items(np.arange(left), {name: np.concatenate([cond[name] for cond in known]) for name in known[0]})
        lots = [gathered(pool, stratified(rows, self.count, i)) for i in range(FLOORS)]
        return [(lot, self.references[0]) for lot in lots]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The measures that are asked, in their order."""
        asked = (*(self._standard if self.measures is None else self.measures), *self.more)
        if "all" in asked:
            asked = tuple(name for name in MEASURES if not self._missing(name))
        compared = [name for name in asked if MEASURES[name].numbers not in BESIDE]
        if compared and min(len(self.references[0]), self.count) < self.least:
            asked = tuple(name for name in asked if name not in compared)
            if self.measures is not None and not asked:
                raise UserError(
                    f"{self.against} holds {len(self.references[0])} items, and {', '.join(compared)} take "
                    f"{self.least} at least"
                )
        return tuple(dict.fromkeys(asked))

    @property
    def _standard(self) -> tuple[str, ...]:
        """What a report tells of this kind of data."""
        image, judged = self.source.raw == "image", self.features or self.classifier
        names = ["frechet"] if judged and (image or self.features) else []
        names += ["kid"] if self.features else []
        names += [] if image else ["sliced_wasserstein"]
        names += ["two_sample", "coverage", *(("density", "precision", "recall") if image else ())]
        # Of points without end none can be copied.
        names += ["near_copies"] if image or not isinstance(self.source, World) else []
        return (*names, *(["label_accuracy"] if self.source.classes else []))

    def _missing(self, name: str) -> str:
        """Why a measure cannot be asked of this data; silent where it can."""
        numbers = MEASURES[name].numbers
        if numbers == "features" and not (self.features or self.classifier):
            return f"{name} is read on features, and no classifier is stored for {self.source.name}: give --features"
        if numbers == "probabilities" and not hasattr(self.features, "probabilities"):
            return f"{name} is read on class probabilities: give --features that have them, such as inception"
        if numbers == "labels" and not self.source.classes:
            return f"{name} is read on labels, and {self.source.name} has none"
        return ""

    @cached_property
    def floors(self) -> dict[str, list[float]]:
        """What the comparisons with real items read where real items stand: known once, for all samples."""
        return self._compare((self._lot(real.items), self._held[id(held)]) for real, held in self.reals)

    @property
    def labels(self) -> npt.NDArray[np.int64] | None:
        """The labels to draw samples for, (draws, count): those of the real items; None without classes."""
        if not self.source.classes:
            return None
        return np.stack([np.resize(items.cond["label"], self.count) for items in self.references])

    def cond(self, names: Iterable[str]) -> dict[str, Raw]:
        """Of these conditions, what the real items are that samples stand against: values (draws·count, ...)."""
        lots = [items.cond for items in self.references]
        there = [name for name in names if all(name in lot for lot in lots)]
        places = [np.resize(np.arange(len(items)), self.count) for items in self.references]
        return {n: np.concatenate([lot[n][rows] for lot, rows in zip(lots, places, strict=True)]) for n in there}

    def measure(self, samples: Raw, labels: npt.NDArray[np.int64] | None = None) -> list[Measure]:
        """The table for samples (draws, count, ...) in raw units; labels (draws, count): what was asked for."""
        item = self.references[0].items.shape[1:]
        if samples.shape != (self.draws, self.count, *item):
            raise UserError(
                f"this protocol takes samples of the shape {(self.draws, self.count, *item)}, got {samples.shape}"
            )
        held = [self._held[id(items)] for items in self.references]
        pairs = zip((self._lot(part) for part in samples), held, strict=True)
        alone: dict[str, tuple[float, float]] = {}
        if self.draws == 1:  # then the spread of a draw is known from within it alone
            pairs = list(pairs)
            real = self._lot(self.reals[0][0].items)
            for name in self.compared:
                known = len(self.floors[name]) > 1  # a finite source has floors enough
                alone[name] = self._within(name, *pairs[0]), 0.0 if known else self._within(name, real, held[0])
        values = self._compare(pairs)
        rows = [self._row(name, values[name], *alone.get(name, (0.0, 0.0))) for name in self.compared]
        return rows + self._beside_training(samples, labels)

    @property
    def compared(self) -> list[str]:
        """Those of the measures that hold samples against held-out items."""
        return [name for name in self.names if MEASURES[name].numbers not in BESIDE]

    @cached_property
    def _held(self) -> dict[int, Lot]:
        """The lots that stand against samples, by the identity of their items: each is read once."""
        return {id(items): self._lot(items.items) for items in self.references}

    def _lot(self, raw: Raw) -> Lot:
        return Lot(raw, self.modality, self.features or self.classifier)

    def _kind(self, name: str) -> Kind:
        """The numbers that a comparison is read on."""
        numbers = MEASURES[name].numbers
        if numbers == "either":
            own = self.measures is not None or (name in self.more and name not in self._standard)
            return "features" if own and self.features is not None else "distances"
        return "probabilities" if numbers == "probabilities" else "features"

    def _compare(self, pairs: Iterable[tuple[Lot, Lot]]) -> dict[str, list[float]]:
        """Every comparison of every pair of lots, samples (or real items in their place) and real items."""
        found: dict[str, list[float]] = {name: [] for name in self.compared}
        for i, (x, real) in enumerate(pairs):
            for name, values in found.items():
                if i < max(self.draws, FEW_FLOORS) or self.features is None or self._kind(name) == "distances":
                    values.append(MEASURES[name].of(*self._numbers(name, x, real)))
        return found

    def _numbers(self, name: str, x: Lot, real: Lot) -> tuple[Raw, Raw]:
        rows = some(len(x), MEASURES[name].most)
        kind = self._kind(name)
        return getattr(x, kind)[rows], getattr(real, kind)[rows]

    def _within(self, name: str, x: Lot, real: Lot) -> float:
        return over_halves(MEASURES[name].of, *self._numbers(name, x, real))

    def _row(self, name: str, values: list[float], own: float, real: float) -> Measure:
        """The row of a comparison; own, real: the spread of a draw, where there is but one."""
        rule, kind = MEASURES[name], self._kind(name)
        count = min(self.count, rule.most)
        raw = kind == "distances"
        whose = f"{self.features.name}'s" if self.features else "the stored classifier's"
        of = "" if raw else f"{' of' if rule.numbers == 'features' else ', on'} {whose} {kind}"
        columns = int(np.prod(getattr(self._held[id(self.references[0])], kind).shape[1:]))
        many = len(self.floors[name])
        low, high = clipped(over_draws(values) or about(values[0], own), rule.span)
        return row(
            name,
            values,
            self.floors[name],
            better=rule.better,
            count=count,
            protocol=f"{rule.text}{of}; {self._against(many)}",
            alone=(own, real),
            low=low,
            high=high,
            interval=f"{self.draws} draws" if self.draws > 1 else halved(count),
            features="raw" if raw else self._reader,
            warning=rule.warning(count, columns),
        )

    @property
    def _reader(self) -> str:
        return self.features.name if self.features else "stored classifier"

    def _against(self, floors: int) -> str:
        if isinstance(self.source, World):
            return f"{self.count} samples against {self.count} fresh real items; floor: fresh real items"
        return (
            f"{self.count} samples against {self.count} of {self.against}; "
            f"floor: {floors} stratified draws of {self.count} other real items"
        )

    def _beside_training(self, samples: Raw, labels: npt.NDArray[np.int64] | None) -> list[Measure]:
        """Near-copies of training items and the accuracy of labels, where they are asked."""
        copied, named = "near_copies" in self.names, "label_accuracy" in self.names and labels is not None
        if not copied and not named:
            return []
        train, held_out = self.source.split("train"), self.source.split(self.against)
        if isinstance(self.source, World):
            held_out = Items(*held_out.take(np.arange(min(self.count, len(held_out)))))
        elif len(held_out) > MOST:  # enough for a share of one percent
            held_out = Items(*held_out.take(stratified(held_out, MOST, 0)))
        near = Lot(held_out.items, self.modality)
        matches = [match(self._lot(lot).distances, train.items, self._near) for lot in samples]
        matched = match(near.distances, train.items, self._near)
        rows: list[Measure] = []
        if copied:
            threshold = float(np.quantile(matched[1], COPIES))
            rows.append(
                self._share(
                    "near_copies",
                    [(distance, matched[1]) for _, distance in matches],
                    (matched[1], matched[1]),
                    f"share of samples nearer than {threshold:.3g} to a training item, the 1st "
                    f"percentile of {self.against} items' nearest distances; floor: {self.against} items",
                )
            )
        if named and labels is not None:
            judge = self.judge

            def names(items: Raw, nearest: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
                return judge.predict(items) if judge is not None else train.cond["label"][nearest]

            if judge is None:
                who, reader = "the nearest training item", "raw"
            elif judge is self.classifier:
                who, reader = "the stored classifier", "stored classifier"
            else:
                who, reader = f"the {self._reader}", self._reader
            rows.append(
                self._share(
                    "label_accuracy",
                    [
                        (names(lot, index), asked)
                        for lot, (index, _), asked in zip(samples, matches, labels, strict=True)
                    ],
                    (names(held_out.items, matched[0]), held_out.cond["label"]),
                    f"share of samples that {who} gives the label asked for; floor: {self.against} items",
                    reader,
                )
            )
        return rows

    @property
    def judge(self) -> Classifier | None:
        """Who says what label an item has: the stored classifier, or features that have labels; None: the neighbour."""
        return self.classifier or (self.features if isinstance(self.features, Classifier) else None)

    def _share(
        self,
        name: str,
        pairs: Sequence[tuple[Raw, Raw]],
        real: tuple[Raw, Raw],
        text: str,
        reader: str = "raw",
    ) -> Measure:
        """The row of a share: of samples in each draw, and of the held-out items in their place."""
        rule, among = MEASURES[name], len(real[0])
        values = [rule.of(*pair) for pair in pairs]
        floor, total = rule.of(*real), self.draws * self.count
        low, high = of_share(float(np.mean(values)), total)
        return row(
            name,
            values,
            [floor],
            better=rule.better,
            count=self.count,
            protocol=text,
            share_of=among,
            alone=(share_spread(values[0], self.count, self.count), 0.0),
            low=low,
            high=high,
            interval=f"{total:,} items",
            features=reader,
            warning=rule.warning(min(self.count, among), 0),
        )

    def _near(self, raw: Raw) -> Raw:
        """Raw items in the numbers that distances are read in."""
        return Lot(raw, self.modality).distances


def protocol(
    source: Source,
    against: str = "test",
    modality: Modality | None = None,
    features: Features | None = None,
    measures: tuple[str, ...] | None = None,
) -> Protocol:
    """The standard protocol of a source, in the distances of `modality`; features and measures as in Protocol.

    What is finite: as many samples in a draw as there are held-out items, 1000 at most (points in up to 6
    dimensions: 5000), in 5 draws of pictures (digits: of 540, with the stored classifier) or 20 of numbers. Worlds:
    20 draws of 5000 points in up to 6 dimensions; all else 5 draws of 1000 (pictures: of 540). Where the training part
    is smaller than the held-out one, as many as it has; beside a held-out part that is too small, 16 samples.
    """
    if against not in HELD_OUT:
        raise UserError(f"there is no held-out split '{against}'; {nearest(against, HELD_OUT)}")
    make = CLASSIFIERS.get(source.name)
    judge = make() if make is not None else None
    world = isinstance(source, World)
    items = source.draw(1, 0) if world else source.split(against)
    most = MOST if source.raw == "points" and items.items[0].size <= PLANE else MANY
    if world:
        draws, count = (20, MOST) if most == MOST else (5, 540 if source.raw == "image" else MANY)
    else:
        left = sum(len(source.split(part)) for part in ("train", "validation") if part != against)
        draws, count = 5 if source.raw == "image" else 20, min(len(items), left, most)
        count = count if count >= LEAST else FEW
    return Protocol(source, draws, count, against, judge, modality, features, measures)


__all__ = ["FLOORS", "Protocol", "protocol", "stratified"]
