"""Arrays of any rank: read as they lie, told apart by shape and type, brought back in their own axes and numbers."""

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unnoise.config import UserError, build
from unnoise.data import SOURCES, SPLITS, Array, Items, Source, join, settled, standard
from unnoise.data.finite import moments
from unnoise.modality import MODALITIES, Modality
from unnoise.modality import Array as Arrays
from unnoise.modality.views import tiled, view
from unnoise.reading.layout import Layout


def saved(folder: Path, array: Any, name: str = "x.npy") -> str:
    np.save(folder / name, array)
    return str(folder / name)


def everything(source: Source) -> Items:
    return join(*(source.split(name) for name in SPLITS))


def made(source: Source) -> Modality:
    return build(Modality, settled("data", source), {Modality: MODALITIES}, "modality")[0]


SHAPES = [
    ("float32", (50,), "N", "points", (1,)),
    ("float64", (50, 7), "NC", "points", (7,)),
    ("uint8", (50, 7), "NC", "points", (7,)),
    ("uint8", (50, 9, 8), "NHW", "image", (1, 9, 8)),
    ("uint8", (50, 9, 8, 3), "NHWC", "image", (3, 9, 8)),
    ("uint8", (50, 3, 9, 8), "NCHW", "image", (3, 9, 8)),
    ("uint8", (50, 9, 8, 1), "NHWC", "image", (1, 9, 8)),
    ("uint8", (50, 2, 9, 8), "NCHW", "array", (2, 9, 8)),
    ("float32", (50, 9, 8), "NHW", "array", (1, 9, 8)),
    ("float32", (50, 2, 64), "NCT", "array", (2, 64)),
    ("float32", (50, 12, 64), "NCT", "array", (12, 64)),
    ("float32", (50, 64, 3), "NTC", "array", (3, 64)),
    ("int16", (50, 6, 6, 6), "NDHW", "array", (1, 6, 6, 6)),
    ("float32", (50, 1, 6, 6, 6), "NCDHW", "array", (1, 6, 6, 6)),
    ("float32", (50, 6, 5, 4, 1), "NDHWC", "array", (1, 6, 5, 4)),
    ("float16", (50, 9, 9, 2), "NHWC", "array", (2, 9, 9)),
    ("bool", (50, 9, 8), "NHW", "array", (1, 9, 8)),
]


@pytest.mark.parametrize(("kind", "shape", "letters", "raw", "item"), SHAPES)
def test_shapes_are_read_by_the_rule_and_brought_back(
    tmp_path: Path, kind: str, shape: tuple[int, ...], letters: str, raw: str, item: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    array = rng.random(shape) < 0.5 if kind == "bool" else (200 * rng.random(shape)).astype(kind)
    source = Array(path=saved(tmp_path, array))
    told = Array(path=source.path, layout=letters)
    assert Layout.of(source.path, array).letters == letters
    assert (source.raw, everything(source).items.shape[1:]) == (raw, item)
    assert np.array_equal(everything(source).items, everything(told).items)
    assert (source.digest, standard(source)) == (told.digest, standard(told))
    modality, train = made(source), source.split("train").items
    assert np.array_equal(modality.quantise(modality.encode(train)), train) or (
        array.dtype.kind == "f" and np.allclose(modality.quantise(modality.encode(train)), train, rtol=1e-5, atol=1e-4)
    )
    if raw == "array":  # a person gets back the axes of the file, and its type where it holds whole numbers
        back = np.stack(modality.decode(modality.encode(train)))
        assert back.shape[1:] == array.shape[1:]
        assert back.dtype == (array.dtype if array.dtype.kind != "f" else np.float32)
        items = {entry.astype(np.float32).tobytes() for entry in array}
        assert array.dtype.kind == "f" or all(entry.astype(np.float32).tobytes() in items for entry in back)


def test_a_layout_says_what_a_shape_does_not(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((8, 30, 9, 8))
    path = saved(tmp_path, array)
    assert everything(Array(path=path, layout="CNHW")).items.shape == (30, 8, 9, 8)
    found = everything(Array(path=path, layout="NDHW"))
    assert found.items.shape == (8, 1, 30, 9, 8)
    assert "read as" not in " ".join(Array(path=path, layout="NDHW").warnings)
    signals = saved(tmp_path, array[0, :, 0], "s.npy")
    assert Array(path=signals).raw == "points"
    assert everything(Array(path=signals, layout="NT")).items.shape == (30, 1, 8)
    leads = saved(tmp_path, np.random.default_rng(0).random((9, 12, 64)), "c.npy")
    assert "12 channels and 64; data.layout" in Array(path=leads).warnings[0]


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.arange(30) % 3 * 5, ("0", "5", "10")),
        (np.array(["b", "a", "c"] * 10), ("a", "b", "c")),
        (np.array([b"b", b"a", b"c"] * 10), ("a", "b", "c")),
        ((np.arange(30) % 2).astype(float)[:, None], ("0", "1")),
        (np.arange(30) % 2 == 0, ("False", "True")),
    ],
)
def test_labels_stand_beside_the_array_or_within(tmp_path: Path, inside: bool, labels: Any, classes: Any) -> None:
    array = np.random.default_rng(0).random((30, 4))
    path = str(tmp_path / "x.npz")
    if inside:
        np.savez(path, images=array, y=labels)
        source = Array(path=path, labels="y")
    else:
        np.savez(path, images=array)
        source = Array(path=path, labels=saved(tmp_path, labels, "y.npy"))
    assert source.classes == classes
    found = everything(source)
    plain = {row.tobytes(): label for row, label in zip(array, labels.reshape(-1).tolist(), strict=True)}
    for row, k in zip(found.items, found.cond["label"], strict=True):
        label = plain[row.tobytes()]
        told = label.decode() if isinstance(label, bytes) else str(int(label) if isinstance(label, float) else label)
        assert classes[k] == told
    assert sum(source.counts.values()) == 30


