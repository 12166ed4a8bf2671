"""What every sampler promises and shows: python benchmarks/orders.py

All by algebra on Gaussian data, so that the figures are the same on every machine. Writes results/orders.json, the
table of docs/samplers.md and its picture: the exact error of some samplers at few evaluations.
"""

import json
from pathlib import Path
from typing import Any

import harness
import numpy as np

import unnoise as un
from unnoise.conformance import judge
from unnoise.conformance.proof import HOME, OVER, proof
from unnoise.report import errors, style
from unnoise.samplers import SAMPLERS

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
FROM, TO = "<!-- written by benchmarks/orders.py -->\n", "<!-- up to here -->\n"
DRAWN = ("ddim", "heun", "dpmpp_2m", "unipc_2", "deis_3", "er_sde_3")
EVALUATIONS = (4, 5, 6, 8, 10, 12, 14, 16, 20)
TOLD = (5, 10, 20)


def distance(name: str, evaluations: int) -> tuple[int, float] | None:
    """Questions asked and W2 of the sample, from the prior, on the Karras grid; None where a step asks more."""
    try:
        steps = SAMPLERS[name].steps(evaluations)
    except ValueError:
        return None
    plan = un.plan(name, OVER[HOME], steps=steps, grid="karras")
    if plan.rows > evaluations:
        return None
    return plan.rows, judge.distance(plan, OVER[HOME].schedule, *judge.spectrum(), from_prior=True)


def row(name: str) -> dict[str, Any]:
    entry, shown = SAMPLERS[name], proof(name)
    return {
        "sampler": name,
        "stochastic": shown.stochastic,
        "questions_of_10_steps": entry.evaluations(10),
        "memories": un.plan(name, OVER[HOME], steps=10, grid="karras").memories,
        "promised": shown.promised,
        "shown": {process: None if np.isnan(order) else order for process, order in shown.orders.items()},
        "strong": entry.strong if shown.stochastic else None,
        "w2": {str(n): distance(name, n) for n in EVALUATIONS},
    }


def line(found: dict[str, Any]) -> str:
    orders = [order for order in found["shown"].values() if order is not None]
    promised = str(found["promised"]) if found["promised"] else "none"
    shown = f"{min(orders):.2f} – {max(orders):.2f}" if orders and found["promised"] else "–"
    path = "–" if found["strong"] is None else str(found["strong"] or "fresh")
    few = [f"{found['w2'][str(n)][1]:.4f}" if found["w2"][str(n)] else "–" for n in TOLD]
    cells = (f"`{found['sampler']}`", found["questions_of_10_steps"], found["memories"], promised, shown, path, *few)
    return "| " + " | ".join(map(str, cells)) + " |"


def table(rows: list[dict[str, Any]]) -> str:
    head = (
        "sampler",
        "questions in 10 steps",
        "memories",
        "order",
        "shown",
        "along the path",
        *(f"W2 at {n}" for n in TOLD),
    )
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join([*lines, *map(line, rows)]) + "\n"


def main() -> None:
    harness.no_options(__doc__)
    rows = [row(name) for name in SAMPLERS]
    (HERE / "results" / "orders.json").write_text(json.dumps({"over": list(OVER), "rows": rows}, indent=1) + "\n")
    page = DOCS / "samplers.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(FROM)
    page.write_text(before + FROM + "\n" + table(rows) + "\n" + TO + rest.partition(TO)[2], encoding="utf-8")
    curves = {}
    for found in rows:
        if found["sampler"] in DRAWN:
            points = dict(pair for pair in found["w2"].values() if pair is not None)
            curves[found["sampler"]] = (list(points), list(points.values()))
    title = "Exact error at few evaluations, from the prior: Gaussian data, Karras grid"
    fig = errors.error(curves, slopes=(1, 2, 3), title=title, measure="2-Wasserstein distance, rms over directions")
    style.save(fig, DOCS / "samplers.png")


if __name__ == "__main__":
    main()
