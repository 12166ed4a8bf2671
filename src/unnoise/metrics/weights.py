"""Published weights from files: the one door to torch's own format, the digest of what was loaded, downloads."""

import hashlib
import io
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from unnoise import files
from unnoise.config import UserError
from unnoise.reading import progress
from unnoise.reading.paths import cache_folder, found
from unnoise.tensor import Tensor

TORCH = (".pth", ".pt")
BLOCK = 1 << 20  # bytes of a download that are read at once
PATIENCE = 60.0  # seconds without an answer


@dataclass(frozen=True)
class Published:
    """A file that its authors published: its name, where it lies, and the SHA-256 of all its bytes (or its start)."""

    name: str
    url: str
    sha256: str

    def is_of(self, digest: str) -> bool:
        return digest.startswith(self.sha256)

    @property
    def kept(self) -> Path:
        """Where a download is kept."""
        return cache_folder() / "weights" / self.name


def read(path: str | Path, published: tuple[Published, ...] = ()) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a .pth file that is one of the published.

    A .pth file is a pickle, and a pickle may run what it likes while it is read. So the only ones that are opened are
    those whose SHA-256 is that of a file which its authors published and everybody uses; and these are opened with
    weights_only, which makes tensors and plain containers and refuses everything else. Any other weights come as
    safetensors, which is numbers and a header.
    """
    place = found(str(path), "weights")
    if place.is_dir():
        raise UserError(f"weights are one file here, and {place} is a folder")
    try:
        data = place.read_bytes()
    except OSError as error:
        raise UserError(f"{place} cannot be read: {error.strerror}") from None
    if place.suffix == ".safetensors":
        try:
            return load(data)
        except SafetensorError as error:
            raise UserError(f"{place} is damaged: {error}") from None
    if place.suffix not in TORCH:
        raise UserError(f"weights are a .safetensors or a .pth file, got {place}")
    digest = hashlib.sha256(data).hexdigest()
    if not any(one.is_of(digest) for one in published):
        wanted = " or ".join(f"{one.name} ({one.sha256[:8]}...)" for one in published) or "none"
        raise UserError(
            f"{place} is a pickle with the SHA-256 {digest[:8]}..., not that of the published file: {wanted}; "
            "other weights are read from safetensors"
        )
    try:
        held = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{place} is damaged: {str(error).splitlines()[0]}") from None
    return {name: tensor for name, tensor in dict(held).items() if isinstance(tensor, Tensor)}


def fit(net: nn.Module, held: Mapping[str, Tensor], where: str | Path) -> nn.Module:
    """The network with these weights, for reading alone; a UserError where names or shapes are others.

    Counters of batches and what else a file may hold beside are passed over.
    """
    wanted = net.state_dict()
    missing = [name for name in wanted if name not in held and not name.endswith("num_batches_tracked")]
    if missing:
        raise UserError(f"{where} has no weights '{missing[0]}' ({len(missing)} of {len(wanted)} are missing)")
    for name in wanted.keys() & held.keys():
        if wanted[name].shape != held[name].shape:
            raise UserError(
                f"the weights '{name}' of {where} have the shape {tuple(held[name].shape)}, expected "
                f"{tuple(wanted[name].shape)}"
            )
    net.load_state_dict({name: held[name] for name in wanted if name in held}, strict=False)
    return net.eval().requires_grad_(False)


def digest_of(net: nn.Module) -> str:
    """SHA-256 of a network's numbers with their names and shapes: the same from whatever file they came."""
    total = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        if not name.endswith("num_batches_tracked"):
            total.update(f"{name} {tuple(tensor.shape)}\n".encode())
            total.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return total.hexdigest()


def downloaded(one: Published) -> Path:
    """The published file, fetched unless it is kept already: over https, by its checksum, whole or not at all."""
    if one.kept.exists() and one.is_of(hashlib.sha256(one.kept.read_bytes()).hexdigest()):
        return one.kept
    if not one.url.startswith("https://"):
        raise UserError(f"{one.name} is published at no address that can be trusted: give the path of the file")
    data = bytearray()
    try:
        with urllib.request.urlopen(one.url, timeout=PATIENCE) as answer:
            if not str(answer.geturl()).startswith("https://"):
                raise UserError(f"{one.url} leads to {answer.geturl()}, which is not https")
            size = int(answer.headers.get("Content-Length") or 0)
            while block := answer.read(BLOCK):
                data += block
                progress.tell(f"fetching {one.name}", min(len(data) / size, 0.99) if size else 0.5, len(data))
    except OSError as error:  # URLError too
        raise UserError(
            f"{one.url} cannot be had ({getattr(error, 'reason', None) or error}): fetch it by other means and give "
            "its path"
        ) from None
    digest = hashlib.sha256(data).hexdigest()
    if not one.is_of(digest):
        raise UserError(
            f"{one.url} gave other bytes than were published: SHA-256 {digest[:8]}..., not {one.sha256[:8]}..."
        )
    progress.tell(f"fetching {one.name}", 1.0, len(data))
    return files.put(one.kept, bytes(data))


__all__ = ["Published", "digest_of", "downloaded", "fit", "read"]
