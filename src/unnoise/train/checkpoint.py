"""Checkpoints: a folder of safetensors and a manifest, complete or not there at all. Nothing is pickled."""

import hashlib
import json
import re
import stat
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard

from safetensors import SafetensorError
from safetensors.torch import load, save

from unnoise import files
from unnoise.config import UserError
from unnoise.tensor import Tensor

FORMAT = 1
MANIFEST = "state.json"
LARGEST = 1 << 26  # bytes of a manifest; beyond it, it is none of ours
NAME = re.compile(r"[\w+-][\w.+-]*\.safetensors")  # a file beside the manifest: nothing that leads elsewhere

Tensors = Mapping[str, Mapping[str, Tensor]]


class Damaged(UserError):
    """A checkpoint of which a part is missing or is not what was written."""


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: where it lies, how many items had been seen, and what else its manifest says."""

    path: Path
    items: int
    state: Mapping[str, Any]

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of one of its files, such as "net", "ema-0.1" or "optimiser"; read anew, and checked anew."""
        listed = self.state["files"]
        file = f"{name}.safetensors"
        if file not in listed:
            raise UserError(
                f"{self.path} has no '{name}'; it has {', '.join(k.removesuffix('.safetensors') for k in listed)}"
            )
        return _unpack(self.path / file, _checked(self.path / file, listed[file]))

    def number(self, name: str) -> int:
        """A whole number of the manifest."""
        value = self.state.get(name)
        if not _whole_number(value):
            raise Damaged(f"the checkpoint {self.path} is damaged: its '{name}' is {value!r}, expected a whole number")
        return value


def write(folder: Path, items: int, tensors: Tensors, state: Mapping[str, Any]) -> Path:
    """Writes folder/<items:012d>/ with one safetensors file a name and the manifest; returns its path.

    All is written beside, synced to the disk and then renamed: whoever looks sees the whole or nothing. Where the
    same stands already nothing is written; what is damaged or of another training gives way.
    """
    path = folder / f"{items:012d}"
    head = {"format": FORMAT, "items": items, **state}
    if path.exists() and _stands(path, head, tensors):
        return path
    return files.put_folder(path, _contents(head, tensors))


def read(path: Path) -> Checkpoint:
    """The checkpoint at `path`, every file checked against its size and hash. Raises UserError with what is wrong."""
    if not (path / MANIFEST).exists():
        raise Damaged(f"{path} is no checkpoint: it has no {MANIFEST}")
    state = _manifest(path)
    for name, expected in state["files"].items():
        _checked(path / name, expected)
    return Checkpoint(path, state["items"], state)


def newest(folder: Path) -> Checkpoint | None:
    """The newest complete checkpoint in the folder, None where there is not one, whole or damaged.

    Damaged ones are passed over with a warning; where all are damaged that is an error, since to start afresh is
    for people to decide. So is a checkpoint of another format.
    """
    paths = listed(folder)
    trouble: list[str] = []
    for path in reversed(paths):
        try:
            found = read(path)
        except Damaged as error:
            trouble.append(str(error))
            continue
        if trouble:
            warnings.warn(f"{trouble[0]}; {path.name} is taken in its place", stacklevel=2)
        return found
    if trouble and listed(folder) != paths:  # a training that goes on has pruned them meanwhile
        return newest(folder)
    if trouble:
        raise UserError(f"no checkpoint in {folder} is complete: {trouble[0]}")
    return None


def listed(folder: Path) -> list[Path]:
    """The checkpoints by name, oldest first, unchecked."""
    if not folder.exists():
        return []
    named = (path for path in folder.iterdir() if path.name.isascii() and path.name.isdecimal() and path.is_dir())
    return sorted(named, key=lambda path: int(path.name))


def prune(folder: Path, keep: int = 2, milestone_every: int = 0) -> None:
    """Removes all but the newest `keep` complete ones and the first complete one after each `milestone_every` items.

    What is damaged counts for nothing: it goes when `keep` newer ones are complete, and takes no other with it.
    A checkpoint of another format is left alone.
    """
    files.sweep(folder)
    ours = [path for path in listed(folder) if _state_of(path) != "foreign"]
    complete = [path for path in ours if _state_of(path) == "complete"]
    if len(complete) < keep:
        return
    passed, oldest_kept = 0, int(complete[-keep].name)
    for path in ours:
        if int(path.name) >= oldest_kept:
            break
        reached = int(path.name) // milestone_every if milestone_every else 0
        if reached > passed and path in complete:
            passed = reached
        else:
            files.drop(path)


