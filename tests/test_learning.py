"""What a training may be asked beside: another's weights to begin with, weights of levels that it learns, a film."""

import hashlib
import io
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import unnoise as un
from unnoise.cli import main, pictures, previews
from unnoise.config import UserError
from unnoise.data import SOURCES
from unnoise.recipe import load
from unnoise.report import curves, films
from unnoise.train import checkpoint
from unnoise.train.transfer import transfer
from unnoise.training import Training

TINY = ("net.widths=[8,16]", "train.items=384", "train.batch=32", "train.warmup=64", "train.lr=0.002",
        "train.log_every=64", "train.checkpoint_every=128", "train.validate_every=192",
        "sample={sampler: ddim, steps: 2}")  # fmt: skip
SHAPES = ("shapes", "data={kind: shapes, items: 200, held_out: 60, side: 8}", "modality={kind: image}",
          "process={schedule: {kind: karras, sigma_min: 0.05, sigma_max: 10}}", "target={kind: edm, sigma_data: 0.75}",
          "net={kind: unet, widths: [8, 16], blocks: 1, embed_width: 64, places: true}", *TINY[1:])  # fmt: skip


def hashes(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def interrupted(recipe, folder, *items, **options):
    """A training cut off without a word at those items, each time some beyond its last checkpoint, then ended."""
    for last in items:
        for tick in Training(recipe, folder, resume=True, **options).ticks():
            if tick.items >= last:
                break
        options = {}
    return un.fit(recipe, folder, resume=True)


# ---------------------------------------------------------------- fine-tuning


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    return un.fit("digits", tmp_path_factory.mktemp("runs") / "digits", *TINY)


def test_a_fine_tuned_run_begins_where_the_other_ended(origin, tmp_path):
    """All of the same network; the origin's average is the first weights and the first averages."""
    training = Training(load("digits", [*TINY, "train.seed=1"]), tmp_path / "a", start_from=origin.folder)
    for name, tensor in origin.tensors.items():
        assert torch.equal(training.trainer.denoiser.net.state_dict()[name], tensor)
    for averaged in training.trainer.averaged.values():
        assert all(torch.equal(value, origin.tensors[name]) for name, value in averaged.net.state_dict().items())
    assert training.origin["weights"] == origin.weights
    assert training.origin["summary"].startswith("all ")
    before = training.trainer.validate()["0.1"].mean
    assert before == pytest.approx(origin.held_out()(origin.denoiser).mean)


def test_what_fits_is_taken_and_the_rest_is_told(origin, tmp_path):
    """Another data set with three labels: the table of labels is new; resumed to the bit, without the origin."""
    copied = shutil.copytree(origin.folder, tmp_path / "digits")
    recipe = load(SHAPES[0], SHAPES[1:])
    straight = un.fit(recipe, tmp_path / "straight", start_from=copied)
    told = straight.origin
    assert told["left"] == ["'embedding.labels.weight' has shape (11, 64) there, (4, 64) here"]
    assert told["taken"] == told["of"] - 1
    assert told["run"] == str(copied)
    assert "; not: 'embedding.labels.weight'" in told["summary"]
    first = Training(recipe, tmp_path / "stopped", start_from=copied)
    next(first.ticks())  # before the first checkpoint of its own
    shutil.rmtree(copied)
    stopped = interrupted(recipe, tmp_path / "stopped", 64, 192, 352)
    assert hashes(stopped.folder / "checkpoints") == hashes(straight.folder / "checkpoints")
    assert stopped.origin == told
    assert stopped.history == straight.history


def test_an_origin_is_not_changed_by_a_resume(origin, tmp_path):
    recipe = load("digits", [*TINY, "train.seed=1"])
    run = un.fit(recipe, tmp_path / "a", start_from=origin)
    assert Training(recipe, run.folder, resume=True, start_from=origin.folder).done
    with pytest.raises(UserError, match=r"was started from .*digits, not from .*other: name another folder with --out"):
        Training(recipe, run.folder, resume=True, start_from=tmp_path / "other")
    with pytest.raises(UserError, match="was started with weights of its own, not from"):
        Training(origin.recipe, origin.folder, resume=True, start_from=run.folder)


def test_nothing_that_fits_is_one_line(origin, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["train", "spiral", "net.width=16", "net.depth=1", "--device", "cpu", "--from"]
    assert main([*words, str(origin.folder)]) == 2
    assert main([*words, "nowhere"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "nothing of" in said[0]
    assert "fits the network of spiral: '" in said[0]
    assert "nowhere is no run: it has no recipe.yaml" in said[1]
    assert not (tmp_path / "runs").exists()


def test_the_command_line_says_what_it_began_with(origin, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [
        "train",
        "digits",
        *TINY,
        "train.items=64",
        "train.seed=3",
        "--from",
        str(origin.folder),
        "--device",
        "cpu",
    ]
    assert main([*words, "--out", "fine", "--device", "cpu"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1].startswith("begins with all ")
    assert out[1].endswith(f"of {origin.folder} at 384 items")
    assert json.loads((tmp_path / "fine" / "origin.json").read_text())["weights"] == origin.weights


def test_a_transfer_is_by_name_and_shape():
    own = {"a": torch.zeros(2), "b": torch.zeros(3), "c": torch.zeros(1)}
    made = transfer(own, {"a": torch.ones(2), "b": torch.ones(4), "d": torch.ones(1)})
    assert [tensor.tolist() for tensor in own.values()] == [[1, 1], [0, 0, 0], [0]]
    assert (made.taken, made.of, made.share) == (("a",), 3, pytest.approx(1 / 3))
    assert str(made).startswith("1 of 3 tensors (33.3 % of the numbers); not: 'b' has shape (4,) there, (3,) here; ")
    assert str(made).endswith("and 1 more")


# ---------------------------------------------------------------- a learned weight, through the run


def test_a_learned_weight_is_part_of_a_resume(tmp_path):
    recipe = load("digits", [*TINY, "objective.weight={kind: learned, base: edm}"])
    straight = un.fit(recipe, tmp_path / "straight")
    stopped = interrupted(recipe, tmp_path / "stopped", 160, 320)
    found = hashes(straight.folder / "checkpoints")
    assert f"{384:012d}/uncertainty.safetensors" in found
    assert hashes(stopped.folder / "checkpoints") == found
    assert stopped.history == straight.history
    plain = un.fit("digits", tmp_path / "plain", *TINY)
    assert plain.weights != straight.weights


# ---------------------------------------------------------------- a training that diverges


def test_a_training_that_diverges_ends_in_one_line_and_keeps_what_was_good(tmp_path, capsys, monkeypatch):
    words = ["train", "digits", *TINY, "train.items=4096", "--out", str(tmp_path / "run"), "--device", "cpu"]
    step = un.Training.ticks

    def spoiling(self, draw=None):
        for tick in step(self, draw):
            if tick.items >= 192:
                for p in self.trainer.denoiser.net.parameters():
                    p.data.mul_(1e30)  # finite, but nothing comes of it
            yield tick

    monkeypatch.setattr(un.Training, "ticks", spoiling)
    assert main(words) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    last = tmp_path / "run" / "checkpoints" / f"{128:012d}"
    assert said.startswith("unnoise: the gradient was not finite for 20 steps in a row, at ")
    assert f"the last checkpoint is {last}; lower train.lr" in said
    assert [path.name for path in checkpoint.listed(tmp_path / "run" / "checkpoints")] == [last.name]
    assert un.open(tmp_path / "run").sample(1, raw=False).isfinite().all()
    assert un.open(tmp_path / "run").history[-1]["skipped"] > 0


# ---------------------------------------------------------------- averages, by the command line


def test_averages_are_compared_and_asked_for(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["train", "digits", *TINY, "train.sample_every=192", "--out", "run", "--device", "cpu"]
    assert main(words) == 0
    assert main(["plot", "ema", "run", "--device", "cpu"]) == 0
    told = json.loads((tmp_path / "run" / "averages.json").read_text())
    widths = [row["width"] for row in told["widths"]]
    assert widths[0] == 0
    assert {0.05, 0.07, 0.1} <= set(widths)
    run = un.open("run")
    for row in told["widths"]:
        assert row["loss"] == run.held_out()(run.averaged(row["width"]).denoiser).mean
    assert told["best"] == min(told["widths"], key=lambda row: row["loss"])["width"]
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "drawn in run/plots/ema.png"
    assert sum("sampled from" in line for line in out) == 1
    assert (tmp_path / "run/plots/ema.png").stat().st_size > 5000

    quick = ["evaluate", "run", "--draws", "2", "--device", "cpu", "--json"]
    assert main([*quick, "--ema", "0.07"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["weights"] == run.averaged(0.07).weights
    assert found["average"] == run.averaged(0.07).average
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "--draws 2 --ema 0.07" in page.replace("--ema 0.07 --draws 2", "--draws 2 --ema 0.07")
    assert "Held-out loss over the width of the weights" in page
    assert "Samples of the same seeds after 192 to 384 items" in page
    assert main(["sample", "run", "--ema", "0", "--n", "2", "--json", "--device", "cpu"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["weights"] == run.averaged(0).weights[:12]
    assert made["files"] == ["run/samples/ddim-2-ema-0-seeds-0-1.png"]
    for asked, said in (("0.28", "not to be made of what run kept, only from 0.0"), ("wide", "--ema is a width")):
        assert main([*quick, "--ema", asked]) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]


def test_several_averages_are_drawn_side_by_side(tmp_path):
    run = un.fit("digits", tmp_path / "run", *TINY, "train.ema=[0.1,0.05,0.2]")
    told = pictures.history(run)
    assert told.name == "0.1"
    assert list(told.others) == ["0.05", "0.2"]
    last = run.history[-1]["held_out"]
    assert (told.held[-1], told.others["0.2"][-1]) == (last["0.1"]["mean"], last["0.2"]["mean"])
    (left, right) = curves.training(told, pictures.levels(run), title="digits").axes
    assert [line.get_text() for line in left.get_legend().get_texts()] == [
        "training, smoothed", "held out, average 0.1", "average 0.05", "average 0.2",
    ]  # fmt: skip
    assert "noise level" in right.get_xlabel()


def test_points_are_drawn_without_their_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    un.fit("classes2d", "run", "net.width=16", "net.depth=1", *TINY[1:], "train.items=64")

    def gone(*_):
        raise UserError("there is no such table")

    monkeypatch.setitem(SOURCES, "classes2d", gone)
    assert main(["sample", "run", "--n", "5", "--label", "ring", "--device", "cpu"]) == 0
    assert sorted(path.suffix for path in (tmp_path / "run" / "samples").iterdir()) == [".csv", ".png"]
    capsys.readouterr()
    assert main(["evaluate", "run", "--device", "cpu"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("unnoise: the data of classes2d is not there: sampling needs none, evaluation does (")


# ---------------------------------------------------------------- the film


def shots(folder):
    return sorted(int(path.stem) for path in (folder / "samples" / "frames").glob("*.png"))


@pytest.mark.parametrize("kind", ["images", "points"])
def test_a_film_of_a_training_has_a_frame_for_each_mark(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    points = ["classes2d", "net.width=16", "net.depth=1", *TINY[1:]]
    if kind == "points":  # the single pictures are tested elsewhere, and take their time
        monkeypatch.setattr(previews.pictures, "picture", lambda *_: None)
    words = ["train", *(points if kind == "points" else ["digits", *TINY]), "train.sample_every=64", "--device", "cpu"]
    assert main([*words, "--out", "run"]) == 0
    folder = tmp_path / "run"
    assert shots(folder) == [64, 128, 192, 256, 320, 384]
    film = (folder / "film.apng").read_bytes()
    assert films.frames_in(film) == 6
    with Image.open(io.BytesIO(film)) as opened:
        assert opened.size[0] in range(200, 330)
    frames = [np.asarray(Image.open(path)) for path in sorted((folder / "samples" / "frames").iterdir())]
    assert len({frame.shape for frame in frames}) == 1
    blue = [(frame[-1, :, 2] > frame[-1, :, 0] + 50).mean() for frame in frames]
    np.testing.assert_allclose(blue, np.arange(1, 7) / 6, atol=0.02)

    (folder / "samples" / "frames" / f"{352:012d}.png").write_bytes(b"of a future that did not come")
    shutil.rmtree(folder / "checkpoints" / f"{384:012d}")
    assert main([*words, "--out", "run", "--resume"]) == 0
    assert shots(folder) == [64, 128, 192, 256, 320, 384]
    assert (folder / "film.apng").read_bytes() == film, "to the bit"


def test_a_long_film_is_thinned(tmp_path, monkeypatch):
    """Marks at every 32 of 2048 items: every second is a frame, the end among them."""
    monkeypatch.chdir(tmp_path)
    words = ["train", "classes2d", "net.width=16", "net.depth=1", *TINY[1:], "train.items=2048", "--device", "cpu"]
    monkeypatch.setattr(previews, "POINTS", 20)
    monkeypatch.setattr(previews.pictures, "picture", lambda *_: None)
    assert main([*words, "train.sample_every=32", "--out", "run"]) == 0
    found = shots(tmp_path / "run")
    assert found == [*range(64, 2049, 64)]
    assert len(found) <= previews.FRAMES
    run = un.open(tmp_path / "run")
    whole = previews.film(run)[0]
    monkeypatch.setattr(previews, "LARGEST", len(whole) // 4)
    assert films.frames_in(previews.film(run)[0]) < len(found) // 2
