"""The U-Net in one, two or three dimensions, in parts: embed, down, mid, up."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import nn

from unnoise.nets import presets
from unnoise.nets.attention import Source
from unnoise.nets.cells import OCTAVES, waves
from unnoise.nets.embed import FREQUENCIES
from unnoise.nets.heard import Heard
from unnoise.nets.kits import Plain, Preserving
from unnoise.nets.layers import crop
from unnoise.nets.net import Net
from unnoise.nets.preserving import BRANCH, Unit, blend, units
from unnoise.nets.text import texts
from unnoise.tensor import Cond, Float, Tensor

Sources = Sequence[Sequence[Source]]


class UNet(Net):
    """x (B, C, *sizes) → (B, C, *sizes), for fields of any size.

    widths: channels of each level; level l works at ceil(size/2^l). blocks: residual blocks at each level on
    the way down, one more on the way up. attention: the levels, by index, at which attention follows each
    block; the index len(widths) names the middle. (Ho et al., 2020, App. B; Dhariwal & Nichol, 2021.)
    places: whether waves over the field say at the entrance of each level where in it a cell lies; convolutions alone
    hardly know, and what is told of places needs it. core: blocks of a transformer, `core_width` wide, that is then the
    middle, over the field halved once more (`nets/core.py`): far apart things are told of one another there.
    magnitude_preserving: of parts that keep the variance, without norms and biases (`nets/preserving.py`).

    The seams: `embed`, `down`, `mid` and `up` are parts that one may call in turn. `sources` gives, for each
    attention in the order of the pass (each `attention_widths` wide), further keys and values to look at;
    `residuals` are added to the skips, the last one to the middle's answer (Zhang et al., ControlNet, 2023).
    """

    presets = presets.UNET
    any_size = True
    shared = ("place", "core.place")

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        classes: int = 0,
        augment: int = 0,
        answers: int = 1,
        heard: Mapping[str, Heard] | None = None,
        widths: tuple[int, ...] = (32, 64),
        blocks: int = 2,
        attention: tuple[int, ...] = (),
        head_width: int = 32,
        embed_width: int | None = None,
        features: int | None = None,
        frequencies: tuple[float, float] = FREQUENCIES,
        modulation: Literal["add", "scale_shift"] = "scale_shift",
        groups: int = 8,
        epsilon: float = 1e-5,
        dropout: float = 0.0,
        hears: Literal["noise", "nothing"] = "noise",
        places: bool = False,
        core: int = 0,
        core_width: int = 192,
        magnitude_preserving: bool = False,
    ):
        super().__init__(shape, classes, answers, heard)
        dims = self.dims("a U-Net")
        if not widths or min(widths) < 1 or blocks < 1:
            raise ValueError(f"a U-Net needs widths, one a level, and blocks >= 1, got {widths} and {blocks}")
        if min(head_width, groups) < 1 or (embed_width is not None and embed_width < 1):
            raise ValueError(
                f"head_width, groups and embed_width count channels: expected 1 or more, "
                f"got {head_width}, {groups} and {embed_width}"
            )
        if core < 0 or core_width < 1:
            raise ValueError(f"core counts blocks, 0 or more, and core_width channels, got {core} and {core_width}")
        if core and len(widths) in attention:
            raise ValueError(f"a core is attention in the middle, so attention {attention} cannot name it too")
        if any(level not in range(len(widths) + 1) for level in attention):
            raise ValueError(
                f"attention stands at levels 0..{len(widths) - 1} or in the middle, {len(widths)}, got {attention}"
            )
        embed_width = embed_width or 4 * widths[0]
        kit = (Preserving if magnitude_preserving else Plain)(dims, head_width, groups, epsilon, modulation, dropout)
        self.kit = kit
        features = widths[0] + widths[0] % 2 if features is None else features
        self.embedding = kit.embedding(features, embed_width, classes, frequencies, augment, hears, self.heard)

        self.modulated: list[int] = []
        self.attention_widths: list[int] = []

        def stage(level: int, before: int, after: int, look: bool = True, inward: bool = False) -> Stage:
            places = len(self.modulated), len(self.attention_widths)
            block = kit.block(before, after, inward)
            self.modulated.append(block.modulated)
            if level not in attention or not look:
                return Stage(block, None, places)
            self.attention_widths.append(after)
            return Stage(block, kit.attention(after), places)

        self.first = kit.first(self.channels, widths[0])
        place = Unit if magnitude_preserving else nn.Linear
        entered = (widths[0], *widths[:-1]) if places else ()
        self.place = nn.ModuleList(place(2 * OCTAVES * dims, width) for width in entered)
        self.encoder, self.middle, self.decoder = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        width = widths[0]
        skips = [width]
        for level, after in enumerate(widths):
            for _ in range(blocks):
                self.encoder.append(stage(level, width, after, inward=True))
                width = after
                skips.append(width)
            if level + 1 < len(widths):
                self.encoder.append(kit.halve(width))
                skips.append(width)
        self.core = kit.core(width, core_width, core, embed_width) if core else None
        if self.core is None:
            self.middle.append(stage(len(widths), width, width))
            self.middle.append(stage(len(widths), width, width, look=False))
        self.before_core = len(self.attention_widths)
        self.attention_widths += [core_width] * core
        for level, after in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                self.decoder.append(stage(level, width + skips.pop(), after))
                width = after
            if level:
                self.decoder.append(kit.double(width))
        self.norm = kit.norm(width)
        self.last = kit.last(width, answers * self.shape[0])
        self.modulate = kit.modulate(embed_width, self.modulated)
        self.texts = texts(self.heard, self.attention_widths, embed_width)
        self.kept = units(self)

    def forward(
        self,
        x: Float[Tensor, "B C *sizes"],
        noise_level: Float[Tensor, "B"],
        cond: Cond,
        sources: Sources = (),
        residuals: Sequence[Tensor] = (),
    ) -> Float[Tensor, "B told *sizes"]:
        context = self.embed(noise_level, cond, sources)
        h = self.joined(x, cond).to(next(self.first.parameters()).dtype)
        skips = self.down(h, context)
        h = self.mid(skips[-1], context)
        if residuals:
            if len(residuals) != len(skips) + 1:
                raise ValueError(
                    f"expected {len(skips) + 1} residuals, one a skip and the middle's, got {len(residuals)}"
                )
            skips = [skip + residual for skip, residual in zip(skips, residuals, strict=False)]
            h = h + residuals[-1]
        return self.up(h, skips, context).to(x.dtype)

    def embed(self, noise_level: Float[Tensor, "B"], cond: Cond, sources: Sources = ()) -> "Context":
        """What every block hears: its share of the modulation; and what every attention may look at."""
        read = self.read(cond, len(noise_level))
        told = self.kit.silu(self.embedding(noise_level, cond, read.vectors))
        return Context(self.modulate(told).split(self.modulated, dim=1), read.beside(sources), told)

    def down(self, h: Float[Tensor, "B C *sizes"], context: "Context", seen: Tensor | None = None) -> list[Tensor]:
        """The skips, from the finest to the coarsest; the last is where the middle starts.

        seen: (B, widths[0], *sizes), added to what the first layer gives.
        """
        h, level = self.placed(arrange(self.first(h)), 0), 0
        h = h if seen is None else h + seen
        skips = [h]
        for part in self.encoder:
            if isinstance(part, Stage):
                h = part(h, context)
            else:
                level += 1
                h = self.placed(part(h), level)
            skips.append(h)
        return skips

    def placed(self, h: Float[Tensor, "B W *sizes"], level: int) -> Float[Tensor, "B W *sizes"]:
        """h at the entrance of a level, told where its cells lie."""
        if not self.place:
            return h
        layer = self.place[level]
        place = layer(waves(h.shape[2:], h)).transpose(0, 1).reshape(-1, *h.shape[2:])
        return blend(h, place.expand_as(h), BRANCH) if isinstance(layer, Unit) else h + place

    def mid(self, h: Float[Tensor, "B W *small"], context: "Context") -> Float[Tensor, "B W *small"]:
        if self.core is not None:
            own = slice(self.before_core, self.before_core + self.core.depth)
            return self.core(h, context.told, context.sources[own])
        for stage in self.middle:
            h = stage(h, context)
        return h

    def up(
        self, h: Float[Tensor, "B W *small"], skips: Sequence[Tensor], context: "Context"
    ) -> Float[Tensor, "B told *sizes"]:
        """The answer, from the middle's and the skips."""
        left = list(skips)
        for part in self.decoder:
            h = part(self.kit.join(h, left.pop()), context) if isinstance(part, Stage) else crop(part(h), left[-1])
        return self.last(h if self.norm is None else self.kit.silu(self.norm(h)))


