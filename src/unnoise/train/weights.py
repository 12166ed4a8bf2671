"""What an error weighs at each noise level: the papers' weights, told of the network's own answer F.

An error e of F is an error out·e of x_0 and −alpha·out/sigma·e of eps. A paper that weighs the squared error
of x_0 by w thus weighs that of F by w·out². The forms below are regular wherever x_0 can be told from F, at
alpha = 0 too; sigma is positive, as it is in training.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from unnoise.config import UserError
from unnoise.process.level import Level
from unnoise.tensor import Float, Tensor


class Weight(ABC):
    """A factor on the squared error of F."""

    @abstractmethod
    def __call__(self, level: Level, out: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        """level: leaves (B,); out: (B,), the error of x_0 by an error of F  →  (B,)."""


@dataclass(frozen=True)
class Simple(Weight):
    """1: every level's F counts alike  (Ho et al., 2020, Eq. 14, where F = eps)."""

    def __call__(self, level: Level, out: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return torch.ones_like(out)


@dataclass(frozen=True)
class Noise(Weight):
    """1 on the error of eps, whatever F is  (Ho et al., 2020, Eq. 14).

    Where F is the score, this is the weight sigma² of denoising score matching (Song & Ermon, 2019, Eq. 6).
    """

    def __call__(self, level: Level, out: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return (level.alpha * (out / level.sigma)).square()


@dataclass(frozen=True)
class MinSNR(Weight):
    """min(SNR, gamma) on the error of x_0, SNR = alpha²/sigma²  (Hang et al., 2023, Sec. 3.4)."""

    gamma: float = 5.0

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise UserError(f"gamma bounds the signal-to-noise ratio and must be positive, got {self.gamma}")

    def __call__(self, level: Level, out: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        # The root first: alpha² and out² alone may leave the range of single precision.
        return ((level.alpha / level.sigma).clamp(max=self.gamma**0.5) * out).square()


@dataclass(frozen=True)
class P2(Weight):
    """1/(k + SNR)^gamma on the error of eps  (Choi et al., 2022, Eq. 8)."""

    k: float = 1.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        if not (self.k > 0 and self.gamma >= 0):
            raise UserError(f"needs k > 0 and gamma >= 0, got k = {self.k}, gamma = {self.gamma}")

    def __call__(self, level: Level, out: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        alpha2, sigma2 = level.alpha.square(), level.sigma.square()
        scale = self.k * sigma2 + alpha2  # k + SNR = scale/sigma²
        return (level.alpha * out).square() / scale * (sigma2 / scale) ** (self.gamma - 1)


@dataclass(frozen=True)
class EDM(Weight):
    """(r² + sd²)/(r·sd)² on the error of x_0, r = sigma/alpha  (Karras et al., 2022, Table 1). 1 where F is EDM's."""

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not self.sigma_data > 0:
            raise UserError(f"sigma_data is the deviation of the data and must be positive, got {self.sigma_data}")

    def __call__(self, level: Level, out: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        power = level.sigma.square() + level.alpha.square() * self.sigma_data**2
        return (out / level.sigma).square() * power / self.sigma_data**2


@dataclass(frozen=True)
class Learned(Weight):
    """base/exp(u): u(noise level) is trained beside, so that every level's loss becomes 1 (Karras et al., 2024).

    features: how many sinusoids of the noise level u is made of. What is reported stays the loss under `base`.
    """

    base: Weight = Simple()
    features: int = 32

    def __post_init__(self) -> None:
        if self.features < 2 or self.features % 2:
            raise UserError(f"features come in pairs, 2 or more, got {self.features}")
        if isinstance(self.base, Learned):
            raise UserError("the base of a learned weight is a fixed one, got another learned")

    def __call__(self, level: Level, out: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return self.base(level, out)


WEIGHTS: dict[str, type[Weight]] = {
    "simple": Simple,
    "noise": Noise,
    "min_snr": MinSNR,
    "p2": P2,
    "edm": EDM,
    "learned": Learned,
}

__all__ = ["EDM", "P2", "WEIGHTS", "Learned", "MinSNR", "Noise", "Simple", "Weight"]
