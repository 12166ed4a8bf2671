"""The diffusion transformer: cells of a field as tokens, blocks modulated by what the network hears."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from torch import nn
from torch.nn import functional as F

from unnoise.nets import presets
from unnoise.nets.cells import OCTAVES, cells, field, waves
from unnoise.nets.embed import FREQUENCIES, Embedding
from unnoise.nets.heard import Heard
from unnoise.nets.layers import zero
from unnoise.nets.net import Net
from unnoise.nets.preserving import BRANCH, Modulation, PreservingEmbedding, Unit, blend, silu, units
from unnoise.nets.rotary import Rotary
from unnoise.nets.text import Read, texts
from unnoise.nets.tokens import PreservingTokenBlock, TokenBlock, linear, modulated
from unnoise.nets.unet import Sources
from unnoise.tensor import Cond, Float, Tensor


class DiT(Net):
    """x (B, C, *sizes) → (B, C, *sizes), for fields of any size: a transformer over cells of `patch` pixels a side.

    h ← h + gate·attention((1 + scale)·norm(h) + shift), then the same with a perceptron, where (scale, shift, gate)
    of each block are linear in silu(embedding) and start at 0 (Peebles & Xie, Scalable diffusion models with
    transformers, 2023, Sec. 3.2: adaLN-zero). Queries and keys are normed (Dehghani et al., Scaling vision
    transformers to 22 billion parameters, 2023, Sec. 2) and turned by their places in 1 to 3 dimensions; waves over
    the field say at the entrance where in it a token lies. mlp: SwiGLU (Shazeer, 2020) of 2/3·expand·width, which
    has the weights of a GELU of expand·width.

    The seams: `sources` gives, for each block in turn (each `attention_widths` wide), further keys and values to
    look at, as in the U-Net; `residuals` are added after the first blocks, one each; `enter` and `step` are parts.
    """

    presets = presets.DIT
    any_size = True
    shared = ("place",)

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        classes: int = 0,
        augment: int = 0,
        answers: int = 1,
        heard: Mapping[str, Heard] | None = None,
        width: int = 64,
        depth: int = 4,
        patch: int = 1,
        head_width: int = 32,
        expand: float = 4.0,
        mlp: Literal["swiglu", "gelu"] = "swiglu",
        embed_width: int | None = None,
        features: int | None = None,
        frequencies: tuple[float, float] = FREQUENCIES,
        dropout: float = 0.0,
        hears: Literal["noise", "nothing"] = "noise",
        magnitude_preserving: bool = False,
    ):
        super().__init__(shape, classes, answers, heard)
        dims = self.dims("a diffusion transformer")
        embed_width = 4 * width if embed_width is None else embed_width
        if min(width, depth, patch, head_width, embed_width) < 1 or expand <= 0:
            raise ValueError(
                "a diffusion transformer needs width, depth, patch, head_width, embed_width and expand above 0, "
                f"got {width}, {depth}, {patch}, {head_width}, {embed_width} and {expand}"
            )
        if width % head_width:
            raise ValueError(f"heads of {head_width} do not divide a width of {width}")
        self.patch, self.preserving = patch, magnitude_preserving
        self.attention_widths = [width] * depth
        features = 32 if features is None else features
        ears = (features, embed_width, classes, frequencies, augment, hears, self.heard)
        numbers, entrance = (channels * patch**dims for channels in (self.shape[0], self.channels))
        self.rotary = Rotary(dims, head_width)
        options = (width, head_width, expand, mlp, dropout)
        if magnitude_preserving:
            self.embedding = PreservingEmbedding(*ears)
            self.first = Unit(entrance, width, constant=True)
            self.place = Unit(2 * OCTAVES * dims, width)
            self.blocks = nn.ModuleList(PreservingTokenBlock(*options) for _ in range(depth))
            self.modulate = Modulation(embed_width, [width] * (2 * depth + 1))
            self.last = Unit(width, answers * numbers, silent=True)
        else:
            self.embedding = Embedding(*ears)
            self.first = linear(entrance, width, preserving=False)
            self.place = nn.Linear(2 * OCTAVES * dims, width, bias=False)
            self.blocks = nn.ModuleList(TokenBlock(*options) for _ in range(depth))
            self.modulate = zero(nn.Linear(embed_width, (6 * depth + 2) * width))
            self.last = zero(nn.Linear(width, answers * numbers))
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
        if len(residuals) > len(self.blocks):
            raise ValueError(f"expected a residual a block, {len(self.blocks)} at most, got {len(residuals)}")
        h, pass_ = self.enter(x, noise_level, cond)
        for i in range(len(self.blocks)):
            h = self.step(i, h, pass_, sources)
            h = h + residuals[i] if i < len(residuals) else h
        last = pass_.modulation
        h = h * (1 + last[-1]) if self.preserving else modulated(h, *last[-2:])
        return field(self.last(h).transpose(1, 2).unflatten(2, pass_.counts), self.patch, x.shape[2:]).to(x.dtype)

    def enter(
        self, x: Float[Tensor, "B C *sizes"], noise_level: Float[Tensor, "B"], cond: Cond
    ) -> tuple[Float[Tensor, "B L width"], "Pass"]:
        """The tokens before the first block, and what every block hears."""
        read = self.read(cond, len(noise_level))
        embedding = self.embedding(noise_level, cond, read.vectors)
        numbers = self.modulate(silu(embedding) if self.preserving else F.silu(embedding))
        parts = cells(self.joined(x, cond).to(next(self.first.parameters()).dtype), self.patch)
        counts = parts.shape[2:]
        h = self.first(parts.flatten(2).transpose(1, 2))
        modulation = numbers.unflatten(1, (-1, 1, h.shape[2])).unbind(dim=1)  # each (B, 1, width)
        place = self.place(waves(counts, h))
        h = blend(h, place.expand_as(h), BRANCH) if self.preserving else h + place
        return h, Pass(modulation, self.rotary(counts, h), counts, read)

    def step(
        self, i: int, h: Float[Tensor, "B L width"], pass_: "Pass", sources: Sources = ()
    ) -> Float[Tensor, "B L width"]:
        """The tokens after block i."""
        heard = 2 if self.preserving else 6
        modulation, sources = pass_.modulation[i * heard : (i + 1) * heard], pass_.read.beside(sources)
        return self.blocks[i](h, modulation, pass_.table, sources[i] if sources else ())


class Pass(NamedTuple):
    """What a pass brings to its blocks: the modulation of all, the turns of places, cells along each axis, texts."""

    modulation: Sequence[Tensor]
    table: Tensor
    counts: Sequence[int]
    read: Read = Read()


__all__ = ["DiT", "Pass"]
