"""Pictures mirrored, moved, turned, zoomed, stretched and sheared, all in one resampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional as F

from unnoise.augment.augment import Augment
from unnoise.config import UserError
from unnoise.tensor import Array, Float, Tensor

OUTSIDE = {"reflect": "reflection", "edge": "border"}  # torch's names


@dataclass(frozen=True, kw_only=True)
class Mirror(Augment):
    """Half of the pictures, left for right. Not told: for pictures that are as likely the other way round."""

    def __call__(
        self, x0: Float[Tensor, "B *dims"], rng: np.random.Generator
    ) -> tuple[Float[Tensor, "B *dims"], Float[Tensor, "B width"]]:
        """x0 (B, C, H, W) → the same shape."""
        _pictures(x0)
        turned = torch.from_numpy(rng.random(len(x0)) < 0.5)
        return torch.where(turned.reshape(-1, 1, 1, 1), x0.flip(-1), x0), x0.new_zeros(len(x0), 0)


@dataclass(frozen=True, kw_only=True)
class Warp(Augment):
    """Six changes, each of which befalls a picture with the probability `share`, and all of which are told.

    mirror: left for right, as likely as not; turn: by an angle uniform up to so many degrees either way; zoom: by
    2^(zoom·n); stretch: the width by 2^(stretch·n), the height by its inverse; shear: the rows by shear·n; shift:
    by shift·n of the picture's sides; each n standard normal and its own. A deviation of 0 leaves a change out.
    Told: mirror, cos − 1 and sin of the angle, and every n: (B, 8). Pixels are cubic between (Keys, 1981); what
    lies outside is the picture again, reflected, or its edge.
    """

    share: float = 0.12
    mirror: bool = True
    turn: float = 20.0
    zoom: float = 0.2
    stretch: float = 0.2
    shear: float = 0.1
    shift: float = 0.1
    outside: Literal["reflect", "edge"] = "reflect"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UserError(f"share is a probability above 0, up to 1, got {self.share}")
        for name in ("turn", "zoom", "stretch", "shear", "shift"):
            if not 0 <= getattr(self, name) < np.inf:
                raise UserError(f"{name} must be 0 or more, got {getattr(self, name)}")

    @property
    def width(self) -> int:
        return 8

    def __call__(
        self, x0: Float[Tensor, "B *dims"], rng: np.random.Generator
    ) -> tuple[Float[Tensor, "B *dims"], Float[Tensor, "B width"]]:
        """x0 (B, C, H, W) → the same shape, and what is told (B, 8)."""
        _pictures(x0)
        size = len(x0)
        on = rng.random((size, 6)) < self.share
        n, u = rng.standard_normal((size, 5)), rng.random((size, 2))
        mirror = on[:, 0] & (u[:, 0] < 0.5) & self.mirror
        angle = np.where(on[:, 1], np.deg2rad(self.turn) * (2 * u[:, 1] - 1), 0.0)
        # One number a change (two for the shift), 0 where it was not made.
        deviations = np.array([self.zoom, self.stretch, self.shear, self.shift, self.shift])
        n = np.where(on[:, [2, 3, 4, 5, 5]] & (deviations > 0), n, 0.0)
        zoom, stretch, shear, *shift = (deviations * n).T
        told = np.stack([mirror, np.cos(angle) - 1, np.sin(angle), *n.T], axis=1)
        changed = told.any(axis=1)
        if not changed.any():
            return x0, torch.from_numpy(told.astype(np.float32))
        # From a place of the result to the place of the picture that is seen there: each change undone, in turn.
        flip = np.where(mirror, -1.0, 1.0)
        cos, sin = np.cos(angle), np.sin(angle)
        matrix = _rows([cos, sin], [-sin, cos]) @ _rows([1.0, -shear], [0.0, 1.0])
        matrix = _rows([flip * 2 ** -(zoom + stretch), 0.0], [0.0, 2 ** (stretch - zoom)]) @ matrix
        sides = np.array([x0.shape[-1], x0.shape[-2]])
        offset = matrix @ (-np.stack(shift, axis=1) * sides)[..., None]
        rows = torch.from_numpy(np.flatnonzero(changed))
        moved = resample(x0[rows], matrix[changed], offset[changed, :, 0], self.outside)
        return x0.index_copy(0, rows, moved), torch.from_numpy(told.astype(np.float32))


def resample(
    x: Float[Tensor, "B C H W"], matrix: Array, offset: Array, outside: str = "reflect"
) -> Float[Tensor, "B C H W"]:
    """The picture whose pixel at p shows what x holds at matrix·p + offset, cubic between pixels.

    p = (right, down) in pixels from the centre; matrix: (B, 2, 2), offset: (B, 2).
    """
    sides = np.array([x.shape[-1], x.shape[-2]], dtype=np.float64)
    # torch counts from −1 to 1 over each side, whatever the other's length
    theta = np.concatenate([matrix * sides / sides[:, None], 2 * offset[..., None] / sides[:, None]], axis=2)
    grid = F.affine_grid(torch.from_numpy(theta).to(x), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bicubic", padding_mode=OUTSIDE[outside], align_corners=False)


def _rows(first: Sequence[Any], second: Sequence[Any]) -> Array:
    """Matrices (B, 2, 2) of their entries, each a number or (B,)."""
    entries = np.broadcast_arrays(*first, *second)
    return np.stack(entries, axis=-1).reshape(-1, 2, 2).astype(np.float64)


def _pictures(x0: Tensor) -> None:
    if x0.ndim != 4:
        raise UserError(
            f"only pictures (B, C, H, W) can be mirrored and warped, got items of shape {tuple(x0.shape[1:])}"
        )


__all__ = ["Mirror", "Warp", "resample"]
