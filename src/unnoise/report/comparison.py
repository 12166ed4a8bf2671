"""What a comparison found: entries beside each other, what was measured of each, and what it says in words.

Plain values, filled by whoever compared; `comparison_page` shows them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from unnoise.config import UserError
from unnoise.report.grids import Picture

Better: TypeAlias = Literal["lower", "higher", "half"]  # "half": 1/2 is the best
Cost: TypeAlias = Literal["seconds_per_sample", "multiply_adds_per_sample", "evaluations", "train_seconds"]
Shown: TypeAlias = Sequence[Picture] | np.ndarray  # images, or points (N, 2)


class Value(NamedTuple):
    """A measured number: the mean over the seeds, its 95 % interval, and what each seed gave."""

    mean: float
    low: float = math.nan  # nan where no interval can be told
    high: float = math.nan
    seeds: Sequence[float] = ()


class Point(NamedTuple):
    """A place on a curve: the mean over the seeds at so many items and seconds of training, and its interval."""

    items: float
    seconds: float
    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A measure as the entries share it: which end is better, and what real items score (the floor)."""

    name: str
    better: Better
    floor: float = math.nan  # nan where there is none
    floor_low: float = math.nan
    floor_high: float = math.nan
    text: str = ""  # how it was measured, in a sentence or two
    warning: str = ""  # where the count is too small to mean anything

    def loss(self, value: float) -> float:
        """How far from the best, on this measure's own scale: less is better whatever `better` says."""
        return {"lower": value, "higher": -value, "half": abs(value - 0.5)}[self.better]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One of the things compared: its settings, what it cost, what it reached."""

    name: str
    settings: Mapping[str, str] = field(default_factory=dict[str, str])  # axis → value, as a person would type it
    values: Mapping[str, Value] = field(default_factory=dict[str, Value])  # measure → what was measured
    train_seconds: float | None = None  # mean over the seeds; None where nothing was trained for this
    items: int | None = None  # seen in training
    parameters: int | None = None
    multiply_adds: int | None = None  # of one evaluation, for one item
    evaluations: int | None = None  # for one sample
    seconds_per_sample: float | None = None
    curve: Sequence[Point] = ()  # of Comparison.curve_of, in order of items
    quality_curve: Sequence[Point] = ()  # of the judged measure at milestones of training
    front: bool = False  # no other entry is as good at less of Comparison.cost
    diverse: bool = False  # no other entry is both as good and as diverse
    won: bool = False  # the best by the judged measure
    tied: bool = False  # cannot be told from the best by these seeds
    note: str = ""  # what a reader must know of this entry alone: "12 of 32 k items trained"

    def cost(self, kind: Cost) -> float:
        """What a sample (or the training) costs; nan where it is not known."""
        each, asked = self.multiply_adds, self.evaluations
        found = {
            "seconds_per_sample": self.seconds_per_sample,
            "multiply_adds_per_sample": None if each is None or asked is None else each * asked,
            "evaluations": asked,
            "train_seconds": self.train_seconds,
        }[kind]
        return math.nan if found is None else float(found)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Entries that differ along named axes, all else equal; what is empty leaves no trace on the page."""

    title: str
    verdict: str  # what won, by how much, and whether that is more than noise: one or two sentences, said first
    entries: Sequence[Entry]
    measures: Sequence[Scale]
    judged: str  # the measure that the verdict is about, and that sorts the table
    axes: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])  # what was varied → its values
    advice: Sequence[str] = ()  # further sentences below the verdict
    diversity: str = ""  # the measure of diversity, drawn against quality
    cost: Cost = "multiply_adds_per_sample"  # what the front of quality and cost was taken over
    seeds: str = "training seeds"  # what the interval is over: "training seeds", "draws of samples"
    count: int = 0  # how many of them each entry has
    curve_of: str = "held-out loss"
    curve_best: float = math.nan  # the least possible, where it is known
    pictures: Mapping[str, Shown] = field(default_factory=dict[str, Shown])  # entry's name → its samples
    columns: Sequence[str] = ()  # a short name of each column of pictures: its seed, or its class
    shared: str = "its seed"  # what the pictures of one column have in common: "its seed and its class"
    real: Shown | None = None  # real items, for the eye
    facts: Mapping[str, str] = field(default_factory=dict[str, str])  # data, device, versions: small print
    command: str = ""  # what makes this page again
    recipe: str = ""  # the sweep or recipe, as YAML

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.entries]
        if not names or len(set(names)) != len(names):
            raise UserError(f"a comparison needs entries of different names, got {names}")
        if self.judged not in {scale.name for scale in self.measures}:
            raise UserError(
                f"the judged measure '{self.judged}' is none of {', '.join(scale.name for scale in self.measures)}"
            )

    def scale(self, name: str) -> Scale:
        """The measure of that name."""
        return next(scale for scale in self.measures if scale.name == name)

    @property
    def ranked(self) -> list[Entry]:
        """The best first by the judged measure; those without a value last; equals in their given order."""
        scale = self.scale(self.judged)

        def place(entry: Entry) -> float:
            found = entry.values.get(self.judged)
            return math.inf if found is None or not math.isfinite(found.mean) else scale.loss(found.mean)

        return sorted(self.entries, key=place)


__all__ = ["Better", "Comparison", "Cost", "Entry", "Point", "Scale", "Shown", "Value"]
