"""The cost of a sampler's step without a network: ours beside diffusers' and k-diffusion's, as ratios.

    python benchmarks/samplers.py [--repeats 31] [--steps 50] [--threads 1]

Runs in the environment of benchmarks/requirements.txt, with src on PYTHONPATH.

Every side is given the same answers x_0, one tensor a question, made beforehand: what is timed is all that stands
between two questions. Both walk the same grid from the same start, and must end within 1e-4 of each other before
anything is timed. Rivals run in their documented fast settings: predictions of x_0 taken as they are, no progress
bar, time steps set before the clock starts; scaling a network's input is not counted, though theirs need it.
A ratio is the rival's time over ours, one for each alternation: the median, and the spread from least to greatest.
The engine's own line is the step of a mixed batch, where every item has its own row; no rival has one.
"""

import argparse
import importlib
import itertools
import statistics
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from torch import Tensor

import unnoise as un
from unnoise.denoise.denoiser import Belief
from unnoise.loop import Done
from unnoise.samplers.plan import Plan

SIZES = ((64, 1, 8, 8), (4, 3, 32, 32), (64, 3, 32, 32))
TOLERANCE = 1e-4


class Told:
    """A denoiser that costs nothing: its answers are made beforehand, and given one after the other."""

    def __init__(self, process: un.Gaussian, answers: Sequence[Tensor]) -> None:
        self.process, self.answers, self.turn = process, answers, 0

    def again(self) -> "Told":
        self.turn = 0
        return self

    def next(self) -> Tensor:
        self.turn += 1
        return self.answers[self.turn - 1]

    def __call__(self, x: Tensor, level: Any, cond: Any) -> Belief:
        return Belief(self.next())


@dataclass
class Pair:
    """One rule of ours and of a rival, on one grid."""

    sampler: str
    rival: str
    plan: Plan
    process: un.Gaussian
    run: Callable[[Tensor, Told], Tensor]


# ---- diffusers: schedulers of its own chain, linear betas, 1000 steps


def diffusers_pairs(steps: int) -> Iterator[Pair]:
    import diffusers

    process = un.Gaussian(un.schedules.Discrete(un.schedules.Linear()))
    common = {
        "beta_start": 1e-4,
        "beta_end": 0.02,
        "beta_schedule": "linear",
        "prediction_type": "sample",
        "timestep_spacing": "trailing",
    }
    ddim: Any = diffusers.DDIMScheduler(**common, clip_sample=False)
    multistep: Any = diffusers.DPMSolverMultistepScheduler(**common, final_sigmas_type="zero")
    heun: Any = diffusers.HeunDiscreteScheduler(**common)
    for scheduler, ours in ((ddim, "ddim"), (multistep, "dpmpp_2m"), (heun, "heun")):
        scheduler.set_timesteps(steps)
        distinct = list(dict.fromkeys(scheduler.timesteps.tolist()))
        grid = np.append((np.array(distinct) + 1) / 1000, 0.0)  # their 0 .. 999 are our 1 .. 1000
        plan = un.plan(ours, process, grid=grid)
        yield Pair(ours, f"diffusers {type(scheduler).__name__}", plan, process, _walk(scheduler, ours == "heun"))


def _walk(scheduler: Any, exploding: bool) -> Callable[[Tensor, Told], Tensor]:
    """A pipeline's loop. Those in sigma start from x/alpha; what a scheduler remembers is put back before a run."""
    first = int(scheduler.timesteps[0])
    alpha = float(scheduler.alphas_cumprod[first].sqrt()) if exploding else 1.0

    def run(x: Tensor, told: Told) -> Tensor:
        scheduler._step_index = None
        if exploding:
            scheduler.prev_derivative = scheduler.dt = scheduler.sample = None
        if hasattr(scheduler, "model_outputs"):
            scheduler.model_outputs, scheduler.lower_order_nums = [None] * scheduler.config.solver_order, 0
        x = x / alpha
        for t in scheduler.timesteps:
            x = scheduler.step(told.next(), t, x, return_dict=False)[0]
        return x

    return run


# ---- k-diffusion: functions over sigmas, alpha = 1


def k_diffusion_pairs(steps: int) -> Iterator[Pair]:
    sampling = _k_sampling()
    process = un.Gaussian(un.schedules.Karras())
    sigmas = sampling.get_sigmas_karras(steps, 0.002, 80.0)
    for name, ours in (("sample_euler", "euler"), ("sample_dpmpp_2m", "dpmpp_2m"), ("sample_heun", "heun")):
        solve = getattr(sampling, name)

        def run(x: Tensor, told: Told, solve: Any = solve) -> Tensor:
            return solve(lambda x, sigma: told.next(), x, sigmas, disable=True)

        yield Pair(ours, f"k-diffusion {name}", un.plan(ours, process, steps=steps, grid="karras"), process, run)


