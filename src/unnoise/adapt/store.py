"""Adapters on the disk: one safetensors file each, which for LoRA is the file that peft and diffusers read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from unnoise import files
from unnoise.adapt.lora import A, B, Lora
from unnoise.adapt.part import Part
from unnoise.config import UserError, choose
from unnoise.nets import Net
from unnoise.tensor import Tensor

FOLDER, FILE, CONFIG = "adapter", "adapter_model.safetensors", "adapter_config.json"  # as peft names them
DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
PREFIXES = ("base_model.model.", "unet.", "transformer.")  # of peft, and of diffusers for each kind of network
PEFT, DIFFUSERS = PREFIXES[:2]
OLDER = {
    ".lora.down.weight": A,
    ".lora.up.weight": B,
    ".lora_down.weight": A,
    ".lora_up.weight": B,
    ".lora_A.default.weight": A,
    ".lora_B.default.weight": B,
}


@dataclass(frozen=True)
class Stored:
    """What a file holds."""

    path: Path
    kind: str
    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any]
    base: str  # SHA-256 of the weights that it was trained around; "" where the file does not say

    def part(self, base: Net, kinds: Mapping[str, type[Part]]) -> Part:
        """The part, around a network of the kind that it was trained around; UserError where it does not fit."""
        made = choose(f"kind of adapter, of {self.path},", self.kind, kinds)
        if self.kind != Lora.kind:
            return made.stored(base, self.tensors, self.settings, self.path)
        alpha = self.settings.get("alpha")
        tensors, alphas = dict(self.tensors), dict[str, float]()
        layers = {name.removesuffix(A) for name in tensors if name.endswith(A)}
        for name in [name for name in tensors if name.endswith(".alpha")]:
            alphas[name.removesuffix(".alpha")] = float(tensors.pop(name))
        if alpha is not None:
            alphas = {**dict.fromkeys(layers, float(alpha)), **alphas}
        return Lora.of(base, tensors, alphas, self.path)


def write(place: Path, part: Part, base: str) -> Path:
    """Writes a part: a folder that peft reads as it is, or one file where `place` ends in .safetensors."""
    single = place.suffix == ".safetensors"
    config = _config(part.rank, part.alpha, part.dropout, sorted(part.at)) if isinstance(part, Lora) else None
    path = place if single else place / FILE
    metadata = {"format": "pt", "kind": part.kind, "settings": json.dumps(dict(part.settings)), "base": base}
    if config is not None:  # what diffusers reads beside the weights
        metadata["lora_adapter_metadata"] = _said(config, PEFT)
    held = part.tensors() if isinstance(part, Lora) else part.state_dict()
    prefix = PEFT if isinstance(part, Lora) else ""
    parts = {prefix + name: tensor.detach().cpu().contiguous() for name, tensor in held.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    files.put(path, save(parts, metadata))
    if config is not None and not single:
        files.put(place / CONFIG, json.dumps(config, indent=2) + "\n")
    return path


def renamed(place: Path, out: Path, to: str) -> Path:
    """A LoRA of ours or another's, written under the names of peft or of diffusers."""
    found = read(place)
    if found.kind != Lora.kind:
        raise UserError(f"{found.path} is of the kind '{found.kind}', which other libraries do not read")
    path = out if out.suffix == ".safetensors" else out / (FILE if to == "peft" else DIFFUSERS_FILE)
    layers = sorted({name.removesuffix(A) for name in found.tensors if name.endswith(A)})
    ranks = {len(found.tensors[layer + A]) for layer in layers}
    config = _config(max(ranks), float(found.settings.get("alpha") or max(ranks)), 0.0, layers)
    prefix = PEFT if to == "peft" else DIFFUSERS
    metadata = {"format": "pt", "lora_adapter_metadata": _said(config, prefix)}
    path.parent.mkdir(parents=True, exist_ok=True)
    files.put(path, save({prefix + name: tensor.contiguous() for name, tensor in found.tensors.items()}, metadata))
    if to == "peft" and out.suffix != ".safetensors":
        files.put(out / CONFIG, json.dumps(config, indent=2) + "\n")
    return path


def read(place: Path) -> Stored:
    """The adapter in a file, in a folder as peft's, or in the folder of the run that trained it."""
    at = (
        (place, place / FILE, place / FOLDER / FILE, place / DIFFUSERS_FILE)
        if place.suffix != ".safetensors"
        else (place,)
    )
    path = next((path for path in at if path.is_file()), None)
    if path is None:
        raise UserError(f"{place} is no adapter: expected a .safetensors file, or a folder with {FILE} or {FOLDER}/")
    try:
        with safe_open(path, "pt") as opened:
            told: dict[str, str] = opened.metadata() or {}
            tensors: dict[str, Tensor] = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is no safetensors file: {' '.join(str(error).split())}") from None
    kind = told.get("kind", Lora.kind)
    if kind != Lora.kind:
        return Stored(path, kind, tensors, _settings(told, path), told.get("base", ""))
    named = {_plain(name): tensor for name, tensor in tensors.items()}
    if not any(name.endswith(A) for name in named):
        raise UserError(f"{path} is no adapter: it has no weights named lora_A and lora_B")
    return Stored(path, kind, named, _settings(told, path), told.get("base", ""))


def _settings(told: Mapping[str, str], path: Path) -> dict[str, Any]:
    """The options of an adapter: our own, or of what peft or diffusers wrote, its alpha."""
    try:
        if "settings" in told:
            return dict(json.loads(told["settings"]))
        if "lora_adapter_metadata" in told:
            found = {key.rpartition(".")[2]: value for key, value in json.loads(told["lora_adapter_metadata"]).items()}
        else:
            beside = path.parent / CONFIG
            found = json.loads(beside.read_bytes()) if path.name == FILE and beside.is_file() else {}
    except ValueError:
        raise UserError(f"{path} is damaged: what it says of itself is not JSON") from None
    return {"alpha": float(found["lora_alpha"])} if "lora_alpha" in found else {}


def _plain(name: str) -> str:
    """The name of a tensor without another library's prefix, its ending as peft's."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    for old, new in OLDER.items():
        name = name.removesuffix(old) + new if name.endswith(old) else name
    return name


def _said(config: Mapping[str, Any], prefix: str) -> str:
    """What diffusers reads beside the weights: the options under the name of the network."""
    return json.dumps({f"{prefix.rstrip('.')}.{key}": value for key, value in config.items()}, sort_keys=True)


def _config(rank: int, alpha: float, dropout: float, layers: list[str]) -> dict[str, Any]:
    """What peft must know to make it again."""
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": dropout,
        "target_modules": layers,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }


__all__ = ["CONFIG", "DIFFUSERS", "FILE", "FOLDER", "PEFT", "Stored", "read", "renamed", "write"]
