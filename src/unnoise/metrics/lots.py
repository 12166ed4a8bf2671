"""Lots of items to measure: which are taken, and the numbers they are measured in."""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from unnoise.data import Items, join
from unnoise.modality import Modality
from unnoise.rng import host

Raw = npt.NDArray[Any]


@runtime_checkable
class Features(Protocol):
    """A network's view of raw items: its name, the SHA-256 of its weights, and numbers (N, F) of items (N, ...).

    One that has `probabilities` as well, (N, K) of each class, is asked for scores of classes.
    """

    name: str
    digest: str

    def features(self, raw: Raw) -> Raw: ...


class Lot:
    """Raw items (N, ...) and the numbers they are measured in, each kind made when it is first asked for.

    reader: what reads features and probabilities off them: Features, or the stored classifier.
    """

    def __init__(self, raw: Raw, modality: Modality | None = None, reader: Any = None):
        self.raw, self.modality, self.reader = raw, modality, reader

    def __len__(self) -> int:
        return len(self.raw)

    @cached_property
    def distances(self) -> Raw:
        """In numbers whose distances mean something."""
        return self.raw if self.modality is None else self.modality.distances(self.raw)

    @cached_property
    def features(self) -> Raw:
        """(N, F)."""
        return self.reader.features(self.raw)

    @cached_property
    def probabilities(self) -> Raw:
        """(N, K), of each class."""
        return self.reader.probabilities(self.raw)


def gathered(parts: Sequence[Items], rows: npt.NDArray[np.int64]) -> Items:
    """The items at these places of the parts, one part after the other; rows ascend."""
    ends = np.cumsum([0, *map(len, parts)])
    inside = [rows[(rows >= first) & (rows < end)] - first for first, end in pairwise(ends)]
    return join(*(Items(*part.take(own)) for part, own in zip(parts, inside, strict=True)))


def stratified(items: Items, n: int, seed: int) -> npt.NDArray[np.int64]:
    """Indices of n items at random, each label with its share to the nearest whole item: (n,) ascending."""
    rng = host("stratified", seed)
    order = rng.permutation(len(items))
    if n < len(items) and "label" in items.cond:
        label = items.cond["label"][order]
        # The i-th of a label's items, in random order, stands at (i + 1/2) / size: the first n by this
        # place hold every label in proportion.
        place = np.empty(len(items))
        for kind in np.unique(label):
            rows = np.flatnonzero(label == kind)
            place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
        order = order[np.argsort(place, kind="stable")]
    return np.sort(order[:n])


def some(n: int, most: int) -> Any:
    """Rows of n at random, `most` of them; all where they are no more. The same for every lot of one size."""
    return slice(None) if n <= most else np.sort(host("some", n).permutation(n)[:most])


__all__ = ["Features", "Lot", "gathered", "some", "stratified"]