def test_statistics_are_of_each_channel_over_the_training_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(0).normal([[5], [-300]], [[0.1], [20]], (80, 2, 30))
    source = Array(path=saved(tmp_path, array), held_out=0.3)
    monkeypatch.setattr("unnoise.data.finite._CHUNK", 100)  # a few items at a time
    train, node = source.split("train").items, standard(source)
    assert np.allclose(node["mean"], train.mean(axis=(0, 2)), rtol=1e-5)
    assert np.allclose(node["scale"], train.std(axis=(0, 2)), rtol=1e-5)
    assert np.allclose((node["low"], node["high"]), (train.min(), train.max()), rtol=1e-5)
    x = made(source).encode(train).numpy()
    assert np.allclose(x.mean(axis=(0, 2)), 0, atol=1e-4)
    assert np.allclose(x.std(axis=(0, 2)), 1, atol=1e-4)
    wide = Array(path=saved(tmp_path, np.random.default_rng(0).random((40, 100)), "wide.npy"))
    assert isinstance(standard(wide)["mean"], float)  # one quantity


def test_a_large_file_is_mapped_and_laid_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(0).random((90, 12, 40), np.float32)
    path = saved(tmp_path, array)
    held = Array(path=path)
    assert not isinstance(held.split("train").items, np.memmap)  # read now, before the limit falls
    monkeypatch.setattr("unnoise.data.finite.LARGE", 1000)
    monkeypatch.setattr("unnoise.data.finite._CHUNK", 5000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for _ in range(2):
        mapped = Array(path=path)
        assert all(isinstance(mapped.split(name).items, np.memmap) for name in SPLITS)
        assert all(np.array_equal(mapped.split(name).items, held.split(name).items) for name in SPLITS)
        (laid,) = (tmp_path / "cache").rglob("*.npy")
        written = laid.stat().st_mtime_ns
    assert standard(mapped) == standard(held)
    other = Array(path=path, seed=1)
    assert not np.array_equal(other.split("test").items, held.split("test").items)
    assert laid.stat().st_mtime_ns == written
    assert len(list((tmp_path / "cache").rglob("*"))) == 4  # two folders, two orders, nothing left beside


@settings(max_examples=60, deadline=None)
@given(
    mean=st.floats(-1e6, 1e6),
    scale=st.floats(1e-6, 1e6),
    constant=st.booleans(),
    count=st.integers(2, 3000),
)
def test_moments_keep_their_digits_far_from_zero(mean: float, scale: float, constant: bool, count: int) -> None:
    rows = mean + (0 if constant else scale) * np.random.default_rng(count).standard_normal((count, 2))
    found, spread = moments(rows, (0,))
    ulp = np.finfo(float).eps * (abs(mean) + scale) * 8
    assert np.allclose(found, [math.fsum(column) / count for column in rows.T.tolist()], rtol=0, atol=ulp)
    if constant:
        assert np.all(spread == 0)
    elif scale > 1e-9 * abs(mean):
        assert np.allclose(spread, rows.std(axis=0), rtol=1e-6, atol=10 * ulp)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 99),
    kind=st.sampled_from(["int8", "uint8", "int16", "uint16", "int32", "bool"]),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    channels=st.integers(1, 3),
)
def test_whole_numbers_come_back_in_their_type(seed: int, kind: str, sizes: list[int], channels: int) -> None:
    rng = np.random.default_rng(seed)
    low, high = (0, 1) if kind == "bool" else (np.iinfo(kind).min, np.iinfo(kind).max)
    raw = rng.integers(low, high, (3, channels, *sizes), endpoint=True)
    if kind == "int32":  # float32 tells 2^22 whole numbers apart, not all of them
        raw = raw % (1 << 22)
    raw = raw.astype(kind)
    scale = tuple((raw.astype(float).std(axis=(0, *range(2, raw.ndim))) + 1).tolist())
    modality = Arrays(mean=float(raw.mean()), scale=scale, dtype=kind)
    assert np.array_equal(modality.quantise(modality.encode(raw)), raw)
    far = modality.quantise(torch.full((2, channels, *sizes), 1e12))
    assert far.dtype == raw.dtype
    assert np.all(far == high)


