"""The runs that are served: opened when asked for, within a budget of memory, and anew when they are trained on.

Their weights are held by the loop that takes the steps; here is known which are there, and which are to come and go.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from unnoise import run as runs
from unnoise.config import UserError, nearest
from unnoise.folder import CHECKPOINTS
from unnoise.run import Run
from unnoise.serve.messages import Drop, Open, Opened
from unnoise.serve.probe import MOST, Bits
from unnoise.serve.refusals import Refused
from unnoise.serve.settings import Settings
from unnoise.train import checkpoint

HOLD = 2.0  # seconds that a model stays once it is loaded, however many others wait


@dataclass(eq=False)
class Loaded:
    """A model that is at hand, by its number there. lanes: how many of them have work, for which it must stay."""

    name: str
    number: int
    run: Run
    stamp: str
    bits: Bits
    weights: str
    size: int  # bytes
    since: float = field(default_factory=time.monotonic)
    used: float = field(default_factory=time.monotonic)
    lanes: int = 0
    yields: bool = False  # to another that waits: it ends what it has begun, and is let go


@dataclass(frozen=True)
class _Loading:
    number: int
    stamp: str
    size: int


@dataclass
class _Entry:
    """A served folder: `run` has its recipe and no weights; loading: what is under way; trouble: why it cannot be."""

    name: str
    folder: Path
    device: str
    loaded: Loaded | None = None
    loading: _Loading | None = None
    trouble: str = ""
    tried: float = 0.0

    @cached_property
    def run(self) -> Run:
        return runs.open(self.folder, self.device)


class Models:
    """All that is served, by name. All but the properties and what they ask are for one thread.

    send: says to the loop that takes the steps which it is to open and to drop.
    """

    def __init__(self, folders: Mapping[str, Path], settings: Settings, send: Callable[[Open | Drop], None]):
        if not folders:
            raise UserError("a server needs a run at least")
        self._settings, self._send = settings, send
        self._entries = {name: _Entry(name, path, settings.device) for name, path in folders.items()}
        for entry in self._entries.values():
            if entry.run.recipe.objective.of_labels:
                raise UserError(f"{entry.folder} tells labels apart and draws nothing: leave it out")
        self._numbers = 0
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

    def opened(self, news: Opened) -> None:
        """Takes in a model that is at hand now, or the reason why it is not."""
        entry = next((e for e in self._entries.values() if e.loading and e.loading.number == news.model), None)
        if entry is None or entry.loading is None:  # asked for before all was lost
            self._send(Drop(news.model))
            return
        asked, entry.loading = entry.loading, None
        entry.trouble, entry.tried = news.trouble, time.monotonic()
        if news.bits is None:
            return
        if entry.loaded is not None:
            self._old.append(entry.loaded)
        run = news.run or runs.open(entry.folder, entry.device)
        entry.loaded = Loaded(entry.name, asked.number, run, asked.stamp, news.bits, news.weights, asked.size)

    def settle(self) -> None:
        """Lets go what is idle and old, and looks for new checkpoints now and then."""
        for model in [model for model in self._old if not model.lanes]:
            self._old.remove(model)
            self._send(Drop(model.number))
        if time.monotonic() - self._looked > self._settings.watch:
            self._looked = time.monotonic()
            for entry in self._entries.values():
                if entry.loaded is not None and entry.loading is None and _stamp(entry.folder) != entry.loaded.stamp:
                    self._load(entry)

    def lost(self) -> None:
        """None is at hand any more: where they were held there is nothing."""
        self._old.clear()
        for entry in self._entries.values():
            entry.loaded = entry.loading = None

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
            least = min(idle, key=lambda entry: entry.loaded.used if entry.loaded else 0.0)
            if least.loaded is not None:
                self._send(Drop(least.loaded.number))
            least.loaded = None

    def _load(self, entry: _Entry) -> None:
        self._numbers += 1
        entry.loading = _Loading(self._numbers, _stamp(entry.folder), _size(entry.folder))
        kept, most = self._settings.data / "bits.json", self._settings.places or MOST
        self._send(Open(self._numbers, entry.folder, entry.device, kept, most))


def _size(folder: Path) -> int:
    """Bytes of the weights of the newest checkpoint, unread."""
    path = folder / CHECKPOINTS / _stamp(folder) / "net.safetensors"
    return path.stat().st_size if path.exists() else 0


def _stamp(folder: Path) -> str:
    """The name of the newest checkpoint, unread."""
    found = checkpoint.listed(folder / CHECKPOINTS)
    return found[-1].name if found else ""


__all__ = ["Loaded", "Models"]
