"""Two beliefs about a batch, each asked only of the items that need it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from unnoise.denoise.denoiser import Belief
from unnoise.guide.blend import Blend
from unnoise.tensor import Array, Tensor, send


@dataclass(frozen=True)
class Sides:
    """Which items ask for the better belief and which for the lesser: those of weight 1 only for the one, of 0 for
    the other."""

    weights: Array  # (B,)

    @property
    def better(self) -> list[int]:
        """The items that ask for the better belief, in the order of its rows."""
        return np.flatnonzero(self.weights != 0).tolist()

    @property
    def lesser(self) -> list[int]:
        """The items that ask for the lesser one."""
        return np.flatnonzero(self.weights != 1).tolist()

    def join(self, better: Belief, lesser: Belief, blend: Blend) -> Belief:
        """The belief about every item: blended where both were asked, else the one that was.

        A variance is the better belief's, where it was asked.
        """
        c, u = np.array(self.better, np.int64), np.array(self.lesser, np.int64)
        if not len(u):
            return better
        if not len(c):
            return lesser
        x0 = self._spread(better.x0, lesser.x0)
        v = None if better.v is None or lesser.v is None else self._spread(better.v, lesser.v)
        both = np.intersect1d(c, u)
        if len(both):
            w = send(torch.from_numpy(self.weights[both]).to(x0.dtype), x0.device)
            told = better.x0[index(np.searchsorted(c, both), x0)]
            untold = lesser.x0[index(np.searchsorted(u, both), x0)]
            x0[index(both, x0)] = blend(told, untold, w)
        return Belief(x0, v)

    def _spread(self, better: Tensor, lesser: Tensor) -> Tensor:
        found = better.new_empty(len(self.weights), *better.shape[1:])
        found[index(self.lesser, better)] = lesser.to(better.dtype)
        found[index(self.better, better)] = better
        return found


def index(items: Sequence[int] | npt.NDArray[np.int64], like: Tensor) -> Tensor:
    """Items as an index on the device of `like`; of none too."""
    return send(torch.as_tensor(items, dtype=torch.int64), like.device)


__all__ = ["Sides", "index"]
