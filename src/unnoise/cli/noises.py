"""Noise as a file: what `unnoise invert` leaves, and `unnoise sample --start` takes."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as packed

from unnoise import files
from unnoise.config import UserError, nearest
from unnoise.loop import Adaptive
from unnoise.reading.paths import found
from unnoise.run import Run
from unnoise.samplers import Plan
from unnoise.tensor import Tensor

KINDS = (".safetensors", ".npy")
APART = 0.01  # of log(sigma/alpha), beyond which noise of one level is not taken for that of another


def save(path: Path, x: Tensor, settings: Mapping[str, Any]) -> Path:
    """x (n, ...) at noise: as .safetensors, which says how it was made, or as .npy, the numbers alone."""
    x = x.detach().cpu().contiguous()
    if path.suffix.lower() == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, x.numpy(), allow_pickle=False)
        return files.put(path, buffer.getvalue())
    return files.put(path, packed({"noise": x}, {"unnoise": json.dumps(dict(settings))}))


def load(path: Path, run: Run, plan: Plan | Adaptive) -> Tensor:
    """Noise (n, ...) that a plan of a run can start from."""
    if path.suffix.lower() not in KINDS:
        raise UserError(f"noise is a .safetensors or .npy file of `unnoise invert`, got {path}")
    path = found(str(path), "noise")
    try:
        x, level = _packed(path) if path.suffix.lower() == ".safetensors" else (_plain(path), None)
    except (ValueError, EOFError, SafetensorError):
        raise UserError(f"{path} cannot be read: it is damaged, or holds no noise of `unnoise invert`") from None
    shape = run.recipe.shape
    x = x[None] if tuple(x.shape) == shape else x
    if x.ndim != len(shape) + 1 or not len(x):
        wanted = ", ".join(map(str, shape))
        raise UserError(f"{path} holds {tuple(x.shape)}, and noise of {run.recipe.name} is (n, {wanted})")
    if not torch.isfinite(x).all():
        raise UserError(f"{path} holds numbers that are not finite, and nothing can be drawn from these")
    starts = -float(run.recipe.process.schedule.logsnr(np.array(plan.start))) / 2
    if level is not None and abs(level - starts) > APART:
        raise UserError(
            f"the noise of {path} stands at sigma/alpha = {np.exp(level):.4g}, and this plan starts at "
            f"{np.exp(starts):.4g}: take the grid and the steps it was inverted with"
        )
    return x


def _packed(path: Path) -> tuple[Tensor, float | None]:
    with safe_open(path, "pt") as file:
        names = list(file.keys())
        if "noise" not in names:
            raise UserError(f"{path} holds no noise of `unnoise invert`; {nearest('noise', names)}")
        told = (file.metadata() or {}).get("unnoise")
        return file.get_tensor("noise").float(), float(json.loads(told)["level"]) if told else None


def _plain(path: Path) -> Tensor:
    array: Any = np.load(path, allow_pickle=False)
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


__all__ = ["APART", "KINDS", "load", "save"]
