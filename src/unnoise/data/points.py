"""Worlds in the plane, to look at: centred, with |x|² = 2 on average before the noise.

Each world maps uniform numbers to places, and adds isotropic normal noise of deviation `noise`. The
constants that centre and scale a world are the closed forms of its mean and variance.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from unnoise.config import UserError
from unnoise.data.source import Items, World
from unnoise.rng import host
from unnoise.tensor import Array

PI = np.pi


@dataclass(frozen=True, kw_only=True)
class Plane(World):
    """A world of points (N, 2) float32. arms: of how many curves it consists; 0 where areas are filled."""

    noise: float = 0.05
    arms: ClassVar[int] = 0

    @property
    def raw(self) -> str:
        return "points"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.noise < np.inf:
            raise UserError(f"noise is a deviation, 0 or more, got {self.noise}")

    def _make(self, n: int, *words: int | str) -> Items:
        # Rows are filled one after the other from two streams, so item i does not depend on n.
        uniform = host(*words, "place").random((n, 3))
        jitter = host(*words, "noise").standard_normal((n, 2))
        points = (self._place(uniform) + self.noise * jitter).astype(np.float32)
        if not self.classes:
            return Items(points)
        return Items(points, {"label": _choice(uniform[:, 0], len(self.classes))})

    def nodes(self, count: int = 2048) -> Array:
        """Places on its curves (count, 2), equally likely, by the midpoint rule along each: an integral over the law
        without its noise is the mean over them."""
        if not self.arms:
            raise UserError(f"{self.name} fills areas: it has no curve to place nodes on")
        along, arm = (np.arange(k) + 0.5 for k in (count // self.arms, self.arms))
        u = np.meshgrid(along / len(along), arm / self.arms, [0.5], indexing="ij")
        return self._place(np.stack([part.ravel() for part in u], axis=1))

    @abstractmethod
    def _place(self, u: Array) -> Array:
        """Uniform numbers (n, 3) in [0, 1) → points (n, 2) without noise; a label is read from u[:, 0]."""


def _choice(u: Array, options: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.floor(u * options).astype(np.int64)


def _ring(angle: Any) -> Array:
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


@dataclass(frozen=True, kw_only=True)
class Spiral(Plane):
    """Two arms of Archimedes' spiral, one and a half turns each: r = 2·sqrt(u), angle = 3π·sqrt(u) (+ π)."""

    name: ClassVar[str] = "spiral"
    arms: ClassVar[int] = 2

    def _place(self, u: Array) -> Array:
        along = np.sqrt(u[:, :1])  # denser outside, so that the arm is nearly even along its length
        arm = PI * _choice(u[:, 1], 2)
        return 2 * along * _ring(3 * PI * along[:, 0] + arm)  # E r² = 2


@dataclass(frozen=True, kw_only=True)
class SwissRoll(Plane):
    """The Swiss roll seen from the side: t·(cos t, sin t), t uniform in [3π/2, 9π/2] (Marsland, 2009).

    The same curve as scikit-learn's make_swiss_roll without its width, centred and scaled.
    """

    name: ClassVar[str] = "swissroll"
    arms: ClassVar[int] = 1

    def _place(self, u: Array) -> Array:
        t = 1.5 * PI * (1 + 2 * u[:, :1])
        centre = np.array([2.0, 2 / (3 * PI)])  # ∫ t·cos t and ∫ t·sin t over the interval, by its length 3π
        variance = (9.75 * PI**2 - centre @ centre) / 2  # E t² = 9.75 π²
        return (t * _ring(t[:, 0]) - centre) / np.sqrt(variance)


@dataclass(frozen=True, kw_only=True)
class Moons(Plane):
    """Two interleaved half circles: (cos a, sin a) and (1 − cos a, 1/2 − sin a), a uniform in [0, π]."""

    name: ClassVar[str] = "moons"
    arms: ClassVar[int] = 2

    def _place(self, u: Array) -> Array:
        lower = _choice(u[:, 1], 2)[:, None]
        upper = _ring(PI * u[:, 0])
        points = np.where(lower == 1, np.array([1.0, 0.5]) - upper, upper)
        variance = (0.75 + 9 / 16 - 1 / PI) / 2  # E (cos a − 1/2)² + E (sin a − 1/4)², by two coordinates
        return (points - np.array([0.5, 0.25])) / np.sqrt(variance)


@dataclass(frozen=True, kw_only=True)
class Gaussians8(Plane):
    """Eight normal bells of deviation `noise` on a circle of radius sqrt(2), equally often."""

    name: ClassVar[str] = "gaussians8"
    noise: float = 0.14

    @property
    def centres(self) -> Array:
        """(8, 2), exact."""
        return np.sqrt(2) * _ring(PI / 4 * np.arange(8))

    def _place(self, u: Array) -> Array:
        return self.centres[_choice(u[:, 0], 8)]


@dataclass(frozen=True, kw_only=True)
class Checkerboard(Plane):
    """The dark fields of a board of 4 by 4, evenly filled; the board is [−sqrt 3, sqrt 3]²."""

    name: ClassVar[str] = "checkerboard"
    noise: float = 0.0

    def _place(self, u: Array) -> Array:
        field = _choice(u[:, 0], 8)
        row = field // 2
        column = 2 * (field % 2) + row % 2
        corner = np.stack([column, row], axis=1)
        return np.sqrt(3) * ((corner + u[:, 1:]) / 2 - 1)


@dataclass(frozen=True, kw_only=True)
class Classes2d(Plane):
    """Three labelled figures side by side in a triangle: a ring, a filled square, a normal blob."""

    name: ClassVar[str] = "classes2d"
    noise: float = 0.03

    @property
    def classes(self) -> tuple[str, ...]:
        return ("ring", "square", "blob")

    def _place(self, u: Array) -> Array:
        label = _choice(u[:, 0], 3)[:, None]
        turn = 2 * PI * u[:, 2]
        ring = 0.6 * _ring(turn)  # variance 0.18 for each coordinate
        square = np.sqrt(12 * 0.08) * (u[:, 1:] - 0.5)  # variance 0.08
        bell = np.sqrt(-2 * np.log1p(-u[:, 1:2])) * _ring(turn)  # Box & Muller, 1958
        blob = 0.2 * bell  # variance 0.04
        # The centres lie on a circle of variance 0.9: with the mean 0.1 of the figures' own it makes 1.
        centre = np.sqrt(1.8) * _ring(PI / 2 + 2 * PI / 3 * label[:, 0])
        return centre + np.select([label == 0, label == 1], [ring, square], blob)


__all__ = ["Checkerboard", "Classes2d", "Gaussians8", "Moons", "Plane", "Spiral", "SwissRoll"]
