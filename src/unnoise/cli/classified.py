"""`unnoise evaluate` of a classifier of noisy data: how often it is right, by noise level."""

import json as text_of
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from unnoise import __version__, files
from unnoise.cli.speak import say, table, tell
from unnoise.folder import held_out
from unnoise.run import Run

ITEMS, LEVELS, REPEATS = 2000, 12, 4  # held-out items asked at most; levels, and how many of them each is asked at


def evaluate(run: Run, against: str, out: Path | None, json: bool) -> None:
    """A table, and metrics.json: the share of right labels of held-out items at quantiles of the trained levels."""
    recipe = run.recipe
    items = recipe.source.split(against)
    found = held_out(recipe, run.device, against, levels=LEVELS, repeats=REPEATS, limit=ITEMS)(run.denoiser)
    count = min(len(items), ITEMS)
    ratios = np.exp(found.noise)
    rows = [
        {"noise": float(ratio), "accuracy": 1 - float(wrong), "nats": float(nats)}
        for ratio, wrong, nats in sorted(zip(ratios, found.error, found.loss, strict=True))
    ]
    chance = float(np.bincount(items.cond["label"], minlength=len(recipe.classes)).max() / len(items))
    record: dict[str, Any] = {
        "run": str(run.folder),
        "recipe": recipe.name,
        "items": run.checkpoint.items,
        "weights": run.weights,
        "against": against,
        "count": count,
        "chance": chance,
        "levels": rows,
        "mean": {"accuracy": 1 - float(found.error.mean()), "nats": found.mean, "spread": found.spread},
        "unnoise": __version__,
    }
    path = files.put((out or run.folder) / "metrics.json", text_of.dumps(record, indent=2, allow_nan=False) + "\n")
    if json:
        tell({**record, "files": [str(path)]})
        return
    figures = ("noise σ/α", "right labels", "nats")
    table(figures, [[f"{row['noise']:.3g}", f"{row['accuracy']:.3f}", f"{row['nats']:.3f}"] for row in rows], figures)
    say(
        f"\nOver the levels that are trained, {record['mean']['accuracy']:.3f} of {count:,} items of {against} are "
        f"told right; the commonest label alone would be {chance:.3f}. The numbers are in {shlex.quote(str(path))}"
    )


__all__ = ["evaluate"]
