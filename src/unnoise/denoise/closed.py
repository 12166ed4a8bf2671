"""What closed-form denoisers share: arrays on every device asked, labels, draws and the optimal loss."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from unnoise import rng
from unnoise.config import UserError
from unnoise.denoise.denoiser import Belief
from unnoise.process.gaussian import Gaussian
from unnoise.process.level import Level
from unnoise.tensor import Array, Bool, Cond, Float, Tensor

HELD = 1 << 22  # numbers held at once while an expectation is taken: bounds the memory

Labels: TypeAlias = Sequence[int] | npt.NDArray[np.int64]


class Estimate(NamedTuple):
    """A number for each level asked, and its standard error (0 where the number is exact)."""

    value: Array
    error: Array


class Exact(ABC):
    """A denoiser whose data has a law that is known: see Normal, Mixture and Empirical."""

    def __init__(self, process: Gaussian, shape: Sequence[int], arrays: Sequence[Array], labels: Labels | None) -> None:
        self._process = process
        self._host = tuple(np.ascontiguousarray(a, dtype=np.float64) for a in arrays)
        self._cache: dict[tuple[torch.device, torch.dtype], tuple[Tensor, ...]] = {}
        self._own: dict[torch.device, Tensor] = {}
        self.shape = tuple(shape)
        self.labels = None if labels is None else np.asarray(labels, dtype=np.int64)
        if self.labels is not None:
            count, known = len(self._host[0]), np.unique(self.labels)
            if self.labels.shape != (count,) or not np.array_equal(known, np.arange(len(known))):
                raise UserError(f"{count} labels 0, 1, .. without a gap are needed, got {self.labels.shape}: {known}")

    @property
    def process(self) -> Gaussian:
        """How its data is destroyed."""
        return self._process

    @property
    def size(self) -> int:
        """Numbers in one item."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def classes(self) -> int:
        """How many classes the labels know; as a label it is the null."""
        return 0 if self.labels is None else int(self.labels.max()) + 1

    def _arrays(self, like: Tensor) -> tuple[Tensor, ...]:
        where = (like.device, like.dtype)
        if where not in self._cache:  # the cast comes first: a device may have no float64
            self._cache[where] = tuple(torch.from_numpy(a).to(like.dtype).to(like.device) for a in self._host)
        return self._cache[where]

    def _flat(self, x: Tensor) -> Float[Tensor, "B d"]:
        if tuple(x.shape[1:]) != self.shape:
            raise UserError(f"items here have the shape {self.shape}, got {tuple(x.shape[1:])}")
        return x.reshape(x.shape[0], self.size)

    def _allowed(self, cond: Cond | None, like: Tensor, part: slice = slice(None)) -> Bool[Tensor, "B n"] | None:
        """Which components or items of a part each item's label admits; None: all."""
        if self.labels is None or cond is None or "label" not in cond:
            return None
        if like.device not in self._own:
            self._own[like.device] = torch.from_numpy(self.labels).to(like.device)
        label = cond["label"].to(like.device)[:, None]
        return (self._own[like.device][part] == label) | (label == self.classes)

    @abstractmethod
    def __call__(self, x: Tensor, level: Level, cond: Cond) -> Belief:
        """The posterior mean E[x_0 | x_t = x, cond]: x (B, *shape) → x0 (B, *shape)."""

    @abstractmethod
    def score(self, x: Tensor, level: Level, cond: Cond | None = None) -> Float[Tensor, "B *dims"]:
        """grad log p(x_t = x | cond), shaped like x."""

    @abstractmethod
    def log_density(self, x: Tensor, level: Level, cond: Cond | None = None) -> Float[Tensor, "B"]:
        """log p(x_t = x | cond) in nats, which autograd can follow."""

    @abstractmethod
    def _draw(self, n: int, seed: int, word: str) -> tuple[Array, npt.NDArray[np.int64]]:
        """Items (n, d), and the component or the item of the set (n,) that each comes from."""

    def draw(self, n: int, seed: int) -> Array:
        """n samples of x_0, (n, *shape): a function of the seed."""
        return self._draw(n, seed, "draw")[0].reshape(n, *self.shape)

    def _expected(
        self,
        what: Callable[[Tensor, Tensor, Tensor, Cond], Float[Tensor, "B"]],
        alpha: float | Array,
        sigma: float | Array,
        labelled: bool,
        n: int,
        seed: int,
        width: int,
    ) -> Estimate:
        """The mean of what(x_t, alpha, sigma, cond) over n draws of x_t, and its standard error.

        The same draws for all levels; width: numbers held at once for each draw.
        """
        items, which = self._draw(n, seed, "loss")
        noise = rng.host("exact", "noise", seed).standard_normal(items.shape)
        label = None if self.labels is None or not labelled else torch.from_numpy(self.labels[which])
        alphas, sigmas = np.broadcast_arrays(np.asarray(alpha, np.float64), np.asarray(sigma, np.float64))
        chunk, found = max(1, HELD // width), np.empty((alphas.size, n))
        for i, (a, s) in enumerate(zip(alphas.flat, sigmas.flat, strict=True)):
            for first in range(0, n, chunk):
                rows = slice(first, first + chunk)
                x = torch.from_numpy(a * items[rows] + s * noise[rows])
                levels = torch.full((2, len(x)), float(a), dtype=x.dtype)
                levels[1] = float(s)
                cond = {} if label is None else {"label": label[rows]}
                found[i, rows] = what(x.reshape(-1, *self.shape), levels[0], levels[1], cond).numpy()
        value, error = found.mean(1), found.std(1, ddof=1) / np.sqrt(n)
        return Estimate(value.reshape(alphas.shape), error.reshape(alphas.shape))


class Components(Exact):
    """Data that is normal given a hidden cause Z, of finitely many: a component, or a component and a place.

    What a normal law says in closed form is taken from it, and draws tell only how far the causes are confused:
    where x_t leaves no doubt of its cause, the numbers below are exact.
    """

    @property
    @abstractmethod
    def causes(self) -> int:
        """How many values Z has."""

    @abstractmethod
    def _width(self) -> int:
        """Numbers held at once for each item asked about."""

    @abstractmethod
    def _within(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        """E over Z of tr Cov(x_0 | x_t, Z) and of the entropy of x_t given Z, for each of the levels (L,)."""

    @abstractmethod
    def _prior_doubt(self) -> float:
        """The entropy of Z in nats."""

    @abstractmethod
    def _scatter(self, x: Tensor, alpha: Tensor, sigma: Tensor, cond: Cond) -> Float[Tensor, "B"]:
        """E of |E[x_0 | x_t, Z] − E[x_0 | x_t]|² under the posterior of Z given x_t = x."""

    @abstractmethod
    def _doubt(self, x: Tensor, alpha: Tensor, sigma: Tensor, cond: Cond) -> Float[Tensor, "B"]:
        """The entropy of the posterior of Z given x_t = x, in nats."""

    @abstractmethod
    def _refuse_clean(self, sigma: Tensor, what: str) -> None:
        """Refuses sigma = 0 where the law has no density then."""

    def optimal_loss(
        self, alpha: float | Array, sigma: float | Array, *, labelled: bool = False, n: int = 20_000, seed: int = 0
    ) -> Estimate:
        """L* = E|x_0 − E[x_0 | x_t]|²/d, shaped like alpha; labelled: where the class is known.

        tr Cov(x_0 | x_t) = E_Z tr Cov(x_0 | x_t, Z) + E_Z|E[x_0 | x_t, Z] − E[x_0 | x_t]|²: the first term on average
        is a formula, and the second the mean over n draws of x_t, a function of the seed. Of a normal law: exact.
        """
        levels = np.broadcast_arrays(np.asarray(alpha, np.float64), np.asarray(sigma, np.float64))
        within = self._within(levels[0].ravel(), levels[1].ravel())[0].reshape(levels[0].shape)
        if self.causes == 1:
            return Estimate(within / self.size, np.zeros_like(within))
        value, error = self._expected(self._scatter, alpha, sigma, labelled, n, seed, self._width())
        return Estimate((within + value) / self.size, error / self.size)

    def losses(self, x: Tensor, level: Level, cond: Cond) -> Float[Tensor, "B"]:
        """Numbers whose mean over draws of x_t is L*, known better than by the squared errors of the belief.

        The variance within Z is taken on average, that between its values as x_t tells it.
        """
        level_of, where = np.unique(level.times, return_inverse=True)
        schedule = self.process.schedule
        within = self._within(schedule.alpha(level_of), schedule.sigma(level_of))[0][where]
        between = self._scatter(x, level.alpha, level.sigma, cond)
        return (between + torch.from_numpy(within).to(x.dtype).to(x.device)) / self.size

    def entropy(
        self, alpha: float | Array = 1.0, sigma: float | Array = 0.0, *, n: int = 20_000, seed: int = 0
    ) -> Estimate:
        """h(x_t) = −E log p(x_t) in nats, shaped like alpha; of the data itself where silent.

        h(x_t) = h(x_t | Z) + H(Z) − E H(Z | x_t): the first two are formulas, and the last the mean over n draws of a
        number between 0 and log K, so the error is small beside that of averaging log p. Of a normal law: exact.
        Its slope is the optimal loss: dh(x_0 + sigma·eps)/d(sigma²) = (d − d·L*/sigma²)/(2·sigma²)  (Stam, 1959;
        Guo, Shamai & Verdú, 2005). No model has a smaller expected negative log-likelihood than that of the data.
        """
        levels = np.broadcast_arrays(np.asarray(alpha, np.float64), np.asarray(sigma, np.float64))
        self._refuse_clean(torch.from_numpy(levels[1].copy()), "an entropy")
        known = self._within(levels[0].ravel(), levels[1].ravel())[1].reshape(levels[0].shape) + self._prior_doubt()
        if self.causes == 1:
            return Estimate(known, np.zeros_like(known))
        value, error = self._expected(self._doubt, alpha, sigma, False, n, seed, self._width())
        return Estimate(known - value, error)


__all__ = ["Components", "Estimate", "Exact", "Labels"]
