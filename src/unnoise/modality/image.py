"""Pictures: whole numbers low .. high in 1 or 3 channels ↔ [-1, 1]."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import ClassVar

import numpy as np
import PIL.Image
import torch

from unnoise.config import UserError
from unnoise.modality.modality import Modality, Raw, to_host
from unnoise.tensor import Float, Tensor

LARGEST = 1 << 16  # levels: float32 tells neighbours apart with bits to spare


@dataclass(frozen=True, kw_only=True)
class Image(Modality):
    """x = 2·(raw − low)/(high − low) − 1, raw whole numbers (B, C, H, W) or (B, H, W) in low .. high.

    With `dequantise` and an rng, raw becomes raw + u, u uniform over the unit cell around it, so that a
    density exists (Uria et al., RNADE, 2013): the outermost cells reach half a unit beyond [-1, 1].
    Rounding undoes it exactly.
    """

    low: int = 0
    high: int = 255
    dequantise: bool = False

    name: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        if not 1 <= self.high - self.low < LARGEST:
            raise UserError(
                f"a picture's levels run from low to a higher high, at most {LARGEST} of them, "
                f"got low={self.low} and high={self.high}"
            )

    @property
    def cell(self) -> float:
        return 0.0 if self.dequantise else 2 / (self.high - self.low)

    def encode(self, raw: Raw, rng: np.random.Generator | None = None) -> Float[Tensor, "B C H W"]:
        """Raw (B, C, H, W) or (B, H, W) → float32 (B, C, H, W)."""
        if raw.ndim == 3:
            raw = np.expand_dims(raw, 1)
        if raw.ndim != 4:
            raise UserError(f"pictures have the axes (B, C, H, W) or (B, H, W), got the shape {raw.shape}")
        if raw.size and not (raw.min() >= self.low and raw.max() <= self.high):
            raise UserError(f"pictures have levels {self.low} .. {self.high}, got values {raw.min()} .. {raw.max()}")
        levels = raw.astype(np.float64) - self.low
        if self.dequantise and rng is not None:
            # The cell is narrowed by the rounding of float32, lest an edge round into its neighbour.
            width = 1 - 2 * (self.high - self.low) * 2.0**-24
            levels += width * (rng.random(levels.shape) - 0.5)
        return torch.from_numpy((levels * (2 / (self.high - self.low)) - 1).astype(np.float32))

    @property
    def whole(self) -> bool:
        return True

    def log_unit(self, shape: tuple[int, ...]) -> float:
        return float(np.prod(shape) * np.log((self.high - self.low) / 2))

    def quantise(self, x: Float[Tensor, "B C H W"]) -> Raw:
        """Rounded and clipped to low .. high; (B, C, H, W) in the smallest integer type that holds them."""
        levels = np.rint((to_host(x) + 1) * ((self.high - self.low) / 2)) + self.low
        kind = np.promote_types(np.min_scalar_type(self.low), np.min_scalar_type(self.high))
        return np.minimum(np.maximum(levels, self.low), self.high).astype(kind)

    def decode(self, x: Float[Tensor, "B C H W"]) -> list[PIL.Image.Image]:
        """Pictures of 8 bits: grey for one channel, RGB for three; low is black and high is full."""
        if x.shape[1] not in (1, 3):
            raise UserError(f"a picture has 1 channel (grey) or 3 (RGB), got {x.shape[1]}")
        share = (self.quantise(x).astype(np.float64) - self.low) / (self.high - self.low)
        bytes_ = np.moveaxis(np.rint(255 * share).astype(np.uint8), 1, -1)
        return [PIL.Image.fromarray(item[..., 0] if item.shape[-1] == 1 else item) for item in bytes_]

    def batch(self, things: Sequence[PIL.Image.Image]) -> Raw:
        """Pictures of 8 bits, grey or RGB, all of one size → (B, C, H, W), 0 at low and 255 at high."""
        bytes_ = [np.asarray(thing if thing.mode in ("L", "RGB") else thing.convert("RGB")) for thing in things]
        if len({item.shape for item in bytes_}) > 1:
            raise UserError("the pictures of a batch have one size, and are all grey or all in colour")
        share = np.stack([item[None] if item.ndim == 2 else np.moveaxis(item, -1, 0) for item in bytes_]) / 255
        levels = np.rint(share * (self.high - self.low)) + self.low
        return levels.astype(np.promote_types(np.min_scalar_type(self.low), np.min_scalar_type(self.high)))

    def show(self, x: Float[Tensor, "B C H W"]) -> list[PIL.Image.Image]:
        """What a person looks at: the pictures."""
        return self.decode(x)

    def render(self, x: Float[Tensor, "C H W"], upscale: int = 1) -> tuple[bytes, str]:
        """PNG; every pixel is drawn as upscale by upscale pixels, for pictures too small to see."""
        if upscale < 1:
            raise UserError(f"upscale is a whole number of 1 or more, got {upscale}")
        picture = self.decode(x[None])[0]
        if upscale > 1:
            size = (picture.width * upscale, picture.height * upscale)
            picture = picture.resize(size, PIL.Image.Resampling.NEAREST)
        file = BytesIO()
        picture.save(file, format="PNG")
        return file.getvalue(), "image/png"


__all__ = ["Image"]