def test_pictures_of_arrays() -> None:
    field = np.linspace(0, 1, 12).reshape(1, 3, 4)
    assert np.array_equal(np.asarray(view(field)), np.rint(255 * field[0]))
    assert view(np.repeat(field, 3, 0)).mode == "RGB"
    assert view(np.repeat(field, 5, 0)).size == (3 * 5 - 1, 2 * 4 - 1)  # channel beside channel
    volume = np.zeros((1, 20, 30, 30))
    volume[0, 10:] = 1
    shown = np.asarray(view(volume))
    assert shown.shape == (92, 92)
    assert (shown[0, 0], shown[-1, -1]) == (0, 255)  # the first slice and the last
    up = np.asarray(view(np.linspace(0, 1, 50)[None]))
    rows = [up[:, k].argmin() for k in range(2, 94)]
    assert rows[0] > 40 > 8 > rows[-1]
    assert np.all(np.diff(rows) <= 0)  # a line that rises rises
    assert tiled(np.ones((1, 2, 2))).shape == (2, 2)


def test_render_is_a_picture_of_a_field_and_a_file_of_all_else() -> None:
    modality = Arrays(mean=2.0, scale=4.0, low=0.0, high=8.0, layout="HWC")
    raw = np.random.default_rng(0).uniform(0, 8, (2, 3, 5, 6)).astype(np.float32)
    data, media = modality.render(modality.encode(raw)[0])
    assert media == "image/png"
    seen = np.asarray(PIL.Image.open(io.BytesIO(data)))
    assert np.abs(seen / 255 * 8 - np.moveaxis(raw[0], 0, -1)).max() < 8 / 255
    signal = Arrays(layout="T")
    data, media = signal.render(torch.tensor([[0.5, 1.5]]))
    assert media == "application/octet-stream"
    assert np.load(io.BytesIO(data), allow_pickle=False).tolist() == [0.5, 1.5]


def test_distances_are_in_deviations_of_each_channel() -> None:
    raw = np.random.default_rng(0).random((4, 2, 3))
    modality = Arrays(scale=(0.5, 4.0))
    assert np.allclose(modality.distances(raw), raw / np.array([[0.5], [4.0]]))


