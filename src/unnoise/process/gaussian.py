"""Data destroyed by Gaussian noise: x_t = alpha(t)·x_0 + sigma(t)·noise."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unnoise import brownian, rng
from unnoise.brownian import Course
from unnoise.process.level import Level
from unnoise.process.schedule import Schedule
from unnoise.tensor import Array, Cond, Float, Tensor, align

Constraint = Callable[[Tensor, Cond], Tensor]


@dataclass(frozen=True)
class Gaussian:
    """The process of a schedule; a constraint projects data and noise (a mask, a zero centre of mass).

    The constraint must be linear and idempotent, so that alpha·x_0 + sigma·noise stays in its range.
    """

    schedule: Schedule
    constraint: Constraint | None = None

    def level(self, t: Array, like: Tensor, to: Array | None = None, weight: Array | None = None) -> Level:
        """The noise level of each time t (B,)."""
        return Level.at(self.schedule, t, like, to, weight)

    def constrain(self, x: Float[Tensor, "B *dims"], cond: Cond) -> Float[Tensor, "B *dims"]:
        """x projected to where data lives; x itself without a constraint."""
        return x if self.constraint is None else self.constraint(x, cond)

    def corrupt(
        self, x0: Float[Tensor, "B *dims"], level: Level, noise: Float[Tensor, "B *dims"]
    ) -> Float[Tensor, "B *dims"]:
        """The direct jump: x_t = alpha·x_0 + sigma·noise  (Ho et al., 2020, Eq. 4)."""
        return align(level.alpha, x0) * x0 + align(level.sigma, x0) * noise

    def advance(
        self, x_s: Float[Tensor, "B *dims"], s: float, t: float, noise: Float[Tensor, "B *dims"]
    ) -> Float[Tensor, "B *dims"]:
        """One step of the chain, from x_s to x_t with t > s  (Ho et al., 2020, Eq. 2, on any process).

        x_t = (alpha_t/alpha_s)·x_s + sqrt(sigma_t² − (alpha_t/alpha_s)²·sigma_s²)·noise
        """
        kept, deviation = self.transition(s, t)
        return kept * x_s + deviation * noise

    def transition(self, s: float, t: float) -> tuple[float, float]:
        """alpha_t/alpha_s and the deviation of the noise that comes in between s and t."""
        if not 0 <= s <= t <= 1:
            raise ValueError(f"a step forward needs 0 <= s <= t <= 1, got s = {s}, t = {t}")
        ends = np.array([s, t], dtype=np.float64)
        alpha, sigma, logsnr = (f(ends) for f in (self.schedule.alpha, self.schedule.sigma, self.schedule.logsnr))
        if alpha[0] == 0:
            raise ValueError(f"nothing of the data is left at s = {s} (alpha is 0), so no step starts there")
        # sigma_t²·(1 − exp(logSNR_t − logSNR_s)): the difference of variances without cancellation
        share = -np.expm1(logsnr[1] - logsnr[0]) if t > s else 0.0
        return float(alpha[1] / alpha[0]), float(sigma[1] * np.sqrt(share))

    def prior(
        self,
        shape: Sequence[int],
        seeds: Sequence[int],
        like: Tensor,
        t: float = 1.0,
        cond: Cond | None = None,
    ) -> Float[Tensor, "B *shape"]:
        """Where sampling starts: sigma(t)·noise for each seed, the law of x_t when nothing of x_0 is left."""
        noise = self.constrain(rng.prior(seeds, shape, like), cond or {})
        return float(self.schedule.sigma(np.array(t))) * noise

    def course(self, span: tuple[Array, Array], drawn: npt.NDArray[np.bool_]) -> Course:
        """Where the draws of a plan stand: from times span[0] to span[1] in each row, (R,); drawn: in which rows."""
        start, end = (self.schedule.logsnr(t) / 2 for t in span)
        return Course.of(start, end, drawn)

    def fresh(
        self,
        shape: Sequence[int],
        seeds: Sequence[int],
        like: Tensor,
        courses: Sequence[Course],
        rows: Sequence[int],
        cond: Cond | None = None,
    ) -> Float[Tensor, "B *shape"]:
        """What row rows[b] of courses[b] draws: the increment of each seed's path."""
        return self.constrain(brownian.draw(seeds, courses, rows, shape, like), cond or {})

    def walk(
        self, shape: Sequence[int], seeds: Sequence[int], like: Tensor, course: Course, cond: Cond | None = None
    ) -> Iterator[Float[Tensor, "B *shape"]]:
        """What the rows of one course that draw do draw, one after the other; equal to `fresh` up to rounding."""
        drawn = brownian.walk(seeds, course, shape, like)
        return drawn if self.constraint is None else (self.constrain(noise, cond or {}) for noise in drawn)


def gaussian(schedule: Schedule) -> Gaussian:
    """The Gaussian process of a schedule, free of constraints: what a recipe's `process` node names."""
    return Gaussian(schedule)


PROCESSES: dict[str, Callable[..., Gaussian]] = {"gaussian": gaussian}

__all__ = ["PROCESSES", "Constraint", "Gaussian"]
