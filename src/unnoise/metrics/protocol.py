"""How samples are judged: which items they stand against, how many, how often, and by which measures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError, nearest
from unnoise.data import Items, Source, World, join
from unnoise.metrics.classifier import CLASSIFIERS, Classifier
from unnoise.metrics.distances import frechet, sliced_wasserstein
from unnoise.metrics.measure import Measure, row
from unnoise.metrics.neighbours import (
    coverage,
    density,
    match,
    precision,
    recall,
    two_sample,
)
from unnoise.modality import Modality
from unnoise.rng import host, key

FLOORS = 20  # draws of real items that the floor of a finite source is the mean of
HELD_OUT = ("test", "validation")  # the parts that samples may stand against
COPIES = 0.01  # the share of held-out items that count as near-copies: the threshold's quantile
PLANE = 6  # points of more dimensions are judged in smaller draws: their neighbours cost more
LEAST, FEW = 7, 16  # held-out items that neighbours can be asked of; samples drawn where there are fewer
MANY, MOST = 1000, 5000  # items of a draw at most: of many dimensions, and of points in up to PLANE

Better = Literal["lower", "higher", "half"]
Raw = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Protocol:
    """`draws` lots of `count` samples against as many held-out real items; and real items in their place.

    A finite source: every lot stands against the part `against` (a stratified subset where it holds more
    than `count`), and the floor is FLOORS stratified random subsets of the other items. A world: every
    lot has fresh real items of its own, and the floor is one more fresh lot. A part of fewer than LEAST items has
    no neighbourhoods to speak of: then near-copies and labels alone are told.

    modality: in whose distances all is measured, so that columns of different units count alike; silent: raw units.
    """

    source: Source
    draws: int
    count: int
    against: str = "test"
    classifier: Classifier | None = None
    modality: Modality | None = None

    def __post_init__(self) -> None:
        if self.draws < 1 or self.count < LEAST:
            raise UserError(
                f"a protocol has at least 1 draw of {LEAST} samples (5 neighbours are asked), "
                f"got {self.draws} of {self.count}"
            )

    @cached_property
    def references(self) -> list[Items]:
        """The real items that each draw of samples is held against."""
        if isinstance(self.source, World):
            return [self.source.draw(self.count, key("reference", i)) for i in range(self.draws)]
        items = self.source.split(self.against)
        if len(items) < LEAST:
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
        lots = [_gathered(pool, stratified(rows, self.count, i)) for i in range(FLOORS)]
        return [(lot, self.references[0]) for lot in lots]

    @cached_property
    def floors(self) -> dict[str, list[float]]:
        """What the comparisons with real items read where real items stand: known once, for all samples."""
        return {
            name: [rule(self._near(real.items), self._near(held.items)) for real, held in self.reals]
            for name, (rule, _, _) in self._comparisons.items()
        }

    @property
    def labels(self) -> npt.NDArray[np.int64] | None:
        """The labels to draw samples for, (draws, count): those of the real items; None without classes."""
        if not self.source.classes:
            return None
        return np.stack([np.resize(items.cond["label"], self.count) for items in self.references])

    def measure(self, samples: Raw, labels: npt.NDArray[np.int64] | None = None) -> list[Measure]:
        """The table for samples (draws, count, ...) in raw units; labels (draws, count): what was asked for."""
        item = self.references[0].items.shape[1:]
        if samples.shape != (self.draws, self.count, *item):
            raise UserError(
                f"this protocol takes samples of the shape {(self.draws, self.count, *item)}, got {samples.shape}"
            )
        pairs = list(zip(samples, self.references, strict=True))
        rows = [
            row(
                name,
                [rule(self._near(lot), self._near(ref.items)) for lot, ref in pairs],
                self.floors[name],
                better=better,
                count=self.count,
                protocol=f"{text}; {self._against}",
            )
            for name, (rule, better, text) in self._comparisons.items()
        ]
        return rows + self._beside_training(samples, labels)

    def _near(self, raw: Raw) -> Raw:
        """Raw items in the numbers that distances are read in."""
        return raw if self.modality is None else self.modality.distances(raw)

    @property
    def _against(self) -> str:
        if isinstance(self.source, World):
            return f"{self.count} samples against {self.count} fresh real items; floor: fresh real items"
        return (
            f"{self.count} samples against {self.count} of {self.against}; "
            f"floor: {FLOORS} stratified draws of {self.count} other real items"
        )

    @cached_property
    def _comparisons(self) -> dict[str, tuple[Callable[[Raw, Raw], float], Better, str]]:
        """name → rule(samples, real), which way is better, what it is."""
        if len(self.references[0]) < LEAST:
            return {}
        two: dict[str, tuple[Callable[[Raw, Raw], float], Better, str]] = {
            "two_sample": (two_sample, "half", "leave-one-out accuracy of the nearest neighbour"),
            "coverage": (
                lambda x, real: coverage(real, x),
                "higher",
                "share of real items with a sample nearer than their 5th real neighbour",
            ),
        }
        if self.source.raw != "image":
            text = "sliced 2-Wasserstein distance, 128 directions"
            return {"sliced_wasserstein": (sliced_wasserstein, "lower", text), **two}
        if (judge := self.classifier) is not None:
            seen: dict[int, Raw] = {}  # features of real items, by identity: self holds these alive

            def features(real: Raw) -> Raw:
                if id(real) not in seen:
                    seen[id(real)] = judge.features(real)
                return seen[id(real)]

            first: dict[str, tuple[Callable[[Raw, Raw], float], Better, str]] = {
                "frechet": (
                    lambda x, real: frechet(judge.features(x), features(real)),
                    "lower",
                    "Fréchet distance of the stored classifier's features",
                )
            }
            two = {**first, **two}
        return {
            **two,
            "density": (lambda x, real: density(real, x), "higher", "real 5-neighbour balls around a sample, over 5"),
            "precision": (
                lambda x, real: precision(real, x), "higher", "share of samples in a real 5-neighbour ball"
            ),
            "recall": (lambda x, real: recall(real, x), "higher", "share of real items in a sample's 5-neighbour ball"),
        }  # fmt: skip

    def _beside_training(self, samples: Raw, labels: npt.NDArray[np.int64] | None) -> list[Measure]:
        """Near-copies of training items (but of points without end) and the accuracy of labels, where asked for."""
        copied, named = self.source.raw == "image" or not isinstance(self.source, World), labels is not None
        if not copied and not named:
            return []
        train, held_out = self.source.split("train"), self.source.split(self.against)
        if isinstance(self.source, World):
            held_out = Items(*held_out.take(np.arange(min(self.count, len(held_out)))))
        elif len(held_out) > MOST:  # enough for a share of one percent
            held_out = Items(*held_out.take(stratified(held_out, MOST, 0)))
        matches = [match(self._near(lot), train.items, self._near) for lot in samples]
        matched = match(self._near(held_out.items), train.items, self._near)
        rows: list[Measure] = []
        if copied:
            threshold = float(np.quantile(matched[1], COPIES))
            rows.append(
                row(
                    "near_copies",
                    [(distance < threshold).mean() for _, distance in matches],
                    (matched[1] < threshold).mean(),
                    better="lower",
                    count=self.count,
                    share_of=len(held_out),
                    protocol=f"share of samples nearer than {threshold:.3g} to a training item, the 1st "
                    f"percentile of {self.against} items' nearest distances; floor: {self.against} items",
                )
            )
        if labels is not None:
            judge = self.classifier

            def names(items: Raw, nearest: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
                return judge.predict(items) if judge is not None else train.cond["label"][nearest]

            who = "the stored classifier" if judge is not None else "the nearest training item"
            pairs = zip(samples, matches, labels, strict=True)
            rows.append(
                row(
                    "label_accuracy",
                    [(names(lot, index) == asked).mean() for lot, (index, _), asked in pairs],
                    (names(held_out.items, matched[0]) == held_out.cond["label"]).mean(),
                    better="higher",
                    count=self.count,
                    share_of=len(held_out),
                    protocol=f"share of samples that {who} gives the label asked for; floor: {self.against} items",
                )
            )
        return rows


def protocol(source: Source, against: str = "test", modality: Modality | None = None) -> Protocol:
    """The standard protocol of a source, in the distances of `modality`.

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
    return Protocol(source, draws, count, against, judge, modality)


def _gathered(parts: Sequence[Items], rows: npt.NDArray[np.int64]) -> Items:
    """The items at these places of the parts, one part after the other; rows ascend."""
    ends = np.cumsum([0, *map(len, parts)])
    inside = [rows[(rows >= first) & (rows < end)] - first for first, end in pairwise(ends)]
    return join(*(Items(*part.take(own)) for part, own in zip(parts, inside, strict=True)))


def stratified(items: Items, n: int, seed: int) -> npt.NDArray[np.int64]:
    """Indices of n items at random, each label with its share to the nearest whole item: (n,) ascending."""
    rng = host("stratified", seed)
    order = rng.permutation(len(items))
    if n < len(items) and "label" in items.cond:
        label = items.cond["label"][order]
        # The i-th of a label's items, in random order, stands at (i + 1/2) / size: the first n by this
        # place hold every label in proportion.
        place = np.empty(len(items))
        for kind in np.unique(label):
            rows = np.flatnonzero(label == kind)
            place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
        order = order[np.argsort(place, kind="stable")]
    return np.sort(order[:n])


__all__ = ["FLOORS", "Protocol", "protocol", "stratified"]
