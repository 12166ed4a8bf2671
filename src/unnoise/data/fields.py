"""Pictures whose law is known to the last number: a figure anywhere on stationary Gaussian ground, on a torus."""

from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError
from unnoise.data.source import Items, World
from unnoise.rng import host
from unnoise.tensor import Array

ASPECT = 3.0  # how much longer the ground's grain is along its direction than across
REACH = 1 / 6  # deviation of a figure's window, as a share of the side
_CHUNK = 1 << 21  # numbers held at once while drawing


@dataclass(frozen=True, kw_only=True)
class Fields(World):
    """x = T_s·mu_k + U_k·g: figure k shifted by s, on a Gaussian field; items (N, channels, side, side) float32.

    The class k comes with probability `weights`, and is the label; the shift s is uniform over all pixels (with
    `anywhere: false` it is none), around the edges. The field g has independent stationary channels with the power
    spectra S_k,c(f) ∝ (1 + |A_k·f|²)^−decay, f in cycles a picture: a grain with a direction of the class's own;
    U_k turns the channels. So Cov(x | k, s) is diagonal in Fourier space, and the posterior over s is one
    cross-correlation: every number of the law is at hand, at any size.

    The mean is 0 and the mean variance of the pixels is 1, of which figures carry the share `between`.
    `weights` (K,), `means` (K, C, H, W), `axes` (K, C, C) and `spectra` (K, C, H, W), the variances of the
    orthonormal Fourier coefficients, are float64 and exact. `truth` is the seed of these numbers.
    """

    side: int = 16  # pixels
    channels: int = 1
    components: int = 6
    decay: float = 2.0
    between: float = 0.5
    anywhere: bool = True
    truth: int = 0
    items: int = 50_000
    held_out: int = 2_000

    name: ClassVar[str] = "fields"

    @property
    def raw(self) -> str:
        return "array"

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.components)))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side < 4:
            raise UserError(f"a picture has at least 4 pixels a side, got {self.side}")
        if self.channels < 1 or self.components < 1:
            raise UserError(
                f"pictures have at least 1 channel and 1 component, got {self.channels} and {self.components}"
            )
        if not 0 <= self.between < 1:
            raise UserError(f"between is a share of the variance, from 0 to below 1, got {self.between}")
        if not 0 <= self.decay < np.inf:
            raise UserError(f"decay is an exponent, 0 or more, got {self.decay}")

    @property
    def weights(self) -> Array:
        """(K,), sum 1, the largest a few times the smallest."""
        return self._numbers[0]

    @property
    def means(self) -> Array:
        """(K, C, H, W): the figures, unshifted."""
        return self._numbers[1]

    @property
    def axes(self) -> Array:
        """(K, C, C), orthogonal: column c is the direction in the space of channels that spectrum c belongs to."""
        return self._numbers[2]

    @property
    def spectra(self) -> Array:
        """(K, C, H, W), positive, in the order of np.fft.fft2: the eigenvalues of Cov(x | k, s)."""
        return self._numbers[3]

    @cached_property
    def _numbers(self) -> tuple[Array, Array, Array, Array]:
        K, C, side = self.components, self.channels, self.side
        rng = host(self.name, "truth", self.truth, side, C, K)
        weights = np.exp(rng.uniform(-0.7, 0.7, K))
        weights /= weights.sum()
        angles = np.pi * (np.arange(K) + rng.random()) / K  # directions of the grain, evenly spread
        shape = np.stack([_matern(side, angle, self.decay) for angle in angles])[:, None]
        share = 0.5 ** np.arange(C)  # of the channels' own directions
        shape = shape * (share * C / share.sum())[:, None, None]
        axes = np.stack([np.linalg.qr(rng.standard_normal((C, C)))[0] for _ in range(K)])
        figures = _drawn(rng.standard_normal((K, C, side, side)), _strokes(side)) * _window(side)
        figures /= np.sqrt((figures**2).mean(axis=(1, 2, 3), keepdims=True))
        # what all have in common is taken off, so that the mean of the law is 0
        common = figures.mean(axis=(2, 3), keepdims=True) if self.anywhere else figures
        figures = figures - np.tensordot(weights, common, 1)
        spread = weights @ (figures**2).mean(axis=(1, 2, 3))
        between = self.between if K > 1 or self.anywhere else 0.0
        figures *= np.sqrt(between / spread) if between else 0.0
        return weights, figures, axes, (1 - between) * shape

    def _make(self, n: int, *words: int | str) -> Items:
        C, side = self.channels, self.side
        items = np.empty((n, C, side, side), np.float32)
        which = np.searchsorted(np.cumsum(self.weights)[:-1], host(*words, "place").random(n), side="right")
        shifts = host(*words, "shift").integers(0, side, (n, 2)) * self.anywhere
        noise = host(*words, "noise")
        for rows in _lots(n, max(1, _CHUNK // (C * side * side))):
            fresh = noise.standard_normal((len(rows), C, side, side))  # row after row: item i does not depend on n
            items[rows] = self._placed(which[rows], shifts[rows], fresh)
        return Items(items, {"label": which.astype(np.int64)})

    def _placed(self, which: npt.NDArray[np.int64], shifts: npt.NDArray[np.int64], fresh: Array) -> Array:
        """T_s·mu_k + U_k·g for components (n,), shifts (n, 2) and standard normals (n, C, H, W)."""
        x = np.empty_like(fresh)
        for k in range(self.components):
            rows = np.flatnonzero(which == k)
            ground = _drawn(fresh[rows], self.spectra[k])
            x[rows] = np.einsum("dc,nchw->ndhw", self.axes[k], ground)
        grid = np.arange(self.side)
        y, z = ((grid - shifts[:, axis, None]) % self.side for axis in (0, 1))
        figures = self.means[which[:, None, None], :, y[:, :, None], z[:, None, :]]  # (n, H, W, C)
        return x + np.moveaxis(figures, -1, 1)


def _drawn(normal: Array, spectrum: Array) -> Array:
    """Fields with the power spectrum given, from standard normals (..., H, W)."""
    half = np.sqrt(spectrum)[..., : spectrum.shape[-1] // 2 + 1]
    return np.fft.irfft2(np.fft.rfft2(normal) * half, s=normal.shape[-2:])


def _matern(side: int, angle: float, decay: float, aspect: float = ASPECT) -> Array:
    """(1 + |A·f|²)^−decay with mean 1 over the frequencies (H, W): f across the angle is stretched by `aspect`.

    The spectrum of Matérn's covariance (Whittle, 1954) with the frequency of one cycle a picture as its bend.
    """
    f = np.fft.fftfreq(side, 1 / side)
    fy, fx = f[:, None], f[None]
    along, across = np.cos(angle) * fx + np.sin(angle) * fy, np.cos(angle) * fy - np.sin(angle) * fx
    power = (1 + aspect * along**2 + across**2 / aspect) ** -decay
    # At half the sampling rate f and −f are one frequency: a real field has one variance there.
    power = (power + np.roll(power[::-1, ::-1], (1, 1), (0, 1))) / 2
    return power / power.mean()


def _strokes(side: int) -> Array:
    """|f|²·(1 + |f|²/9)^−4 over the frequencies (H, W): most of it near three cycles a picture."""
    f = np.fft.fftfreq(side, 1 / side)
    square = f[:, None] ** 2 + f[None] ** 2
    return square * (1 + square / 9) ** -4


def _window(side: int) -> Array:
    """(H, W): a bell of deviation REACH in the middle."""
    place = (np.arange(side) - (side - 1) / 2) / (REACH * side)
    bell = np.exp(-0.5 * place**2)
    return bell[:, None] * bell


def _lots(n: int, size: int) -> Generator[npt.NDArray[np.int64]]:
    for first in range(0, n, size):
        yield np.arange(first, min(first + size, n))


__all__ = ["Fields"]
