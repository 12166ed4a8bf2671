"""The plain residual network: one width, one resolution, convolutions alone."""

from collections.abc import Mapping
from typing import Literal

from torch import nn

from unnoise.nets import presets
from unnoise.nets.cells import cells, field
from unnoise.nets.embed import FREQUENCIES
from unnoise.nets.heard import Heard
from unnoise.nets.kits import Plain, Preserving
from unnoise.nets.net import Net
from unnoise.nets.preserving import units
from unnoise.nets.text import texts
from unnoise.nets.unet import arrange
from unnoise.tensor import Cond, Float, Tensor


class ResNet(Net):
    """x (B, C, *sizes) → (B, C, *sizes), for fields of any size: `depth` residual blocks of `width` channels.

    Blocks are the U-Net's, without its levels: a pixel hears those within 2·depth + 2 cells of it, and all others
    through the norms alone. patch: the side of the cells whose pixels are channels of one place inside; 1 keeps
    every pixel a place. (He et al., Identity mappings in deep residual networks, 2016.)
    """

    presets = presets.RESNET
    any_size = True

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        classes: int = 0,
        augment: int = 0,
        answers: int = 1,
        heard: Mapping[str, Heard] | None = None,
        width: int = 48,
        depth: int = 5,
        patch: int = 1,
        embed_width: int | None = None,
        features: int | None = None,
        frequencies: tuple[float, float] = FREQUENCIES,
        modulation: Literal["add", "scale_shift"] = "scale_shift",
        groups: int = 8,
        epsilon: float = 1e-5,
        dropout: float = 0.0,
        hears: Literal["noise", "nothing"] = "noise",
        magnitude_preserving: bool = False,
    ):
        super().__init__(shape, classes, answers, heard)
        dims = self.dims("a residual network")
        embed_width = 4 * width if embed_width is None else embed_width
        if min(width, depth, patch, embed_width, groups) < 1:
            raise ValueError(
                "a residual network needs width, depth, patch, embed_width and groups of 1 or more, "
                f"got {width}, {depth}, {patch}, {embed_width} and {groups}"
            )
        self.patch = patch
        numbers = self.shape[0] * patch**dims
        kit = (Preserving if magnitude_preserving else Plain)(dims, width, groups, epsilon, modulation, dropout)
        self.kit = kit
        features = 32 if features is None else features
        self.embedding = kit.embedding(features, embed_width, classes, frequencies, augment, hears, self.heard)
        self.first = kit.first(self.channels * patch**dims, width)
        blocks = [kit.block(width, width, True) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = kit.norm(width)
        self.last = kit.last(width, answers * numbers)
        self.modulate = kit.modulate(embed_width, [block.modulated for block in blocks])
        self.texts = texts(self.heard, (), embed_width)
        self.kept = units(self)

    def forward(
        self, x: Float[Tensor, "B C *sizes"], noise_level: Float[Tensor, "B"], cond: Cond
    ) -> Float[Tensor, "B told *sizes"]:
        embedding = self.embedding(noise_level, cond, self.read(cond, len(x)).vectors)
        modulations = self.modulate(self.kit.silu(embedding)).chunk(len(self.blocks), dim=1)
        h = arrange(self.first(cells(self.joined(x, cond).to(next(self.first.parameters()).dtype), self.patch)))
        for block, modulation in zip(self.blocks, modulations, strict=True):
            h = block(h, modulation)
        h = self.last(h if self.norm is None else self.kit.silu(self.norm(h)))
        return field(h, self.patch, x.shape[2:]).to(x.dtype)


__all__ = ["ResNet"]
