"""What two beliefs and a weight make: further along the straight line, held to its length, or aside alone."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import torch

from unnoise.config import UserError
from unnoise.tensor import Float, Tensor, align


@runtime_checkable
class Blend(Protocol):
    """The guided belief of each item: from the better one, the lesser one, and w (B,), which is neither 0 nor 1."""

    def __call__(
        self, better: Float[Tensor, "B *dims"], lesser: Float[Tensor, "B *dims"], w: Float[Tensor, "B"]
    ) -> Float[Tensor, "B *dims"]: ...


@dataclass(frozen=True)
class Linear:
    """(1 − w)·lesser + w·better  (Ho & Salimans, Classifier-free diffusion guidance, 2022, Eq. 6)."""

    def __call__(
        self, better: Float[Tensor, "B *dims"], lesser: Float[Tensor, "B *dims"], w: Float[Tensor, "B"]
    ) -> Float[Tensor, "B *dims"]:
        w = align(w, better)
        return (1 - w) * lesser + w * better


@dataclass(frozen=True)
class Rescaled:
    """The linear blend G, brought back to the contrast of the better belief: G·(1 − share + share·std(c)/std(G)).

    std is over the elements of an item: pictures, whose contrast grows with w, keep it. share: 0 is the linear blend
    (Lin et al., Common diffusion noise schedules and sample steps are flawed, 2024, Eqs. 14–16, for the posterior
    mean).
    """

    share: float = 0.7

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UserError(f"share says how much of the rescaling is done, 0 to 1, got {self.share}")

    def __call__(
        self, better: Float[Tensor, "B *dims"], lesser: Float[Tensor, "B *dims"], w: Float[Tensor, "B"]
    ) -> Float[Tensor, "B *dims"]:
        guided = Linear()(better, lesser, w)
        wanted, found = (belief.flatten(1).std(1, correction=0) for belief in (better, guided))
        ratio = torch.where(found > 0, wanted / found, 1.0)
        return guided * align(1 + self.share * (ratio - 1), guided)


@dataclass(frozen=True)
class Projected:
    """c + (w − 1)·(across + along·parallel): the difference c − u, split by the direction of c  (APG).

    What lies along the belief itself mostly saturates it; across it stands what tells the label. along: how much of the
    first is kept, 1 is the linear blend; norm: the greatest length of the difference of an item, if any.
    (Sadat, Hilliges & Weber, Eliminating oversaturation and artifacts of high guidance scales, 2025, Eqs. 5–9. Its
    average over steps is left out: a belief remembers no other.)
    """

    along: float = 0.0
    norm: float | None = None

    def __post_init__(self) -> None:
        if self.norm is not None and not self.norm > 0:
            raise UserError(f"norm is the greatest length of a difference and positive, got {self.norm}")

    def __call__(
        self, better: Float[Tensor, "B *dims"], lesser: Float[Tensor, "B *dims"], w: Float[Tensor, "B"]
    ) -> Float[Tensor, "B *dims"]:
        difference, c = (better - lesser).flatten(1), better.flatten(1)
        if self.norm is not None:
            length = difference.norm(dim=1, keepdim=True)
            difference = difference * (self.norm / length).clamp(max=1)  # a length of 0 gives infinity, and then 1
        power = c.square().sum(1, keepdim=True)
        share = torch.where(power > 0, (difference * c).sum(1, keepdim=True) / power, 0.0)
        moved = difference + (self.along - 1) * share * c
        return better + align(w - 1, better) * moved.reshape(better.shape)


Kind: TypeAlias = Linear | Rescaled | Projected

BLENDS: dict[str, type[Kind]] = {"linear": Linear, "rescaled": Rescaled, "projected": Projected}

__all__ = ["BLENDS", "Blend", "Linear", "Projected", "Rescaled"]
