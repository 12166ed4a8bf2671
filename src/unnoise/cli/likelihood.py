"""`unnoise evaluate --likelihood`: how likely a run finds held-out items, in bits or nats a number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unnoise.cli.speak import Meter, say, table
from unnoise.config import UserError, choose

WAYS = {"ode": ("ode",), "bound": ("bound",), "both": ("ode", "bound")}


@dataclass(frozen=True)
class Wanted:
    """What was asked for: the ways, and how carefully."""

    ways: tuple[str, ...] = ()
    tolerance: float | None = None
    exact: int | None = None


def wanted(way: str | None, tolerance: float | None, exact: int | None) -> Wanted:
    """What the flags ask; UserError where they do not belong together."""
    ways: tuple[str, ...] = () if way is None else choose("way to a likelihood", way, WAYS)
    for flag, value in (("--tolerance", tolerance), ("--exact", exact)):
        if value is not None and "ode" not in ways:
            raise UserError(f"{flag} is of the flow: give --likelihood ode, or both")
    if tolerance is not None:  # told now, not after samples have been drawn and measured
        import torch

        from unnoise.loop import Adaptive

        Adaptive(tolerance).check(torch.float32)
    return Wanted(ways, tolerance, exact)


def measure(run: Any, asked: Wanted, against: str, count: int | None) -> list[Any]:
    """The likelihoods of held-out items, one for each way."""
    from unnoise.loop import Adaptive
    from unnoise.metrics.likelihood import EXACT, TOLERANCE, held_out

    if not asked.ways:
        return []
    items = held_out(run.recipe.source, against, count).items
    how = Adaptive(asked.tolerance or TOLERANCE)
    exact = EXACT if asked.exact is None else asked.exact
    found: list[Any] = []
    arrived: list[int] = []
    with Meter("likelihood", len(items) * len(asked.ways), "items", lambda: sum(arrived)):
        for way in asked.ways:
            found.append(run.likelihood(way, items, how=how, exact=exact, arrived=lambda: arrived.append(1)))
            arrived[:] = [len(items) * len(found)]
    return found


def show(told: Sequence[Any]) -> None:
    """A table of likelihoods, and how each was measured."""
    from unnoise.report.words import called, figure_of

    known = any(one.gap is not None for one in told)
    titles = ("−log p of held-out items", "mean", "", *(("above the least",) if known else ()))
    rows: list[list[str]] = []
    for one in told:
        record = one.record()
        gap = [figure_of(*one.gap)] if one.gap else [""] if known else []
        rows.append([called(record["name"]), figure_of(one.value, one.error), record["unit"], *gap])
    table(titles, rows, right=("mean", "above the least"))
    for one in told:
        say(f"{called(one.record()['name'])}: {one.text}; ± is the standard error")


__all__ = ["WAYS", "Wanted", "measure", "show", "wanted"]
