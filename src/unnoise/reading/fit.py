"""A picture of any size → the size that a model takes: reduced without aliasing, cut, padded, or stretched."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import PIL.Image

Size: TypeAlias = tuple[int, int]  # (height, width)
Pixels: TypeAlias = npt.NDArray[np.uint8]
Crop: TypeAlias = Literal["centre", "random", "pad", "stretch"]
Filter: TypeAlias = Literal["lanczos", "bicubic", "box", "nearest"]

FILTERS = {
    "lanczos": PIL.Image.Resampling.LANCZOS,
    "bicubic": PIL.Image.Resampling.BICUBIC,
    "box": PIL.Image.Resampling.BOX,
    "nearest": PIL.Image.Resampling.NEAREST,
}
ROOM = 3.0  # a picture much too large is halved by plain means first, down to this many times the size


@dataclass(frozen=True)
class Fit:
    """How a picture comes to `size`.

    centre: the largest part in the middle that has the proportions of `size`. random: the same in the middle for
    measuring, and for training a window anywhere along the longer side. pad: all of it, on the background.
    stretch: all of it, out of proportion. Filters are widened by the factor of reduction, so nothing aliases, and
    work on the values as stored (sRGB), as is the custom; `nearest` alone picks pixels and keeps hard edges.
    """

    size: Size
    crop: Crop = "centre"
    filter: Filter = "lanczos"
    background: tuple[int, int, int] = (255, 255, 255)

    def middle(self, image: PIL.Image.Image, size: Size | None = None) -> PIL.Image.Image:
        """The picture at `size` (if not self.size), always the same."""
        height, width = size or self.size
        if self.crop == "pad":
            return self._padded(image, height, width)
        whole = (0.0, 0.0, float(image.width), float(image.height))
        box = whole if self.crop == "stretch" else part(image.width, image.height, width, height)
        return self._resized(image, width, height, box)

    def around(self, image: PIL.Image.Image) -> PIL.Image.Image:
        """The whole picture, just large enough that a window of `size` fits in."""
        height, width = self.size
        scale = max(width / image.width, height / image.height)
        wide, high = max(width, round(image.width * scale)), max(height, round(image.height * scale))
        return self._resized(image, wide, high, (0.0, 0.0, float(image.width), float(image.height)))

    def _padded(self, image: PIL.Image.Image, height: int, width: int) -> PIL.Image.Image:
        scale = min(width / image.width, height / image.height)
        wide, high = max(1, min(width, round(image.width * scale))), max(1, min(height, round(image.height * scale)))
        inner = self._resized(image, wide, high, (0.0, 0.0, float(image.width), float(image.height)))
        grey = image.mode == "L" and len(set(self.background)) == 1
        ground = self.background[0] if grey else self.background
        made = PIL.Image.new("L" if grey else "RGB", (width, height), ground)
        made.paste(inner, ((width - wide) // 2, (height - high) // 2))
        return made

    def _resized(
        self, image: PIL.Image.Image, width: int, height: int, box: tuple[float, float, float, float]
    ) -> PIL.Image.Image:
        plain = self.filter == "nearest"
        return image.resize((width, height), FILTERS[self.filter], box, None if plain else ROOM)


def part(width: int, height: int, wide: int, high: int) -> tuple[float, float, float, float]:
    """The largest box (left, upper, right, lower) of the proportions wide:high in the middle of width by height."""
    across, down = min(width, height * wide / high), min(height, width * high / wide)
    left, upper = (width - across) / 2, (height - down) / 2
    return left, upper, left + across, upper + down


def bucket(width: int, height: int, sizes: tuple[Size, ...]) -> Size:
    """Which of the sizes comes nearest in proportion, on the scale of ratios."""
    ratio = np.log(height / width)
    return min(sizes, key=lambda size: abs(np.log(size[0] / size[1]) - ratio))


def bucket_sizes(size: Size, unit: int, widest: float) -> tuple[Size, ...]:
    """The shapes of the buckets: sides in multiples of `unit`, about as large as `size`, up to widest:1 and 1:widest.

    For each height that is a multiple of the unit, the width whose area comes nearest to the base's; the base itself
    is one of them.
    """
    area = size[0] * size[1]
    found = {size}
    for high in range(unit, int(np.sqrt(area * widest)) + unit, unit):
        wide = max(unit, round(area / high / unit) * unit)
        if 1 / widest <= wide / high <= widest and abs(high * wide / area - 1) <= 0.25:
            found.add((high, wide))
    return tuple(sorted(found))


def pixels(image: PIL.Image.Image, channels: int) -> Pixels:
    """(C, H, W) uint8; grey of colour is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601)."""
    mode = "L" if channels == 1 else "RGB"
    values: Any = np.asarray(image if image.mode == mode else image.convert(mode))
    return np.ascontiguousarray(values[None] if channels == 1 else np.moveaxis(values, -1, 0))


__all__ = ["Crop", "Filter", "Fit", "Pixels", "Size", "bucket", "bucket_sizes", "part", "pixels"]
