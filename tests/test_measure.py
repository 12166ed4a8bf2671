"""Two sets on the disk against each other: the numbers of their arrays, whatever they lie in, in bounded memory."""

import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from unnoise.cli import main
from unnoise.cli.measure import spec_of
from unnoise.config import UserError
from unnoise.metrics import Statistics, between, coverage, frechet, kid, sets, two_sample
from unnoise.metrics.between import Plain, gather
from unnoise.metrics.features import FEATURES
from unnoise.metrics.inception import Inception
from unnoise.metrics.sets import opened


def pictures(seed, count, side=6):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, side, side)).astype(np.uint8)


def png(picture):
    file = io.BytesIO()
    Image.fromarray(np.moveaxis(picture, 0, -1)).save(file, "png")
    return file.getvalue()


def folder(path, items):
    path.mkdir()
    for i, item in enumerate(items):
        (path / f"{i:04}.png").write_bytes(png(item))
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def ran(capsys, words):
    status = main(words.split())
    told = capsys.readouterr()
    return status, told.out, told.err


def test_pictures_are_the_same_wherever_they_lie(here):
    items = pictures(0, 70)
    folder(here / "a", items)
    (here / "a/metadata.csv").write_text("file_name,label\n")
    (here / "a/readme.txt").write_text("no picture, and never meant as one")
    with zipfile.ZipFile("a.zip", "w") as archive:
        for i, item in enumerate(items):
            archive.writestr(f"{i:04}.png", png(item))
    with tarfile.open("a.tar", "w") as archive:
        for i, item in enumerate(items):
            data = png(item)
            member = tarfile.TarInfo(f"{i:04}.png")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    np.save("a.npy", np.moveaxis(items, 1, -1))
    np.savez("a.npz", arr_0=np.moveaxis(items, 1, -1))
    for name in ("a", "a.zip", "a.tar", "a.npy", "a.npz"):
        found = opened(name)
        assert found.kind == "image"
        for _ in range(2):  # asked anew, they come again
            np.testing.assert_array_equal(np.concatenate(list(found.batches())), items, err_msg=name)
        assert found.left_out == []
    (here / "a/9999.png").write_bytes(b"broken")
    found = opened("a")
    assert sum(map(len, found.batches())) == 70
    assert [name for name, _ in found.left_out] == ["9999.png"]


def test_pictures_of_many_sizes_are_brought_to_one(here):
    folder(here / "a", [*pictures(0, 3), *pictures(1, 4, 9), *pictures(2, 2)])
    assert [part.shape for part in opened("a").batches()] == [(3, 3, 6, 6), (4, 3, 9, 9), (2, 3, 6, 6)]
    assert np.concatenate(list(opened("a", 5).batches())).shape == (9, 3, 5, 5)
    with pytest.raises(UserError, match=r"pictures of several sizes: bring them to one \(--size\)"):
        gather(opened("a"), None)


def test_numbers_are_those_of_the_arrays(here, capsys):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 3)), rng.normal(0.3, 1, (260, 3))
    np.save("x.npy", x)
    np.save("y.npy", y)
    status, out, _ = ran(capsys, "measure x.npy y.npy --measures frechet,kid,two_sample,coverage --json")
    told = json.loads(out)
    assert status == 0
    assert (told["a"]["items"], told["b"]["items"]) == (200, 260)
    rows = {row["name"]: row for row in told["measures"]}
    x, y = x.astype(np.float32), y.astype(np.float32)
    assert rows["frechet"]["value"] == pytest.approx(frechet(x, y), rel=1e-9)
    assert rows["frechet"]["used"] == [200, 260]
    assert rows["two_sample"]["used"] == [200, 200], "neighbours are asked of equal counts"
    for row in rows.values():
        assert row["low"] <= row["value"] <= row["high"]
        assert row["equal"]["count"] == 130, "half of the second set"
    assert 0 < rows["frechet"]["equal"]["floor"] < rows["frechet"]["equal"]["value"]
    assert rows["kid"]["low"] < kid(x, y) < rows["kid"]["high"]
    assert ran(capsys, "measure x.npy x.npy --measures frechet --json")[1].count('"value": 0.0') == 1


