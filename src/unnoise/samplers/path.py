"""What a rule works with: the times of a grid with their alpha, sigma and lambda, and a pen for rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from unnoise.process.schedule import Schedule
from unnoise.samplers.plan import Plan
from unnoise.tensor import Array

BASE, NOISE = 0, -1  # columns of a row; memory j is column j + 1

Row = Mapping[int, float]


def memory(slot: int) -> int:
    """The column of a memory."""
    return slot + 1


@dataclass(frozen=True)
class Path:
    """Times t_0 > t_1 > .. > t_n and, at each, alpha, sigma and lambda = log(alpha/sigma), float64."""

    t: Array
    alpha: Array
    sigma: Array
    lam: Array

    @staticmethod
    def over(schedule: Schedule, times: Array) -> "Path":
        """The path of a schedule over the times of a grid."""
        return Path(times, schedule.alpha(times), schedule.sigma(times), schedule.logsnr(times) / 2)

    @property
    def steps(self) -> int:
        """Intervals."""
        return len(self.t) - 1

    def h(self, i: int) -> float:
        """lambda_{i+1} − lambda_i, infinite at an end where alpha or sigma is 0."""
        return float(self.lam[i + 1] - self.lam[i])

    def shrink(self, i: int) -> float:
        """sigma_{i+1}/sigma_i: what a first-order step leaves of x."""
        return float(self.sigma[i + 1] / self.sigma[i])

    def gain(self, i: int) -> float:
        """−alpha_{i+1}·expm1(−h): what a first-order step takes of the data prediction."""
        return float(-self.alpha[i + 1] * np.expm1(-self.h(i)))

    def ends(self, i: int) -> bool:
        """Whether interval i touches alpha = 0 or sigma = 0, where every rule is first order."""
        return not np.isfinite(self.h(i))


@dataclass
class Pen:
    """Writes rows, one for each question, and gives the plan."""

    path: Path
    memories: int
    _rows: list[tuple[float, float, tuple[float, float], int, Row, Row]] = field(default_factory=list)

    def data(self, i: int, slot: int, base: Row, ask: Row | None = None, to: int | None = None) -> None:
        """At t_i keep the data prediction in a slot; then move base and question (alike, if ask is silent).

        to: the index of the time the answer is for, the next one if silent.
        """
        t = self.path.t
        told = float(t[i + 1 if to is None else to])
        self._rows.append((float(t[i]), told, (0.0, 1.0), slot, base, base if ask is None else ask))

    def plan(self) -> Plan:
        """The table of all rows written."""
        t, to, keep, slot, base, ask = zip(*self._rows, strict=True)
        return Plan(
            t=np.array(t),
            keep=np.array(keep),
            slot=np.array(slot, dtype=np.float64),
            base=np.stack([self._line(row) for row in base]),
            ask=np.stack([self._line(row) for row in ask]),
            to=np.array(to),
            weight=np.ones(len(t)),
            start=float(self.path.t[0]),
            end=float(self.path.t[-1]),
        )

    def _line(self, row: Row) -> Array:
        line = np.zeros(self.memories + 2)
        for column, value in row.items():
            line[column] = value
        return line