def arrange(h: Float[Tensor, "B C *sizes"]) -> Float[Tensor, "B C *sizes"]:
    """h with its channels last in memory, where a processor's convolutions gain more than its norms lose.

    That is in float32 on images of 256 pixels and more. All that follows keeps the order.
    """
    if h.device.type == "cpu" and h.dtype == torch.float32 and h.ndim == 4 and h[0, 0].numel() >= 256:
        return h.contiguous(memory_format=torch.channels_last)
    return h


class Context(NamedTuple):
    """What a pass brings to its blocks: one modulation a block, one list of sources an attention, what all was told."""

    modulations: Sequence[Tensor]
    sources: Sources
    told: Tensor


class Stage(nn.Module):
    """A residual block and, where asked for, the attention that follows it; both know their place."""

    def __init__(self, block: nn.Module, attention: nn.Module | None, places: tuple[int, int]):
        super().__init__()
        self.block = block
        self.attention = attention
        self.places = places

    def forward(self, x: Float[Tensor, "B before *sizes"], context: Context) -> Float[Tensor, "B after *sizes"]:
        h = self.block(x, context.modulations[self.places[0]])
        if self.attention is None:
            return h
        return self.attention(h, context.sources[self.places[1]] if context.sources else ())


__all__ = ["Context", "Sources", "UNet"]
