"""One Brownian path per seed, of which every stochastic sampler's noises are the increments.

Its clock is logistic(lambda / 4), a bounded function of the half log signal-to-noise ratio lambda: so the whole line
is one path, and a sample keeps when the number of steps changes. The path is known by halving its clock (Lévy, 1948):
at a point inside an interval it stands where the line between the ends does, and beside it by a normal of its own.

A course is the path at the points of one plan. Where many points lie in an interval it is halved at its middle,
the same for every plan. Where few are left, the point nearest to the middle takes the middle's normal. So a course
has the law of Brownian motion exactly, takes little more than one normal a point, and two courses differ at a point
by what a path does within a step, independently from place to place: the order in which a sample keeps is that of
a path known everywhere, and the constant little more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from operator import attrgetter
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from unnoise import rng
from unnoise.tensor import Array, Float, Tensor

SINGLE = 1 << 41  # the place of row 0's draw where it belongs to no path; places on a path lie below rng.PRIOR
FEW = 4  # points in an interval that share its normals
DEEPEST = 30  # halvings of the clock, beyond which all points are few
SHORTEST = 2.0**-40  # of the clock: nothing goes forward by less

Places: TypeAlias = npt.NDArray[np.int64]


@dataclass
class _Halvings:
    """An interval cut at every point, in the order of a walk from left to right.

    places, shares, deviations: of each cut its normal, how much of the interval lies left of it, and how far the
    normal reaches; ends: of each piece that is left whole; cuts: how often it was cut from the one before it.
    """

    points: Array
    rooms: Array  # the longest interval in which each point may take the middle's normal
    places: list[int] = field(default_factory=list[int])
    shares: list[float] = field(default_factory=list[float])
    deviations: list[float] = field(default_factory=list[float])
    ends: list[float] = field(default_factory=list[float])
    cuts: list[int] = field(default_factory=list[int])
    pending: int = 0

    def cut(self, level: int, index: int, left: float, right: float, a: int, b: int) -> None:
        """Cuts [left, right], cell `index` of 2^level, at the points numbered from a to b − 1 inside it."""
        if a == b:
            self.ends.append(right)
            self.cuts.append(self.pending)
            self.pending = 0
            return
        middle, length = (index + 0.5) * 2.0**-level, 2.0**-level
        crowded = b - a > FEW or length > self.rooms[a:b].min()
        nearest = a + int(np.argmin(np.abs(self.points[a:b] - middle)))
        if crowded and level < DEEPEST and self.points[nearest] != middle:
            at, before, after = middle, int(np.searchsorted(self.points, middle)), None
        else:
            at, before, after = float(self.points[nearest]), nearest, nearest + 1
        share = (at - left) / (right - left)
        self.places.append((1 << level) + index)
        self.shares.append(share)
        self.deviations.append(((at - left) * (1 - share)) ** 0.5)
        self.pending += 1
        self.cut(level + 1, 2 * index, left, at, a, before)
        self.cut(level + 1, 2 * index + 1, at, right, before if after is None else after, b)


@dataclass(frozen=True)
class _Leg:
    """How one draw is made of the pieces that lie ahead and of fresh normals, in the order of their use.

    start: whether the first normal is the whole path; skip, take: how often each next piece is cut before its left
    part is passed over, or added; scale: of the sum. A draw off the path takes nothing, and is its one normal.
    """

    places: Sequence[int]
    deviations: Sequence[float]
    shares: Sequence[float]
    start: bool
    skip: Sequence[int]
    take: Sequence[int]
    scale: float


@dataclass(frozen=True, eq=False)
class Course:
    """Where the draws of a plan's R rows stand on the clock: from `left` to `right`, (R,) each, in [0, 1].

    A draw is W(right) − W(left) divided by its deviation. Where the two are equal it is a single one, known by its
    row: a correction at one level, or noise put back in. drawn: whether the row draws at all.
    """

    left: Array
    right: Array
    drawn: npt.NDArray[np.bool_]

    @staticmethod
    def of(start: Array, end: Array, drawn: npt.NDArray[np.bool_] | None = None) -> "Course":
        """The course of draws from lambda = start to end, (R,) each, infinite ends allowed; of all rows if not said."""
        left, right = clock(start), clock(end)
        drawn = np.ones(left.shape, dtype=bool) if drawn is None else drawn
        forward = drawn & (right - left > SHORTEST)
        return Course(np.where(forward, left, 0.0), np.where(forward, right, 0.0), drawn)

    @cached_property
    def _halvings(self) -> _Halvings:
        on_path = self.right > self.left
        points = np.unique(np.concatenate([self.left[on_path], self.right[on_path]]))
        # What a point is moved by counts as much as its two steps differ. Where they are alike that is little, and
        # added up it falls with the steps; beside a step much longer than the other, or an end of the noise, the
        # point must be the truer for it, or its error would fall by the root of a step alone.
        gaps = np.diff(points, prepend=points[:1] - 1, append=points[-1:] + 1)
        rooms = 16 * (np.minimum(gaps[:-1], gaps[1:]) / np.maximum(gaps[:-1], gaps[1:])) ** 2
        inner = (points > 0) & (points < 1)
        points = points[inner]
        found = _Halvings(points, rooms[inner])
        found.cut(0, 0, 0.0, 1.0, 0, len(points))
        return found

    @cached_property
    def legs(self) -> list[_Leg]:
        """What each row that draws is made of, one after the other."""
        halved, legs = self._halvings, list[_Leg]()
        ends, before = np.array(halved.ends), np.concatenate([[0], np.cumsum(halved.cuts)])
        at = -1  # pieces passed; −1 before the path was begun
        for row in np.flatnonzero(self.drawn).tolist():
            if self.left[row] == self.right[row]:
                legs.append(_Leg([SINGLE + row], [1.0], [], False, [], [], 1.0))
                continue
            left, right = (int(np.searchsorted(ends, side[row], side="right")) for side in (self.left, self.right))
            start = at < 0 or left < at
            at = 0 if start else at
            first, last = int(before[at]), int(before[right])
            whole = ([0], [1.0]) if start else ([], [])
            legs.append(
                _Leg(
                    [*whole[0], *halved.places[first:last]],
                    [*whole[1], *halved.deviations[first:last]],
                    halved.shares[first:last],
                    start,
                    halved.cuts[at:left],
                    halved.cuts[left:right],
                    float(self.right[row] - self.left[row]) ** -0.5,
                )
            )
            at = right
        return legs

    @cached_property
    def terms(self) -> tuple[Places, Array]:
        """Places and weights (R, L) of the normals that add up to each row's draw; weights of 0 where it has fewer."""
        halved, pieces = self._halvings, list[dict[int, float]]()
        cuts = zip(halved.places, halved.shares, halved.deviations, strict=True)
        ahead = [{0: 1.0}]
        for count in halved.cuts:
            piece = ahead.pop()
            for place, share, deviation in islice(cuts, count):
                ahead.append({**{known: (1 - share) * weight for known, weight in piece.items()}, place: -deviation})
                piece = {**{known: share * weight for known, weight in piece.items()}, place: deviation}
            pieces.append(piece)
        ends, rows = np.array(halved.ends), list[dict[int, float]]()
        for row, (left, right) in enumerate(zip(self.left, self.right, strict=True)):
            line = dict[int, float]()
            for piece in pieces[slice(*np.searchsorted(ends, [left, right], side="right"))]:
                for place, weight in piece.items():
                    line[place] = line.get(place, 0.0) + weight / (right - left) ** 0.5
            rows.append(line if left < right else {SINGLE + row: 1.0} if self.drawn[row] else {})
        table = np.zeros((2, len(rows), max(map(len, rows), default=0)))
        for row, line in enumerate(rows):
            table[:, row, : len(line)] = list(line), list(line.values())
        return table[0].astype(np.int64), table[1]


