"""Drawn pictures of one filled shape each, with label, size and position known exactly."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError
from unnoise.data.outlines import KINDS, cover
from unnoise.data.source import Items, Raw, World
from unnoise.rng import host
from unnoise.tensor import Array


@dataclass(frozen=True, kw_only=True)
class Shapes(World):
    """Circles, squares and equilateral triangles, items (N, channels, side, side) uint8 in 0..255.

    cond: label int64; size float32, the diameter or the side as a share of the picture; position float32
    (N, 2), the centroid (x, y) from the upper left corner, in shares too. The shape lies inside the
    picture, filled, upright, on black; in grey it is white, in three channels of a random hue.
    The grey of a pixel is the share of it that the shape covers.
    """

    side: int = 32  # pixels
    channels: int = 1
    smallest: float = 0.25
    largest: float = 0.6
    items: int = 20_000
    held_out: int = 2_000

    name: ClassVar[str] = "shapes"

    @property
    def raw(self) -> str:
        return "image"

    @property
    def classes(self) -> tuple[str, ...]:
        return KINDS[:3]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels not in (1, 3):
            raise UserError(f"channels is 1 (grey) or 3 (colour), got {self.channels}")
        if self.side < 4:
            raise UserError(f"a picture has at least 4 pixels a side, got {self.side}")
        if not 0 < self.smallest <= self.largest <= 0.8:
            raise UserError(
                f"sizes are shares of the picture with 0 < smallest <= largest <= 0.8, "
                f"got {self.smallest} and {self.largest}"
            )

    def _make(self, n: int, *words: int | str) -> Items:
        u = host(*words).random((n, 5))
        label = np.floor(3 * u[:, 0]).astype(np.int64)
        size = self.smallest + (self.largest - self.smallest) * u[:, 1]
        edge = size[:, None] / np.sqrt(3)  # the farthest reach of the three, a corner of the triangle
        position = edge + (1 - 2 * edge) * u[:, 2:4]
        covered = _cover(label, size * self.side, position * self.side, self.side)
        colour = _hue(u[:, 4]) if self.channels == 3 else np.ones((n, 1), np.float32)
        items = np.empty((n, self.channels, self.side, self.side), np.uint8)
        for channel in range(self.channels):
            items[:, channel] = np.rint(255 * colour[:, channel, None, None] * covered)
        cond: dict[str, Raw] = {
            "label": label,
            "size": size.astype(np.float32),
            "position": position.astype(np.float32),
        }
        return Items(items, cond)


def _hue(u: Array) -> npt.NDArray[np.float32]:
    """Saturated colours around the circle of hues: (N,) in [0, 1) → (N, 3) in [0, 1]."""
    phase = 6 * (u[:, None] + np.array([0.0, 2 / 3, 1 / 3])) % 6
    return np.minimum(np.maximum(np.abs(phase - 3) - 1, 0), 1).astype(np.float32)


def _cover(label: npt.NDArray[np.int64], size: Array, centre: Array, side: int) -> npt.NDArray[np.float32]:
    """The covered share of each pixel (N, side, side); size (N,) and centre (N, 2) in pixels."""
    out = np.empty((len(label), side, side), np.float32)
    for kind in range(3):
        which = np.flatnonzero(label == kind)
        corner = np.zeros((len(which), 2), np.int64)
        out[which] = cover(kind, size[which], centre[which], corner, side)
    return out


__all__ = ["Shapes"]
