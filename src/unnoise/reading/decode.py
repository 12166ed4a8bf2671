"""The bytes of a picture file → grey or colour in 8 bits: by content, within limits, upright, on a background."""

import io
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import Lock

import numpy as np
import PIL.Image

from unnoise.config import UserError

# What is opened. Formats that start other programs (EPS), stream, or hold no picture are not among them.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
_SUFFIXES = ".png .jpg .jpeg .jpe .jfif .mpo .webp .avif .gif .bmp .dib .tif .tiff .ppm .pgm .pbm .pnm .jp2 .j2k .heic"
SUFFIXES = frozenset(_SUFFIXES.split())  # names that promise a picture
LARGE = 1 << 22  # pixels: pictures of more are decoded one at a time, which bounds the memory
EMPTY, UNKNOWN = "empty", "not a picture of a known format"
_ONE_AT_A_TIME = Lock()

Colour = tuple[int, int, int]


class Unreadable(Exception):
    """Why a file gives no picture, in a few words."""


def oversized(size: int, most: int) -> str:
    """The reason that a file of too many bytes is given."""
    return f"{size:,} bytes, and {most:,} are allowed"


@dataclass(frozen=True)
class Limits:
    """What a file may ask for: pixels when decoded, and bytes as it lies."""

    pixels: int = 1 << 26
    bytes: int = 1 << 26

    def __post_init__(self) -> None:
        if self.pixels < 1 or self.bytes < 1:
            raise UserError(f"limits of a picture are 1 or more, got {self.pixels} pixels and {self.bytes} bytes")


@dataclass(frozen=True)
class Header:
    """What a file says of its picture before any pixel is decoded; the size is that of the picture upright."""

    format: str
    mode: str
    width: int
    height: int


def header(data: bytes, limits: Limits) -> Header:
    """Format, mode and size. Raises Unreadable."""
    with _told(), _opened(data, limits) as image:
        width, height = image.size
        if _turned(image) >= 5:  # these four orientations exchange the axes
            width, height = height, width
        return Header(image.format or "", image.mode, width, height)


def decode(
    data: bytes, limits: Limits, background: Colour = (255, 255, 255), wanted: tuple[int, int] | None = None
) -> PIL.Image.Image:
    """The picture, "L" or "RGB", upright, with transparent parts on the background. Raises Unreadable.

    Values stay as the file has them, which is sRGB nearly always; embedded colour profiles are not applied.
    16 bits become 8 by rounding v/257. Of several frames the first is taken.
    wanted: (height, width) that it will be reduced to: a JPEG is then decoded at 1/2, 1/4 or 1/8 of its size, as long
    as it keeps twice what is wanted.
    """
    with _told(), _opened(data, limits) as image:
        if image.width * image.height <= LARGE:
            return _flat(image, background, wanted)
        with _ONE_AT_A_TIME:
            return _flat(image, background, wanted)


def opacity(data: bytes, limits: Limits) -> PIL.Image.Image | None:
    """How opaque each pixel is, "L", upright: 0 is clear; None where nothing is said of it. Raises Unreadable."""
    with _told(), _opened(data, limits) as image:
        image.load()
        if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
            return None
        alpha, turned = image.convert("RGBA").getchannel("A"), _turned(image)
        return alpha.transpose(_UPRIGHT[turned]) if turned in _UPRIGHT else alpha


@contextmanager
def quiet() -> Generator[None]:
    """Pillow warns of large and of odd pictures; what matters is told otherwise. For the thread that waits."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\..*")
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        yield


@contextmanager
def _told() -> Generator[None]:
    """Whatever a parser meets in a broken file is the file's fault, and becomes its reason."""
    try:
        yield
    except Unreadable:
        raise
    except PIL.UnidentifiedImageError:
        raise Unreadable(UNKNOWN) from None
    except PIL.Image.DecompressionBombError:
        raise Unreadable("more pixels than are allowed") from None
    except MemoryError:
        raise Unreadable("more memory than there is") from None
    except Exception as error:  # Pillow's parsers raise whatever they stumble over
        said = " ".join(str(error).split())
        raise Unreadable(f"broken: {said[:120] or type(error).__name__}") from None