def clock(lam: Array) -> Array:
    """The share of the path's clock that has run at half logSNRs, infinite ones allowed: 0 to 1."""
    return (1 + np.tanh(np.asarray(lam, dtype=np.float64) / 8)) / 2


def draw(
    seeds: Sequence[int], courses: Sequence[Course], rows: Sequence[int], shape: Sequence[int], like: Tensor
) -> Float[Tensor, "B *shape"]:
    """The draw of row rows[b] of courses[b] for each seed: the items of a mixed batch, in any order."""
    found = [(course.terms[0][row], course.terms[1][row]) for course, row in zip(courses, rows, strict=True)]
    table = np.zeros((2, len(found), max((len(line) for _, line in found), default=0)))
    for item, (places, line) in enumerate(found):
        table[:, item, : len(line)] = places, line
    return rng.combine(seeds, table[0].astype(np.int64), table[1], shape, like)


def walk(
    seeds: Sequence[int], course: Course, shape: Sequence[int], like: Tensor
) -> Iterator[Float[Tensor, "B *shape"]]:
    """The draws of a course's rows that draw, one after the other, for all seeds: equal to `draw` up to rounding.

    Every normal is drawn once, and as many at a time as fit in a few megabytes.
    """
    size = len(seeds) * int(np.prod(shape, dtype=np.int64))
    ahead: list[Tensor] = []  # what the path moves by over each piece that lies ahead, the nearest last

    def piece(cuts: int) -> Tensor:
        own = ahead.pop()
        for _ in range(cuts):
            left = next(fresh).add_(own, alpha=next(shares))
            ahead.append(own.sub_(left))
            own = left
        return own

    for legs in _runs(course.legs, size):
        places, deviations, cut = ([n for leg in legs for n in line(leg)] for line in _NORMALS)
        fresh, shares = iter(rng.fields(seeds, places, deviations, shape, like)), iter(cut)
        for leg in legs:
            if leg.start:
                ahead = [next(fresh)]
            for cuts in leg.skip:
                piece(cuts)
            total = None
            for cuts in leg.take:
                part = piece(cuts)
                total = part if total is None else total.add_(part)
            yield (next(fresh) if total is None else total.mul_(leg.scale)).to(like.dtype)


_NORMALS = (attrgetter("places"), attrgetter("deviations"), attrgetter("shares"))


def _runs(legs: Sequence[_Leg], size: int) -> Iterator[list[_Leg]]:
    """Legs in runs whose normals are drawn at once."""
    run, count = list[_Leg](), 0
    for leg in legs:
        if run and rng.crowded(count + len(leg.places), size):
            yield run
            run, count = [], 0
        run.append(leg)
        count += len(leg.places)
    if run:
        yield run


__all__ = ["Course", "clock", "draw", "walk"]
