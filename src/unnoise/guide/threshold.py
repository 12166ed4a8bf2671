"""Beliefs held to the range of data: pictures that guidance would drive beyond black and white."""

from dataclasses import dataclass

import torch

from unnoise.config import UserError
from unnoise.denoise.denoiser import Belief, Denoiser
from unnoise.guide.guide import Asked, Question, believe
from unnoise.process.gaussian import Gaussian
from unnoise.process.level import Level
from unnoise.tensor import Cond, Tensor, align


@dataclass(frozen=True)
class Static:
    """x_0 clipped to ±limit, the range of encoded pictures  (Saharia et al., Imagen, 2022, Sec. 2.3)."""

    inner: Denoiser
    limit: float = 1.0

    def __post_init__(self) -> None:
        _check(self.limit)

    @property
    def process(self) -> Gaussian:
        """The inner denoiser's."""
        return self.inner.process

    def __call__(self, x: Tensor, level: Level, cond: Cond) -> Belief:
        """The belief within the limit."""
        return believe(self, x, level, cond)

    def expand(self, x: Tensor, level: Level, cond: Cond) -> Asked:
        """What it is asked."""
        return Asked((Question(self.inner, x, level, cond),))

    def combine(self, asked: Asked, answers: list[Belief]) -> Belief:
        """Clipped."""
        return answers[0]._replace(x0=answers[0].x0.clamp(-self.limit, self.limit))


@dataclass(frozen=True)
class Dynamic:
    """x_0 clipped to ±s and divided by s/limit, s = max(limit, quantile of |x_0| over the item's elements).

    So no more than a small share of an item stands at its limit  (Saharia et al., Imagen, 2022, Sec. 2.3).
    """

    inner: Denoiser
    quantile: float = 0.995
    limit: float = 1.0

    def __post_init__(self) -> None:
        _check(self.limit)
        if not 0 < self.quantile <= 1:
            raise UserError(f"quantile is a share of an item's elements, above 0 to 1, got {self.quantile}")

    @property
    def process(self) -> Gaussian:
        """The inner denoiser's."""
        return self.inner.process

    def __call__(self, x: Tensor, level: Level, cond: Cond) -> Belief:
        """The belief within the limit."""
        return believe(self, x, level, cond)

    def expand(self, x: Tensor, level: Level, cond: Cond) -> Asked:
        """What it is asked."""
        return Asked((Question(self.inner, x, level, cond),))

    def combine(self, asked: Asked, answers: list[Belief]) -> Belief:
        """Clipped and shrunk."""
        x0 = answers[0].x0
        size = x0.detach().abs().flatten(1).float()
        s = align(torch.quantile(size, self.quantile, dim=1).clamp(min=self.limit).to(x0.dtype), x0)
        return answers[0]._replace(x0=torch.minimum(torch.maximum(x0, -s), s) * (self.limit / s))


def _check(limit: float) -> None:
    if not limit > 0:
        raise UserError(f"limit is the greatest element of encoded data and positive, got {limit}")


__all__ = ["Dynamic", "Static"]
