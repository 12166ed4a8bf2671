"""Numbers as waves: the noise level as sinusoids; points as random Fourier features."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from unnoise.config import choose
from unnoise.tensor import Float, Tensor

# log(sigma/alpha) lives in [-12, 12]: the slowest wave turns about once over that span, the quickest
# tells levels apart that differ by a few tenths, and the answer is smooth on any finer scale.
FREQUENCIES = (5.0, 0.1)
HEARS = {"noise": True, "nothing": False}  # whether a network is told the noise level


class Sinusoids(nn.Module):
    """[cos(f_i·v), sin(f_i·v)], i = 1 .. features/2, with f_i geometric between the two frequencies.

    values (B,) → (B, features), computed in float32 whatever the network's precision: a bfloat16 level
    would be off by 0.03. (Vaswani et al., Attention is all you need, 2017, Sec. 3.5.)

    hears "nothing": the waves of level 0, whatever the level is. The network then has all its weights and one ear
    less: what it knows of the noise it sees in x (Sun et al., Is noise conditioning necessary?, 2025).
    """

    def __init__(self, features: int, frequencies: Sequence[float] = FREQUENCIES, hears: str = "noise"):
        super().__init__()
        self.hears = choose("way of hearing", hears, HEARS)
        if features < 2 or features % 2:
            raise ValueError(f"sinusoids come in pairs: expected an even count of features, got {features}")
        first, last = frequencies
        steps = [i / max(features // 2 - 1, 1) for i in range(features // 2)]
        frequencies = [math.exp((1 - s) * math.log(first) + s * math.log(last)) for s in steps]
        # No buffer but a plain attribute: a cast of the network to half precision leaves it alone.
        self.frequencies = torch.tensor(frequencies, dtype=torch.float32)

    def forward(self, values: Float[Tensor, "B"]) -> Float[Tensor, "B features"]:
        if self.frequencies.device != values.device:  # once: later calls wait for no transfer
            with torch.inference_mode(False):  # what stays is for training too
                self.frequencies = self.frequencies.to(values.device)
        heard = values.float() if self.hears else torch.zeros_like(values, dtype=torch.float32)
        angles = heard.unsqueeze(1) * self.frequencies
        return torch.cat((angles.cos(), angles.sin()), dim=1)


class Waves(nn.Module):
    """[x, cos(f_i·x), sin(f_i·x)], i = 1 .. count, for directions f_i ~ N(0, bandwidth²·I), fixed.

    x (B, size) → (B, size + 2·count). A perceptron alone learns the fine detail of a plane last; with waves to
    draw from it learns it first (Tancik et al., Fourier features let networks learn high frequency functions
    in low dimensional domains, 2020, Eq. 5).
    """

    directions: Tensor

    def __init__(self, size: int, count: int, bandwidth: float):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("directions", bandwidth * torch.randn(size, count, generator=generator, device="cpu"))

    def forward(self, x: Float[Tensor, "B size"]) -> Float[Tensor, "B features"]:
        angles = x @ self.directions.to(x.dtype)
        return torch.cat((x, angles.cos(), angles.sin()), dim=1)


__all__ = ["FREQUENCIES", "HEARS", "Sinusoids", "Waves"]
