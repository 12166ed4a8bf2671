"""Group normalisation by the quick road."""

import torch
from torch import nn

from unnoise.tensor import Tensor


def normalise(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """norm(x), laid out as suits the processor.

    In half precision on a CPU the kernel for channels-last is ten times slower than the one for rows, so x
    goes there and the next convolution brings it back; that costs a quarter of what it saves.
    """
    if x.device.type == "cpu" and x.dtype == torch.bfloat16:
        x = x.contiguous()
    return norm(x)


__all__ = ["normalise"]
