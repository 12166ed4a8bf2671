"""metrics.jsonl: what a training said of itself, one JSON object a line, each with its `items`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unnoise import files


def append(path: Path, record: Mapping[str, Any]) -> None:
    """One more line, on the disk when this returns. Numbers that are not finite become null: JSON has none."""
    assert "items" in record
    files.append(path, json.dumps(_finite(dict(record)), allow_nan=False) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All records, oldest first; a line cut short or otherwise damaged is left out, no file is no records."""
    return [record for _, record in _lines(path)]


def rewind(path: Path, items: int) -> None:
    """Leaves out what was said after `items`, since a resume says it again; the lines that stay keep their bytes."""
    kept = "".join(line for line, record in _lines(path) if record["items"] <= items).encode()
    if path.exists() and path.read_bytes() != kept:
        files.put(path, kept)


def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Whole lines with the records that they are."""
    if not path.exists():
        return []
    found: list[tuple[str, dict[str, Any]]] = []
    for line in path.read_bytes().decode(errors="replace").split("\n")[:-1]:  # what follows the last newline is half
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("items"), int):
            found.append((line + "\n", record))
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value


__all__ = ["append", "read", "rewind"]
