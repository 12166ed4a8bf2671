"""What a picture of a scene shows, read by classical vision: its objects, their shapes, colours, sizes and places.

Pixels that are lit hang together as blobs; a blob's colour is the direction of its pixels from black, and what each
pixel has of that colour is its covered share. Area and centroid are linear in these shares, so every shape is
compared at the one size and place at which it has the blob's own, and the nearest one is read.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from unnoise.config import UserError
from unnoise.data.grammar import CHOICES, MOST, UNTOLD, Labels, say
from unnoise.data.layout import SHAPES, Layout, tell
from unnoise.data.outlines import AREA, breadth, soft, windows
from unnoise.data.scenes import PALETTE
from unnoise.tensor import Array

LIT = 0.35  # length of a colour from which on a pixel is lit: less than half of the darkest
LEAST = 0.0035  # of the picture's area: a blob that is smaller is none; a third of the smallest object
SECOND = 0.2  # of a blob in another colour, from which on it is two objects that touch
DULL = 0.3  # how far a blob's colour may be from the nearest of the palette
DIM = 0.75  # brightness of a blob's three brightest pixels below which it is taken for a darker object, not for edges
MISFIT = 0.25  # of a blob's squared shares that a shape may leave unexplained
READ = MOST + 1  # objects that are read of a picture: enough to see that there are too many
_PART = 512  # pictures read at once
_TOUCHING = np.zeros((3, 3, 3), bool)
_TOUCHING[1] = True  # pixels touch along edges and corners, pictures not at all

Pixels: TypeAlias = npt.NDArray[np.float32]
Blobs: TypeAlias = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read of N pictures: a layout of at most READ objects, the largest first, as data.layout has it.

    shape and colour are UNTOLD, too, where what is there is like none. misfit (N, READ): the share of squared
    coverage that the shape read leaves unexplained.
    """

    layout: Layout
    misfit: Array

    def __len__(self) -> int:
        return len(self.misfit)

    def captions(self) -> list[str]:
        """What was read, in words: all attributes, and of several objects the relations that are clear."""
        plain = np.zeros((len(self), CHOICES))  # the first way to say each thing
        told = tell(self.layout, np.zeros((len(self), 5 * READ)))
        said = say(told, plain)
        return [caption if count else "nothing" for caption, count in zip(said, told.count, strict=True)]


def read(pictures: npt.NDArray[Any]) -> Reading:
    """Reads pictures (N, 3, side, side) of 0 .. 255."""
    if pictures.ndim != 4 or pictures.shape[1] != 3 or pictures.shape[2] != pictures.shape[3]:
        raise UserError(f"scenes are pictures (N, 3, side, side), got shape {pictures.shape}")
    parts = [_read(pictures[first : first + _PART]) for first in range(0, max(1, len(pictures)), _PART)]
    return Reading(Layout.join(part.layout for part in parts), np.concatenate([part.misfit for part in parts]))


def _read(pictures: npt.NDArray[Any]) -> Reading:
    n, _, side, _ = pictures.shape
    pixels: Pixels = np.divide(np.moveaxis(pictures, 1, -1), 255, dtype=np.float32)
    blobs, count = _blobs(pixels)
    near = np.where(blobs > 0, blobs, ndimage.grey_dilation(blobs, size=(1, 3, 3)))  # edges too faint to be lit
    flat, numbers = near.ravel(), count + 1
    owner = np.zeros(numbers, np.int64)
    owner[blobs] = np.arange(n)[:, None, None]

    def total(weights: Any) -> Array:
        return np.bincount(flat, np.broadcast_to(weights, near.shape).ravel(), minlength=numbers).astype(np.float64)

    mean = np.stack([total(pixels[..., channel]) for channel in range(3)], axis=-1)
    colour = (_direction(mean) @ _direction(PALETTE).T).argmax(axis=1)
    share: Pixels = np.clip((pixels * _scaled(colour)[near]).sum(axis=-1), 0, 1.25) * (near > 0)
    area = total(share)
    grid = np.arange(side) + 0.5
    centre = np.stack([total(share * grid), total(share * grid[:, None])], axis=-1) / np.maximum(area, 1e-9)[:, None]
    # Blobs in the order of the pictures, of one picture by area, those too small left out.
    kept = np.flatnonzero(area > LEAST * side**2)
    kept = kept[kept > 0]
    kept = kept[np.lexsort((-area[kept], owner[kept]))]
    turn = np.arange(len(kept)) - np.searchsorted(owner[kept], owner[kept])
    kept, turn = kept[turn < READ], turn[turn < READ]
    shape, size, misfit, seen = _shapes(share, pixels, near, owner[kept], kept, area[kept], centre[kept])
    dull = np.linalg.norm(seen - PALETTE[colour[kept]], axis=1) > DULL
    place = owner[kept], turn

    def spread(values: Any, blank: float | int, *more: int) -> Any:
        out = np.full((n, READ, *more), blank, np.asarray(values).dtype)
        out[place] = values
        return out

    layout = Layout(
        count=np.bincount(owner[kept], minlength=n),
        shape=spread(np.where(misfit > MISFIT, UNTOLD["shape"], shape), UNTOLD["shape"]),
        colour=spread(np.where(dull, UNTOLD["colour"], colour[kept]), UNTOLD["colour"]),
        size=spread(size / side, 0.0),
        position=spread(centre[kept] / side, 0.0, 2),
    )
    return Reading(layout, spread(misfit, 0.0))


