"""Whether pictures show what their prompts tell: objects, attributes, relations, pairs never seen, and variety."""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, permutations
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError
from unnoise.data import Scenes, Source, join
from unnoise.data.grammar import UNTOLD, Told
from unnoise.data.layout import Flags, place_of, relation_of, size_of
from unnoise.metrics.interval import about, clipped, of_share, over_draws
from unnoise.metrics.measure import Better, Measure, row
from unnoise.metrics.reader import READ, read
from unnoise.rng import key
from unnoise.tensor import Array

Raw: TypeAlias = npt.NDArray[Any]
Known: TypeAlias = tuple[float, float]
Ends: TypeAlias = tuple[float | None, float | None]

ATTRIBUTES = ("shape", "colour", "size", "place")
WORDS = ("one", "two", "three")


@dataclass(frozen=True, eq=False)
class Followed:
    """What N pictures show of what they were told to.

    told, right (N, O, 4): which of ATTRIBUTES were told of each object, and which of these are shown; relations and
    obeyed (N, O − 1): the same of each object and the next. counted (N,): whether there are as many objects as told.
    """

    told: Flags
    right: Flags
    relations: Flags
    obeyed: Flags
    counted: Flags

    @property
    def whole(self) -> Flags:
        """(N,): everything that was told is shown, and no object besides."""
        shown = np.all(self.right == self.told, axis=(1, 2))
        return self.counted & shown & np.all(self.obeyed == self.relations, axis=1)

    @property
    def paired(self) -> Flags:
        """(N, O): objects of which both shape and colour are told."""
        return np.all(self.told[..., :2], axis=-1)

    @property
    def pairs(self) -> Flags:
        """(N, O): those of them that show both."""
        return np.all(self.right[..., :2], axis=-1)


def follow(told: Told, pictures: Raw) -> Followed:
    """Reads pictures (N, 3, side, side) of 0 .. 255 and holds them against what was told of them.

    Which object of the picture is which of the prompt is open: the assignment with most right is taken, of equal ones
    that with more relations obeyed. An object that is not there shows nothing.
    """
    seen = read(pictures).layout
    n, objects = told.shape.shape
    asked = np.stack([getattr(told, name) for name in ATTRIBUTES], axis=-1)
    named = np.stack([seen.shape, seen.colour, size_of(seen.size), place_of(seen.position)], axis=-1)
    blank = np.array([UNTOLD[name] for name in ATTRIBUTES])
    given = (asked != blank) & (np.arange(objects) < told.count[:, None])[..., None]
    match = given[:, :, None] & (asked[:, :, None] == named[:, None]) & seen.here[:, None, :, None]  # (N, O, READ, 4)
    relations = told.relation != UNTOLD["relation"]
    ways = list(permutations(range(READ), objects))
    obeyed = np.zeros((len(ways), n, objects - 1), bool)
    score = np.zeros((len(ways), n))
    for k, way in enumerate(ways):
        there = seen.here[:, way]
        shown = relation_of(np.diff(seen.position[:, way], axis=1)) == told.relation
        obeyed[k] = relations & shown & there[:, 1:] & there[:, :-1]
        score[k] = match[:, range(objects), way].sum(axis=(1, 2)) + 0.1 * obeyed[k].sum(axis=1)
    best = score.argmax(axis=0)
    rows = np.arange(n)
    chosen = np.array(ways)[best]
    right = match[rows[:, None], np.arange(objects), chosen]
    return Followed(given, right, relations, obeyed[best, rows], seen.count == told.count)


