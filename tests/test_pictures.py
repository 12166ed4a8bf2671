"""Pictures as data: every file is counted once, a store's form changes nothing, what is decoded stays decoded."""

import io
import json
import pickle
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from unnoise.config import UserError
from unnoise.data import SPLITS, Items, Pictures, watching
from unnoise.data import decoding as decoding_room

CLASSES = ("cat", "dog", "newt")
Files = dict[str, bytes]
pytestmark = pytest.mark.filterwarnings("ignore:.*left out beside")


def png(seed: int, size: tuple[int, int] = (9, 12), grey: bool = False) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (*size, 1 if grey else 3), np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(values[..., 0] if grey else values).save(file, "PNG")
    return file.getvalue()


def by_class(count: int = 30, prefix: str = "") -> Files:
    """Pictures of three classes in the order in which a folder lists them."""
    return dict(sorted((f"{prefix}{CLASSES[i % 3]}/{i:03d}.png", png(i)) for i in range(count)))


def folder(files: Files, path: Path) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def zipped(files: Files, path: Path) -> Path:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path.with_suffix(".zip")


def tarred(files: Files, path: Path) -> Path:
    with tarfile.open(path.with_suffix(".tgz"), "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path.with_suffix(".tgz")


def parquet(files: Files, path: Path, struct: bool = False) -> Path:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as tables

    cells = [{"bytes": data, "path": name} if struct else data for name, data in files.items()]
    labels = [CLASSES.index(name.split("/")[0]) for name in files] if struct else [name.split("/")[0] for name in files]
    table = arrow.table({"image": cells, "label": labels})
    if struct:
        known = {"info": {"features": {"label": {"names": CLASSES, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(known)})
    path.mkdir(parents=True, exist_ok=True)
    tables.write_table(table, path / "0.parquet", row_group_size=7)
    return path


STORES: dict[str, Callable[[Files, Path], Path]] = {
    "folder": folder,
    "zip": zipped,
    "tar": tarred,
    "parquet": parquet,
    "parquet of datasets": lambda files, path: parquet(files, path, struct=True),
}


def read(path: Path, **options: Any) -> Pictures:
    return Pictures(path=str(path), **{"size": (8, 10), "cache": str(path.parent / "cache"), **options})


def rows(source: Pictures) -> list[tuple[bytes, int]]:
    """Every item with its label, in all parts together."""
    found: list[tuple[bytes, int]] = []
    for name in SPLITS:
        part = source.split(name)
        found += [(x.tobytes(), int(label)) for x, label in zip(part.items, part.cond["label"], strict=True)]
    return sorted(found)


@pytest.mark.parametrize("kind", STORES)
def test_a_store_of_any_kind_holds_the_same_pictures_in_the_same_parts(kind: str, tmp_path: Path) -> None:
    files = by_class()
    source = read(STORES[kind](files, tmp_path / "photos"))
    assert source.classes == CLASSES
    assert [len(source.split(name)) for name in SPLITS] == [source.facts["counts"][name] for name in SPLITS]
    assert source.skipped == []
    plain = read(folder(files, tmp_path / "plain"))
    assert source.digest == plain.digest
    assert all(np.array_equal(source.split(name).items, plain.split(name).items) for name in SPLITS)


def test_mapped_items_are_the_decoded_pictures(tmp_path: Path) -> None:
    files = by_class()
    source = read(folder(files, tmp_path / "photos"), size=(9, 12))
    train = source.split("train")
    assert isinstance(train.items, np.memmap)
    truth = sorted(
        (np.moveaxis(np.asarray(PIL.Image.open(io.BytesIO(data))), -1, 0).tobytes(), CLASSES.index(name.split("/")[0]))
        for name, data in files.items()
    )
    assert rows(source) == truth
    again = pickle.loads(pickle.dumps(train))
    assert len(pickle.dumps(train)) < 2000 + train.cond["label"].nbytes  # the file's name travels, not its bytes
    assert np.array_equal(again.take([3, 1, 3])[0], train.items[[3, 1, 3]])


BAD = {
    "cat/cut.png": png(500)[:90],
    "cat/empty.jpg": b"",
    "dog/text.jpeg": b"this is no picture",
    "dog/wide.png": png(501, (1, 900)),
    "newt/giant.png": png(502, (40, 40)),
    "newt/cut.jpg": b"\xff\xd8\xff\xe0" + bytes(50),
}
BESIDE = {"README.md": b"# about", "cat/notes.txt": b"a note", ".hidden/x.png": png(600), "cat/.DS_Store": b"x"}


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_every_bad_file_is_counted_and_the_good_ones_stay(kind: str, tmp_path: Path) -> None:
    good = by_class()
    path = STORES[kind]({**good, **BAD, **BESIDE}, tmp_path / "photos")
    source = read(path, largest_pixels=800)
    with pytest.warns(UserWarning, match=r"6 files are left out beside 30 pictures of .*, such as cat/cut.png: broken"):
        source.split("train")
    assert {name for name, _ in source.skipped} == set(BAD)
    assert dict(source.skipped)["newt/giant.png"] == "40 by 40 pixels, and 800 are allowed"
    assert all(reason and "\n" not in reason for _, reason in source.skipped)
    assert source.digest == read(folder(good, tmp_path / "good")).digest
    for strict in (read(path, largest_pixels=800, strict=True), read(folder(BAD, tmp_path / "bad"), strict=True)):
        with pytest.raises(UserError, match="strict"):
            strict.split("train")


def test_where_no_picture_is_the_sentence_says_so(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"there is no picture in .*none$"):
        read(tmp_path / "none").split("train")
    folder({name: data for name, data in BAD.items() if name != "newt/giant.png"}, tmp_path / "bad")
    with pytest.raises(UserError, match=r"no picture in .*bad: 5 files are none, such as cat/cut.png \(broken"):
        read(tmp_path / "bad", largest_pixels=800).split("train")
    folder(by_class(), tmp_path / "photos")
    with pytest.raises(UserError, match=r"no data at .*phtos; did you mean 'photos'"):
        read(tmp_path / "phtos").split("train")
    (tmp_path / "one.png").write_bytes(png(0))
    with pytest.raises(UserError, match="neither a folder nor a zip, tar or parquet"):
        read(tmp_path / "one.png").split("train")
    cut = tarred(by_class(), tmp_path / "whole").read_bytes()[:900]
    broken = {"x.zip": b"PK\x03\x04" + bytes(99), "x.parquet": b"PAR1" + bytes(99), "x.tgz": cut}
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=f"{name} is no|neither"):
            read(tmp_path / name).split("train")
    with pytest.raises(UserError, match="at least 3 different"):
        read(folder(by_class(2), tmp_path / "two")).split("train")


def test_decoded_once_and_again_when_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder(by_class(), tmp_path / "photos")
    seen: list[int] = []
    decode = decoding_room.decode
    monkeypatch.setattr(decoding_room, "decode", lambda *a, **k: seen.append(1) or decode(*a, **k))
    first = read(path).digest
    assert len(seen) == 30
    assert read(path).digest == first
    assert len(seen) == 30
    (path / "cat/000.png").write_bytes(png(999))
    assert read(path).digest != first
    assert len(seen) == 60
    assert len(list((tmp_path / "cache").glob("*/facts.json"))) == 1  # the outdated one has gone
    assert read(path, size=8).split("train").items.shape[2:] == (8, 8)
    assert len(list((tmp_path / "cache").glob("*/facts.json"))) == 2
    for file in (tmp_path / "cache").glob("*/train.npy"):
        file.write_bytes(file.read_bytes()[:100])
    assert read(path).split("train").items.shape[0] == read(path).facts["counts"]["train"]


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "parquet"])
def test_an_interrupted_decoding_goes_on_where_it_stood(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {**by_class(60), "zebra.txt": b"no picture"} if kind != "parquet" else by_class(60)
    path = STORES[kind](files, tmp_path / "photos")
    whole = read(path, cache=str(tmp_path / "other")).digest
    seen: list[int] = []
    decode = decoding_room.decode

    def failing(*args: Any, **options: Any) -> Any:
        seen.append(1)
        if len(seen) == 40:
            raise KeyboardInterrupt
        return decode(*args, **options)

    monkeypatch.setattr(decoding_room, "decode", failing)
    monkeypatch.setattr(decoding_room, "THREADS", 1)
    monkeypatch.setattr(decoding_room, "CHUNK", (5, 1 << 20))
    with pytest.raises(KeyboardInterrupt):
        read(path).split("train")
    part = next((tmp_path / "cache").glob("*.part"))
    with open(part / decoding_room.JOURNAL, "ab") as journal:  # and the machine went down in the middle of a line
        journal.write(b'["cat/0')
    with open(part / decoding_room.RAW, "ab") as raw:
        raw.write(b"half a picture")
    assert read(path).digest == whole
    assert 60 <= len(seen) - 1 <= 60 + 4 * 5  # what was under way is done again, and no more
    assert not list((tmp_path / "cache").glob("*.part"))


def test_any_number_may_ask_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder(by_class(60), tmp_path / "photos")
    seen: list[int] = []
    decode = decoding_room.decode
    monkeypatch.setattr(decoding_room, "decode", lambda *a, **k: seen.append(1) or decode(*a, **k))
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(read(path).digest)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert len(seen) == 60


def test_whoever_watches_hears_how_far_it_is(tmp_path: Path) -> None:
    heard: list[tuple[str, float, int]] = []
    with watching(lambda *told: heard.append(told)):
        read(tarred(by_class(200), tmp_path / "photos")).split("train")
    shares = [share for _, share, _ in heard]
    assert shares == sorted(shares)
    assert heard[-1] == ("reading photos.tgz", 1.0, 200)


def test_names_are_never_places(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    evil = {**by_class(), "../../../out/x.png": png(77), "/abs/y.png": png(78), "..\\..\\win\\z.png": png(79)}
    before = sorted(tmp_path.rglob("*"))
    for make in (zipped, tarred):
        source = read(make(evil, inner / "photos"), labels="folders")
        assert set(source.classes) == {*CLASSES, "out", "abs", "win"}
        assert len(rows(source)) == 33
    fresh = [p for p in tmp_path.rglob("*") if p not in before and "cache" not in p.parts]
    assert sorted(p.name for p in fresh) == ["photos.tgz", "photos.zip"]


def test_folders_of_the_parts_are_the_parts(tmp_path: Path) -> None:
    files = {**by_class(24, "set/train/"), **by_class(9, "set/val/"), **by_class(6, "set/test/")}
    source = read(folder(files, tmp_path / "photos"))
    assert [len(source.split(name)) for name in SPLITS] == [24, 9, 6]
    assert source.classes == CLASSES
    two = read(folder({k: v for k, v in files.items() if "/val/" not in k}, tmp_path / "two"))
    assert len(two.split("test")) == 6
    assert len(two.split("train")) + len(two.split("validation")) == 24
    assert 0 < len(two.split("validation")) < 12
    images = {name: {x.tobytes() for x in two.split(name).items} for name in ("train", "validation")}
    assert not images["train"] & images["validation"]


METADATA = {
    "metadata.csv": lambda rows: "file_name,species,label\n" + "".join(f"{n},s{v},{v}\n" for n, v in rows),
    "metadata.jsonl": lambda rows: "".join(
        json.dumps({"file_name": n, "species": f"s{v}", "label": v}) + "\n" for n, v in rows
    ),
}


@pytest.mark.parametrize("name", METADATA)
def test_labels_come_from_metadata(name: str, tmp_path: Path) -> None:
    pictures = {f"all/{i:02d}.png": png(i) for i in range(24)}
    lines = [(f"all/{i:02d}.png", 10 * (i % 3)) for i in range(23)] + [("all/gone.png", 0)]
    path = folder({**pictures, name: METADATA[name](lines).encode()}, tmp_path / "photos")
    source = read(path)
    assert source.classes == ("0", "10", "20")  # whole numbers in their own order
    labels = dict(rows(source))
    plain = read(folder(pictures, tmp_path / "plain"), labels="none")
    assert plain.classes == ()
    assert len(labels) == 23
    assert dict(source.skipped) == {
        "all/23.png": "has no line in the metadata",
        "all/gone.png": "named in the metadata, and not there",
    }
    assert read(path, labels="species").classes == ("s0", "s10", "s20")
    with pytest.raises(UserError, match="no column for the label; did you mean 'species'"):
        read(path, labels="specis").split("train")
    with pytest.raises(UserError, match="no column 'species'"):
        read(tmp_path / "plain", labels="species").split("train")


def test_a_label_goes_with_its_picture(tmp_path: Path) -> None:
    """The picture's own grey says which label it must have, through folders, metadata and the rearrangement."""
    flat = {k: np.full((6, 6), 10 * k, np.uint8) for k in range(20)}
    files: Files = {}
    for k, values in flat.items():
        file = io.BytesIO()
        PIL.Image.fromarray(values).save(file, "PNG")
        files[f"{CLASSES[k % 3]}/{k:02d}.png"] = file.getvalue()
    source = read(folder(files, tmp_path / "photos"), size=6)
    for name in SPLITS:
        part = source.split(name)
        assert np.array_equal(part.items[:, 0, 0, 0] // 10 % 3, part.cond["label"])


def test_folders_are_labels_only_where_they_may_be(tmp_path: Path) -> None:
    each = {f"{i}/x.png": png(i) for i in range(12)}  # one picture a folder names no class
    assert read(folder(each, tmp_path / "each")).classes == ()
    loose = {**by_class(), "loose.png": png(900)}
    assert read(folder(loose, tmp_path / "loose")).classes == ()
    named = read(tmp_path / "loose", labels="folders")
    assert named.classes == CLASSES
    assert dict(named.skipped) == {"loose.png": "has no label"}
    deep = {f"photos/{CLASSES[i % 3]}/{i % 2}/{i}.png": png(i) for i in range(24)}
    assert read(folder(deep, tmp_path / "deep")).classes == CLASSES


def test_grey_pictures_take_one_channel_and_one_of_colour_makes_three(tmp_path: Path) -> None:
    grey = {f"{i}.png": png(i, grey=True) for i in range(12)}
    path = folder(grey, tmp_path / "photos")
    assert read(path).split("train").items.shape[1] == 1
    same = [np.repeat(read(path).split(name).items, 3, axis=1) for name in SPLITS]
    assert all(np.array_equal(a, read(path, channels=3).split(n).items) for a, n in zip(same, SPLITS, strict=True))
    (path / "colour.png").write_bytes(png(100))
    assert read(path).split("train").items.shape[1] == 3
    assert read(path, channels=1).split("train").items.shape[1] == 1


def test_the_split_goes_by_the_file_and_not_by_how_it_is_seen(tmp_path: Path) -> None:
    files = by_class(40)
    path = folder({**files, **{f"again/{k}": v for k, v in list(files.items())[:20]}}, tmp_path / "photos")
    small, large = read(path, size=4, labels="none"), read(path, size=(18, 24), labels="none")
    assert small.facts["copies"] == 20
    assert small.facts["sizes"] == [[9, 12, 60]]
    for a, b in zip(*([s.split(n) for n in SPLITS] for s in (small, large)), strict=True):
        shrunk = b.items.reshape(*b.items.shape[:2], 18, 24)
        assert len(a) == len(b)
        means = [x.items.mean(axis=(2, 3), dtype=float) for x in (a, b)]
        assert np.abs(means[0] - means[1]).max() < 30, shrunk.shape
    images = [{x.tobytes() for x in large.split(name).items} for name in SPLITS]
    assert sum(map(len, images)) == len(set().union(*images)) == 40
    other = read(path, size=4, labels="none", seed=1)
    assert other.digest != small.digest


def ramps(tmp_path: Path, count: int = 30) -> Path:
    """Pictures 8 high and 24 wide whose columns say their own place."""
    files: Files = {}
    for k in range(count):
        file = io.BytesIO()
        PIL.Image.fromarray(np.tile(np.arange(24, dtype=np.uint8) * 8 + k % 8, (8, 1))).save(file, "PNG")
        files[f"{k:02d}.png"] = file.getvalue() + b"\0" * k  # so that no two files are equal
    return folder(files, tmp_path / "ramps")


def test_a_random_crop_is_a_window_anywhere_and_a_function_of_its_generator(tmp_path: Path) -> None:
    train = read(ramps(tmp_path), size=8, crop="random").split("train")
    every = np.arange(len(train))
    middle, _ = train.take(every)
    assert np.array_equal(middle, train.items)
    assert np.all(middle[:, 0, 0, 0] // 8 == 8)
    one, two = (train.take(every, np.random.default_rng(5))[0] for _ in range(2))
    assert np.array_equal(one, two)
    lefts = np.concatenate([train.take(every, np.random.default_rng(s))[0][:, 0, 0, 0] // 8 for s in range(60)])
    counts = np.bincount(lefts, minlength=17)
    assert counts.shape == (17,)  # all places at which a window of 8 fits into 24
    assert np.abs(counts - counts.mean()).max() < 5 * np.sqrt(counts.mean())
    shown = train.take(every, np.random.default_rng(1))[0]
    assert np.all(np.diff(shown[:, 0, 0].astype(int), axis=1) == 8)
    again = pickle.loads(pickle.dumps(train))
    assert np.array_equal(again.take(every, np.random.default_rng(1))[0], shown)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 0}, "size is a number of pixels"),
        ({"background": "whitish"}, "background is a colour"),
        ({"held_out": 0.5}, "held_out"),
        ({"buckets": True, "crop": "random"}, "exclude"),
        ({"buckets": ((0, 8),)}, "buckets are shapes"),
        ({"largest_pixels": 0}, "limits of a picture"),
        ({"unit": 0}, "unit and widest"),
    ],
)
def test_mistakes_are_told_in_one_sentence(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        read(tmp_path, **options)


def test_a_metadata_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    pictures = {f"{i}.png": png(i) for i in range(6)}
    bad = {
        b"\xff\xfe": "not UTF-8",
        b"file,species\n1.png,2\n": "no column for the label|no column 'x'",
        b"file_name,x\n,2\n": "line 2: no file_name",
    }
    for i, (text, says) in enumerate(bad.items()):
        path = folder({**pictures, "metadata.csv": text}, tmp_path / str(i))
        with pytest.raises(UserError, match=says):
            read(path, labels="x").split("train")
    path = folder({**pictures, "metadata.jsonl": b'{"file_name": "1.png", "x": 1}\n[]\n'}, tmp_path / "json")
    with pytest.raises(UserError, match="line 2: expected one JSON object"):
        read(path, labels="x").split("train")


def test_without_pyarrow_one_line_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(by_class(6), tmp_path / "photos")
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UserError, match=r"pip install 'unnoise\[parquet\]'"):
        read(path).split("train")


def test_a_parquet_names_its_columns(tmp_path: Path) -> None:
    path = parquet(by_class(12), tmp_path / "photos")
    with pytest.raises(UserError, match="no column 'imag'; did you mean 'image'"):
        read(path, image="imag").split("train")
    with pytest.raises(UserError, match=r"'label' of .* holds string, not the bytes"):
        read(path, image="label").split("train")
    assert read(path, labels="none").classes == ()
    assert read(path, labels="label").classes == CLASSES
    assert isinstance(read(path).split("test"), Items)
