"""MNIST and what is given out in its form: pictures of 28 by 28 in grey, in idx files."""

import gzip
import math
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError
from unnoise.data.stated import LARGEST, Stated, Whole, gathered

IMAGES, LABELS = 0x803, 0x801  # the first four bytes: unsigned bytes along 3 axes, along 1
FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


@dataclass(frozen=True, kw_only=True)
class Mnist(Stated):
    """MNIST: a folder of train-images-idx3-ubyte, train-labels-idx1-ubyte and their t10k twins, each also as .gz.

    Items (N, 1, 28, 28) uint8. Test is the official one of 10,000; validation is taken from the 60,000 for training.
    fashion: names the classes of Fashion-MNIST, whose files are called the same. LeCun, Bottou, Bengio & Haffner,
    Gradient-based learning applied to document recognition (1998); Xiao, Rasul & Vollgraf, Fashion-MNIST (2017).
    """

    fashion: bool = False

    name: ClassVar[str] = "mnist"

    @property
    def classes(self) -> tuple[str, ...]:
        if self.fashion:
            return FASHION
        return tuple(str(i) for i in range(max(10, int(self._whole.labels.max()) + 1)))

    def _read(self) -> Whole:
        kinds = [f"{part}-{what}" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
        options = {form: kind for kind in kinds for form in _spelt(kind)}
        says = "MNIST has train-images-idx3-ubyte, train-labels-idx1-ubyte and the same two of t10k, each also as .gz"
        found = {
            options[name]: data for name, data in gathered(self.path, tuple(options), says, kinds, options).items()
        }
        arrays = [_idx(found[kind], kind, IMAGES if "images" in kind else LABELS) for kind in kinds]
        for pictures, labels, part in ((arrays[0], arrays[1], "train"), (arrays[2], arrays[3], "t10k")):
            if len(pictures) != len(labels):
                raise UserError(f"{part} of {self.path} has {len(pictures):,} pictures and {len(labels):,} labels")
        pictures = np.concatenate([arrays[0], arrays[2]])[:, None]
        return Whole(pictures, np.concatenate([arrays[1], arrays[3]]).astype(np.int64), len(arrays[0]))


def _spelt(kind: str) -> tuple[str, ...]:
    """The names that a file goes by: train-images-idx3-ubyte, train-images.idx3-ubyte, each with and without .gz."""
    plain = f"{kind}-ubyte"
    dotted = plain.replace("-idx", ".idx")
    return plain, dotted, f"{plain}.gz", f"{dotted}.gz"


def _idx(data: bytes, name: str, magic: int) -> npt.NDArray[np.uint8]:
    """The array of an idx file: magic, the length of each axis, all big-endian in 4 bytes, then the numbers."""
    if data[:2] == b"\x1f\x8b":
        try:
            with gzip.GzipFile(fileobj=BytesIO(data)) as file:
                data = file.read(LARGEST + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{name} is a damaged gzip file: {error}") from None
    if int.from_bytes(data[:4], "big") != magic:
        raise UserError(
            f"{name} is no idx file of {'pictures' if magic == IMAGES else 'labels'}: it begins {data[:4]!r}"
        )
    axes = magic & 255
    start = 4 + 4 * axes
    shape = tuple(int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes))
    if len(data) - start != math.prod(shape) or not all(shape):
        raise UserError(f"{name} is cut off: it has {len(data) - start:,} numbers for the shape {shape}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


__all__ = ["FASHION", "Mnist"]