@contextmanager
def _opened(data: bytes, limits: Limits) -> Generator[PIL.Image.Image]:
    if len(data) == 0:
        raise Unreadable(EMPTY)
    if len(data) > limits.bytes:
        raise Unreadable(oversized(len(data), limits.bytes))
    with PIL.Image.open(io.BytesIO(data), formats=_formats()) as image:
        if image.width * image.height > limits.pixels:
            raise Unreadable(f"{image.width} by {image.height} pixels, and {limits.pixels:,} are allowed")
        yield image


@cache
def _formats() -> tuple[str, ...]:
    PIL.Image.init()
    return tuple(name for name in FORMATS if name in PIL.Image.OPEN)


def _turned(image: PIL.Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where it is absent, unreadable, or seen to by Pillow (TIFF)."""
    if image.format == "TIFF":
        return 1
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # a broken EXIF block leaves the pixels what they are
        return 1


_UPRIGHT = {  # EXIF 2.32, tag 0x0112: what brings each orientation upright
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}


def _flat(image: PIL.Image.Image, background: Colour, wanted: tuple[int, int] | None) -> PIL.Image.Image:
    if image.format not in ("JPEG", "MPO"):
        image.load()  # before its EXIF, which Pillow looks for behind a PNG's pixels: what breaks on the way counts
    turned = _turned(image)
    if wanted is not None and image.format in ("JPEG", "MPO"):
        height, width = wanted if turned < 5 else wanted[::-1]
        image.draft(None, (2 * width, 2 * height))
    image.load()
    made = _eight_bits(image)
    if made.mode not in ("L", "RGB"):
        made = _on(made, background)
    return made.transpose(_UPRIGHT[turned]) if turned in _UPRIGHT else made


def _eight_bits(image: PIL.Image.Image) -> PIL.Image.Image:
    """Modes L, RGB, LA or RGBA, of the same look."""
    mode = image.mode
    if mode == "F" or mode.startswith("I"):
        return _rounded(np.asarray(image))
    if "transparency" in image.info and mode in ("1", "L", "RGB", "P"):
        return image.convert("RGBA")
    same = {"1": "L", "L": "L", "RGB": "RGB", "LA": "LA", "RGBA": "RGBA", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}
    return image if same.get(mode) == mode else image.convert(same.get(mode, "RGB"))


def _rounded(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> PIL.Image.Image:
    """Grey of 16 bits, or of real numbers from 0 to 1, in 8 bits."""
    numbers = values.astype(np.float32)  # whole numbers below 2^24 are exact
    low, high = float(numbers.min()), float(numbers.max())
    if values.dtype.kind == "f":
        if not (low >= 0 and high <= 1):  # NaN is not either
            raise Unreadable(f"real numbers from {low:.4g} to {high:.4g}: which are black and white is not known")
        scale = 255.0
    elif low < 0 or high > 65535:
        raise Unreadable(f"whole numbers from {low:.0f} to {high:.0f}: which are black and white is not known")
    else:
        scale = 1 / 257
    return PIL.Image.fromarray(np.rint(numbers * scale).astype(np.uint8))


def _on(image: PIL.Image.Image, background: Colour) -> PIL.Image.Image:
    """alpha·picture + (1 − alpha)·background; grey stays grey on a grey background."""
    alpha = image.getchannel("A")
    if image.mode == "LA" and len(set(background)) == 1:
        under, over = PIL.Image.new("L", image.size, background[0]), image.getchannel("L")
    else:
        under, over = PIL.Image.new("RGB", image.size, background), image.convert("RGB")
    under.paste(over, mask=alpha)
    return under


__all__ = [
    "EMPTY",
    "FORMATS",
    "LARGE",
    "SUFFIXES",
    "UNKNOWN",
    "Colour",
    "Header",
    "Limits",
    "Unreadable",
    "decode",
    "header",
    "opacity",
    "oversized",
    "quiet",
]
