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

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, pairwise
from operator import attrgetter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from unnoise import hashed, rng
from unnoise.tensor import Array, Float, Tensor

SINGLE = 1 << 41  # the place of row 0's draw where it belongs to no path; places on a path lie below rng.PRIOR
FEW = 4  # points in an interval that share its normals
DEEPEST = 30  # halvings of the clock, beyond which all points are few
SHORTEST = 2.0**-40  # of the clock: nothing goes forward by less
_TOGETHER = 3 << 18  # elements of all pieces of a course, beyond which they are no longer cut level by level

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
    def levels(self) -> "_Levels | None":
        """The draws as a tree of pieces; None where nothing is drawn."""
        return _Levels.of(self.legs, self._halvings) if self.legs else None

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


@dataclass(frozen=True)
class _Tree:
    """The numbers of `_Levels` where the pieces are, as `hashed.operations` take them.

    levels: of each its parents and shares, and where its left and right parts lie; more: rows, and what is added there.
    """

    levels: Sequence[tuple[Any, Any, slice, slice]]
    first: Any
    more: Sequence[tuple[Any, Any]]
    scales: Any


@dataclass(frozen=True, eq=False)
class _Levels:
    """A course's draws as a tree of pieces, the first of them whole normals, the others cut from pieces before them.

    whole: normals that are pieces as they are, the path's own and those off it; places, deviations: of the normals,
    the whole ones first, then one for each cut, level by level; parents, shares: of each level, which pieces are cut,
    and how much lies left: a left part lies where its normal does, and the right ones follow on all normals; first:
    the first piece of each draw; rows, more: the draws that have a second piece, and which; a third; and so on;
    scales: of each draw.
    """

    whole: int
    places: Places
    deviations: Array
    parents: list[Places]
    shares: list[Array]
    first: Places
    rows: list[Places]
    more: list[Places]
    scales: Array
    _trees: dict[torch.device, _Tree] = field(default_factory=dict[torch.device, _Tree])

    @property
    def cuts(self) -> int:
        """How many pieces are cut, each into two."""
        return len(self.places) - self.whole

    @cached_property
    def normals(self) -> rng.Fields:
        """What is drawn of the normals, whatever the seeds."""
        return rng.Fields.at(self.places, self.deviations)

    @staticmethod
    def of(legs: Sequence[_Leg], halved: _Halvings) -> "_Levels":
        """The tree of a course: the way of a walk through its pieces, turned into levels."""
        off = [leg.places[0] for leg in legs if not leg.take]
        depths, leaves, cuts = [0], list[int](), list[tuple[int, int]]()  # of every piece in the walk's order
        ahead = [0]
        for count in halved.cuts:
            piece = ahead.pop()
            for _ in range(count):
                cuts.append((piece, depths[piece]))
                left = len(depths)
                depths += [depths[piece] + 1] * 2
                ahead.append(left + 1)
                piece = left
            leaves.append(piece)
        where, first = {0: 0}, 1 + len(off)  # where each piece comes to lie
        parents, order = list[Places](), list[int]()
        for depth in range(max(depths)):
            here = [cut for cut, (_, at) in enumerate(cuts) if at == depth]
            parents.append(np.array([where[cuts[cut][0]] for cut in here]))
            for n, cut in enumerate(here, first + len(order)):
                where[1 + 2 * cut], where[2 + 2 * cut] = n, n + len(cuts)
            order += here
        shares = np.array(halved.shares)[order]
        draws, alone, passed = list[list[int]](), 0, 0
        for leg in legs:
            if not leg.take:
                alone += 1
                draws.append([alone])
                continue
            passed = len(leg.skip) + (0 if leg.start else passed)
            draws.append([where[leaves[passed + n]] for n in range(len(leg.take))])
            passed += len(leg.take)
        rows = [np.array([row for row, draw in enumerate(draws) if len(draw) > n]) for n in range(max(map(len, draws)))]
        return _Levels(
            1 + len(off),
            np.array([0, *off, *np.array(halved.places, dtype=np.int64)[order]], dtype=np.int64),
            np.array([1.0] * (1 + len(off)) + np.array(halved.deviations)[order].tolist()),
            parents,
            np.split(shares, np.cumsum([len(level) for level in parents])[:-1]) if parents else [],
            np.array([draw[0] for draw in draws]),
            rows[1:],
            [np.array([draws[row][n] for row in own]) for n, own in enumerate(rows)][1:],
            np.array([leg.scale for leg in legs]),
        )

    def on(self, device: torch.device) -> _Tree:
        """The numbers on a device: sent once."""
        if device not in self._trees:

            def sent(values: npt.NDArray[Any]) -> Any:
                return hashed.operations(device).send(values, device)

            def run(places: Places) -> Any:
                """Places, as a slice where they lie one after the other."""
                inarow = len(places) > 0 and bool((np.diff(places) == 1).all())
                return slice(int(places[0]), int(places[-1]) + 1) if inarow else sent(places)

            def column(values: Array) -> Any:
                return sent(values.astype(np.float32)[:, None])

            bounds = self.whole + np.cumsum([0, *map(len, self.parents)])
            lefts = [slice(first, last) for first, last in pairwise(bounds.tolist())]
            rights = [slice(left.start + self.cuts, left.stop + self.cuts) for left in lefts]
            with torch.inference_mode(False):
                parents, shares = map(run, self.parents), map(column, self.shares)
                self._trees[device] = _Tree(
                    list(zip(parents, shares, lefts, rights, strict=True)),
                    sent(self.first),
                    [(run(rows), run(more)) for rows, more in zip(self.rows, self.more, strict=True)],
                    column(self.scales),
                )
        return self._trees[device]


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

    Every normal is drawn once: all at once where they and their pieces fit in a few megabytes, level by level of the
    halvings; else as many at a time as fit, piece by piece. Both do the same sums, to the bit.
    """
    size = len(seeds) * math.prod(shape)
    if course.levels is None or (len(course.levels.places) + course.levels.cuts) * size > _TOGETHER:
        return _piecewise(seeds, course, shape, like, size)
    return iter(_at_once(seeds, course.levels, shape, like))


def _at_once(seeds: Sequence[int], levels: "_Levels", shape: Sequence[int], like: Tensor) -> Sequence[Tensor]:
    """Every draw of a course: each level of the halvings is cut by one operation, then the pieces are added up."""
    at, ops = levels.on(like.device), hashed.operations(like.device)
    pieces = levels.normals.draw(seeds, math.prod(shape), like.device, levels.cuts)
    for parents, shares, left, right in at.levels:
        whole, lefts = ops.take(pieces, parents), pieces[left]
        ops.add(lefts, whole * shares, out=lefts)
        ops.subtract(whole, lefts, out=pieces[right])
    total = ops.take(pieces, at.first)
    for rows, more in at.more:
        total[rows] += ops.take(pieces, more)
    total *= at.scales
    found = ops.tensor(total).reshape(len(total), len(seeds), *shape)
    return found.to(like.dtype).unbind(0)


def _piecewise(
    seeds: Sequence[int], course: Course, shape: Sequence[int], like: Tensor, size: int
) -> Iterator[Float[Tensor, "B *shape"]]:
    """The draws one after the other, with no more held than lies ahead of the walk."""
    ahead: list[Tensor] = []  # what the path moves by over each piece that lies ahead, the nearest last
    share: Tensor | None = None

    def piece(cuts: int) -> Tensor:
        nonlocal share
        own = ahead.pop()
        for _ in range(cuts):
            share = torch.mul(own, next(shares), out=share)  # rounded by itself, as all at once
            left = next(fresh).add_(share)
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
