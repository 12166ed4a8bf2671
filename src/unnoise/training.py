"""Training a recipe in a run folder: what starts it, what it leaves there, and what a resume insists on."""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as unpack
from safetensors.torch import save

from unnoise import files
from unnoise.adapt import Adapted, Preserved, store
from unnoise.augment import Nothing
from unnoise.config import UserError, nearest
from unnoise.folder import (
    BASE,
    CHECKPOINTS,
    CLOCK,
    FACTS,
    METRICS,
    ORIGIN,
    PRIOR,
    RECIPE,
    SNAPSHOTS,
    facts,
    held_out,
    read,
)
from unnoise.recipe import Facts, Recipe, load
from unnoise.run import Run
from unnoise.run import open as open_run
from unnoise.tensor import Tensor
from unnoise.train import (
    AtLevels,
    Augmented,
    ByLevel,
    Loader,
    Shown,
    Tick,
    Trainer,
    checkpoint,
    feed,
    history,
    lock,
    posthoc,
    trackers,
)
from unnoise.train import fit as fit_base

BOOKS = ("workers", "log_every", "validate_every", "sample_every", "checkpoint_every", "keep", "milestone_every")


class Training:
    """A run under training: the trainer, and the files that it leaves. `ticks` does the work; `stop` ends it well."""

    def __init__(
        self,
        recipe: Recipe,
        folder: str | Path,
        resume: bool = False,
        device: str = "cpu",
        start_from: str | Path | Run | None = None,
        track: Sequence[str] = (),
    ):
        """start_from: a run whose weights are begun with, as many as fit; a resume needs it no more.

        track: names of train.trackers.TRACKERS, which are told what metrics.jsonl is told.
        Raises UserError where a run stands already without `resume`, or where its recipe is another.
        """
        self.recipe, self.folder, self.device = recipe, Path(folder), device
        self.track = trackers.check(track)
        stands = (self.folder / RECIPE).exists()
        if stands and not resume:
            raise UserError(
                f"{self.folder} holds a run already: go on with --resume, or name another folder with --out"
            )
        self.facts = recipe.facts()
        if stands:
            same(recipe, self.facts, self.folder)
        _refuse_orphans(self.folder)
        if start_from is None and not stands and recipe.adapts:
            raise UserError(f"{recipe.name} trains a part around a trained network: say whose, with --from RUN")
        standing = (self.folder / BASE).exists() and stands
        denoiser = self.run().fresh() if standing else recipe.denoiser()
        denoiser = replace(denoiser, net=denoiser.net.to(device))
        source, modality = recipe.source, recipe.modality
        items = recipe.telling.items(source.split("train"))
        _check_hints(recipe, items.cond)
        batches = feed(items, modality.encode, recipe.train.seed)
        if not isinstance(recipe.augment, Nothing):
            batches = Augmented(batches, recipe.augment, recipe.train.seed)
        self._prior = _prior(recipe, self.folder, stands, start_from)
        if self._prior:
            told = {k: v for k, v in self._prior.items() if k != "x0"}
            drawn, share = self._prior["x0"], recipe.prior.share
            batches = Preserved(batches, drawn, told, recipe.nulls, share, recipe.train.seed)
        if recipe.made is not None:  # after the augmentation: of what the network is to draw
            batches = Shown(batches, recipe.made, recipe.train.seed)
        objective = recipe.objective.knowing(recipe.process, items, modality.encode, batches)
        self._batches = Loader(batches, recipe.train.workers, recipe.train.items, device)
        asks = isinstance(recipe.objective, AtLevels) and recipe.train.validate_every
        asked = held_out(recipe, device) if asks else None
        self.held_out: dict[str, ByLevel] = {}  # the last held-out loss of each average
        config = replace(recipe.train, drop=recipe.drops)
        self.trainer = Trainer(denoiser, objective, self._batches, config, recipe.nulls, asked)
        found = checkpoint.newest(self.folder / CHECKPOINTS) if stands else None
        self.origin = self.run().origin if stands else None  # where its weights came from, if from another run
        if start_from is not None and stands and found is not None:
            self._began(start_from)
        elif (begun := start_from or (self.origin or {}).get("run")) is not None and found is None:
            self.origin = self._begin(begun)
        if found is not None:
            self.trainer.restore(found)

    @property
    def done(self) -> bool:
        """Whether all items were seen."""
        return self.trainer.items >= self.recipe.train.items

    def stop(self) -> None:
        """Asks `ticks` to save and end after the present step."""
        self.trainer.stop()

    def ticks(self, draw: Callable[[Tick], object] | None = None) -> Generator[Tick]:
        """Trains, keeps checkpoints and history, and yields each tick after its files are written.

        draw: called at the marks of `sample_every`, before the checkpoint of its tick: whatever goes on from there
        has what it wrote.
        """
        if self.done:
            return
        with lock(self.folder), self._batches, ExitStack() as stack:
            for place in (self.folder, self.folder / CHECKPOINTS, self.folder / SNAPSHOTS):
                files.sweep(place)
            if any(int(path.name) > self.trainer.items for path in checkpoint.listed(self.folder / CHECKPOINTS)):
                self._catch_up()
            if self.origin is not None and not self.trainer.items:  # first of all: a resume then needs no origin
                self.trainer.save(self.folder / CHECKPOINTS)
                _put(self.folder / ORIGIN, json.dumps(self.origin, indent=2) + "\n")
            elif not (self.folder / RECIPE).exists():  # what a start that was cut off may have left
                files.drop(self.folder / CHECKPOINTS / f"{0:012d}")
                (self.folder / ORIGIN).unlink(missing_ok=True)
            if not (self.folder / RECIPE).exists():
                for name, held in ((BASE, self._base()), (PRIOR, self._prior)):
                    if held:
                        files.put(self.folder / name, save(held))
            _put(self.folder / FACTS, json.dumps(asdict(self.facts), indent=2) + "\n")
            _put(self.folder / RECIPE, self.recipe.text())  # the last: now a run stands
            metrics, clock = self.folder / METRICS, self.folder / CLOCK
            for told in (metrics, clock):
                history.rewind(told, self.trainer.items)
            posthoc.rewind(self.folder / SNAPSHOTS, self.trainer.items)
            seen = self.trainer.items
            tracker = stack.enter_context(trackers.tracking(self.track, self._place()))
            for tick in self.trainer.run():
                # A file of its own: what metrics.jsonl says is the same on any machine.
                history.append(clock, {"items": tick.items, "seconds": (tick.items - seen) / tick.speed})
                seen = tick.items
                record: dict[str, Any] = tick.record() if tick.log else {"items": tick.items}
                if tick.validate:
                    self.held_out = self.trainer.validate()
                    record["held_out"] = {name: found.record() for name, found in self.held_out.items()}
                if len(record) > 1:
                    history.append(metrics, record)
                    tracker.log({**record, "speed": tick.speed})
                if tick.snapshot:  # before the checkpoint: whatever goes on from there has it
                    self.trainer.snapshot(self.folder / SNAPSHOTS)
                if tick.sample and draw is not None:
                    draw(tick)
                if tick.checkpoint:
                    self.trainer.save(self.folder / CHECKPOINTS)
                    self._leave_part()
                yield tick

    def _base(self) -> dict[str, Tensor]:
        """The frozen weights that a part is trained around; none where the network itself is trained."""
        net = self.trainer.denoiser.net
        return dict(net.base.state_dict()) if isinstance(net, Adapted) else {}

    def _leave_part(self) -> None:
        """Writes the part by itself, as it is sampled from, for other runs of the base to load."""
        net = self.trainer.best.net
        if isinstance(net, Adapted):
            store.write(self.folder / store.FOLDER, net.named[0][1], str((self.origin or {}).get("weights", "")))

    def _place(self) -> trackers.Place:
        return trackers.Place(self.folder, self.recipe.name, self.recipe.nodes, self.trainer.items)

    def _catch_up(self) -> None:
        """Takes up what another process has trained between our start and the lock."""
        _refuse_orphans(self.folder)
        same(self.recipe, self.facts, self.folder)
        found = checkpoint.newest(self.folder / CHECKPOINTS)
        if found is not None and found.items > self.trainer.items:
            self.trainer.restore(found)

    def _begin(self, start_from: str | Path | Run) -> dict[str, Any]:
        """Takes the weights of another run, and says what is to be written down of it."""
        given = start_from if isinstance(start_from, Run) else open_run(start_from)
        net = self.trainer.denoiser.net
        if isinstance(net, Adapted):
            fit_base(net.base.state_dict(), given.tensors, given.folder)
            net.begin()
            self.trainer.begin({})  # the averages begin with the part as it is
            part, whole = net.parameter_count(), sum(p.numel() for p in net.base.parameters())
            summary = f"the frozen network ({part:,} numbers are trained beside {whole:,})"
            told = {"run": str(given.folder.resolve()), "items": given.checkpoint.items, "average": given.average}
            return {**told, "weights": given.weights, "share": part / whole, "summary": summary}
        made = self.trainer.begin(given.tensors)
        if not made.taken:
            raise UserError(f"nothing of {given.folder} fits the network of {self.recipe.name}: {made.left[0]}")
        told = {"run": str(given.folder.resolve()), "items": given.checkpoint.items, "average": given.average}
        return {**told, "weights": given.weights, **made.record(), "summary": str(made)}

    def _began(self, start_from: str | Path | Run) -> None:
        """Refuses another origin than the one that a standing run has."""
        asked = (start_from.folder if isinstance(start_from, Run) else Path(start_from)).resolve()
        if self.origin is None or Path(self.origin["run"]) != asked:
            told = f"from {self.origin['run']}" if self.origin else "with weights of its own"
            raise UserError(f"{self.folder} was started {told}, not from {asked}: name another folder with --out")

    def run(self) -> Run:
        """The run as it stands on the disk."""
        return Run(self.folder, self.recipe, self.device)

    def now(self) -> Run:
        """The run with the weights as they stand in memory, to draw from while it trains."""
        best = self.trainer.best
        best.net.eval()
        return replace(self.run(), given=best)


