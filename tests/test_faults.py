"""Kills, full disks, broken disks: what a training has saved stays, and it ends as if nothing had happened."""

import ctypes
import errno
import json
import multiprocessing
import os
import shutil
import sys

import pytest
from faults import KINDS, Disk
from kills import Kills, digest, ended, forked, outcome, readable, recipe, saves, train

import unnoise as un
from unnoise import files
from unnoise.cli import main
from unnoise.config import UserError
from unnoise.recipe import load
from unnoise.train import checkpoint, history, lock
from unnoise.training import Training

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
FULL, BROKEN = errno.ENOSPC, errno.EIO
SHORT = {"items": 48, "checkpoint_every": 32, "validate_every": 0, "ema": [0.1], "snapshots": 0, "keep": 1}


# ---------------------------------------------------------------- kills and stops


def struck(place, kills, **fields):
    made = Kills(place, seed=1, **fields)
    counts = made.until(kills)
    assert counts["kills"] == kills
    assert counts["runs"] >= 1
    assert counts["inside a save, by design"] >= 0.3 * kills
    assert {name: counts[name] for name in ("unreadable", "lost", "wrong", "different")} == {
        "unreadable": 0, "lost": 0, "wrong": 0, "different": 0,
    }  # fmt: skip


def test_five_kills_leave_the_training_that_was_never_disturbed(tmp_path):
    struck(tmp_path, 5, items=240)


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "workers"), [(25, 0), (10, 2)])
def test_many_kills_leave_the_training_that_was_never_disturbed(tmp_path, kills, workers):
    struck(tmp_path, kills, workers=workers)


@pytest.mark.parametrize(("workers", "accumulate"), [(0, 1), (0, 3), (2, 3)])
def test_stops_wherever_they_fall_leave_the_training_that_was_never_stopped(tmp_path, workers, accumulate):
    """Between two marks, mid-epoch (40 items, batches of 16), several times; with workers, held against none."""
    train(recipe(accumulate=accumulate, items=240), tmp_path / "straight")
    for stop in (16, 112, None):
        made = recipe(accumulate=accumulate, items=240, workers=workers)
        training = Training(made, tmp_path / "stopped", resume=True)
        step = training.trainer.step

        def stopping(step=step, training=training, stop=stop):
            step()
            if training.trainer.items == stop:
                training.stop()

        training.trainer.step = stopping
        for tick in training.ticks():
            assert tick.end == (tick.items == 240)
        assert training.trainer.items == (stop or 240)
        assert not multiprocessing.active_children()
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "straight")


def test_a_training_that_is_closed_or_fails_ends_its_workers(tmp_path):
    training = Training(recipe(workers=2), tmp_path / "closed")
    ticks = training.ticks()
    next(ticks)
    assert len(multiprocessing.active_children()) == 2
    ticks.close()
    assert not multiprocessing.active_children()
    with lock(tmp_path / "closed"):
        pass
    training = Training(recipe(workers=2), tmp_path / "failed")
    ticks = training.ticks()
    next(ticks)
    training.trainer.step = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        next(ticks)
    assert not multiprocessing.active_children()


# ---------------------------------------------------------------- faults


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    place = tmp_path_factory.mktemp("undisturbed")
    train(recipe(**{**SHORT, "keep": 9}), place)
    return outcome(place), {int(p.name): digest(p) for p in checkpoint.listed(place / "checkpoints")}


