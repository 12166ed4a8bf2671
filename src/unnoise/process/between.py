"""Between two noises: the quarter of a circle on which every point has the law of noise."""

import numpy as np
import torch

from unnoise.config import UserError
from unnoise.tensor import Array, Float, Tensor, align


def weights(count: int) -> Array:
    """cos(theta) and sin(theta) for count angles from 0 to pi/2, exactly (1, 0) and (0, 1) at the ends: (count, 2).

    cos² + sin² = 1, so cos(theta)·a + sin(theta)·b of independent standard normals a and b is standard normal for
    every theta, in any dimension. Along the straight line (1 − u)·a + u·b the variance falls to a half in the middle.
    Weights sin((1 − u)·w)/sin(w) and sin(u·w)/sin(w), with w the angle between a and b (Shoemake, 1985), keep the
    length of a and b where they have one; w is near pi/2 in many dimensions, and there they are these weights, but in
    few it is anything, and where a and b are nearly opposite the way goes far about.
    """
    if count < 2:
        raise UserError(f"between two noises stand at least 2, the ends among them, got {count}")
    angles = np.linspace(0, np.pi / 2, count)
    made = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    made[-1] = 0, 1
    return made


def between(first: Float[Tensor, "*dims"], last: Float[Tensor, "*dims"], count: int = 9) -> Float[Tensor, "N *dims"]:
    """cos(theta)·first + sin(theta)·last for count angles from 0 to pi/2, the ends as they are: (count, *dims).

    first, last: noise at one level, such as two of `run.invert`; the result starts samples (`start`).
    """
    if first.shape != last.shape:
        raise UserError(f"two noises of one shape are needed, got {tuple(first.shape)} and {tuple(last.shape)}")
    kept = torch.from_numpy(weights(count)).to(first)
    each = first.expand(count, *first.shape)
    return align(kept[:, 0], each) * each + align(kept[:, 1], each) * last


__all__ = ["between", "weights"]
