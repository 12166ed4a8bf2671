"""Data whose labels bear another's numbers: what a network was taught under a name keeps its place."""

from dataclasses import dataclass

import numpy as np

from unnoise.config import UserError, nearest
from unnoise.data.source import Items, Source


@dataclass(frozen=True)
class Renumbered(Source):
    """Another source, its labels by their places in `names`, of which its own classes are some."""

    of: Source
    names: tuple[str, ...]

    name = "renumbered"

    @property
    def raw(self) -> str:
        return self.of.raw

    @property
    def classes(self) -> tuple[str, ...]:
        return self.names

    @property
    def digest(self) -> str:
        return self.of.digest

    def _split(self, name: str) -> Items:
        found, own = self.of.split(name), self.of.classes
        if "label" not in found.cond or own == self.names:
            return found
        for known in own:
            if known not in self.names:
                raise UserError(f"the base knows no label '{known}'; {nearest(known, self.names)}")
        places = np.array([self.names.index(known) for known in own] + [len(self.names)], np.int64)
        label = np.asarray(found.cond["label"], np.int64)
        outside = (label < 0) | (label > len(own))
        moved = places[np.where(outside, len(own), label)]
        return Items(found.items, {**found.cond, "label": moved}, found.windows, found.bucketed)


__all__ = ["Renumbered"]
