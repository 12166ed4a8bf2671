"""Data sets where the user has them: bytes as their formats say, official parts kept, patches that never overlap."""

import gzip
import io
import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from unnoise.config import UserError
from unnoise.data import SPLITS, Celeba, Cifar10, Dataset, Mnist, Patches
from unnoise.data.patches import PHOTOGRAPHS

RNG = np.random.default_rng(0)


def pictures(count: int, shape: tuple[int, ...]) -> Any:
    return RNG.integers(0, 256, (count, *shape), np.uint8)


def cifar(path: Path, each: int = 20) -> tuple[Any, Any]:
    """Files as the format's page has them: a label, then 1024 bytes of red, of green and of blue, row by row."""
    x, y = pictures(6 * each, (3, 32, 32)), RNG.integers(0, 10, 6 * each).astype(np.uint8)
    path.mkdir(parents=True)
    for i, name in enumerate([*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]):
        rows = range(i * each, (i + 1) * each)
        (path / name).write_bytes(b"".join(bytes([y[r]]) + x[r].tobytes() for r in rows))
    return x, y


def keyed(source: Any) -> dict[str, set[tuple[bytes, int]]]:
    parts = {name: source.split(name) for name in SPLITS}
    return {
        name: {(x.tobytes(), int(k)) for x, k in zip(part.items, part.cond["label"], strict=True)}
        for name, part in parts.items()
    }


def test_cifar_is_read_byte_by_byte_and_keeps_its_test_part(tmp_path: Path) -> None:
    x, y = cifar(tmp_path / "cifar-10-batches-bin")
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "cifar-10-batches-bin", "cifar-10-batches-bin")
    for path in (tmp_path / "cifar-10-batches-bin", tmp_path / "cifar-10-binary.tar.gz"):
        source = Cifar10(path=str(path))
        found = keyed(source)
        truth = [(item.tobytes(), int(k)) for item, k in zip(x, y, strict=True)]
        assert found["test"] == set(truth[100:])
        assert found["train"] | found["validation"] == set(truth[:100])
        assert not found["train"] & found["validation"]
        assert 3 <= len(found["validation"]) <= 25
        assert source.split("test").items.shape == (20, 3, 32, 32)
        assert source.classes[3] == "cat"
    assert Cifar10(path=str(path)).digest == Cifar10(path=str(tmp_path / "cifar-10-batches-bin")).digest
    assert Cifar10(path=str(path), seed=1).digest != Cifar10(path=str(path)).digest


def test_cifar_that_is_not_whole_is_told_of(tmp_path: Path) -> None:
    cifar(tmp_path / "set")
    (tmp_path / "set" / "data_batch_2.bin").write_bytes(bytes(3073 * 2 - 1))
    with pytest.raises(UserError, match=r"data_batch_2.bin of .* is cut off: 6,145 bytes are no multiple of 3073"):
        Cifar10(path=str(tmp_path / "set")).split("train")
    (tmp_path / "set" / "data_batch_2.bin").write_bytes(b"\x0b" + bytes(3072))
    with pytest.raises(UserError, match="holds the label 11"):
        Cifar10(path=str(tmp_path / "set")).split("train")
    (tmp_path / "set" / "data_batch_2.bin").unlink()
    with pytest.raises(UserError, match=r"has no data_batch_2.bin: CIFAR-10's binary version"):
        Cifar10(path=str(tmp_path / "set")).split("train")


def idx(array: Any) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def mnist(path: Path, suffix: str = "", dotted: bool = False) -> tuple[Any, Any]:
    x, y = pictures(90, (28, 28)), RNG.integers(0, 10, 90).astype(np.uint8)
    path.mkdir(parents=True)
    for part, rows in (("train", slice(0, 70)), ("t10k", slice(70, 90))):
        for what, data in (("images-idx3-ubyte", x[rows]), ("labels-idx1-ubyte", y[rows])):
            name = f"{part}-{what}".replace("-idx", ".idx" if dotted else "-idx") + suffix
            (path / name).write_bytes(gzip.compress(idx(data)) if suffix else idx(data))
    return x, y


@pytest.mark.parametrize(("suffix", "dotted"), [("", False), (".gz", False), ("", True)])
def test_mnist_is_read_from_idx_files(suffix: str, dotted: bool, tmp_path: Path) -> None:
    x, y = mnist(tmp_path / "set", suffix, dotted)
    found = keyed(Mnist(path=str(tmp_path / "set")))
    truth = [(item.tobytes(), int(k)) for item, k in zip(x, y, strict=True)]
    assert found["test"] == set(truth[70:])
    assert found["train"] | found["validation"] == set(truth[:70])
    assert Mnist(path=str(tmp_path / "set")).split("train").items.shape[1:] == (1, 28, 28)
    assert Mnist(path=str(tmp_path / "set")).classes == tuple("0123456789")
    assert Mnist(path=str(tmp_path / "set"), fashion=True).classes[9] == "ankle boot"


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("train-images-idx3-ubyte", b"\0\0\x08\x03" + bytes(40), "is cut off"),
        ("train-images-idx3-ubyte", b"PNG", "no idx file of pictures"),
        ("train-labels-idx1-ubyte", idx(np.zeros(9, np.uint8)), "70 pictures and 9 labels"),
        ("t10k-labels-idx1-ubyte", b"\x1f\x8b\x08\x00broken", "damaged gzip"),
    ],
)
def test_damaged_idx_files_are_told_of(name: str, data: bytes, says: str, tmp_path: Path) -> None:
    mnist(tmp_path / "set")
    (tmp_path / "set" / name).write_bytes(data)
    with pytest.raises(UserError, match=says):
        Mnist(path=str(tmp_path / "set")).split("train")


