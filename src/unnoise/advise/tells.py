"""What data tell of their items: captions, and everything else that a model may be told, in numbers and in lines."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unnoise.data import Source

ENDS = {"low": "min", "mean": "mean", "high": "max"}  # of numbers that are told


def captions(source: Source) -> dict[str, Any] | None:
    """What there is to say of the captions of the training part; None where there are none."""
    texts = source.split("train").cond.get("text")
    if texts is None:
        return None
    split = [text.split() for text in texts.tolist()]
    lengths = [len(words) for words in split]
    return {
        "captions": len(split),
        "different": len(set(texts.tolist())),
        "words": len({word.strip(",.;:!?").lower() for words in split for word in words}),
        "shortest": min(lengths),
        "mean": float(np.mean(lengths)),
        "longest": max(lengths),
    }


def lines(texts: Mapping[str, Any] | None, said: Mapping[str, Any]) -> list[str]:
    """Captions in a line, then a line for everything else that a model may be told: its values, or its range."""
    made: list[str] = []
    if texts is not None:
        long = f"of {texts['shortest']} to {texts['longest']} words, {texts['mean']:.1f} on average"
        counts = f"{texts['captions']:,} captions, {texts['different']:,} different, {long}"
        made.append(f"{counts}; {texts['words']} different words")
    wide = max(map(len, said), default=0)
    for name, one in said.items():
        if "values" in one:
            line = ", ".join(f"{value} {count:,}" for value, count in one["values"].items())
        elif "mean" in one:
            each = zip(one["low"], one["mean"], one["high"], one["missing"], strict=True)
            line = "; ".join(
                f"{low:.4g} to {high:.4g}, {mean:.4g} on average{f', {gaps:,} missing' * (gaps > 0)}"
                for low, mean, high, gaps in each
            )
        else:
            line = f"of {' × '.join(map(str, one['shape'])) or 'one'} ({one['dtype']})"
        made.append(f"{name:<{wide}}  {line}")
    return made


def conditions(source: Source) -> dict[str, dict[str, Any]]:
    """What the training part tells beside captions and the label: how often each value, or the range of numbers."""
    found: dict[str, dict[str, Any]] = {}
    named: Mapping[str, Sequence[str]] = getattr(source, "values", {})
    for name, leaf in source.split("train").cond.items():
        if name in ("text", "label"):
            continue
        if name in named:
            often = np.bincount(leaf.ravel(), minlength=len(named[name]) + 1).tolist()
            found[name] = {"values": dict(zip(named[name], often, strict=False))}
        elif leaf.dtype.kind == "f" and leaf.ndim <= 2:
            columns = [column[np.isfinite(column)] for column in leaf.reshape(len(leaf), -1).T]
            known = [column if len(column) else np.full(1, np.nan) for column in columns]
            ends = {of: [float(getattr(np, call)(c)) for c in known] for of, call in ENDS.items()}
            found[name] = {**ends, "missing": [len(leaf) - len(column) for column in columns]}
        else:
            found[name] = {"shape": list(leaf.shape[1:]), "dtype": str(leaf.dtype)}
    return found


__all__ = ["captions", "conditions", "lines"]
