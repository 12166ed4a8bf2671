"""Excess risk on a rotated 64-dimensional mixture whose optimal loss is known, beside the loops of two peers.

(L − L*)/L* with L the mean squared error of x_0 at a noise level and L* the least there can be. As the optimum is
the posterior mean D*, L − L* = E|D − D*|²/d exactly: measured without subtraction, on fresh items. Averaged over
15 levels sigma/alpha, geometric from 0.02 to 50. Every loop trains the same perceptron for the same seconds.

    python benchmarks/excess.py [--seconds 60] [--only ours diffusers ddpm-pytorch] [--set node.key=value ..]
"""

import argparse
import copy
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from torch.nn import functional as F

import unnoise as un
from unnoise import recipe as recipes
from unnoise.data import Mixture
from unnoise.tensor import Tensor, align
from unnoise.training import Training

RATIOS = np.geomspace(0.02, 50, 15)
FRESH = 20_000
Believe = Callable[[Tensor, float], Tensor]  # y = x_0 + ratio·noise, ratio → x_0


def excess(believe: Believe, source: Mixture) -> dict[str, Any]:
    """Excess risk at every level and its mean."""
    process = un.Gaussian(un.schedules.Karras(sigma_min=0.002, sigma_max=80.0))
    truth = un.exact.Mixture(process, source.weights, source.means, source.covariances)
    x0 = torch.from_numpy(source.draw(FRESH, 7).items)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(7))
    lost, least = [], []
    with torch.no_grad():
        for ratio in RATIOS:
            y = x0 + float(ratio) * noise
            t = process.schedule.time(np.full(len(y), -2 * np.log(ratio)))
            best = truth(y, process.level(t, y), {}).x0
            told = torch.cat([believe(part, float(ratio)) for part in y.split(2000)])
            lost.append(float((told - best).square().mean()))
            least.append(float((best - x0).square().mean()))
    by_level = np.array(lost) / np.array(least)
    return {"excess": float(by_level.mean()), "levels": RATIOS.tolist(), "by_level": by_level.tolist(), "least": least}


def ours(source: Mixture, seconds: float, overrides: list[str]) -> tuple[Believe, dict[str, Any]]:
    """The recipe `mixture`, its length set so that it takes the seconds given."""
    folder = Path(tempfile.mkdtemp(prefix="mixture-"))
    items = measured_items(folder, seconds, overrides)
    made = recipes.load("mixture", [*overrides, f"train.items={items}"])
    start = time.perf_counter()
    training = Training(made, folder / "run")
    for _ in training.ticks():
        pass
    took = time.perf_counter() - start
    run = training.run()
    denoiser, schedule = run.denoiser, run.recipe.process.schedule

    def believe(y: Tensor, ratio: float) -> Tensor:
        t = schedule.time(np.full(len(y), -2 * np.log(ratio)))
        level = denoiser.process.level(t, y)
        return denoiser(align(level.alpha, y) * y, level, {}).x0

    facts = {"items": items, "seconds": took, "parameters": count(denoiser.net)}
    shutil.rmtree(folder)
    return believe, facts


def measured_items(folder: Path, seconds: float, overrides: list[str]) -> int:
    """How many items the recipe's loop sees in the seconds, from its speed over a short trial."""
    made = recipes.load("mixture", [*overrides, "train.items=40000", "train.validate_every=0"])
    training = Training(made, folder / "trial")
    speeds = [tick.speed for tick in training.ticks()]
    return int(np.median(speeds[1:] or speeds) * seconds * 0.95) // 1000 * 1000


def perceptron() -> torch.nn.Module:
    """The same network as ours."""
    return recipes.load("mixture").denoiser().net


def batches(source: Mixture, size: int) -> Any:
    items = torch.from_numpy(source.split("train").items)
    generator = torch.Generator().manual_seed(0)
    while True:
        yield items[torch.randint(0, len(items), (size,), generator=generator)]


