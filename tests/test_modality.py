"""Modalities: what goes in comes out, to the bit where the raw data are whole numbers."""

from io import BytesIO

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unnoise.config import UserError, build
from unnoise.data import SOURCES
from unnoise.modality import MODALITIES, Image, Modality, Points


class Fixed(np.random.Generator):
    """A generator whose uniform numbers are all one value: the ends of the interval are tried too."""

    def __init__(self, value: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.value = value

    def random(self, shape: tuple[int, ...]) -> np.ndarray:  # type: ignore[override]
        return np.full(shape, self.value)


ranges = st.tuples(st.integers(-70_000, 70_000), st.integers(1, 65_535)).map(lambda p: (p[0], p[0] + p[1]))


@settings(max_examples=200, deadline=None)
@given(span=ranges, seed=st.integers(0, 99), u=st.sampled_from([None, 0.0, 0.5, 1 - 2.0**-53]))
def test_quantise_undoes_encode_exactly(span: tuple[int, int], seed: int, u: float | None) -> None:
    low, high = span
    raw = np.random.default_rng(seed).integers(low, high + 1, (3, 1, 4, 5))
    raw.reshape(-1)[:2] = low, high
    for dequantise in (False, True):
        image = Image(low=low, high=high, dequantise=dequantise)
        rng = np.random.default_rng(seed) if u is None else Fixed(u)
        x = image.encode(raw, rng)
        assert x.dtype == torch.float32
        assert np.array_equal(image.quantise(x), raw)
        if not dequantise:
            assert (x.min(), x.max()) == (-1, 1)


def test_dequantisation_is_uniform_over_the_cell() -> None:
    image = Image(low=0, high=16, dequantise=True)
    raw = np.full((1, 1, 100, 100), 16, np.uint8)
    x = image.encode(raw, np.random.default_rng(0)).numpy().reshape(-1)
    assert stats.kstest((x - 1) * 8 + 0.5, "uniform").pvalue > 1e-3
    assert np.all(image.encode(raw).numpy() == 1)  # none without an rng


def test_samples_outside_are_clipped_and_nan_is_refused() -> None:
    image = Image(low=2, high=6)
    x = torch.tensor([-9.0, -1.0, 0.24, 0.26, 1.0, 9.0]).reshape(1, 1, 1, 6)
    assert image.quantise(x).reshape(-1).tolist() == [2, 2, 4, 5, 6, 6]
    for modality in (image, Points()):
        with pytest.raises(ValueError, match="NaN"):
            modality.quantise(torch.full((1, 1, 1, 6) if modality is image else (1, 2), float("nan")))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
@pytest.mark.parametrize("upscale", [1, 5])
def test_png_holds_the_picture(channels: int, mode: str, upscale: int) -> None:
    raw = np.random.default_rng(0).integers(0, 256, (2, channels, 4, 7), np.uint8)
    image = Image()
    x = image.encode(raw)
    picture = image.decode(x)[1]
    assert picture.mode == mode
    assert np.array_equal(np.asarray(picture).reshape(4, 7, channels), raw[1].transpose(1, 2, 0))
    data, media = image.render(x[1], upscale=upscale)
    assert media == "image/png"
    read = PIL.Image.open(BytesIO(data))
    assert read.size == (7 * upscale, 4 * upscale)
    blocks = np.asarray(read).reshape(4, upscale, 7, upscale, channels)
    assert np.array_equal(blocks, np.broadcast_to(raw[1].transpose(1, 2, 0)[:, None, :, None], blocks.shape))


def test_digits_are_seen_from_black_to_white() -> None:
    digits = SOURCES["digits"]().split("test").items[:8]
    image = Image(low=0, high=16, dequantise=True)
    assert np.array_equal(image.quantise(image.encode(digits[:, 0], np.random.default_rng(0))), digits)
    pixels = np.stack([np.asarray(picture) for picture in image.decode(image.encode(digits))])
    assert np.array_equal(pixels, np.rint(digits[:, 0] * (255 / 16)))


numbers = st.floats(-1e3, 1e3, width=32)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5),
    mean=st.tuples(numbers, numbers),
    scale=st.floats(0.5, 1e3),
)
def test_points_come_back(rows: list[tuple[float, float]], mean: tuple[float, float], scale: float) -> None:
    raw = np.array(rows, np.float32)
    assert np.array_equal(Points().quantise(Points().encode(raw)), raw)  # passed through untouched
    points = Points(mean=mean, scale=scale)
    x = points.encode(raw)
    assert np.allclose(x.numpy(), (raw - mean) / scale, rtol=1e-6)
    assert np.allclose(points.quantise(x), raw, rtol=1e-6, atol=1e-6 * (1 + np.abs(mean).max()))
    assert np.array_equal(np.stack(points.decode(x)), points.quantise(x))
    data, media = points.render(x[0])
    assert media == "text/csv"
    assert np.array_equal(np.float32(data.decode().strip().split(",")), points.quantise(x)[0])


def test_a_recipe_names_them() -> None:
    made, resolved = build(Modality, {"kind": "points", "scale": [1, 2]}, {Modality: MODALITIES}, "modality")
    assert made == Points(scale=(1.0, 2.0))
    silent = {"header": [], "label": "", "shares": [], "decimals": [], "low": [], "high": [], "dequantise": False}
    assert resolved == {"kind": "points", "mean": 0.0, "scale": [1.0, 2.0], **silent}
    with pytest.raises(UserError, match="low to a higher high"):
        build(Modality, {"kind": "image", "low": 3, "high": 3}, {Modality: MODALITIES}, "modality")


@pytest.mark.parametrize(
    ("modality", "raw", "words"),
    [
        (Image(high=16), np.full((1, 1, 2, 2), 17), "levels 0 .. 16, got values 17 .. 17"),
        (Image(), np.zeros((2, 2)), r"\(B, C, H, W\)"),
        (Points(), np.zeros((2, 2, 2)), r"\(B, D\)"),
        (Points(mean=(0.0, 1.0, 2.0)), np.zeros((2, 2)), "mean has 3 numbers"),
    ],
)
def test_mistakes_are_told_in_one_sentence(modality: Modality, raw: np.ndarray, words: str) -> None:
    with pytest.raises(UserError, match=words):
        modality.encode(raw)
