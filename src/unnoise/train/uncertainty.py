"""A weight by noise level that is learned: each level's loss is divided by what is expected of it there.

The trainer minimises  loss/exp(u) + u  with u a small network of the noise level, trained beside (Kendall, Gal &
Cipolla, Multi-task learning using uncertainty, 2018, Sec. 3.2; over continuous levels Karras et al., Analyzing and
improving the training dynamics of diffusion models, 2024). Where u is optimal, exp(u) is the mean loss at
the level, so every level counts as its loss relative to what is usual there: 1.
"""

from dataclasses import replace

import torch
from torch import nn

from unnoise.nets.embed import Sinusoids
from unnoise.tensor import Float, Tensor
from unnoise.train.config import TrainConfig
from unnoise.train.flat import Flat, fit
from unnoise.train.objective import Loss
from unnoise.train.optimiser import Optimiser


class Uncertainty(nn.Module):
    """u(noise level) = b + w·sinusoids(noise level): (B,) → (B,), 0 at the start."""

    def __init__(self, features: int):
        super().__init__()
        self.sinusoids = Sinusoids(features)
        self.slopes = nn.Parameter(torch.zeros(features))
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, noise: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return self.sinusoids(noise) @ self.slopes + self.offset


class Balance:
    """An uncertainty under training: AdamW at the network's own rate, without decay and without clipping."""

    def __init__(self, features: int, config: TrainConfig, device: torch.device):
        self.net = Uncertainty(features).to(device)
        self._flat = Flat(self.net)
        self._optimiser = Optimiser(self._flat, replace(config, weight_decay=0.0, clip=0.0))

    def __call__(self, loss: Loss) -> Float[Tensor, "B"]:
        """loss/exp(u) + u for each item: the gradient of the network that is trained is divided by exp(u)."""
        u = self.net(loss.noise.float())
        return loss.value / u.exp() + u

    def begin(self) -> None:
        """Before the gradients of a step are summed."""
        for p in self._flat.parameters.values():
            p.grad = None

    def step(self, lr: float) -> None:
        """One step; a gradient that is not finite changes nothing, as in the network's own."""
        self._optimiser.step(lr)

    @torch.no_grad()
    def expected(self, noise: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        """The loss that is expected at each level: exp(u)."""
        return self.net(noise).exp()

    def tensors(self) -> dict[str, Tensor]:
        """Its weights and the memory of its optimiser, by name."""
        return {**self.net.state_dict(), **{f"optimiser.{k}": v for k, v in self._optimiser.tensors().items()}}

    def load(self, tensors: dict[str, Tensor], where: object) -> None:
        """Takes up what `tensors` gave."""
        memory = {k.removeprefix("optimiser."): v for k, v in tensors.items() if k.startswith("optimiser.")}
        fit(self.net.state_dict(), {k: v for k, v in tensors.items() if not k.startswith("optimiser.")}, where)
        self._optimiser.load(memory, where)


__all__ = ["Balance", "Uncertainty"]
