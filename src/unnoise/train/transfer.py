"""Weights of another training, as many as fit by name and shape: where a fine-tuning begins."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from unnoise.tensor import Tensor


class Transfer(NamedTuple):
    """What was taken over and what was not."""

    taken: tuple[str, ...]
    left: tuple[str, ...]  # a clause for each tensor that does not fit
    of: int  # tensors that this network has
    share: float  # of its numbers that were taken

    def __str__(self) -> str:
        first = "; ".join(self.left[:2]) + (f"; and {len(self.left) - 2} more" if len(self.left) > 2 else "")
        whole = f"{len(self.taken)} of {self.of} tensors" if self.left else f"all {len(self.taken)} tensors"
        return f"{whole} ({100 * self.share:.3g} % of the numbers)" + (f"; not: {first}" if first else "")

    def record(self) -> dict[str, Any]:
        """What a run writes down of it."""
        return {"taken": len(self.taken), "of": self.of, "share": self.share, "left": list(self.left)}


def transfer(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Transfer:
    """Copies into our own tensors those given ones that bear their name and shape."""
    taken = [name for name, tensor in own.items() if name in given and given[name].shape == tensor.shape]
    left: list[str] = []
    for name, tensor in own.items():
        if name not in given:
            left.append(f"'{name}' is new here")
        elif given[name].shape != tensor.shape:
            left.append(f"'{name}' has shape {tuple(given[name].shape)} there, {tuple(tensor.shape)} here")
    left += [f"'{name}' has no place" for name in given if name not in own]
    with torch.no_grad():
        for name in taken:
            own[name].copy_(given[name])
    share = sum(own[name].numel() for name in taken) / max(sum(tensor.numel() for tensor in own.values()), 1)
    return Transfer(tuple(taken), tuple(left), len(own), share)


__all__ = ["Transfer", "transfer"]