def test_statistics_stand_for_their_set(here, capsys):
    rng = np.random.default_rng(0)
    for name, shift in (("x", 0.0), ("y", 0.2)):
        np.save(f"{name}.npy", rng.normal(shift, 1, (3000, 4)))
    assert ran(capsys, "statistics y.npy --out y.safetensors")[0] == 0
    kept = Statistics.load("y.safetensors")
    rows = np.load("y.npy").astype(np.float32)
    assert (kept.count, kept.features, kept.of) == (3000, "raw", "y.npy")
    np.testing.assert_allclose(kept.covariance, np.cov(rows.T.astype(np.float64)), rtol=1e-9, atol=1e-12)
    values = [
        json.loads(ran(capsys, f"measure x.npy {path} --measures frechet --json")[1])["measures"][0]
        for path in ("y.npy", "y.safetensors")
    ]
    assert values[0]["value"] == pytest.approx(values[1]["value"], rel=1e-9)
    assert values[1]["equal"] is None
    assert values[1]["low"] is None, "of a law alone nothing tells how well it is known"
    np.savez("theirs.npz", mu=kept.mean, sigma=kept.covariance)  # as other programs keep them
    theirs = json.loads(ran(capsys, "measure x.npy theirs.npz --json")[1])["measures"][0]
    assert theirs["value"] == pytest.approx(values[0]["value"], rel=1e-9)


def test_memory_is_bounded_and_what_is_kept_is_any_of_them(monkeypatch):
    """The rows kept of a long stream are a fair draw, and the covariance is of all."""
    monkeypatch.setattr(between, "BYTES", 4 * 500 * 2)

    def batches():
        for first in range(0, 20_000, 64):
            index = np.arange(first, min(first + 64, 20_000), dtype=np.float64)
            yield np.stack([index, index % 7], axis=1)

    side = gather(sets.Set(sets.Path("long"), "points", batches), Plain())
    assert side.count == side.statistics.count == 20_000
    assert side.features.shape == (500, 2)
    places = np.sort(side.features[:, 0]) / 20_000
    assert len(np.unique(places)) == 500
    gap = np.abs(places - (np.arange(500) + 0.5) / 500).max()
    assert gap < 1.63 / np.sqrt(500), "Kolmogorov and Smirnov's 1 %"
    assert side.statistics.covariance[0, 0] == pytest.approx(np.arange(20_000).var(ddof=1), rel=1e-9)


def test_equal_counts_tell_apart_what_differs_and_nothing_else():
    rng = np.random.default_rng(3)
    sides = {
        name: between.Side(name, 400, None, rng.normal(shift, 1, (400, 3)).astype(np.float32))
        for name, shift in (("real", 0.0), ("same", 0.0), ("other", 1.0))
    }
    for name in ("same", "other"):
        for row in between.between(sides[name], sides["real"], ("frechet", "two_sample", "coverage", "energy")):
            assert (row.equal.gap > 4) == (name == "other"), (name, row.name)
    x, y = sides["other"].features, sides["real"].features
    (found,) = between.between(sides["other"], sides["real"], ("coverage",))
    assert found.value == coverage(y, x)
    (found,) = between.between(sides["other"], sides["real"], ("two_sample",))
    assert found.value == two_sample(x, y)


def test_items_of_other_proportions_are_not_held_against_each_other(here):
    wide, high = (np.random.default_rng(0).random((30, 3, *side)).astype(np.float32) for side in ((4, 9), (9, 4)))

    def side(name, items):
        return gather(sets.Set(sets.Path(name), "image", lambda: iter([items])), Plain())

    with pytest.raises(UserError, match="hold items of 3 × 4 × 9 and 3 × 9 × 4: bring pictures to one size"):
        between.between(side("wide", wide), side("high", high), ("coverage",))
    with pytest.raises(UserError, match="pictures of several sizes"):
        gather(sets.Set(sets.Path("both"), "image", lambda: iter([wide, high])), Plain())
    (same,) = between.between(side("wide", wide), side("rows", wide.reshape(30, -1)), ("frechet",))
    assert same.value == 0.0, "rows may be the same items, whose places nobody wrote down"


@pytest.mark.parametrize(("a", "b"), [(12, 24), (13, 25), (60, 24), (12, 90)])
def test_the_smallest_sets_are_measured_by_every_measure_and_smaller_ones_refused(a, b):
    rng = np.random.default_rng(0)
    sides = [between.Side("it", n, None, rng.normal(size=(n, 3)).astype(np.float32)) for n in (a, b)]
    names = between.asked(["all"], Plain())
    assert [row.name for row in between.between(*sides, names)] == list(names)
    few = [between.Side("it", n, None, rng.normal(size=(n, 3)).astype(np.float32)) for n in (11, 20)]
    with pytest.raises(UserError, match="takes 12 items of the first set and 24 of the second, got 11 and 20"):
        between.between(*few, names)


def test_the_features_of_a_row_are_told_however_many_they_are():
    class Many:
        name, digest = "many", "00"

        def features(self, raw):
            return np.tile(raw, (1, between.WIDEST))

    items = np.random.default_rng(0).normal(size=(2, 24, 2))
    sides = [gather(sets.Set(sets.Path("it"), "points", lambda x=x: iter([x])), Many()) for x in items]
    assert sides[0].statistics is None
    assert {row.features for row in between.between(*sides, ("kid", "coverage"))} == {"many"}


