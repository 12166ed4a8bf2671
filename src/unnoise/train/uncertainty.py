"""A weight by noise level that is learned: each level's loss is divided by what is expected of it there.

The trainer minimises  loss/exp(u) + u  with u a small network of the noise level, trained beside (Kendall, Gal &
Cipolla, Multi-task learning using uncertainty, 2018, Sec. 3.2; over continuous levels Karras et al., Analyzing and
improving the training dynamics of diffusion models, 2024). Where u is optimal, exp(u) is the mean loss at
the level, so every level counts as its loss relative to what is usual there: 1.
"""

import torch
from torch import nn

from unnoise.nets.waves import Sinusoids
from unnoise.tensor import Float, Tensor


class Uncertainty(nn.Module):
    """u(noise level) = b + w·sinusoids(noise level): (B,) → (B,), 0 at the start."""

    def __init__(self, features: int):
        super().__init__()
        self.sinusoids = Sinusoids(features)
        self.slopes = nn.Parameter(torch.zeros(features))
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, noise: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return self.sinusoids(noise) @ self.slopes + self.offset

    def balance(
        self, value: Float[Tensor, "B"], noise: Float[Tensor, "B"], usual: Float[Tensor, "B"] | None = None
    ) -> Float[Tensor, "B"]:
        """loss/exp(u) + u for each item: the gradient of the network that is trained is divided by exp(u).

        usual: the loss that u learns to expect, where that is another than the one that the network descends.
        """
        u = self(noise.float())
        if usual is None:
            return value / u.exp() + u
        return value / u.exp().detach() + usual.detach() / u.exp() + u

    @torch.no_grad()
    def expected(self, noise: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        """The loss that is expected at each level: exp(u)."""
        return self(noise).exp()


__all__ = ["Uncertainty"]