def pages(folder):
    """What files take on a disk, in pages of 4 KiB."""
    return sum(-(-path.stat().st_size // 4096) for path in folder.rglob("*") if path.is_file())


def held(folder, truth, error):
    """After a fault: one line, and whatever bears the name of a checkpoint is one that was complete."""
    assert isinstance(error, (OSError, UserError))
    assert "\n" not in str(error)
    assert str(folder) in str(error)
    for path in checkpoint.listed(folder / "checkpoints"):
        assert readable(path)
        assert digest(path) == truth[int(path.name)]


def faulty(place, kind, undisturbed, run, first=1, stride=1, faults=(FULL, BROKEN)):
    """Faults at the calls `first`, `first + stride`, .. of a kind until `run` completes; how many there were."""
    end, truth = undisturbed
    met = 0
    for at in range(first, 10_000, stride):
        folder, fault = place / str(at), faults[met % len(faults)]
        with Disk(folder, kind, at, fault) as disk:
            error = run(folder, disk)
        if disk.met is None:
            break
        met += 1
        if error is not None:
            assert os.strerror(fault).lower() in str(error).lower()
            held(folder, truth, error)
            assert run(folder, None) is None
        assert outcome(folder) == end
        for part in (folder, *saves(folder), folder / "samples"):
            files.sweep(part)  # what could not be removed is tried again by the next training
        assert not [path.name for path in folder.rglob(".*") if path.name != ".lock"], "a part was left behind"
        shutil.rmtree(folder)
    assert error is None
    return met


def trained(folder, disk):
    try:
        train(recipe(**SHORT), folder)
    except (OSError, UserError) as raised:
        return raised


LEAST = {"open": 15, "write": 10, "fsync": 15, "rename": 4, "mkdir": 3, "truncate": 0}


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_loses_nothing(tmp_path, undisturbed, kind):
    """At calls of this kind until a training completes, each third where they are many; the slow test takes all."""
    stride = 3 if LEAST[kind] > 5 else 1
    assert faulty(tmp_path, kind, undisturbed, trained, 1, stride) >= LEAST[kind] // stride


RECIPE = """
data: {kind: shapes, items: 40, held_out: 8, side: 6}
modality: image
net: {kind: mlp, width: 8, depth: 1}
train: {items: 64, batch: 16, accumulate: 2, warmup: 16, ema: [0.1], log_every: 32, validate_every: 32,
        validate_items: 8, sample_every: 32, checkpoint_every: 32, keep: 1, snapshots: 2}
sample: {sampler: ddim, steps: 2}
"""


@pytest.mark.slow
@pytest.mark.parametrize("fault", [FULL, BROKEN], ids=["full", "broken"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_under_the_command_loses_nothing(tmp_path, capsys, kind, fault):
    """At every call of everything that `unnoise train` writes, pictures and film too, which a resume draws again."""
    (tmp_path / "small.yaml").write_text(RECIPE)
    place = tmp_path / "undisturbed"

    def run(folder, disk):
        status = main(["train", str(tmp_path / "small.yaml"), "--out", str(folder), "--resume"])
        lines = capsys.readouterr().err.splitlines()
        said = [line for line in lines if line.startswith("unnoise: ") and ": note: " not in line]
        assert (status != 0) == (len(said) == 1)
        assert len(said) <= 1
        return OSError(said[0]) if said else None

    assert run(place, None) is None
    pictures = digest(place / "samples")
    assert len(pictures) >= 2
    truth = {32: None, 64: digest(place / "checkpoints" / f"{64:012d}")}
    made = load(str(tmp_path / "small.yaml"), ["train.keep=9"])
    train(made, tmp_path / "kept")
    truth[32] = digest(tmp_path / "kept" / "checkpoints" / f"{32:012d}")

    def whole(folder, disk):
        error = run(folder, disk)
        assert error is not None or digest(folder / "samples") == pictures
        return error

    assert faulty(tmp_path / "faulty", kind, (outcome(place), truth), whole, faults=(fault,)) >= LEAST[kind]


def test_nothing_is_written_that_faults_do_not_reach(tmp_path):
    """Python's own word on every file that is opened for writing below the folder: all were counted."""

    def work():
        seen = []

        def hook(event, arguments):
            if event == "open" and str(arguments[0]).startswith(str(tmp_path)):
                flags = arguments[2] if isinstance(arguments[2], int) else 0
                if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                    seen.append(str(arguments[0]))

        sys.addaudithook(hook)
        with Disk(tmp_path / "run") as disk:
            train(recipe(), tmp_path / "run")
        assert len(seen) > 30
        assert len(seen) == disk.written, seen

    assert ended(forked(work))


def test_a_file_that_may_not_grow_is_told_by_the_system_itself(tmp_path, undisturbed):
    """RLIMIT_FSIZE: no stand-in for any call. The optimiser's file is larger than is allowed."""
    resource = pytest.importorskip("resource")
    end, truth = undisturbed

    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
        with pytest.raises(OSError, match=r"cannot write .*/checkpoints/000000000032: file too large") as raised:
            train(recipe(**SHORT), tmp_path / "run")
        held(tmp_path / "run", truth, raised.value)

    assert ended(forked(work))
    train(recipe(**SHORT), tmp_path / "run")
    assert outcome(tmp_path / "run") == end


def test_a_full_file_system_is_told_by_the_system_itself(tmp_path, undisturbed):
    """A real one, mounted small in a name space of its own where that is allowed; left by copying what was saved."""
    end, truth = undisturbed
    (tmp_path / "disk").mkdir()
    train(recipe(**SHORT), tmp_path / "measured")
    size = 4 * (pages(tmp_path / "measured") + pages(tmp_path / "measured" / "checkpoints") // 2)  # KiB: one and a half

    def work():
        libc = ctypes.CDLL(None, use_errno=True)
        alone, private, recursive = 0x00020000 | (0x10000000 if os.getuid() else 0), 1 << 18, 1 << 14
        name = str(tmp_path / "disk").encode()
        small = libc.unshare(alone) == 0 and libc.mount(b"none", b"/", None, private | recursive, None) == 0
        if not small or libc.mount(b"none", name, b"tmpfs", 0, f"size={size}k".encode()) != 0:
            (tmp_path / "not allowed").touch()
            return
        with pytest.raises(OSError, match=r"cannot write .*: no space left on device") as raised:
            train(recipe(**SHORT), tmp_path / "disk" / "run")
        held(tmp_path / "disk" / "run", truth, raised.value)
        assert checkpoint.newest(tmp_path / "disk" / "run" / "checkpoints").items == 32
        shutil.copytree(tmp_path / "disk" / "run", tmp_path / "run")

    assert ended(forked(work))
    if (tmp_path / "not allowed").exists():
        pytest.skip("no file system may be mounted here")
    train(recipe(**SHORT), tmp_path / "run")
    assert outcome(tmp_path / "run") == end


# ---------------------------------------------------------------- records


def test_a_line_is_whole_or_not_there(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"items": items, "loss": 0.1 * items}) + "\n" for items in (1, 2, 3)]
    history.append(path, json.loads(lines[0]))
    for kind, at in [("write", 1), ("fsync", 1), ("open", 1)]:
        with Disk(tmp_path, kind, at, FULL), pytest.raises(OSError, match=r"metrics\.jsonl: no space left on device"):
            history.append(path, {"items": 9})
        assert path.read_text() == lines[0], "half a line stays"
    with path.open("a") as file:
        file.write('{"items": 9, "lo' + "x" * 100_000)  # the power went
    assert [record["items"] for record in history.read(path)] == [1]
    with Disk(tmp_path, "truncate", 1, BROKEN), pytest.raises(OSError, match="input/output error"):
        history.append(path, {"items": 9})
    history.append(path, json.loads(lines[1]))
    assert path.read_text() == lines[0] + lines[1], "a line is glued to half of another"
    with path.open("ab") as file:
        file.write(b"\0" * 500 + b"\n[1]\nnull\n{}\n\xff\xfe\n" + b"[" * 100_000 + b"\n")  # what a bad disk gives back
    history.append(path, json.loads(lines[2]))
    assert [record["items"] for record in history.read(path)] == [1, 2, 3]
    with Disk(tmp_path, "rename", 1, BROKEN), pytest.raises(OSError, match="input/output error"):
        history.rewind(path, 2)
    assert [record["items"] for record in history.read(path)] == [1, 2, 3]
    history.rewind(path, 2)
    assert path.read_text() == lines[0] + lines[1]
    stamp = path.stat().st_mtime_ns
    history.rewind(path, 2)
    assert path.stat().st_mtime_ns == stamp, "what is right is written again"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_device_without_space_is_told_by_the_system_itself(tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"cannot write .*/metrics\.jsonl: no space left on device"):
        history.append(tmp_path / "metrics.jsonl", {"items": 1})


# ---------------------------------------------------------------- the lock


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    """By the system itself: as another user where this one may do everything."""
    folder = tmp_path / "run"
    folder.mkdir()
    for place in (folder, tmp_path, *tmp_path.parents[:2]):
        place.chmod(0o555 if place == folder else 0o755)

    def work():
        if os.getuid() == 0:
            os.setuid(65534)
        for place in (folder, folder / "new"):
            with pytest.raises(OSError, match=f"cannot write {folder}.*: permission denied"), lock(place):
                pass

    try:
        assert ended(forked(work))
    finally:
        folder.chmod(0o755)


def test_where_nothing_can_be_locked_a_training_says_so_and_goes_on(tmp_path, monkeypatch):
    from unnoise.train import lock as _  # noqa: F401 (the module, below, hides behind the function)

    module = sys.modules["unnoise.train.lock"]

    def refuse(handle):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(module, "_take", refuse)
    with pytest.warns(UserWarning, match=f"{tmp_path} lies where nothing can be locked"), lock(tmp_path):
        pass


def test_whoever_reads_needs_no_lock(tmp_path):
    train(recipe(**SHORT), tmp_path / "run")
    with lock(tmp_path / "run"):
        assert len(un.open(tmp_path / "run").sample(2)) == 2
        train(recipe(**SHORT), tmp_path / "run")  # done: there is nothing to write
    with lock(tmp_path / "busy"), pytest.raises(UserError, match=f"another process is training in {tmp_path / 'busy'}"):
        train(recipe(**SHORT), tmp_path / "busy")


# ---------------------------------------------------------------- files


def test_what_interrupted_writers_left_is_swept(tmp_path):
    """A living process's file is left alone: it may be about to be renamed."""
    gone = forked(lambda: None)
    assert ended(gone)
    (tmp_path / f".report.html.{gone}.new").touch()
    (tmp_path / f".report.html.{os.getpid()}.new").touch()
    (tmp_path / ".unfinished-000000000010").mkdir()
    (tmp_path / ".unfinished-000000000010" / "net.safetensors").touch()
    (tmp_path / "report.html").touch()
    files.sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f".report.html.{os.getpid()}.new", "report.html"]
