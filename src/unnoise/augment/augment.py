"""Augmentation that cannot leak: the network is told what was done to an item, and at sampling that nothing was."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from unnoise.tensor import Float, Tensor


class Augment(ABC):
    """Changes encoded items for training, and says in `width` numbers an item what it did.

    The numbers are a condition of the network. All zeros say that an item is as it was, which is what samples are
    asked to be: so changes that real items never show are learned from and not drawn. (Karras et al., Elucidating
    the design space of diffusion-based generative models, 2022, App. F.2.)
    """

    @property
    def width(self) -> int:
        """How many numbers are told; 0 where a change leaves the law of the items as it is, and nothing need be."""
        return 0

    @abstractmethod
    def __call__(
        self, x0: Float[Tensor, "B *dims"], rng: np.random.Generator
    ) -> tuple[Float[Tensor, "B *dims"], Float[Tensor, "B width"]]:
        """Items and, for each, what was done to it."""


@dataclass(frozen=True)
class Nothing(Augment):
    """Items as they are."""

    def __call__(
        self, x0: Float[Tensor, "B *dims"], rng: np.random.Generator
    ) -> tuple[Float[Tensor, "B *dims"], Float[Tensor, "B width"]]:
        """x0 itself, and no number."""
        return x0, x0.new_zeros(len(x0), 0)


__all__ = ["Augment", "Nothing"]
