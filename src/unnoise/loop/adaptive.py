"""The probability flow by an adaptive Runge–Kutta pair: every item takes steps of its own.

With z = x/sqrt(alpha² + sigma²) and the clock u = −asinh(alpha/sigma), which is 0 where alpha is 0 and falls as
log(sigma/2) towards the data, the flow of every Gaussian process is one equation that divides by nothing:

    dz/du = cos·z − D(x),    cos = alpha/sqrt(alpha² + sigma²)

It has no steep part (where D is the posterior mean of one mode, its Jacobian has eigenvalues within ±1), so an
explicit pair serves, and step sizes are about the same all the way.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from unnoise.config import UserError
from unnoise.denoise.denoiser import Denoiser
from unnoise.loop.engine import Done, Event, Step, Ticket
from unnoise.loop.generate import check_cond, home
from unnoise.process.gaussian import Gaussian
from unnoise.process.level import Level
from unnoise.process.schedule import Schedule
from unnoise.tensor import Array, Cond, Float, Int, Tensor, align, move, send

# The pair of orders 5 and 4 whose last slope is the next step's first (Dormand & Prince, 1980; Hairer, Nørsett &
# Wanner, Solving Ordinary Differential Equations I, 1993, Table II.5.2).
NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
APART = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)  # fifth order less fourth

# Proportional–integral control of the step (Gustafsson, 1991; Hairer & Wanner, II, Sec. IV.2): h grows by
# 0.9·error^(−0.14)·(error before)^0.08, and by no more than this.
SHARES, SAFE, LEAST, MOST = (0.7 / 5, 0.4 / 5), 0.9, 0.2, 5.0
FIRST = 0.05  # of a first step, in u
ROUNDING = 8  # machine epsilons below which no tolerance can be kept
EVALUATIONS = 10_000  # of one item, beyond which it has failed
PLACES = 64  # items under way at a time

# (x, level, cond, items) → D (B, *dims) and the rates (B, E), for each unit of u, of what is integrated beside;
# items (B,): which of the items given stands in each row.
Pair: TypeAlias = tuple[Tensor, Tensor]
Field: TypeAlias = Callable[[Tensor, Level, Cond, Int[Tensor, "B"]], Pair]


class Arrived(NamedTuple):
    """An item at the end of its way: x and the belief x0 there (*dims), and told (E,), the integrals beside."""

    item: int  # its number among those given
    x: Tensor
    x0: Tensor
    told: Tensor
    evaluations: int


@dataclass(frozen=True)
class Adaptive:
    """How the flow is followed: what stands in a plan's place where steps are not written out beforehand.

    tolerance: of one step, in z, absolute and relative to |z| at once, as the root of the mean square over an item;
    evaluations: of one item at most; start, end: where it begins and where it stops, as a plan's.
    """

    tolerance: float = 1e-5
    evaluations: int = EVALUATIONS
    start: float = 1.0
    end: float = 0.0
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise UserError(f"a tolerance lies between 0 and 1, such as 1e-5, got {self.tolerance}")
        if self.evaluations < 1 + len(STAGES):
            raise UserError(f"a step takes {len(STAGES)} evaluations and one before it, got {self.evaluations}")

    def check(self, dtype: torch.dtype) -> None:
        """Raises where numbers of this kind are rounded too coarsely for the tolerance."""
        least = ROUNDING * torch.finfo(dtype).eps
        if self.tolerance < least:
            name = str(dtype).removeprefix("torch.")
            raise UserError(
                f"{name} keeps no tolerance below {least:.1g}, got {self.tolerance:g}: give more, or float64"
            )


def flow(
    denoiser: Denoiser,
    x: Float[Tensor, "N *dims"],
    start: float,
    end: float,
    tolerance: float = 1e-5,
    cond: Cond | None = None,
    evaluations: int = EVALUATIONS,
    places: int = PLACES,
) -> Float[Tensor, "N *dims"]:
    """x (N, ...) at time `start`, carried along the probability flow to time `end`, either way.

    dx/dt of the flow has the marginals of the process (Song et al., Score-based generative modeling through SDEs,
    2021, Sec. 4.3). To end = 0 the flow is followed to the least noise of the schedule's span, where the belief is
    taken; a start needs noise: `least_time(process)` is the first that has.
    tolerance, evaluations: see Adaptive; cond: leaves (N, ...). `places` items are under way at a time, in calls of
    one size, so that no item's bits depend on the others; raises UserError where one does not arrive.
    """
    how = Adaptive(tolerance, evaluations)
    arrived = sorted(follow(denoiser, x, start, end, how, cond, places), key=lambda one: one.item)
    return torch.stack([one.x for one in arrived]) if arrived else x


def follow(
    denoiser: Denoiser,
    x: Float[Tensor, "N *dims"],
    start: float,
    end: float,
    how: Adaptive | None = None,
    cond: Cond | None = None,
    places: int = PLACES,
) -> Iterator[Arrived]:
    """As `flow`, each item as soon as it has arrived."""
    check_cond(denoiser, cond or {}, len(x))

    def believe(x: Tensor, level: Level, cond: Cond, items: Tensor) -> Pair:
        return denoiser(x, level, cond).x0, x.new_zeros(len(x), 0)

    last = end if end > 0 else least_time(denoiser.process)
    for one in integrate(denoiser.process, believe, x, start, last, how, cond, places=places):
        yield one if end > 0 else one._replace(x=one.x0)


def draw(
    denoiser: Denoiser,
    how: Adaptive,
    shape: Sequence[int],
    seeds: Sequence[int],
    cond: Cond | None = None,
    start: Tensor | None = None,
    device: torch.device | str | None = None,
    places: int = PLACES,
) -> Iterator[Event]:
    """Samples as the engine tells of them: a Step, whose row is what the item took in all, and Done.

    start: x at how.start (B, *shape) instead of noise; the rest as of `loop.sample`.
    """
    like = torch.zeros(0, device=device or home(denoiser))
    if start is not None and tuple(start.shape) != (len(seeds), *shape):
        raise UserError(f"start has shape {tuple(start.shape)}, expected {(len(seeds), *shape)} (one per seed)")
    given = move(cond, like)
    x = denoiser.process.prior(shape, seeds, like, how.start, given) if start is None else start.to(like)
    for one in follow(denoiser, x, how.start, how.end, how, cond, places):
        yield Step(Ticket(0), one.item, one.evaluations, one.evaluations, one.x0)
        yield Done(Ticket(0), one.item, one.x)


def least_time(process: Gaussian) -> float:
    """The time of the least noise in the span of the schedule: where flows from data begin, and those to it end."""
    return float(process.schedule.time(np.array(-2 * np.log(process.schedule.span[0]))))


def integrate(
    process: Gaussian,
    field: Field,
    x: Float[Tensor, "N *dims"],
    start: float,
    end: float,
    how: Adaptive | None = None,
    cond: Cond | None = None,
    beside: int = 0,
    places: int = PLACES,
) -> Iterator[Arrived]:
    """The flow of a field from `start` to `end`, and the integrals of `beside` rates along each item's way.

    All are held to the tolerance: the integrals, divided by the numbers of an item, count as one number of it more.
    """
    how = how or Adaptive()
    ends = [_clock(process.schedule, t) for t in (start, end)]
    how.check(x.dtype)
    if len(x):
        yield from _Way(process, field, x, (start, end), (ends[0], ends[1]), how, move(cond, x), beside, places).walk()


def _clock(schedule: Schedule, t: float) -> float:
    """u = −asinh(alpha/sigma) at a time."""
    if not 0 <= t <= 1:
        raise UserError(f"times run from 0 (clean) to 1 (noise), got {t}")
    logsnr = float(schedule.logsnr(np.array(t)))
    if logsnr == np.inf:
        raise UserError("at t = 0 there is no noise to flow from: begin at least_time(process)")
    return -float(np.arcsinh(np.exp(logsnr / 2)))


def _radius(schedule: Schedule, t: float) -> float:
    """sqrt(alpha² + sigma²) at a time."""
    return float(np.hypot(schedule.alpha(np.array(t)), schedule.sigma(np.array(t))))


class _Way:
    """N items on their way through S places: whoever arrives makes room for the next who waits.

    A place that nobody waits for stays as it is. The first round of an item has h = 0: it brings the slope where the
    item stands.
    """

    def __init__(
        self,
        process: Gaussian,
        field: Field,
        x: Tensor,
        times: tuple[float, float],
        ends: tuple[float, float],
        how: Adaptive,
        cond: Cond,
        beside: int,
        places: int,
    ) -> None:
        self.process, self.field, self.x, self.how, self.cond = process, field, x, how, cond
        self.times, self.ends = times, ends
        self.size = min(places, 1 << max(len(x) - 1, 3).bit_length())
        self.scales = [_radius(process.schedule, t) for t in times]
        self.item = np.arange(self.size) % len(x)  # who stands in each place
        self.there = np.arange(self.size) < len(x)
        self.next = min(self.size, len(x))
        self.u, self.h = np.full(self.size, ends[0]), np.zeros(self.size)
        self.before = np.ones(self.size)  # the error of the last step that was taken, in tolerances
        self.asked = np.zeros(self.size, dtype=np.int64)
        self.z = x[self._index(self.item)] / self.scales[0]
        self.told = x.new_zeros(self.size, beside)
        self.slope = torch.zeros_like(self.z), torch.zeros_like(self.told)
        self.chosen = self._choose()

    def _index(self, items: npt.NDArray[np.int64]) -> Tensor:
        return send(torch.from_numpy(np.ascontiguousarray(items)), self.x.device)

    def _choose(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Which item stands in each place, and the conditions of all."""
        host = torch.from_numpy(self.item.copy())
        return self._index(self.item), {k: leaf[host.to(leaf.device)] for k, leaf in self.cond.items()}

    @torch.no_grad()
    def _step(self) -> tuple[list[Pair], Array]:
        """The end of everyone's step (z, told) with the slope there, and its error in tolerances (S,)."""
        if not self.h.any():  # all have just come
            return [(self.z, self.told), self._slope(self.z, self.u)], np.zeros(self.size)
        h = send(torch.from_numpy(self.h).to(self.z.dtype), self.z.device)
        here, slopes = (self.z, self.told), [self.slope]
        ahead = here
        for node, row in zip(NODES, STAGES, strict=True):
            ahead = _add(here, h, row, slopes)
            slopes.append(self._slope(ahead[0], self.u + node * self.h))
        apart = _add((torch.zeros_like(self.z), torch.zeros_like(self.told)), h, APART, slopes)
        size = 1 + torch.maximum(self.z.abs(), ahead[0].abs())
        error = (apart[0] / size).flatten(1).square().mean(1).sqrt()
        if self.told.shape[1]:
            error = torch.maximum(error, apart[1].abs().amax(1) / self.z[0].numel())
        return [ahead, slopes[-1]], error.cpu().double().numpy() / self.how.tolerance  # the one wait of a step

    def _slope(self, z: Tensor, u: Array) -> Pair:
        """dz/du = cos·z − D(x), and the rates beside."""
        level = self.process.level(self._time(u), z)
        radius = torch.hypot(level.alpha, level.sigma)
        x0, rates = self.field(align(radius, z) * z, level, self.chosen[1], self.chosen[0])
        return align(level.alpha / radius, z) * z - x0, rates

    def _time(self, u: Array) -> Array:
        """The times of clock readings; the ends are themselves."""
        with np.errstate(divide="ignore"):
            t = self.process.schedule.time(2 * np.log(np.sinh(-np.minimum(u, 0))))
        for end, time in zip(self.ends, self.times, strict=True):
            t = np.where(u == end, time, t)
        return t

    def walk(self) -> Iterator[Arrived]:
        """Steps until all have arrived."""
        while self.there.any():
            (ahead, slope), error = self._step()
            fresh = self.h == 0
            self.asked += np.where(fresh, 1, len(STAGES))
            taken = (error <= 1) & self.there  # NaN is not taken
            kept = send(torch.from_numpy(taken), self.z.device)
            self.z, self.told = _where(kept, ahead, (self.z, self.told))
            self.slope = _where(kept, slope, self.slope)
            self._control(error, taken, fresh)
            yield from self._hand_out()

    def _control(self, error: Array, taken: npt.NDArray[np.bool_], fresh: npt.NDArray[np.bool_]) -> None:
        """Where everyone stands now, and how far the next step goes."""
        self.u = np.where(taken, self._reached(), self.u)
        error = np.where(np.isfinite(error), np.maximum(error, 1e-10), np.inf)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            by = SAFE * error ** -SHARES[0] * np.where(taken, self.before ** SHARES[1], 1.0)
        by = np.clip(by, LEAST, np.where(taken, MOST, 1.0))
        self.before = np.where(taken & ~fresh, error, self.before)
        left = self.ends[1] - self.u
        first = np.sign(left) * FIRST
        step = np.where(fresh & taken, first, self.h * by)
        # Rather two halves than a whole and a crumb.
        self.h = np.where(np.abs(left) <= np.abs(step), left, np.where(np.abs(left) < 2 * np.abs(step), left / 2, step))
        self.h = np.where(fresh & ~taken, 0.0, self.h)
        lost = self.there & ((fresh & ~taken) | ((np.abs(self.h) < 1e-12) & (left != 0)))
        late = self.there & (self.asked + len(STAGES) > self.how.evaluations) & (self.u != self.ends[1])
        if lost.any() or late.any():
            place = int(np.flatnonzero(lost | late)[0])
            raise UserError(self._failure(place, bool(lost[place])))

    def _reached(self) -> Array:
        """u after the step: the end itself where that was aimed at."""
        left = self.ends[1] - self.u
        return np.where(self.h == left, self.ends[1], self.u + self.h)

    def _failure(self, place: int, lost: bool) -> str:
        at = f"t = {float(self._time(self.u)[place]):.3g}"
        way = f"the flow of item {self.item[place]} from t = {self.times[0]:.3g} to {self.times[1]:.3g}"
        if lost:
            return f"{way} breaks off at {at}: the belief there is not finite, or changes within no step"
        return (
            f"{way} stands at {at} after {self.asked[place]} evaluations, and no more are allowed: "
            f"a tolerance above {self.how.tolerance:g} needs fewer"
        )

    def _hand_out(self) -> Iterator[Arrived]:
        """Whoever has arrived, and the next into their places."""
        done = np.flatnonzero(self.there & (self.u == self.ends[1]))
        if not len(done):
            return
        cosine = float(self.process.schedule.alpha(np.array(self.times[1]))) / self.scales[1]
        for place in done.tolist():
            x, x0 = self.z[place] * self.scales[1], cosine * self.z[place] - self.slope[0][place]
            yield Arrived(int(self.item[place]), x, x0, self.told[place].clone(), int(self.asked[place]))
        entering = done[: len(self.x) - self.next]
        self.there[done[len(entering) :]] = False
        self.h[done] = 0.0
        if not len(entering):
            return
        self.item[entering] = np.arange(self.next, self.next + len(entering))
        self.next += len(entering)
        self.u[entering], self.before[entering], self.asked[entering] = self.ends[0], 1.0, 0
        where = self._index(entering)
        self.z = self.z.index_copy(0, where, self.x[self._index(self.item[entering])] / self.scales[0])
        self.told = self.told.index_fill(0, where, 0.0)
        self.chosen = self._choose()


def _add(here: Pair, h: Tensor, row: Sequence[float], slopes: Sequence[Pair]) -> Pair:
    """here + h·sum of row·slopes, for z and for what is told beside."""
    found: list[Tensor] = []
    for part, value in enumerate(here):
        total = row[0] * slopes[0][part]
        for factor, slope in zip(row[1:], slopes[1:], strict=True):
            if factor:
                total = total.add(slope[part], alpha=factor)
        found.append(value + align(h, value) * total)
    return found[0], found[1]


def _where(kept: Tensor, new: Pair, old: Pair) -> Pair:
    z, told = (torch.where(align(kept, mine), mine, theirs) for mine, theirs in zip(new, old, strict=True))
    return z, told


__all__ = ["Adaptive", "Arrived", "Field", "draw", "flow", "follow", "integrate", "least_time"]