def fit(
    recipe: str | Path | Recipe,
    out: str | Path | None = None,
    *overrides: str,
    resume: bool = False,
    device: str = "cpu",
    start_from: str | Path | Run | None = None,
    track: Sequence[str] = (),
) -> Run:
    """Trains a recipe to its end, in the folder `out` (runs/<name> if silent), and gives the run.

    start_from: a run to fine-tune, or its folder: its weights are begun with, as many as fit.
    track: trackers to tell of it: tensorboard, wandb, mlflow, trackio.
    """
    made = recipe if isinstance(recipe, Recipe) else load(recipe, overrides)
    training = Training(made, out or Path("runs") / made.name, resume, device, start_from, track)
    for _ in training.ticks():
        pass
    return training.run()


def _prior(recipe: Recipe, folder: Path, stands: bool, start_from: str | Path | Run | None) -> dict[str, Tensor]:
    """The samples of the base that are learned again, x0 and their conditions: drawn once, then the folder's."""
    if not recipe.prior.count or not recipe.prior.share:
        return {}
    if stands and (folder / PRIOR).exists():
        return unpack((folder / PRIOR).read_bytes())
    if start_from is None:
        raise UserError(f"{recipe.name}: prior: its samples are drawn from a run, which --from names")
    given = start_from if isinstance(start_from, Run) else open_run(start_from)
    if given.recipe.shape != recipe.shape or given.recipe.telling.told != recipe.telling.told:
        raise UserError(f"{given.folder} draws or is told otherwise than {recipe.name}: it can be no prior")
    seeds, classes = range(recipe.prior.count), given.recipe.classes
    label = [i % len(classes) for i in seeds] if classes and "label" in recipe.telling.told else None
    x0 = torch.cat([part.cpu() for part in given.batches(seeds, label=label)])
    return {"x0": x0.contiguous(), **{k: v.contiguous() for k, v in given.cond(len(x0), label).items()}}


