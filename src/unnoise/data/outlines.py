"""Outlines of drawn figures: where their edges run, and how much of each pixel they cover.

A figure of width 1 is the set of points p, measured from its centroid with y downwards, at which the largest of some
signed distances is negative (of the star's, the second largest: it is where at most one of five lines is crossed).
All of them change by at most as much as p moves, which is what `cover` stands on.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Pixels: TypeAlias = npt.NDArray[np.float32]
Indices: TypeAlias = npt.NDArray[np.int64]

KINDS = ("circle", "square", "triangle", "star", "ring")
SAMPLES = 64  # points at which an edge pixel is sampled
HOLE = 0.5  # of a ring's width
_CHUNK = 1 << 22  # numbers held at once while drawing

_SQUARE = np.array([[1, 0, 0.5], [-1, 0, 0.5], [0, 1, 0.5], [0, -1, 0.5]])
_TRIANGLE = np.array([[np.sin(a), np.cos(a), 12**-0.5] for a in 2 * np.pi / 3 * np.arange(3)])
# The pentagram: its lines lie towards the five tips, R·cos 72° from the middle, with R = width/(2·sin 72°).
_TIP = 0.5 / np.sin(2 * np.pi / 5)  # R
_STAR = np.array([[np.sin(a), -np.cos(a), _TIP * np.cos(2 * np.pi / 5)] for a in 2 * np.pi / 5 * np.arange(5)])
_LINES = {1: _SQUARE, 2: _TRIANGLE, 3: _STAR}

# Of width 1: the area, and how far the figure reaches up and down from its centroid (left and right it is 1/2).
AREA = np.array(
    [
        np.pi / 4,
        1.0,
        np.sqrt(3) / 4,
        5 * _TIP**2 * np.sin(np.pi / 5) * np.cos(2 * np.pi / 5) / np.cos(np.pi / 5),
        np.pi / 4 * (1 - HOLE**2),
    ]
)
UP = np.array([0.5, 0.5, 3**-0.5, _TIP, 0.5])
DOWN = np.array([0.5, 0.5, 12**-0.5, _TIP * np.cos(np.pi / 5), 0.5])


def depth(kind: int, x: Any, y: Any, size: Any) -> npt.NDArray[np.floating[Any]]:
    """Signed distance, or less than it, negative inside; x, y and size (the width) broadcast."""
    if kind in (0, 4):
        far = np.hypot(x, y)
        disc = far - size / 2
        return disc if kind == 0 else np.maximum(disc, HOLE / 2 * size - far)
    lines = _LINES[kind].astype(np.float32)
    largest = lines[0, 0] * x + lines[0, 1] * y - lines[0, 2] * size
    second = np.full_like(largest, -np.inf) if kind == 3 else largest
    for n_x, n_y, distance in lines[1:]:
        one = n_x * x + n_y * y - distance * size
        if kind == 3:
            second = np.maximum(second, np.minimum(largest, one))
        largest = np.maximum(largest, one)
    return second if kind == 3 else largest


def windows(centre: Any, wide: int) -> Indices:
    """(N, 2) the upper left pixels of windows of wide × wide pixels around points (N, 2)."""
    return np.floor(centre - (wide - 1) / 2).astype(np.int64)


def breadth(size: Any) -> int:
    """Pixels of a window that holds every figure of these widths, with a pixel of ground at least on each side."""
    return int(np.ceil(2 * UP.max() * np.max(size, initial=0.0))) + 3


def cover(kind: int, size: Any, centre: Any, corner: Indices, wide: int) -> Pixels:
    """The covered share of each pixel of N windows of wide × wide pixels: (N, wide, wide).

    size (N,) and centre (N, 2) in pixels; corner (N, 2): the upper left pixel (x, y) of each window.
    """
    # A rank-1 lattice: no two points share a row or a column, so upright edges have 64 greys, not 8.
    place = np.arange(SAMPLES)
    inner_x, inner_y = (((axis + 0.5) / SAMPLES - 0.5).astype(np.float32) for axis in (place, 19 * place % SAMPLES))
    out = np.empty((len(size), wide, wide), np.float32)
    step = max(1, _CHUNK // (4 * wide * wide))
    for first in range(0, len(size), step):
        rows = slice(first, first + step)
        grid = (corner[rows, :, None] + np.arange(wide) + 0.5).astype(np.float32)
        x, y = np.moveaxis(grid - centre[rows, :, None].astype(np.float32), 1, 0)
        x, y, scale = x[:, None, :], y[:, :, None], size[rows, None, None].astype(np.float32)
        deep = depth(kind, x, y, scale)
        part = (deep < 0).astype(np.float32)
        # Only pixels whose centre is nearer than half a diagonal can be cut by the edge, and only those are sampled.
        item, row, column = np.nonzero(np.abs(deep) < 0.7072)
        fine = depth(
            kind,
            x[item, 0, column, None] + inner_x,
            y[item, row, 0, None] + inner_y,
            scale[item, 0],
        )
        part[item, row, column] = (fine < 0).mean(axis=1)
        out[rows] = part
    return out


def soft(kind: int, size: Any, centre: Any, corner: Indices, wide: int) -> Pixels:
    """`cover` nearly, at a fraction of the cost: an edge through a pixel taken as square to its own direction."""
    grid = (corner[:, :, None] + np.arange(wide) + 0.5).astype(np.float32)
    x, y = np.moveaxis(grid - centre[:, :, None].astype(np.float32), 1, 0)
    deep = depth(kind, x[:, None, :], y[:, :, None], size[:, None, None].astype(np.float32))
    return np.clip(0.5 - deep, 0, 1).astype(np.float32, copy=False)


__all__ = ["AREA", "DOWN", "HOLE", "KINDS", "SAMPLES", "UP", "breadth", "cover", "depth", "soft", "windows"]
