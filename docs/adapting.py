"""Draws the pictures of docs/adapting.md: python docs/adapting.py DIGITS KEPT, of a run and benchmarks/adapting.py."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import unnoise as un
from unnoise.data import SOURCES
from unnoise.report import grids

HERE = Path(__file__).parent
LABELS = tuple(range(10))


def titled(rows: list[tuple[str, list[np.ndarray]]], name: str, factor: int) -> None:
    """Rows of pictures (C, H, W) uint8, each with its name at the left."""
    page = grids.class_rows({title: [np.moveaxis(item, 0, 2) for item in row] for title, row in rows}, factor)
    page.quantize(128).save(HERE / name, optimize=True)


def grey(run: Any, labels: list[int], **how: Any) -> list[np.ndarray]:
    x = run.sample(len(labels), label=labels, raw=False, **how)
    return [np.clip(one * 16, 0, 255).astype(np.uint8) for one in run.recipe.modality.quantise(x)]


def coloured(run: Any, count: int, label: Any) -> list[np.ndarray]:
    return list(run.recipe.modality.quantise(run.sample(count, label=label, raw=False)))


def look(base: Any, kept: Path) -> None:
    rows = []
    for weight in (0.0, 0.5, 1.0, 1.3):
        run = base.adapted({kept / "look" / "bold": weight})
        rows.append(("the base" if not weight else f"LoRA, weight {weight:g}", grey(run, [*LABELS, 3, 8])))
    titled(rows, "adapting-look.png", 5)


def subject(base: Any, kept: Path) -> None:
    rows = [("the base", grey(base, [0, 0, 0, *range(1, 10)]))]
    for name in ("LoRA", "LoRA with the prior"):
        run = base.adapted({kept / "subject" / name.replace(" ", "-"): 1.0})
        rows.append((name, grey(run, [0, 0, 0, *range(1, 10)])))
    titled(rows, "adapting-subject.png", 5)


def control(kept: Path, count: int = 10) -> None:
    base = un.open(kept / "scenes" / "base")
    source = SOURCES["scenes"](objects=1, unseen=0)
    pictures = source.draw(count, 77).items
    x0 = base.recipe.modality.encode(pictures)
    from unnoise.conditions.hints import outline

    lines = (255 * outline(x0, torch.ones_like(x0[:, :1]), 4)).expand_as(x0).numpy().astype(np.uint8)
    rows = [("outline", list(lines))]
    for colour in ("red", "yellow", "blue"):
        run = base.adapted({kept / "control" / "outline": {"hint": list(pictures)}})
        rows.append((f"label {colour}", coloured(run, count, colour)))
    titled(rows, "adapting-control.png", 2)


def image(kept: Path, count: int = 10) -> None:
    sys.path.insert(0, str(HERE.parent / "benchmarks"))
    from adapting import coloured as pictured

    base = un.open(kept / "image" / "base")
    pictures = pictured(count + 20, 78)[0][:count]
    x0 = base.recipe.modality.encode(pictures).unsqueeze(1)
    rows = [("prompt", list(pictures))]
    for weight, told in ((0.0, None), (1.0, None), (1.0, {"shape": "circle"})):
        run = base.adapted({kept / "image" / "prompted": {"prompt": x0, "weight": weight}})
        name = f"strength {weight:g}" + (f", {told['shape']}" if told else "")
        rows.append((name, coloured(run, count, told)))
    titled(rows, "adapting-image.png", 3)


if __name__ == "__main__":
    digits, kept = un.open(sys.argv[1]), Path(sys.argv[2])
    wanted = sys.argv[3:] or ["look", "subject", "control", "image"]
    for name in wanted:
        {"look": lambda: look(digits, kept), "subject": lambda: subject(digits, kept),
         "control": lambda: control(kept), "image": lambda: image(kept)}[name]()  # fmt: skip
