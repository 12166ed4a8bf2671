"""Rotary positions on lines, planes and volumes: attention hears how far apart two tokens are, axis by axis."""

from collections.abc import Sequence

import torch
from torch import nn

from unnoise.nets.cells import coordinates
from unnoise.tensor import Float, Tensor

SLOWEST = 0.01  # radians a token; the quickest pair turns by 1


class Rotary(nn.Module):
    """Turns pair i of a head's numbers by (place along the pair's axis)·f_i, f_i geometric from 1 to SLOWEST.

    The pairs are dealt to the axes in equal shares, what is left over does not turn; number i and number
    i + head/2 are a pair. Then (R_m q)·(R_n k) = q·R_{n−m} k hears the offset alone, in every direction. (Su et al.,
    RoFormer, 2021, Eq. 16; along several axes as in Heo et al., Rotary position embedding for vision
    transformer, 2024, Eq. 7.)
    """

    def __init__(self, dims: int, head_width: int):
        super().__init__()
        if head_width % 2 or head_width < 2 * dims:
            raise ValueError(
                f"rotary positions turn pairs of numbers, one an axis at least: expected an even head_width of "
                f"{2 * dims} or more, got {head_width}"
            )
        share = head_width // 2 // dims
        speeds = SLOWEST ** (torch.arange(share, dtype=torch.float32) / share)
        by_pair = torch.zeros(head_width // 2, dims)
        for axis in range(dims):
            by_pair[axis * share : (axis + 1) * share, axis] = speeds
        self.speeds = by_pair  # no buffer: casts of the network leave it alone
        self._tables: dict[tuple[torch.device, tuple[int, ...]], Tensor] = {}

    def forward(self, counts: Sequence[int], like: Tensor) -> Float[Tensor, "two L pairs"]:
        """Cosines and sines for a field of so many tokens an axis, on the device of `like` and in its precision."""
        key = like.device, tuple(counts)
        if key not in self._tables:  # computed once a size, in float32
            with torch.inference_mode(False):  # what stays is for training too
                places = coordinates(counts, like.device).unsqueeze(1)
                angles = (places * self.speeds.to(like.device)).sum(dim=2)
                self._tables[key] = torch.stack((angles.cos(), angles.sin()))
        return self._tables[key].to(like.dtype)


def turn(x: Float[Tensor, "B heads L width"], table: Float[Tensor, "two L pairs"]) -> Float[Tensor, "B heads L width"]:
    """x with each pair turned by its angle."""
    cos, sin = table.unbind()
    first, second = x.chunk(2, dim=3)
    return torch.cat(
        (torch.addcmul(first * cos, second, sin, value=-1), torch.addcmul(first * sin, second, cos)), dim=3
    )


__all__ = ["Rotary", "turn"]
