"""The results of tuning as tables: results/tuning.html, and those of docs/tuning.md.

python benchmarks/tuning_tables.py
"""

import json
from pathlib import Path
from typing import Any

import harness

from unnoise.report.tuning_page import Drawn, Table, TuningPage, save

PUBLISHED = {"ipndm_4": "iPNDM-4", "unipc_3": "UniPC-3", "dpmpp_2m": "DPM++(2M)", "dpmpp_3m": "DPM++(3M)"}
DOCS = Path(__file__).parent.parent / "docs"


def cells(name: str, found: dict[str, Any], row: dict[str, Any]) -> list[list[str]]:
    """A row's distances, and its Fréchet distances: of the plan, the untuned, those published."""
    best, own = row["untuned"][0], row["tuned"]
    known = [row["published"].get(p) for p in PUBLISHED]
    first = [f"{name}: {row['evaluations']}", f"{own['distance']:.4f}", f"{best['distance']:.4f}", best["sampler"]]
    first += [best["grid"], f"{row['share']:.2f}", *(f"{k['distance']:.4f}" if k else "–" for k in known)]
    second = [first[0], f"{own['frechet']:.3f}", f"{best['frechet']:.3f}", f"{row['least_frechet']:.3f}"]
    second += [*(f"{k['frechet']:.3f}" if k else "–" for k in known), f"{found['fine_frechet']:.3f}"]
    return [first, second]


def tables(told: dict[str, Any]) -> list[Table]:
    """Distances, Fréchet distances, and the twenty nearest untuned pairs of every subject."""
    published = list(PUBLISHED.values())
    rows = [cells(name, found, row) for name, found in told.items() for row in found["rows"]]
    names = ["evaluations", "tuned", "best untuned", "sampler", "grid", "ratio", *published]
    laws = ["evaluations", "tuned", "nearest untuned", "least of twenty", *published, "fine"]
    made = [
        Table("Distance to the fine solution", names, [first for first, _ in rows], 5, (3, 4),
              "Means of |x − fine|/√d on items that tuning has not seen; the untuned pairs are ranked on these very "
              "items. The published rules are each over the grid that suits them best."),
        Table("Fréchet distance to held-out data", laws, [second for _, second in rows], 1, (),
              "On the numbers themselves, and for digits on the features of the stored classifier. Least of twenty: of "
              "the nearest untuned pairs; fine: of the fine solution."),
    ]  # fmt: skip
    for name, found in told.items():
        for row in found["rows"]:
            pairs = [[f"{e['sampler']} over {e['grid']}", f"{e['distance']:.4f}", f"{e['frechet']:.3f}"]
                     for e in row["untuned"]]  # fmt: skip
            own = ["tuned", f"{row['tuned']['distance']:.4f}", f"{row['tuned']['frechet']:.3f}"]
            title = f"{name}, {row['evaluations']} evaluations: tuned, and the twenty nearest untuned"
            made.append(Table(title, ["plan", "distance", "Fréchet"], [own, *pairs], 1))
    return made


def pages(told: dict[str, Any]) -> None:
    """results/tuning.html and the tables of docs/tuning.md, from the results."""
    made = tables(told)
    shares = [(row["share"], row["evaluations"]) for found in told.values() for row in found["rows"]]
    few, more = ([s for s, n in shares if (n <= 6) == first] for first in (True, False))
    verdict = f"Of the best untuned distance to the fine solution {min(few):.2f} to {max(few):.2f} is left at 4 to 6 "
    verdict += f"evaluations, {min(more):.2f} to {max(more):.2f} at 8 and 10."
    shown = {place.stem.removeprefix("tuning-"): place for place in sorted(DOCS.glob("tuning-*.png"))}
    alt = "the best untuned pair, the tuned plan, the fine solution"
    title = "the same seeds, by 5 questions"
    drawn = [Drawn(f"{name}: {title}", shown[name].read_bytes(), alt) for name in told if name in shown]
    save(TuningPage("tuned plans · unnoise", verdict, made, drawn=drawn), harness.RESULTS / "tuning.html")
    text = (DOCS / "tuning.md").read_text()
    for table, mark in zip(made[:2], ("results", "laws"), strict=True):
        lines = ["| " + " | ".join(table.names) + " |", "|" + "---|" * len(table.names)]
        for row in table.rows:
            bold = [
                f"**{cell}**" if place == table.told and mark == "results" else cell for place, cell in enumerate(row)
            ]
            lines.append("| " + " | ".join(bold) + " |")
        begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
        first, last = text.index(begin) + len(begin), text.index(end)
        text = text[:first] + "\n" + "\n".join(lines) + "\n" + text[last:]
    (DOCS / "tuning.md").write_text(text)


if __name__ == "__main__":
    pages(json.loads((harness.RESULTS / "tuning.json").read_text()))