def test_missing_idx_files_are_told_of(tmp_path: Path) -> None:
    mnist(tmp_path / "set")
    (tmp_path / "set" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(UserError, match="has no t10k-labels-idx1: MNIST has"):
        Mnist(path=str(tmp_path / "set")).split("train")


def celeba(path: Path, csv: bool = False) -> dict[str, tuple[bool, int]]:
    """Forty faces whose grey says whether they smile, in the layout of the authors or with commas."""
    folder, known = path / "img_align_celeba", dict[str, tuple[bool, int]]()
    folder.mkdir(parents=True)
    for i in range(40):
        name, smiles, part = f"{i + 1:06d}.jpg", i % 3 == 0, 0 if i < 28 else 1 if i < 34 else 2
        known[name] = smiles, part
        PIL.Image.new("RGB", (178, 218), (200 if smiles else 50,) * 3).save(folder / name, comment=name.encode())
    mark = "," if csv else "  "
    rows = [f"{name}{mark}-1{mark}{1 if smiles else -1}" for name, (smiles, _) in known.items()]
    parts = [f"{name}{mark.strip() or ' '}{part}" for name, (_, part) in known.items()]
    if csv:
        (path / "list_attr_celeba.csv").write_text("\n".join(["image_id,Young,Smiling", *rows]) + "\n")
        (path / "list_eval_partition.csv").write_text("\n".join(["image_id,partition", *parts]) + "\n")
    else:
        (path / "list_attr_celeba.txt").write_text("\n".join(["40", "Young Smiling", *rows]) + "\n")
        (path / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return known


@pytest.mark.parametrize("csv", [False, True])
def test_celeba_has_its_official_parts_and_any_attribute(csv: bool, tmp_path: Path) -> None:
    celeba(tmp_path / "set", csv)
    options: dict[str, Any] = {"path": str(tmp_path / "set"), "cache": str(tmp_path / "cache"), "size": 16}
    source = Celeba(**options, attribute="Smiling")
    assert [len(source.split(name)) for name in SPLITS] == [28, 6, 6]
    assert source.classes == ("no Smiling", "Smiling")
    for name in SPLITS:
        part = source.split(name)
        assert np.array_equal(part.items.mean(axis=(1, 2, 3)) > 125, part.cond["label"] == 1)
    assert Celeba(**options).classes == ()
    with pytest.raises(UserError, match="no attribute 'Smilin'; did you mean 'Smiling'"):
        Celeba(**options, attribute="Smilin").split("train")
    with pytest.raises(UserError, match="no folder of CelebA"):
        Celeba(path=str(tmp_path)).split("train")


@pytest.mark.parametrize("of", ["skimage", "sklearn"])
def test_patches_of_the_parts_share_no_pixel(of: str) -> None:
    pytest.importorskip(of)
    wanted = ("grass", "coffee") if of == "skimage" else None
    source = Patches(of=of, pictures=wanted, size=24, stride=12)
    covered: dict[str, dict[int, Any]] = {}
    for name in SPLITS:
        masks = {k: np.zeros((2000, 2000), bool) for k in range(2)}
        for patch in source.patches[name]:
            masks[patch.picture][patch.top : patch.top + 24, patch.left : patch.left + 24] = True
        covered[name] = masks
        assert {patch.picture for patch in source.patches[name]} == {0, 1}
        assert len(source.split(name)) == len(source.patches[name])
    for k in range(2):
        together = sum(covered[name][k].astype(int) for name in SPLITS)
        assert together.max() == 1  # each pixel in one part at most
        assert together.sum() > 0.7 * (together > 0).nonzero()[0].max() * (together > 0).nonzero()[1].max()
    test = source.split("test")
    assert test.items.shape[1:] == (3, 24, 24)
    assert source.classes == (wanted or ("china", "flower"))
    assert source.digest == Patches(of=of, pictures=wanted, size=24, stride=12).digest


def test_patches_are_cut_from_the_pictures_as_they_are(tmp_path: Path) -> None:
    ramp = np.add.outer(np.arange(90) * 2, np.arange(60)).astype(np.uint8)
    PIL.Image.fromarray(ramp).save(tmp_path / "ramp.png")
    source = Patches(of=str(tmp_path), size=6, stride=3)
    for name in SPLITS:
        items = source.split(name).items
        assert items.shape[1] == 1
        for item, patch in zip(items[:, 0], source.patches[name], strict=True):
            assert np.array_equal(item, ramp[patch.top : patch.top + 6, patch.left : patch.left + 6])
    assert source.classes == ()
    single = Patches(of=str(tmp_path / "ramp.png"), size=6, stride=3)
    assert single.digest == source.digest


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"of": "skimag"}, "of skimage, of sklearn, or of a path"),
        ({"of": "skimage", "pictures": ("gras",)}, "did you mean 'grass'"),
        ({"of": "sklearn", "size": 2000}, "no patch fits in"),
        ({"stride": 0}, "1 or more"),
        ({"of": "/nowhere/at all"}, "a path where something stands"),
    ],
)
def test_patches_that_cannot_be_cut_are_told_of(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Patches(**options).split("train")


def test_patches_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unnoise.data.patches.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"not installed: pip install 'unnoise\[patches\]'"):
        Patches().split("train")
    assert {"grass", "coffee"} < set(PHOTOGRAPHS)


