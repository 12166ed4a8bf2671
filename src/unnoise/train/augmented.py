"""A feed whose items are augmented, and whose conditions say how."""

from dataclasses import dataclass

from unnoise import rng
from unnoise.augment import Augment
from unnoise.tensor import Tensor
from unnoise.train.order import Feed


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


__all__ = ["Augmented"]
