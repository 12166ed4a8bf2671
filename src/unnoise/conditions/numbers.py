"""Numbers: a temperature, a size, a position; standardised, and told whether they are known."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from unnoise.conditions.condition import Condition, Told, leaf_of
from unnoise.config import UserError
from unnoise.data import Source
from unnoise.data.source import Raw
from unnoise.data.standard import rounded
from unnoise.nets import heard


@dataclass(frozen=True, kw_only=True)
class Numbers(Condition):
    """A number (N,), or some (N, count), with the mean and deviation of the training part.

    NaN is where data miss a value, and is told as the null: (0, 0) in place of (standardised value, 1).
    """

    kind: ClassVar[str] = "numbers"

    def facts(self, name: str, source: Source) -> dict[str, Any]:
        leaf = leaf_of(name, source)
        if leaf.dtype.kind not in "iufb" or leaf.ndim > 2:
            raise UserError(f"'{name}' of data '{source.name}' are no numbers, (N,) or (N, count)")
        columns = leaf.reshape(len(leaf), -1).astype(np.float64)
        known = [column[np.isfinite(column)] for column in columns.T]
        for k, column in enumerate(known):
            if not len(column):
                raise UserError(f"'{name}' of data '{source.name}' is missing in every item" + f", at {k}" * (k > 0))
        moments = [[float(of(column)) for column in known] for of in (np.mean, np.std)]
        mean, scale = rounded(*map(np.array, moments))
        return {
            "count": None if leaf.ndim == 1 else leaf.shape[1],
            "mean": mean.tolist(),
            "scale": scale.tolist(),
            "low": [float(column.min()) for column in known],
            "high": [float(column.max()) for column in known],
        }

    def told(self, name: str, facts: Mapping[str, Any], shape: tuple[int, ...]) -> "ToldNumbers":
        ends = tuple(zip(facts["low"], facts["high"], strict=True))
        return ToldNumbers(name, facts["count"], tuple(facts["mean"]), tuple(facts["scale"]), ends)


@dataclass(frozen=True)
class ToldNumbers(Told):
    """Numbers whose mean and scale are known, each by its own. count: how many; None: a single one."""

    name: str
    count: int | None
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    ends: tuple[tuple[float, float], ...]  # the least and the largest of the training part

    @property
    def heard(self) -> heard.Numbers:
        return heard.Numbers(len(self.mean))

    @property
    def null(self) -> Raw:
        return np.zeros((len(self.mean), 2), np.float32)

    @property
    def expects(self) -> str:
        told = ", ".join(f"{low:.3g} to {high:.3g}" for low, high in self.ends[:4])
        return told if self.count is None else f"{self.count} with commas, * where one is not known: {told}"

    @property
    def mark(self) -> str:
        return "," if self.count is None else ";"

    def encode(self, values: Raw) -> Raw:
        columns = np.asarray(values, np.float64).reshape(len(values), len(self.mean))
        known = np.isfinite(columns)
        standard = np.where(known, (columns - self.mean) / self.scale, 0)
        return np.stack([standard, known], axis=2).astype(np.float32)

    def read(self, given: Any) -> Any:
        """A number, or as many as are told together: a sequence or a text with commas; None or * are not known."""
        each = given.split(",") if isinstance(given, str) else [given] if _is_number(given) else list(given)
        if len(each) != len(self.mean):
            raise UserError(f"{self.name} is told by {self._many}, got {given!r}")
        values = np.array([self._one(one) for one in each])
        return values[0] if self.count is None else values

    def single(self, given: Any) -> bool:
        if isinstance(given, str) or _is_number(given):
            return True
        return self.count is not None and all(one is None or _is_number(one) or one == "*" for one in given)

    def say(self, value: Any) -> str:
        each = ["*" if np.isnan(one) else f"{one:.4g}" for one in np.atleast_1d(value).tolist()]
        return "" if set(each) == {"*"} else ",".join(each)

    @property
    def _many(self) -> str:
        return "a number" if len(self.mean) == 1 else f"{len(self.mean)} numbers"

    def _one(self, given: Any) -> float:
        if given is None or (isinstance(given, str) and given.strip() == "*"):
            return float("nan")
        try:
            value = float(given)
        except (TypeError, ValueError):
            raise UserError(f"{self.name} is told by {self._many}, got {given!r}") from None
        if not np.isfinite(value):
            raise UserError(f"{self.name} is told by {self._many}, and {given!r} is not finite: leave it out instead")
        return value


def _is_number(given: Any) -> bool:
    return isinstance(given, (int, float, np.integer, np.floating)) and not isinstance(given, bool)


__all__ = ["Numbers", "ToldNumbers"]