def _k_sampling() -> Any:
    """k-diffusion's samplers alone: the rest of the package, and what is imported and never used, are stubs."""
    harness.stub("torchdiffeq", "torchsde", "torchvision", "torchvision.transforms")
    spec = importlib.util.find_spec("k_diffusion")
    assert spec is not None
    assert spec.submodule_search_locations
    package = types.ModuleType("k_diffusion")
    package.__path__ = [str(Path(place)) for place in spec.submodule_search_locations]
    sys.modules["k_diffusion"] = package
    return importlib.import_module("k_diffusion.sampling")


# ---- the clock


def measure(pair: Pair, size: tuple[int, ...], repeats: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    answers = [torch.randn(size, generator=generator) for _ in range(pair.plan.rows)]
    told = Told(pair.process, answers)
    start = float(pair.process.schedule.sigma(np.array(pair.plan.start))) * torch.randn(size, generator=generator)

    def ours() -> Tensor:
        return un.sample(told.again(), pair.plan, size[1:], range(size[0]), start=start)

    def rival() -> Tensor:
        return pair.run(start, told.again())

    apart = float((ours() - rival()).abs().max() / rival().abs().max())
    if apart > TOLERANCE:
        raise SystemExit(f"{pair.sampler} and {pair.rival} end {apart:.1e} apart: nothing to compare")
    seconds = harness.alternate({"ours": ours, "rival": rival}, repeats=repeats, warm=2)
    micro = {name: [1e6 * s / pair.plan.rows for s in times] for name, times in seconds.items()}
    return {
        "size": list(size),
        "sampler": pair.sampler,
        "rival": pair.rival,
        "questions": pair.plan.rows,
        "apart": apart,
        "us a question": {name: _spread(times) for name, times in micro.items()},
        "ratio": harness.ratio(seconds["ours"], seconds["rival"]),
    }


def engine(size: tuple[int, ...], steps: int, repeats: int) -> dict[str, Any]:
    """A tick of the open loop in which plans of three rules and other step counts share the batch."""
    process = un.Gaussian(un.schedules.Cosine())
    answer = torch.randn(size)

    class Same:
        def __init__(self) -> None:
            self.process = process

        def __call__(self, x: Tensor, level: Any, cond: Any) -> Belief:
            return Belief(answer)

    plans = [un.plan(name, process, steps=steps + i) for i, name in enumerate(("ddim", "dpmpp_2m", "euler"))]

    def run() -> int:
        open_loop = un.Engine(Same(), places=size[0], sizes=(size[0],))
        jobs = [list(range(k, size[0], 3)) for k in range(3)]
        for plan, seeds in zip(plans, jobs, strict=True):
            open_loop.submit(un.Job(plan, size[1:], seeds, start=answer[: len(seeds)]))
        ticks = 0
        while open_loop.under_way == size[0] or not ticks:
            ticks += 1
            if any(isinstance(event, Done) for event in open_loop.tick()):
                break
        return ticks

    seconds = harness.alternate({"engine": run}, repeats=repeats, warm=1)["engine"]
    return {"size": list(size), "us a tick": _spread([1e6 * s / run() for s in seconds])}


def _spread(times: list[float]) -> dict[str, float]:
    return {"median": statistics.median(times), "least": min(times), "largest": max(times)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    figures: dict[str, Any] = {"machine": harness.machine(), "steps": options.steps, "pairs": [], "engine": []}
    pairs = [*diffusers_pairs(options.steps), *k_diffusion_pairs(options.steps)]
    print(f"{'size':>12} {'sampler':9} {'rival':40} {'ours':>8} {'rival':>8} {'ratio':>6}  least .. greatest")
    for size, pair in itertools.product(SIZES, pairs):
        found = measure(pair, size, options.repeats)
        figures["pairs"].append(found)
        ours, rival = (found["us a question"][side]["median"] for side in ("ours", "rival"))
        spread = found["ratio"]
        print(
            f"{'x'.join(map(str, size)):>12} {pair.sampler:9} {pair.rival:40} {ours:5.0f} us {rival:5.0f} us "
            f"{spread['median']:6.2f}  {spread['least']:.2f} .. {spread['largest']:.2f}"
        )
    for size in SIZES:
        found = engine(size, options.steps, options.repeats)
        figures["engine"].append(found)
        print(f"{'x'.join(map(str, size)):>12} engine, a mixed batch: {found['us a tick']['median']:.0f} us a tick")
    harness.save("samplers", figures)


if __name__ == "__main__":
    main()
