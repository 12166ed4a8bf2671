"""A picture says how it was made, and is made again to the pixel, or it is said why not."""

import io
import zipfile

import numpy as np
import PIL.Image
import pytest
from serving import copied, served, trained

import unnoise as un
from unnoise.cli import main
from unnoise.report import grids, synthetic
from unnoise.train import checkpoint


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "digits")


def given(size=(8, 8)):
    file = io.BytesIO()
    PIL.Image.fromarray(np.arange(64, dtype=np.uint8).reshape(size) * 4).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def pictures(run, tmp_path_factory):
    """Pictures of a server, by how they were asked for."""
    import base64

    asked = {
        "plain": {"seeds": [3], "label": 7},
        "guided": {"seeds": [4, 5], "label": ["1", 2], "guidance": 2.7, "sampler": "ddim", "options": {"eta": 1.0}},
        "words": {"seeds": [6], "label": 2, "guidance": "apg weight=4", "steps": 5},
        "begun": {"seeds": [8], "image": base64.b64encode(given()).decode(), "strength": 0.5},
    }
    folder = tmp_path_factory.mktemp("pictures")
    with served(tmp_path_factory.mktemp("data"), run.folder) as client:
        for name, job in asked.items():
            made = client.post("/v1/jobs?wait=true", json=job).json()
            data = client.get(f"/v1/jobs/{made['id']}/result?format=zip").content
            with zipfile.ZipFile(io.BytesIO(data)) as whole:
                last = max(entry for entry in whole.namelist() if entry.endswith(".png"))
                (folder / f"{name}.png").write_bytes(whole.read(last))
    return folder


def redo(run, picture, *words):
    return main(["redo", str(picture), "--run", str(run.folder), "--device", "cpu", *map(str, words)])


@pytest.mark.parametrize("name", ["plain", "guided", "words"])
def test_what_was_served_is_made_again_to_the_pixel(name, run, pictures, capsys, tmp_path):
    assert redo(run, pictures / f"{name}.png", "--out", tmp_path / "again.png") == 0
    assert "all 64 pixels are the same" in capsys.readouterr().out
    assert (tmp_path / "again.png").read_bytes() == (pictures / f"{name}.png").read_bytes()


def test_what_was_begun_from_a_picture_needs_that_picture(run, pictures, tmp_path, capsys):
    (tmp_path / "given.png").write_bytes(given())
    assert redo(run, pictures / "begun.png") == 2
    assert "give it with --image" in capsys.readouterr().err
    assert redo(run, pictures / "begun.png", "--image", tmp_path / "given.png") == 0
    (tmp_path / "other.png").write_bytes(given()[:-1] + b"x")
    assert redo(run, pictures / "begun.png", "--image", tmp_path / "other.png") == 2
    assert "this is another image" in capsys.readouterr().err


def test_a_picture_that_was_changed_is_told_apart(run, pictures, tmp_path, capsys):
    source = pictures / "plain.png"
    pixels = np.array(PIL.Image.open(source))
    pixels[2, 3] ^= 64
    grids.save(pixels, tmp_path / "changed.png", grids.settings(source))
    assert redo(run, tmp_path / "changed.png") == 1
    assert "1 of 64 pixels differ" in capsys.readouterr().out


def test_samples_of_the_command_line_are_made_again(run, tmp_path, capsys):
    assert main(["sample", str(run.folder), "--seeds", "3", "--label", "4", "--steps", "4", "--each", "--device", "cpu",
                 "--out", str(tmp_path / "x.png")]) == 0  # fmt: skip
    (picture,) = (tmp_path / "x").glob("*.png")
    assert redo(run, picture) == 0, capsys.readouterr()


def test_weights_are_found_in_an_older_checkpoint_and_missed_where_they_are_gone(run, pictures, tmp_path, capsys):
    folder = copied(run.folder, tmp_path / "digits")
    last = checkpoint.newest(folder / "checkpoints")
    names = [name.removesuffix(".safetensors") for name in last.state["files"]]
    tensors = {name: {key: value * 1.01 for key, value in last.tensors(name).items()} for name in names}
    told = {name: value for name, value in last.state.items() if name not in ("files", "items")}
    checkpoint.write(folder / "checkpoints", last.items + 1, tensors, told)
    assert un.open(folder).weights != run.weights
    words = ["redo", str(pictures / "plain.png"), "--device", "cpu", "--run"]
    assert main([*words, str(folder)]) == 0
    checkpoint.prune(folder / "checkpoints", keep=1)
    capsys.readouterr()
    assert main([*words, str(folder)]) == 2
    assert "no run here holds the weights" in capsys.readouterr().err


def test_what_says_nothing_of_itself_is_no_case(tmp_path, run, capsys):
    grids.save(np.zeros((8, 8)), tmp_path / "bare.png")
    assert redo(run, tmp_path / "bare.png") == 2
    grids.save(np.zeros((8, 8)), tmp_path / "grid.png", {"weights": run.weights, "seeds": [1, 2], "sampler": "heun"})
    assert redo(run, tmp_path / "grid.png") == 2
    assert "one picture does not tell all" in capsys.readouterr().err


def test_synthetic_media_is_marked_as_such(pictures):
    """In XMP, where others read it: drawn, or drawn into what was given."""
    for name, kind in (("plain", synthetic.DRAWN), ("begun", synthetic.EDITED)):
        with PIL.Image.open(pictures / f"{name}.png") as opened:
            assert synthetic.source(opened.text[synthetic.KEYWORD]) == kind
            assert synthetic.source(opened.info["xmp"].decode() if "xmp" in opened.info else "") in (kind, None)
