"""The closed-form denoiser of a finite set of items: a softmax over them, bounded in memory."""

import numpy as np
import numpy.typing as npt
import torch

from unnoise import rng
from unnoise.config import UserError
from unnoise.denoise.closed import Estimate, Exact, Labels
from unnoise.denoise.denoiser import Belief
from unnoise.process.gaussian import Gaussian
from unnoise.process.level import Level
from unnoise.tensor import Array, Cond, Float, Tensor, align

FAINT = 1e-15  # alpha below which double precision sees nothing of the data


class Empirical(Exact):
    """Data that is one of N items, each as likely: items (N, *shape), a mixture with zero covariances.

    labels (N,), the class of each item: cond["label"] (B,) then restricts to the items of that class; the
    number of classes, as a label, is the null and means all, as no label does. `chunk` items are compared
    at a time.
    """

    def __init__(
        self, process: Gaussian, items: npt.ArrayLike, labels: Labels | None = None, *, chunk: int = 4096
    ) -> None:
        data = np.asarray(items, dtype=np.float64)
        if data.ndim < 1 or len(data) < 1 or chunk < 1:
            raise UserError("a finite data set has at least one item, and chunks of at least one")
        super().__init__(process, data.shape[1:], [data.reshape(len(data), -1)], labels)
        self.chunk = chunk

    def _moments(
        self, x: Tensor, alpha: Tensor, sigma: Tensor, cond: Cond | None
    ) -> tuple[Float[Tensor, "B"], Float[Tensor, "B d"], Float[Tensor, "B"]]:
        """log of the mean of exp(−|x − alpha·y|²/(2 sigma²)), E[y] and E[|y|²] under the posterior.

        A running softmax: the nearest so far is taken out of the exponents, so that at sigma = 0 it remains.
        """
        (items,), flat, a = self._arrays(x), self._flat(x), alpha[:, None]
        limits = torch.finfo(x.dtype)
        # |x − alpha·y| is told by x/alpha; where alpha is nothing all items are as likely
        seen = a > FAINT
        place = torch.where(seen, flat / a.clamp_min(FAINT), 0.0)
        spread = torch.where(seen, 2 * (sigma[:, None] / a.clamp_min(FAINT)).square(), torch.inf)
        spread = spread.clamp_min(limits.tiny)
        nearest = torch.full_like(a, limits.max)
        mean, total, power, count = torch.zeros_like(flat), *(torch.zeros_like(a) for _ in range(3))
        for first in range(0, len(items), self.chunk):
            part = items[first : first + self.chunk]
            # not through a matrix product: differences of large numbers drown what is near
            far = torch.cdist(place, part, compute_mode="donot_use_mm_for_euclid_dist").square()
            allowed = self._allowed(cond, x, slice(first, first + self.chunk))
            if allowed is None:
                allowed = torch.ones_like(far, dtype=torch.bool)
            near = torch.where(allowed, far, limits.max).amin(dim=1, keepdim=True).detach()
            near = torch.minimum(nearest, near)
            kept = torch.exp((near - nearest) / spread)
            weights = torch.where(allowed, torch.exp((near - far) / spread), 0.0)
            mean = mean * kept + weights @ part
            total = total * kept + weights.sum(dim=1, keepdim=True)
            power = power * kept + weights @ part.square().sum(dim=1, keepdim=True)
            count = count + allowed.sum(dim=1, keepdim=True)
            nearest = near
        unseen = torch.where(seen, 0.0, flat.square().sum(1, keepdim=True) / (2 * sigma[:, None].square()))
        log_mean = (total / count).log() - nearest / spread - unseen
        return log_mean[:, 0], mean / total, (power / total)[:, 0]

    def __call__(self, x: Tensor, level: Level, cond: Cond) -> Belief:
        """sum over i of r_i·y_i, r_i ∝ exp(−|x − alpha·y_i|²/(2 sigma²)); at sigma = 0 the nearest item."""
        return Belief(self._moments(x, level.alpha, level.sigma, cond)[1].reshape(x.shape))

    def score(self, x: Tensor, level: Level, cond: Cond | None = None) -> Float[Tensor, "B *dims"]:
        """grad log p(x_t = x | cond) = (alpha·E[x_0 | x_t] − x)/sigma²  (Robbins, 1956), shaped like x."""
        self._refuse_clean(level.sigma)
        mean = self._moments(x, level.alpha, level.sigma, cond)[1].reshape(x.shape)
        return (align(level.alpha, x) * mean - x) / align(level.sigma, x).square()

    def log_density(self, x: Tensor, level: Level, cond: Cond | None = None) -> Float[Tensor, "B"]:
        """log of the mean over items of N(x; alpha·y_i, sigma²), in nats."""
        self._refuse_clean(level.sigma)
        log_mean = self._moments(x, level.alpha, level.sigma, cond)[0]
        return log_mean - self.size * (level.sigma.log() + 0.5 * float(np.log(2 * np.pi)))

    def optimal_loss(
        self,
        alpha: float | Array,
        sigma: float | Array,
        *,
        labelled: bool = False,
        n: int = 5_000,
        seed: int = 0,
    ) -> Estimate:
        """L* = E|x_0 − E[x_0 | x_t]|²/d, shaped like alpha; labelled: where the class is known.

        The mean of the exact posterior variance tr Cov(x_0 | x_t)/d over n draws of x_t, a function of the seed.
        """
        width = min(self.chunk, len(self._host[0])) + self.size
        value, error = self._expected(self._traces, alpha, sigma, labelled, n, seed, width)
        return Estimate(value / self.size, error / self.size)

    def _refuse_clean(self, sigma: Tensor) -> None:
        if bool((sigma == 0).any()):
            raise UserError("a finite data set has no density at sigma = 0; ask at t > 0")

    def _traces(self, x: Tensor, alpha: Tensor, sigma: Tensor, cond: Cond) -> Float[Tensor, "B"]:
        """tr Cov(x_0 | x_t = x, cond) = E[|y|²] − |E[y]|² under the posterior."""
        _, mean, power = self._moments(x, alpha, sigma, cond)
        return (power - mean.square().sum(1)).clamp_min(0)

    def _draw(self, n: int, seed: int, word: str) -> tuple[Array, npt.NDArray[np.int64]]:
        (items,) = self._host
        which = rng.host("exact", word, "item", seed).integers(len(items), size=n)
        return items[which], which


__all__ = ["Empirical"]
