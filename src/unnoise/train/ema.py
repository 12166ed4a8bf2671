"""Averages of the weights along training, counted in items."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache

import numpy as np
from torch import nn

from unnoise.config import UserError
from unnoise.tensor import Float, Tensor
from unnoise.train.flat import Flat


@dataclass(frozen=True)
class Power:
    """The average with density proportional to n^gamma over the items n seen so far  (Karras et al., 2024, Eqs. 1-2).

    sigma_rel is the density's deviation as a share of the training's length: it grows with training, forgets the
    start by itself, and asks for no retuning when the length changes.
    """

    sigma_rel: float

    def __post_init__(self) -> None:
        # The flat density, gamma = 0, has 12^(-1/2); beyond it the past would weigh more than the present.
        if not 0 < self.sigma_rel < 12**-0.5:
            raise UserError(f"an average's width is a share of the training between 0 and 0.288, got {self.sigma_rel}")

    @property
    def gamma(self) -> float:
        """The exponent: sigma_rel² = (gamma + 1)/((gamma + 2)²·(gamma + 3))."""
        return _exponent(self.sigma_rel)

    def kept(self, before: int, after: int) -> float:
        """The share of the average that stays when the items seen go from `before` to `after`."""
        return (before / after) ** (self.gamma + 1)

    def __str__(self) -> str:
        return f"{self.sigma_rel:g}"


@cache
def _exponent(sigma_rel: float) -> float:
    inverse = sigma_rel**-2
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


class Averages:
    """Averages of one network's weights, each held as a network of its own: ready to be asked, never trained.

    Those that are `tracked` beside, for what may be wanted after training, are vectors alone.
    """

    def __init__(self, net: nn.Module, flat: Flat, kinds: Sequence[Power], tracked: Sequence[Power] = ()):
        """net: laid out in `flat`, as it is trained; the copies take their layout from it."""
        copies = {str(kind): deepcopy(net) for kind in kinds}
        flats = {name: Flat(copy) for name, copy in copies.items()}
        self._kinds = {str(kind): kind for kind in (*kinds, *tracked)}
        self._flat = flat
        self.nets = {name: copy.eval().requires_grad_(False) for name, copy in copies.items()}
        self.vectors = {name: flats.get(name, flat).vector for name in self._kinds}
        self.vectors |= {name: vector.clone() for name, vector in self.vectors.items() if name not in flats}

    def update(self, weights: Float[Tensor, "P"], before: int, after: int) -> None:
        """Takes in the weights as they are after the items from `before` to `after`."""
        for name, kind in self._kinds.items():
            self.vectors[name].lerp_(weights, 1 - kind.kept(before, after))

    def forget(self, name: str) -> None:
        """Tracks it no longer."""
        del self._kinds[name], self.vectors[name]

    def fill(self, weights: Float[Tensor, "P"]) -> None:
        """Begins anew: all averages are these weights."""
        for vector in self.vectors.values():
            vector.copy_(weights)

    def named(self, name: str) -> dict[str, Tensor]:
        """An average by the names of the network's parameters, as views."""
        return self._flat.named(self.vectors[name])


__all__ = ["Averages", "Power"]
