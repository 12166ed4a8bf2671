"""Tensors with named shapes, and the one broadcast helper."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

# Shapes are checked under pytest, where conftest imports jaxtyping first; elsewhere its import
# is not paid and an annotation such as Float[Tensor, "B *dims"] is the tensor type alone.
if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Bool, Float, Int, Shaped
else:

    class _Plain:
        def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
            return item[0]

    Bool = Float = Int = Shaped = _Plain

if TYPE_CHECKING:
    Array: TypeAlias = npt.NDArray[np.float64]
else:  # NumPy turns what is computed from an array without axes into a number
    Array = npt.NDArray[np.float64] | np.float64
Cond: TypeAlias = Mapping[str, Tensor]


def align(values: Shaped[Tensor, "B"], x: Shaped[Tensor, "B *dims"]) -> Shaped[Tensor, "B *ones"]:
    """One value per item, shaped to broadcast over the item: (B,) → (B, 1, .., 1), as many axes as x."""
    return values.reshape(values.shape[0], *(1,) * (x.ndim - 1))


def send(host: Tensor, device: torch.device) -> Tensor:
    """What the host has computed, on a device, which is not waited for.

    CUDA stages what comes from ordinary memory before the call returns, so the source is free at once; elsewhere
    the copy is a plain one.
    """
    return host.to(device, non_blocking=device.type == "cuda")


def move(cond: Cond | None, like: Tensor) -> dict[str, Tensor]:
    """The conditions on the device of `like`, floating leaves in its dtype.

    Guidance weights stay on the host: they decide which rows are asked, and reading them costs no wait.
    """
    return {
        name: leaf.cpu()
        if name.endswith("guidance")
        else leaf.to(like.device, like.dtype if leaf.is_floating_point() else leaf.dtype)
        for name, leaf in (cond or {}).items()
    }


__all__ = ["Array", "Bool", "Cond", "Float", "Int", "Shaped", "Tensor", "align", "move", "send"]
