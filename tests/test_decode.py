"""Whatever the file, its pixels are what a viewer shows; resizing keeps means and ramps, nothing aliases."""

import io
import struct
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unnoise.reading.decode import Limits, Unreadable, decode, header
from unnoise.reading.fit import Fit, bucket, bucket_sizes, part, pixels

LIMITS = Limits()
RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (5, 7, 3), np.uint8)


def encoded(image: PIL.Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def array(image: PIL.Image.Image) -> Any:
    return np.asarray(image).astype(int)


@pytest.mark.parametrize(
    ("format", "options"),
    [("PNG", {}), ("BMP", {}), ("TIFF", {"compression": "tiff_lzw"}), ("PPM", {}), ("WEBP", {"lossless": True})],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_lossless_files_give_their_pixels(format: str, options: dict[str, Any], mode: str) -> None:
    image = PIL.Image.fromarray(PICTURE if mode == "RGB" else PICTURE[..., 0])
    data = encoded(image, format, **options)
    assert np.array_equal(array(decode(data, LIMITS).convert("RGB")), array(image.convert("RGB")))
    found = header(data, LIMITS)
    assert (found.format, found.width, found.height) == (format, 7, 5)


# EXIF 2.32: where the file's first row and first column lie in the upright picture
SIDES = {
    1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
    5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
}  # fmt: skip


@pytest.mark.parametrize("orientation", SIDES)
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_pictures_stand_upright(orientation: int, format: str) -> None:
    rows, columns = SIDES[orientation]
    stored = PICTURE if rows in ("top", "bottom") else PICTURE.transpose(1, 0, 2)
    stored = stored[::-1] if rows in ("bottom", "right") else stored
    stored = stored[:, ::-1] if columns in ("bottom", "right") else stored
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(PIL.Image.fromarray(np.ascontiguousarray(stored)), format, exif=exif, **options)
    assert np.array_equal(array(decode(data, LIMITS)), PICTURE)
    assert (header(data, LIMITS).width, header(data, LIMITS).height) == (7, 5)


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (10, 200, 90)])
def test_transparent_parts_show_the_background(background: tuple[int, int, int]) -> None:
    alpha = RNG.integers(0, 256, (5, 7), np.uint8)
    share = alpha[..., None] / 255

    def shown(data: bytes, colour: Any) -> None:
        got = array(decode(data, LIMITS, background).convert("RGB"))
        assert np.abs(got - (share * colour + (1 - share) * background)).max() <= 0.51 + 0.5

    shown(encoded(PIL.Image.fromarray(np.dstack([PICTURE, alpha])), "PNG"), PICTURE)
    shown(encoded(PIL.Image.fromarray(np.dstack([PICTURE[..., 0], alpha])), "PNG"), PICTURE[..., :1])
    palette = PIL.Image.fromarray(np.array([[0, 1, 1]], np.uint8), "P")
    palette.putpalette([9, 8, 7, 200, 100, 50])
    got = array(decode(encoded(palette, "PNG", transparency=0), LIMITS, background))
    assert np.array_equal(got[0], [background, (200, 100, 50), (200, 100, 50)])
    grey = decode(encoded(PIL.Image.fromarray(np.dstack([PICTURE[..., 0], alpha])), "PNG"), LIMITS, background)
    assert grey.mode == ("L" if len(set(background)) == 1 else "RGB")


def test_deep_grey_is_rounded_and_what_has_no_black_is_refused() -> None:
    deep = np.array([[0, 128, 129, 257, 65535]], np.uint16)
    for format in ("PNG", "TIFF"):
        assert array(decode(encoded(PIL.Image.fromarray(deep), format), LIMITS)).tolist() == [[0, 0, 1, 1, 255]]
    real = np.array([[0.0, 0.25, 1.0]], np.float32)
    assert array(decode(encoded(PIL.Image.fromarray(real), "TIFF"), LIMITS)).tolist() == [[0, 64, 255]]
    for bad in (real * 3, real - 1, real * np.nan, np.array([[0, 1 << 20]], np.int32)):
        with pytest.raises(Unreadable, match="black and white"):
            decode(encoded(PIL.Image.fromarray(bad), "TIFF"), LIMITS)


