"""Points and rows of numbers: as they are, or standardised by a fixed mean and scale."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from unnoise.config import UserError
from unnoise.modality.modality import Modality, Raw, to_host
from unnoise.tensor import Float, Tensor


@dataclass(frozen=True, kw_only=True)
class Points(Modality):
    """x = (raw − mean)/scale, raw (B, D); mean and scale are one number, or one for each coordinate."""

    mean: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0

    name: ClassVar[str] = "points"

    def __post_init__(self) -> None:
        mean, scale = np.atleast_1d(self.mean), np.atleast_1d(self.scale)
        if not np.isfinite(mean).all():
            raise UserError(f"the mean of points is finite, got {self.mean}")
        if not ((scale > 0) & (scale < np.inf)).all():
            raise UserError(f"the scale of points is above 0 and finite, got {self.scale}")

    def encode(self, raw: Raw, rng: np.random.Generator | None = None) -> Float[Tensor, "B D"]:
        """Raw (B, D) → float32 (B, D)."""
        if raw.ndim != 2:
            raise UserError(f"points have the axes (B, D), got the shape {raw.shape}")
        mean, scale = self._numbers(raw.shape[1])
        return torch.from_numpy(((raw - mean) / scale).astype(np.float32))

    def quantise(self, x: Float[Tensor, "B D"]) -> npt.NDArray[np.float32]:
        """In the raw units; points lie between whole numbers, so nothing is rounded."""
        mean, scale = self._numbers(x.shape[1])
        return (to_host(x) * scale + mean).astype(np.float32)

    def decode(self, x: Float[Tensor, "B D"]) -> list[npt.NDArray[np.float32]]:
        """Rows (D,) in the raw units."""
        return list(self.quantise(x))

    def render(self, x: Float[Tensor, "D"]) -> tuple[bytes, str]:
        """One line of CSV; the numbers are long enough to be read back exactly."""
        row = self.quantise(x[None])[0]
        return (",".join(f"{value:.9g}" for value in row) + "\n").encode(), "text/csv"

    def _numbers(self, dim: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        mean, scale = np.atleast_1d(self.mean), np.atleast_1d(self.scale)
        for what, values in (("mean", mean), ("scale", scale)):
            if len(values) not in (1, dim):
                raise UserError(f"points have {dim} coordinates, but {what} has {len(values)} numbers")
        return mean.astype(np.float64), scale.astype(np.float64)


__all__ = ["Points"]
