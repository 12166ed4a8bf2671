"""The cost of a sampler's step without a network: ours beside diffusers' and k-diffusion's, as ratios.

    python benchmarks/samplers.py [--repeats 31] [--steps 50] [--threads 1]

Runs in the environment of benchmarks/requirements.txt, with src on PYTHONPATH.

Every side is given the same answers x_0, made beforehand, four in turn so that they lie in the cache as what a network
has just written does: what is timed is all that stands between two questions. Both walk the same grid from the same
start, and must end within 1e-4 of each other before anything is timed. Rivals run in their documented fast settings:
predictions of x_0 taken as they are, no progress bar, time steps set before the clock starts. Schedulers of diffusers
scale what the network is asked, as their pipelines have them do; for all but Heun's that is to hand it on.
Stochastic samplers are timed twice: with their noises made beforehand too, and drawing them, theirs by randn for the
whole batch, ours for every seed along its path. A ratio is the rival's time over ours, one for each alternation: the
median, and the spread from least to greatest.
Then the noise alone beside randn, ours over theirs; and a row of the engine's step for a mixed batch, where every item
stands at a row of its own, over the step of `generate`: no rival has one. Seconds are the processor's, of one thread.
"""

import argparse
import importlib
import itertools
import statistics
import sys
import time
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
from unnoise.loop.engine import AHEAD
from unnoise.loop.generate import course
from unnoise.samplers.plan import Plan
from unnoise.samplers.step import State

SIZES = ((1, 1, 8, 8), (64, 1, 8, 8), (64, 3, 32, 32))
TOLERANCE = 1e-4
WARM = 4  # different answers: what a network has just written lies in the cache, and is not fetched from afar


class Told:
    """A denoiser that costs nothing: its answers are made beforehand, and given one after the other.

    As x_0 to a rival by `next`, as a belief to us by a call.
    """

    next: Callable[[], Tensor]

    def __init__(self, process: un.Gaussian, answers: Sequence[Tensor]) -> None:
        self.process, self.answers, self.beliefs = process, answers, [Belief(x0) for x0 in answers]
        self.again()

    def again(self) -> "Told":
        self.next, self._believe = iter(self.answers).__next__, iter(self.beliefs).__next__
        return self

    def __call__(self, x: Tensor, level: Any, cond: Any) -> Belief:
        return self._believe()


class Given(un.Gaussian):
    """A process whose noises are made beforehand."""

    noises: Sequence[Tensor] = ()

    def walk(self, *_: Any, **__: Any) -> Iterator[Tensor]:
        return iter(self.noises)


@dataclass
class Pair:
    """One rule of ours and of a rival, on one grid; noises: those that the rival is to use, None for its own."""

    sampler: str
    rival: str
    plan: Plan
    process: un.Gaussian
    run: Callable[[Tensor, Told, Sequence[Tensor] | None], Tensor]


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
    ddpm: Any = diffusers.DDPMScheduler(**common, clip_sample=False, variance_type="fixed_small")
    sde: Any = diffusers.DPMSolverMultistepScheduler(
        **common, final_sigmas_type="zero", algorithm_type="sde-dpmsolver++"
    )
    for scheduler, ours in (
        (ddim, "ddim"),
        (multistep, "dpmpp_2m"),
        (heun, "heun"),
        (ddpm, "ddpm"),
        (sde, "dpmpp_2m_sde"),
    ):
        scheduler.set_timesteps(steps)
        distinct = list(dict.fromkeys(scheduler.timesteps.tolist()))
        grid = np.append((np.array(distinct) + 1) / 1000, 0.0)  # their 0 .. 999 are our 1 .. 1000
        plan = un.plan(ours, process, grid=grid)
        yield Pair(ours, f"diffusers {type(scheduler).__name__}", plan, process, _walk(scheduler, ours == "heun"))


def _walk(scheduler: Any, exploding: bool) -> Callable[[Tensor, Told, Sequence[Tensor] | None], Tensor]:
    """A pipeline's loop. Those in sigma start from x/alpha; what a scheduler remembers is put back before a run."""
    first = int(scheduler.timesteps[0])
    alpha = float(scheduler.alphas_cumprod[first].sqrt()) if exploding else 1.0

    module = sys.modules[type(scheduler).__module__]
    drawing = getattr(module, "randn_tensor", None)

    def run(x: Tensor, told: Told, noises: Sequence[Tensor] | None) -> Tensor:
        scheduler._step_index = None
        if drawing is not None:
            ready = iter(noises or ())
            module.randn_tensor = drawing if noises is None else lambda *_, **__: next(ready)
        if exploding:
            scheduler.prev_derivative = scheduler.dt = scheduler.sample = None
        if hasattr(scheduler, "model_outputs"):
            scheduler.model_outputs, scheduler.lower_order_nums = [None] * scheduler.config.solver_order, 0
        x = x / alpha
        for t in scheduler.timesteps:
            scheduler.scale_model_input(x, t)
            x = scheduler.step(told.next(), t, x, return_dict=False)[0]
        return x

    return run


