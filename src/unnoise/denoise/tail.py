"""The log of the normal distribution function, far into its tail, in operations that every device has."""

from functools import cache

import numpy as np
import torch
from numpy.polynomial import chebyshev
from scipy.special import erfcx

from unnoise.tensor import Float, Tensor

DEGREES = {torch.float64: 24}  # within 1e-14 of the log; else:
DEGREE = 12  # within 1e-8


def log_cdf(x: Float[Tensor, "*dims"]) -> Float[Tensor, "*dims"]:
    """log Phi(x), x (*dims) → (*dims), with gradients; `torch.special.log_ndtr` is not there on every device.

    Below 0, with z = −x/sqrt(2) and t = 2/(2 + z) in (0, 1]: log Phi = −z² + log t + P(t) − log 2, where P is what is
    left of log(e^{z²}·erfc(z)) beside log t: smooth up to t = 0, so a polynomial tells it.
    """
    below = x < 0
    z = torch.where(below, -x, x) / float(np.sqrt(2))
    t = 2 / (2 + z)
    first, *others = _coefficients(DEGREES.get(x.dtype, DEGREE))
    u = 2 * t - 1
    rest = torch.full_like(u, first)
    for value in others:
        rest = rest * u + value
    tail = t.log() - z.square() + rest
    return torch.where(below, tail, torch.log1p(-tail.exp()))


@cache
def _coefficients(degree: int) -> tuple[float, ...]:
    """P − log 2 by powers of 2t − 1, the highest first."""
    nodes = chebyshev.chebpts1(degree + 1)
    t = (nodes + 1) / 2
    left = np.log(erfcx(2 / t - 2) / (2 * t))
    powers = chebyshev.cheb2poly(chebyshev.chebfit(nodes, left, degree))
    return tuple(float(value) for value in powers[::-1])


__all__ = ["log_cdf"]