@dataclass(frozen=True, eq=False)
class Following:
    """`prompts` captions of the scenes' law, and as many that name a pair never seen, each drawn `each` times.

    Prompts are fresh draws (short ones occur in the data as well); the floor is real pictures of the very prompts.
    """

    source: Scenes
    prompts: int = 250
    each: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.prompts < 12 or self.each < 2:
            raise UserError(
                f"12 prompts at least are drawn, each twice at least (variety is asked), "
                f"got {self.prompts} of {self.each}"
            )

    @cached_property
    def cond(self) -> dict[str, Raw]:
        """The conditions of every sample: its caption as "text" and the labels of what it tells.

        Rows (prompts, each), those of pairs never seen after the others where pairs are held out.
        """
        lots = [self.source.draw(self.prompts, key("prompts", self.seed))]
        if self.source.unseen:
            lots.append(self.source.novel(self.prompts, key("prompts", self.seed)))
        rows = np.repeat(np.arange(self.prompts * len(lots)), self.each)
        return {name: leaf[rows] for name, leaf in join(*lots).cond.items()}

    def __len__(self) -> int:
        """Samples in all."""
        return len(self.cond["text"])

    @cached_property
    def told(self) -> Told:
        """What is told of every sample."""
        return Told.of(self.cond)

    @cached_property
    def real(self) -> Raw:
        """A real picture for every sample."""
        return self.source.fulfil(self.told, key("real", self.seed))

    def measure(self, pictures: Raw) -> list[Measure]:
        """The table for pictures (samples, 3, side, side) of 0 .. 255, one of each row of `cond`."""
        if pictures.shape != (len(self), 3, self.source.side, self.source.side):
            side = self.source.side
            raise UserError(f"{len(self)} prompts take pictures {(len(self), 3, side, side)}, got {pictures.shape}")
        ours, real = self._values(pictures), self._floors
        made = [self._row(name, text, ours[name], real[name]) for name, text in TEXTS.items() if len(ours[name])]
        if len(ours["unseen_pairs"]):
            made.append(self._gap(ours, real))
        return made

    def parts(self, pictures: Raw) -> dict[str, float]:
        """The share right of each attribute by itself, over all prompts of the scenes' law."""
        found = follow(self.told, pictures)
        rows = slice(0, self.prompts * self.each)
        told, right = found.told[rows].sum(axis=(0, 1)), found.right[rows].sum(axis=(0, 1))
        return {name: float(right[k] / told[k]) for k, name in enumerate(ATTRIBUTES) if told[k]}

    @cached_property
    def _floors(self) -> dict[str, Array]:
        return self._values(self.real)

    def _values(self, pictures: Raw) -> dict[str, Array]:
        """Every measure of every prompt that it can be asked of."""
        found = follow(self.told, pictures)
        known, count = slice(0, self.prompts), self.told.count[:: self.each]

        def share(right: Flags, told: Flags, rows: Any = known) -> Array:
            """Right of told, prompt by prompt; of those in which something is told."""
            per_prompt = [x.reshape(len(count), -1).sum(axis=1)[rows] for x in (right, told)]
            some = per_prompt[1] > 0
            return per_prompt[0][some] / per_prompt[1][some]

        every = np.ones(len(self), bool)
        values = {
            "attributes": share(found.right, found.told),
            **{
                f"attributes_of_{word}": share(found.right, found.told, np.flatnonzero(count[known] == k))
                for k, word in enumerate(WORDS, 1)
            },
            "objects_counted": share(found.counted, every),
            "relations": share(found.obeyed, found.relations),
            "whole_prompts": share(found.whole, every),
            "seen_pairs": share(found.pairs, found.paired),
            "unseen_pairs": np.empty(0),
            "variety": self._variety(pictures[: self.prompts * self.each]),
        }
        if self.source.unseen:
            strange = self.source.is_strange(self.told.shape, self.told.colour)
            values["unseen_pairs"] = share(found.pairs & strange, found.paired & strange, slice(self.prompts, None))
        return values

    def _variety(self, pictures: Raw) -> Array:
        """The mean distance of two pictures of a prompt, in the whole range: of each prompt."""
        x = pictures.reshape(self.prompts, self.each, -1).astype(np.float32) / 255
        apart = [np.linalg.norm(x[:, a] - x[:, b], axis=1) for a, b in combinations(range(self.each), 2)]
        return np.mean(apart, axis=0).astype(np.float64)

    def _row(self, name: str, text: str, values: Array, real: Array) -> Measure:
        shares = name != "variety"
        known = over_draws(values) if np.ptp(values) else None
        ends = known or (of_share(float(values.mean()), len(values)) if shares else None)
        ours, theirs = ((float(lot.mean()), _error(lot)) for lot in (values, real))
        ends = clipped(ends, (0.0, 1.0 if shares else np.inf))
        return self._measured(name, text, ours, theirs, len(values), "higher", ends)

    def _gap(self, ours: dict[str, Array], real: dict[str, Array]) -> Measure:
        """By how much pairs never seen are shown more rarely than the others."""
        lots = [(lot["seen_pairs"], lot["unseen_pairs"]) for lot in (ours, real)]
        gap, floor = ((float(a.mean() - b.mean()), float(np.hypot(_error(a), _error(b)))) for a, b in lots)
        text = "share of seen pairs shown, less that of pairs never seen"
        return self._measured("unseen_gap", text, gap, floor, len(lots[0][1]), "lower", about(*gap))

    def _measured(
        self, name: str, text: str, ours: Known, real: Known, count: int, better: Better, ends: Ends
    ) -> Measure:
        """A row; ours and real: value and its error over prompts."""
        return row(
            name,
            [ours[0]],
            [real[0]],
            better=better,
            count=count * self.each,
            protocol=f"{text}; {count} prompts, {self.each} samples of each; floor: real pictures of the same prompts",
            alone=(ours[1], real[1]),
            low=ends[0],
            high=ends[1],
            interval=f"{count} prompts",
            features="read off the picture",
        )


TEXTS = {
    "attributes": "share of what is told of objects (shape, colour, size, place) that is shown",
    "attributes_of_one": "share of what is told of a single object that is shown",
    "attributes_of_two": "share of what is told of two objects that is shown",
    "attributes_of_three": "share of what is told of three objects that is shown",
    "objects_counted": "share of samples with as many objects as told",
    "relations": "share of relations told that are shown",
    "whole_prompts": "share of samples that show all that is told, and nothing besides",
    "seen_pairs": "share of objects told by shape and colour that show both",
    "unseen_pairs": "share of objects told by a shape and a colour that no picture of the data has, that show both",
    "variety": "mean distance of two samples of one prompt",
}


def _error(values: Array) -> float:
    """The deviation of a mean over prompts."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def following(source: Source, prompts: int = 250, each: int = 2, seed: int = 0) -> Following:
    """How prompts of a source are checked; UserError where its items have none that can be."""
    if not isinstance(source, Scenes):
        raise UserError(f"prompts of scenes can be checked, and '{source.name}' draws none")
    return Following(source, prompts, each, seed)


__all__ = ["ATTRIBUTES", "TEXTS", "Followed", "Following", "follow", "following"]