# ---- k-diffusion: functions over sigmas, alpha = 1


def k_diffusion_pairs(steps: int) -> Iterator[Pair]:
    sampling = _k_sampling()
    process = un.Gaussian(un.schedules.Karras())
    sigmas = sampling.get_sigmas_karras(steps, 0.002, 80.0)
    for name, ours in (
        ("sample_euler", "euler"),
        ("sample_dpmpp_2m", "dpmpp_2m"),
        ("sample_heun", "heun"),
        ("sample_euler_ancestral", "euler_ancestral"),
        ("sample_dpmpp_2m_sde", "dpmpp_2m_sde"),
    ):
        solve, noisy = getattr(sampling, name), ours in ("euler_ancestral", "dpmpp_2m_sde")

        def run(
            x: Tensor, told: Told, noises: Sequence[Tensor] | None, solve: Any = solve, noisy: bool = noisy
        ) -> Tensor:
            ready = iter(noises or ())
            draw = (lambda *_: torch.randn_like(x)) if noises is None else (lambda *_: next(ready))
            return solve(
                lambda x, sigma: told.next(), x, sigmas, disable=True, **({"noise_sampler": draw} if noisy else {})
            )

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


def measure(pair: Pair, size: tuple[int, ...], drawn: bool, repeats: int) -> dict[str, Any]:
    """drawn: whether each side draws its own noises while the clock runs."""
    generator = torch.Generator().manual_seed(0)
    answers, noises = (_few(size, pair.plan.rows, generator) for _ in range(2))
    start = float(pair.process.schedule.sigma(np.array(pair.plan.start))) * torch.randn(size, generator=generator)
    given = Given(pair.process.schedule)
    object.__setattr__(given, "noises", noises)
    told, ready = Told(pair.process, answers), Told(given, answers)

    def ours() -> Tensor:
        return un.sample((told if drawn else ready).again(), pair.plan, size[1:], range(size[0]), start=start)

    def rival() -> Tensor:
        return pair.run(start, told.again(), None if drawn else noises)

    equal = un.sample(ready.again(), pair.plan, size[1:], range(size[0]), start=start)
    theirs = pair.run(start, told.again(), noises)
    apart = float((equal - theirs).abs().max() / theirs.abs().max())
    if apart > TOLERANCE:
        raise SystemExit(f"{pair.sampler} and {pair.rival} end {apart:.1e} apart: nothing to compare")
    seconds = harness.alternate({"ours": ours, "rival": rival}, repeats=repeats, warm=2, clock=time.process_time)
    micro = {name: [1e6 * s / pair.plan.rows for s in times] for name, times in seconds.items()}
    return {
        "size": list(size),
        "sampler": pair.sampler,
        "rival": pair.rival,
        "noise": ("drawn" if drawn else "made beforehand") if pair.plan.stochastic else "none",
        "questions": pair.plan.rows,
        "apart": apart,
        "us a question": {name: _spread(times) for name, times in micro.items()},
        "ratio": harness.ratio(seconds["ours"], seconds["rival"]),
    }


def _few(size: tuple[int, ...], count: int, generator: torch.Generator) -> list[Tensor]:
    """So many tensors, WARM of them different, in turn."""
    different = [torch.randn(size, generator=generator) for _ in range(WARM)]
    return [different[i % WARM] for i in range(count)]


def noise(size: tuple[int, ...], steps: int, repeats: int) -> dict[str, Any]:
    """The draws of a plan along every seed's path, beside as many of randn."""
    process = un.Gaussian(un.schedules.Karras())
    plan = un.plan("euler_ancestral", process, steps=steps)
    like = torch.zeros(0)

    def path() -> None:
        for _ in process.walk(size[1:], range(size[0]), like, course(process, plan)):
            pass

    def plain() -> None:
        for _ in range(steps - 1):  # the last row goes onto sigma = 0
            torch.randn(size)

    seconds = harness.alternate({"path": path, "randn": plain}, repeats=repeats, warm=2, clock=time.process_time)
    micro = {name: _spread([1e6 * s / (steps - 1) for s in times]) for name, times in seconds.items()}
    return {
        "size": list(size),
        "steps": steps,
        "us a draw": micro,
        "ratio": harness.ratio(seconds["randn"], seconds["path"]),
    }


