"""A generator learns from a critic: the critic is to tell data from samples, the generator is to leave it no way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch.func import functional_call
from torch.nn import functional as F

from unnoise.config import UserError
from unnoise.denoise import NetDenoiser
from unnoise.nets import Net
from unnoise.process import Level
from unnoise.tensor import Cond, Float, Tensor, align
from unnoise.train.config import TrainConfig
from unnoise.train.draws import Draws
from unnoise.train.objective import Loss, Objective, average
from unnoise.train.once import partner, start


@dataclass(frozen=True)
class GAN(Objective):
    """A relativistic game with penalties on the critic's slope at data and at samples  (Huang et al., 2024, R3GAN).

    With d = D(x) − D(G(x_T)), x an item and x_T ~ N(0, sigma_T²·I) under the same conditions:

        critic:     softplus(−d) + gamma/2·(|∇D(x)|² + |∇D(G)|²)
        generator:  softplus(d)

    The judgement D is the mean of the critic's field of answers. |∇D|² is measured along one direction n ~ N(0, I),
    as ((D(x + step·n) − D(x))/step)², whose mean over n is |∇D(x)|² as step → 0: no derivative of a derivative is
    asked, and any network can be a critic (Lin et al., Diffusion adversarial post-training, 2025). The loss that is
    told is the critic's softplus(−d): log 2 where it tells nothing apart.

    critic: its node, as a recipe's `net`, which it is where silent; gamma: the weight of the penalties; step: see
    above; betas: AdamW's memories of the critic.
    """

    critic: Mapping[str, Any]
    gamma: float = 1.0
    step: float = 0.1
    betas: tuple[float, float] = (0.0, 0.99)
    augment: int = 0
    beside_called: ClassVar[str] = "critic"
    descends: ClassVar[bool] = False
    once: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (self.gamma >= 0 and self.step > 0):
            raise UserError(f"needs gamma >= 0 and step > 0, got gamma = {self.gamma}, step = {self.step}")

    def beside(self, net: Net) -> Net:
        return partner("objective.critic", self.critic, net, 1, self.augment)

    def care(self, config: TrainConfig) -> TrainConfig:
        return replace(config, betas=self.betas)

    def __call__(
        self,
        denoiser: NetDenoiser,
        x0: Float[Tensor, "B *dims"],
        cond: Cond,
        draws: Draws,
        beside: Net | None = None,
    ) -> Loss:
        assert beside is not None
        level, process = start(denoiser, x0), denoiser.process
        x_T = align(level.sigma, x0) * process.constrain(draws.normal("noise", x0), cond)
        made = denoiser(x_T, level, cond).x0
        seen = torch.cat((x0, made.detach()))
        moved = seen + self.step * torch.cat((draws.normal("aside", x0), draws.normal("aside, of samples", x0)))
        judged = judge(beside, torch.cat((seen, moved)), level, cond)
        apart = judged[: len(x0)] - judged[len(x0) : len(seen)]
        slopes = ((judged[len(seen) :] - judged[: len(seen)]) / self.step).square()
        penalty = self.gamma / 2 * (slopes[: len(x0)] + slopes[len(x0) :])
        # The generator's gradient passes through the critic and leaves none there.
        fixed = {name: p.detach() for name, p in beside.named_parameters()}
        against = judged[: len(x0)].detach() - judge(partial(_with, beside, fixed), made, level, cond)
        told = F.softplus(-apart)
        error = average((made.detach() - x0).square(), cond.get("mask"))
        return Loss(told.detach(), error, level.noise, told + penalty + F.softplus(against))


def judge(critic: Callable[..., Tensor], x: Float[Tensor, "N *dims"], level: Level, cond: Cond) -> Float[Tensor, "N"]:
    """D(x): the mean of the critic's answers over each item's elements; x: the items of level and cond, N/B times."""
    times = len(x) // len(level.noise)
    conds = {name: torch.cat((leaf,) * times) for name, leaf in cond.items()}
    answers = critic(x, torch.zeros_like(level.noise).repeat(times), conds)
    return average(answers.to(x.dtype), conds.get("mask"))


def _with(critic: Net, weights: Mapping[str, Tensor], *asked: Any) -> Tensor:
    """A critic's answer with other weights than its own."""
    return functional_call(critic, dict(weights), asked)


__all__ = ["GAN", "judge"]
