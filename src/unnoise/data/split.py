"""Train, validation and test, by content: an item's part depends on what it is and on a seed, and on nothing else."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unnoise.config import UserError

Indices = npt.NDArray[np.int64]

PARTS = ("train", "validation", "test")


def divide(digests: Sequence[bytes], held_out: float = 0.1, seed: int = 0) -> dict[str, Indices]:
    """Which items are "train", "validation" and "test": ascending indices, each item in one part.

    digests: of each item's content. u = SHA-256(seed, digest)/2^64 is uniform in [0, 1): below held_out the item is
    for test, below 2·held_out for validation. Equal items fall into the same part, and adding or removing items
    moves none of the others. Where that leaves a part empty, it takes the items whose u come next to its own share.
    """
    if not 0 < held_out < 0.5:
        raise UserError(
            f"the share held out is above 0 and below 0.5, for validation and again for test, got {held_out}"
        )
    if len(set(digests)) < 3:
        raise UserError(
            f"three parts need at least 3 different items, got {len(set(digests))} (of {len(digests)} items in all)"
        )
    salt = seed.to_bytes(8, "little", signed=True)
    words = [hashlib.sha256(salt + digest).digest()[:8] for digest in digests]
    u = np.array([int.from_bytes(word, "big") for word in words], dtype=np.uint64).astype(np.float64) / 2.0**64
    values, which = np.unique(u, return_inverse=True)
    first = int(np.clip(np.searchsorted(values, held_out), 1, len(values) - 2))
    second = int(np.clip(np.searchsorted(values, 2 * held_out), first + 1, len(values) - 1))
    return {
        "train": np.flatnonzero(which >= second),
        "validation": np.flatnonzero((which >= first) & (which < second)),
        "test": np.flatnonzero(which < first),
    }


def divide_stated(
    digests: Sequence[bytes], stated: Sequence[str | None], held_out: float, seed: int
) -> dict[str, Indices]:
    """Parts as stated; a part that nobody states is taken from the training items by their content (`divide`)."""
    given = {name: np.array([i for i, part in enumerate(stated) if part == name], np.int64) for name in PARTS}
    free = np.array([i for i, part in enumerate(stated) if part is None], np.int64)
    if all(len(given[name]) for name in ("validation", "test")):
        return {**given, "train": np.sort(np.concatenate([given["train"], free]))}
    pool = np.sort(np.concatenate([given["train"], free]))
    taken = divide([digests[i] for i in pool], held_out, seed)
    parts = {name: given[name] if len(given[name]) else pool[taken[name]] for name in ("validation", "test")}
    back = [pool[taken[name]] for name in ("validation", "test") if len(given[name])]
    return {"train": np.sort(np.concatenate([pool[taken["train"]], *back])), **parts}


__all__ = ["divide", "divide_stated"]
