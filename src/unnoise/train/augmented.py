"""Feeds around a feed: items augmented, whose conditions say how; and conditions made of the items themselves."""

from dataclasses import dataclass

from unnoise import rng
from unnoise.augment import Augment
from unnoise.tensor import Tensor
from unnoise.train.order import Feed, Made


@dataclass(frozen=True)
class Augmented:
    """The feed within, each batch changed as a function of (seed, its first item); what is told is cond["augment"]."""

    feed: Feed
    augment: Augment
    seed: int = 0

    def __call__(self, first: int, size: int) -> tuple[Tensor, dict[str, Tensor]]:
        x0, cond = self.feed(first, size)
        x0, told = self.augment(x0, rng.host(self.seed, "augment", first))
        return x0, {**cond, "augment": told} if self.augment.width else cond


@dataclass(frozen=True)
class Shown:
    """The feed within, with conditions that are made of the items themselves: a function of (seed, first item)."""

    feed: Feed
    made: Made
    seed: int = 0

    def __call__(self, first: int, size: int) -> tuple[Tensor, dict[str, Tensor]]:
        x0, cond = self.feed(first, size)
        return x0, {**cond, **self.made(x0, rng.host(self.seed, "made", first))}


__all__ = ["Augmented", "Shown"]
