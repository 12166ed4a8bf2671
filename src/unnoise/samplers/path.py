"""What a rule works with: the points of a grid with their alpha, sigma and lambda, and a pen for rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from unnoise.process.schedule import Schedule
from unnoise.samplers.plan import Plan
from unnoise.tensor import Array

BASE, NOISE = -2, -1  # keys of a row; the answer of row r has the key r

Row = Mapping[int, float]

DATA = (0.0, 1.0)  # what to keep of an answer: the data prediction itself


@dataclass(frozen=True)
class Point:
    """A time with its alpha, sigma and lambda = log(alpha/sigma)."""

    t: float
    alpha: float
    sigma: float
    lam: float

    @property
    def ratio(self) -> float:
        """sigma/alpha, infinite where alpha is 0."""
        return self.sigma / self.alpha if self.alpha else float("inf")

    @property
    def finite(self) -> bool:
        """Whether neither alpha nor sigma is 0 here."""
        return bool(np.isfinite(self.lam))


def shrink(p: Point, q: Point) -> float:
    """sigma_q/sigma_p: what a first-order step leaves of x."""
    return q.sigma / p.sigma


def gain(p: Point, q: Point) -> float:
    """−alpha_q·expm1(−h): what a first-order step takes of the data prediction; h is negative on the way to noise."""
    if q.alpha == 0:
        return -p.alpha * shrink(p, q)  # the limit: all that stays is the noise
    return float(-q.alpha * np.expm1(p.lam - q.lam))


@dataclass(frozen=True)
class Path:
    """The points t_0 > t_1 > .. > t_n of a grid on a schedule, float64; rising on the way from data to noise."""

    schedule: Schedule
    points: tuple[Point, ...]

    @staticmethod
    def over(schedule: Schedule, times: Array) -> "Path":
        """The path of a schedule over the times of a grid."""
        return Path(schedule, _points(schedule, times))

    @property
    def steps(self) -> int:
        """Intervals."""
        return len(self.points) - 1

    def interval(self, i: int) -> tuple[Point, Point]:
        """Where interval i starts, and where it ends."""
        return self.points[i], self.points[i + 1]

    def ends(self, i: int) -> bool:
        """Whether interval i touches alpha = 0 or sigma = 0, where every rule is first order."""
        return not (self.points[i].finite and self.points[i + 1].finite)

    def between(self, p: Point, q: Point, part: float) -> Point:
        """The point that lies a part of the way from p to q in lambda."""
        return self.at(p.lam + part * (q.lam - p.lam))

    def at(self, lam: float) -> Point:
        """The point of a lambda, within the schedule's range."""
        return _points(self.schedule, self.schedule.time(np.array([2 * lam])))[0]

    def when(self, t: float) -> Point:
        """The point of a time."""
        return _points(self.schedule, np.array([t]))[0]

    @cached_property
    def ratios(self) -> Array:
        """sigma/alpha at every point: (n + 1,)."""
        return np.array([point.ratio for point in self.points])


def _points(schedule: Schedule, times: Array) -> tuple[Point, ...]:
    columns = (times, schedule.alpha(times), schedule.sigma(times), schedule.logsnr(times) / 2)
    return tuple(Point(*map(float, values)) for values in zip(*columns, strict=True))


def mixed(*terms: tuple[float, Row]) -> dict[int, float]:
    """The sum of rows, each times its factor."""
    total: dict[int, float] = {}
    for factor, row in terms:
        for key, value in row.items():
            total[key] = total.get(key, 0.0) + factor * value
    return total


@dataclass
class Pen:
    """Writes rows, one for each question, and gives the plan.

    Rows name answers by the row that asked for them; which memory holds an answer, and for how long, is found
    when the plan is made: as few memories as the rule can do with.
    """

    path: Path
    _at: list[tuple[Point, Point]] = field(default_factory=list[tuple[Point, Point]])
    _keep: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    _base: list[dict[int, float]] = field(default_factory=list[dict[int, float]])
    _ask: list[dict[int, float]] = field(default_factory=list[dict[int, float]])
    _spread: list[float] = field(default_factory=list[float])

    @property
    def here(self) -> int:
        """The key of the answer that the next row asks for."""
        return len(self._at)

    def row(
        self,
        at: Point,
        to: Point,
        base: Row,
        ask: Row | None = None,
        keep: tuple[float, float] = DATA,
        spread: float = 0.0,
    ) -> None:
        """At a point keep m = keep[0]·x + keep[1]·x0; then move base and question (alike, if ask is silent).

        to: where the answer is for; spread: by how much, in its log, a learned variance widens the noise at most.
        """
        moved = {key: value for key, value in base.items() if value}
        self._at.append((at, to))
        self._keep.append(keep)
        self._base.append(moved)
        self._spread.append(spread)
        self._ask.append(moved if ask is None else {key: value for key, value in ask.items() if value})

    def first_order(self, i: int) -> None:
        """One row over interval i: DDIM's, which stands wherever alpha or sigma is 0."""
        p, q = self.path.interval(i)
        self.row(p, q, {BASE: shrink(p, q), self.here: gain(p, q)})

    def plan(self) -> Plan:
        """The table of all rows written."""
        slots, memories = self._slots()
        return Plan(
            t=np.array([at.t for at, _ in self._at]),
            keep=np.array(self._keep),
            slot=np.array(slots, dtype=np.float64),
            base=np.stack([_line(row, slots, memories) for row in self._base]),
            ask=np.stack([_line(row, slots, memories) for row in self._ask]),
            to=np.array([to.t for _, to in self._at]),
            weight=np.ones(len(self._at)),
            start=self.path.points[0].t,
            end=self.path.points[-1].t,
            spread=np.array(self._spread),
        )

    def _slots(self) -> tuple[list[int], int]:
        """Which memory each answer goes to, in turn among those whose answer is told for good; how many there are."""
        last = list(range(self.here))
        for row, keys in enumerate(zip(self._base, self._ask, strict=True)):
            for key in {*keys[0], *keys[1]} - {BASE, NOISE}:
                assert 0 <= key <= row, "a row knows only what was asked before it"
                last[key] = row
        ends = np.zeros(self.here + 1, dtype=np.int64)
        np.add.at(ends, np.array(last) + 1, -1)
        ends[: self.here] += 1
        memories = int(np.cumsum(ends).max())
        slots: list[int] = []
        until = [-1] * memories  # the last row that needs what a memory holds
        for row in range(self.here):
            first = slots[-1] + 1 if slots else 0
            slot = next(s % memories for s in range(first, first + memories) if until[s % memories] < row)
            until[slot] = last[row]
            slots.append(slot)
        return slots, memories


def _line(row: Row, slots: list[int], memories: int) -> Array:
    line = np.zeros(memories + 2)
    for key, value in row.items():
        line[0 if key == BASE else -1 if key == NOISE else slots[key] + 1] += value
    return line
