"""Draws the picture and the table of docs/serving.md: python docs/serving.py, of benchmarks/results/serving.json."""

import json
from pathlib import Path
from typing import Any

from unnoise.report import style

HERE = Path(__file__).parent
FIGURES = HERE.parent / "benchmarks" / "results" / "serving.json"
RIVALS = {
    "unnoise": "unnoise",
    "litserve": "LitServe, batches for diffusers' pipeline",
    "one": "one request after the other",
}
MIXES = (1, 16)


def picture(cells: list[dict[str, Any]]) -> None:
    """Share of the ceiling, and the wait for a result, against the load: one setting, and sixteen."""
    with style.themed("light") as theme:
        sheet = style.figure((9.6, 5.6))
        panels = sheet.subplots(2, len(MIXES), sharex=True, sharey="row")
        for column, mix in enumerate(MIXES):
            for look, (rival, name) in zip(theme.series(len(RIVALS)), RIVALS.items(), strict=True):
                mine = [cell for cell in cells if (cell["rival"], cell["settings"]) == (rival, mix)]
                loads = [cell["load"] for cell in mine]
                panels[0][column].plot(loads, [cell["of_ceiling"] for cell in mine], label=name, **look)
                done = [cell for cell in mine if cell["result"]]
                loads, waits = [cell["load"] for cell in done], [cell["result"]["p95"] for cell in done]
                panels[1][column].plot(loads, waits, label=name, **look)
            said = "every request alike" if mix == 1 else f"{mix} settings in the mix"
            panels[0][column].set_title(f"Work done, as a share of the ceiling: {said}", fontsize=9)
            panels[1][column].set_title("Seconds to a result, 95 of 100 (those served)", fontsize=9)
            panels[1][column].set_xlabel("load, as a share of capacity")
            panels[1][column].set_xscale("log")
            panels[1][column].set_yscale("log")
            panels[0][column].set_ylim(0, 1)
        panels[1][0].set_xticks([0.2, 0.5, 1, 2, 10], ["0.2", "0.5", "1", "2", "10"])
        panels[1][0].minorticks_off()
        panels[0][1].legend(loc="upper left", fontsize=8)
        style.save(sheet, HERE / "serving.png")


def table(cells: list[dict[str, Any]]) -> str:
    """A row for each rival, mix and load, as Markdown."""
    names = ("settings", "load", "who", "done a second", "of the ceiling", "p50, p95 to a preview, s",
             "p50, p95 to a result, s", "longest, s", "answers")  # fmt: skip
    rows = [f"| {' | '.join(names)} |", "|--:|--:|---|--:|--:|---|---|--:|---|"]
    for cell in cells:
        answers = ", ".join(f"{count} × {status}" for status, count in cell["outcomes"].items())
        rows.append(
            f"| {cell['settings']} | {cell['load']:g} | {cell['rival']} | {cell['done_per_second']:.1f} "
            f"| {cell['of_ceiling']:.2f} | {_said(cell['preview'])} | {_said(cell['result'])} "
            f"| {cell['longest_answer']:.1f} | {answers} |"
        )
    return "\n".join(rows)


def _said(quantiles: dict[str, float]) -> str:
    return ", ".join(f"{quantiles[q]:.2f}" for q in ("p50", "p95")) if quantiles else "–"


if __name__ == "__main__":
    found = sorted(json.loads(FIGURES.read_text())["cells"], key=lambda cell: (cell["settings"], cell["load"]))
    picture(found)
    print(table(found))