def test_other_modes_keep_their_look() -> None:
    cmyk = PIL.Image.new("CMYK", (2, 2), (0, 255, 255, 0))
    for data in (encoded(cmyk, "TIFF"), encoded(cmyk, "JPEG", quality=100)):
        assert np.abs(array(decode(data, LIMITS)) - (255, 0, 0)).max() <= 3
    line = PIL.Image.fromarray(np.array([[True, False]]))
    assert array(decode(encoded(line, "PNG"), LIMITS)).tolist() == [[255, 0]]
    grey = pixels(PIL.Image.fromarray(PICTURE), 1)[0]
    assert np.abs(grey - PICTURE @ (0.299, 0.587, 0.114)).max() <= 0.51
    film = [PIL.Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    data = encoded(film[0], "GIF", save_all=True, append_images=film[1:])
    assert array(decode(data, LIMITS))[0, 0].tolist() == [255, 0, 0]


def png(width: int, height: int, pixels: bytes) -> bytes:
    """An RGB PNG of a size, with these bytes for its compressed pixels, whatever they are."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""
    return png(width, height, zlib.compress(b""))


LINES = zlib.compress(np.random.default_rng(0).bytes(20 * 61))  # of 20 by 20 pixels
TORN = b"x" + LINES[1:]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"GIF89a", "broken|not a picture"),
        (b"hello, world", "not a picture"),
        (encoded(PIL.Image.fromarray(PICTURE), "PNG")[:60], "broken"),
        (encoded(PIL.Image.new("RGB", (64, 64)), "JPEG")[:-200], "broken"),
        (bomb(10_000, 10_000), "10000 by 10000 pixels, and 67,108,864 are allowed"),
        (bomb(100_000, 100_000), "more pixels than are allowed"),
        (bomb(100, 100), "broken"),
        (png(20, 20, LINES[:600]), "broken"),
        (png(20, 20, TORN), "broken"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (bytes(LIMITS.bytes + 1), "allowed"),
    ],
    ids=[
        "empty",
        "cut header",
        "text",
        "cut png",
        "cut jpeg",
        "large",
        "bomb",
        "hollow",
        "pixels cut",
        "pixels torn",
        "postscript",
        "bytes",
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bad_file_says_why(data: bytes, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        decode(data, LIMITS)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of tags and sizes
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_is_unreadable_or_read_and_nothing_else(draw: Any) -> None:
    format = draw.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]))
    data = bytearray(encoded(PIL.Image.fromarray(PICTURE), format))
    for _ in range(draw.draw(st.integers(1, 8))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    with suppress(Unreadable):
        assert decode(bytes(data), Limits(1 << 16)).mode in ("L", "RGB")


def fitted(values: Any, size: tuple[int, int], **options: Any) -> Any:
    image = PIL.Image.fromarray(np.asarray(values, np.uint8))
    return array(Fit(size, **options).middle(image))


@pytest.mark.parametrize("filter", ["lanczos", "bicubic", "box"])
def test_resizing_keeps_constants_means_and_ramps_and_lets_nothing_alias(filter: Any) -> None:
    options = {"filter": filter, "crop": "stretch"}
    for size in ((8, 8), (5, 13), (90, 110)):
        assert np.all(fitted(np.full((40, 60), 77), size, **options) == 77)
    noise = np.kron(RNG.integers(0, 256, (40, 60)), np.ones((2, 2)))
    assert abs(fitted(noise, (16, 20), **options).mean() - noise.mean()) < 2.5
    ramp = np.tile(np.arange(240), (80, 1))
    for width in (60, 48, 24):  # a whole factor: pixel i stands at factor·(i + 1/2) − 1/2
        factor, edge = 240 // width, 4
        truth = factor * (np.arange(width) + 0.5) - 0.5
        got = fitted(ramp, (20, width), **options)[10]
        assert np.abs(got - truth)[edge:-edge].max() <= 0.51 + 0.5
    board = 255 * (np.indices((96, 96)).sum(0) % 2)  # the highest frequency there is: grey from afar
    assert np.abs(fitted(board, (24, 24), **options)[3:-3, 3:-3] - 127.5).max() <= 1


def test_a_large_jpeg_decoded_small_is_the_same_picture() -> None:
    smooth = (127 + 100 * np.sin(np.indices((800, 1200)) / 60).prod(0)).astype(np.uint8)
    data = encoded(PIL.Image.fromarray(smooth), "JPEG", quality=95)
    exact = array(Fit((40, 60)).middle(decode(data, LIMITS)))
    quick = array(Fit((40, 60)).middle(decode(data, LIMITS, wanted=(40, 60))))
    assert np.abs(exact - quick).max() <= 3
    assert decode(data, LIMITS, wanted=(40, 60)).size == (150, 100)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 30), st.integers(1, 30))
def test_the_middle_is_the_largest_part_of_the_proportions(width: int, height: int, wide: int, high: int) -> None:
    left, upper, right, lower = part(width, height, wide, high)
    assert np.isclose((right - left) * high, (lower - upper) * wide)
    assert np.isclose(left + right, width)
    assert np.isclose(upper + lower, height)
    assert np.isclose(max((right - left) / width, (lower - upper) / height), 1)


def test_crop_pad_and_stretch_are_what_they_say() -> None:
    bands = np.zeros((20, 60), np.uint8)
    bands[:, :20], bands[:, 40:] = 50, 200
    assert np.all(fitted(bands, (20, 20), filter="box") == 0)  # the middle third
    assert np.unique(fitted(bands, (20, 20), crop="stretch", filter="nearest")[0]).tolist() == [0, 50, 200]
    padded = fitted(np.full((20, 60), 9), (30, 30), crop="pad", background=(7, 7, 7))
    assert np.all(padded[10:20] == 9)
    assert np.all(padded[[*range(10), *range(20, 30)]] == 7)
    whole = Fit((20, 20), "random").around(PIL.Image.fromarray(bands))
    assert whole.size == (60, 20)
    hard = fitted(np.kron([[0, 255], [255, 0]], np.ones((8, 8))), (4, 4), filter="nearest")
    assert set(np.unique(hard)) == {0, 255}


@pytest.mark.parametrize(("size", "unit"), [((64, 64), 8), ((32, 32), 4), ((48, 80), 16)])
def test_buckets_have_about_one_area_and_sides_in_units(size: tuple[int, int], unit: int) -> None:
    sizes = bucket_sizes(size, unit, 2.0)
    area = size[0] * size[1]
    assert size in sizes
    assert len(sizes) > 2
    for high, wide in sizes:
        assert high % unit == 0
        assert wide % unit == 0
        assert 0.75 <= high * wide / area <= 1.25
        assert 0.5 <= wide / high <= 2
        assert bucket(wide, high, sizes) == (high, wide)
    assert bucket(10_000, 1, sizes) == min(sizes, key=lambda s: s[0] / s[1])