def diffusers_loop(
    source: Mixture, seconds: float, rate: float = 1e-3, batch: int = 256
) -> tuple[Believe, dict[str, Any]]:
    """The training loop of diffusers' tutorial: DDPMScheduler, noise target, AdamW, cosine with warm-up; with EMA."""
    from diffusers import DDPMScheduler  # pyright: ignore

    scheduler = DDPMScheduler(num_train_timesteps=1000)
    net = perceptron()
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate)
    average = copy.deepcopy(net)
    abar = scheduler.alphas_cumprod
    hears = 0.5 * torch.log((1 - abar) / abar)  # what our perceptron takes for a timestep
    start, steps, items = time.perf_counter(), 0, 0
    for x in batches(source, batch):
        share = (time.perf_counter() - start) / seconds
        if share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (steps + 1) / 100) * 0.5 * (1 + np.cos(np.pi * share))
        noise = torch.randn_like(x)
        t = torch.randint(0, 1000, (len(x),))
        noisy = scheduler.add_noise(x, noise, t)
        loss = F.mse_loss(net(noisy, hears[t], {}), noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        keep = min(0.999, (1 + steps) / (10 + steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - keep)
        steps, items = steps + 1, items + len(x)

    def believe(y: Tensor, ratio: float) -> Tensor:
        alpha = 1 / np.sqrt(1 + ratio**2)
        answer = average(alpha * y, torch.full((len(y),), float(np.log(ratio))), {})
        return y - ratio * answer

    return believe, {"items": items, "seconds": time.perf_counter() - start, "parameters": count(net)}


def lucidrains_loop(
    source: Mixture, seconds: float, rate: float = 1e-3, batch: int = 256
) -> tuple[Believe, dict[str, Any]]:
    """denoising-diffusion-pytorch: GaussianDiffusion1D's own loss (velocity, cosine, its weights), Adam and its EMA."""
    harness.stub_unused()
    from denoising_diffusion_pytorch import GaussianDiffusion1D  # pyright: ignore

    inner = perceptron()

    class Net(torch.nn.Module):
        channels, self_condition = 1, False

        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor, t: Tensor, *rest: Any) -> Tensor:
            return self.inner(x.flatten(1), hears[t], {}).view_as(x)

    diffusion = GaussianDiffusion1D(Net(), seq_length=64, timesteps=1000, objective="pred_v", auto_normalize=False)
    abar = diffusion.alphas_cumprod
    hears = 0.5 * torch.log((1 - abar) / abar)
    optimizer = torch.optim.Adam(diffusion.parameters(), lr=rate, betas=(0.9, 0.99))
    average = copy.deepcopy(inner)
    start, steps, items = time.perf_counter(), 0, 0
    for x in batches(source, batch):
        if time.perf_counter() - start >= seconds:
            break
        loss = diffusion(x[:, None])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if steps % 10 == 0:
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(average.parameters()), list(inner.parameters()), 0.005 if steps > 100 else 1.0
                )
        steps, items = steps + 1, items + len(x)

    def believe(y: Tensor, ratio: float) -> Tensor:
        alpha = 1 / np.sqrt(1 + ratio**2)
        sigma = ratio * alpha
        v = average(alpha * y, torch.full((len(y),), float(np.log(ratio))), {})
        return alpha * (alpha * y) - sigma * v

    return believe, {"items": items, "seconds": time.perf_counter() - start, "parameters": count(inner)}


def count(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", nargs="*", default=["ours", "diffusers", "ddpm-pytorch"])
    parser.add_argument("--set", nargs="*", default=[], dest="overrides")
    parser.add_argument("--name", default="excess")
    options = parser.parse_args()
    source = recipes.load("mixture").source
    assert isinstance(source, Mixture)
    loops: dict[str, Callable[[], tuple[Believe, dict[str, Any]]]] = {
        "ours": lambda: ours(source, options.seconds, options.overrides),
        "diffusers": lambda: diffusers_loop(source, options.seconds),
        "ddpm-pytorch": lambda: lucidrains_loop(source, options.seconds),
    }
    figures: dict[str, Any] = {"machine": harness.machine(), "overrides": options.overrides, "loops": {}}
    for name in options.only:
        believe, facts = loops[name]()
        result = {**facts, **excess(believe, source)}
        figures["loops"][name] = result
        levels = " ".join(f"{100 * value:.1f}" for value in result["by_level"])
        print(
            f"{name:14} {facts['parameters']} parameters, {facts['items']} items, {facts['seconds']:.0f} s: "
            f"excess risk {100 * result['excess']:.2f} %  (by level, {RATIOS[0]:g} .. {RATIOS[-1]:g}: {levels})",
            flush=True,
        )
        harness.save(options.name, figures)


if __name__ == "__main__":
    main()
