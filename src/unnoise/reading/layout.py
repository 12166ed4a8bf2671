"""What the axes of an array are: which are items, channels and sizes, as told or as its shape tells."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError

SIZES = {1: "T", 2: "HW", 3: "DHW", 4: "TDHW"}  # what the axes of so many sizes are called
CHANNELS = 16  # the most that a shape alone tells for channels


@dataclass(frozen=True)
class Layout:
    """kind: of modality; letters: of the axes in the file, N the items, C the channels; guessed: from the shape."""

    kind: str  # "image", "points" or "array"
    letters: str
    guessed: bool = False

    @staticmethod
    def of(path: str, array: npt.NDArray[Any], given: str = "auto") -> "Layout":
        """The layout of an array, named by letters or told from its shape and type.

        From the shape: (N,) and (N, D) are points. Of more axes the second is the channels where it is 1 or 3, or
        at most 16 and at most half of every other size; else the last one by the same rule; else there is one
        channel, and all axes but the first are sizes. uint8 of two sizes and 1 or 3 channels are pictures.
        """
        shape = array.shape
        if array.dtype.kind not in "fiub":
            told = "store real and imaginary parts as channels" if array.dtype.kind == "c" else "expected numbers"
            raise UserError(f"{path} is of the type {array.dtype.name}: {told}")
        if not shape:
            raise UserError(f"{path} holds a single number, not items along a first axis")
        if array.size == 0:
            raise UserError(f"{path} holds no numbers: its shape is {shape}")
        letters = _guess(path, shape) if given == "auto" else _named(path, shape, given)
        sizes = len(letters.replace("N", "").replace("C", ""))
        if not sizes:
            return Layout("points", letters, given == "auto")
        channels = shape[letters.index("C")] if "C" in letters else 1
        image = array.dtype == np.uint8 and sizes == 2 and channels in (1, 3)
        return Layout("image" if image else "array", letters, given == "auto")

    @property
    def item(self) -> str:
        """The axes of one item in the file's order, such as HWC."""
        return self.letters.replace("N", "")

    def arrange(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A view (N, D) of points, else (N, C, *sizes)."""
        order = [letter for letter in ("N", "C") if letter in self.letters]
        order += [letter for letter in self.item if letter != "C"]
        view = array.transpose([self.letters.index(letter) for letter in order])
        return view if "C" in self.letters else np.expand_dims(view, 1)

    def told(self, shape: tuple[int, ...]) -> str:
        """How an arranged shape was read, in words."""
        if self.kind == "points":
            return f"read as {self.letters}: {shape[0]} points of {_many(shape[1], 'number')}"
        return (
            f"read as {self.letters}: {shape[0]} items of {_many(shape[1], 'channel')} and "
            f"{' × '.join(map(str, shape[2:]))}; data.layout says otherwise"
        )


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}"


def _guess(path: str, shape: tuple[int, ...]) -> str:
    if len(shape) <= 2:
        return "NC"[: len(shape)]

    def channels(axis: int) -> bool:
        others = [size for i, size in enumerate(shape) if i not in (0, axis)]
        count = shape[axis]
        return count in (1, 3) or (count <= CHANNELS and 2 * count <= min(others))

    inner = len(shape) - 1
    first, last = channels(1), channels(inner)
    sizes = inner - (first or last)
    if sizes not in SIZES:
        raise UserError(f"{path} has the shape {shape}: items have up to {max(SIZES)} sizes, besides channels")
    return "NC" + SIZES[sizes] if first else f"N{SIZES[sizes]}" + "C" * last


def _named(path: str, shape: tuple[int, ...], given: str) -> str:
    if not given.isalpha() or not given.isupper() or "N" not in given or len(set(given)) != len(given):
        raise UserError(
            f"a layout names each axis by a capital letter, N the items, C the channels, such as NHWC, or is auto; "
            f"got '{given}'"
        )
    if len(given) != len(shape):
        raise UserError(f"{path} has the shape {shape}, and layout {given} names {len(given)} axes")
    return given


__all__ = ["Layout"]
