"""The loss on items that training never sees, by noise level, with the same draws each time."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from unnoise import rng
from unnoise.data import Items
from unnoise.denoise import NetDenoiser
from unnoise.tensor import Array, Cond
from unnoise.train.objective import Regression
from unnoise.train.order import Encode, tensors

Optimum = Callable[[Array], Array]


class ByLevel(NamedTuple):
    """Held-out losses at K noise levels, float64 on the host.

    times, noise (K,): the levels, as t and as log(sigma/alpha); loss (K,): what training minimises; error
    (K,): the mean squared error of x_0 for each element; optimum (K,): the least error there can be, where
    the source knows it. spread: the standard error of the mean loss over items.
    """

    times: Array
    noise: Array
    loss: Array
    error: Array
    optimum: Array | None
    spread: float

    @property
    def mean(self) -> float:
        """The mean loss over the law of levels that training draws from."""
        return float(self.loss.mean())

    @property
    def excess(self) -> Array | None:
        """Excess risk (error − optimum)/optimum, (K,): 0 is perfect."""
        return None if self.optimum is None else (self.error - self.optimum) / self.optimum


class HeldOut:
    """Loss by noise level over the held-out items.

    The levels are the K midpoints (k + 1/2)/K of the training law's quantiles. Each item is seen at `repeats`
    of them, spread over the law and shared out so that every level has as many items, each time with a noise
    and its negative. All of it is a function of the seed: two networks are told apart by far less than the
    spread, since they answer the same questions.
    """

    def __init__(
        self,
        objective: Regression,
        items: Items,
        encode: Encode,
        *,
        levels: int = 16,
        repeats: int = 4,
        limit: int = 2048,
        batch: int = 512,
        seed: int = 0,
        device: torch.device | str = "cpu",
        optimum: Optimum | None = None,
    ):
        """limit: of the items, the first so many; optimum: times (K,) → the least mean squared error of x_0."""
        if len(items) == 0:
            raise ValueError("there is no item held out")
        raw, cond = items.take(np.arange(min(len(items), limit)))
        x0 = encode(raw, rng.host(seed, "held out", "encode")).to(device)
        self._objective, self._optimum = objective, optimum
        self._levels, self._batch = levels, batch
        which = np.repeat(np.arange(len(x0)), repeats)
        # Neighbours in the list take levels far apart; over the list each level comes equally often.
        self._bin = np.arange(len(which)) * _stride(levels) % levels
        self._x0 = x0[torch.from_numpy(which).to(x0.device)]
        self._cond = {name: leaf[torch.from_numpy(which)].to(device) for name, leaf in tensors(cond).items()}
        generator = rng.generator(seed, "held out", "noise")
        self._noise = torch.randn(self._x0.shape, generator=generator).to(self._x0)

    @torch.no_grad()
    def __call__(self, denoiser: NetDenoiser) -> ByLevel:
        """The losses of a denoiser, asked as it stands (put its network into eval mode first)."""
        quantiles = (np.arange(self._levels) + 0.5) / self._levels
        times = self._objective.times(denoiser, quantiles)
        sums = np.zeros((2, len(self._bin)))
        for first in range(0, len(self._bin), self._batch):
            rows = slice(first, first + self._batch)
            x0, noise, t = self._x0[rows], self._noise[rows], times[self._bin[rows]]
            cond: Cond = {name: leaf[rows] for name, leaf in self._cond.items()}
            pair = [self._objective.at(denoiser, x0, cond, t, sign * noise) for sign in (1, -1)]
            both = torch.stack([pair[0].value + pair[1].value, pair[0].error + pair[1].error]) / 2
            sums[:, rows] = both.double().cpu().numpy()
        count = np.bincount(self._bin, minlength=self._levels)
        loss, error = (np.bincount(self._bin, row, self._levels) / np.maximum(count, 1) for row in sums)
        within = np.sqrt(np.mean((sums[0] - loss[self._bin]) ** 2))
        noise = -denoiser.process.schedule.logsnr(times) / 2
        optimum = None if self._optimum is None else self._optimum(times)
        return ByLevel(times, noise, loss, error, optimum, float(within / np.sqrt(len(self._bin))))


def _stride(levels: int) -> int:
    """The step coprime to `levels` nearest to its golden section: multiples of it spread evenly."""
    golden = 0.618 * levels
    coprime = [step for step in range(1, levels + 1) if np.gcd(step, levels) == 1]
    return min(coprime, key=lambda step: abs(step - golden))


__all__ = ["ByLevel", "HeldOut", "Optimum"]
