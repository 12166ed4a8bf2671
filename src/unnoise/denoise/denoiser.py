"""What is believed: (x, level, cond) → the posterior mean E[x_0 | x_t = x, cond]."""

import warnings
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from unnoise.config import UserError, choose
from unnoise.denoise.target import GAIN, Coefficients, Target, Velocity, gain, named
from unnoise.denoise.variance import VARIANCES, Fixed, Learned, Variance
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
    """A network whose answer F means a target: x_0 = skip·x + out·F(inp·x, noise level, cond).

    variance: where it is learned, the network gives two answers, and (1 + the second)/2 is the fraction v.
    """

    net: Net
    process: Gaussian
    target: Target = Velocity()  # noqa: RUF009 (frozen)
    variance: Variance = Fixed()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        given, wanted = getattr(self.net, "answers", 1), 1 + isinstance(self.variance, Learned)
        if given != wanted:
            learned = "a learned variance" if wanted == 2 else "a fixed variance"
            raise UserError(f"{learned} is for a network of answers={wanted}, got one of {given}")
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

    def told(
        self, x: Tensor, level: Level, cond: Cond
    ) -> tuple[Float[Tensor, "B *dims"], Float[Tensor, "B *dims"] | None, Coefficients]:
        """The network's own answer F, the variance fraction v where it tells one, and what F means."""
        c = self.target(level)
        answer, v = self.net(align(c.inp, x) * x, level.noise, cond), None
        if isinstance(self.variance, Learned):
            answer, fraction = answer.chunk(2, dim=1)
            v = (1 + fraction.to(x.dtype)) / 2
        return self.process.constrain(answer, cond), v, c

    def answer(self, x: Tensor, level: Level, cond: Cond) -> tuple[Float[Tensor, "B *dims"], Coefficients]:
        """The network's own answer F and the coefficients that give it its meaning."""
        answer, _, c = self.told(x, level, cond)
        return answer, c

    def __call__(self, x: Tensor, level: Level, cond: Cond) -> Belief:
        """skip·x + out·F, and v."""
        answer, v, c = self.told(x, level, cond)
        return Belief(align(c.skip, x) * x + align(c.out, x) * answer.to(x.dtype), v)


def denoiser(
    net: Net, process: Gaussian, target: str | Target = "velocity", variance: str | Variance = "fixed"
) -> NetDenoiser:
    """A denoiser from a network: target and variance are names (see TARGETS, VARIANCES) or objects with their own
    parameters."""
    kind = choose("variance", variance, VARIANCES)() if isinstance(variance, str) else variance
    return NetDenoiser(net, process, named(target), kind)
