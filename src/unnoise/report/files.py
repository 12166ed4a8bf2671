"""Files appear whole or not at all: written beside and renamed."""

import base64
import os
from pathlib import Path


def write(path: str | Path, data: bytes | str) -> Path:
    """`data` at `path`, folders made as needed; a reader sees the old file or the new, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        beside.write_bytes(data.encode() if isinstance(data, str) else data)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def data_uri(data: bytes, media: str) -> str:
    """The bytes as an address that needs no network."""
    return f"data:{media};base64,{base64.b64encode(data).decode()}"


__all__ = ["data_uri", "write"]
