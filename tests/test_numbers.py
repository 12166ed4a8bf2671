"""From a file of numbers to samples in the same form: tables, signals, volumes, by the command line."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import unnoise as un
from unnoise.cli import main
from unnoise.config import UserError
from unnoise.data import SPLITS, Table
from unnoise.recipe import load, resolve
from unnoise.training import Training

SMALL = {"items": 512, "batch": 64, "log_every": 256, "validate_every": 256}


def recipe(folder: Path, data: dict[str, Any], net: dict[str, Any], name: str = "mine") -> str:
    nodes = {
        "data": data,
        "modality": "data",
        "process": {"schedule": "karras"},
        "net": net,
        "target": {"kind": "edm", "sigma_data": 1.0},
        "train": SMALL,
        "sample": {"sampler": "heun", "steps": 4},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(nodes))
    return str(path)


def table(folder: Path, count: int = 300, seed: int = 0) -> Path:
    """Height in cm, a whole number of siblings, the side of the coin, and a price with cents."""
    rng = np.random.default_rng(seed)
    path = folder / "people.csv"
    with path.open("w", newline="") as file:
        write = csv.writer(file).writerow
        write(["height, cm", "siblings", "coin", "price"])
        for _ in range(count):
            side = rng.integers(0, 3)
            tall = rng.normal(170 + 5 * side, 8)
            write([f"{tall:.1f}", rng.poisson(1.5), ["heads", "tails", "edge"][side], f"{np.exp(tall / 40):.2f}"])
    return path


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return header, rows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with people.csv, its recipe and a run, trained by the command line from a relative path."""
    folder = tmp_path_factory.mktemp("numbers")
    table(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        mine = recipe(folder, {"kind": "table", "path": "people.csv", "label": "coin"}, {"kind": "mlp", "width": 16})
        assert main(["train", mine, "--device", "cpu", "--out", "run"]) == 0
    return folder


def test_samples_of_a_table_have_its_form_and_read_back_as_it(place: Path) -> None:
    out = place / "drawn.csv"
    assert main(["sample", str(place / "run"), "--n", "200", "--out", str(out), "--device", "cpu"]) == 0
    header, rows = read(out)
    original, known = read(place / "people.csv")
    assert header == original
    assert len(rows) == 200
    assert all(len(row[0].partition(".")[2]) == 1 and len(row[3].partition(".")[2]) == 2 for row in rows)
    assert all(row[1].isdecimal() for row in rows)  # whole, and not below the least of the data
    counts = {side: sum(row[2] == side for row in rows) for side in ("heads", "tails", "edge")}
    shares = {side: sum(row[2] == side for row in known) / len(known) for side in counts}
    assert sum(counts.values()) == 200
    assert all(abs(counts[side] - 200 * shares[side]) < 4 * np.sqrt(200 * shares[side]) for side in counts)
    again = Table(path=str(out), label="coin")
    run = un.open(place / "run")
    labels = [["edge", "heads", "tails"].index(row[2]) for row in rows]
    drawn = run.recipe.modality.quantise(run.sample(200, label=labels, raw=False))
    read_back = np.concatenate([again.split(name).items for name in SPLITS])
    order = [np.lexsort(items.T) for items in (drawn, read_back)]
    assert np.array_equal(drawn[order[0]], read_back[order[1]])


def test_a_seeds_row_and_class_do_not_depend_on_the_others(place: Path) -> None:
    paths = [place / "few.csv", place / "one.csv"]
    for path, seeds in zip(paths, ("3-10", "5"), strict=True):
        words = ["sample", str(place / "run"), "--seeds", seeds, "--out", str(path), "--device", "cpu"]
        assert main(words) == 0
    (_, few), (_, one) = map(read, paths)
    assert one[0] == few[2]
    words = [
        "sample",
        str(place / "run"),
        "--n",
        "5",
        "--label",
        "edge",
        "--out",
        str(place / "e.csv"),
        "--device",
        "cpu",
    ]
    assert main(words) == 0
    assert [row[2] for row in read(place / "e.csv")[1]] == ["edge"] * 5


def test_a_report_of_a_table_shows_its_columns(place: Path) -> None:
    assert main(["evaluate", str(place / "run"), "--draws", "2", "--device", "cpu"]) == 0
    page = (place / "run" / "report.html").read_text(encoding="utf-8")
    assert "<h2>Columns</h2>" in page
    assert "Correlations differ by" in page
    told = {row["name"]: row for row in json.loads((place / "run" / "metrics.json").read_text())["measures"]}
    assert {"sliced_wasserstein", "two_sample", "coverage", "near_copies", "label_accuracy"} == set(told)
    assert told["sliced_wasserstein"]["floor"] < 2  # in deviations, not in the cents of a price


def test_numbers_are_taken_once_and_changed_data_are_refused(place: Path, tmp_path: Path) -> None:
    stored = yaml.safe_load((place / "run" / "recipe.yaml").read_text())
    assert stored["data"]["path"] == str(place / "people.csv")
    modality = stored["modality"]
    assert modality["kind"] == "points"
    assert modality["header"] == ["height, cm", "siblings", "coin", "price"]
    train = Table(path=str(place / "people.csv"), label="coin").split("train").items
    assert np.allclose(modality["mean"], train.mean(axis=0), rtol=1e-4)
    assert np.allclose(modality["scale"], train.std(axis=0), rtol=1e-4)
    again = resolve("again", {k: v for k, v in stored.items() if k != "name"})
    assert again.nodes == {k: v for k, v in stored.items() if k != "name"}
    mine = recipe(
        tmp_path, {"kind": "table", "path": str(table(tmp_path)), "label": "coin"}, {"kind": "mlp", "width": 8}
    )
    for _ in Training(load(mine), tmp_path / "run").ticks():
        pass
    Training(load(mine), tmp_path / "run", resume=True)
    table(tmp_path, seed=1)
    with pytest.raises(UserError):
        Training(load(mine), tmp_path / "run", resume=True)
    os.remove(tmp_path / "people.csv")  # a run is enough to draw from
    out = tmp_path / "o.csv"
    assert main(["sample", str(tmp_path / "run"), "--n", "3", "--out", str(out), "--device", "cpu"]) == 0
    assert read(out)[0] == ["height, cm", "siblings", "coin", "price"]


CASES = {
    "signal": ((60, 32, 2), "float32", {"kind": "unet", "widths": [8, 8], "blocks": 1}),
    "volume": ((60, 4, 4, 4), "int16", {"kind": "unet", "widths": [8], "blocks": 1}),
    "field": ((60, 8, 8), "float64", {"kind": "mlp", "width": 16}),
}


@pytest.mark.parametrize("name", CASES)
def test_arrays_are_trained_drawn_and_measured_in_their_own_axes(tmp_path: Path, name: str) -> None:
    shape, kind, net = CASES[name]
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=(100 * rng.random(shape)).astype(kind), y=np.arange(60) % 3)
    data = {"kind": "array", "path": str(tmp_path / "x.npz"), "key": "x", "labels": "y", "held_out": 0.2}
    run = str(tmp_path / "run")
    assert main(["train", recipe(tmp_path, data, net), "train.items=128", "--device", "cpu", "--out", run]) == 0
    assert main(["evaluate", run, "--draws", "2", "--device", "cpu"]) == 0
    assert "Nearest training items" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert main(["sample", run, "--n", "3", "--label", "2", "--each", "--device", "cpu"]) == 0
    folder = tmp_path / "run" / "samples"
    (drawn,) = (np.load(path, allow_pickle=False) for path in folder.glob("*.npy"))
    assert drawn.shape == (3, *shape[1:])
    assert drawn.dtype == (np.float32 if kind == "float64" else np.dtype(kind))
    assert len(list(folder.glob("*/*.png"))) == 3
    assert len(list(folder.glob("*.png"))) == 1
    things = un.open(run).sample(2, label=2)
    assert [thing.shape for thing in things] == [shape[1:]] * 2
    assert np.array_equal(things[0], drawn[0])
