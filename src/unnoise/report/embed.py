"""Pictures inside the page: figures in two themes, tiny images at their own size, all as data."""

import base64
import io
from collections.abc import Callable
from html import escape
from typing import TypeAlias

from matplotlib.figure import Figure
from PIL import Image

from unnoise.report import grids, style
from unnoise.report.grids import Picture

Draw: TypeAlias = Callable[[str], Figure]  # the name of a theme → the picture in it


def drawing(draw: Draw, alt: str, wide: bool = False, dots: bool = False) -> str:
    """A figure in both themes; a wide one scrolls sideways on a narrow screen rather than shrink.

    dots: thousands of them are smaller as pixels than as outlines.
    """
    light, dark = draw("light"), draw("dark")
    data = _dots if dots else _data
    width, height = (round(96 * inches) for inches in light.get_size_inches())
    picture = (
        '<picture><source media="(prefers-color-scheme: dark)" '
        f'srcset="{data(dark)}"><img src="{data(light)}" alt="{escape(alt)}" width="{width}" height="{height}">'
        "</picture>"
    )
    if wide:
        frame = 'class="scroll" tabindex="0" role="region" aria-label="trajectory, scrolls sideways"'
        return f"<div {frame}>{picture}</div>"
    return f'<figure class="drawing">{picture}</figure>'


def _data(fig: Figure) -> str:
    return data_uri(style.svg(fig), "image/svg+xml")


def _dots(fig: Figure) -> str:
    few = Image.open(io.BytesIO(style.png(fig))).convert("RGB").quantize(64, Image.Quantize.MEDIANCUT)
    buffer = io.BytesIO()
    few.save(buffer, "PNG", optimize=True)
    return data_uri(buffer.getvalue(), "image/png")


def pixels(item: Picture, alt: str, factor: int) -> str:
    """An image at its native size, each pixel drawn `factor` wide."""
    return img(grids.png(item), alt, grids.image(item).size, factor)


def img(data: bytes, alt: str, size: tuple[int, int], factor: int) -> str:
    """A picture at its native size, enlarged by the browser without smoothing."""
    return (
        f'<img class="pixels" src="{data_uri(data, "image/png")}" alt="{escape(alt)}" '
        f'width="{size[0] * factor}" height="{size[1] * factor}">'
    )


def data_uri(data: bytes, media: str) -> str:
    """The bytes as an address that needs no network."""
    return f"data:{media};base64,{base64.b64encode(data).decode()}"


__all__ = ["Draw", "data_uri", "drawing", "img", "pixels"]
