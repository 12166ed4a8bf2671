"""Pictures as a published network was shown them: bytes in three channels, and the resizing that belongs to it.

A distance on a network's features belongs to its resizing as much as to its weights: Parmar et al. (On aliased
resizing, 2022) find whole points of a Fréchet distance between these on the same pictures.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch

from unnoise.config import UserError
from unnoise.tensor import Float, Tensor

Levels = tuple[int | float, int | float] | None  # what is black and full in raw pictures; None: bytes alone tell


def as_bytes(raw: npt.NDArray[Any], levels: Levels = None) -> npt.NDArray[np.uint8]:
    """Raw pictures (N, C, H, W), black and full at `levels` → (N, 3, H, W) uint8, grey in three equal channels."""
    if raw.ndim != 4 or raw.shape[1] not in (1, 3):
        raise UserError(f"these features are of pictures (N, 1 or 3, height, width), got items of {raw.shape[1:]}")
    if levels is None and raw.dtype != np.uint8:
        raise UserError(
            f"these features are of pictures in bytes 0 .. 255 (uint8), and nothing says what is black and full in "
            f"{raw.dtype}: store them as uint8"
        )
    low, high = levels or (0, 255)
    if raw.dtype != np.uint8 or (low, high) != (0, 255):
        share = (raw.astype(np.float64) - low) / (high - low)
        raw = np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
    return np.repeat(raw, 3, axis=1) if raw.shape[1] == 1 else np.ascontiguousarray(raw)


def tensorflow(x: Float[Tensor, "B C H W"], size: int) -> Float[Tensor, "B C S S"]:
    """TensorFlow 1's bilinear resizing: pixel i of the result stands at i·H/S of x, its first at the first of x.

    Not at the middles, and without widening where it shrinks: what the graph of 2015 does inside, so what the
    published distances were read on. Places in float32, as there.
    """
    (low, high, share) = _places(x.shape[3], size, x)
    rows = x[..., low] + (x[..., high] - x[..., low]) * share
    low, high, share = _places(x.shape[2], size, x)
    return rows[..., low, :] + (rows[..., high, :] - rows[..., low, :]) * share[:, None]


def _places(given: int, size: int, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each of `size` pixels the two between which it falls, and how far from the first: (S,) each."""
    step = np.float32(given) / np.float32(size)
    place = np.arange(size, dtype=np.float32) * step
    low = np.minimum(place.astype(np.int64), given - 1)
    high = np.minimum(low + 1, given - 1)
    share = torch.from_numpy(place - low.astype(np.float32)).to(x)
    return torch.from_numpy(low).to(x.device), torch.from_numpy(high).to(x.device), share


def bilinear(x: Float[Tensor, "B C H W"], size: int) -> Float[Tensor, "B C S S"]:
    """torch's bilinear resizing between the middles of pixels, without widening where it shrinks."""
    return torch.nn.functional.interpolate(x, (size, size), mode="bilinear", align_corners=False)


def bicubic(pictures: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.float32]:
    """Keys' cubic (a = −1/2), widened where it shrinks, in float32: (N, 3, H, W) → (N, 3, height, width) in 0 .. 255.

    Of Pillow, channel by channel and neither rounded nor beyond the bytes' range: the "clean" resizing of Parmar et al.
    """
    out = np.empty((*pictures.shape[:2], height, width), np.float32)
    for i, picture in enumerate(pictures):
        for c, plane in enumerate(picture):
            image = PIL.Image.fromarray(plane.astype(np.float32))
            out[i, c] = np.asarray(image.resize((width, height), PIL.Image.Resampling.BICUBIC))
    return np.clip(out, 0, 255, out=out)


__all__ = ["Levels", "as_bytes", "bicubic", "bilinear", "tensorflow"]
