"""What a run's folder holds: the recipe, facts of the data, weights and their averages, the record of the training."""

import hashlib
import json
import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml
from safetensors import SafetensorError
from safetensors.torch import load, save

from unnoise.adapt import Adapted
from unnoise.config import UserError
from unnoise.denoise import NetDenoiser
from unnoise.recipe import Facts, Recipe, resolve
from unnoise.tensor import Tensor
from unnoise.train import AtLevels, HeldOut, checkpoint, fit, history, posthoc
from unnoise.train.checkpoint import Checkpoint

RECIPE, FACTS, ORIGIN, METRICS = "recipe.yaml", "facts.json", "origin.json", "metrics.jsonl"
CLOCK = "clock.jsonl"  # how long training took, tick by tick: no fact of the training, so no part of its record
BASE, PRIOR = "base.safetensors", "prior.safetensors"  # of a part: the network that it is around, its samples
CHECKPOINTS, SNAPSHOTS = "checkpoints", "snapshots"
COMPARED = (0.02, 0.03, 0.05, 0.07, 0.1, 0.13, 0.16, 0.2)  # widths of averages, where they are compared
BATCH = 8192  # numbers that a batch of samples holds, about: a processor's caches take them

Own = TypeVar("Own", bound="Folder")


@dataclass(frozen=True)
class Folder:
    """A folder with its recipe, and what training left in it; all is read when it is first asked for."""

    folder: Path
    recipe: Recipe
    device: str = "cpu"
    given: NetDenoiser | None = None  # taken instead of what the folder holds: a network still in training
    width: float | None = None  # of the weights' average that is asked, 0: the last weights; None: train.ema's first

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The newest complete checkpoint."""
        found = checkpoint.newest(self.folder / CHECKPOINTS)
        if found is None:
            raise UserError(f"{self.folder} has no complete checkpoint yet: train it with --resume")
        return found

    @cached_property
    def denoiser(self) -> NetDenoiser:
        """The trained denoiser: the first average of the weights, or the weights where there is none."""
        if self.given is not None:
            return self.given
        made = self.fresh()
        fit(made.net.state_dict(), self.tensors, self.checkpoint.path)
        return replace(made, net=made.net.to(self.device).eval().requires_grad_(False))

    def fresh(self) -> NetDenoiser:
        """The network as the recipe makes it; where a part is trained, around the base that the folder holds."""
        made = self.recipe.denoiser()
        if isinstance(made.net, Adapted):
            fit(made.net.base.state_dict(), _held(self.folder / BASE), self.folder / BASE)
        return made

    @property
    def weights(self) -> str:
        """SHA-256 of the weights that are sampled from, and of the parts that were put around them."""
        if self.given is not None and isinstance(self.given.net, Adapted) and not self.recipe.adapts:
            around = save(self.given.net.state_dict())
            return hashlib.sha256(replace(self, given=None).weights.encode() + around).hexdigest()
        stored = self.checkpoint.state["files"].get(f"{self._average}.safetensors")
        return stored["sha256"] if stored else hashlib.sha256(save(self.tensors)).hexdigest()

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The weights that are sampled from, by name."""
        return self._tensors[0]

    def averaged(self: Own, width: float | int) -> Own:
        """The run with another average of its weights, of any width that its snapshots reach; 0: the last weights.

        width: the deviation of the average's profile as a share of the items seen (see train.ema.Power). What was
        tracked in training is taken as it is, any other is made of the snapshots.
        """
        other = replace(self, width=float(width), given=None)
        _ = other._tensors  # what cannot be made is told now
        return other

    @property
    def off(self) -> float:
        """By how much the profile of its average differs from the one named, in L²; 0 where it was tracked."""
        return self._tensors[1]

    @property
    def average(self) -> str:
        """Which average of the weights is asked, in words."""
        width = float(self._average.removeprefix("ema-")) if self._average != "net" else 0.0
        made = f", made of snapshots: its profile is off by {100 * self.off:.2g} %" if self.off else ""
        return f"width {width:g}{made}" if width else "none: the last weights"

    @property
    def widths(self) -> list[float]:
        """Widths to compare: those that were tracked, and some between them and beyond that the snapshots reach."""
        there = posthoc.kept(self.checkpoint, self.folder / SNAPSHOTS)
        tracked = {profile.width for profile in there if profile.items == self.checkpoint.items}
        if len(there) <= len(tracked):
            return sorted(tracked)
        least, most = posthoc.reach(list(there), self.checkpoint.items)
        return sorted({*tracked, *(width for width in COMPARED if least <= width <= most)})

    @cached_property
    def _tensors(self) -> tuple[dict[str, Tensor], float]:
        """The weights that are asked, and by how much their average's profile is off."""
        if f"{self._average}.safetensors" in self.checkpoint.state["files"] or not self.width:
            return self.checkpoint.tensors(self._average), 0.0
        return posthoc.average(self.checkpoint, self.folder / SNAPSHOTS, self.width)

    @property
    def _average(self) -> str:
        averages = self.recipe.train.ema if self.width is None else (self.width,) if self.width else ()
        return f"ema-{averages[0]:g}" if averages else "net"

    def held_out(self) -> HeldOut:
        """What asks a denoiser for its loss on the validation part, by noise level, with the same draws each time."""
        return held_out(self.recipe, self.device)

    @property
    def batch(self) -> int:
        """Samples under way at a time: a power of two, the more the smaller they are."""
        return 1 << int(np.clip(BATCH // math.prod(self.recipe.shape), 64, 4096)).bit_length() - 1

    @property
    def origin(self) -> dict[str, Any] | None:
        """Whose weights a fine-tuned run began with, and which of them it could not take."""
        path = self.folder / ORIGIN
        try:
            return json.loads(path.read_bytes()) if path.exists() else None
        except ValueError:
            raise UserError(f"{path} is damaged: it says of whose weights the run began, and is not JSON") from None

    @property
    def history(self) -> list[dict[str, Any]]:
        """What training said of itself: the records of metrics.jsonl."""
        return history.read(self.folder / METRICS)

    @property
    def clock(self) -> list[tuple[int, float]]:
        """Items seen, and the seconds that training them took, at every tick; empty where no clock was kept."""
        found, seconds = [(0, 0.0)], 0.0
        for record in history.read(self.folder / CLOCK):
            seconds += record["seconds"] or 0.0
            found.append((record["items"], seconds))
        return found[1:]


def _held(path: Path) -> dict[str, Tensor]:
    """The tensors of a file beside the checkpoints."""
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


def held_out(recipe: Recipe, device: str = "cpu", part: str = "validation", **options: int) -> HeldOut:
    """The held-out loss of a recipe on a part of its data, for any denoiser of its shape; options as of HeldOut."""
    if not isinstance(recipe.objective, AtLevels):
        raise UserError(f"{recipe.name} is not trained by regression, and no other loss is held out")
    items = recipe.telling.items(recipe.source.split(part))
    return HeldOut(
        recipe.objective,
        items,
        recipe.modality.encode,
        **{"limit": recipe.train.validate_items, **options},
        device=device,
        truth=recipe.truth,
        made=recipe.made,
    )


def read(folder: Path) -> Recipe:
    """The recipe of a run, with the defaults of what was added since it was started."""
    path = folder / RECIPE
    try:
        nodes = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        nodes = None
    if not isinstance(nodes, dict):
        raise UserError(f"{path} is damaged: it holds no recipe")
    return resolve(str(nodes.get("name", folder.name)), nodes, facts(folder))


def facts(folder: Path) -> Facts | None:
    """What a run wrote down of its data at its first start; an older run did not."""
    path = folder / FACTS
    if not path.exists():
        return None
    try:
        told = json.loads(path.read_bytes())
        return Facts(
            tuple(told["shape"]),
            tuple(told["classes"]),
            dict(told["nulls"]),
            int(told["items"]),
            str(told["digest"]),
            dict(told.get("conditions", {})),  # an older run knows of its label alone
        )
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged: with the data at hand, remove it, and they are asked instead") from None


__all__ = ["Folder", "facts", "held_out", "read"]
