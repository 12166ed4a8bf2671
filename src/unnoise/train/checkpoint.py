"""Checkpoints: a folder of safetensors and a manifest, complete or not there at all. Nothing is pickled."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save

from unnoise.config import UserError
from unnoise.tensor import Tensor

FORMAT = 1
MANIFEST = "state.json"
_UNFINISHED = ".unfinished-"

Tensors = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: where it lies, how many items had been seen, and what else its manifest says."""

    path: Path
    items: int
    state: Mapping[str, Any]

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of one of its files, such as "net", "ema-0.1" or "optimiser"."""
        files = [file.removesuffix(".safetensors") for file in self.state["files"]]
        if name not in files:
            raise UserError(f"{self.path} has no '{name}'; it has {', '.join(files)}")
        return load((self.path / f"{name}.safetensors").read_bytes())


def write(folder: Path, items: int, files: Tensors, state: Mapping[str, Any]) -> Path:
    """Writes folder/<items:012d>/ with one safetensors file a name and the manifest; returns its path.

    All is written beside, synced to the disk and then renamed: whoever looks sees the whole or nothing.
    """
    path = folder / f"{items:012d}"
    if path.exists():
        if _complete(path) is not None:
            return path
        shutil.rmtree(path)  # what an interrupted copy left: its name is needed
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"{_UNFINISHED}{path.name}"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    listed: dict[str, Any] = {}
    for name, tensors in files.items():
        data = save({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()})
        _put(beside / f"{name}.safetensors", data)
        listed[f"{name}.safetensors"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest = {"format": FORMAT, "items": items, **state, "files": listed}
    _put(beside / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
    _sync(beside)
    os.rename(beside, path)
    _sync(folder)
    return path


def read(path: Path) -> Checkpoint:
    """The checkpoint at `path`, every file checked against its hash."""
    if not (path / MANIFEST).exists():
        raise UserError(f"{path} is no checkpoint: it has no {MANIFEST}")
    checkpoint = _complete(path)
    if checkpoint is None:
        raise UserError(f"the checkpoint {path} is damaged: a file is missing or differs from its hash")
    return checkpoint


def newest(folder: Path) -> Checkpoint | None:
    """The newest complete checkpoint in the folder; incomplete and damaged ones are passed over."""
    for path in reversed(listed(folder)):
        checkpoint = _complete(path)
        if checkpoint is not None:
            return checkpoint
    return None


def listed(folder: Path) -> list[Path]:
    """The checkpoints by name, oldest first, unchecked."""
    if not folder.exists():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name.isdecimal())


def prune(folder: Path, keep: int = 2, milestone_every: int = 0) -> None:
    """Removes all but the newest `keep` and the first after each multiple of `milestone_every` items."""
    for unfinished in folder.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    paths = listed(folder)
    passed = 0
    for path in paths[: max(len(paths) - keep, 0)]:
        reached = int(path.name) // milestone_every if milestone_every else 0
        if reached > passed:
            passed = reached
        else:
            shutil.rmtree(path)


def _complete(path: Path) -> Checkpoint | None:
    try:
        state = json.loads((path / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None
    if state.get("format") != FORMAT:
        raise UserError(
            f"{path} has the checkpoint format {state.get('format')}, this version reads {FORMAT}: "
            "use the version of unnoise that wrote it"
        )
    for name, expected in state["files"].items():
        try:
            data = (path / name).read_bytes()
        except OSError:
            return None
        if len(data) != expected["bytes"] or hashlib.sha256(data).hexdigest() != expected["sha256"]:
            return None
    return Checkpoint(path, state["items"], state)


def _put(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there; the rename is journalled
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


__all__ = ["FORMAT", "Checkpoint", "listed", "newest", "prune", "read", "write"]
