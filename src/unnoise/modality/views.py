"""Pictures of arrays: a field as it is, a signal as a curve, a volume as slices side by side."""

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageDraw

SLICES = 9  # of a volume, at most, evenly spaced
SEEN = 24  # pixels that a slice should about fill
CURVE = (96, 48)  # pixels of a signal's picture
FINE = 4  # how much finer a curve is drawn before it is made smaller

Shares = npt.NDArray[np.float64]


def view(item: Shares) -> PIL.Image.Image:
    """A picture of one item (C, *sizes) of shares in [0, 1], 0 black and 1 white.

    Two sizes: grey, or colour for three channels, else channel beside channel. One size: a curve of each channel.
    Three and more: slices across all but the last two axes, of the first channel.
    """
    sizes = item.ndim - 1
    if sizes == 1:
        return curve(item)
    if sizes == 2 and item.shape[0] == 3:
        return PIL.Image.fromarray(_bytes(np.moveaxis(item, 0, -1)))
    if sizes == 2:
        return PIL.Image.fromarray(_bytes(tiled(item)))
    fields = item[0].reshape(-1, *item.shape[-2:])
    if len(fields) > SLICES:
        fields = fields[np.linspace(0, len(fields) - 1, SLICES).round().astype(int)]
    factor = max(1, SEEN // max(fields.shape[1:]))
    return PIL.Image.fromarray(_bytes(tiled(fields.repeat(factor, 1).repeat(factor, 2))))


def tiled(fields: Shares) -> Shares:
    """Fields (K, H, W) in rows about as wide as high, a black line between neighbours."""
    across = int(np.ceil(np.sqrt(len(fields))))
    down = -(-len(fields) // across)
    height, width = fields.shape[1:]
    made = np.zeros((down * (height + 1) - 1, across * (width + 1) - 1))
    for k, field in enumerate(fields):
        top, left = k // across * (height + 1), k % across * (width + 1)
        made[top : top + height, left : left + width] = field
    return made


def curve(channels: Shares) -> PIL.Image.Image:
    """Signals (C, T) as curves on white, the first in black and the others in paler greys."""
    width, height = CURVE[0] * FINE, CURVE[1] * FINE
    made = PIL.Image.new("L", (width, height), 255)
    draw = PIL.ImageDraw.Draw(made)
    across = np.linspace(FINE, width - 1 - FINE, channels.shape[1])
    for k, signal in reversed(list(enumerate(channels))):
        down = FINE + (1 - signal) * (height - 1 - 2 * FINE)
        points = [(float(x), float(y)) for x, y in zip(across, down, strict=True)]
        ink = round(190 * k / max(1, len(channels)))
        if len(points) > 1:
            draw.line(points, fill=ink, width=FINE, joint="curve")
        else:
            draw.point(points, fill=ink)
    return made.resize(CURVE, PIL.Image.Resampling.BOX)


def _bytes(share: Shares) -> npt.NDArray[np.uint8]:
    return np.rint(255 * share).astype(np.uint8)


__all__ = ["curve", "tiled", "view"]
