"""Sums whose coefficients add up to 1, as mixtures: a pass for each column after the first, and none for scaling."""

import numpy as np
import numpy.typing as npt

from unnoise.tensor import Array

STEEP = 4.0  # a share beyond it costs digits that the sum itself keeps: intermediate sums outgrow the columns


def mixtures(c: Array) -> tuple[npt.NDArray[np.bool_], Array]:
    """Which of the rows (R, n) are mixtures, and the shares w (R, n) by which they are; 0 where they are none.

    c_0·a_0 + c_1·a_1 + c_2·a_2 .. = lerp(lerp(a_0, a_1, w_1), a_2, w_2) .., lerp(a, b, w) = a + w·(b − a): with
    w_n = c_n/(c_0 + .. + c_n) the columns before make up 1 − w_n of the first n + 1. So the c must sum to 1. A column
    of coefficient 0 has the share 0, the first that has another the share 1.
    """
    whole, some = np.cumsum(c, axis=1), c != 0
    sums = np.abs(whole[:, -1] - 1) <= 1e-14 * np.abs(c).sum(axis=1)
    mixed = sums & ~(some & (np.abs(c) > STEEP * np.abs(whole))).any(axis=1)
    shares = np.zeros_like(c)
    np.divide(c, whole, out=shares, where=some & mixed[:, None])
    return mixed, shares


__all__ = ["mixtures"]
