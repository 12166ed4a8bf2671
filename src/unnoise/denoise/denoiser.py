"""What is believed: (x, level, cond) → the posterior mean E[x_0 | x_t = x, cond]."""

import warnings
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from unnoise.config import UserError
from unnoise.denoise.target import GAIN, Coefficients, Target, Velocity, gain, named
from unnoise.nets import Net
from unnoise.process.gaussian import Gaussian
from unnoise.process.level import Level
from unnoise.tensor import Cond, Float, Tensor, align


class Belief(NamedTuple):
    """x0: the posterior mean, shaped like x; v: a learned variance fraction, or None."""

    x0: Tensor
    v: Tensor | None = None


@runtime_checkable
class Denoiser(Protocol):
    """Anything that believes: a network, a closed form, guidance around either."""

    @property
    def process(self) -> Gaussian:
        """How its data is destroyed."""
        ...

    def __call__(self, x: Tensor, level: Level, cond: Cond) -> Belief:
        """x: (B, ...), level: leaves (B,), cond: leaves (B, ...) → the belief about each item."""
        ...


@dataclass(frozen=True)
class NetDenoiser:
    """A network whose answer F means a target: x_0 = skip·x + out·F(inp·x, noise level, cond)."""

    net: Net
    process: Gaussian
    target: Target = Velocity()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        name = type(self.target).__name__.lower()
        schedule = self.process.schedule
        with np.errstate(divide="ignore", invalid="ignore"):
            worst = gain(self.target, schedule, 1.0)
        if not np.isfinite(worst):
            raise UserError(
                f"target '{name}' cannot stand with a schedule that ends at alpha = 0 "
                f"({type(schedule).__name__}): x_0 is not told by it at t = 1; "
                "take velocity, data, flow or edm, or a discrete schedule whose betas are clipped"
            )
        if name != "mean" and worst > GAIN:  # the mean is told in steps so small that float32 is its norm
            warnings.warn(
                f"target '{name}' multiplies errors by {worst:.0f} at t = 1: velocity or edm do not",
                stacklevel=3,
            )

    def answer(self, x: Tensor, level: Level, cond: Cond) -> tuple[Float[Tensor, "B *dims"], Coefficients]:
        """The network's own answer F and the coefficients that give it its meaning."""
        c = self.target(level)
        answer = self.net(align(c.inp, x) * x, level.noise, cond)
        return self.process.constrain(answer, cond), c

    def __call__(self, x: Tensor, level: Level, cond: Cond) -> Belief:
        """skip·x + out·F."""
        answer, c = self.answer(x, level, cond)
        return Belief(align(c.skip, x) * x + align(c.out, x) * answer.to(x.dtype))


def denoiser(net: Net, process: Gaussian, target: str | Target = "velocity") -> NetDenoiser:
    """A denoiser from a network: target is a name (see TARGETS) or an object with its own parameters."""
    return NetDenoiser(net, process, named(target))
