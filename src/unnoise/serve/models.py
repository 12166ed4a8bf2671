"""The runs that are served: opened when asked for, within a budget of memory, and anew when they are trained on."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from unnoise import run as runs
from unnoise.config import UserError, nearest
from unnoise.denoise import Denoiser
from unnoise.folder import CHECKPOINTS
from unnoise.restore import Known
from unnoise.run import Run
from unnoise.serve.order import WEIGHTED
from unnoise.serve.probe import MOST, Bits, bits_of
from unnoise.serve.refusals import Refused
from unnoise.serve.settings import Settings
from unnoise.train import checkpoint

HOLD = 2.0  # seconds that a model stays once it is loaded, however many others wait


@dataclass(eq=False)
class Loaded:
    """A model with its weights at hand. lanes: how many of them have work, for which it must stay."""

    name: str
    run: Run
    stamp: str
    bits: Bits
    weights: str
    size: int  # bytes
    since: float = field(default_factory=time.monotonic)
    used: float = field(default_factory=time.monotonic)
    lanes: int = 0
    yields: bool = False  # to another that waits: it ends what it has begun, and is let go

    def denoiser(self, guides: str) -> Denoiser:
        """The network with guides around it, and around these what holds known parts in their place."""
        weighted = guides == WEIGHTED
        return Known(self.run.guided(({"kind": "cfg"} if self.run.recipe.nulls else 1) if weighted else guides))


@dataclass
class _Entry:
    """A served folder: `run` has its recipe and no weights; loading: under way; trouble: why it cannot be loaded."""

    name: str
    folder: Path
    device: str
    loaded: Loaded | None = None
    loading: Future[Loaded] | None = None
    trouble: str = ""
    tried: float = 0.0

    @cached_property
    def run(self) -> Run:
        return runs.open(self.folder, self.device)


class Models:
    """All that is served, by name. Loading has a thread of its own: others' steps do not wait for it.

    `get` and `settle` are for the thread that does the steps; `arrived` is called, from another, when one was loaded.
    """

    def __init__(self, folders: Mapping[str, Path], settings: Settings, arrived: Callable[[], None]):
        if not folders:
            raise UserError("a server needs a run at least")
        self._settings, self._arrived = settings, arrived
        self._entries = {name: _Entry(name, path, settings.device) for name, path in folders.items()}
        for entry in self._entries.values():
            if entry.run.recipe.objective.of_labels:
                raise UserError(f"{entry.folder} tells labels apart and draws nothing: leave it out")
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._old: list[Loaded] = []  # that were trained on, and have work still
        self._looked = time.monotonic()

    @property
    def names(self) -> list[str]:
        """In the order given."""
        return list(self._entries)

    def entry(self, name: str | None) -> tuple[str, Run]:
        """A served run by its name, the first if none is said: what a request is checked against."""
        if name is None:
            name = self.names[0]
        if name not in self._entries:
            raise Refused(404, "model_not_found", f"there is no model '{name}'; {nearest(name, self.names)}")
        entry = self._entries[name]
        return name, entry.loaded.run if entry.loaded else entry.run

    def state(self, name: str) -> Loaded | None:
        """A model that is at hand."""
        return self._entries[name].loaded

    def trouble(self, name: str) -> str:
        """Why a model cannot be loaded; "" where nothing is known against it."""
        return self._entries[name].trouble

    def get(self, name: str) -> Loaded | None:
        """The model, or None while it is loaded; raises UserError where it cannot be."""
        entry = self._entries[name]
        if entry.loaded is None and entry.loading is None:
            if entry.trouble and time.monotonic() - entry.tried < self._settings.watch:
                raise UserError(entry.trouble)
            if self._room(entry):
                self._load(entry)
        if entry.loaded is None or entry.loaded.yields:
            return None
        entry.loaded.used = time.monotonic()
        return entry.loaded

    def settle(self) -> None:
        """Takes in what was loaded, lets go what is idle and old, and looks for new checkpoints now and then."""
        for entry in self._entries.values():
            if entry.loading is None or not entry.loading.done():
                continue
            done, entry.loading = entry.loading, None
            error = done.exception()
            entry.tried = time.monotonic()
            entry.trouble = "" if error is None else str(error) or type(error).__name__
            if error is None:
                if entry.loaded is not None:
                    self._old.append(entry.loaded)
                entry.loaded = done.result()
        self._old = [model for model in self._old if model.lanes]
        if time.monotonic() - self._looked > self._settings.watch:
            self._looked = time.monotonic()
            for entry in self._entries.values():
                if entry.loaded is not None and entry.loading is None and _stamp(entry.folder) != entry.loaded.stamp:
                    self._load(entry)

    def close(self) -> None:
        """Waits for what is being loaded."""
        self._loader.shutdown(wait=True, cancel_futures=True)

    def _room(self, wanted: _Entry) -> bool:
        """Whether another model fits beside those at hand; lets go the one least recently used where it does not.

        Where all have work, the one that came first ends what it has begun; none is let go within HOLD of its coming.
        """
        if any(entry.loading is not None for entry in self._entries.values()):
            return False
        size, now = _size(wanted.folder), time.monotonic()
        while True:
            there = [entry for entry in self._entries.values() if entry.loaded is not None]
            held = sum(entry.loaded.size for entry in there if entry.loaded) + sum(old.size for old in self._old)
            if not there or held + size <= self._settings.memory:
                return True
            idle = [e for e in there if e.loaded and not e.loaded.lanes and now - e.loaded.since > HOLD]
            if not idle:
                ripe = [e.loaded for e in there if e.loaded and now - e.loaded.since > HOLD]
                if ripe and not any(model.yields for model in ripe):
                    min(ripe, key=lambda model: model.since).yields = True
                return False
            min(idle, key=lambda entry: entry.loaded.used if entry.loaded else 0.0).loaded = None

    def _load(self, entry: _Entry) -> None:
        entry.loading = self._loader.submit(self._open, entry)
        entry.loading.add_done_callback(lambda _: self._arrived())

    def _open(self, entry: _Entry) -> Loaded:
        stamp = _stamp(entry.folder)
        run = runs.open(entry.folder, entry.device)
        bits = bits_of(run, self._settings.data / "bits.json", self._settings.places or MOST)
        return Loaded(entry.name, run, stamp, bits, run.weights, _size(entry.folder))


def _size(folder: Path) -> int:
    """Bytes of the weights of the newest checkpoint, unread."""
    path = folder / CHECKPOINTS / _stamp(folder) / "net.safetensors"
    return path.stat().st_size if path.exists() else 0


def _stamp(folder: Path) -> str:
    """The name of the newest checkpoint, unread."""
    found = checkpoint.listed(folder / CHECKPOINTS)
    return found[-1].name if found else ""


__all__ = ["Loaded", "Models"]
