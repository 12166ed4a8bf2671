"""What training minimises: the weighted squared error of the network's own answer."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from unnoise.denoise import Coefficients, NetDenoiser
from unnoise.process import Level
from unnoise.tensor import Array, Cond, Float, Tensor, align
from unnoise.train.draws import Draws
from unnoise.train.levels import Levels, Uniform
from unnoise.train.weights import Learned, Simple, Weight


class Loss(NamedTuple):
    """Of each item: value (B,), what is minimised; error (B,), the mean squared error of x_0, without gradient;
    noise (B,), the noise level log(sigma/alpha) that it was drawn at."""

    value: Tensor
    error: Tensor
    noise: Tensor


class Objective(ABC):
    """What the trainer minimises the mean of. It knows no more of diffusion than this."""

    @property
    def learned(self) -> int:
        """Features of the network that learns what loss to expect of each noise level; 0: all count as they are."""
        return 0

    @abstractmethod
    def __call__(self, denoiser: NetDenoiser, x0: Float[Tensor, "B *dims"], cond: Cond, draws: Draws) -> Loss:
        """The loss of each item of x0 (B, ...) under its conditions, with the random numbers of this step."""


@dataclass(frozen=True)
class Regression(Objective):
    """weight(t)·|F_theta(x_t) − F*|² averaged over the item's valid elements, F* = data·x_0 + noise·eps.

    levels: the law of t; weight: the factor at each level. Where cond has a "mask" (B, ..), the elements
    where it is 0 are not the item's.
    """

    levels: Levels = Uniform()  # noqa: RUF009 (frozen)
    weight: Weight = Simple()  # noqa: RUF009 (frozen)

    def __call__(self, denoiser: NetDenoiser, x0: Float[Tensor, "B *dims"], cond: Cond, draws: Draws) -> Loss:
        t = self.times(denoiser, draws.uniform("level", self.levels.stratify))
        return self.at(denoiser, x0, cond, t, draws.normal("noise", x0))

    @property
    def learned(self) -> int:
        return self.weight.features if isinstance(self.weight, Learned) else 0

    def times(self, denoiser: NetDenoiser, u: Array) -> Array:
        """Quantiles (B,) of the levels that are trained, as times."""
        return self.levels.quantile(u, denoiser.process.schedule)

    def at(
        self,
        denoiser: NetDenoiser,
        x0: Float[Tensor, "B *dims"],
        cond: Cond,
        t: Array,
        noise: Float[Tensor, "B *dims"],
    ) -> Loss:
        """The loss at the given times t (B,) and noise (B, ...)."""
        level = denoiser.process.level(t, x0)
        noise = denoiser.process.constrain(noise, cond)
        answer, c = denoiser.answer(denoiser.process.corrupt(x0, level, noise), level, cond)
        return self.judge(answer, c, x0, noise, level, cond)

    def judge(
        self,
        answer: Float[Tensor, "B *dims"],
        c: Coefficients,
        x0: Float[Tensor, "B *dims"],
        noise: Float[Tensor, "B *dims"],
        level: Level,
        cond: Cond,
    ) -> Loss:
        """The loss of an answer F given to x_t = alpha·x_0 + sigma·noise."""
        wanted = align(c.data, x0) * x0 + align(c.noise, x0) * noise
        error = average((answer.to(x0.dtype) - wanted).square(), cond.get("mask"))
        return Loss(self.weight(level, c.out) * error, c.out.square() * error.detach(), level.noise)


def average(field: Float[Tensor, "B *dims"], mask: Tensor | None = None) -> Float[Tensor, "B"]:
    """The mean over each item's elements, or over those where mask (B, ..) is not 0.

    A mask has as many axes as the field, each as long or of length 1, or lacks the last ones.
    """
    if mask is None:
        return field.flatten(1).mean(1)
    valid = mask.reshape(*mask.shape, *(1,) * (field.ndim - mask.ndim)).to(field.dtype).expand_as(field)
    return (field * valid).flatten(1).sum(1) / valid.flatten(1).sum(1).clamp(min=1)


OBJECTIVES: dict[str, type[Objective]] = {"regression": Regression}

__all__ = ["OBJECTIVES", "Loss", "Objective", "Regression", "average"]