def _check_hints(recipe: Recipe, told: Mapping[str, Any]) -> None:
    """Raises where a control branch is to see what the data do not give."""
    node = recipe.nodes["adapt"]
    if node["kind"] == "control" and node.get("of") == "data" and (leaf := node.get("leaf", "hint")) not in told:
        raise UserError(
            f"the data of {recipe.name} have no '{leaf}' for the branch to see; {nearest(leaf, sorted(told))}, by "
            "leaf=NAME; or what is made of the items themselves, such as --control outline"
        )


def _refuse_orphans(folder: Path) -> None:
    """Refuses a folder whose checkpoints have lost their recipe; one at item 0 is what a start cut off has left."""
    lost = [path for path in checkpoint.listed(folder / CHECKPOINTS) if int(path.name) > 0]
    if lost and not (folder / RECIPE).exists():
        raise UserError(
            f"{folder} has checkpoints but no {RECIPE}, so nobody knows what they are of: "
            "remove it, or name another folder with --out"
        )


def same(recipe: Recipe, here: Facts, folder: Path) -> None:
    """Refuses to go on with a recipe or data that train otherwise than the run was started, naming what differs."""
    told, other = facts(folder), "or name another folder with --out"
    known = told is not None and told.digest and here.digest
    old, new = (_leaves(json.loads(json.dumps(nodes))) for nodes in (read(folder).nodes, recipe.nodes))
    free = {f"train.{field}" for field in BOOKS}
    free |= {"data.path"} if known else set()  # the content counts, wherever it lies now
    free |= {f"conditions.{name}.{key}" for name in here.conditions for key in ("encoder", "download")}  # as told below
    for path in sorted({*old, *new} - free):
        if old.get(path) != new.get(path):
            raise UserError(
                f"{folder} was started with {path} = {old.get(path)}, now it is {new.get(path)}: "
                f"resume with the same recipe, {other}"
            )
    for name, own in here.conditions.items():
        was, now = (of.get("digest") for of in ((told or here).conditions.get(name) or {}, own))
        if was != now:
            raise UserError(
                f"{folder} was started with a text encoder for '{name}' whose identity is {str(was)[:12]}, now it is "
                f"{str(now)[:12]}: resume with the same encoder, {other}"
            )
    if told is not None and (told.digest != here.digest if known else told != replace(here, digest=told.digest)):
        counts = f" ({told.items:,} training items then, {here.items:,} now)" if told.items != here.items else ""
        raise UserError(f"the data have changed since {folder} was started{counts}: resume with the same data, {other}")


def _leaves(nodes: Any, path: str = "") -> dict[str, Any]:
    if isinstance(nodes, dict):
        return {k: v for key, node in nodes.items() for k, v in _leaves(node, f"{path}.{key}".lstrip(".")).items()}
    return {path: nodes}


def _put(path: Path, text: str) -> None:
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    files.put(path, text)


__all__ = ["Training", "fit", "same"]
