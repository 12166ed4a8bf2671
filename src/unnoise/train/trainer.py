"""The training loop: items in, ticks out. Whoever calls owns the progress bar, the log and the files."""

import platform
import time
import warnings
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from unnoise import rng
from unnoise.config import UserError, choose
from unnoise.denoise import NetDenoiser
from unnoise.nets import Net
from unnoise.tensor import Tensor, align, send
from unnoise.train import checkpoint, posthoc
from unnoise.train.beside import Beside
from unnoise.train.checkpoint import Checkpoint
from unnoise.train.config import TrainConfig
from unnoise.train.draws import Draws
from unnoise.train.ema import Averages, Power
from unnoise.train.flat import Flat, alike, fit
from unnoise.train.held_out import ByLevel, HeldOut
from unnoise.train.memory import keep_freed
from unnoise.train.objective import Objective
from unnoise.train.optimiser import Optimiser
from unnoise.train.order import Feed
from unnoise.train.transfer import Transfer, transfer

PATIENCE = 20  # steps in a row without a finite gradient before training stops
BINS = np.arange(-12, 13)  # of log(sigma/alpha), for the loss by noise level; the outer ones take what lies beyond


class Diverged(UserError):
    """The gradient stays infinite or undefined."""


class Tick(NamedTuple):
    """What happened since the last tick, and which of the configured marks was passed."""

    items: int  # seen in all
    loss: float  # mean over the items since the last tick
    norm: float  # of the gradient before clipping, mean over steps
    lr: float  # of the last step
    speed: float  # items a second
    skipped: int  # steps in all whose gradient was not finite
    undefined: int  # items in all whose loss was not
    levels: list[float]  # noise levels log(sigma/alpha): middles of the bins that hold items
    losses: list[float]  # mean loss in each
    log: bool
    validate: bool
    sample: bool
    snapshot: bool
    checkpoint: bool
    end: bool

    def record(self) -> dict[str, Any]:
        """Its numbers, for a line of metrics.jsonl. The speed is left out: it is not a fact of the training."""
        names = ("items", "loss", "norm", "lr", "skipped", "undefined", "levels", "losses")
        return {name: getattr(self, name) for name in names}


