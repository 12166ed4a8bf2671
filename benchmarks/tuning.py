"""Tuned plans beside the best untuned ones: distance to the fine solution, and Fréchet distance, at few evaluations.

    python benchmarks/tuning.py mixture-digits mixture-swissroll
    python benchmarks/tuning.py digits=runs/digits shapes=runs/shapes [--items 64 --steps 8 --samples 256]
    python benchmarks/tuning.py mixture-digits digits=runs/digits --guidance 2

For every subject and 4, 5, 6, 8 and 10 evaluations: every deterministic sampler of the table over every grid that asks
exactly so often, the twenty nearest to the fine solution of them (found on an eighth of the items, then asked of all);
those that are published as the best without training (iPNDM-4, UniPC-3, DPM-Solver++(2M) and (3M), each over the grid
that suits it best); and the tuned plan.
Distances are means of |x − fine|/sqrt(d) over items whose seeds have no part in tuning, nor in the choice of anything
else; the untuned pairs are ranked on these very items, which favours them. Subjects are two exact mixtures, whose
denoiser is a closed form, and folders of runs; with --guidance plans are tuned for samples so guided, and all others
draw such samples too. Writes results/tuning.json and tuning.html as it goes, one entry for each subject, the
tables of docs/tuning.md, and for runs of pictures samples of 5 evaluations.
"""

import argparse
import json
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import harness
import numpy as np
import torch
from torch import Tensor
from tuning_tables import DOCS, PUBLISHED, pages

import unnoise as un
from unnoise.distill import Law, Subject, Tuned, Tuning, tune
from unnoise.distill.fine import join, solve
from unnoise.distill.race import Untuned, entries, race
from unnoise.distill.subject import distance
from unnoise.distill.tune import Kept
from unnoise.guide import CFG
from unnoise.metrics.statistics import Statistics
from unnoise.samplers import SAMPLERS, Plan
from unnoise.tuning import about
from unnoise.tuning import tune as tuned_to

GRIDS = ("karras", "logsnr", "time", "edm")
COUNTS = (4, 5, 6, 8, 10)
SEED = "benchmark"


@dataclass
class Case:
    """What is measured: who is asked, real items in the model's range, and the run, where there is one."""

    name: str
    subject: Subject
    real: Tensor
    run: Any = None
    guidance: float = 1.0
    store: Kept = field(default_factory=Kept)


