"""`unnoise conformance`: what every sampler here promises and shows; and what another library's sampler really is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unnoise.cli.options import Json, Pairs, pairs
from unnoise.cli.speak import Meter, say, table, tell

if TYPE_CHECKING:
    from unnoise.conformance.account import Account


def conformance(
    sampler: Annotated[
        str | None,
        typer.Argument(metavar="[LIBRARY:NAME]", help="diffusers:CLASS, k_diffusion:sample_NAME, MODULE:FUNCTION."),
    ] = None,
    options: Pairs = None,
    steps: Annotated[int, typer.Option(help="Steps at which the other library's table is read.", min=2)] = 10,
    out: Annotated[Path | None, typer.Option(help="Folder of the picture and the JSON.")] = None,
    theme: Annotated[str, typer.Option(help="light or dark.")] = "light",
    json: Json = False,
) -> None:
    """Measure the order of every sampler by algebra; or read another library's sampler out as a table and judge it."""
    if sampler is None:
        _ours(out or Path(), theme, json)
    else:
        _theirs(sampler, pairs(options), steps, out or Path(), theme, json)


def _ours(out: Path, theme: str, json: bool) -> None:
    import json as text_of

    from unnoise import files
    from unnoise.conformance import proof
    from unnoise.report import conformance as drawn
    from unnoise.report import style
    from unnoise.samplers import SAMPLERS

    rows: list[proof.Proof] = []
    with Meter("proof", len(SAMPLERS), "samplers", lambda: len(rows)):
        rows.extend(proof.proofs())
    record = [row.to_json() for row in rows]
    kept = files.put(out / "conformance.json", text_of.dumps(record, indent=2) + "\n")
    fig = drawn.proofs(rows, theme)
    picture = style.save(fig, out / "conformance.png")
    if json:
        tell({"samplers": record, "files": [str(kept), str(picture)]})
        return
    columns = (
        "sampler",
        "",
        "evaluations of 10 steps",
        "order promised",
        "order shown",
        *(f"W2 at {n}" for n in proof.FEW),
    )
    table(columns, [row.cells for row in rows], width=140)
    bad = [row.name for row in rows if not row.kept]
    say(f"Orders: least and most on {proof.PROCESSES_TOLD}. W2: distance to the data at so many evaluations.")
    say(f"Out of their bands: {', '.join(bad)}." if bad else "Every sampler shows the order that it promises.")
    say(f"The numbers are in {kept}, drawn in {picture}")


def _theirs(spec: str, options: dict[str, Any], steps: int, out: Path, theme: str, json: bool) -> None:
    import json as text_of

    from unnoise import files
    from unnoise.conformance import account, foreign
    from unnoise.report import conformance as drawn
    from unnoise.report import style

    found = account.account(foreign(spec, options), steps)
    name = "-".join([spec.replace(":", "-"), *(f"{k}={v}" for k, v in options.items())])
    record = found.to_json()
    kept = files.put(out / f"conformance-{name}.json", text_of.dumps(record, indent=1) + "\n")
    picture = style.save(drawn.account(found, theme), out / f"conformance-{name}.png")
    if json:
        tell({**record, "files": [str(kept), str(picture)]})
        return
    _say(found)
    say(f"The table and all numbers are in {kept}, drawn in {picture}")


def _say(found: "Account") -> None:
    reading = found.reading
    kind = "stochastic" if reading.wide.noises else "deterministic"
    width = f"{reading.plan.memories} memories" if reading.plan is not None else "no plan"
    say(f"{reading.name}, {reading.steps} steps: {reading.wide.rows} evaluations, {width}, {kind}")
    rule = reading.rule or "none of ours"
    say(f"  names the rule          {rule}")
    say(f"  not affine              {reading.residual:.1g} of a run's size")
    off = found.displaced
    worst = max(off, key=lambda n: off[n])
    say(f"  asked at another level  by {off[worst]:.1g} in log(sigma/alpha), at most, with {worst} steps")
    beside = f" ({found.own_order:.2f} by our {rule} over the same times)" if found.ours else ""
    say(f"  order shown             {found.order:.2f}{beside}")
    ratios = ", ".join("–" if ratio != ratio else f"{ratio:.3g}" for ratio in found.ratios)
    if not reading.wide.noises:
        say(f"  1, h, h², h³ become     {ratios} of what they should be, in lambda, with 80 steps")
    for steps, (theirs, ours) in found.few.items():
        more = "" if ours is None else f"; our {rule} over its own grid {ours:.4f}"
        say(f"  W2 after {steps:>3} steps      {theirs:.4f}{more}")
    for sentence in found.sentences:
        say(sentence)


__all__ = ["conformance"]
