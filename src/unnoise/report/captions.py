"""Pictures with what is said of them beneath: a sheet of captions."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from unnoise.report import grids
from unnoise.report.style import THEMES

SIZE = 13  # of letters, in pixels
WIDE = 192  # of a cell
GAP = 16


def captioned(
    pictures: Sequence[grids.Picture], captions: Sequence[str], columns: int = 4, theme: str = "light", wide: int = WIDE
) -> Image.Image:
    """Pictures in rows, enlarged by a whole factor to a cell of `wide` pixels at most, each above its caption."""
    look, letters = THEMES[theme], grids.font(SIZE)
    factor = grids.whole_factor(pictures, wide)
    cells = [grids.enlarge(picture, factor).convert("RGB") for picture in pictures]
    said = [wrapped(caption, wide) for caption in captions]
    line = round(1.35 * SIZE)
    rows = [range(first, min(first + columns, len(cells))) for first in range(0, len(cells), columns)]
    heights = [max(cells[i].height for i in row) + 6 + line * max(len(said[i]) for i in row) for row in rows]
    width = min(columns, len(cells)) * (wide + GAP) + GAP
    made = Image.new("RGB", (width, sum(heights) + GAP * (len(rows) + 1)), look.paper)
    pen = ImageDraw.Draw(made)
    top = GAP
    for row, height in zip(rows, heights, strict=True):
        for place, i in enumerate(row):
            left = GAP + place * (wide + GAP)
            made.paste(cells[i], (left, top))
            for k, text in enumerate(said[i]):
                pen.text((left, top + cells[i].height + 6 + k * line), text, font=letters, fill=look.ink)
        top += height + GAP
    return made


def wrapped(text: str, wide: int, size: int = SIZE) -> list[str]:
    """Lines of whole words, none wider than `wide` pixels but those of a single word."""
    letters = grids.font(size)
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and letters.getlength(longer) <= wide:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


__all__ = ["captioned", "wrapped"]
