"""How near a picture is to the one it stands for: PSNR and SSIM, picture by picture."""

from typing import Any

import numpy as np
import numpy.typing as npt

from unnoise.tensor import Array

SIGMA, RADIUS = 1.5, 5  # the window of the paper: a normal law of deviation 1.5 on 11 × 11 pixels
K1, K2 = 0.01, 0.03


def psnr(x: npt.NDArray[Any], y: npt.NDArray[Any], span: float = 255.0) -> Array:
    """10·log10(span²/mean (x − y)²) in dB of pictures x and y (N, ...), `span` from black to white: (N,).

    Infinite where the two are equal. A mean over pictures is the mean of decibels, as papers print it.
    """
    _alike(x, y)
    error = ((x.astype(np.float64) - y.astype(np.float64)) ** 2).reshape(len(x), -1).mean(axis=1)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(span**2 / error)


def ssim(x: npt.NDArray[Any], y: npt.NDArray[Any], span: float = 255.0) -> Array:
    """Structural similarity of pictures x and y (N, C, H, W), the mean over channels and places: (N,), 1 where equal.

    Wang, Bovik, Sheikh & Simoncelli, Image quality assessment (2004), Eq. 13, with the authors' Gaussian window of
    11 × 11, weights that sum to 1, and only places where the whole window lies within the picture.
    """
    _alike(x, y)
    if x.ndim != 4 or min(x.shape[2:]) <= 2 * RADIUS:
        raise ValueError(f"SSIM takes pictures (N, C, H, W) of at least {2 * RADIUS + 1} pixels a side, got {x.shape}")
    a, b = x.astype(np.float64), y.astype(np.float64)
    mean_a, mean_b = _blurred(a), _blurred(b)
    var_a, var_b = _blurred(a * a) - mean_a**2, _blurred(b * b) - mean_b**2
    both = _blurred(a * b) - mean_a * mean_b
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    like = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return like.reshape(len(x), -1).mean(axis=1)


def _blurred(x: Array) -> Array:
    """The window's mean at every place (N, C, H − 2·RADIUS, W − 2·RADIUS)."""
    from scipy.ndimage import correlate1d  # asked for rarely, and slow to import

    window = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    window /= window.sum()
    for axis in (2, 3):
        x = correlate1d(x, window, axis)
    return x[:, :, RADIUS:-RADIUS, RADIUS:-RADIUS]


def _alike(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> None:
    if x.shape != y.shape:
        raise ValueError(f"pictures are compared pair by pair, got the shapes {x.shape} and {y.shape}")


__all__ = ["psnr", "ssim"]
