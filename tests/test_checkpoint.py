"""What training leaves on the disk: a resume that is bit-exact, and a folder that is never half a checkpoint."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from faults import KINDS, Disk

from unnoise import rng
from unnoise.config import UserError
from unnoise.data import Items
from unnoise.denoise import denoiser
from unnoise.nets import MLP, UNet
from unnoise.process import Gaussian, schedules
from unnoise.train import Regression, Shuffled, TrainConfig, Trainer, checkpoint, history, lock

TENSORS = {"net": {"a": torch.arange(6.0).reshape(2, 3)}, "ema-0.1": {"a": torch.ones(2, 3)}}


DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
    pytest.param("mps", marks=pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no MPS device")),
]


def trainer(net="mlp", device="cpu", **fields):
    fields = {
        "items": 330, "batch": 30, "log_every": 60, "checkpoint_every": 150, "warmup": 60, "lr": 1e-2,
        "ema": (0.05, 0.2), "drop": 0.2, "weight_decay": 0.1, "seed": 4, **fields,
    }  # fmt: skip
    shape = (2,) if net == "mlp" else (1, 4, 4)
    items = rng.host("items").standard_normal((70, *shape)).astype(np.float32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = (
            MLP(shape, classes=3, width=16, depth=2, dropout=0.3)
            if net == "mlp"
            else UNet(shape, classes=3, widths=(8, 8), blocks=1, groups=4, attention=(1,), head_width=8)
        )
    model = denoiser(made.to(device), Gaussian(schedules.Cosine()))

    def encode(raw, generator):  # with randomness of its own, as dequantisation has
        return torch.from_numpy(raw + generator.random(raw.shape).astype(np.float32) / 10)

    feed = Shuffled(Items(items, {"label": np.arange(70) % 3}), encode, fields["seed"], device)
    return Trainer(model, Regression(), feed, TrainConfig(**fields), {"label": 3})


def train(made, folder, metrics=None):
    for tick in made.run():
        if metrics is not None:
            history.append(metrics, tick.record())
        if tick.checkpoint:
            made.save(folder)


def hashes(path):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(path.iterdir())}


# ---------------------------------------------------------------- resume


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("net", "accumulate"), [("mlp", 1), ("mlp", 4), ("unet", 1)])
def test_a_resumed_training_is_the_training_that_never_stopped(tmp_path, net, accumulate, device):
    """SHA-256 of weights, averages, optimiser and manifest, and the history line for line; stopped mid-epoch."""
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    train(trainer(net, device, accumulate=accumulate), straight, tmp_path / "straight.jsonl")

    first = trainer(net, device, accumulate=accumulate)
    metrics = tmp_path / "stopped.jsonl"
    for tick in first.run():
        history.append(metrics, tick.record())
        if tick.checkpoint:
            first.save(stopped)
        if tick.items >= 240:  # 90 items beyond the checkpoint, as a power cut has it
            break

    torch.manual_seed(99)  # whatever the new process has drawn
    second = trainer(net, device, accumulate=accumulate)
    found = checkpoint.newest(stopped)
    assert found.items == 150
    second.restore(found)
    history.rewind(metrics, found.items)
    train(second, stopped, metrics)

    assert hashes(stopped / f"{330:012d}") == hashes(straight / f"{330:012d}")
    assert sorted(hashes(straight / f"{330:012d}")) == [
        "ema-0.05.safetensors", "ema-0.1.safetensors", "ema-0.2.safetensors", "net.safetensors",
        "optimiser.safetensors", "state.json",
    ]  # fmt: skip
    assert metrics.read_text() == (tmp_path / "straight.jsonl").read_text()


def test_a_checkpoint_holds_what_the_training_holds(tmp_path):
    made = trainer()
    for _ in range(3):
        made.step()
    found = checkpoint.read(made.save(tmp_path))
    for name, tensor in made.denoiser.net.state_dict().items():
        assert torch.equal(found.tensors("net")[name], tensor)
    for name, tensor in made.averaged["0.2"].net.state_dict().items():
        assert torch.equal(found.tensors("ema-0.2")[name], tensor)
    moments = found.tensors("optimiser")
    assert moments["step"] == 3
    names = {f"{kind}.{name}" for kind in ("exp_avg", "exp_avg_sq") for name, _ in made.denoiser.net.named_parameters()}
    assert moments.keys() == names | {"step"}
    assert found.items == 90
    with pytest.raises(UserError, match=r"has no 'ema-1'; it has net, optimiser, ema-0\.05"):
        found.tensors("ema-1")


def test_dropout_is_the_trainings_own(tmp_path):
    """It neither hears nor moves torch's own generator."""
    one, other = trainer(), trainer()
    torch.manual_seed(1)
    one.step()
    state = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    other.step()
    assert torch.equal(one._flat.vector, other._flat.vector)
    masks = []
    (layer, *_) = (m for m in one.denoiser.net.modules() if isinstance(m, torch.nn.Dropout))
    layer.register_forward_hook(lambda module, given, answer: masks.append(answer == 0))
    one.step()
    one.step()
    assert not torch.equal(*masks)


