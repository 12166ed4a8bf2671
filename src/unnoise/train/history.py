"""metrics.jsonl: what a training said of itself, one JSON object a line, each with its `items`."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def append(path: Path, record: Mapping[str, Any]) -> None:
    """One more line. Numbers that are not finite become null: JSON has none."""
    assert "items" in record
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(_finite(dict(record)), allow_nan=False) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All records, oldest first; a last line that was cut short is left out, no file is no records."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def rewind(path: Path, items: int) -> None:
    """Leaves out what was said after `items`, since a resume says it again; written beside and renamed."""
    if not path.exists():
        return
    kept = [record for record in read(path) if record["items"] <= items]
    beside = path.with_name(path.name + ".new")
    with beside.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in kept)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value


__all__ = ["append", "read", "rewind"]
