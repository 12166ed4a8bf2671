"""What a condition is: how a value of the data, or of a person's asking, becomes what the network hears."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from unnoise.config import UserError, nearest
from unnoise.data import Source
from unnoise.data.source import Leaf, Raw
from unnoise.modality import Modality
from unnoise.nets.heard import Heard
from unnoise.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Condition(ABC):
    """A node of a recipe: in which way a leaf of the data's cond is told.

    drop: the share of items of which training tells nothing (its null); silent: train.drop.
    """

    drop: float | None = None

    def __post_init__(self) -> None:
        if self.drop is not None and not 0 <= self.drop <= 1:
            raise UserError(f"drop is a share from 0 to 1, got {self.drop}")

    @abstractmethod
    def facts(self, name: str, source: Source) -> dict[str, Any]:
        """What must be known of the data to tell this: plain values, which a run keeps. Of the training part alone."""

    @abstractmethod
    def told(self, name: str, facts: Mapping[str, Any], shape: tuple[int, ...]) -> "Told":
        """How it is told, with these facts, to a network of items of this shape; the data are not asked."""


class Told(ABC):
    """A condition with what is known of the data: to and from numbers, without the data."""

    name: str
    of_text: ClassVar[bool] = False  # whether what a person gives is a prompt

    @property
    @abstractmethod
    def heard(self) -> Heard:
        """What a network of it is built for."""

    @property
    @abstractmethod
    def null(self) -> Raw:
        """The leaf of one item, (...), that says nothing."""

    @property
    def makes(self) -> bool:
        """Whether the leaf is made of the item itself: then the data need not have it."""
        return False

    def made(self, x0: Tensor, rng: np.random.Generator) -> Tensor:
        """The leaf (B, ...) of items as the model sees them, where it is made of them."""
        raise NotImplementedError

    def within(self, modality: Modality) -> "Told":
        """The same, where it must know how raw items become what the model sees."""
        return self

    @abstractmethod
    def encode(self, values: Raw) -> Raw:
        """The data's values (N, ...) → leaf (N, ...) of what the network hears; a missing value becomes the null."""

    def items(self, values: Raw) -> Leaf:
        """As `encode`, of all values of the data: an array, or what gives rows as one does."""
        return self.encode(values)

    @property
    def mark(self) -> str:
        """What stands between values of one sample each, where a person writes several as one text; "": nothing can."""
        return ";"

    @abstractmethod
    def read(self, given: Any) -> Any:
        """What a person gives for one item → a value as the data have it; one line of UserError where it is none."""

    @abstractmethod
    def single(self, given: Any) -> bool:
        """Whether that is meant for all items, and not a sequence of one each."""

    @property
    @abstractmethod
    def expects(self) -> str:
        """What may be given, in a few words."""

    def say(self, value: Any) -> str:
        """A value as a person would give it, for a caption; "" where it says nothing."""
        return str(value)

    def make(self, given: Any) -> Raw:
        """The leaf (...) of one item of which a person says this; None: nothing."""
        return self.null if given is None else np.asarray(self.encode(np.asarray(self.read(given))[None])[0])


def leaf_of(name: str, source: Source) -> Raw:
    """The values of the training part; UserError where the data have none of this name."""
    cond = source.split("train").cond
    if name not in cond:
        known = f"; {nearest(name, list(cond))}" if cond else ": its items are told of by nothing"
        raise UserError(f"data '{source.name}' has no condition '{name}'{known}")
    return cond[name]


__all__ = ["Condition", "Told", "leaf_of"]
