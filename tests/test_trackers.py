"""Trackers hear what metrics.jsonl says, go on in the same run after a resume, and never cost a training anything."""

import json
import sys
import threading
import types
import warnings
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

from unnoise import recipe as recipes
from unnoise.cli.app import main
from unnoise.config import UserError
from unnoise.train import history, trackers
from unnoise.train.trackers import TRACKERS, Place, scalars, tracking
from unnoise.training import Training, fit

TINY = [
    "data={kind: moons, items: 512, held_out: 64}",
    "net={kind: mlp, width: 16, depth: 1}",
    "train={items: 512, batch: 32, warmup: 32, log_every: 64, validate_every: 256, checkpoint_every: 128}",
]


class Heard:
    """A tracker that remembers; `fails` makes the n-th record the last."""

    def __init__(self, fails: int = 0):
        self.records, self.opened, self.closed, self.fails = [], [], 0, fails

    @contextmanager
    def open(self, place):
        self.opened.append((place.known("heard", lambda: f"run {len(self.opened)}"), place.items))
        try:
            yield self
        finally:
            self.closed += 1

    def log(self, record):
        self.records.append(record)
        if len(self.records) == self.fails:
            raise ConnectionError("the line is dead")


@pytest.fixture
def heard(monkeypatch):
    made = Heard()
    monkeypatch.setitem(TRACKERS, "heard", made.open)
    monkeypatch.setattr(trackers, "find_spec", lambda name: object())
    return made


def _recipe(*more):
    return recipes.load("spiral", [*TINY, *more])


def test_a_class_with_one_method_is_a_tracker_and_takes_no_package_of_its_name(monkeypatch, tmp_path):
    made = []

    class Mine:
        def __init__(self, place):
            self.place, self.records = place, []
            made.append(self)

        def log(self, record):
            self.records.append(record)

    monkeypatch.setitem(TRACKERS, "no-such-package", Mine)
    assert trackers.check(["no-such-package"]) == ("no-such-package",)
    with tracking(["no-such-package"], Place(tmp_path, "it", {})) as told:
        told.log({"items": 1, "loss": 0.5})
    assert [one.records for one in made] == [[{"items": 1, "loss": 0.5}]]


def test_a_tracker_hears_what_metrics_jsonl_says(heard, tmp_path):
    fit(_recipe(), tmp_path / "run", track=["heard"])
    written = history.read(tmp_path / "run" / "metrics.jsonl")
    assert len(written) >= 8
    assert [json.loads(json.dumps({k: v for k, v in r.items() if k != "speed"})) for r in heard.records] == written
    assert all(record["speed"] > 0 for record in heard.records)
    assert heard.closed == 1


def test_a_resume_goes_on_in_the_same_run_of_the_tracker(heard, tmp_path):
    training = Training(_recipe(), tmp_path / "run", track=["heard"])
    for tick in training.ticks():
        if tick.items >= 256:
            training.stop()
    stood = training.trainer.items
    for _ in Training(_recipe(), tmp_path / "run", resume=True, track=["heard"]).ticks():
        pass
    assert heard.opened == [("run 0", 0), ("run 0", stood)]
    assert 0 < stood < 512
    said = {record["items"]: record.get("loss") for record in heard.records}
    assert said == {record["items"]: record.get("loss") for record in training.run().history}
    assert json.loads((tmp_path / "run" / "trackers.json").read_text()) == {"heard": "run 0"}


def test_a_tracker_that_fails_stops_nothing_and_is_warned_of_once(monkeypatch, tmp_path):
    failing, sound = Heard(fails=2), Heard()

    @contextmanager
    def locked_out(place):
        raise PermissionError("no key")
        yield

    for name, opener in (("failing", failing.open), ("sound", sound.open), ("locked", locked_out)):
        monkeypatch.setitem(TRACKERS, name, opener)
    monkeypatch.setattr(trackers, "find_spec", lambda name: object())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tracked = fit(_recipe(), tmp_path / "run", track=["failing", "sound", "locked"])
    said = sorted(str(w.message) for w in caught if "tracker" in str(w.message))
    assert len(said) == 2
    assert "tracker failing failed and is told no more (the line is dead)" in said[0]
    assert "tracker locked failed and is told no more (no key)" in said[1]
    assert (failing.closed, sound.closed) == (1, 1)
    assert len(failing.records) == 2
    alone = fit(_recipe(), tmp_path / "alone")
    assert tracked.weights == alone.weights  # to the bit
    assert tracked.history == alone.history
    assert len(sound.records) == len(alone.history)


def test_training_does_not_wait_for_a_slow_tracker(monkeypatch, tmp_path):
    free = threading.Event()

    class Slow:
        def log(self, record):
            free.wait(30)

    @contextmanager
    def slow(place):
        yield Slow()

    monkeypatch.setitem(TRACKERS, "slow", slow)
    monkeypatch.setattr(trackers, "find_spec", lambda name: object())
    monkeypatch.setattr(trackers, "PATIENCE", 0.05)
    with pytest.warns(UserWarning, match=r"tracker slow .* has not taken everything within 0.05 s"):
        run = fit(_recipe(), tmp_path / "run", track=["slow"])
    free.set()
    assert run.checkpoint.items == 512


def test_scalars_are_the_numbers_that_have_a_curve():
    record = {
        "items": 64,
        "loss": 0.5,
        "lr": 1,
        "norm": float("nan"),
        "levels": [0.0, 1.0],
        "held_out": {"ema-0.1": {"mean": 0.25, "noise": [1.0], "excess": [0.1, 0.3], "spread": None}},
    }
    assert scalars(record) == {
        "items": 64.0,
        "loss": 0.5,
        "lr": 1.0,
        "held_out/ema-0.1/mean": 0.25,
        "held_out/ema-0.1/excess": pytest.approx(0.2),
    }


