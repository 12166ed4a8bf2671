"""The samplers of diffusers and k-diffusion, read out as tables and judged: python benchmarks/conformance.py

Each is read at several step counts by probing with basis vectors; nothing is sampled and nothing is trained, so the
figures are the same on every machine. Writes results/conformance.json, and prints what docs/samplers.md says of them.
"""

import contextlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import harness
import samplers as k_loops

from unnoise.config import UserError
from unnoise.conformance import foreign
from unnoise.conformance.account import Account, account

PAGE = Path(__file__).parent.parent / "docs" / "samplers.md"
FROM, TO = "<!-- written by benchmarks/conformance.py -->\n", "<!-- up to there -->\n"
OFF = 1e-3  # log(sigma/alpha) by which a question may stand beside its level: integers and float32
SPACINGS = ("linspace", "leading", "trailing")
SCHEDULERS: list[tuple[str, dict[str, Any]]] = [
    *(("DDIMScheduler", {"timestep_spacing": spacing}) for spacing in SPACINGS),
    *(("DDPMScheduler", {"timestep_spacing": spacing}) for spacing in SPACINGS),
    ("EulerDiscreteScheduler", {}),
    ("EulerAncestralDiscreteScheduler", {}),
    ("HeunDiscreteScheduler", {}),
    ("KDPM2DiscreteScheduler", {}),
    ("KDPM2AncestralDiscreteScheduler", {}),
    ("LMSDiscreteScheduler", {}),
    *(("PNDMScheduler", {"timestep_spacing": spacing}) for spacing in SPACINGS),
    ("PNDMScheduler", {"skip_prk_steps": True, "timestep_spacing": "leading"}),
    ("IPNDMScheduler", {}),
    *(("DEISMultistepScheduler", {"solver_order": order}) for order in (1, 2, 3)),
    *(("DPMSolverMultistepScheduler", {"solver_order": order}) for order in (1, 2, 3)),
    ("DPMSolverMultistepScheduler", {"solver_order": 2, "use_karras_sigmas": True}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}),
    *(("DPMSolverSinglestepScheduler", {"solver_order": order}) for order in (2, 3)),
    *(("UniPCMultistepScheduler", {"solver_order": order}) for order in (1, 2, 3)),
    ("SASolverScheduler", {}),
    ("FlowMatchEulerDiscreteScheduler", {}),
    ("FlowMatchHeunDiscreteScheduler", {}),
]
LOOPS = (
    "sample_euler",
    "sample_heun",
    "sample_dpm_2",
    "sample_lms",
    "sample_dpmpp_2m",
    "sample_euler_ancestral",
    "sample_dpm_2_ancestral",
    "sample_dpmpp_2s_ancestral",
    "sample_dpmpp_sde",
    "sample_dpmpp_2m_sde",
    "sample_dpmpp_3m_sde",
)


def line(name: str, found: Account) -> str:
    """A row of the table that is printed."""
    worst = max(found.displaced.values())
    ratios = " ".join("–" if r != r else f"{r:.2f}" for r in found.ratios[:3]) if not found.reading.wide.noises else ""
    own = f"{found.own_order:.2f}" if found.ours else "–"
    cells = "–" if found.departure is None else str(len(found.departure.cells))
    return (
        f"{name:<72} {found.reading.rule or '–':<20} {found.reading.residual:8.1g} {worst:8.1g} "
        f"{found.order:6.2f} {own:>6} {ratios:<16} {cells}"
    )


def table(figures: dict[str, Any]) -> str:
    """What docs/samplers.md shows of them."""
    head = ["sampler", "names the rule", "order", "the rule's, same times", "1, h, h² become", "level off by", "cells"]
    rows = ["| " + " | ".join(head) + " |", "| --- | --- " + "| ---: " * (len(head) - 2) + "|"]
    for found in figures["samplers"]:
        if "error" in found:
            rows.append(f"| `{found['sampler']}` | | | | | | {found['error']} |")
            continue
        worst = max(found["displaced"].values())
        ratios = [] if found["polynomials"] is None else found["polynomials"][:3]
        told = ", ".join("–" if r is None else f"{r:.2f}".replace("-0.00", "0.00").replace("-", "−") for r in ratios)
        told = "–" if found["stochastic"] else told
        own = "–" if found["own_order"] is None else f"{found['own_order']:.2f}"
        cells = str(len(found["departures"])) if found["compared"] else "–"
        level = f"**{worst:.2g}**" if worst > OFF else "0"
        name = found["sampler"].replace("diffusers:", "").replace("k_diffusion:", "k: ")
        rule = f"`{found['rule']}`" if found["rule"] else "–"
        rows.append(f"| `{name}` | {rule} | {found['order']:.2f} | {own} | {told} | {level} | {cells} |")
    return "\n".join(rows)


def write(figures: dict[str, Any]) -> None:
    """The table in its place in the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(FROM)
    _, _, after = rest.partition(TO)
    PAGE.write_text(f"{before}{FROM}\n{table(figures)}\n\n{TO}{after}", encoding="utf-8")


def main() -> None:
    harness.no_options(__doc__)
    import diffusers

    for name, _ in SCHEDULERS:  # all at once, before what k-diffusion never uses is stood in for
        getattr(diffusers, name)
    k_loops._k_sampling()
    figures: dict[str, Any] = {"machine": harness.machine(), "diffusers": diffusers.__version__, "samplers": []}
    print(f"{'sampler':<72} {'names':<20} {'residual':>8} {'level':>8} {'order':>6} {'ours':>6} {'1, h, h²':<16} cells")
    cases = [(f"diffusers:{name}", options) for name, options in SCHEDULERS]
    for spec, options in [*cases, *((f"k_diffusion:{name}", {}) for name in LOOPS)]:
        name = " ".join([spec, *(f"{key}={value}" for key, value in options.items())])
        try:
            with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                found = account(foreign(spec, options))
        except UserError as error:
            print(f"{name:<72} {error}", flush=True)
            figures["samplers"].append({"sampler": name, "error": str(error)})
            continue
        print(line(name, found), flush=True)
        record = found.to_json()
        del record["plan"]
        record["stochastic"] = bool(found.reading.wide.noises)
        figures["samplers"].append({**record, "sampler": name})
        harness.save("conformance", figures)
    write(json.loads(json.dumps(figures)))


if __name__ == "__main__":
    main()
