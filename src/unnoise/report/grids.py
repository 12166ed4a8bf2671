"""Images side by side, pixel for pixel, and single PNGs that say how they were made.

An image is a PIL image, the bytes of an image file, or an array (H, W), (H, W, 1), (H, W, 3) or
(H, W, 4): uint8, or floating in [0, 1]. Tiny images are enlarged by a whole factor, nearest pixel.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from unnoise import files
from unnoise.config import UserError
from unnoise.report import synthetic
from unnoise.report.style import THEMES

Picture: TypeAlias = Image.Image | np.ndarray | bytes

CHUNK = "unnoise"  # the PNG text chunk that holds the settings
CELL = 48  # pixels that an enlarged image should about fill


def image(item: Picture) -> Image.Image:
    """Any picture as a PIL image of mode L, RGB or RGBA."""
    if isinstance(item, bytes):
        item = Image.open(io.BytesIO(item))
    if isinstance(item, Image.Image):
        if item.mode in ("L", "RGB", "RGBA"):
            return item
        clear = item.mode in ("LA", "PA") or "transparency" in item.info
        return item.convert("RGBA" if clear else "L" if item.mode in ("1", "I", "I;16", "F") else "RGB")
    if item.ndim == 3 and item.shape[2] == 1:
        item = item[:, :, 0]
    if item.ndim != 2 and not (item.ndim == 3 and item.shape[2] in (3, 4)):
        raise UserError(f"an image is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got shape {item.shape}")
    if item.dtype != np.uint8:
        if not np.issubdtype(item.dtype, np.floating):
            raise UserError(f"an image is uint8, or floating in [0, 1], got {item.dtype}")
        item = np.rint(255 * np.clip(np.nan_to_num(item), 0, 1)).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(item))


def enlarge(item: Picture, factor: int) -> Image.Image:
    """Every pixel as a square of factor × factor."""
    small = image(item)
    return small.resize((small.width * factor, small.height * factor), Image.Resampling.NEAREST)


def whole_factor(items: Sequence[Picture], cell: int = CELL) -> int:
    """The whole factor that brings the largest side to about `cell` pixels, at least 1."""
    return max(1, cell // max(max(image(item).size) for item in items))


@dataclass(frozen=True)
class Layout:
    """Where the cells of a grid stand, in pixels of the enlarged picture."""

    rows: int
    columns: int
    width: int  # of a cell
    height: int
    gap: int
    left: int = 0  # room for row labels

    @property
    def size(self) -> tuple[int, int]:
        across = self.columns * (self.width + self.gap) - self.gap
        down = self.rows * (self.height + self.gap) - self.gap
        return self.left + across, down

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """The upper left pixel of a cell."""
        return self.left + column * (self.width + self.gap), row * (self.height + self.gap)

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """left, upper, right, lower of a cell, as PIL's crop takes it."""
        x, y = self.corner(row, column)
        return x, y, x + self.width, y + self.height


def layout(
    rows: Sequence[Sequence[Picture]], factor: int | None = None, gap: int | None = None, left: int = 0
) -> Layout:
    """The layout of rows of images; cells are as large as the largest image."""
    flat = [image(item) for row in rows for item in row]
    if not flat:
        raise UserError("a grid needs at least one image, got none")
    factor = factor or whole_factor(flat)
    gap = max(1, factor // 2) if gap is None else gap
    width, height = (factor * max(one.size[axis] for one in flat) for axis in (0, 1))
    return Layout(len(rows), max(map(len, rows)), width, height, gap, left)


def grid(
    items: Sequence[Picture], columns: int | None = None, factor: int | None = None, gap: int | None = None
) -> Image.Image:
    """Images row by row on no ground; cell (i, j) is item i·columns + j, enlarged. About as wide as high."""
    columns = columns or max(1, round(len(items) ** 0.5))
    return rows_of([items[first : first + columns] for first in range(0, len(items), columns)], factor, gap)


def rows_of(rows: Sequence[Sequence[Picture]], factor: int | None = None, gap: int | None = None) -> Image.Image:
    """Rows of images on no ground; rows may differ in length."""
    placed = layout(rows, factor, gap)
    made = Image.new("RGBA", placed.size, (0, 0, 0, 0))
    _paste(made, placed, rows, factor or whole_factor([item for row in rows for item in row]))
    return made


def class_rows(
    rows: Mapping[str, Sequence[Picture]],
    factor: int | None = None,
    gap: int | None = None,
    theme: str = "light",
) -> Image.Image:
    """One row of images for each class, its name on the left, on the theme's paper."""
    look = THEMES[theme]
    factor = factor or whole_factor([item for row in rows.values() for item in row])
    bare = layout(list(rows.values()), factor, gap)
    letters = font(min(18, max(11, round(bare.height * 0.36))))
    margin = 12
    left = 2 * margin + round(max(letters.getlength(name) for name in rows))
    placed = Layout(bare.rows, bare.columns, bare.width, bare.height, bare.gap, left)
    inner = Image.new("RGBA", placed.size, (0, 0, 0, 0))
    _paste(inner, placed, list(rows.values()), factor)
    draw = ImageDraw.Draw(inner)
    for row, name in enumerate(rows):
        middle = placed.corner(row, 0)[1] + placed.height / 2
        draw.text((left - margin, middle), name, font=letters, fill=look.ink, anchor="rm")
    made = Image.new("RGB", (inner.width + margin, inner.height + 2 * margin), look.paper)
    made.paste(inner, (0, margin), inner)
    return made


def _paste(onto: Image.Image, placed: Layout, rows: Sequence[Sequence[Picture]], factor: int) -> None:
    for i, row in enumerate(rows):
        for j, item in enumerate(row):
            onto.paste(enlarge(item, factor).convert("RGBA"), placed.corner(i, j))


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont:
    """The typeface that comes with matplotlib, so labels look the same everywhere."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), size)


def png(item: Picture, settings: Mapping[str, Any] | None = None) -> bytes:
    """The image as PNG; `settings` stand inside as JSON in the text chunk "unnoise", and so does the mark that it is
    drawn by a model: into a picture that was given, where they name an "image"."""
    info = PngImagePlugin.PngInfo()
    if settings is not None:
        info.add_itxt(synthetic.KEYWORD, synthetic.packet(edited="image" in settings))
        info.add_text(CHUNK, json.dumps(dict(settings), allow_nan=False))  # ASCII, as tEXt wants it
    buffer = io.BytesIO()
    image(item).save(buffer, "PNG", pnginfo=info, optimize=True)
    return buffer.getvalue()


def save(item: Picture, path: str | Path, settings: Mapping[str, Any] | None = None) -> Path:
    """A PNG at `path` with its settings inside; written beside and renamed."""
    return files.put(path, png(item, settings))


def settings(source: str | Path | bytes) -> dict[str, Any]:
    """How a PNG was made, as `png` wrote it."""
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    with Image.open(stream) as opened:
        text = getattr(opened, "text", {}).get(CHUNK)  # reads to the end, where the chunk may stand
    if text is None:
        where = "these bytes" if isinstance(source, bytes) else f"'{source}'"
        raise UserError(f"{where} hold no settings: expected a PNG with a text chunk '{CHUNK}'")
    return json.loads(text)


__all__ = [
    "CHUNK",
    "Layout",
    "Picture",
    "class_rows",
    "enlarge",
    "font",
    "grid",
    "image",
    "layout",
    "png",
    "rows_of",
    "save",
    "settings",
    "whole_factor",
]
