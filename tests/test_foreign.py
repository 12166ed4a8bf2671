"""Checkpoints that others made: cut short, of other networks, with a lie in the manifest, or made to harm."""

import hashlib
import json
import os
import pickle
import shutil
import struct

import pytest
import torch
from kills import recipe, train
from safetensors.torch import save

import unnoise as un
from unnoise.config import UserError
from unnoise.train import checkpoint
from unnoise.training import Training

SMALL = {"items": 48, "checkpoint_every": 32, "validate_every": 0, "ema": [0.1], "snapshots": 0}


class Harm:
    """What a pickle can do."""

    def __reduce__(self):
        return os.mkdir, (os.environ["HARM"],)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("foreign") / "run"
    train(recipe(**SMALL), place)
    return place


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    """A run of its own to harm; after the test nothing was opened that runs."""
    monkeypatch.setenv("HARM", str(tmp_path / "harm"))
    yield shutil.copytree(trained, tmp_path / "run")
    assert not (tmp_path / "harm").exists(), "a pickle was opened"


def manifest(path, change):
    state = json.loads((path / "state.json").read_text())
    made = change(state)
    (path / "state.json").write_text(json.dumps(state if made is None else made))


def swap(path, data, name="net.safetensors"):
    """Another file in the place of one, and a manifest that agrees."""
    (path / name).write_bytes(data)
    told = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest(path, lambda state: state["files"].update({name: told}))


def other(path, change, name="net.safetensors"):
    from safetensors.torch import load

    tensors = load((path / name).read_bytes())
    change(tensors)
    swap(path, save(tensors), name)


def header(text, length=None):
    data = text.encode()
    return struct.pack("<Q", len(data) if length is None else length) + data


def first(tensors):
    return sorted(tensors)[0]


def refused(run, says):
    """By the training that would go on and by the run that would draw: one line that names the place, and no harm."""
    before = sorted(p.relative_to(run) for p in run.rglob("*"))
    told = [said for said in (_said(resumed, run), _said(sampled, run)) if said]
    assert any(says in said for said in told), told
    assert not any("\n" in said or str(run) not in said for said in told)
    assert sorted(p.relative_to(run) for p in run.rglob("*")) == before, "something is lost"


def resumed(run):
    Training(recipe(**SMALL), run, resume=True)


def sampled(run):
    un.open(run).sample(1)


def _said(ask, run):
    """The sentence of a refusal; nothing from whom does not read what is wrong."""
    try:
        ask(run)
    except UserError as error:
        return str(error)
    return ""


LIES = {
    "a list": (lambda s: [s], "state.json is no table"),
    "no files": (lambda s: s.update(files={}), "state.json lists no files"),
    "files as a list": (lambda s: s.update(files=["net"]), "state.json lists no files"),
    "a path that leads out": (lambda s: s["files"].update({"../../x.safetensors": {}}), "names '../../x.safetensors'"),
    "a whole path": (lambda s: s["files"].update({"/etc/passwd": {}}), "names '/etc/passwd', which is no file of"),
    "a Windows path": (lambda s: s["files"].update({"..\\x.safetensors": {}}), "which is no file of a checkpoint"),
    "a hidden file": (lambda s: s["files"].update({".x.safetensors": {}}), "which is no file of a checkpoint"),
    "another ending": (lambda s: s["files"].update({"net.pt": {}}), "names 'net.pt', which is no file of"),
    "no hash": (lambda s: s["files"].update({"net.safetensors": 3}), "gives no size and hash of net.safetensors"),
    "a size that is text": (lambda s: s["files"]["net.safetensors"].update(bytes="1"), "gives no size and hash"),
    "a size below nothing": (lambda s: s["files"]["net.safetensors"].update(bytes=-1), "gives no size and hash"),
    "items that are text": (lambda s: s.update(items="48"), "state.json says '48' items"),
    "items of another name": (lambda s: s.update(items=7), "state.json says 7 items"),
    "items that are true": (lambda s: s.update(items=True), "state.json says True items"),
    "no items": (lambda s: s.pop("items") and None, "state.json says None items"),
    "no seed": (lambda s: (s.pop("seed") and None) or s, "its 'seed' is None, expected a whole number"),
    "a count that is none": (lambda s: s.update(skipped=[1]), "its 'skipped' is [1], expected a whole number"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_in_the_manifest_is_refused(run, lie):
    change, says = LIES[lie]
    shutil.rmtree(run / "checkpoints" / f"{32:012d}")  # else it would be taken in place of the newest
    manifest(run / "checkpoints" / f"{48:012d}", change)
    refused(run, says)


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "is not JSON"), ("{", "is not JSON"), ("[" * 200_000, "is not JSON"), ("\0" * 99, "is not JSON"),
     ('{"format": 1, "items": ' + "9" * 9000 + "}", "is not JSON"), ("null", "is no table")],
    ids=["empty", "cut short", "deep", "zeros", "a number of 9000 digits", "null"],
)  # fmt: skip
def test_a_manifest_that_is_none_is_refused(run, text, says):
    shutil.rmtree(run / "checkpoints" / f"{32:012d}")
    (run / "checkpoints" / f"{48:012d}" / "state.json").write_text(text)
    refused(run, says)


