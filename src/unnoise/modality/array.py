"""Arrays: signals, fields and volumes of floats or whole numbers, standardised as a whole or by channel."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch

from unnoise.config import UserError
from unnoise.modality.modality import Modality, Raw, to_host
from unnoise.modality.views import view
from unnoise.tensor import Float, Tensor

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Array(Modality):
    """x = (raw − mean)/scale, raw (B, C, *sizes); mean and scale are one number, or one for each channel.

    low, high: what is drawn black and white in pictures; silent: three scales about the mean. layout: the axes of a
    single thing as a person has it, such as HWC or HW; silent: (C, *sizes). dtype: of what comes out; whole numbers
    are rounded, and clipped to their type.
    """

    mean: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    low: float | None = None
    high: float | None = None
    layout: str = ""
    dtype: str = "float32"

    name: ClassVar[str] = "array"

    def __post_init__(self) -> None:
        mean, scale = np.atleast_1d(self.mean), np.atleast_1d(self.scale)
        if not np.isfinite(mean).all():
            raise UserError(f"the mean of arrays is finite, got {self.mean}")
        if not ((scale > 0) & (scale < np.inf)).all():
            raise UserError(f"the scale of arrays is above 0 and finite, got {self.scale}")
        if np.dtype(self.dtype).kind not in "fiub":
            raise UserError(f"arrays are of floats or whole numbers, got dtype {self.dtype}")
        if len(set(self.layout)) != len(self.layout):
            raise UserError(f"a layout names each axis once, such as HWC, got '{self.layout}'")

    def encode(self, raw: Raw, rng: np.random.Generator | None = None) -> Float[Tensor, "B C *sizes"]:
        """Raw (B, C, *sizes) → float32."""
        if raw.ndim < 3:
            raise UserError(f"arrays have the axes (B, C, *sizes), got the shape {raw.shape}")
        mean, scale = self._numbers(raw.shape)
        return torch.from_numpy(((raw - mean) / scale).astype(np.float32))

    @property
    def whole(self) -> bool:
        return np.dtype(self.dtype).kind in "iub"

    def log_unit(self, shape: tuple[int, ...]) -> float:
        _, scale = self._numbers((1, *shape))
        return float(np.broadcast_to(np.log(scale), shape).sum())

    def quantise(self, x: Float[Tensor, "B C *sizes"]) -> Raw:
        """In the raw units and type; whole numbers rounded and clipped to the range of their type."""
        mean, scale = self._numbers(tuple(x.shape))
        raw, kind = to_host(x) * scale + mean, np.dtype(self.dtype)
        if kind.kind == "f":
            return raw.astype(kind)
        low, high = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
        # The largest integer of 64 bits is no float64: the step below it is the largest that can be cast.
        top = min(float(high), np.nextafter(float(high), 0)) if float(high) > high else float(high)
        return np.clip(np.rint(raw), float(low), top).astype(kind)

    def distances(self, raw: Raw) -> Numbers:
        """raw/scale, so that channels of different units count alike."""
        return raw / self._numbers(raw.shape)[1]

    def decode(self, x: Float[Tensor, "B C *sizes"]) -> list[Raw]:
        """Arrays with the axes that `layout` names."""
        return list(self.laid(self.quantise(x)))

    def batch(self, things: Sequence[Any]) -> Raw:
        """Arrays with the axes that `layout` names → (B, C, *sizes)."""
        raw = np.stack([np.asarray(thing) for thing in things])
        if not self.layout:
            return raw
        if raw.ndim != len(self.layout) + 1:
            raise UserError(f"layout {self.layout} names {len(self.layout)} axes, and these arrays have {raw.ndim - 1}")
        return raw[:, None] if "C" not in self.layout else np.moveaxis(raw, 1 + self.layout.index("C"), 1)

    def laid(self, raw: Raw) -> Raw:
        """Raw (N, C, *sizes) → (N, ..) with the axes of `layout`, a channel axis that it does not name dropped."""
        if not self.layout:
            return raw
        sizes = self.layout.replace("C", "")
        if len(sizes) != raw.ndim - 2:
            raise UserError(f"layout {self.layout} names {len(sizes)} sizes, and items have {raw.ndim - 2}")
        if "C" not in self.layout:
            return raw[:, 0]
        return np.moveaxis(raw, 1, 1 + self.layout.index("C"))

    def show(self, x: Float[Tensor, "B C *sizes"]) -> list[PIL.Image.Image]:
        """What a person looks at: fields as pictures, signals as curves, volumes as slices, from low to high."""
        mean, scale = self._numbers(tuple(x.shape))
        low = float((mean - 3 * scale).min()) if self.low is None else self.low
        high = float((mean + 3 * scale).max()) if self.high is None else self.high
        share = (self.quantise(x).astype(np.float64) - low) / max(high - low, 1e-30)
        return [view(np.clip(item, 0, 1)) for item in share]

    def render(self, x: Float[Tensor, "C *sizes"]) -> tuple[bytes, str]:
        """PNG of a field of one channel or three; the bytes of a .npy file of all else."""
        file = io.BytesIO()
        if x.ndim == 3 and x.shape[0] in (1, 3):
            self.show(x[None])[0].save(file, format="PNG")
            return file.getvalue(), "image/png"
        np.save(file, self.decode(x[None])[0], allow_pickle=False)
        return file.getvalue(), "application/octet-stream"

    def _numbers(self, shape: tuple[int, ...]) -> tuple[Numbers, Numbers]:
        """Mean and scale as (C or 1, 1, ..), to stand against (B, C, *sizes)."""
        made: list[Any] = []
        for what, values in (("mean", np.atleast_1d(self.mean)), ("scale", np.atleast_1d(self.scale))):
            if len(values) not in (1, shape[1]):
                raise UserError(f"these arrays have {shape[1]} channels, but {what} has {len(values)} numbers")
            made.append(values.astype(np.float64).reshape(-1, *(1,) * (len(shape) - 2)))
        return made[0], made[1]


__all__ = ["Array"]