def test_what_features_to_give_is_a_name_of_features():
    for name in ("raw", "lpips-alex", "lpips-vgg", "stored classifier", *Inception.NAMES.values(), "dinov2", "clip"):
        assert spec_of(name).partition(":")[0] in {"raw", *FEATURES}


def test_the_table_is_for_people(here, capsys):
    folder(here / "a", pictures(0, 40))
    folder(here / "b", pictures(1, 30))
    status, out, err = ran(capsys, "measure a b")
    assert status == 0
    assert "a: 40 items" in out
    assert "Two-sample test" in out
    assert "equal counts: 15 of A against as many of B" in out
    assert "too few for this measure" in out
    assert "two_sample ..." in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("measure a nothing", "there is no data at"),
        ("measure a b --measures fid", "there is no measure 'fid'; did you mean 'kid'?"),
        ("measure a b --features incepton:w.pth", "did you mean 'inception'?"),
        ("measure a b --features inception:w.pth", "there is no weights at"),
        ("measure a b --features inception", "give their path (inception:pt_inception-2015-12-05-6726825d.pth)"),
        ("measure a b --features inception:fake.pth", "not that of the published file"),
        ("measure a x.npy", "bring pictures to one size (--size)"),
        ("measure few.npy x.npy", "takes 12 items of the first set and 24 of the second, got 3 and 50"),
        ("measure a empty", "there is no picture in"),
        ("measure a b --measures near_copies", "takes training items or labels"),
        ("measure a b --measures inception_score", "takes class probabilities"),
        ("measure x.npy other.safetensors", "the statistics are of the features inception: give --features"),
        ("measure x.npy x.safetensors --measures kid", "tell the Fréchet distance alone, and no kid"),
        ("measure x.npy wide.safetensors", "statistics of 2 and of 3 features"),
        ("measure x.npy broken.npy", "it is damaged or cut short"),
        ("measure x.npy nan.npy", "holds numbers that are NaN or infinite"),
        ("statistics a --out s.npz", "statistics are written as .safetensors"),
        ("statistics x.safetensors", "holds statistics already"),
        ("statistics a --size 64", "features are too many for a covariance"),
        ("statistics x.npy --size 8", "and {here}/x.npy is an array"),
    ],
)
def test_mistakes_end_in_one_line(here, capsys, words, said):
    for name in ("a", "b"):
        folder(here / name, pictures(0, 20))
    (here / "empty").mkdir()
    rng = np.random.default_rng(0)
    np.save("x.npy", rng.normal(size=(50, 2)))
    np.save("few.npy", rng.normal(size=(3, 2)))
    np.save("nan.npy", np.full((50, 2), np.nan))
    (here / "broken.npy").write_bytes((here / "x.npy").read_bytes()[:200])
    (here / "fake.pth").write_bytes(b"a pickle of somebody")
    law = np.zeros(2), np.eye(2)
    Statistics(100, *law, "inception", "00").save("other.safetensors")
    Statistics(100, *law, "raw").save("x.safetensors")
    Statistics(100, np.zeros(3), np.eye(3), "raw").save("wide.safetensors")
    status, out, err = ran(capsys, words)
    assert status == 2
    assert out == ""
    lines = err.strip().splitlines()
    assert lines[-1].startswith("unnoise: ")
    assert said.format(here=here) in lines[-1]
    assert len([line for line in lines if not line.endswith("...")]) == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_fifty_thousand_pictures_take_the_memory_of_five(here):
    """Peak memory of a measurement, in a process of its own, does not grow with the pictures."""
    said = (  # not getrusage, whose peak begins with that of the process which started this one
        "import sys; from unnoise.cli import main; status = main(sys.argv[1:]); "
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))); sys.exit(status)"
    )
    peaks = {}
    for count in (5_000, 50_000):
        with zipfile.ZipFile("a.zip", "w") as archive:
            for i, item in enumerate(pictures(0, count, 16)):
                archive.writestr(f"{i:05}.png", png(item))
        words = ["statistics", "a.zip", "--out", f"{count}.safetensors"]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        made = subprocess.run([sys.executable, "-c", said, *words], capture_output=True, text=True, check=True, env=env)
        peaks[count] = int(made.stdout.split()[-1]) // 1024
        assert Statistics.load(f"{count}.safetensors").count == count
    assert peaks[50_000] < peaks[5_000] + 60, f"peaks in MiB: {peaks}"
