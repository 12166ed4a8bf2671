"""Training by the variational bound itself: what a step of the chain costs in bits."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from unnoise.config import UserError
from unnoise.denoise import NetDenoiser
from unnoise.denoise.variance import Back
from unnoise.process import Schedule
from unnoise.tensor import Array, Cond, Float, Tensor, align, send
from unnoise.train.draws import Draws
from unnoise.train.levels import TINY, Curriculum, Levels, Uniform
from unnoise.train.objective import Loss, Objective, average

ROUNDING = 1e-9  # of a step: a time of the chain is known to its last digits
EVENLY = 0.2  # of the steps asked, drawn evenly whatever the law: none counts more than five times
FINE = 1 << 20  # quantiles


@dataclass(frozen=True)
class Bound(Objective):
    """T·L_t for each number of an item, in bits: the variational bound, less its prior term, which nothing moves.

    L_t = KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t)), s = t − 1/T, and −log p(x_0 | x_t) below t = 1/T  (Ho et al., 2020,
    Eq. 5); at a fixed posterior variance and T → ∞ the bound of Kingma et al., Variational diffusion models, 2021.
    The mean is trained with the variance, where that is learned. steps: T, the schedule's if silent; variance: where it
    is fixed, 'posterior' or 'beta'. levels: which steps are asked; one that is not uniform draws some more often and
    counts these less, so that the mean is the bound still (importance sampling; Nichol & Dhariwal, 2021, Sec. 3.3).
    """

    levels: Levels = Uniform()  # noqa: RUF009 (frozen)
    steps: int | None = None
    variance: Literal["posterior", "beta"] = "posterior"
    cell: float = 0.0

    descends: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 2:
            raise UserError(f"a chain has 2 steps or more, got {self.steps}")
        if isinstance(self.levels, Curriculum):
            raise UserError("a bound counts all its steps from the first item on: it takes no curriculum of levels")

    def __call__(
        self,
        denoiser: NetDenoiser,
        x0: Float[Tensor, "B *dims"],
        cond: Cond,
        draws: Draws,
        beside: Any = None,
    ) -> Loss:
        process = denoiser.process
        chain = self.steps or process.schedule.steps
        u = draws.uniform("level", self.levels.stratify)
        step, weight = self.steps_of(u, process.schedule, chain)
        t = step / chain
        level, noise = process.level(t, x0), process.constrain(draws.normal("noise", x0), cond)
        x = process.corrupt(x0, level, noise)
        answer, v, c = denoiser.told(x, level, cond)
        belief = align(c.skip, x) * x + align(c.out, x) * answer.to(x.dtype)
        back = Back.within(process.schedule, t, chain, x0)
        fixed = float(self.variance == "beta")
        nats = back.nats(x0, belief, fixed if v is None else v, self.cell)
        share = send(torch.from_numpy(weight).to(x0.dtype), x0.device)
        bits = share * average(nats, cond.get("mask")) * (chain / float(np.log(2)))
        error = average((x0 - belief.detach()).square(), cond.get("mask"))
        return Loss(bits, error, level.noise)

    def steps_of(self, u: Array, schedule: Schedule, chain: int) -> tuple[Array, Array]:
        """Of uniform numbers (B,): the steps 1 .. T asked, and how much each counts, 1/(T·its probability)."""
        if isinstance(self.levels, Uniform):
            return np.minimum(np.floor(u * chain), chain - 1) + 1, np.ones_like(u)
        law = self.levels.quantile(np.clip((u - EVENLY) / (1 - EVENLY), TINY, 1 - TINY), schedule)
        even = u < EVENLY
        t = np.where(even, u / EVENLY, law)
        step = np.clip(np.ceil(t * chain - ROUNDING), 1, chain)
        shares = EVENLY / chain + (1 - EVENLY) * _shares(self.levels, schedule, chain)
        return step, 1 / (chain * shares[step.astype(np.int64) - 1])


@lru_cache(maxsize=16)
def _shares(levels: Levels, schedule: Schedule, chain: int) -> Array:
    """The probability that a law of t falls to each step of a chain: (T,), to one in a million."""
    u = (np.arange(FINE) + 0.5) / FINE
    steps = np.clip(np.ceil(levels.quantile(u, schedule) * chain - ROUNDING), 1, chain).astype(np.int64)
    return np.bincount(steps - 1, minlength=chain) / FINE


__all__ = ["Bound"]
