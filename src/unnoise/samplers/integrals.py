"""Integrals behind the coefficients: exponentials against polynomials, to rounding, in float64."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from unnoise.tensor import Array

SERIES = 3.0  # |x| up to which phi is summed, beyond which it is recurred
TERMS = 40


def phis(x: float, count: int) -> list[float]:
    """phi_0 .. phi_count of x: phi_0 = e^x, phi_{k+1} = (phi_k − 1/k!)/x  (Hochbruck & Ostermann, 2010, Eq. 2.11).

    The recurrence loses digits where |x| is small; there the last is summed as a series, and the others follow
    from it downwards, which loses none.
    """
    if abs(x) > SERIES:
        found = [math.exp(x)]
        for k in range(count):
            found.append((found[k] - 1 / math.factorial(k)) / x)
        return found
    term = last = 1 / math.factorial(count)
    for n in range(1, TERMS):
        term *= x / (count + n)
        last += term
    found = [last]
    for k in reversed(range(count)):
        found.append(x * found[-1] + 1 / math.factorial(k))
    return found[::-1]


def exponential_moments(z: float, count: int) -> Array:
    """The integral over s in [0, 1] of e^{−z(1 − s)}·s^k = k!·phi_{k+1}(−z), k = 0 .. count − 1."""
    phi = phis(-z, count)
    return np.array([math.factorial(k) * phi[k + 1] for k in range(count)])


def rule(moments: Array, nodes: Sequence[float]) -> Array:
    """Weights on nodes that integrate every polynomial of degree below their number, given its moments.

    With s scaled so that the interval is [0, 1]: sum over j of w_j·s_j^k = moments[k].
    """
    return np.linalg.solve(np.vander(np.asarray(nodes, dtype=np.float64), increasing=True).T, moments)


_NODES, _WEIGHTS = (np.asarray(part, dtype=np.float64) for part in np.polynomial.legendre.leggauss(16))


def quadrature(f: Callable[[Array], Array], ends: Array) -> Array:
    """The integral of f from ends[0] to ends[-1], by 16 points of Gauss between each two: f: (N,) → (K, N); gives (K,).

    ends: monotone, with the places at which f is not smooth among them.
    """
    half = np.diff(ends)[:, None] / 2
    places = ends[:-1, None] + half * (1 + _NODES)
    return f(places.ravel()) @ (half * _WEIGHTS).ravel()


__all__ = ["exponential_moments", "phis", "quadrature", "rule"]