def test_a_name_that_is_none_or_not_installed_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    with pytest.raises(UserError, match="did you mean 'tensorboard'"):
        Training(_recipe(), tmp_path / "run", track=["tensorbord"])
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    words = ["train", "spiral", *TINY, "--out", str(tmp_path / "run"), "--track", "wandb"]
    assert main(words) == 2
    assert "needs the package wandb: pip install 'unnoise[wandb]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_command_names_its_trackers_where_it_says_how_to_go_on(heard, tmp_path, capsys, monkeypatch):
    ticks = Training.ticks

    def stopping(self, draw=None):
        for tick in ticks(self, draw):
            self.stop()
            yield tick

    monkeypatch.setattr(Training, "ticks", stopping)
    words = ["train", "spiral", *TINY, "--out", str(tmp_path / "run"), "--track", "heard", "--device", "cpu"]
    assert main(words) == 130
    assert "--track heard --resume" in capsys.readouterr().err
    assert heard.records


# Each of the four, by what it is told


def _module(monkeypatch, name, **parts):
    made = types.ModuleType(name)
    for key, value in parts.items():
        setattr(made, key, value)
    monkeypatch.setitem(sys.modules, name, made)
    return made


class Calls:
    """Any object: every call of every attribute is written down."""

    def __init__(self, log, path, **parts):
        self.__dict__.update(parts, _log=log, _path=path)

    def __getattr__(self, name):
        def call(*args, **kwargs):
            self._log.append((f"{self._path}.{name}", args, kwargs))

        return call


def _told(name, folder, items=0):
    place = Place(folder, "moons", {"data": {"kind": "moons"}, "train": {"batch": 32}}, items)
    with tracking([name], place) as tracker:
        tracker.log({"items": items + 64, "loss": 0.5, "levels": [1.0]})


def test_wandb_is_told_of_one_run(monkeypatch, tmp_path):
    log = []
    run = Calls(log, "run")
    _module(monkeypatch, "wandb", init=lambda **kwargs: log.append(("init", (), kwargs)) or run)
    _told("wandb", tmp_path)
    _told("wandb", tmp_path, 64)
    names = [name for name, _, _ in log]
    assert names == ["init", "run.log", "run.finish"] * 2
    first, second = (kwargs for name, _, kwargs in log if name == "init")
    assert first["id"] == second["id"]
    assert (first["resume"], first["project"], first["name"]) == ("allow", "unnoise", "moons")
    assert first["config"]["train"] == {"batch": 32}
    assert log[1][1:] == (({"loss": 0.5},), {"step": 64})
    assert log[4][1:] == (({"loss": 0.5},), {"step": 128})


def test_trackio_is_told_of_one_run(monkeypatch, tmp_path):
    log = []
    run = Calls(log, "run")
    _module(monkeypatch, "trackio", init=lambda **kwargs: log.append(("init", (), kwargs)) or run)
    _told("trackio", tmp_path)
    _told("trackio", tmp_path, 64)
    first, second = (kwargs for name, _, kwargs in log if name == "init")
    assert first["name"] == second["name"]
    assert first["name"].startswith("moons-")
    assert [args for name, args, _ in log if name == "run.log"] == [({"loss": 0.5},)] * 2


@pytest.mark.parametrize("name", list(TRACKERS))
def test_the_real_one_takes_a_training_and_its_resume(name, tmp_path, monkeypatch):
    """With the tracker installed (it stands in an extra), offline: what it stored is read back."""
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    monkeypatch.chdir(tmp_path)
    for key, value in {
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
    }.items():
        monkeypatch.setenv(key, value)
    folder = tmp_path / "run"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        training = Training(_recipe(), folder, track=[name])
        for tick in training.ticks():
            if tick.items >= 256:
                training.stop()
        first = json.loads((folder / "trackers.json").read_text())
        run = fit(_recipe(), folder, resume=True, track=[name])
    assert not [w for w in caught if "tracker" in str(w.message)]
    assert json.loads((folder / "trackers.json").read_text()) == first
    expected = {record["items"]: record["loss"] for record in run.history if "loss" in record}
    assert _stored(name, folder, first[name]) == pytest.approx(expected, rel=1e-6)


def _stored(name, folder, known):
    """items → loss, as the tracker itself reads it back."""
    if name == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        read = EventAccumulator(str(folder / "tensorboard"))
        read.Reload()
        return {event.step: event.value for event in read.Scalars("loss")}
    if name == "mlflow":
        import mlflow

        return {metric.step: metric.value for metric in mlflow.MlflowClient().get_metric_history(known, "loss")}
    if name == "trackio":
        from trackio.sqlite_storage import SQLiteStorage

        rows = SQLiteStorage.get_logs("unnoise", known)
        return {row["step"]: row["loss"] for row in rows if "loss" in row}
    from wandb.proto import wandb_internal_pb2 as messages

    found = {}
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for data in _logged(path.read_bytes()):
            message = messages.Record()
            message.ParseFromString(data)
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in message.history.item}
            if "loss" in row:
                found[row["_step"]] = row["loss"]
    return found


def _logged(data):
    """The records of LevelDB's log format: blocks of 32 KiB; checksum (4), length (2), kind (1), then the bytes."""
    place, whole = 7, b""  # behind the file's own header
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # full, last
            yield whole
            whole = b""