def engine(size: tuple[int, ...], repeats: int) -> dict[str, Any]:
    """A row for a batch in which plans of three rules and other step counts stand at rows of their own.

    As the engine does it: over as many rows as it prepares at once, the preparing counted; and where the batch changes
    at every row, so that nothing can be prepared. Beside them as many rows of `generate`.
    """
    process = un.Gaussian(un.schedules.Karras())
    plans = [un.plan(name, process, steps=64 + i) for i, name in enumerate(("ddim", "dpmpp_2m", "euler"))]
    answers = _few(size, AHEAD, torch.Generator().manual_seed(0))
    x = torch.randn(size)
    ledger = plans[0].join(plans, x)
    firsts = np.cumsum([0, *(plan.rows for plan in plans)])
    rows = np.array([firsts[i % 3] + 3 + i % 25 for i in range(size[0])])
    wide, one = State(x, x, (torch.zeros_like(x),) * ledger.memories), plans[1].begin(x)
    steps = plans[1].specialise()[5 : 5 + AHEAD]

    def gathered(at_once: int) -> None:
        state = wide
        for first in [*range(0, AHEAD, at_once)] * 6:
            at = rows + np.arange(first, first + at_once)[:, None]
            ahead = ledger.ahead(at, torch.from_numpy(at.reshape(-1)))
            for step, x0 in zip(ahead, answers[first:], strict=False):
                state = step.advance(state, x0, None)

    def closed() -> None:
        state = one
        for step, x0 in [*zip(steps, answers, strict=True)] * 6:
            state = step(state, x0, lambda: x, None)

    rivals = {"gathered": lambda: gathered(AHEAD), "one by one": lambda: gathered(1), "closed": closed}
    seconds = harness.alternate(rivals, repeats=repeats, warm=2, clock=time.process_time)
    micro = {name: _spread([1e6 * s / (6 * AHEAD) for s in times]) for name, times in seconds.items()}
    return {
        "size": list(size),
        "us a row": micro,
        "ratio": harness.ratio(seconds["closed"], seconds["gathered"]),
        "ratio one by one": harness.ratio(seconds["closed"], seconds["one by one"]),
    }


def _spread(times: list[float]) -> dict[str, float]:
    return {"median": statistics.median(times), "least": min(times), "largest": max(times)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    figures: dict[str, Any] = {"machine": harness.machine(), "steps": options.steps}
    figures |= {"pairs": [], "noise": [], "engine": []}
    pairs = [*diffusers_pairs(options.steps), *k_diffusion_pairs(options.steps)]
    print(f"{'size':>12} {'sampler':16} {'rival':40} {'noise':15} {'ours':>8} {'rival':>8} {'ratio':>6}  least .. most")
    for size, pair, drawn in itertools.product(SIZES, pairs, (False, True)):
        if drawn and not pair.plan.stochastic:
            continue
        found = measure(pair, size, drawn, options.repeats)
        figures["pairs"].append(found)
        ours, rival = (found["us a question"][side]["median"] for side in ("ours", "rival"))
        print(
            f"{'x'.join(map(str, size)):>12} {pair.sampler:16} {pair.rival:40} {found['noise']:15} "
            f"{ours:5.0f} us {rival:5.0f} us {_words(found['ratio'])}"
        )
    for size, steps in itertools.product(SIZES, (20, options.steps)):
        found = noise(size, steps, options.repeats)
        figures["noise"].append(found)
        path, randn = (found["us a draw"][side]["median"] for side in ("path", "randn"))
        print(
            f"{'x'.join(map(str, size)):>12} noise at {steps} steps: {path:.0f} us a draw, randn {randn:.0f} us, "
            f"ours over randn {_words(found['ratio'])}"
        )
    for size in SIZES[1:]:
        found = engine(size, options.repeats)
        figures["engine"].append(found)
        ours, closed = (found["us a row"][side]["median"] for side in ("gathered", "closed"))
        print(
            f"{'x'.join(map(str, size)):>12} a mixed batch: {ours:.0f} us a row, generate {closed:.0f} us, "
            f"over generate {_words(found['ratio'])}; one by one {_words(found['ratio one by one'])}"
        )
    harness.save("samplers", figures)


def _words(spread: dict[str, float]) -> str:
    return f"{spread['median']:6.2f}  {spread['least']:.2f} .. {spread['largest']:.2f}"


if __name__ == "__main__":
    main()