FILES = {
    "a pickle": (lambda: pickle.dumps(Harm()), "is a pickle under another name: pickles are never opened"),
    "an old pickle": (lambda: pickle.dumps(Harm(), protocol=0), "is no safetensors file"),
    "empty": (lambda: b"", "is no safetensors file"),
    "a header of 2^60 bytes": (lambda: header("{}", 1 << 60), "is no safetensors file"),
    "a header of 2^64 - 1 bytes": (lambda: header("{}", (1 << 64) - 1), "is no safetensors file"),
    "a header longer than the file": (lambda: header("{}", 99), "is no safetensors file"),
    "a header that is no JSON": (lambda: header("{{{{"), "is no safetensors file"),
    "a header that is a list": (lambda: header("[]"), "is no safetensors file"),
    "offsets beyond the end": (
        lambda: header('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}') + b"\0" * 4,
        "is no safetensors file",
    ),
    "a shape that overflows": (
        lambda: header('{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,0]}}'),
        "is no safetensors file",
    ),
    "an unknown type": (
        lambda: header('{"a":{"dtype":"X9","shape":[1],"data_offsets":[0,4]}}') + b"\0" * 4,
        "is no safetensors file",
    ),
    "no tensors": (lambda: save({}), "is of another network: it has no"),
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", ["net", "optimiser", "ema-0.1"])
def test_a_file_that_is_none_is_refused(run, file, name):
    make, says = FILES[file]
    for path in checkpoint.listed(run / "checkpoints"):
        swap(path, make(), f"{name}.safetensors")
    refused(run, says)


def test_a_zip_as_torch_writes_it_is_refused(run, tmp_path):
    torch.save({"a": Harm()}, tmp_path / "net.pt")
    swap(run / "checkpoints" / f"{48:012d}", (tmp_path / "net.pt").read_bytes())
    refused(run, "is a pickle under another name: pickles are never opened")


TENSORS = {
    "another shape": (lambda t: t.update({first(t): torch.zeros(3, 5, 7)}), "has shape (3, 5, 7), expected"),
    "a name less": (lambda t: t.pop(first(t)), "it has no '"),
    "a name more": (lambda t: t.update(more=torch.zeros(1)), "it has, beyond it, 'more'"),
    "whole numbers": (lambda t: t.update({first(t): t[first(t)].long()}), "is torch.int64, expected torch.float32"),
}


@pytest.mark.parametrize("change", TENSORS)
@pytest.mark.parametrize("name", ["net", "optimiser", "ema-0.1"])
def test_tensors_of_another_network_are_refused(run, change, name):
    make, says = TENSORS[change]
    if name == "optimiser" and change == "a name more":
        pytest.skip("names without a moment before them are no one's")
    other(run / "checkpoints" / f"{48:012d}", make, f"{name}.safetensors")
    refused(run, says)


def test_what_is_no_file_is_not_waited_for(run):
    """A pipe in the place of a file would be read for ever."""
    shutil.rmtree(run / "checkpoints" / f"{32:012d}")
    net = run / "checkpoints" / f"{48:012d}" / "net.safetensors"
    net.unlink()
    os.mkfifo(net)
    refused(run, "net.safetensors is no file")


def test_formats_before_ours_are_refused_in_a_line(run):
    """There was none before 1: a manifest of format 0 is of something else."""
    manifest(run / "checkpoints" / f"{48:012d}", lambda state: state.update(format=0))
    refused(run, "has the checkpoint format 0, this version reads 1: use the version of unnoise that wrote it")


def test_all_damaged_is_an_error_and_no_fresh_start(run):
    for path in checkpoint.listed(run / "checkpoints"):
        (path / "net.safetensors").unlink()
    refused(run, "is complete: the checkpoint")
    assert len(checkpoint.listed(run / "checkpoints")) == 2


# ---------------------------------------------------------------- pruning


def test_what_is_damaged_pushes_nothing_out(tmp_path):
    """keep = 1: the newest is damaged as soon as it is written, each time; the last good one stays."""
    tensors = {"net": {"a": torch.arange(3.0)}}
    checkpoint.write(tmp_path, 10, tensors, {})
    for items in (20, 30, 40):
        path = checkpoint.write(tmp_path, items, tensors, {})
        (path / "net.safetensors").write_bytes(b"")
        checkpoint.prune(tmp_path, keep=1)
        with pytest.warns(UserWarning, match="000000000010 is taken in its place"):
            assert checkpoint.newest(tmp_path).items == 10
    checkpoint.write(tmp_path, 50, tensors, {})
    foreign = checkpoint.write(tmp_path, 5, tensors, {})
    manifest(foreign, lambda state: state.update(format=9))
    checkpoint.prune(tmp_path, keep=1)
    assert checkpoint.listed(tmp_path) == [foreign, tmp_path / f"{50:012d}"], "what another version wrote is its own"


def test_a_milestone_that_is_damaged_is_none(tmp_path):
    tensors = {"net": {"a": torch.arange(3.0)}}
    for items in range(10, 60, 10):
        checkpoint.write(tmp_path, items, tensors, {})
    (tmp_path / f"{20:012d}" / "net.safetensors").write_bytes(b"")
    checkpoint.prune(tmp_path, keep=1, milestone_every=20)
    assert [int(path.name) for path in checkpoint.listed(tmp_path)] == [30, 40, 50]


def test_pruning_reads_what_it_has_read_before_no_more(tmp_path, monkeypatch):
    tensors = {"net": {"a": torch.arange(3.0)}}
    asked = []
    own = checkpoint.read
    monkeypatch.setattr(checkpoint, "read", lambda path: asked.append(path.name) or own(path))
    for items in range(10, 60, 10):
        checkpoint.write(tmp_path, items, tensors, {})
        checkpoint.prune(tmp_path, keep=3)
    assert asked == [f"{items:012d}" for items in range(10, 60, 10)]


def test_a_checkpoint_of_another_training_gives_way(tmp_path):
    """Of the same items: what is written is what is asked for, not what stands there."""
    checkpoint.write(tmp_path, 10, {"net": {"a": torch.zeros(3)}}, {"seed": 1})
    path = checkpoint.write(tmp_path, 10, {"net": {"a": torch.ones(3)}}, {"seed": 2})
    assert torch.equal(checkpoint.read(path).tensors("net")["a"], torch.ones(3))
    assert list(tmp_path.iterdir()) == [path]
