"""A picture made again from what it says of itself: the run by its weights' hash, the plan, the seed, the bits."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from unnoise import run as runs
from unnoise.config import UserError
from unnoise.folder import CHECKPOINTS, RECIPE
from unnoise.loop import Engine, Job
from unnoise.restore import Known
from unnoise.run import Run
from unnoise.serve.order import WEIGHTED, order
from unnoise.serve.probe import where
from unnoise.serve.refusals import Refused
from unnoise.serve.schema import JobRequest
from unnoise.serve.settings import Settings
from unnoise.serve.uploads import digest
from unnoise.train import checkpoint, fit

# What a picture says beside the options of its sampler.
NAMES = (
    *("run", "weights", "bits", "seed", "seeds", "plan", "sampler", "steps", "grid", "guidance", "evaluations", "ema"),
    *("label", "text", "tell", "size", "image", "mask", "strength"),
)
UNKNOWN = ("start", "between", "seeds", "lora")  # what it was begun or drawn with that it does not tell in full
SIZES = (4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Found:
    """What came of it. differ: how many of the pixels, None where the sizes do; largest: by how much, of 255."""

    image: PIL.Image.Image
    run: Path
    weights: str
    pixels: int
    differ: int | None
    largest: int
    why: str

    @property
    def same(self) -> bool:
        """Whether every pixel is."""
        return self.differ == 0


def made_again(
    data: bytes,
    told: Mapping[str, Any],
    places: Iterable[Path],
    device: str,
    image: bytes | None = None,
    mask: bytes | None = None,
) -> Found:
    """A PNG's picture, drawn anew by what it has told of itself. Raises UserError that says why it cannot be.

    places: folders that may hold the run; image, mask: what it was begun with, where it says that there was something.
    """
    _check(told, image, mask)
    run = weights_of(str(told["weights"]), places, device, told.get("ema"))
    asked = JobRequest.model_construct(
        **{name: told.get(name) for name in ("sampler", "steps", "grid", "guidance", "label", "size", "strength")},
        options={name: value for name, value in told.items() if name not in NAMES},
        text=_one(told.get("text")), tell=_named(told.get("tell")),
    )  # fmt: skip
    if asked.sampler == "tuned":
        asked = asked.model_copy(update={"options": {"evaluations": asked.steps}, "steps": None})
    try:
        made = order(run, asked, [int(told["seed"])], image, mask, Settings(device=device))
    except Refused as error:
        raise UserError(error.message) from None
    if told.get("plan", made.plan.digest[:16]) != made.plan.digest[:16]:
        raise UserError(f"this version writes {asked.sampler} out in other numbers: the plan was {told['plan']}")
    guided = run.guided(asked.guidance if made.guides == WEIGHTED else made.guides)
    bits: Mapping[str, Any] = told.get("bits") or {}
    if isinstance(bits.get("threads"), int) and 0 < bits["threads"] <= 1024:
        torch.set_num_threads(bits["threads"])
    engine = Engine(Known(guided), 1, tuple(bits.get("sizes") or SIZES), device)
    cond = {name: leaf for name, leaf in made.cond.items() if name != "guidance"}
    x = engine.run(Job(made.plan, made.shape, made.seeds, cond, made.start))
    again = run.recipe.modality.show(x)[0]
    with PIL.Image.open(io.BytesIO(data)) as opened:
        was = np.asarray(opened.convert(again.mode)).astype(np.int64)
    now = np.asarray(again).astype(np.int64)
    pixels = again.width * again.height
    common = (again, run.folder, run.weights, pixels)
    if was.shape != now.shape:
        return Found(*common, None, 255, f"it has {was.shape[1]} by {was.shape[0]} pixels, not {again.width} by "
                     f"{again.height}")  # fmt: skip
    apart = np.abs(was - now).reshape(pixels, -1).max(1)
    return Found(*common, int((apart > 0).sum()), int(apart.max()), _why(bits, device))


def weights_of(sha256: str, places: Iterable[Path], device: str, ema: float | None = None) -> Run:
    """The run, among folders, one of whose checkpoints holds weights of this hash (or of its beginning), by them."""
    looked: list[str] = []
    for folder in dict.fromkeys(places):
        if not (folder / RECIPE).exists():
            continue
        looked.append(str(folder))
        run = runs.open(folder, device)
        for path in reversed(checkpoint.listed(folder / CHECKPOINTS)):
            if (name := _holds(path, sha256)) is not None:
                tensors = checkpoint.read(path).tensors(name)
                made = run.recipe.denoiser()
                fit(made.net.state_dict(), tensors, path)
                net = made.net.to(device).eval().requires_grad_(False)
                width = float(name.removeprefix("ema-")) if name != "net" else 0.0
                return replace(run, given=replace(made, net=net), width=width)
        if ema is not None and (other := run.averaged(ema)).weights.startswith(sha256):
            return other
    where_ = ", ".join(looked) or "nowhere"
    raise UserError(f"no run here holds the weights {sha256[:12]}: looked in {where_}; name its folder with --run")


def _holds(path: Path, sha256: str) -> str | None:
    """The name of the file of a checkpoint that has a hash, by what its manifest says."""
    try:
        files: Mapping[str, Any] = json.loads((path / checkpoint.MANIFEST).read_bytes())["files"]
        named = [name for name, entry in files.items() if str(entry["sha256"]).startswith(sha256)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return named[0].removesuffix(".safetensors") if named and len(sha256) >= 8 else None


def _check(told: Mapping[str, Any], image: bytes | None, mask: bytes | None) -> None:
    for name in UNKNOWN:
        if name in told and ("seed" not in told or name != "seeds"):
            raise UserError(f"it was drawn with '{name}', and one picture does not tell all that this took")
    for name in ("weights", "seed", "sampler"):
        if name not in told:
            raise UserError(f"it does not say its {name}: a picture of one sample does, of `serve` or `sample --each`")
    for name, data in (("image", image), ("mask", mask)):
        if name in told and data is None:
            raise UserError(f"it was drawn from a given {name} (SHA-256 {told[name]}...): give it with --{name}")
        if name in told and data is not None and digest(data) != told[name]:
            raise UserError(f"this is another {name}: it was {told[name]}..., and the one given is {digest(data)}...")
        if name not in told and data is not None:
            raise UserError(f"it was drawn without a given {name}")


def _one(text: str | Sequence[str] | None) -> str | None:
    """The prompt of one sample."""
    if text is None or isinstance(text, str):
        return text
    if len(text) != 1:
        raise UserError(f"it was drawn beside others of {len(text)} prompts, and does not say which was its own")
    return text[0]


def _named(tell: Mapping[str, Any] | Sequence[str] | None) -> dict[str, Any]:
    """What is told by name, also where it is written name=value, as on the command line."""
    if isinstance(tell, Mapping):
        return dict(tell)
    return {name: value for name, _, value in (word.partition("=") for word in tell or ())}


def _why(bits: Mapping[str, Any], device: str) -> str:
    """In what this machine differs from the one that drew it, as far as bits hang on that."""
    if not bits:
        return "it does not say what its bits depend on, and other batches round otherwise"
    here = {"device": where(device), "torch": torch.__version__, "threads": torch.get_num_threads()}
    other = [f"{name} {bits.get(name)}, here {value}" for name, value in here.items() if bits.get(name) != value]
    return f"it was drawn elsewhere: {'; '.join(other)}" if other else "the same machine should have drawn it alike"


__all__ = ["Found", "made_again", "weights_of"]