def _contents(head: Mapping[str, Any], tensors: Tensors) -> Iterator[tuple[str, bytes]]:
    """The files of a checkpoint in the order of writing, the manifest last."""
    listing: dict[str, Any] = {}
    for name, parts in tensors.items():
        data = _pack(parts)
        listing[f"{name}.safetensors"] = _fingerprint(data)
        yield f"{name}.safetensors", data
    yield MANIFEST, (json.dumps({**head, "files": listing}, indent=2) + "\n").encode()


def _stands(path: Path, head: Mapping[str, Any], tensors: Tensors) -> bool:
    """Whether the checkpoint at `path` is complete and the one that would be written."""
    try:
        state = read(path).state
    except UserError:
        return False
    listing = {f"{name}.safetensors": _fingerprint(_pack(parts)) for name, parts in tensors.items()}
    return state == json.loads(json.dumps({**head, "files": listing}))


def _pack(parts: Mapping[str, Tensor]) -> bytes:
    return save({key: tensor.detach().cpu().contiguous() for key, tensor in parts.items()})


def _fingerprint(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _manifest(path: Path) -> dict[str, Any]:
    """What state.json says, its form checked: whoever wrote it, nothing outside the folder is read."""

    def damaged(reason: str) -> Damaged:
        return Damaged(f"the checkpoint {path} is damaged: {reason}")

    try:
        if (path / MANIFEST).stat().st_size > LARGEST:
            raise damaged(f"its {MANIFEST} is larger than any")
        state = json.loads((path / MANIFEST).read_bytes())
    except OSError as error:
        raise damaged(f"{MANIFEST} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise damaged(f"{MANIFEST} is not JSON") from None
    if not isinstance(state, dict):
        raise damaged(f"{MANIFEST} is no table")
    if state.get("format") != FORMAT:
        raise UserError(
            f"{path} has the checkpoint format {state.get('format')}, this version reads {FORMAT}: "
            "use the version of unnoise that wrote it"
        )
    counted = int(path.name) if path.name.isascii() and path.name.isdecimal() else state.get("items")
    if not _whole_number(state.get("items")) or state["items"] != counted:
        raise damaged(f"{MANIFEST} says {state.get('items')!r} items")
    if not isinstance(state.get("files"), dict) or not state["files"]:
        raise damaged(f"{MANIFEST} lists no files")
    for name, expected in state["files"].items():
        if not NAME.fullmatch(name):
            raise damaged(f"{MANIFEST} names {name!r}, which is no file of a checkpoint")
        known = isinstance(expected, dict) and isinstance(expected.get("sha256"), str)
        if not known or not _whole_number(expected.get("bytes")):
            raise damaged(f"{MANIFEST} gives no size and hash of {name}")
    return state


def _checked(path: Path, expected: Mapping[str, Any]) -> bytes:
    """The bytes of a file, if they are those that were written."""
    where = f"the checkpoint {path.parent} is damaged"
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise Damaged(f"{where}: {path.name} is no file")
        if found.st_size != expected["bytes"]:
            raise Damaged(f"{where}: {path.name} has {found.st_size:,} bytes, expected {expected['bytes']:,}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise Damaged(f"{where}: {path.name} is missing") from None
    except OSError as error:
        raise Damaged(f"{where}: {path.name} cannot be read: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest() != expected["sha256"]:
        raise Damaged(f"{where}: {path.name} differs from its hash")
    return data


def _unpack(path: Path, data: bytes) -> dict[str, Tensor]:
    try:
        return load(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
        if data[:2] == b"PK" or data[:1] == b"\x80":
            what = "a pickle under another name: pickles are never opened, since they can run anything"
            raise Damaged(f"{path} is {what}") from None
        raise Damaged(f"{path} is no safetensors file: {' '.join(str(error).split())}") from None


def _state_of(path: Path) -> str:
    """complete, damaged or foreign; what has not changed since it was last looked at is not read again."""
    try:
        stamps = tuple((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(path.iterdir()))
    except OSError:
        return "damaged"
    return _judged(path, stamps)


@lru_cache(maxsize=256)
def _judged(path: Path, stamps: tuple[tuple[str, int, int], ...]) -> str:
    try:
        read(path)
    except Damaged:
        return "damaged"
    except UserError:
        return "foreign"
    return "complete"


def _whole_number(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


__all__ = ["FORMAT", "MANIFEST", "Checkpoint", "Damaged", "listed", "newest", "prune", "read", "write"]
