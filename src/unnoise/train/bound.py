"""Training by the variational bound itself: what a step of the chain costs in bits."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from unnoise.config import UserError
from unnoise.denoise import NetDenoiser
from unnoise.denoise.variance import Back
from unnoise.tensor import Cond, Float, Tensor, align
from unnoise.train.draws import Draws
from unnoise.train.levels import Levels, Uniform
from unnoise.train.objective import Loss, Objective, average

ROUNDING = 1e-9  # of a step: a time of the chain is known to its last digits


@dataclass(frozen=True)
class Bound(Objective):
    """T·L_t for each number of an item, in bits: the variational bound, less its prior term, which nothing moves.

    L_t = KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t)), s = t − 1/T, and −log p(x_0 | x_t) below t = 1/T  (Ho et al., 2020,
    Eq. 5); at a fixed posterior variance and T → ∞ the bound of Kingma et al., Variational diffusion models, 2021.
    The mean is trained with the variance, where that is learned. levels: the law of t, rounded up to a time k/T of the
    chain; one not uniform weighs levels as it draws them. steps: T, the schedule's if silent; variance: where it
    is fixed, 'posterior' or 'beta'.
    """

    levels: Levels = Uniform()  # noqa: RUF009 (frozen)
    steps: int | None = None
    variance: Literal["posterior", "beta"] = "posterior"
    cell: float = 0.0

    descends: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 2:
            raise UserError(f"a chain has 2 steps or more, got {self.steps}")

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
        drawn = self.levels.quantile(draws.uniform("level", self.levels.stratify), process.schedule)
        t = np.maximum(np.ceil(drawn * chain - ROUNDING), 1) / chain
        level, noise = process.level(t, x0), process.constrain(draws.normal("noise", x0), cond)
        x = process.corrupt(x0, level, noise)
        answer, v, c = denoiser.told(x, level, cond)
        belief = align(c.skip, x) * x + align(c.out, x) * answer.to(x.dtype)
        back = Back.within(process.schedule, t, chain, x0)
        fixed = float(self.variance == "beta")
        nats = back.nats(x0, belief, fixed if v is None else v, self.cell)
        bits = average(nats, cond.get("mask")) * (chain / float(np.log(2)))
        error = average((x0 - belief.detach()).square(), cond.get("mask"))
        return Loss(bits, error, level.noise)


__all__ = ["Bound"]
