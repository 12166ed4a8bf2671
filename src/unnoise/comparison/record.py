"""What came of a comparison, written down: comparison.json and comparison.csv."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

from unnoise.comparison.verdict import Verdict
from unnoise.report.comparison import Comparison, Point, Value

FORMAT = 1  # of comparison.json


@dataclass(frozen=True)
class Found:
    """What came of it: the page's content, the verdict's numbers, and each run's own figures."""

    page: Comparison
    verdict: Verdict
    rows: Sequence[dict[str, Any]]  # one for each entry and seed


def record(found: Found) -> str:
    """comparison.json: all but the pictures, in plain numbers."""
    page = {key: value for key, value in vars(found.page).items() if key not in ("pictures", "real", "columns")}
    told = {"format": FORMAT, **page, "pairs": found.verdict.pairs, "runs": found.rows}
    return json.dumps(_plain(told), indent=2, allow_nan=False) + "\n"


def table(found: Found) -> str:
    """comparison.csv: a line for each run and way of drawing, and one for real items in the place of samples."""
    names = list(dict.fromkeys(name for row in found.rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(found.rows)
    writer.writerow({"entry": "real against real", **{scale.name: scale.floor for scale in found.page.measures}})
    return text.getvalue()


def _plain(value: Any) -> Any:
    """What JSON can hold: records as tables, numbers that are not finite as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value):
        return _plain(vars(value))
    if isinstance(value, (Value, Point)):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


__all__ = ["Found", "record", "table"]
