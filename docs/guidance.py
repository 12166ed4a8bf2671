"""Draws the pictures of guidance in docs/conditioning.md: python docs/guidance.py RUN, of the recipe digits."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import unnoise as un
from unnoise.guide import nodes
from unnoise.report import grids, style

HERE = Path(__file__).parent
FIGURES = HERE.parent / "benchmarks" / "results" / "guidance.json"
PANELS = {
    "frechet": "Fréchet distance (lower is better)",
    "label_accuracy": "Share given the label asked for",
    "coverage": "Coverage (higher is more diverse)",
}
FAMILIES = {
    "classifier-free": "cfg",
    "in an interval": "interval",
    "autoguidance": "autoguidance",
    "classifier": "classifier",
}
ROWS = ("0", "1", "3", "6", "6 + dynamic", "cfg weight=6 interval=[0.2,2]", "autoguidance weight=2 items={early}")


def curves(rows: list[dict[str, Any]]) -> None:
    """Each measure against the weight, one line a kind of guidance, and the value of real items."""
    found: dict[str, list[tuple[float, dict[str, Any]]]] = {kind: [] for kind in FAMILIES.values()}
    for row in rows:
        made = nodes(row["guidance"])
        if len(made) > 1:
            continue
        node = made[0] if made else {"kind": "cfg", "weight": 1.0}
        kind = "interval" if "interval" in node else node["kind"]
        if kind in found:
            found[kind].append((float(node["weight"]), row["measures"]))
    one = next(m for w, m in found["cfg"] if w == 1)
    for kind in ("interval", "autoguidance"):
        found[kind].append((1.0, one))
    with style.themed("light") as theme:
        sheet = style.figure((9.6, 3.4))
        for axes, (measure, title) in zip(sheet.subplots(1, 3), PANELS.items(), strict=True):
            for look, (name, kind) in zip(theme.series(len(FAMILIES)), FAMILIES.items(), strict=True):
                points = sorted((w, m[measure][0]) for w, m in found[kind])
                if points:
                    axes.plot(*zip(*points, strict=True), label=name, **look)
            axes.axhline(one[measure][2], color=theme.muted, linewidth=0.9, linestyle=":")
            axes.annotate("real items", (6, one[measure][2]), xytext=(0, 3), textcoords="offset points", ha="right",
                          fontsize=8, color=theme.muted)  # fmt: skip
            axes.set_title(title, fontsize=9)
            axes.set_xlabel("weight w")
        sheet.axes[1].legend(loc="center right")
        style.save(sheet, HERE / "guidance-weights.png")


def sheet(run: Any) -> None:
    """The ten digits from ten seeds, by guidance: a row each."""
    early = min(int(path.name) for path in (run.folder / "snapshots").iterdir())
    factor, left = 5, 262
    pictures = []
    for setting in ROWS:
        guides = setting.format(early=early)
        items = run.sample(seeds=range(20), label=[k // 2 for k in range(20)], guidance=guides)
        row = np.concatenate([np.pad(np.asarray(item), 1, constant_values=128) for item in items], axis=1)
        made = Image.fromarray(row).convert("RGB")
        pictures.append((guides, made.resize((made.width * factor, made.height * factor), Image.Resampling.NEAREST)))
    width, height = left + pictures[0][1].width, pictures[0][1].height + 6
    page = Image.new("RGB", (width, height * len(pictures)), "white")
    pen = ImageDraw.Draw(page)
    for place, (name, picture) in enumerate(pictures):
        page.paste(picture, (left, place * height))
        said = name if " " in name else f"w = {name}"
        pen.text((4, place * height + height // 2), said, fill="black", font=grids.font(13), anchor="lm")
    page.save(HERE / "guidance-digits.png", optimize=True)


def main() -> None:
    told = json.loads(FIGURES.read_text())
    curves(told["digits"])
    if len(sys.argv) > 1:
        sheet(un.open(sys.argv[1]))


if __name__ == "__main__":
    main()