class Image:
    """As `datasets` has it: a feature of pictures, that can be left undecoded."""

    def __init__(self, decode: bool = True):
        self.decode = decode


class ClassLabel:
    names = ("ant", "bee")


class Table(list[dict[str, Any]]):
    """The calls of a datasets.Dataset that are made, and no others; decoding is an error."""

    def __init__(self, rows: Any, decode: bool = True):
        super().__init__(list.__iter__(rows))
        self.features = {"id": None, "picture": Image(decode), "label": ClassLabel()}
        self._fingerprint = str(len(rows))

    def select_columns(self, names: list[str]) -> "Table":
        assert set(names) <= set(self.features)
        return self

    def cast_column(self, name: str, feature: Image) -> "Table":
        return Table(self, feature.decode)

    def __iter__(self) -> Any:
        assert not self.features["picture"].decode
        return super().__iter__()


def rows(count: int) -> list[dict[str, Any]]:
    """Pictures whose mean says their label."""
    made = []
    for i in range(count):
        file = io.BytesIO()
        values = RNG.integers(0, 100, (9, 9, 3), np.uint8) + 120 * (i % 2)
        PIL.Image.fromarray(values.astype(np.uint8)).save(file, "PNG")
        made.append({"id": i, "picture": {"bytes": file.getvalue(), "path": None}, "label": i % 2})
    return made


def library(loaded: Any) -> Any:
    class Library:
        Image = Image

        @staticmethod
        def load_from_disk(path: str) -> Any:
            if loaded is None:
                raise FileNotFoundError(f"{path} is neither a `Dataset` directory nor a `DatasetDict` directory.")
            return loaded

        @staticmethod
        def load_dataset(*_: Any) -> Any:
            raise AssertionError("the network was asked for")

    return Library


@pytest.fixture
def real() -> Any:
    return pytest.importorskip("datasets")


def holds(source: Dataset, parts: Mapping[str, int] | None) -> None:
    assert source.classes == ("ant", "bee")
    for name in SPLITS:
        part = source.split(name)
        assert np.array_equal(part.items.mean(axis=(1, 2, 3)) > 110, part.cond["label"] == 1)
        assert parts is None or len(part) == parts[name]


def test_a_data_set_from_the_disk_is_read_without_decoding_by_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"path": str(tmp_path), "cache": str(tmp_path / "cache"), "size": 8}
    monkeypatch.setattr("unnoise.data.dataset._library", lambda: library(Table(rows(30))))
    holds(Dataset(**options), None)
    assert Dataset(**options, label="none").classes == ()
    with pytest.raises(UserError, match="no column 'labl'; did you mean 'label'"):
        Dataset(**options, label="labl").split("train")
    with pytest.raises(UserError, match=r"'id' of .* holds NoneType, not pictures"):
        Dataset(**options, image="id").split("train")
    parts = {"train": Table(rows(20)), "validation": Table(rows(6)), "test": Table(rows(8))}
    monkeypatch.setattr("unnoise.data.dataset._library", lambda: library(parts))
    holds(Dataset(**options), {"train": 20, "validation": 6, "test": 8})
    monkeypatch.setattr("unnoise.data.dataset._library", lambda: library(None))
    with pytest.raises(UserError, match="is no data set that save_to_disk wrote"):
        Dataset(**options).split("train")
    with pytest.raises(UserError, match="one of the two"):
        Dataset(path="x", hub="y")


def test_a_data_set_that_the_library_itself_saved(real: Any, tmp_path: Path) -> None:
    kinds = {"id": real.Value("int64"), "picture": real.Image(), "label": real.ClassLabel(names=["ant", "bee"])}
    features = real.Features(kinds)
    saved = real.Dataset.from_list(rows(30), features=features)
    saved.save_to_disk(str(tmp_path / "one"))
    holds(Dataset(path=str(tmp_path / "one"), cache=str(tmp_path / "cache"), size=8), None)
    parts = {"train": 20, "validation": 6, "test": 8}
    real.DatasetDict(
        {name: real.Dataset.from_list(rows(count), features=features) for name, count in parts.items()}
    ).save_to_disk(str(tmp_path / "three"))
    holds(Dataset(path=str(tmp_path / "three"), cache=str(tmp_path / "cache"), size=8), parts)


def test_without_datasets_one_line_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'unnoise\[datasets\]'"):
        Dataset(path=str(tmp_path)).split("train")
