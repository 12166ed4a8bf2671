"""What a data set is: items in raw units with their conditions, in three parts."""

import hashlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError, nearest
from unnoise.reading.windows import Windows, lent, taken

Raw: TypeAlias = npt.NDArray[Any]
if TYPE_CHECKING:
    Leaf: TypeAlias = Raw
else:  # of a condition: an array, or what gives rows as one does when it is asked for them, such as those of a disk
    Leaf: TypeAlias = Any

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Items:
    """Raw items (N, ...) and what is known of each: every leaf of `cond` is (N, ...).

    `items` may be a np.memmap of a file: rows are read when they are asked for. `windows`: the pictures whole, of
    which items are the middles; training takes any window, or (bucketed) pictures of one shape at a time.
    """

    items: Raw
    cond: Mapping[str, Leaf] = field(default_factory=dict[str, Leaf])
    windows: Windows | None = None
    bucketed: bool = False

    def __post_init__(self) -> None:
        for name, leaf in self.cond.items():
            if len(leaf) != len(self.items):
                raise ValueError(f"{len(self.items)} items, but {len(leaf)} values of '{name}'")

    def __len__(self) -> int:
        return len(self.items)

    def __reduce__(self) -> tuple[Any, ...]:
        return _items, (lent(self.items), dict(self.cond), self.windows, self.bucketed)

    def take(self, indices: npt.ArrayLike, rng: np.random.Generator | None = None) -> tuple[Raw, dict[str, Raw]]:
        """The raw batch and its conditions at the given indices, in their order.

        rng: for training's own randomness, where items have one (the place of a random crop); else what stands
        in the middle is taken, the same each time.
        """
        rows = np.asarray(indices, dtype=np.int64)
        cond = {name: leaf[rows] for name, leaf in self.cond.items()}
        if rng is not None and self.windows is not None and not self.bucketed:
            _, _, height, width = self.items.shape
            return self.windows.take(rows, (height, width), rng), cond
        return self.items[rows], cond


def _items(items: Any, *rest: Any) -> Items:
    return Items(taken(items), *rest)


def join(*parts: Items) -> Items:
    """Several lots of one source, one after the other; every lot has the same conditions."""
    names = parts[0].cond.keys()
    return Items(
        np.concatenate([part.items for part in parts]),
        {name: np.concatenate([part.cond[name] for part in parts]) for name in names},
    )


class Source(ABC):
    """Where items come from. Two equal sources give equal items.

    A class may state `raw` and `classes` once for all (as ClassVars), or find them in its data.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def raw(self) -> str:
        """Which modality reads the items, a key of MODALITIES: "image", "points" or "array"."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the values of cond["label"], in their order; empty where there are no labels."""
        return ()

    @property
    def values(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the values of each condition that is a label, in their order; other conditions have none."""
        return {"label": self.classes} if self.classes else {}

    @property
    def tells(self) -> Mapping[str, str]:
        """What a model is told of these data unless a recipe says: the kind of each condition."""
        return {"label": "labels"} if self.classes else {}

    @property
    def digest(self) -> str:
        """SHA-256 of what the data are: equal digests, equal items. Here: of the name and all parameters."""
        known = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        return hashlib.sha256(repr((self.name, known)).encode()).hexdigest()

    @property
    def skipped(self) -> Sequence[tuple[str, str]]:
        """What was found and could not be read: (name, reason) of each."""
        return ()

    def split(self, name: str) -> Items:
        """The part "train", "validation" or "test"; the parts have no item in common."""
        if name not in SPLITS:
            raise UserError(f"there is no split '{name}'; {nearest(name, SPLITS)}")
        return self._split(name)

    @abstractmethod
    def _split(self, name: str) -> Items: ...


@dataclass(frozen=True, kw_only=True)
class World(Source):
    """A source without end. Its splits are draws that no seed of `draw` repeats.

    items: size of the training part; held_out: size of validation and of test; seed: which draw they are.
    Item i of a draw depends on (world, seed, i) alone: a longer draw begins with the shorter one.
    """

    items: int = 100_000
    held_out: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("items", "held_out"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is a number of items, at least 1, got {getattr(self, name)}")

    def draw(self, n: int, seed: int) -> Items:
        """n fresh items of the truth."""
        if n < 0:
            raise UserError(f"a draw has 0 items or more, got {n}")
        return self._make(n, self.name, "draw", seed)

    def _split(self, name: str) -> Items:
        return self._make(self.items if name == "train" else self.held_out, self.name, name, self.seed)

    @abstractmethod
    def _make(self, n: int, *words: int | str) -> Items:
        """n items as a function of the words, through rng.host."""


__all__ = ["SPLITS", "Items", "Leaf", "Raw", "Source", "World", "join"]
