"""Trajectories of diffusers' and k-diffusion's samplers, recorded: python benchmarks/parity.py

Each walks the same four points back through the exact belief about a mixture in the plane; what it asked about, what
it drew and where it ended are written to tests/recorded/samplers.json: the plans of the same rules are tested by it.
Left out are those that are another rule, if only in one step (docs/samplers.md), or draw two noises of a path at once.
"""

import contextlib
import io
import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import harness
import numpy as np
import samplers as k_loops
import torch

import unnoise as un
from unnoise.conformance import Foreign, foreign
from unnoise.tensor import Tensor

PLACE = Path(__file__).parent.parent / "tests" / "recorded" / "samplers.json"
WEIGHTS, MEANS = [0.5, 0.3, 0.2], [[1.0, 0.4], [-0.7, 0.8], [-0.2, -1.1]]
SPREADS = [[[0.09, 0.02], [0.02, 0.05]], [[0.04, 0.0], [0.0, 0.1]], [[0.16, -0.05], [-0.05, 0.06]]]
POINTS, STEPS = 4, 20
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [  # theirs, its options, our rule's options
    ("diffusers:DDIMScheduler", {}, {}),
    ("diffusers:DDPMScheduler", {}, {}),
    ("diffusers:EulerDiscreteScheduler", {}, {}),
    ("diffusers:EulerAncestralDiscreteScheduler", {}, {}),
    ("diffusers:HeunDiscreteScheduler", {}, {}),
    ("diffusers:DPMSolverMultistepScheduler", {"solver_order": 2}, {}),
    ("diffusers:DPMSolverMultistepScheduler", {"solver_order": 3}, {}),
    ("diffusers:DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}, {}),
    ("diffusers:UniPCMultistepScheduler", {"solver_order": 2}, {}),
    ("diffusers:FlowMatchEulerDiscreteScheduler", {}, {}),
    ("k_diffusion:sample_euler", {}, {}),
    ("k_diffusion:sample_heun", {}, {}),
    ("k_diffusion:sample_lms", {}, {"start": "multistep"}),
    ("k_diffusion:sample_dpm_2", {}, {}),
    ("k_diffusion:sample_dpmpp_2m", {}, {}),
    ("k_diffusion:sample_euler_ancestral", {}, {}),
    ("k_diffusion:sample_dpmpp_2s_ancestral", {}, {}),
    ("k_diffusion:sample_dpmpp_2m_sde", {}, {}),
]


def walk(peer: Foreign) -> dict[str, Any]:
    """One run: times, questions (R, POINTS, 2), draws in their order, and the sample."""
    process = peer.process
    truth = un.exact.Mixture(process, WEIGHTS, MEANS, SPREADS)
    generator = np.random.default_rng(7)  # torch's own draws stand in for the library's
    times: list[float] = []
    questions: list[Any] = []
    draws: list[Any] = []

    def plain(x: Tensor) -> Any:
        return x.double().reshape(POINTS, 2).tolist()

    def answer(x: Tensor, t: float) -> Tensor:
        times.append(t)
        questions.append(plain(x))
        points = x.double().reshape(POINTS, 2)
        belief = truth(points, process.level(np.full(POINTS, t), points), {}).x0
        alpha, sigma = (float(f(np.array(t))) for f in (process.schedule.alpha, process.schedule.sigma))
        keep = peer.keep(alpha, sigma)
        return (keep[0] * points + keep[1] * belief).reshape(x.shape).to(x.dtype)

    def draw(like: Tensor) -> Tensor:
        noise = torch.from_numpy(generator.standard_normal((POINTS, 2)))
        draws.append(noise.tolist())
        return noise.reshape(like.shape).to(like.dtype)

    first = peer_start(peer)
    start = torch.from_numpy(generator.standard_normal((POINTS, 2))) * first
    sample = peer.run(STEPS, start.reshape(1, 1, 1, -1), answer, draw)
    return {"t": times, "questions": questions, "draws": draws, "sample": plain(sample)}


def peer_start(peer: Foreign) -> float:
    """The deviation of the noise that it starts from."""
    seen: list[float] = []

    def answer(x: Tensor, t: float) -> Tensor:
        seen.append(t)
        return torch.zeros_like(x)

    peer.run(STEPS, torch.zeros(1, 1, 1, 8, dtype=torch.float64), answer, torch.zeros_like)
    return float(peer.process.schedule.sigma(np.array(seen[0])))


def main() -> None:
    harness.no_options(__doc__)
    import diffusers

    for spec, _, _ in CASES:
        getattr(diffusers, spec.partition(":")[2], None)
    k_loops._k_sampling()
    recorded = []
    for spec, options, ours in CASES:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            peer = foreign(spec, options)
            inner = getattr(peer.process.schedule, "schedule", None)  # of a chain: its betas, which differ by class
            schedule = {"kind": type(peer.process.schedule).__name__.lower(), **(asdict(inner) if inner else {})}
            recorded.append(
                {
                    "sampler": spec,
                    "options": options,
                    "rule": peer.rule,
                    "ours": ours,
                    "schedule": schedule,
                    **walk(peer),
                }
            )
        print(spec, options, len(recorded[-1]["t"]), "questions", flush=True)
    mixture = {"weights": WEIGHTS, "means": MEANS, "covariances": SPREADS}
    told = {"diffusers": diffusers.__version__, "mixture": mixture, "steps": STEPS, "recorded": recorded}
    PLACE.parent.mkdir(exist_ok=True)
    PLACE.write_text(json.dumps(told) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
