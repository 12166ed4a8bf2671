"""Image prompts: a small encoder of pictures, and in every attention of a frozen network a second pair of K and V."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from unnoise.adapt.part import Brought, Dials, Part, Shows, hooks
from unnoise.conditions import Picture
from unnoise.config import UserError
from unnoise.nets import Net, Source
from unnoise.nets.layers import convolution, zero
from unnoise.nets.preserving import Modulation
from unnoise.tensor import Cond, Float, Tensor


class Encoder(nn.Module):
    """A picture (N, C, *sizes) as tokens (N, tokens, width), whatever its size.

    Three convolutions, two of which halve; the mean and the maximum over all places, which say what there is and not
    where; a linear map to all tokens at once, and a norm (the projection of Ye et al., IP-Adapter, 2023, Sec. 3.2.1).
    """

    def __init__(self, shape: tuple[int, ...], tokens: int, width: int):
        super().__init__()
        dims = len(shape) - 1
        self.tokens = tokens
        self.first = convolution(dims, shape[0], width // 2)
        self.halve = convolution(dims, width // 2, width, stride=2)
        self.last = convolution(dims, width, width, stride=2)
        self.project = nn.Linear(2 * width, tokens * width)
        self.norm = nn.LayerNorm(width)
        self.silu = nn.SiLU()

    def forward(self, x: Float[Tensor, "N C *sizes"]) -> Float[Tensor, "N tokens width"]:
        h = self.silu(self.last(self.silu(self.halve(self.silu(self.first(x)))))).flatten(2)
        return self.norm(self.project(torch.cat((h.mean(2), h.amax(2)), dim=1)).unflatten(1, (self.tokens, -1)))


@dataclass(frozen=True)
class Glimpse:
    """The item itself, moved by up to a share of its sides: a prompt tells what is to be drawn, not where."""

    shift: float

    def made(self, x0: Float[Tensor, "B C *sizes"], rng: np.random.Generator) -> Float[Tensor, "B 1 C *sizes"]:
        for axis in range(2, x0.ndim):
            size = x0.shape[axis]
            most = int(self.shift * size)
            by = torch.from_numpy(rng.integers(-most, most + 1, len(x0)))
            at = (torch.arange(size) - by.unsqueeze(1)).clamp(0, size - 1)  # what comes in repeats the border
            at = at.reshape(len(x0), *(size if k == axis else 1 for k in range(1, x0.ndim)))
            x0 = x0.gather(axis, at.to(x0.device).expand_as(x0))
        return x0.unsqueeze(1)


@dataclass
class Told:
    """What the modulation of a network does after its own answer: adds what the pass is told of whole pictures."""

    dials: Dials

    def __call__(self, module: nn.Module, given: tuple[Any, ...], answer: Tensor) -> Tensor:
        for numbers in self.dials.numbers:
            answer = answer + numbers.to(answer.dtype)
        return answer


class ImagePrompt(Part):
    """attention(q, K, V) + strength·attention(q, K', V'), K' and V' of a picture  (Ye et al., IP-Adapter, 2023, Eq. 5).

    The tokens together also tell the whole: strength·W·tokens/√(tokens·width) is added to the numbers that modulate
    every block, so that what holds everywhere, such as a colour, need not be found place by place. The encoder, one K'
    and V' an attention and W are trained, nothing else; V' and W start at 0. A second prompt stands beside the first as
    another summand; what else the network is told, labels or text, it is told as before.

    cond["prompt:<name>"] (B, P, C, *sizes): P pictures as the model sees them; without them the branch rests.
    cond["image:<name>"] (B,) or (B, P): strengths, the same for all prompts or one each. tokens, width: of what the
    encoder makes of a picture; shift: by which share of its sides training moves the item that is its own prompt.
    """

    kind: ClassVar[str] = "image"

    def __init__(self, base: Net, tokens: int = 4, width: int = 64, shift: float = 0.125):
        super().__init__()
        widths: list[int] = getattr(base, "attention_widths", [])
        if not widths:
            raise UserError(
                "an image prompt is looked at by attention, and this network has none: take as the base a U-Net with "
                "net.attention, or a transformer"
            )
        if tokens < 1 or width < 2 or width % 2:
            raise UserError(f"an image prompt has tokens, 1 or more, of an even width, got {tokens} of {width}")
        if not 0 <= shift < 1:
            raise UserError(f"shift is a share of a picture's sides from 0 to below 1, got {shift}")
        self.tokens, self.width, self.shift, self.shape = tokens, width, shift, base.shape
        self.told = Picture(of="low", factor=1).told("prompt", {}, base.shape)
        self.encoder = Encoder(base.shape, tokens, width)
        self.keys = nn.ModuleList(nn.Linear(width, wide, bias=False) for wide in widths)
        self.values = nn.ModuleList(zero(nn.Linear(width, wide, bias=False)) for wide in widths)
        self.whole = zero(nn.Linear(tokens * width, _modulated(base), bias=False))

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"tokens": self.tokens, "width": self.width, "shift": self.shift}

    @property
    def shows(self) -> Mapping[str, Shows]:
        return {"prompt": Glimpse(self.shift)}

    def read(self, given: Any, modality: Any) -> Tensor:
        told = self.told.within(modality)
        each = [given] if told.single(given) else list(given)
        made = np.stack([told.make(one)[: self.shape[0]] for one in each])
        return torch.from_numpy(made).unsqueeze(0)

    def check(self, leaf: Tensor, sizes: Sequence[int], name: str) -> None:
        if leaf.ndim != len(sizes) + 3 or leaf.shape[2] != self.shape[0]:
            raise UserError(
                f"'{name}' is prompted by pictures (B, P, {self.shape[0]}, *sizes), got {tuple(leaf.shape)}"
            )

    def join(self, base: Net, name: str, dials: Dials) -> None:
        standing = hooks(base.modulate)  # pyright: ignore
        if not any(isinstance(hook, Told) for hook in standing.values()):
            base.modulate.register_forward_hook(Told(dials))  # pyright: ignore

    def bring(
        self, base: Net, x: Float[Tensor, "B C *sizes"], noise_level: Float[Tensor, "B"], cond: Cond, name: str
    ) -> Brought:
        prompts = cond.get(f"prompt:{name}")
        if prompts is None:
            return Brought()
        self.check(prompts, x.shape[2:], name)
        strength = cond[f"{self.kind}:{name}"].to(x.dtype)
        count = prompts.shape[1]
        strength = strength.reshape(len(strength), -1).expand(len(x), count)
        tokens = self.encoder(prompts.flatten(0, 1).to(x.dtype)).unflatten(0, (len(x), count))
        sources: list[list[Source]] = []
        for keys, values in zip(self.keys, self.values, strict=True):
            k, v = keys(tokens), values(tokens)
            sources.append([Source(k[:, p], v[:, p], None, strength[:, p]) for p in range(count)])
        told = self.whole(tokens.flatten(2)) * (strength * (self.tokens * self.width) ** -0.5).unsqueeze(2)
        return Brought(sources=sources, numbers=[told.sum(1)])


def _modulated(base: Net) -> int:
    """How many numbers modulate the blocks of a network, in all."""
    of = base.modulate
    return sum(of.counts) if isinstance(of, Modulation) else of.out_features  # pyright: ignore


__all__ = ["Encoder", "Glimpse", "ImagePrompt"]