def mixture_digits(guidance: float) -> Case:
    """Full normals fitted to the digits, in 64 dimensions: the denoiser is exact.

    30 to all of them; guided, 3 to each digit, and away from all towards the digit.
    """
    from sklearn.datasets import load_digits
    from sklearn.mixture import GaussianMixture

    x, label = load_digits(return_X_y=True)
    groups, each = ([x], 30) if guidance == 1 else ([x[label == digit] for digit in range(10)], 3)
    laws: list[Any] = [GaussianMixture(each, reg_covar=4e-3, random_state=0).fit(group / 8 - 1) for group in groups]
    weights, means, covs = (np.concatenate([getattr(law, f"{name}_") for law in laws])
                            for name in ("weights", "means", "covariances"))  # fmt: skip
    process = un.Gaussian(un.schedules.Karras(0.02, 80))
    named = None if guidance == 1 else np.repeat(np.arange(10), each)
    denoiser = un.exact.Mixture(process, weights, means.reshape(-1, 1, 8, 8), covs, named)
    drawn = [torch.from_numpy(law.sample(20_000 // len(laws))[0]).float().reshape(-1, 1, 8, 8) for law in laws]
    whole = torch.cat(drawn)
    if guidance == 1:
        return Case("mixture-digits", Subject(denoiser, (1, 8, 8), Law.of(whole)), whole[::2])
    law = Law.of(whole, np.repeat(np.arange(10), len(drawn[0])), 10)
    guided = CFG(denoiser, {"label": 10}, guidance)
    subject = Subject(guided, (1, 8, 8), law, 10, (guidance, guidance))
    return Case(called("mixture-digits", guidance), subject, whole[::2], guidance=guidance)


def mixture_swissroll(guidance: float) -> Case:
    """60 narrow normals along a roll in 2 dimensions, on the cosine schedule: strongly bent ways."""
    if guidance != 1:
        raise SystemExit("mixture-swissroll has no classes, and so no guidance")
    angle = np.linspace(1.5 * np.pi, 4.5 * np.pi, 60)
    means = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1) / 10
    process = un.Gaussian(un.schedules.Cosine())
    denoiser = un.exact.Mixture(process, np.ones(60), means, np.tile(np.eye(2) * 4e-3, (60, 1, 1)))
    draws = np.random.default_rng(0)
    drawn = means[draws.integers(60, size=20_000)] + draws.standard_normal((20_000, 2)) * np.sqrt(4e-3)
    real = torch.from_numpy(drawn).float()
    return Case("mixture-swissroll", Subject(denoiser, (2,), Law.of(real)), real[::2])


def of_run(name: str, folder: str, guidance: float) -> Case:
    run = un.open(folder)
    items = run.recipe.source.split("test")
    raw, _ = items.take(np.arange(min(len(items), 2000)))
    real = run.recipe.modality.encode(raw)
    return Case(called(name, guidance), about(run, (guidance, guidance)), real, run, guidance)


def called(name: str, guidance: float) -> str:
    return name if guidance == 1 else f"{name}, guidance {guidance:g}"


EXACT = {"mixture-digits": mixture_digits, "mixture-swissroll": mixture_swissroll}


def features(case: Case, x: Tensor) -> np.ndarray:
    """What the Fréchet distance is taken of: a classifier's, where the protocol has one, else the numbers."""
    reader = case.run and case.run.protocol().judge
    if not reader:
        return x.flatten(1).double().numpy()
    return reader.features(case.run.recipe.modality.quantise(x)).astype(np.float64)


def frechet(case: Case, x: Tensor) -> float:
    empty = Statistics.empty(features(case, case.real[:1]).shape[1])
    return empty.update(features(case, x)).frechet(empty.update(features(case, case.real)))


def draw(case: Case, plan: Plan, seeds: list[int]) -> Tensor:
    return torch.cat(list(case.subject.draw(plan, seeds)))


def untuned(case: Case, count: int) -> list[Untuned]:
    names = tuple(name for name, entry in SAMPLERS.items() if not entry.stochastic() and entry.order)
    return entries(case.subject, count, names, GRIDS)


def fitted(case: Case, count: int, how: Tuning) -> Tuned:
    """The tuned plan: that of a run stands in its folder."""
    if case.run is None:
        return next(told.tuned for told in tune(case.subject, (count,), how, case.store) if told.tuned)
    for told in tuned_to(case.run, (count,), case.guidance, how):
        if told.tuned:
            print(f"{case.name}: {told.stage}: {told.fact}", file=sys.stderr, flush=True)
    return case.run.tuned(count, case.guidance)


def asked(case: Case, entry: Untuned, seeds: list[int], ends: Tensor) -> dict[str, Any]:
    """An untuned pair, asked of all items."""
    drawn = draw(case, entry.plan, seeds)
    off = float(distance(drawn, ends).mean())
    return {"sampler": entry.sampler, "grid": entry.grid, "distance": off, "frechet": frechet(case, drawn)}


def measure(case: Case, counts: list[int], how: Tuning, samples: int) -> Iterator[dict[str, Any]]:
    """What is known after each number of evaluations."""
    seeds = case.subject.seeds(SEED, samples)
    ends = join([part for _, part in solve(case.subject, seeds)]).ends.cpu()
    floor = frechet(case, ends)
    for count in counts:
        begun = time.process_time()
        plan = fitted(case, count, how)
        seconds = time.process_time() - begun
        found = compared(case, plan, seeds, ends)
        row: dict[str, Any] = {"evaluations": count, **found, "seconds_of_tuning": seconds}
        own, best = row["tuned"], row["untuned"][0]
        print(f"{case.name} at {count}: {own['distance']:.4f}, {best['sampler']} over {best['grid']} "
              f"{best['distance']:.4f}: {row['share']:.3f}; Fréchet {own['frechet']:.3f}, {best['frechet']:.3f}, "
              f"fine {floor:.3f}", flush=True)  # fmt: skip
        if case.run is not None and count == 5 and case.guidance == 1:
            picture(case, plan.plan, row)
        yield {"rows": [row], "fine_frechet": floor, "samples": samples, "settings": asdict(how)}


def compared(case: Case, plan: Tuned, seeds: list[int], ends: Tensor) -> dict[str, Any]:
    """A tuned plan beside the untuned pairs."""
    few = max(16, len(seeds) // 8)
    entries = race(case.subject, untuned(case, plan.plan.rows), seeds[:few], ends[:few])
    first = sorted(entries, key=lambda e: e.distance)
    known = {e.sampler: e for e in reversed(first[22:]) if e.sampler in PUBLISHED}  # of each, the nearest
    ranked = [asked(case, e, seeds, ends) for e in [*first[:22], *known.values()]]
    ranked.sort(key=lambda e: e["distance"])
    drawn = draw(case, plan.plan, seeds)
    off = float(distance(drawn, ends).mean())
    own = {"distance": off, "frechet": frechet(case, drawn), "budget": plan.budget,
           "head": plan.plan.head is not None, "memories": plan.plan.memories}  # fmt: skip
    published = {name: next(e for e in ranked if e["sampler"] == name) for name in PUBLISHED
                 if any(e["sampler"] == name for e in ranked)}  # fmt: skip
    return {"tuned": own, "share": off / ranked[0]["distance"], "untuned": ranked[:20], "published": published,
            "least_frechet": min(e["frechet"] for e in ranked[:20])}  # fmt: skip


def joined(before: dict[str, Any] | None, after: dict[str, Any]) -> dict[str, Any]:
    """Rows of several goes at one subject, if they were measured alike."""
    same = before is not None and all(before[key] == after[key] for key in ("samples", "settings"))
    counts = {row["evaluations"]: row for row in (*(before["rows"] if before and same else ()), *after["rows"])}
    return {**after, "rows": [counts[count] for count in sorted(counts)]}


def picture(case: Case, plan: Plan, row: dict[str, Any]) -> None:
    """Three rows of the same seeds: the best untuned pair at 5 evaluations, the tuned plan, the fine solution."""
    from unnoise.report import tuned as drawn

    best = row["untuned"][0]
    process, seeds = case.subject.denoiser.process, case.subject.seeds(SEED, 11)
    steps = SAMPLERS[best["sampler"]].steps(5)
    plain = un.plan(best["sampler"], process, steps, best["grid"])
    fine = join([part for _, part in solve(case.subject, seeds)]).ends.cpu()
    lots = {
        f"{best['sampler']} over {best['grid']}, 5 evaluations": draw(case, plain, seeds),
        "tuned, 5 evaluations": draw(case, plan, seeds),
        "the fine solution, 64": fine,
    }
    shown = {name: case.run.recipe.modality.show(x) for name, x in lots.items()}
    fig = drawn.strips(shown, f"{case.name}: the same seeds, by 5 questions to the network")
    from unnoise.report import style

    style.save(fig, DOCS / f"tuning-{case.name}.png")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("subjects", nargs="+")
    arguments.add_argument("--items", type=int, default=256)
    arguments.add_argument("--steps", type=int, default=12)
    arguments.add_argument("--samples", type=int, default=1000)
    arguments.add_argument("--guidance", type=float, default=1.0)
    arguments.add_argument("--evaluations", default=",".join(map(str, COUNTS)))
    given = arguments.parse_args()
    counts = [int(word) for word in given.evaluations.split(",")]
    how = Tuning(fit=given.items, choose=max(8, given.items // 2), judge=given.items, steps=given.steps)
    place = harness.RESULTS / "tuning.json"
    for word in given.subjects:
        name, _, folder = word.partition("=")
        torch.manual_seed(zlib.crc32(name.encode()))
        case = of_run(name, folder, given.guidance) if folder else EXACT[name](given.guidance)
        for found in measure(case, counts, how, given.samples):
            told = json.loads(place.read_text()) if place.exists() else {}
            told[case.name] = joined(told.get(case.name), {**found, "machine": harness.machine()})
            place.write_text(json.dumps(told, indent=1) + "\n")
            pages(told)


if __name__ == "__main__":
    main()
