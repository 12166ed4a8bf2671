"""Where each item of a batch stands between data and noise."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from unnoise.process.schedule import Schedule
from unnoise.tensor import Array, Float, Int, Tensor, send

LOUDEST = 12.0  # |log(sigma/alpha)| beyond which a network hears no difference


@dataclass(frozen=True, eq=False)
class Level:
    """The noise level of each item: computed in float64 on the host, then moved to the device in x's dtype.

    t, to: the time asked at and the time the answer is for; alpha, sigma: x_t = alpha·x_0 + sigma·noise;
    noise: log(sigma/alpha) within ±12, all that a network hears; c_data, c_here: the mean of one step back
    in the chain, E[x_{t−1/T} | x_t, x_0] = c_data·x_0 + c_here·x_t. Each is (B,), a row of `leaves`.
    times, weight: host arrays (B,): t again, and the plan's factor on the guidance weight.
    """

    leaves: Float[Tensor, "7 B"]
    times: Array
    weight: Array

    @staticmethod
    def at(schedule: Schedule, t: Array, like: Tensor, to: Array | None = None, weight: Array | None = None) -> "Level":
        """The level of each time t (B,), on the device and in the dtype of `like`."""
        t = np.asarray(t, dtype=np.float64)
        to = t if to is None else to
        weight = np.ones_like(t) if weight is None else weight
        alpha, sigma, logsnr = _read(schedule, np.maximum(t - 1 / schedule.steps, 0), t)
        noise = np.clip(-logsnr[1] / 2, -LOUDEST, LOUDEST)
        host = torch.from_numpy(np.stack([t, to, alpha[1], sigma[1], noise, *_back(alpha, sigma, logsnr)]))
        return Level(send(host.to(like.dtype), like.device), t, weight)  # one transfer

    @property
    def t(self) -> Float[Tensor, "B"]:
        """The time asked at."""
        return self.leaves[0]

    @property
    def to(self) -> Float[Tensor, "B"]:
        """The time the answer is for."""
        return self.leaves[1]

    @property
    def alpha(self) -> Float[Tensor, "B"]:
        """The factor on the data."""
        return self.leaves[2]

    @property
    def sigma(self) -> Float[Tensor, "B"]:
        """The deviation of the noise."""
        return self.leaves[3]

    @property
    def noise(self) -> Float[Tensor, "B"]:
        """log(sigma/alpha), within ±12."""
        return self.leaves[4]

    @property
    def c_data(self) -> Float[Tensor, "B"]:
        """The factor on x_0 in the mean of one step back."""
        return self.leaves[5]

    @property
    def c_here(self) -> Float[Tensor, "B"]:
        """The factor on x_t in the mean of one step back."""
        return self.leaves[6]

    def take(self, items: Sequence[int]) -> "Level":
        """The levels of some items, in the order given (repeats allowed)."""
        host = np.asarray(items, dtype=np.int64)
        index = send(torch.from_numpy(host), self.leaves.device)
        return Level(self.leaves.index_select(1, index), self.times[host], self.weight[host])

    def ahead(self, at: npt.NDArray[np.int64], index: Int[Tensor, "N"]) -> "list[Level]":
        """K batches: item b of batch k has level at[k, b] of these; index: the same on the device, (K·B,)."""
        leaves = self.leaves.index_select(1, index).reshape(len(self.leaves), *at.shape).unbind(1)
        times, weight = self.times[at], self.weight[at]
        return [Level(leaves[k], times[k], weight[k]) for k in range(len(at))]

    def each(self, batch: int) -> "list[Level]":
        """Every level here for a batch of equals, one after the other: views, made at once."""
        shape = (len(self.times), batch)
        times, weight = (np.broadcast_to(values[:, None], shape) for values in (self.times, self.weight))
        rows = self.leaves[:, :, None].expand(-1, -1, batch).unbind(1)
        return [Level(leaves, times[row], weight[row]) for row, leaves in enumerate(rows)]

    @staticmethod
    def join(levels: "Sequence[Level]") -> "Level":
        """The levels of several batches, one after the other."""
        leaves = torch.cat([level.leaves for level in levels], dim=1)
        times, weight = (np.concatenate([getattr(level, name) for level in levels]) for name in ("times", "weight"))
        return Level(leaves, times, weight)


def posterior_mean(schedule: Schedule, s: Array, t: Array) -> tuple[Array, Array]:
    """E[x_s | x_t, x_0] = c_data·x_0 + c_here·x_t for s < t  (Ho et al., 2020, Eq. 7, on any process).

    With kept = sigma_s²·alpha_t²/(alpha_s²·sigma_t²) = exp(logSNR_t − logSNR_s), the share of x_t's
    noise that x_s has: c_data = alpha_s·(1 − kept), c_here = kept·alpha_s/alpha_t.
    """
    return _back(*_read(schedule, s, t))


def _read(schedule: Schedule, s: Array, t: Array) -> tuple[Array, Array, Array]:
    """alpha, sigma and logSNR at s and t: (2, ...) each."""
    both = np.stack([s, t])
    return schedule.alpha(both), schedule.sigma(both), schedule.logsnr(both)


def _back(alpha: Array, sigma: Array, logsnr: Array) -> tuple[Array, Array]:
    with np.errstate(invalid="ignore"):
        log_kept = logsnr[1] - logsnr[0]
    log_kept = np.where(np.isnan(log_kept), 0.0, log_kept)  # s = t at an end
    # kept·alpha_s/alpha_t without dividing by alpha_t, which may be 0: sigma_s²·alpha_t/(alpha_s·sigma_t²)
    with np.errstate(divide="ignore", invalid="ignore"):
        c_here = np.where(sigma[1] > 0, np.square(sigma[0] / sigma[1]) * alpha[1] / alpha[0], 1.0)
    return -alpha[0] * np.expm1(log_kept), c_here
