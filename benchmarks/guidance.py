"""What the dial of guidance does: labels kept, fidelity and diversity, by weight and by guide; digits and the plane."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from harness import RESULTS, machine

import unnoise as un
from unnoise.guide import evaluations
from unnoise.metrics.neighbours import precision, recall

STEPS = 16  # of dpmpp_2m
SETTINGS = [
    *("0", "0.5", "1", "1.25", "1.5", "2", "3", "4", "5", "6"),
    *("rescaled weight=3", "rescaled weight=6", "apg weight=3", "apg weight=6"),
    *("cfg weight=3 interval=[0.2,2]", "cfg weight=6 interval=[0.2,2]"),
    *("6 + static", "6 + dynamic"),
    *(f"autoguidance weight={w:g} items={{early}}" for w in (1.25, 1.5, 2, 3)),
    *("1.5 + autoguidance weight=1.5 items={early}",),
    *(f"classifier run={{judge}} weight={w:g}" for w in (1, 2, 3)),
]
PLANE = {
    "w = 0: told nothing": "0",
    "w = 1: told the class": "1",
    "w = 2": "2",
    "w = 5": "5",
    "w = 5 where 0.1 < noise < 0.5": "cfg weight=5 interval=[0.1,0.5]",
    "w = 2 away from the blob": "cfg weight=2 negative=blob",
    "autoguidance, w = 2": "autoguidance weight=2 items={early}",
}
EACH = 2000  # points of a class


def digits(run: Any, judge: str | None, draws: int) -> list[dict[str, Any]]:
    """Fréchet distance, accuracy of labels, coverage and near-copies of digits, by guidance."""
    early = min(int(path.name) for path in (run.folder / "snapshots").iterdir())
    rules = replace(run.protocol(), draws=draws)
    labels, plan = rules.labels.reshape(-1).tolist(), run.plan("dpmpp_2m", STEPS)
    rows = []
    for setting in SETTINGS:
        if "{judge}" in setting and judge is None:
            continue
        said = setting.format(early=early, judge=judge)
        guides = un.guide.plain(said)
        x = np.concatenate([part.numpy() for part in run.batches(range(len(labels)), plan, labels, guides)])
        found = {m.name: m for m in rules.measure(_raw(run, x, rules), rules.labels)}
        asked = evaluations(run.guided(guides), plan, run.recipe.shape, run.labels(0, 1))
        told = {name: [m.value, m.spread, m.floor] for name, m in found.items()}
        rows.append({"guidance": said.replace(str(judge), "CLASSIFIER"), "evaluations": asked, "measures": told})
        print(said, asked, {name: round(m.value, 3) for name, m in found.items()}, flush=True)
    return rows


def _raw(run: Any, x: np.ndarray, rules: Any) -> np.ndarray:
    import torch

    raw = run.recipe.modality.quantise(torch.from_numpy(x))
    return raw.reshape(rules.draws, rules.count, *raw.shape[1:])


def plane(run: Any, picture: Path | None) -> list[dict[str, Any]]:
    """Of each class in the plane, samples of it: which share is like real ones, and which share of these is reached."""
    real = run.recipe.source.draw(3 * EACH * 2, 1)
    names, raw, labels = run.recipe.classes, real.items, real.cond["label"]
    pools = [raw[labels == k][:EACH] for k in range(len(names))]
    others = [raw[labels == k][EACH : 2 * EACH - 500] for k in range(len(names))]
    early = min(int(path.name) for path in (run.folder / "snapshots").iterdir())
    rows, clouds = [], []
    for title, setting in PLANE.items():
        asked = [k for k in range(len(names)) for _ in range(EACH)]
        guides = setting.format(early=early)
        x = np.concatenate([p.numpy() for p in run.batches(range(len(asked)), None, asked, guides)])
        clouds.append(x)
        parts = [x[np.array(asked) == k] for k in range(len(names))]
        pairs = [(precision(p, s), recall(p, s), np.sqrt(s.var(0).sum())) for p, s in zip(pools, parts, strict=True)]
        quality, reached, width = np.mean(pairs, axis=0)
        rows.append({"title": title, "guidance": guides, "precision": quality, "recall": reached, "width": width})
        print(rows[-1], flush=True)
    floor = np.mean([[precision(p, o), recall(p, o), np.sqrt(o.var(0).sum())]
                     for p, o in zip(pools, others, strict=True)], axis=0)  # fmt: skip
    rows.append({"title": "data", **dict(zip(("precision", "recall", "width"), floor, strict=True))})
    if picture is not None:
        _draw(rows, clouds, names, np.concatenate(pools), picture)
    return rows


def _draw(rows: list[dict[str, Any]], clouds: list[np.ndarray], names: Any, real: np.ndarray, picture: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, grid = plt.subplots(2, 4, figsize=(13, 8), layout="constrained", sharex=True, sharey=True)
    axes = list(grid.flat)
    colours, marks = ("#0072b2", "#d55e00", "#009e73"), ("o", "s", "^")
    for axis, cloud, row in zip(axes, [real, *clouds], [rows[-1], *rows[:-1]], strict=True):
        for k, name in enumerate(names):
            part = cloud[k * EACH : (k + 1) * EACH][:700]
            axis.scatter(*part.T, s=4, c=colours[k], marker=marks[k], alpha=0.5, linewidths=0, label=name)
        axis.set_title(f"{row['title']}\nlike real {row['precision']:.2f} · reached {row['recall']:.2f}", fontsize=11)
        axis.set_aspect("equal")
        axis.set_xlabel("x" if axis in axes[4:] else "")
        axis.set_ylabel("y" if axis in (axes[0], axes[4]) else "")
    axes[0].legend(fontsize=9, markerscale=3, loc="lower center", ncols=3, handletextpad=0, columnspacing=0.6)
    axes[0].set_xlim(-2.6, 2.6)
    axes[0].set_ylim(-2.3, 2.9)
    figure.savefig(picture, dpi=110)


def main() -> None:
    """Writes results/guidance.json from trained runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--digits", help="a run of the recipe digits")
    parser.add_argument("--classifier", help="a run of the recipe digits-classifier")
    parser.add_argument("--classes2d", help="a run of the recipe classes2d")
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--picture", type=Path, help="of the plane, by weight")
    given = parser.parse_args()
    path = RESULTS / "guidance.json"
    told = json.loads(path.read_text()) if path.exists() else {}
    told |= {"machine": machine()}
    if given.digits:
        told["digits"] = digits(un.open(given.digits), given.classifier, given.draws)
    if given.classes2d:
        told["classes2d"] = plane(un.open(given.classes2d), given.picture)
    path.write_text(json.dumps(told, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
