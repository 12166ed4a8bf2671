"""A trajectory that moves: animated PNG, lossless, with alpha, shown by every browser.

APNG rather than GIF (a palette and one-bit alpha would speckle noise) or WebP (larger on tiny noisy
pictures). Frames stay at their native size; the page enlarges them, so a film of digits is some kilobytes.
"""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from unnoise.config import UserError
from unnoise.report.grids import Picture, enlarge, grid, image

POINT = "#2f81d6"  # read on white and on black alike
GHOST = "#8a929c"


def film(frames: Sequence[Picture], seconds: float = 3.0, hold: float = 1.5, factor: int = 1) -> bytes:
    """The frames as an endless animated PNG: `seconds` in motion, then `hold` on the last one.

    Every frame is written whole and replaces the one before (PNG specification, 3rd edition, 11.3.2); a
    viewer that knows no animation shows the first.
    """
    if not frames:
        raise UserError("a film needs at least one frame, got none")
    made = _alike([enlarge(frame, factor) for frame in frames])
    each = round(1000 * seconds / max(1, len(made) - 1))
    out = bytearray(b"\x89PNG\r\n\x1a\n")
    number = 0
    for index, frame in enumerate(made):
        buffer = io.BytesIO()
        frame.save(buffer, "PNG", optimize=True)
        chunks = list(_chunks(buffer.getvalue()))
        if index == 0:
            out += b"".join(_chunk(kind, body) for kind, body in chunks if kind in (b"IHDR", b"PLTE", b"tRNS"))
            at = out.index(b"IHDR") + 4 + 13 + 4  # acTL stands before the first image data
            out[at:at] = _chunk(b"acTL", struct.pack(">II", len(made), 0))
        wait = each if index < len(made) - 1 else round(1000 * hold)
        # width, height, x, y, delay and its denominator, dispose: none, blend: replace
        control = struct.pack(">IIIIIHHBB", number, *frame.size, 0, 0, min(wait, 65535), 1000, 0, 0)
        out += _chunk(b"fcTL", control)
        number += 1
        data = b"".join(body for kind, body in chunks if kind == b"IDAT")
        if index == 0:
            out += _chunk(b"IDAT", data)
        else:
            out += _chunk(b"fdAT", struct.pack(">I", number) + data)
            number += 1
    return bytes(out + _chunk(b"IEND", b""))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place += length + 12


def _alike(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """The frames in one mode, the smallest that is exact: a common palette, grey, colour, each with alpha."""
    if len({one.size for one in frames}) > 1:
        raise UserError(f"the frames of a film are of one size, got {sorted({one.size for one in frames})}")
    pixels = np.stack([np.asarray(one.convert("RGBA")) for one in frames])
    colours, index = np.unique(pixels.reshape(-1, 4).view(np.uint32), return_inverse=True)
    clear = bool(np.any(pixels[..., 3] < 255))
    grey = bool(np.all(pixels[..., :1] == pixels[..., 1:3]))
    if len(colours) <= 256 and (clear or not grey):
        table = colours.view(np.uint8).reshape(-1, 4)
        return [_indexed(one, table) for one in index.reshape(pixels.shape[:3]).astype(np.uint8)]
    mode = {(True, True): "LA", (True, False): "L", (False, True): "RGBA", (False, False): "RGB"}[grey, clear]
    return [Image.fromarray(one).convert(mode) for one in pixels]


def _indexed(index: np.ndarray, table: np.ndarray) -> Image.Image:
    made = Image.fromarray(index)
    made.putpalette(table[:, :3].tobytes())
    made.info["transparency"] = table[:, 3].tobytes()
    return made


def chosen(count: int, most: int) -> list[int]:
    """At most `most` of `count` rows, evenly, the first and the last among them."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most))}) if count else []


def image_frames(states: Sequence[Sequence[Picture]], columns: int | None = None) -> list[Image.Image]:
    """One grid for each row of a trajectory: states[row][item]; native pixels, one apart."""
    return [grid(row, columns, factor=1, gap=1) for row in states]


def point_frames(
    states: np.ndarray,
    size: int = 240,
    ghost: np.ndarray | None = None,
    limits: tuple[float, float, float, float] | None = None,
) -> list[Image.Image]:
    """Points (R, N, 2) as R square frames of dots on no ground; `ghost` (M, 2), the truth, faintly behind.

    limits: x0, x1, y0, y1; by default what the ghost or the last row fills, and a margin.
    """
    box = limits or frame_of(states[-1] if ghost is None else ghost)
    behind = None if ghost is None else 0.55 * _cover(ghost, size, box)
    return [_dots(_cover(row, size, box), behind) for row in states]


def progress(frame: Picture, share: float, height: int = 3) -> Image.Image:
    """A frame with a line below it, as long as the share that is done."""
    whole = image(frame).convert("RGBA")
    made = Image.new("RGBA", (whole.width, whole.height + 2 * height), (0, 0, 0, 0))
    made.paste(whole, (0, 0))
    for colour, width in ((GHOST, whole.width), (POINT, round(min(max(share, 0.0), 1.0) * whole.width))):
        line = tuple(round(255 * part) for part in to_rgb(colour))
        made.paste((*line, 255), (0, whole.height + height, width, whole.height + 2 * height))
    return made


def frame_of(points: np.ndarray, margin: float = 0.18) -> tuple[float, float, float, float]:
    """A square x0, x1, y0, y1 about the points (N, 2), so that both axes have one scale."""
    low, high = np.quantile(points, 0.002, axis=0), np.quantile(points, 0.998, axis=0)
    middle, half = (low + high) / 2, max(float(np.max(high - low)) / 2, 1e-6) * (1 + 2 * margin)
    return (
        float(middle[0] - half),
        float(middle[0] + half),
        float(middle[1] - half),
        float(middle[1] + half),
    )


def _cover(points: np.ndarray, size: int, box: tuple[float, float, float, float]) -> np.ndarray:
    """How much of each pixel the dots cover: (size, size) in [0, 1], y upwards."""
    x0, x1, y0, y1 = box
    count, _, _ = np.histogram2d(points[:, 1], points[:, 0], bins=size, range=((y0, y1), (x0, x1)))
    count = count[::-1]
    padded = np.pad(count, 1)
    soft = count.copy()  # a dot is a pixel and a part of its four neighbours
    for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
        soft += 0.45 * padded[down : down + size, right : right + size]
    return np.round(6 * (1 - np.exp(-1.4 * soft))) / 6  # few levels: the film stays small


def _dots(cover: np.ndarray, behind: np.ndarray | None) -> Image.Image:
    front, back = np.array(to_rgb(POINT)), np.array(to_rgb(GHOST))
    under = np.zeros_like(cover) if behind is None else behind * (1 - cover)
    alpha = cover + under
    colour = cover[..., None] * front + under[..., None] * back
    colour = np.divide(colour, alpha[..., None], out=np.zeros_like(colour), where=alpha[..., None] > 0)
    return image(np.concatenate([colour, alpha[..., None]], axis=-1))


def frames_in(data: bytes) -> int:
    """How many frames a film has."""
    with Image.open(io.BytesIO(data)) as opened:
        return int(getattr(opened, "n_frames", 1))


__all__ = ["chosen", "film", "frame_of", "frames_in", "image_frames", "point_frames", "progress"]
