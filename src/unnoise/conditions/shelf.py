"""What texts became, kept on the disk by content: by the encoder's identity, the text and how much of it is read."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from unnoise import files
from unnoise.reading.paths import cache_folder

FORMAT = 1  # of what is kept: another number, another place
Rows = npt.NDArray[Any]


@dataclass(frozen=True)
class Shelf:
    """Rows (L, width) float32 of each text, in a safetensors file of its own, written beside and renamed.

    digest: of the encoder; length: the tokens that are read of a text at most.
    """

    digest: str
    length: int

    def path(self, text: str) -> Path:
        """Where the rows of a text lie, or would."""
        known = hashlib.sha256(f"{FORMAT} {self.length} {text}".encode("utf-8", "surrogatepass")).hexdigest()
        return cache_folder() / "texts" / self.digest[:32] / known[:2] / f"{known[2:]}.safetensors"

    def find(self, text: str) -> Rows | None:
        """The rows of a text; None where they are not kept, or are damaged."""
        try:
            return load(self.path(text).read_bytes())["rows"]
        except (OSError, SafetensorError, KeyError):
            return None

    def keep(self, text: str, rows: Rows) -> Rows:
        """The rows, kept."""
        files.put(self.path(text), save({"rows": rows}))
        return rows


@dataclass(frozen=True, eq=False)
class Shelved:
    """A leaf (N, length, width + 1) whose rows are read as they are asked for: a whole one may be larger than memory.

    made: texts (n,) → leaf (n, length, width + 1).
    """

    texts: Rows
    made: Callable[[Rows], Rows]
    inner: tuple[int, int]

    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.texts), *self.inner

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, rows: slice | Sequence[int] | npt.NDArray[np.int64]) -> Rows:
        return self.made(self.texts[rows])


__all__ = ["Shelf", "Shelved"]