def test_a_resume_elsewhere_says_what_differs(tmp_path):
    made = trainer()
    made.step()
    found = checkpoint.read(made.save(tmp_path))
    with pytest.warns(UserWarning, match="bits may differ: precision float32 → bfloat16"):
        trainer(precision="bfloat16").restore(found)
    with pytest.raises(UserError, match="trained with seed 4, not 5"):
        trainer(seed=5).restore(found)
    with pytest.raises(UserError, match="is of another network"):
        trainer("unet").restore(found)
    with pytest.raises(UserError, match=r"has no 'ema-0\.15'"):
        trainer(ema=(0.15,)).restore(found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer().restore(found)


# ---------------------------------------------------------------- the folder


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_save_leaves_the_one_before(tmp_path, kind, fault):
    """At every call of every kind in turn; then saved again in the same place."""
    checkpoint.write(tmp_path, 10, TENSORS, {"seed": 0})
    before = hashes(tmp_path / f"{10:012d}")
    for at in range(1, 100):
        path, error = tmp_path / f"{20:012d}", None
        with Disk(tmp_path, kind, at, fault) as disk:
            try:
                checkpoint.write(tmp_path, 20, TENSORS, {"seed": 0})
            except OSError as raised:
                error = raised
        assert (error is None) == (disk.met is None)
        if error is None:
            break
        assert str(error) == f"cannot write {path}: {os.strerror(fault)[0].lower()}{os.strerror(fault)[1:]}"
        newest = checkpoint.newest(tmp_path)
        assert newest.items == (20 if path.exists() else 10), "what bears a name is whole"
        assert hashes(tmp_path / f"{10:012d}") == before
        checkpoint.write(tmp_path, 20, TENSORS, {"seed": 0})
        assert torch.equal(checkpoint.newest(tmp_path).tensors("net")["a"], TENSORS["net"]["a"])
        checkpoint.prune(tmp_path, keep=2)
        assert sorted(p.name for p in tmp_path.iterdir()) == [f"{10:012d}", f"{20:012d}"]
        shutil.rmtree(path)
    # three files; they, two folders synced, and the folder itself
    assert at - 1 == {"open": 5, "write": 3, "fsync": 5, "rename": 1, "mkdir": 1, "truncate": 0}[kind]


def test_damage_is_seen_and_passed_over(tmp_path):
    def flip(path):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)

    damages = [
        lambda p: flip(p / "net.safetensors"),
        lambda p: (p / "ema-0.1.safetensors").unlink(),
        lambda p: (p / "net.safetensors").write_bytes(b""),
        lambda p: (p / "state.json").write_text('{"format": 1, "it'),
    ]
    good = checkpoint.write(tmp_path, 1, TENSORS, {})
    for i, damage in enumerate(damages):
        path = checkpoint.write(tmp_path, 2 + i, TENSORS, {})
        damage(path)
        assert checkpoint.newest(tmp_path).path == good
        with pytest.raises(UserError, match="is damaged"):
            checkpoint.read(path)
        checkpoint.write(tmp_path, 2 + i, TENSORS, {})  # a damaged one is replaced
        assert checkpoint.newest(tmp_path).items == 2 + i
        damage(path)
    with pytest.raises(UserError, match=r"no checkpoint: it has no state\.json"):
        checkpoint.read(tmp_path)
    assert checkpoint.newest(tmp_path / "nowhere") is None


def test_an_unknown_format_is_one_clear_line(tmp_path):
    path = checkpoint.write(tmp_path, 1, TENSORS, {})
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, "format": 7}))
    with pytest.raises(UserError, match="has the checkpoint format 7, this version reads 1") as error:
        checkpoint.newest(tmp_path)
    assert "\n" not in str(error.value)


def test_the_newest_and_the_milestones_are_kept(tmp_path):
    """Every 30 items a checkpoint, a milestone at the first after each 100; pruned as training goes."""
    for items in range(30, 400, 30):
        checkpoint.write(tmp_path, items, {"net": TENSORS["net"]}, {})
        checkpoint.prune(tmp_path, keep=2, milestone_every=100)
    assert [int(p.name) for p in checkpoint.listed(tmp_path)] == [120, 210, 300, 360, 390]
    checkpoint.prune(tmp_path, keep=2)
    assert [int(p.name) for p in checkpoint.listed(tmp_path)] == [360, 390]


def test_saving_twice_writes_once(tmp_path):
    path = checkpoint.write(tmp_path, 5, TENSORS, {})
    stamps = {file: file.stat().st_mtime_ns for file in path.iterdir()}
    assert checkpoint.write(tmp_path, 5, TENSORS, {}) == path
    assert {file: file.stat().st_mtime_ns for file in path.iterdir()} == stamps


# ---------------------------------------------------------------- history and lock


def test_history_drops_what_a_resume_says_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert history.read(path) == []
    history.rewind(path, 5)
    for items in (10, 20, 30):
        history.append(path, {"items": items, "loss": float("nan"), "levels": [0.5, float("inf")]})
    with path.open("a") as file:
        file.write('{"items": 40, "lo')  # the power went
    assert [r["items"] for r in history.read(path)] == [10, 20, 30]
    history.rewind(path, 20)
    assert history.read(path) == [{"items": i, "loss": None, "levels": [0.5, None]} for i in (10, 20)]
    assert path.read_text().endswith("}\n")
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_folder_is_one_trainings_at_a_time(tmp_path):
    """Against another process and within this one; free again when the holder ends, also by a signal."""
    holder = "import sys, time, pathlib; from unnoise.train.lock import lock\n"
    holder += "with lock(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="another process is training in"), lock(tmp_path):
        pass
    child.kill()
    child.wait()
    with lock(tmp_path), pytest.raises(UserError, match="another process"), lock(tmp_path):
        pass
    with lock(tmp_path):
        pass
