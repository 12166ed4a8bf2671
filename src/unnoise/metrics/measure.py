"""One measured number beside the value that real items reach, and what the two say in words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Better: TypeAlias = Literal["lower", "higher", "half"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A row of the table of results.

    value and floor are means over draws, spread and floor_spread the standard deviations of one draw;
    the floor is what real items score where samples stand. count: samples in a draw.
    better: "lower", "higher", or "half" where 1/2 is the best.
    values: those of the single draws, in their order.
    low, high: the 95 % interval of value, and `interval` what it was taken over; None where nothing tells one.
    features: the numbers that it was read on: "raw", "stored classifier", the name of features, or "beliefs" where no
    sample was read but the network's beliefs, beside the exact ones.
    warning: one sentence where the count is too small to mean anything; else silent.
    """

    name: str
    value: float
    spread: float
    floor: float
    floor_spread: float
    draws: int
    count: int
    better: Better
    protocol: str
    values: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None
    interval: str = ""
    features: str = "raw"
    warning: str = ""

    @property
    def gap(self) -> float:
        """How much worse than real, in standard deviations of one draw of samples against one of real.

        Negative where better. "half" compares the distances from 1/2.
        """
        worse = {
            "lower": self.value - self.floor,
            "higher": self.floor - self.value,
            "half": abs(self.value - 0.5) - abs(self.floor - 0.5),
        }[self.better]
        return float(worse / max(np.hypot(self.spread, self.floor_spread), 1e-12))

    @property
    def of_beliefs(self) -> bool:
        """Whether it is about what the network believes, not about samples: then its floor is a true zero."""
        return self.features == "beliefs"

    @property
    def verdict(self) -> str:
        """In words: a gap up to 2 is no difference, up to 4 a small one, beyond that a plain one.

        Two measures warn of copies besides: near-copies by a gap above 2, and the two-sample test where
        it lies below 1/2 by a gap above 2 (samples nearer to the items asked than those to each other).
        """
        if self.name == "excess_risk":
            return f"errs {100 * self.value:.3g} % more than the least possible"
        if self.of_beliefs:
            return f"at most {self.value:.2g} bits a number from the truth"
        if self.name == "near_copies":
            few = "no more near-copies than among held-out real items"
            return "too close to training items" if self.gap > 2 else few
        if self.better == "half" and self.value < 0.5 and self.gap > 2:
            return "too close to the held-out items"
        if self.gap <= 2:
            return "indistinguishable from real within the spread"
        return "close to real" if self.gap <= 4 else "told apart from real"

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and words; with the ratio to the floor where lower is better."""
        ratio = self.value / self.floor if self.better == "lower" and self.floor > 0 else None
        return {**asdict(self), "ratio": ratio, "gap": self.gap, "verdict": self.verdict}


def row(
    name: str,
    values: npt.ArrayLike,
    floors: npt.ArrayLike,
    *,
    better: Better,
    count: int,
    protocol: str,
    share_of: int = 0,
    alone: Sequence[float] = (0.0, 0.0),
    **known: Any,
) -> Measure:
    """A Measure from the values of single draws; `known` are its fields beyond them.

    share_of: where the floor is one share counted among so many items, not a mean of draws; its spread is
    then the binomial one of a draw of `count`. alone: the spread of a draw, of samples and of real items, as it is
    known from within where there is but one.
    """
    value, floor = np.atleast_1d(values).astype(np.float64), np.atleast_1d(floors).astype(np.float64)
    mean = float(floor.mean())
    floor_spread = share_spread(mean, share_of, count) if share_of else _spread(floor, alone[1])
    return Measure(
        name=name,
        value=float(value.mean()),
        spread=_spread(value, alone[0]),
        floor=mean,
        floor_spread=floor_spread,
        draws=len(value),
        count=count,
        better=better,
        protocol=protocol,
        values=tuple(value.tolist()),
        **known,
    )


def share_spread(share: float, among: int, count: int) -> float:
    """The deviation of a share of `count` items, known as that of `among` others.

    By Laplace's rule: a share of 0 or 1 has a spread too.
    """
    p = (share * among + 1) / (among + 2)
    return float(np.sqrt(p * (1 - p) / count))


def _spread(values: npt.NDArray[np.float64], alone: float) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else alone


__all__ = ["Better", "Measure", "row", "share_spread"]
