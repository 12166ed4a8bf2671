"""Labels: one of a few names, or several such beside one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from unnoise.conditions.condition import Condition, Told, leaf_of
from unnoise.config import UserError, nearest
from unnoise.data import Source
from unnoise.data.source import Raw
from unnoise.nets import heard


@dataclass(frozen=True, kw_only=True)
class Labels(Condition):
    """A label (N,) of int64, or `many` of the same names (N, many), such as the shape of each object of a scene.

    The null is the number of names, for each by itself: what data do not tell of an item is told as that.
    """

    kind: ClassVar[str] = "labels"

    def facts(self, name: str, source: Source) -> dict[str, Any]:
        names = source.values.get(name)
        if name == "label" and names:  # no item need be read
            return {"names": list(names), "many": None}
        leaf = leaf_of(name, source)
        if leaf.dtype.kind not in "iub" or leaf.ndim > 2:
            raise UserError(f"'{name}' of data '{source.name}' is no label, (N,) or (N, many) of whole numbers")
        names = names or tuple(str(k) for k in range(int(leaf.max(initial=0)) + 1))
        return {"names": list(names), "many": leaf.shape[1] if leaf.ndim == 2 else None}

    def told(self, name: str, facts: Mapping[str, Any], shape: tuple[int, ...]) -> "ToldLabels":
        return ToldLabels(name, tuple(facts["names"]), facts.get("many"))


@dataclass(frozen=True)
class ToldLabels(Told):
    """Labels whose names are known. many: how many stand beside one another; None: a single one."""

    name: str
    names: tuple[str, ...]
    many: int | None = None

    @property
    def heard(self) -> heard.Labels:
        return heard.Labels(len(self.names), self.many or 1)

    @property
    def null(self) -> Raw:
        return np.full(() if self.many is None else (self.many,), len(self.names), np.int64)

    @property
    def expects(self) -> str:
        few = ", ".join(self.names[:12]) + (f" and {len(self.names) - 12} more" if len(self.names) > 12 else "")
        return few if self.many is None else f"{self.many} with commas, * where nothing is told, of {few}"

    @property
    def mark(self) -> str:
        return "," if self.many is None else ";"

    def encode(self, values: Raw) -> Raw:
        leaf = np.asarray(values, np.int64)
        return np.where((leaf < 0) | (leaf > len(self.names)), len(self.names), leaf)

    def read(self, given: Any) -> Any:
        """A name or a number, or *; of several, a sequence of them or a text with commas, each of them or None."""
        if self.many is None:
            return len(self.names) if given == "*" and "*" not in self.names else self._one(given)
        each = self._split(given)
        if len(each) > self.many:
            raise UserError(f"{self.name} has {self.many} places, got {len(each)}: {given!r}")
        nothing = len(self.names)
        found = [nothing if one is None or one == "*" else self._one(one) for one in each]
        return np.array(found + [nothing] * (self.many - len(found)), np.int64)

    def single(self, given: Any) -> bool:
        if isinstance(given, (str, int, np.integer)):
            return True
        return self.many is not None and all(one is None or isinstance(one, (str, int, np.integer)) for one in given)

    def say(self, value: Any) -> str:
        places = np.atleast_1d(np.asarray(value)).tolist()
        words = [self.names[k] if k < len(self.names) else "*" for k in places]
        while words and words[-1] == "*":
            words.pop()
        return ",".join(words)

    def _split(self, given: Any) -> Sequence[Any]:
        if isinstance(given, str):
            return [word.strip() or None for word in given.split(",")]
        return [given] if isinstance(given, (int, np.integer)) else list(given)

    def _one(self, given: Any) -> int:
        """The number of a name or a number."""
        if isinstance(given, str) and given.isdecimal() and given not in self.names:
            given = int(given)
        if isinstance(given, str):
            if given not in self.names:
                raise UserError(f"there is no {self.name} '{given}'; {nearest(given, self.names)}")
            return self.names.index(given)
        if not isinstance(given, (int, np.integer)) or isinstance(given, bool):
            raise UserError(f"{self.name} is a name or a number, got {given!r}; {nearest(str(given), self.names)}")
        if not 0 <= int(given) < len(self.names):
            known = f"expected 0 to {len(self.names) - 1} ({', '.join(self.names)})"
            raise UserError(f"there is no {self.name} {given}: {known}")
        return int(given)


__all__ = ["Labels", "ToldLabels"]
