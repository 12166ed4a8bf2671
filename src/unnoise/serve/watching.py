"""What the folders of runs say of their training, read while they are written."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unnoise import run as runs
from unnoise.advise import advice
from unnoise.config import UserError
from unnoise.folder import CLOCK, METRICS, RECIPE
from unnoise.run import Run
from unnoise.serve.refusals import Refused

NAMED = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
POINTS = 300  # of a curve that is drawn: more would not be seen
QUIET = 60.0  # seconds without a word after which a training has stopped, for all that is known
EARLY = ("unfinished", "too short", "fine")  # what every training is told before its end
PLACES = {"samples": "samples", "frames": "samples/frames"}  # folders of a run with pictures of what it drew


def folders(served: Mapping[str, Path], beside: bool) -> dict[str, Path]:
    """Runs by name: those served, and with `beside` those in the folders that these lie in, looked up anew."""
    found = dict(served)
    known = {path.resolve() for path in served.values()}
    for parent in sorted({path.resolve().parent for path in served.values()}) if beside else ():
        for recipe in sorted(parent.glob(f"*/{RECIPE}")):
            folder = recipe.parent
            if folder.resolve() not in known and NAMED.fullmatch(folder.name) and folder.name not in found:
                found[folder.name] = folder
    return found


def summary(name: str, folder: Path) -> dict[str, Any]:
    """A run in a list: how far it is, and whether anything is written just now. trouble: why it cannot be read."""
    try:
        opened = runs.open(folder)
        rows = opened.history
    except (UserError, OSError) as error:
        return {"name": name, "state": "damaged", "trouble": str(error), "items": 0, "of": 0}
    items, of = (int(rows[-1]["items"]) if rows else 0), opened.recipe.train.items
    quiet = time.time() - _written(folder)
    state = "finished" if items >= of else "training" if quiet < _patience(opened) else "stopped"
    losses = [row["loss"] for row in rows if row.get("loss") is not None]
    return {
        "name": name,
        "recipe": opened.recipe.name,
        "state": state,
        "items": items,
        "of": of,
        "loss": losses[-1] if losses else None,
        "quiet": round(quiet, 1),
    }


def told(name: str, folder: Path) -> dict[str, Any]:
    """All there is to see of a run: curves, what was drawn, the verdict and advice in words."""
    found = summary(name, folder)
    if "trouble" in found:
        return found
    opened = runs.open(folder)
    rows, clock = opened.history, opened.clock
    held = [(row["items"], _first(row["held_out"])) for row in rows if row.get("held_out")]
    return {
        **found,
        "loss_curve": _curve([(row["items"], row["loss"]) for row in rows if row.get("loss") is not None]),
        "held_out": [[items, one["mean"]] for items, one in held],
        "levels": _levels(held),
        "seconds": round(clock[-1][1], 1) if clock else None,
        "rate": _rate(clock),
        "verdict": _verdict(folder),
        "advice": _advice(opened, found["state"] == "training"),
        "shots": shots(folder, "samples"),
        "film": shots(folder, "frames"),
    }


def shots(folder: Path, kind: str) -> list[int]:
    """After how many items samples were drawn as it trained, the oldest first. kind: a key of PLACES."""
    place = folder / PLACES[kind]
    return sorted(int(path.stem) for path in place.glob("*.png") if path.stem.isdecimal() and len(path.stem) == 12)


def shot(folder: Path, kind: str, items: int) -> bytes:
    """The picture of one of `shots`."""
    try:
        return (folder / PLACES[kind] / f"{items:012d}.png").read_bytes()
    except OSError:
        raise Refused(404, "no_picture", f"nothing was drawn after {items:,} items") from None


def _written(folder: Path) -> float:
    """When anything was last said of the training."""
    times = [path.stat().st_mtime for path in (folder / METRICS, folder / CLOCK, folder / RECIPE) if path.exists()]
    return max(times, default=0.0)


def _patience(run: Run) -> float:
    """Silence that a training may keep: several times as long as between its last two words."""
    clock = run.clock
    last = clock[-1][1] - clock[-2][1] if len(clock) > 1 else 0.0
    return max(QUIET, 4 * last)


def _curve(points: Sequence[tuple[int, float]]) -> list[list[float]]:
    """[items, loss], of many points the means of as many neighbours each."""
    if len(points) <= POINTS:
        return [[float(items), float(loss)] for items, loss in points]
    parts = np.array_split(np.array(points, dtype=np.float64), POINTS)
    return [part.mean(axis=0).tolist() for part in parts]


def _levels(held: Sequence[tuple[int, Mapping[str, Any]]]) -> dict[str, Any] | None:
    """Held-out error by log(sigma/alpha): as it was first, halfway and last, and the least possible if known."""
    if not held:
        return None
    shown = [held[i] for i in sorted({0, len(held) // 2, len(held) - 1})]
    last = held[-1][1]
    return {
        "noise": last["noise"],
        "curves": [{"items": items, "error": one["error"]} for items, one in shown],
        "least": last.get("optimum") or None,
    }


def _rate(clock: Sequence[tuple[int, float]]) -> float | None:
    """Items a second, over the last few words."""
    if len(clock) < 2:
        return None
    (before, began), (items, ended) = clock[max(0, len(clock) - 6)], clock[-1]
    return round((items - before) / (ended - began), 1) if ended > began else None


def _verdict(folder: Path) -> dict[str, Any] | None:
    """What `unnoise evaluate` has found, and after how many items; None where nobody asked."""
    try:
        found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        return {"sentence": str(found["verdict"]), "items": int(found["items"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _advice(run: Run, goes_on: bool) -> list[dict[str, Any]]:
    """What the numbers say of the training, a sentence each, and the flags that change it.

    goes_on: then nobody needs to hear that it is not at its end.
    """
    try:
        found = [found.record() for found in advice.advise(run) if not (goes_on and found.name in EARLY)]
        return [{key: one[key] for key in ("name", "sentence", "change")} for one in found]
    except UserError:  # no checkpoint yet, or its data are elsewhere
        return []


def _first(held_out: Mapping[str, Any]) -> Any:
    return next(iter(held_out.values()))


__all__ = ["folders", "shot", "shots", "summary", "told"]
