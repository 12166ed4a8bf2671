"""Captions of one's own: beside pictures in whatever form, in tables, in arrays; what has none is said."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from unnoise.config import UserError
from unnoise.data import SPLITS, Pictures, Table, join
from unnoise.data.array import Array
from unnoise.recipe import resolve

WORDS = {f"{kind}/{i}": f"a {kind}, number {i}, näher" for kind in ("cat", "dog") for i in range(10)}


def png(seed: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


PICTURES = {name: png(i) for i, name in enumerate(WORDS)}


def put(path: Path, files: dict[str, bytes | str]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def pictures(path: Path) -> Path:
    return put(path, {f"{name}.png": data for name, data in PICTURES.items()})


def beside(path: Path, words: dict[str, str]) -> Path:
    return put(pictures(path), {f"{name}.txt": f"\ufeff{text}\n" for name, text in words.items()})


def lines(path: Path, words: dict[str, str], column: str = "text") -> Path:
    """As `datasets` reads a folder of pictures."""
    said = [json.dumps({"file_name": f"{name}.png", column: text}) for name, text in words.items()]
    return put(pictures(path), {"metadata.jsonl": "\n".join(said)})


def table(path: Path, words: dict[str, str]) -> Path:
    said = [f'{name}.png,"{text}"' for name, text in words.items()]
    return put(pictures(path), {"captions.csv": "\n".join(["file,caption", *said])})


def zipped(path: Path, words: dict[str, str]) -> Path:
    with zipfile.ZipFile(f"{path}.zip", "w") as archive:
        for file in sorted(beside(path, words).rglob("*.*")):
            archive.write(file, file.relative_to(path))
    return Path(f"{path}.zip")


def columns(path: Path, words: dict[str, str]) -> Path:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path.mkdir(parents=True, exist_ok=True)
    cells = {"image": list(PICTURES.values()), "text": [words.get(name) for name in PICTURES]}
    cells["label"] = [name.split("/")[0] for name in PICTURES]
    parquet.write_table(arrow.table(cells), path / "0.parquet")
    return path


FORMS = {"beside": beside, "metadata.jsonl": lines, "captions.csv": table, "zip": zipped, "parquet": columns}


def told(path: Path, **fields) -> dict[bytes, str]:
    """By a picture's pixels its caption."""
    source = Pictures(path=str(path), size=8, cache=str(path.parent / "cache"), **fields)
    whole = join(*(source.split(name) for name in SPLITS))
    return {item.tobytes(): str(text) for item, text in zip(whole.items, whole.cond["text"], strict=True)}


def pixels(name: str) -> bytes:
    return np.moveaxis(np.asarray(PIL.Image.open(io.BytesIO(PICTURES[name]))), -1, 0).tobytes()


@pytest.mark.parametrize("form", FORMS)
def test_a_caption_is_found_in_every_form_and_what_has_none_is_told_of(form, tmp_path):
    assert told(FORMS[form](tmp_path / "all", WORDS)) == {pixels(name): text for name, text in WORDS.items()}
    some = {name: text for name, text in WORDS.items() if name not in ("cat/3", "dog/7")}
    with pytest.warns(UserWarning, match=r"2 pictures have no caption, such as (cat/3\.png|0\.parquet/3): nothing"):
        found = told(FORMS[form](tmp_path / "some", some))
    assert found == {pixels(name): some.get(name, "") for name in WORDS}


def test_labels_stay_what_they_were_beside_captions(tmp_path):
    """By folders, and in a file of their own."""
    plain, told_too = (
        Pictures(path=str(made), size=8) for made in (pictures(tmp_path / "a"), beside(tmp_path / "b", WORDS))
    )
    assert plain.classes == told_too.classes == ("cat", "dog")
    assert (plain.tells, told_too.tells) == ({"label": "labels"}, {"label": "labels", "text": "words"})
    assert np.array_equal(plain.split("train").cond["label"], told_too.split("train").cond["label"])
    both = table(tmp_path / "c", WORDS)
    put(both, {"labels.csv": "\n".join(["file,kind", *(f"{name}.png,{name[-1]}" for name in WORDS)])})
    source = Pictures(path=str(both), size=8, labels="kind")
    assert source.classes == tuple("0123456789")
    assert source.split("train").cond["text"][0].startswith("a ")


def test_other_captions_are_other_data_and_none_are_asked_for_none(tmp_path):
    first, other = beside(tmp_path / "a", WORDS), beside(tmp_path / "b", {**WORDS, "cat/0": "a lion"})
    digests = {Pictures(path=str(path), size=8).digest for path in (first, other)}
    assert len(digests) == 2
    assert "text" not in Pictures(path=str(first), size=8, captions="none").split("train").cond


