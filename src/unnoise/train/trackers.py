"""Trackers: what metrics.jsonl is told, told to TensorBoard, W&B, MLflow or trackio as well."""

import json
import math
import os
import queue
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from unnoise import files
from unnoise.config import UserError, choose

KNOWN = "trackers.json"  # under which name each tracker knows the run: a resume goes on in the same one
PROJECT = "unnoise"  # where a tracker keeps runs together, unless its own settings say
PATIENCE = 30.0  # seconds that the end of a training waits for a slow tracker


@runtime_checkable
class Tracker(Protocol):
    """Whatever takes records as they come."""

    def log(self, record: Mapping[str, Any]) -> None:
        """One record of metrics.jsonl: it has `items`, and what was measured there."""
        ...


@dataclass(frozen=True)
class Place:
    """What a tracker is told of a training when it is opened."""

    folder: Path
    name: str  # of the recipe
    recipe: Mapping[str, Any]  # resolved
    items: int = 0  # seen before: a resume's

    def known(self, tracker: str, made: Callable[[], str]) -> str:
        """Under which name a tracker knows this run: as before, or newly made and written down."""
        names = self._names()
        if tracker not in names:
            names[tracker] = made()
            files.put(self.folder / KNOWN, json.dumps(names, indent=2) + "\n")
        return names[tracker]

    def knows(self, tracker: str) -> bool:
        """Whether a tracker has met this run before."""
        return tracker in self._names()

    def _names(self) -> dict[str, str]:
        path = self.folder / KNOWN
        try:
            return dict(json.loads(path.read_bytes())) if path.exists() else {}
        except (ValueError, TypeError):
            raise UserError(
                f"{path} is damaged: it says what trackers call this run; remove it to begin anew"
            ) from None


def scalars(record: Mapping[str, Any], before: str = "") -> dict[str, float]:
    """The numbers of a record that can be drawn over items, parts by path: held_out/ema-0.1/mean.

    Lists by noise level are left to metrics.jsonl, but for the mean of `excess`; so is what is not finite.
    """
    found: dict[str, float] = {}
    for key, value in record.items():
        path = f"{before}{key}"
        if isinstance(value, Mapping):
            found |= scalars(value, f"{path}/")
        elif key == "excess" and isinstance(value, Sequence) and value:
            found[path] = sum(map(float, value)) / len(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            found[path] = float(value)
    return found


@dataclass(frozen=True)
class _Scalars:
    """A tracker of numbers over items."""

    write: Callable[[dict[str, float], int], object]

    def log(self, record: Mapping[str, Any]) -> None:
        self.write({k: v for k, v in scalars(record).items() if k != "items"}, int(record["items"]))


@contextmanager
def _tensorboard(place: Place) -> Generator[Tracker]:
    """Event files in the run's folder `tensorboard`; a resume hides what was said of items it sees again."""
    writers: Any = import_module("torch.utils.tensorboard")
    writer = writers.SummaryWriter(
        str(place.folder / "tensorboard"), purge_step=place.items + 1 if place.items else None
    )
    place.known("tensorboard", lambda: "tensorboard")

    def write(numbers: dict[str, float], items: int) -> None:
        for name, value in numbers.items():
            writer.add_scalar(name, value, items)
        writer.flush()

    try:
        yield _Scalars(write)
    finally:
        writer.close()


@contextmanager
def _wandb(place: Place) -> Generator[Tracker]:
    """Weights & Biases; WANDB_PROJECT, WANDB_MODE and its other settings are heard."""
    wandb: Any = import_module("wandb")
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT") or PROJECT,
        name=place.name,
        id=place.known("wandb", _fresh),
        resume="allow",
        dir=str(place.folder),
        config=dict(place.recipe),
    )
    try:
        yield _Scalars(lambda numbers, items: run.log(numbers, step=items))
    finally:
        run.finish()


@contextmanager
def _mlflow(place: Place) -> Generator[Tracker]:
    """MLflow; MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME are heard."""
    mlflow: Any = import_module("mlflow")
    entities: Any = import_module("mlflow.entities")
    client = mlflow.MlflowClient()
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT

    def made() -> str:
        stands = client.get_experiment_by_name(experiment)
        owner = stands.experiment_id if stands is not None else client.create_experiment(experiment)
        return client.create_run(owner, run_name=place.name).info.run_id

    begins = not place.knows("mlflow")
    run = place.known("mlflow", made)
    client.update_run(run, status="RUNNING")
    if begins:
        settings = [entities.Param(key, value) for key, value in _leaves(place.recipe)]
        client.log_batch(run, params=settings)

    def write(numbers: dict[str, float], items: int) -> None:
        now = mlflow.utils.time.get_current_time_millis()
        client.log_batch(run, metrics=[entities.Metric(name, value, now, items) for name, value in numbers.items()])

    try:
        yield _Scalars(write)
    finally:
        client.set_terminated(run)


