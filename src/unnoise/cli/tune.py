"""`unnoise tune`: plans of few evaluations, fitted to a trained model and kept in its run."""

import time
from typing import Annotated, Any

import typer

from unnoise.cli.options import Device, Ema, Folder, Json
from unnoise.cli.speak import Meter, say, span, tell
from unnoise.config import UserError


def tune(
    run: Folder,
    evaluations: Annotated[str, typer.Option(help="Questions for each sample; a plan for each.")] = "4,5,6,8,10",
    guidance: Annotated[
        str | None, typer.Option(metavar="W|LEAST-MOST", help="A weight of guidance, or a range of weights.")
    ] = None,
    items: Annotated[
        int | None,
        typer.Option(
            help="Items to fit to: 256, fewer where a network is large.",
            min=8,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Steps of Gauss and Newton, at most: 12; 0 is least squares alone.", min=0),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Tune plans that are kept already, too.")] = False,
    ema: Ema = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Fit plans of few evaluations to a run: sample with --sampler tuned --evaluations 6.

    After Ctrl-C the same command goes on where it was.
    """
    from unnoise import run as runs
    from unnoise import tuning
    from unnoise.cli import asking, tuned_page
    from unnoise.distill import Tuned, Tuning

    opened = asking.averaged(runs.open(run, asking.device(device)), ema)
    given = {"fit": items, "choose": items and max(8, items // 2), "judge": items, "steps": steps}
    how = Tuning(**{name: value for name, value in given.items() if value is not None})
    found: list[Tuned] = []
    begun, stages = time.monotonic(), _Stages()
    try:
        for told in tuning.tune(opened, _counts(evaluations), _weights(guidance), how, again):
            stages.show(told)
            if told.tuned is not None:
                found.append(told.tuned)
                say(_line(told.tuned), beside=json)
    finally:
        stages.end()
    kept = [tuned for tuned in found if tuned.better]
    spent = span(time.monotonic() - begun)
    if not found:
        say(f"{run} has these plans already, tuned to these weights: --again makes them anew", beside=json)
    else:
        say(f"{len(kept)} of {len(found)} plans in {run / 'tuned'} after {spent}", beside=json)
    page = tuned_page.write_page(opened)
    if page is not None:
        say(f"all plans of these weights: {page}", beside=json)
    if json:
        tell(
            {"run": str(run), "page": None if page is None else str(page), "plans": [_facts(tuned) for tuned in found]}
        )


class _Stages:
    """A meter for each stage, one after the other."""

    def __init__(self) -> None:
        self.meter: Meter | None = None
        self.last: Any = None

    def show(self, told: Any) -> None:
        """What is told now; where a plan is done, its own line says it."""
        if self.last is None or told.stage != self.last.stage:
            self.end()
            self.last = told
            if told.tuned is None:
                self.meter = Meter(
                    told.stage, told.total, told.unit, lambda: self.last.done, lambda: str(self.last.fact)
                )
                self.meter.__enter__()
        self.last = told

    def end(self) -> None:
        """The last of a stage."""
        if self.meter is not None:
            self.meter.__exit__(None, None, None)
            self.meter = None


def _counts(text: str) -> list[int]:
    """The numbers of "4,5,6"."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 1 for word in words):
        raise UserError(f"--evaluations are whole numbers from 2, such as 4,5,6,8,10; got '{text}'")
    return [int(word) for word in words]


def _weights(text: str | None) -> Any:
    """A weight, a range of weights, or other guides in words."""
    if text is None:
        return None
    least, dash, most = text.partition("-")
    if dash and least.strip():
        bounds = [_number(part) for part in (least, most)]
        if None not in bounds:
            return tuple(bounds)
        if bounds[0] is not None and _number(text) is None:
            raise UserError(f"a range of guidance weights is two numbers, such as 1-4; got '{text}'")
    number = _number(text)
    return text if number is None else number


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _line(tuned: Any) -> str:
    count, share = tuned.plan.rows, tuned.share
    told = f"{count} evaluations: {tuned.distance:.4f} from the fine solution, {share:.2f} of {tuned.ancestor.name}'s"
    return told if tuned.better else f"{told}: no better, so not kept"


def _facts(tuned: Any) -> dict[str, Any]:
    return {
        "evaluations": tuned.plan.rows,
        "distance": tuned.distance,
        "ancestor": tuned.ancestor.name,
        "before": tuned.before,
        "kept": tuned.better,
        "guidance": list(tuned.guidance),
        "budget": list(tuned.budget),
    }


__all__ = ["tune"]