def faults(folder: Path) -> dict[str, tuple[dict[str, Any], str]]:
    """name → the fields of a node `array`, and what is said of it."""
    fine = np.random.default_rng(0).random((30, 4))
    holes = fine.copy()
    holes[7, 2], holes[9, 0] = np.nan, np.inf
    np.savez(folder / "two.npz", images=fine, other=fine)
    np.savez(folder / "objects.npz", x=np.array([{}, 1], dtype=object))
    whole = Path(saved(folder, fine, "whole.npy")).read_bytes()
    (folder / "short.npy").write_bytes(whole[:300])
    (folder / "empty.npy").write_bytes(b"")
    (folder / "text.npy").write_bytes(b"hello, I am no array\n")
    packed = (folder / "two.npz").read_bytes()
    (folder / "short.npz").write_bytes(packed[: len(packed) // 2])
    with zipfile.ZipFile(folder / "torn.npz", "w") as archive:
        archive.writestr("x.npy", whole[:300])
    saved(folder, np.array([{}, 1], dtype=object), "objects.npy")
    (folder / "pickle.npy").write_bytes(b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.")
    given = {"path": "whole.npy"}
    return {
        "missing": ({"path": "whale.npy"}, "there is no data at .*whale.npy; did you mean 'whole.npy'"),
        "no array": ({"path": "x.txt"}, "no array: expected a file that ends in .npy or .npz"),
        "object array": ({"path": "objects.npy"}, "Python objects .a pickle., and those are never opened"),
        "objects within": ({"path": "objects.npz"}, "'x' cannot be read: it holds Python objects"),
        "pickle": ({"path": "pickle.npy"}, "Python objects .a pickle."),
        "cut short": ({"path": "short.npy"}, "damaged or cut short"),
        "empty": ({"path": "empty.npy"}, "is empty"),
        "text": ({"path": "text.npy"}, "cannot be read"),
        "npz cut short": ({"path": "short.npz"}, "damaged or cut short"),
        "member cut short": ({"path": "torn.npz"}, "'x' cannot be read: it is damaged or cut short"),
        "which of two": ({"path": "two.npz"}, r"holds 2 arrays: name the items' .key: images \| other."),
        "unknown key": ({"path": "two.npz", "key": "image"}, "no array 'image'; did you mean 'images'"),
        "key of one": ({**given, "key": "x"}, "holds one array, so there is no key 'x'"),
        "nan": (
            {"path": saved(folder, holes, "h.npy")},
            r"numbers .2 of 120. .* the first is nan, in item 7, place \(2,\)",
        ),
        "huge": ({"path": saved(folder, fine * 1e40, "g.npy")}, "beyond 1e\\+30"),
        "scalar": ({"path": saved(folder, np.array(3.0), "0.npy")}, "a single number"),
        "no items": ({"path": saved(folder, fine[:0], "n.npy")}, "holds no numbers"),
        "one item": ({"path": saved(folder, fine[:1], "1.npy")}, "at least 3 different items, got 1"),
        "complex": ({"path": saved(folder, fine * 1j, "c.npy")}, "store real and imaginary parts as channels"),
        "strings": ({"path": saved(folder, np.array(["a", "b"]), "s.npy")}, "expected numbers"),
        "rank 7": ({"path": saved(folder, np.zeros((4,) * 7), "7.npy")}, "up to 4 sizes"),
        "layout": ({**given, "layout": "NHW"}, r"shape \(30, 4\), and layout NHW names 3 axes"),
        "no layout": ({**given, "layout": "chw"}, "each axis by a capital letter"),
        "labels too few": ({**given, "labels": saved(folder, np.arange(20) % 2, "l.npy")}, "30 items, but 20 labels"),
        "labels of rank 2": ({**given, "labels": saved(folder, np.zeros((30, 2)), "r.npy")}, r"\(N,\), got the shape"),
        "fractions": ({**given, "labels": saved(folder, np.linspace(0, 1, 30), "f.npy")}, "got fractions of float64"),
        "too many": ({**given, "labels": saved(folder, np.arange(30), "m.npy")}, "30 different labels for 30 items"),
        "no labels": ({"path": "two.npz", "key": "images", "labels": "y"}, "no labels under the key 'y'"),
        "labels missing": ({**given, "labels": "no.npy"}, "there is no labels at .*no.npy"),
    }


@pytest.mark.parametrize("case", faults(Path(__import__("tempfile").mkdtemp())))
def test_faults_are_told_in_one_sentence(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.txt").write_text("1,2")
    fields, words = faults(tmp_path)[case]
    with pytest.raises(UserError, match=words) as told:
        build(Source, {"kind": "array", **fields}, {Source: SOURCES}, "data")[0].split("train")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"scale": 0.0}, "scale of arrays is above 0"),
        ({"mean": float("nan")}, "mean of arrays is finite"),
        ({"dtype": "complex64"}, "floats or whole numbers"),
        ({"layout": "HH"}, "names each axis once"),
    ],
)
def test_mistakes_of_a_modality_are_told(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Arrays(**fields)
    with pytest.raises(UserError, match="3 channels, but scale has 2"):
        Arrays(scale=(1.0, 2.0)).encode(np.zeros((1, 3, 4)))
    with pytest.raises(UserError, match=r"\(B, C, \*sizes\)"):
        Arrays().encode(np.zeros((2, 3)))
