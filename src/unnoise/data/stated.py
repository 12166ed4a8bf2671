"""Data sets whose test part their authors state: read whole, validation taken from the training part."""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError
from unnoise.data.source import Items, Source
from unnoise.data.split import Indices, divide_stated
from unnoise.reading.decode import Unreadable
from unnoise.reading.open_store import open_store
from unnoise.reading.paths import found

LARGEST = 1 << 30  # bytes of one file


@dataclass(frozen=True, eq=False)
class Whole:
    """Pictures (N, C, H, W) uint8 and labels (N,); the first `train` of them are for training, the rest for test."""

    items: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    train: int


@dataclass(frozen=True, kw_only=True)
class Stated(Source):
    """Pictures with labels and an official test part. held_out: of the rest, the share for validation, by content."""

    path: str
    held_out: float = 0.1
    seed: int = 0

    @property
    def raw(self) -> str:
        return "image"

    @property
    def digest(self) -> str:
        """SHA-256 of pictures, labels and parts."""
        total = hashlib.sha256(repr((self.name, self._whole.items.shape, self.held_out, self.seed)).encode())
        total.update(np.ascontiguousarray(self._whole.items).data)
        total.update(self._whole.labels.data)
        return total.hexdigest()

    @abstractmethod
    def _read(self) -> Whole:
        """All of it, checked."""

    @cached_property
    def _whole(self) -> Whole:
        return self._read()

    @cached_property
    def _parts(self) -> Mapping[str, Indices]:
        whole = self._whole
        digests = [hashlib.sha256(item.tobytes()).digest() for item in whole.items]
        stated = ["train" if i < whole.train else "test" for i in range(len(digests))]
        return divide_stated(digests, stated, self.held_out, self.seed)

    def _split(self, name: str) -> Items:
        rows = self._parts[name]
        return Items(self._whole.items[rows], {"label": self._whole.labels[rows]})


def gathered(
    path: str,
    names: Sequence[str],
    says: str,
    needed: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None,
) -> dict[str, bytes]:
    """The files of these names, wherever in a folder or archive they lie: name → bytes.

    needed: what must be there, if not all names; kinds: which of these each name is. says: what the set consists of.
    """
    place = found(path)
    files: dict[str, bytes] = {}
    have: set[str] = set()
    for entry in open_store(place):
        name = PurePosixPath(entry.name).name
        kind = kinds[name] if kinds and name in kinds else name
        if name in names and kind not in have:
            try:
                files[name] = entry.read(LARGEST)
            except Unreadable as error:
                raise UserError(f"{name} of {place} is {error}") from None
            have.add(kind)
    missing = [name for name in needed or names if name not in have]
    if missing:
        raise UserError(f"{place} has no {missing[0]}{' and more' if len(missing) > 1 else ''}: {says}")
    return files


__all__ = ["LARGEST", "Stated", "Whole", "gathered"]