def _direction(colours: Any) -> Array:
    rows = np.asarray(colours, np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)


def _scaled(colour: Labels) -> Pixels:
    """c/|c|² of each blob's colour: its product with a pixel of share a is a."""
    c = PALETTE[colour]
    return (c / (c**2).sum(axis=-1, keepdims=True)).astype(np.float32)


def _blobs(pixels: Pixels) -> tuple[Blobs, int]:
    """The number of the blob of each pixel (N, side, side), 0 for none; blobs of two colours are parted."""
    length = np.sqrt((pixels**2).sum(axis=-1))
    lit = length > LIT
    blobs, count = _apart(lit)
    sure = length > 0.5
    nearest = np.zeros(lit.shape, np.int64)
    nearest[lit] = (_direction(pixels[lit]) @ _direction(PALETTE).T).argmax(axis=1)
    votes = np.bincount((blobs * len(PALETTE) + nearest)[sure], minlength=(count + 1) * len(PALETTE))
    votes = votes.reshape(count + 1, len(PALETTE))
    mixed = np.sort(votes, axis=1)[:, -2] > SECOND * votes.sum(axis=1)
    mixed[0] = False
    if not mixed.any():
        return blobs, count
    part = mixed[blobs] & lit
    blobs = blobs * ~part
    for colour in np.unique(nearest[part]):
        own, more = _apart(part & (nearest == colour))
        blobs: Blobs = np.where(own > 0, own + np.int32(count), blobs)
        count += more
    return blobs, count


def _apart(lit: npt.NDArray[np.bool_]) -> tuple[Blobs, int]:
    """Pixels that hang together, numbered from 1 through all pictures; how many lots there are."""
    found: Any = ndimage.label(lit, _TOUCHING)
    return found


def _shapes(
    share: Pixels, pixels: Pixels, near: Any, owner: Labels, blob: Labels, area: Array, centre: Array
) -> tuple[Labels, Array, Array, Array]:
    """Of each blob the nearest shape, its width in pixels, what it leaves unexplained, and the colour it has (B, 3)."""
    side = share.shape[-1]
    wide = min(side, breadth(np.sqrt(area.max(initial=1.0) / AREA.min())))  # holds the widest, taken for a star
    corner = np.clip(windows(centre, wide), 0, side - wide)
    y = corner[:, 1, None, None] + np.arange(wide)[:, None]
    x = corner[:, 0, None, None] + np.arange(wide)
    place = owner[:, None, None], y, x
    own = near[place] == blob[:, None, None]
    a = np.where(own, share[place], 0)
    bright = np.partition(a.reshape(len(a), wide * wide), -3, axis=1)[:, -3:].mean(axis=1)
    bright = np.where(bright < DIM, np.maximum(bright, 1e-3), 1)
    a, area = a / bright[:, None, None], area / bright
    power = np.maximum((a**2).sum(axis=(1, 2)), 1e-9)
    widths = np.sqrt(area[:, None] / AREA)
    off = np.empty((len(blob), SHAPES))
    for kind in range(SHAPES):
        off[:, kind] = ((a - soft(kind, widths[:, kind], centre, corner, wide)) ** 2).sum(axis=(1, 2))
    shape = off.argmin(axis=1)
    rows = np.arange(len(blob))
    p = pixels[place].astype(np.float64)
    seen = np.stack([(a * p[..., channel]).sum(axis=(1, 2)) for channel in range(3)], axis=-1) / power[:, None]
    return shape, widths[rows, shape], off[rows, shape] / power, seen


__all__ = ["LIT", "READ", "Reading", "read"]
