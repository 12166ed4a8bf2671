"""The exact Wasserstein distance of two small sets: the cheapest pairing of their items."""

from typing import Any

import numpy.typing as npt

from unnoise.metrics.distances import flat
from unnoise.metrics.neighbours import squared_distances


def wasserstein(x: npt.NDArray[Any], y: npt.NDArray[Any], p: float = 2.0) -> float:
    """W_p = (min over pairings π of mean |x_i − y_π(i)|^p)^{1/p}: x and y (N, ...), N³ operations at worst.

    Between sets of one size the best plan of transport is a pairing (Birkhoff's theorem), which the Hungarian
    method finds exactly (Kuhn, 1955; here Jonker & Volgenant, 1987). In D dimensions the value for one law falls
    as N^{−1/D} alone, so it is read beside its floor.
    """
    if len(x) != len(y) or not len(x):
        raise ValueError(f"a pairing takes two sets of one size, got {len(x)} and {len(y)} items")
    from scipy.optimize import linear_sum_assignment  # as slow to import as all the rest of this room

    centre = flat(y).mean(axis=0)
    cost = squared_distances(flat(x) - centre, flat(y) - centre) ** (p / 2)
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].mean() ** (1 / p))


__all__ = ["wasserstein"]
