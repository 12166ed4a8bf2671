"""Averages of a run's weights, compared on its validation part: a table, RUN/averages.json, a picture."""

import json
from typing import Any

from unnoise import files
from unnoise.cli.speak import Meter, say, table
from unnoise.run import Run

FILE = "averages.json"


def compare(run: Run) -> dict[str, Any]:
    """The held-out loss of each width (0: the last weights), the same questions put to all; written down too."""
    asked, widths = run.held_out(), [0.0, *run.widths]
    rows: list[dict[str, Any]] = []
    with Meter("average", len(widths), "averages", lambda: len(rows)):
        for width in widths:
            one = run.averaged(width)
            found = asked(one.denoiser)
            excess = None if found.excess is None else float(found.excess.mean())
            rows.append({"width": width, "loss": found.mean, "excess": excess, "off": one.off, "weights": one.weights})
    best = min(rows, key=lambda row: row["loss"])
    told = {"items": run.checkpoint.items, "weights": run.weights, "best": best["width"], "widths": rows}
    files.put(run.folder / FILE, json.dumps(told, indent=2) + "\n")
    return told


def compared(run: Run) -> dict[str, Any] | None:
    """What `compare` wrote down of these weights, if it was asked."""
    path = run.folder / FILE
    try:
        told = json.loads(path.read_bytes())
        known = {row["weights"] for row in told["widths"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return told if run.weights in known and told["items"] == run.checkpoint.items else None


def asked(run: Run) -> float:
    """The width that a run samples from."""
    return run.width if run.width is not None else (*run.recipe.train.ema, 0.0)[0]


def show(run: Run, told: dict[str, Any]) -> None:
    """The table, and what to do with it."""
    known = any(row["excess"] is not None for row in told["widths"])
    figures = ("average", "held-out loss", *(["excess"] if known else []), "profile off by")
    rows: list[list[str]] = []
    for row in told["widths"]:
        words = ["the least"] if row["width"] == told["best"] else []
        words += ["sampled from"] if row["width"] == asked(run) else []
        excess = [f"{row['excess']:.3g}"] if known else []
        off = f"{100 * row['off']:.2g} %" if row["off"] else "–"
        name = f"{row['width']:g}" if row["width"] else "last weights"
        rows.append([name, f"{row['loss']:.6g}", *excess, off, ", ".join(words)])
    table((*figures, ""), rows, right=figures)
    if told["best"] != asked(run):
        say(f"To sample from the least: --ema {told['best']:g}")


__all__ = ["FILE", "asked", "compare", "compared", "show"]