def test_boxes_beside_pictures_are_no_captions_unless_asked_for(tmp_path):
    """What YOLO leaves beside pictures, and a lone note."""
    boxes = beside(tmp_path / "a", dict.fromkeys(WORDS, "0 0.5 0.5 0.25 0.25"))
    note = put(pictures(tmp_path / "b"), {"cat/notes.txt": "where they come from", "dog/1.txt": "a dog"})
    for path in (boxes, note):
        assert "text" not in Pictures(path=str(path), size=8).split("train").cond
    assert set(told(boxes, captions="files").values()) == {"0 0.5 0.5 0.25 0.25"}


@pytest.mark.parametrize(
    ("made", "captions", "line"),
    [
        (lambda path: pictures(path), "files", r"no text file beside any picture, such as 1\.txt beside 1\.png"),
        (lambda path: pictures(path), "story", r"no column 'story' of captions, as there is no metadata\.csv"),
        (lambda path: lines(path, WORDS), "txet", "has no column for the caption; did you mean 'text'"),
        (
            lambda path: put(beside(path, WORDS), {"cat/0.txt": b"\xff\xfe"}),
            "files",
            r"cat/0\.txt is not UTF-8: byte 0",
        ),
    ],
)
def test_captions_that_are_not_there_are_missed_in_a_line(made, captions, line, tmp_path):
    with pytest.raises(UserError, match=line):
        told(made(tmp_path / "a"), captions=captions)


def test_a_model_is_told_what_the_folder_says(tmp_path):
    """Without a word of it in the recipe: the vocabulary is the folder's, and a prompt becomes the same tokens."""
    path = lines(tmp_path / "a", {name: text for name, text in WORDS.items() if name != "cat/1"}, "caption")
    data = {"kind": "pictures", "path": str(path), "size": 8}
    with pytest.warns(UserWarning, match="1 picture has no caption, such as cat/1.png"):
        recipe = resolve("own", {"data": data, "modality": "image", "net": {"kind": "unet", "widths": [8]}})
    assert recipe.nodes["conditions"]["text"]["kind"] == "words"
    words, train = recipe.telling.told["text"], recipe.source.split("train")
    leaf = recipe.telling.items(train).cond["text"]
    k = next(i for i, text in enumerate(train.cond["text"]) if text)
    assert np.array_equal(leaf[k], words.make(str(train.cond["text"][k])))
    assert all(np.array_equal(row, words.null) for row, text in zip(leaf, train.cond["text"], strict=True) if not text)
    with pytest.raises(UserError, match="has never read 'cta'"):
        words.make("a cta")
    shutil.rmtree(path)  # what was decoded stays: captions too
    assert recipe.source.split("train").cond["text"][k] == train.cond["text"][k]


def test_a_table_and_an_array_are_told_by_columns_of_text(tmp_path):
    rows = [f"{i}.5,{'' if i == 4 else f'sold  number {i}'},x" for i in range(40)]
    put(tmp_path, {"t.csv": "\n".join(["y,note,kind", *rows])})
    source = Table(path=str(tmp_path / "t.csv"), texts=("note",), labels=("kind",))
    assert source.tells == {"kind": "labels", "note": "words"}
    assert source.warnings == ("1 of 40 rows say nothing in 'note'",)
    whole = join(*(source.split(name) for name in SPLITS))
    for y, note in zip(whole.items[:, 0], whole.cond["note"], strict=True):
        assert note == ("" if y == 4.5 else f"sold number {int(y)}")
    put(tmp_path, {"u.csv": "\n".join(["y,note", *(f"{i}," for i in range(40))])})
    with pytest.raises(UserError, match=r"column 'note' \(texts\) is missing in every row"):
        _ = Table(path=str(tmp_path / "u.csv"), texts=("note",)).digest
    said = np.array([f"item {i}" for i in range(40)])
    np.savez(tmp_path / "a.npz", x=np.arange(80.0).reshape(40, 2), said=said, t=np.arange(40.0))
    made = Array(path=str(tmp_path / "a.npz"), texts={"text": "said"}, tell={"t": "t"})
    assert made.tells == {"t": "numbers", "text": "words"}
    train = made.split("train")
    assert train.cond["text"].tolist() == [f"item {int(x)}" for x in train.items[:, 0] / 2]
    with pytest.raises(UserError, match="tells 'text' by float64, and captions are strings"):
        _ = Array(path=str(tmp_path / "a.npz"), texts={"text": "t"}, key="x").digest
