"""Pictures of different sizes, one after the other in a file, of which windows are taken."""

import mmap
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


class Mapped:
    """A file that is mapped, on its way to another process: its name and form travel, and none of its numbers."""

    def __init__(self, array: Any):
        self._form = array.filename, array.dtype, array.offset, array.shape

    def open(self) -> npt.NDArray[Any]:
        name, dtype, offset, shape = self._form
        return np.memmap(name, dtype, "r", offset, shape)


def lent(array: npt.NDArray[Any]) -> npt.NDArray[Any] | Mapped:
    """What stands for an array in a pickle: itself, or where it is a whole mapped file, that."""
    whole = isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap) and array.flags.c_contiguous
    return Mapped(array) if whole and array.filename else array  # pyright: ignore[reportAttributeAccessIssue]


def taken(array: npt.NDArray[Any] | Mapped) -> npt.NDArray[Any]:
    """The array again."""
    return array.open() if isinstance(array, Mapped) else array


@dataclass(frozen=True, eq=False)
class Windows:
    """N pictures of `channels` channels: `flat` holds all their bytes, (C, H, W) each; `index` (N, 3) is start, H, W.

    `flat` may be a np.memmap: only what is taken is read.
    """

    flat: Pixels
    index: npt.NDArray[np.int64]
    channels: int

    def __len__(self) -> int:
        return len(self.index)

    def __reduce__(self) -> tuple[Any, ...]:
        return _windows, (lent(self.flat), self.index, self.channels)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """(N, 2): height and width of each."""
        return self.index[:, 1:]

    def picture(self, row: Any) -> Pixels:
        """(C, H, W) of one, whole."""
        start, height, width = (int(number) for number in self.index[row])
        return self.flat[start : start + self.channels * height * width].reshape(self.channels, height, width)

    def take(self, rows: Any, size: tuple[int, int], rng: np.random.Generator) -> Pixels:
        """A window of `size` of each picture, anywhere in it: (B, C, *size). The picture is no smaller than that."""
        room = self.sizes[rows] - size + 1
        places = rng.integers(room)
        out = np.empty((len(rows), self.channels, *size), np.uint8)
        for i, (row, (top, left)) in enumerate(zip(rows, places, strict=True)):
            out[i] = self.picture(row)[:, top : top + size[0], left : left + size[1]]
        return out

    def whole(self, rows: Any) -> Pixels:
        """Pictures of one size, whole: (B, C, H, W)."""
        return np.stack([self.picture(row) for row in rows])


def _windows(flat: Any, index: npt.NDArray[np.int64], channels: int) -> Windows:
    return Windows(taken(flat), index, channels)


__all__ = ["Mapped", "Windows", "lent", "taken"]
