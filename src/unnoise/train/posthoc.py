"""Any average of the weights, made after training from a few snapshots of two that were tracked along it.

An average at n items is an integral of the weights under its profile (gamma + 1)·m^gamma/n^(gamma + 1), 0 < m < n.
A wanted profile is approached by a sum of the profiles that were kept, in the least squares of L², and the same sum
of the kept weights is then the average (Karras et al., Analyzing and improving the training dynamics of diffusion
models, 2024, Sec. 3.2 and App. C). Inner products of powers have closed forms, so this costs a small linear system.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from unnoise import files
from unnoise.config import UserError
from unnoise.tensor import Array, Tensor
from unnoise.train import checkpoint
from unnoise.train.checkpoint import Checkpoint
from unnoise.train.ema import Power

WIDTHS = (0.05, 0.1)  # of the averages that are tracked for it
TOLERANCE = 0.1  # the largest relative error of a profile that still goes by its name
_RANK = 1e-13  # eigenvalues below this share of the largest are rounding


class Profile(NamedTuple):
    """The average of this width, as it stands after so many items."""

    items: int
    width: float


def inner(a: Profile, b: Profile) -> float:
    """The integral of the product of two profiles over the items that both have seen.

    With n_a <= n_b: (gamma_a + 1)(gamma_b + 1)/(gamma_a + gamma_b + 1)·(n_a/n_b)^gamma_b/n_b.
    """
    early, late = sorted((a, b))
    first, second = Power(early.width).gamma, Power(late.width).gamma
    share = (early.items / late.items) ** second / late.items
    return (first + 1) * (second + 1) / (first + second + 1) * share


def coefficients(kept: Sequence[Profile], wanted: Profile) -> tuple[Array, float]:
    """What each kept profile counts for, (K,) with the sum 1, and the relative error in L² of what they make.

    The sum is held at 1 by a Lagrange multiplier: weights that do not move are then given back as they are.
    """
    gram = np.array([[inner(a, b) for b in kept] for a in kept])
    scale = gram.diagonal() ** -0.5  # all profiles of norm 1, of which the rank can be told
    towards = scale * [inner(a, wanted) for a in kept]
    values, axes = np.linalg.eigh(scale[:, None] * gram * scale)
    axes, values = axes[:, values > _RANK * values[-1]], values[values > _RANK * values[-1]]
    best, push = (axes @ (axes.T @ side / values) for side in (towards, scale))
    best += push * (1 - scale @ best) / (scale @ push)
    whole = inner(wanted, wanted)
    missed = whole - 2 * best @ towards + best @ (scale[:, None] * gram * scale) @ best
    return best * scale, float(np.sqrt(max(missed, 0.0) / whole))


def reach(kept: Sequence[Profile], items: int) -> tuple[float, float]:
    """The narrowest and the widest average that the kept profiles make within the tolerance."""
    widths = np.round(np.arange(0.005, 0.285, 0.005), 3)
    fine = [width for width in widths if coefficients(kept, Profile(items, float(width)))[1] <= TOLERANCE]
    return float(min(fine)), float(max(fine))


def marks(items: int, count: int) -> tuple[int, ...]:
    """After how many items the snapshots are due: 1 − (1 − k/(count + 1))² of all, k = 1 .. count.

    They lie the closer, the nearer the end: a narrow profile is told by the last few, a wide one by all.
    """
    shares = 1 - (1 - np.arange(1, count + 1) / (count + 1)) ** 2
    return tuple(int(mark) for mark in np.ceil(shares * items))


def kept(found: Checkpoint, snapshots: Path) -> dict[Profile, tuple[Checkpoint, str]]:
    """The averages that a checkpoint holds and those of the snapshots before it, and where each one lies."""
    there: dict[Profile, tuple[Checkpoint, str]] = {}
    earlier = [checkpoint.read(path) for path in checkpoint.listed(snapshots) if int(path.name) < found.items]
    for one in (*earlier, found):
        for file in one.state["files"]:
            name = file.removesuffix(".safetensors")
            if name.startswith("ema-") and one.items:
                there[Profile(one.items, float(name.removeprefix("ema-")))] = one, name
    return there


def average(found: Checkpoint, snapshots: Path, width: float) -> tuple[dict[str, Tensor], float]:
    """The weights' average of a width at a checkpoint, and the relative error of its profile.

    Raises UserError where the snapshots do not reach that width.
    """
    there, wanted = kept(found, snapshots), Profile(found.items, Power(width).sigma_rel)
    if not there:
        raise UserError(f"{found.path} holds no average of the weights: it was trained with train.snapshots = 0")
    weights, error = coefficients(list(there), wanted)
    if error > TOLERANCE:
        least, most = reach(list(there), found.items)
        spans = f"from {least:g} to {most:g}" if most > least else f"at {least:g}"
        raise UserError(
            f"an average of width {width:g} is not to be made of what {found.path.parent.parent} kept, only {spans}: "
            "train with more train.snapshots, or with that width in train.ema"
        )
    made = found.tensors("net")
    sums = {key: torch.zeros_like(tensor, dtype=torch.float64) for key, tensor in made.items()}
    for (one, name), weight in zip(there.values(), weights, strict=True):
        parts = one.tensors(name)
        sums = {key: total.add_(parts[key], alpha=float(weight)) for key, total in sums.items() if key in parts}
    # What is not in every part is no trained weight, such as fixed directions, and stands as it is.
    return {key: sums[key].to(tensor.dtype) if key in sums else tensor for key, tensor in made.items()}, error


def half(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights for a snapshot: in float16, whose rounding of 2^-12 is below the error of a profile; else as they are."""
    small = {name: tensor.to(torch.float16) for name, tensor in tensors.items()}
    return {name: part if bool(part.isfinite().all()) else tensors[name] for name, part in small.items()}


def rewind(snapshots: Path, items: int) -> None:
    """Removes the snapshots after so many items: a resume makes them again."""
    for path in checkpoint.listed(snapshots):
        if int(path.name) > items:
            files.drop(path)


__all__ = [
    "TOLERANCE",
    "WIDTHS",
    "Profile",
    "average",
    "coefficients",
    "half",
    "inner",
    "kept",
    "marks",
    "reach",
    "rewind",
]