class Trainer:
    """Trains the network of a denoiser; every random number is a function of (config.seed, items seen).

    feed: where batches come from. nulls: the leaf of one item of each condition that means "not given" (for labels,
    the number of classes); config.drop says how often training puts it there. held_out: what `validate` asks.
    """

    def __init__(
        self,
        denoiser: NetDenoiser,
        objective: Objective,
        feed: Feed,
        config: TrainConfig,
        nulls: Mapping[str, float | int | Tensor] | None = None,
        held_out: HeldOut | None = None,
    ):
        self.denoiser, self.objective, self.feed, self.config = denoiser, objective, feed, config
        self.items = 0
        self.skipped = 0  # steps whose gradient was not finite
        self.undefined = 0  # items whose loss was not
        device = next(denoiser.net.parameters()).device
        self._nulls = {k: null.to(device) if isinstance(null, Tensor) else null for k, null in (nulls or {}).items()}
        self._drops = config.drops(tuple(self._nulls))
        for name in self._drops:
            choose("condition with a null", name, self._nulls)
        self._held_out = held_out
        self._flat = Flat(denoiser.net)
        self._optimiser = Optimiser(self._flat, config)
        tracked = [Power(width) for width in (posthoc.WIDTHS if config.snapshots else ())]
        self._averages = Averages(denoiser.net, self._flat, [Power(width) for width in config.ema], tracked)
        self._snapshots = posthoc.marks(config.items, config.snapshots)
        with warnings.catch_warnings():  # what there is to warn of was said of the denoiser itself
            warnings.simplefilter("ignore")
            self.averaged = {k: replace(denoiser, net=_net(net)) for k, net in self._averages.nets.items()}
        device = self._flat.vector.device
        beside = self._made_beside()
        self._beside = None if beside is None else Beside(beside.to(device), objective.care(config))
        modules = [*denoiser.net.modules(), *(beside.modules() if beside is not None else ())]
        self._random = any(getattr(m, "p", 0) for m in modules if "Dropout" in type(m).__name__)
        self._failures = 0  # steps in a row
        self._last: Path | None = None
        self._since: list[tuple[Tensor, Tensor]] = []  # (loss, noise level) of the items since the last tick
        self._norms: list[Tensor] = []  # of the steps since, on the device
        self._lost: list[Tensor] = []  # items without a finite loss in each part of them
        self._read: list[float] = []  # those already read
        self._stopping = self._stopped = False
        self._marked = False  # whether the step at hand has passed a mark of the configuration
        self._owed = False  # a checkpoint that waits for a step with a finite gradient

    @property
    def best(self) -> NetDenoiser:
        """The denoiser to sample from: the first average, or the network itself where there is none."""
        if not self.averaged:
            self.denoiser.net.eval()  # the next step trains it again
        return next(iter(self.averaged.values()), self.denoiser)

    def run(self) -> Generator[Tick]:
        """Trains to the end, from wherever it stands; a tick whenever a mark of the configuration is passed.

        Steps are whole and the caller's are the files: save at a tick that says so.
        """
        keep_freed()
        clock, seen = time.perf_counter(), self.items
        while self.items < self.config.items and not self._stopped:
            before = self.items
            self.step()
            self._stopped = self._stopping
            marks = self._marks(before)
            if any(marks.values()):
                tick = self._tick(marks, _rate(self.items - seen, time.perf_counter() - clock))
                self._owed = marks["checkpoint"] and not tick.checkpoint
                yield tick
                clock, seen = time.perf_counter(), self.items  # the caller's time is not the training's
        self._stopping = self._stopped = False

    def stop(self) -> None:
        """Asks `run` to end after the step at hand, or the next one, with a tick that asks for a checkpoint.

        A signal handler may call it.
        """
        self._stopping = True

    def step(self) -> None:
        """One optimiser step on the next batch. A gradient that is not finite changes no weight."""
        config, before = self.config, self.items
        if not self.denoiser.net.training:  # train() walks every module: 4 % of a small network's step
            self.denoiser.net.train()
        for p in self._flat.parameters.values():
            p.grad = None
        if self._beside is not None:
            self._beside.begin()
        x0, cond = self.feed(before, config.batch)
        draws = Draws(config.seed, "step", before, batch=config.batch, items=before)
        cond = self._with_nulls(cond, draws)
        beside = () if self._beside is None else (self._beside.net,)
        size = -(-config.batch // config.accumulate)
        with self._dropout(before):
            for first in range(0, config.batch, size):
                rows = slice(first, first + size)
                part, part_cond = x0[rows], {name: leaf[rows] for name, leaf in cond.items()}
                with self._autocast(x0.device):
                    loss = self.objective(self.denoiser, part, part_cond, draws.part(first, len(part)), *beside)
                minimised = loss.value if loss.minimised is None else loss.minimised
                (minimised.sum() / config.batch).backward()
                self._since.append((loss.value.detach(), loss.noise))
                self._lost.append((~loss.value.detach().isfinite()).sum())
        self._norms.append(self._optimiser.step(config.rate(before)))
        self.denoiser.net.constrain()
        if self._beside is not None:
            self._beside.step(config.rate(before))
        self.items += config.batch
        self._averages.update(self._flat.vector, before, self.items)

    def validate(self) -> dict[str, ByLevel]:
        """Held-out loss by noise level of each average, or of the network itself where there is none."""
        if self._held_out is None:
            return {}
        return {name: self._held_out(d) for name, d in (self.averaged or {"net": self.best}).items()}

    def begin(self, given: Mapping[str, Tensor]) -> Transfer:
        """Takes over another training's weights, those that fit, before the first step; so do the averages."""
        assert self.items == 0
        made = transfer(self.denoiser.net.state_dict(), given)
        self._averages.fill(self._flat.vector)
        for net in self._averages.nets.values():  # what no average moves comes too
            net.load_state_dict(self.denoiser.net.state_dict())
        return made

    def save(self, folder: Path) -> Path:
        """A checkpoint of all that a resume needs, and of each average; older ones are pruned.

        Raises Diverged, and writes nothing, where the weights are no longer finite.
        """
        self._look()
        finite = self._flat.vector.isfinite().all()
        if not bool(finite if self._beside is None else finite & self._beside.finite):
            raise self._diverged("the weights are no longer finite")
        files = {
            "net": self.denoiser.net.state_dict(),
            "optimiser": self._optimiser.tensors(),
            **{f"ema-{name}": self._average(name) for name in self._averages.vectors},
        }
        if self._beside is not None:
            files[self.objective.beside_called] = self._beside.tensors()
        if self._since:  # stopped between two marks: the next tick speaks of these items too
            loss, noise = (torch.cat(column) for column in zip(*self._since, strict=True))
            files["since"] = {"loss": loss, "noise": noise, "norms": torch.tensor(self._read)}
        counts = {"skipped": self.skipped, "undefined": self.undefined, "failures": self._failures}
        state = {"seed": self.config.seed, **counts, **self._setting()}
        self._last = checkpoint.write(folder, self.items, files, state)
        checkpoint.prune(folder, self.config.keep, self.config.milestone_every)
        return self._last

    def snapshot(self, folder: Path) -> Path:
        """The tracked averages as they stand, in half precision, from which others are made after training."""
        widths = [str(Power(width)) for width in posthoc.WIDTHS]
        parts = {f"ema-{name}": posthoc.half(self._averages.named(name)) for name in widths}
        return checkpoint.write(folder, self.items, parts, {"seed": self.config.seed})

    def restore(self, found: Checkpoint) -> None:
        """Takes up training where the checkpoint left it. In the same setting, bit by bit as if it had not stopped."""
        if found.number("seed") != self.config.seed:
            raise UserError(f"{found.path} was trained with seed {found.state['seed']}, not {self.config.seed}")
        here = self._setting()
        changed = [f"{k} {found.state.get(k)} → {v}" for k, v in here.items() if found.state.get(k) != v]
        if changed:
            warnings.warn(f"resumed in another setting, so bits may differ: {', '.join(changed)}", stacklevel=2)
        fit(self.denoiser.net.state_dict(), found.tensors("net"), found.path)
        self._optimiser.load(found.tensors("optimiser"), found.path)
        for name in list(self._averages.vectors):
            if name not in self._averages.nets and f"ema-{name}.safetensors" not in found.state["files"]:
                self._averages.forget(name)  # a run from before there were snapshots goes on without
                self._snapshots = ()
            else:
                fit(self._average(name), found.tensors(f"ema-{name}"), found.path)
        if self._beside is not None:
            self._beside.load(found.tensors(self.objective.beside_called), found.path)
        self.items, self.skipped, self._failures = found.items, found.number("skipped"), found.number("failures")
        self.undefined = found.number("undefined") if "undefined" in found.state else 0  # older versions did not count
        self._last = found.path
        self._since, self._norms, self._lost, self._read = [], [], [], []
        if "since.safetensors" in found.state["files"]:
            since = found.tensors("since")
            alike(("loss", "noise", "norms"), since, found.path)
            self._since = [(since["loss"].to(self._flat.vector.device), since["noise"].to(self._flat.vector.device))]
            self._read = since["norms"].tolist()

    def _made_beside(self) -> torch.nn.Module | None:
        """A fresh network to train beside, its first weights a function of the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rng.key(self.config.seed, "beside") >> 1)
            return self.objective.beside(_net(self.denoiser.net))

    def _average(self, name: str) -> dict[str, Tensor]:
        """An average as a network's state; its parameters are the average's own, to be written to."""
        net = self._averages.nets.get(name)
        return {**self.denoiser.net.state_dict(), **self._averages.named(name)} if net is None else net.state_dict()

    def _marks(self, before: int) -> dict[str, bool]:
        """Which marks lie between the items seen before the step and now."""
        config = self.config
        every = {
            "log": config.log_every,
            "validate": config.validate_every,
            "sample": config.sample_every,
            "checkpoint": config.checkpoint_every,
        }
        end = self.items >= config.items
        passed = {k: bool(n) and (end or self.items // n > before // n) for k, n in every.items()}
        self._marked = any(passed.values())  # a stop, a checkpoint that was owed, a snapshot: these end no interval
        passed["checkpoint"] |= end or self._stopped or self._owed
        passed["snapshot"] = not end and any(before < mark <= self.items for mark in self._snapshots)
        return {**passed, "end": end}

    def _tick(self, marks: dict[str, bool], speed: float) -> Tick:
        self._look()
        if self._failures and not (marks["end"] or self._stopped):
            marks = {**marks, "checkpoint": False}  # what may be about to diverge replaces nothing: the next sound step
        values, noise = (torch.cat(column).tolist() for column in zip(*self._since, strict=True))
        norms = np.asarray(self._read)
        if self._marked:
            self._since, self._read = [], []
        values, noise, norms = np.asarray(values), np.asarray(noise), norms[np.isfinite(norms)]
        fine = np.isfinite(values)
        values, bins = values[fine], np.clip(np.digitize(noise[fine], BINS) - 1, 0, len(BINS) - 2)
        held = np.bincount(bins, minlength=len(BINS) - 1)
        sums = np.bincount(bins, values, minlength=len(BINS) - 1)
        return Tick(
            self.items,
            float(values.mean()) if len(values) else float("nan"),
            float(norms.mean()) if len(norms) else float("nan"),
            self.config.rate(self.items - self.config.batch),
            speed,
            self.skipped,
            self.undefined,
            ((BINS[:-1] + BINS[1:]) / 2)[held > 0].tolist(),
            (sums[held > 0] / held[held > 0]).tolist(),
            **marks,
        )

    def _look(self) -> None:
        """Reads the norms, and with them the device, which is else left to run ahead; counts the steps skipped."""
        new: list[float] = torch.stack(self._norms).tolist() if self._norms else []
        self.undefined += int(torch.stack(self._lost).sum()) if self._lost else 0
        self._norms, self._lost = [], []
        self._read += new
        for norm in new:
            self._failures = 0 if np.isfinite(norm) else self._failures + 1
            self.skipped += int(not np.isfinite(norm))
            if self._failures >= PATIENCE:
                raise self._diverged(f"the gradient was not finite for {PATIENCE} steps in a row")

    def _diverged(self, what: str) -> Diverged:
        last = f"the last checkpoint is {self._last}" if self._last else "there is no checkpoint yet"
        return Diverged(f"{what}, at {self.items} items: {last}; lower train.lr or train.clip, or train in float32")

    def _with_nulls(self, cond: Mapping[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        """Conditions with a share replaced by their nulls, each by itself (Ho & Salimans, 2021) and all at once."""
        given, together = dict(cond), self.config.drop_all
        silent = draws.uniform("drop all") < together if together else False
        for name, null in self._nulls.items():
            share = self._drops.get(name, 0)
            if (share or together) and name in given:
                alone = draws.uniform(f"drop {name}") < share if share else False
                leaf, dropped = given[name], send(torch.from_numpy(alone | silent), given[name].device)
                null = null.to(leaf.dtype) if isinstance(null, Tensor) else leaf.new_tensor(null)
                given[name] = torch.where(align(dropped, leaf), null, leaf)
        return given

    @contextmanager
    def _dropout(self, items: int) -> Generator[None]:
        """Dropout draws from torch's own generator: seeded for the step, and left as it was."""
        if not self._random:
            yield
            return
        device = self._flat.vector.device
        with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
            torch.manual_seed(rng.key(self.config.seed, "dropout", items) >> 1)
            yield

    def _autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        if self.config.precision == "float32":
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16)

    def _setting(self) -> dict[str, Any]:
        """What the bits of a training depend on beside its recipe."""
        return {
            "precision": self.config.precision,
            "device": self._flat.vector.device.type,
            "threads": torch.get_num_threads(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "machine": platform.machine(),
        }


def _rate(items: int, seconds: float) -> float:
    """Items a second; not a number where the clock stood still or ran back."""
    return items / seconds if seconds > 0 else float("nan")


def _net(net: Any) -> Net:
    assert isinstance(net, Net)
    return net


__all__ = ["BINS", "PATIENCE", "Diverged", "Tick", "Trainer"]
