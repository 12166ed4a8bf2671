"""A decoder learns with an encoder: the encoder says where in x_T's space an item lies, the decoder finds it again."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import nn

from unnoise import rng
from unnoise.config import UserError
from unnoise.denoise import NetDenoiser
from unnoise.nets import Net
from unnoise.tensor import Cond, Float, Tensor, align
from unnoise.train.draws import Draws
from unnoise.train.objective import Loss, Objective, average
from unnoise.train.once import partner, start


class Bound(NamedTuple):
    """Of each item, in nats for each of its N elements: both parts (B,) of −ELBO, and the mean squared error."""

    distortion: Tensor  # −E log p(x | z), with p a normal of the learned deviation around the decoder's answer
    rate: Tensor  # KL(q(z | x) | N(0, I))
    error: Tensor


class Encoder(nn.Module):
    """x (B, C, ..) → mean and log variance (B, latent) of z = Pᵀ·x_T, P (N, latent) orthonormal; 1, if latent = N.

    P, drawn once and kept, says which directions of x_T an item is written to; of the others the encoder knows what
    sampling knows, N(0, 1), so the decoder hears in training what it will hear. `net` answers with twice the channels:
    what to add to the item itself, so that it is written down from the first step and the decoder has something to
    learn from, and the variances. The deviation of the decoder's normal is learned beside.
    """

    directions: Tensor | None

    def __init__(self, net: Net, latent: int):
        super().__init__()
        self.net = net
        size = math.prod(net.shape) // 2
        basis = None
        if latent < size:
            drawn = rng.host("vae", "directions", size).standard_normal((size, latent))
            basis = torch.from_numpy(np.linalg.qr(drawn)[0]).float()
        self.register_buffer("directions", basis)
        self.tenth = nn.Parameter(torch.zeros(1))  # of log s: AdamW's steps of about lr would be too short for it all

    @property
    def log_deviation(self) -> Float[Tensor, "1"]:
        """log s, of the decoder's normal."""
        return 10 * self.tenth

    def along(self, x: Float[Tensor, "B *dims"]) -> Float[Tensor, "B latent"]:
        """Pᵀ·x."""
        flat = x.flatten(1)
        return flat if self.directions is None else flat @ self.directions

    def back(self, z: Float[Tensor, "B latent"], like: Float[Tensor, "B *dims"]) -> Float[Tensor, "B *dims"]:
        """P·z, in the shape of x."""
        return (z if self.directions is None else z @ self.directions.T).reshape(like.shape)

    def forward(
        self, x: Float[Tensor, "B *dims"], noise: Float[Tensor, "B"], cond: Cond
    ) -> tuple[Float[Tensor, "B latent"], Float[Tensor, "B latent"]]:
        change, log_variance = self.net(torch.cat((x, x), dim=1), noise, cond).to(x.dtype).chunk(2, dim=1)
        return self.along(x + change), self.along(log_variance)


@dataclass(frozen=True)
class VAE(Objective):
    """−ELBO for each of the N elements, in nats  (Kingma & Welling, 2014, Eq. 3; beta: Higgins et al., 2017, Eq. 4):

        (|x − G(x_T)|²/(2·s²) + N/2·log(2·pi·s²) + beta·KL(q(z | x) | N(0, I)))/N,    x_T ~ q

    s, the deviation of the decoder's normal, is learned with the rest (Rybkin et al., 2021). q is a normal with a
    diagonal covariance. A sample is G(x_T) itself, the mean, without the normal's noise.

    encoder: its node, as a recipe's `net`, which it is where silent; latent: how many directions of x_T an item is
    written to, all of them if none; beta: the weight of what is written.
    """

    encoder: Mapping[str, Any]
    latent: int | None = None
    beta: float = 1.0
    augment: int = 0
    beside_called: ClassVar[str] = "encoder"
    descends: ClassVar[bool] = False  # a density's logarithm has no zero: shares of it mean nothing
    once: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.beta > 0 or (self.latent is not None and self.latent < 1):
            raise UserError(f"needs beta > 0 and 1 or more latent directions, got {self.beta} and {self.latent}")

    def beside(self, net: Net) -> Encoder:
        size = math.prod(net.shape)
        if self.latent is not None and self.latent > size:
            raise UserError(f"objective.latent: an item of {size} numbers has no {self.latent} directions")
        return Encoder(partner("objective.encoder", self.encoder, net, 2, self.augment), self.latent or size)

    def __call__(
        self,
        denoiser: NetDenoiser,
        x0: Float[Tensor, "B *dims"],
        cond: Cond,
        draws: Draws,
        beside: Encoder | None = None,
    ) -> Loss:
        assert beside is not None
        bound = self.bound(denoiser, beside, x0, cond, draws.normal("noise", x0))
        return Loss(bound.distortion + self.beta * bound.rate, bound.error.detach(), start(denoiser, x0).noise)

    def bound(
        self,
        denoiser: NetDenoiser,
        encoder: Encoder,
        x0: Float[Tensor, "B *dims"],
        cond: Cond,
        noise: Float[Tensor, "B *dims"],
    ) -> Bound:
        """The parts of the bound with the given noise (B, ...), of which x_T is made."""
        level, size = start(denoiser, x0), x0[0].numel()
        mean, log_variance = encoder(x0, torch.zeros_like(level.noise), cond)
        drawn = encoder.along(noise)
        z = mean + (log_variance / 2).exp() * drawn
        x_T = noise + encoder.back(z - drawn, x0)
        answer = denoiser(align(level.sigma, x0) * x_T, level, cond).x0
        error = average((answer - x0).square(), cond.get("mask"))
        log_s = encoder.log_deviation
        distortion = error / (2 * (2 * log_s).exp()) + log_s + math.log(2 * math.pi) / 2
        rate = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / (2 * size)
        return Bound(distortion, rate, error)


__all__ = ["VAE", "Bound", "Encoder"]
