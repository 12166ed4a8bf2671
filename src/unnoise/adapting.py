"""Adapting a trained run: the recipe of a part around its frozen network, and the run with parts that were trained."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from unnoise import files
from unnoise.adapt import PARTS, Adapted, ImagePrompt, Part
from unnoise.adapt.adapted import plain
from unnoise.adapt.store import FILE, FOLDER
from unnoise.adapt.store import read as read_adapter
from unnoise.config import UserError, nearest
from unnoise.denoise import NetDenoiser
from unnoise.folder import CHECKPOINTS, FACTS, ORIGIN, RECIPE, Folder
from unnoise.recipe import Recipe, override, resolve
from unnoise.tensor import Tensor
from unnoise.train import Regression, aims, checkpoint

LEVEL = 12.0  # the least and the largest log(sigma/alpha) that a network hears
OURS = ("data", "prior", "train")  # nodes that the new recipe says; all others are the base's
FIXED = ("modality", "conditions", "augment", "process", "net", "target", "variance")  # and these cannot be changed


def recipe_of(
    new: Recipe,
    base: Folder,
    node: Mapping[str, Any],
    prior: Mapping[str, Any] | None = None,
    changes: Sequence[str] = (),
) -> Recipe:
    """The recipe that trains a part on the new recipe's data around the base's network, which it takes as it is.

    node: of the part, such as {"kind": "lora", "rank": 8}; changes: overrides in words, of the new recipe's nodes or of
    the base's objective and sampling. UserError where the data are not as the base's.
    """
    old = base.recipe
    if old.nodes["adapt"]["kind"] != "nothing":
        raise UserError(
            f"{base.folder} is itself a part around {(base.origin or {}).get('run', 'another run')}: adapt that one, "
            "or merge it first, with unnoise adapt merge"
        )
    if not isinstance(old.objective, Regression):
        raise UserError(f"{base.folder} is not trained by regression, so no part is trained around it")
    for change in changes:
        if change.partition(".")[0].partition("=")[0].strip() in FIXED:
            raise UserError(f"{change} changes what is the base's, {base.folder}, and stays as it is")
    if new.source.raw != old.modality.name:
        raise UserError(f"{new.name} is of the modality '{new.source.raw}', and {base.folder} of '{old.modality.name}'")
    nodes = {**old.nodes, **{key: new.nodes[key] for key in OURS}, "adapt": dict(node)}
    nodes["objective"] = aims.asked(nodes["objective"])  # what a part is shown differs from item to item
    nodes = override(nodes, [c for c in changes if c.partition(".")[0].partition("=")[0].strip() not in OURS])
    if prior is not None:
        nodes["prior"] = dict(prior)
    name = new.name if new.name != old.name else f"{old.name}-{node['kind']}"
    made = resolve(name, nodes, old.known or old.facts())
    raw, _ = made.source.split("train").take([0])
    shape = tuple(made.modality.encode(raw).shape[1:])
    if shape != old.shape:
        raise UserError(f"{new.name} has items of shape {shape}, and {base.folder} draws {old.shape}")
    return made


def around(run: Folder, parts: Mapping[str | Path, Any]) -> tuple[NetDenoiser, dict[str, Tensor]]:
    """A run's denoiser with trained parts around its network, and the dials that are told of each.

    Of each path a weight, one number for all samples or one each; or a mapping of `weight` and, by the part's kind:
    control: `hint`, a picture (or one each) of which the hint is made, `interval`, from which to which noise
    sigma/alpha it acts; image: `prompt`, a picture or several, of which `weight` may be one each.
    """
    base, held = run.denoiser.net, dict[str, Part]()
    if isinstance(base, Adapted):
        base, held = base.base, dict(base.named)
    base = plain(base)
    made, dials = dict(held), dict[str, Tensor]()
    for path, asked in parts.items():
        name, stored = named(path), read_adapter(Path(path))
        if name in made:
            raise UserError(f"two parts are called '{name}': rename the file or the folder of one")
        try:
            made[name] = stored.part(base, PARTS)
        except UserError as error:
            raise UserError(f"{error}; the network is that of {run.folder}") from None
        told = dict(asked) if isinstance(asked, Mapping) else {"weight": asked}
        weight = torch.as_tensor(told.pop("weight", 1.0), dtype=torch.float32)
        several = stored.kind == "image" and isinstance(told.get("prompt"), (list, tuple))
        dials[f"{stored.kind}:{name}"] = weight.unsqueeze(0) if several and weight.ndim == 1 else weight
        for leaf, value in _told(made[name], told, run, path).items():
            dials[f"{leaf}:{name}"] = value
    net = Adapted(base, made).to(run.device).eval().requires_grad_(False)
    return replace(run.denoiser, net=net), dials


def _told(part: Part, told: Mapping[str, Any], run: Folder, path: object) -> dict[str, Tensor]:
    """The leaves of what is told to a part beside its weight, (1, ...) for all samples or (n, ...)."""
    leaves: dict[str, Tensor] = {}
    known = {"control": ("hint", "interval"), "image": ("prompt",)}.get(part.kind, ())
    for name, value in told.items():
        if name not in known:
            raise UserError(
                f"{path} is of the kind '{part.kind}' and has no '{name}'; {nearest(name, ['weight', *known])}"
            )
        if name == "interval":
            low, high = (float(edge) for edge in value)
            if not 0 <= low < high:
                raise UserError(f"interval of {path} is two rising levels sigma/alpha, got {low:g} and {high:g}")
            levels = [math.log(edge) if 0 < edge < math.inf else end for edge, end in ((low, -LEVEL), (high, LEVEL))]
            leaves["levels"] = torch.tensor([levels], dtype=torch.float32)
        elif isinstance(value, Tensor):
            least = len(run.recipe.shape) + (name == "prompt")
            leaves[name] = value if value.ndim > least else value.unsqueeze(0)
            part.check(leaves[name], run.recipe.shape[1:], str(path))
        else:
            leaves[name] = part.read(value, run.recipe.modality)
    if "hint" in known and "hint" not in told and getattr(part, "of", None) != "data":
        raise UserError(f"{path} is controlled by a picture: give it as hint")
    if "prompt" in known and "prompt" not in told:
        raise UserError(f"{path} is prompted by a picture: give it as prompt")
    return leaves


def unprompted(dials: Iterable[str]) -> dict[str, float]:
    """The dials that are 0 where a model is told nothing: guidance leads towards a picture as it does towards words."""
    return {name: 0.0 for name in dials if name.startswith(f"{ImagePrompt.kind}:")}


def merged(run: Folder, dials: Mapping[str, Tensor], out: Path) -> Path:
    """A new run in the folder `out`: the network of a run with the LoRAs around it added to its weights.

    dials: "lora:<name>" (), how much of each; silent: 1. The new run holds one checkpoint, and in origin.json what it
    was made of; the base stays as it is, to the bit.
    """
    if (out / RECIPE).exists():
        raise UserError(f"{out} holds a run already: name another folder with --out")
    net = run.denoiser.net
    if not isinstance(net, Adapted):
        raise UserError(f"{run.folder} has no LoRA around it to merge: name one, as PATH=WEIGHT")
    told = {name.removeprefix("lora:"): leaf for name, leaf in dials.items() if name.startswith("lora:")}
    if any(leaf.numel() != 1 for leaf in told.values()):
        raise UserError("weights are merged for all samples alike: give each LoRA one")
    shares = {name: float(leaf) for name, leaf in told.items()}
    made, recipe = net.merged(shares), run.recipe
    train = {**recipe.nodes["train"], "ema": [], "snapshots": 0}  # of these weights there is no history
    plain_recipe = resolve(recipe.name, {**recipe.nodes, "adapt": "nothing", "train": train}, recipe.known)
    told = {"run": str(run.folder.resolve()), "items": run.checkpoint.items, "average": run.average}
    each = {name: shares.get(name, net.weights[name]) for name, _ in net.named}
    summary = "weights merged with " + ", ".join(f"{weight:g} of {name}" for name, weight in each.items())
    record = {**told, "weights": run.weights, "merged": each, "summary": summary}
    checkpoint.write(out / CHECKPOINTS, run.checkpoint.items, {"net": made.state_dict()}, {"seed": recipe.train.seed})
    files.put(out / ORIGIN, json.dumps(record, indent=2) + "\n")
    files.put(out / FACTS, json.dumps(asdict(recipe.known or recipe.facts()), indent=2) + "\n")
    files.put(out / RECIPE, plain_recipe.text())
    return out


def named(path: str | Path) -> str:
    """What a part is called: its run's folder, or its file."""
    path = Path(path)
    if path.name == FILE:
        path = path.parent
    return (path.parent if path.name == FOLDER else path).stem


__all__ = ["around", "merged", "named", "recipe_of", "unprompted"]