@contextmanager
def _trackio(place: Place) -> Generator[Tracker]:
    """trackio; TRACKIO_DIR and its other settings are heard."""
    trackio: Any = import_module("trackio")
    name = place.known("trackio", lambda: f"{place.name}-{_fresh()}")
    with redirect_stdout(sys.stderr):  # what it says on stdout is no result of a command
        run = trackio.init(project=PROJECT, name=name, resume="allow", config=dict(place.recipe))
    try:
        yield _Scalars(lambda numbers, items: run.log(numbers, step=items))
    finally:
        with redirect_stdout(sys.stderr):
            run.finish()


TRACKERS: dict[str, Callable[[Place], AbstractContextManager[Tracker] | Tracker]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "trackio": _trackio,
}
PACKAGES = tuple(TRACKERS)  # those that are told through a package of their name


def check(names: Sequence[str]) -> tuple[str, ...]:
    """The names, once each; UserError where there is no such tracker, or where its package is not installed."""
    for name in names:
        choose("tracker", name, TRACKERS)
        if name in PACKAGES and find_spec(name) is None:
            raise UserError(f"the tracker '{name}' needs the package {name}: pip install 'unnoise[{name}]'")
    return tuple(dict.fromkeys(names))


@contextmanager
def tracking(names: Sequence[str], place: Place) -> Generator[Tracker]:
    """One tracker of all those named, each open as long as the block lasts.

    Training neither waits for one nor ends by one: each takes its records on a thread of its own, and one that fails
    is warned of once and let go. What it did not take stands in metrics.jsonl.
    """
    with ExitStack() as stack:
        open_ones = [stack.enter_context(_Careful(name, place)) for name in names]
        yield _Several(open_ones)


@dataclass(frozen=True)
class _Several:
    trackers: Sequence[Tracker]

    def log(self, record: Mapping[str, Any]) -> None:
        for tracker in self.trackers:
            tracker.log(record)


class _Careful:
    """A tracker that may fail or be slow: a queue before it, a thread behind that."""

    def __init__(self, name: str, place: Place):
        self._name, self._place = name, place
        self._records: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._given_up = False

    def __enter__(self) -> "_Careful":
        try:  # here and not on the thread: a tracker may ask its person something
            opened = TRACKERS[self._name](self._place)
            made = opened if isinstance(opened, AbstractContextManager) else nullcontext(opened)
            tracker = made.__enter__()
        except Exception as error:  # whatever a foreign library raises: it is not worth a training
            self._give_up(error)
            return self
        self._thread = threading.Thread(target=self._serve, args=(made, tracker), name=self._name, daemon=True)
        self._thread.start()
        return self

    def log(self, record: Mapping[str, Any]) -> None:
        if not self._given_up:
            self._records.put(dict(record))

    def _serve(self, made: AbstractContextManager[Tracker], tracker: Tracker) -> None:
        try:
            with ExitStack() as stack:
                stack.push(made)
                while (record := self._records.get()) is not None:
                    tracker.log(record)
        except Exception as error:
            self._give_up(error)

    def __exit__(self, *_: object) -> None:
        if self._thread is None:
            return
        self._records.put(None)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self._give_up(TimeoutError(f"it has not taken everything within {PATIENCE:g} s"))

    def _give_up(self, error: Exception) -> None:
        if self._given_up:
            return
        self._given_up = True
        why = " ".join(str(error).split())[:200] or type(error).__name__
        warnings.warn(
            f"the tracker {self._name} failed and is told no more ({why}); all stands in {self._place.folder}",
            stacklevel=2,
        )


def _fresh() -> str:
    return uuid.uuid4().hex[:8]


def _leaves(nodes: Any, path: str = "") -> list[tuple[str, str]]:
    """The fields of a recipe by path: net.widths is [32, 64]."""
    if isinstance(nodes, Mapping):
        return [leaf for key, node in nodes.items() for leaf in _leaves(node, f"{path}.{key}".lstrip("."))]
    return [(path, str(nodes)[:500])]


__all__ = ["KNOWN", "TRACKERS", "Place", "Tracker", "check", "scalars", "tracking"]
