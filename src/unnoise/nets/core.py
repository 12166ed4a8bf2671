"""A transformer as the middle of a U-Net: its field halved to cells that know their places, and doubled again."""

from collections.abc import Sequence

from torch import nn

from unnoise.nets.attention import Source
from unnoise.nets.cells import OCTAVES, waves
from unnoise.nets.layers import Double, convolution, crop, zero
from unnoise.nets.preserving import BRANCH, Modulation, Unit, blend
from unnoise.nets.rotary import Rotary
from unnoise.nets.tokens import PreservingTokenBlock, TokenBlock, modulated
from unnoise.tensor import Float, Tensor


class Core(nn.Module):
    """(B, before, *sizes) → the same shape, by `depth` blocks of a transformer over ceil(size/2) cells an axis.

    As in the transformer of its own (`nets/dit.py`): waves say at the entrance where a cell lies, as loudly as the
    field speaks, queries and keys are turned by their places, and the blocks' (scale, shift, gate) are linear in what
    the network hears and start at 0. Convolutions around it draw what its cells are too coarse for (U-ViT's and
    simple diffusion's division of labour: Hoogeboom et al., 2023, Sec. 3.2). preserving: of parts that keep the
    variance; its blocks' modulation is scale alone.
    """

    def __init__(
        self, dims: int, before: int, width: int, depth: int, embed_width: int, head_width: int, dropout: float,
        preserving: bool,
    ):  # fmt: skip
        super().__init__()
        if width % head_width:
            raise ValueError(f"heads of {head_width} do not divide a core_width of {width}")
        self.width, self.depth, self.preserving = width, depth, preserving
        self.rotary = Rotary(dims, head_width)
        options = (width, head_width, 4.0, "swiglu", dropout)
        if preserving:
            self.halve: nn.Module = Unit(before, width, dims, 3, stride=2)
            self.place: nn.Module = Unit(2 * OCTAVES * dims, width)
            self.blocks = nn.ModuleList(PreservingTokenBlock(*options) for _ in range(depth))
            self.modulate: nn.Module = Modulation(embed_width, [width] * (2 * depth + 1))
            self.back = Double(dims, Unit(width, before, dims, 3))
        else:
            self.halve = convolution(dims, before, width, stride=2)
            self.place = nn.Linear(2 * OCTAVES * dims, width, bias=False)
            self.blocks = nn.ModuleList(TokenBlock(*options) for _ in range(depth))
            self.modulate = zero(nn.Linear(embed_width, (6 * depth + 2) * width))
            self.back = Double(dims, convolution(dims, width, before))

    def forward(
        self,
        x: Float[Tensor, "B before *sizes"],
        told: Float[Tensor, "B embed_width"],
        sources: Sequence[Sequence[Source]] = (),
    ) -> Float[Tensor, "B before *sizes"]:
        """told: silu of the embedding; sources: of each block, as `TokenAttention` takes them."""
        cells = self.halve(x)
        counts = cells.shape[2:]
        h = cells.flatten(2).transpose(1, 2)
        place = self.place(waves(counts, h))
        h = blend(h, place.expand_as(h), BRANCH) if self.preserving else h + place
        heard = self.modulate(told).unflatten(1, (-1, 1, self.width)).unbind(dim=1)  # each (B, 1, width)
        each, table = (2 if self.preserving else 6), self.rotary(counts, h)
        for i, block in enumerate(self.blocks):
            h = block(h, heard[i * each : (i + 1) * each], table, sources[i] if sources else ())
        h = h * (1 + heard[-1]) if self.preserving else modulated(h, *heard[-2:])
        return crop(self.back(h.transpose(1, 2).unflatten(2, counts)), x)


__all__ = ["Core"]
