"""What data hold is counted right, told with what matters first, and drawn."""

import json

import numpy as np
import pytest
from PIL import Image

from unnoise.advise.census import census
from unnoise.cli import main
from unnoise.data import SOURCES


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def smooth(rng, side=64):
    """A picture with structure of its own: a few waves."""
    y, x = np.mgrid[:side, :side] / side
    a = sum(rng.normal() * np.cos(2 * np.pi * (k * x + j * y + rng.random())) for k in range(3) for j in range(3))
    return np.uint8(np.clip(128 + 40 * a, 0, 255))


@pytest.fixture
def photos(tmp_path):
    """60 pictures of two labels, 50 and 10; of one an exact copy, of one a recompressed one, one broken, one black."""
    rng = np.random.default_rng(0)
    for i in range(60):
        folder = tmp_path / "photos" / ("many" if i < 50 else "few")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(smooth(rng)).save(folder / f"{i:02d}.png")
    many = tmp_path / "photos/many"
    (many / "copy.png").write_bytes((many / "00.png").read_bytes())
    with Image.open(many / "01.png") as picture:
        picture.save(many / "again.jpg", quality=80)
    Image.new("L", (64, 64)).save(many / "black.png")
    (many / "broken.png").write_bytes((many / "02.png").read_bytes()[:500])
    return tmp_path / "photos"


def told(capsys, *words):
    assert main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_pictures_are_counted_and_what_is_amiss_is_found(photos, capsys):
    said = told(capsys, "look", photos)
    assert said["items"] == 63
    assert said["labels"] == {"few": 10, "many": 53}
    assert said["imbalance"] == pytest.approx(5.3)
    assert (said["exact_copies"]["groups"], said["exact_copies"]["surplus"]) == (1, 1)
    assert (said["near_copies"]["groups"], said["near_copies"]["surplus"]) == (1, 1)
    assert said["constant"] == 1
    assert said["shape"] == [1, 32, 32]
    assert said["sizes"][0] == [64, 64, 63]
    assert [name for name, _ in said["skipped"]] == ["many/broken.png"]
    notes = " ".join(said["notes"])
    order = ["1 left out: many/broken.png", "63 items are few", "Labels are uneven: 'many' has 53", "too few to be",
             "1 exact copy in 1 group", "1 near-copy in 1 group", "1 item is one number"]  # fmt: skip
    places = [notes.index(words) for words in order]
    assert places == sorted(places), "what matters comes first"


def test_the_sheet_has_a_row_for_each_label_and_copies_stand_together(photos, capsys):
    assert main(["look", str(photos), "--out", "drawn"]) == 0
    out = capsys.readouterr().out
    assert "Drawn in drawn/sheet.png and drawn/copies.png" in out
    assert out.startswith("photos: 63 pictures of 32 × 32 in grey, 2 labels")
    with Image.open("drawn/sheet.png") as sheet:
        assert sheet.width > 12 * 32
        assert 2 * 32 < sheet.height < 4 * 64


def test_near_copies_are_found_whatever_the_order_and_others_are_not():
    rng = np.random.default_rng(1)
    pictures = np.stack([smooth(rng, 32) for _ in range(300)])
    noisy = np.clip(pictures[:20].astype(int) + rng.integers(-2, 3, (20, 32, 32)), 0, 255).astype(np.uint8)
    found = census(_source(np.concatenate([pictures, noisy])))
    assert found.near.surplus >= 18, "two levels of noise turn few bits"
    assert all(len(group) == 2 for group in found.near.groups)
    assert not found.exact.groups


def _source(items, **fields):
    np.save("x.npy", items)
    return SOURCES["array"](path="x.npy", **fields)


@pytest.mark.parametrize("seed", range(3))
def test_columns_are_those_of_numpy(seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(1e6, [1, 10, 1e-2, 3, 1, 1, 1, 1], (500, 8))
    rows[:, 3] = np.rint(rows[:, 3])
    rows[:, 4] = 7
    found = census(_source(rows))
    for column, values in zip(found.columns, rows.T, strict=True):
        assert (column.low, column.high) == (values.min(), values.max())
        assert column.mean == pytest.approx(values.mean(), rel=1e-12)
        assert column.deviation == pytest.approx(values.std(), rel=1e-6, abs=1e-12)
    assert [column.whole for column in found.columns] == [False, False, False, True, True, False, False, False]
    assert [column.constant for column in found.columns].index(True) == 4


def test_rows_are_copies_after_rounding_to_a_hundredth_of_a_deviation():
    rng = np.random.default_rng(0)
    rows = np.rint(rng.normal(size=(400, 10)) * 20) / 20
    rows = np.concatenate([rows, rows[:7], rows[7:12] * (1 + 1e-9)])
    found = census(_source(rows))
    assert found.exact.surplus == 7
    assert found.near.surplus == 5
    assert census(_source(rows[:, :2])).near.groups == [], "in two numbers rows lie as near by chance"


def test_a_table_tells_its_gaps_and_its_words(capsys, tmp_path):
    rng = np.random.default_rng(0)
    lines = ["length,width,note,species"]
    for i in range(300):
        a, b = rng.normal(5, 1, 2)
        length = "" if i in (3, 9) else f"{a:.2f}"
        lines.append(f"{length},{b:.1f},text {i},{'setosa' if i % 3 else 'virginica'}")
    (tmp_path / "flowers.csv").write_text("\n".join(lines) + "\n")
    said = told(capsys, "look", "flowers.csv")
    assert said["items"] == 298
    assert said["labels"] == {"setosa": 200 - 2 + 0, "virginica": 100} or sum(said["labels"].values()) == 298
    assert {c["name"]: c["missing"] for c in said["columns"]} == {"length": 2, "width": 0}
    assert "column 'species' is the label" in said["said"]
    assert "'note' holds text and is left out" in said["said"]
    assert any("misses 2 values" in note for note in said["notes"])
    assert said["files"] == ["look-flowers/columns.png"]


def test_what_a_model_may_be_told_is_listed_with_its_range_and_gaps(capsys, tmp_path):
    rows = [f"{i},{'' if i % 5 == 0 else i % 7},{'xy'[i % 2]},{'ab'[i % 2]}" for i in range(260)]
    (tmp_path / "stall.csv").write_text("\n".join(["sold,degrees,day,kind", *rows]) + "\n")
    args = ("stall.csv", "data.tell=[degrees]", "data.labels=[day]", "data.label=kind")
    found = told(capsys, "look", *args)["told"]
    assert sorted(found["day"]["values"]) == ["x", "y"]
    assert 150 < sum(found["day"]["values"].values()) < 260, "of the training part"
    degrees = found["degrees"]
    assert (degrees["low"], degrees["high"]) == ([0.0], [6.0])
    assert 20 < degrees["missing"][0] <= 52
    assert main(["look", *args]) == 0
    said = capsys.readouterr().out
    assert f"degrees  0 to 6, {degrees['mean'][0]:.4g} on average, {degrees['missing'][0]} missing\n" in said
    assert f"day      x {found['day']['values']['x']}, y" in said


def test_recipes_are_looked_at_too(capsys):
    said = told(capsys, "look", "digits")
    assert said["items"] == 1797
    assert sum(said["labels"].values()) == 1797
    assert said["notes"] == []
    assert main(["look", "spiral", "data.items=500", "data.held_out=50"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("spiral: 600 rows of 2 numbers (500 train, 50 validation, 50 test)")
