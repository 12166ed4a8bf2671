"""Draws the pictures of docs/likelihood.md: python docs/likelihood.py [RUN of digits-likelihood, or one is made]."""

import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

import unnoise as un
from unnoise.denoise import exact
from unnoise.loop.adaptive import Adaptive, flow, follow, least_time
from unnoise.metrics.likelihood import held_out, log_density
from unnoise.report import grids, style
from unnoise.run import Run

HERE = Path(__file__).parent
COSINE = un.Gaussian(un.schedules.Cosine())
NATS = np.log(2)


def clock(t: np.ndarray) -> np.ndarray:
    """u = −asinh(alpha/sigma)."""
    return -np.arcsinh(np.exp(COSINE.schedule.logsnr(t) / 2))


class Noted:
    """A denoiser that notes where it is asked, row by row."""

    def __init__(self, inner: exact.Mixture):
        self.inner, self.process, self.asked = inner, inner.process, list[tuple[np.ndarray, np.ndarray]]()

    def __call__(self, x: torch.Tensor, level: Any, cond: Any) -> Any:
        self.asked.append((np.array(level.times), x[:, 0].double().numpy().copy()))
        return self.inner(x, level, cond)


def flows() -> None:
    """Left: a law on a line, its flow, and the steps of three items; right: what precision costs."""
    law = exact.Mixture(COSINE, [0.3, 0.5, 0.2], [[-1.4], [0.2], [1.6]], [[[0.02]], [[0.1]], [[0.005]]])
    least = least_time(COSINE)
    t = COSINE.schedule.time(2 * np.log(np.sinh(-np.linspace(-5.0, -0.01, 300))))
    places = np.linspace(-2.6, 2.6, 400)
    grid = torch.from_numpy(places)[:, None]
    radius = np.hypot(COSINE.schedule.alpha(t), COSINE.schedule.sigma(t))
    levels = zip(t, radius, strict=True)
    density = [law.log_density(r * grid, COSINE.level(np.full(400, s), grid)).exp().numpy() for s, r in levels]
    with style.themed("light") as look:
        fig = style.figure((9.6, 3.8))
        left, right = fig.subplots(1, 2, width_ratios=[1.35, 1])
        shade = np.array(density).T ** 0.5
        left.imshow(
            shade, origin="lower", aspect="auto", cmap=look.map, vmax=1.6 * shade.max(),
            extent=(clock(t)[0], clock(t)[-1], places[0], places[-1]),
        )  # fmt: skip
        starts = torch.linspace(-2.2, 2.2, 19, dtype=torch.float64)[:, None]
        ways = [starts]
        for s, e in pairwise(t[::-4]):
            ways.append(flow(law, ways[-1], float(s), float(e), tolerance=1e-8))
        scaled = torch.cat(ways, 1).numpy() / radius[::-4]
        left.plot(clock(t[::-4]), scaled.T, color=look.muted, lw=0.6, alpha=0.8)
        for begin, mark in ((-1.9, "o"), (-0.6, "s"), (1.45, "^")):
            noted = Noted(law)
            one = torch.full((1, 1), begin, dtype=torch.float64)
            (arrived,) = follow(noted, one, float(t[-1]), float(t[0]), Adaptive(1e-4), places=4)
            u, x = (np.array([row[i][0] for row in noted.asked]) for i in (0, 1))
            ends = slice(0, None, 6)
            scale = np.hypot(COSINE.schedule.alpha(u[ends]), COSINE.schedule.sigma(u[ends]))
            label = f"{len(u[ends]) - 1} steps, {arrived.evaluations} questions"
            left.plot(clock(u[ends]), x[ends] / scale, mark + "-", ms=4, lw=0.8, color=look.accent, label=label)
        left.set(
            title="Every item takes steps of its own", xlabel="u = −asinh(α/σ), data to noise →",
            ylabel="x / √(α² + σ²)", xlim=(-5, 0), ylim=(-2.6, 2.6),
        )  # fmt: skip
        left.grid(False)
        left.legend(loc="lower left", fontsize=7.5)

        draw = np.random.default_rng(0)
        roots = 0.4 * draw.standard_normal((3, 4, 4))
        covs = roots @ roots.transpose(0, 2, 1) + 0.05 * np.eye(4)
        wide = exact.Mixture(COSINE, [1, 1, 1], draw.standard_normal((3, 4)), covs)
        x = torch.from_numpy(wide.draw(40, 1))
        alpha = float(COSINE.schedule.alpha(np.array(least)))
        known = wide.log_density(alpha * x, COSINE.level(np.full(40, least), x)).numpy() + 4 * np.log(alpha)
        asked, errors = [], []
        for tolerance in 10.0 ** -np.arange(2, 10.5, 0.5):
            made = log_density(wide, x, how=Adaptive(tolerance))
            asked.append(made.evaluations.mean())
            errors.append(np.abs(made.nats[:, 0] - known).max() / 4)
        right.loglog(asked, errors, "o-", ms=3.5, color=look.accent)
        anchor = np.array([asked[-6], asked[-1]])
        right.loglog(anchor, 3 * errors[-1] * (anchor / anchor[1]) ** -5, color=look.muted, lw=1)
        right.annotate("fifth order", (anchor[1], 3 * errors[-1]), xytext=(-46, 26), textcoords="offset points",
                       color=look.muted, fontsize=8.5)  # fmt: skip
        right.set(title="What precision costs", xlabel="questions an item", ylabel="largest error, nats a number")
        ticks = [40, 60, 100, 200, 400]
        right.set_xticks(ticks, [str(tick) for tick in ticks])
        right.set_xticks([], minor=True)
        style.save(fig, HERE / "likelihood-flow.png")


def digits(run: Run) -> None:
    """Bits of held-out and of seen items; the most and the least likely of the held-out ones."""
    parts = {
        "held out": held_out(run.recipe.source, "test").items,
        "seen in training": run.recipe.source.split("train").items,
    }
    told = {name: run.likelihood("ode", items[:250]) for name, items in parts.items()}
    bits = {name: one.nats.mean(1) / one.numbers / NATS for name, one in told.items()}
    for name, one in told.items():
        print(f"{name}: {one.value:.4f} ± {one.error:.4f} bits a pixel, {one.evaluations:.0f} questions an item")
    order = np.argsort(bits["held out"])
    with style.themed("light") as look:
        fig = style.figure((9.6, 3.6))
        left, right = fig.subplots(1, 2, width_ratios=[1, 1.1])
        edges = np.linspace(min(map(np.min, bits.values())), max(map(np.max, bits.values())), 28)
        for (name, values), line in zip(bits.items(), look.series(2), strict=True):
            left.hist(values, edges, histtype="step", lw=1.6, label=f"{name}: mean {values.mean():.2f}", **line)
        left.axvline(2.63, color=look.muted, lw=1)
        left.annotate("best classical\ndensity: mean", (2.63, 0.6), xycoords=("data", "axes fraction"), xytext=(5, 0),
                      textcoords="offset points", color=look.muted, fontsize=8)  # fmt: skip
        left.set(
            title="Bits of a digit, for each of its pixels", xlabel="−log₂ p / 64, for 250 digits each", ylabel="digits"
        )
        left.set_ylim(top=1.3 * left.get_ylim()[1])
        left.legend(loc="upper left")
        right.axis("off")
        shown = [*order[:16], *order[-16:]]
        images = run.recipe.modality.show(run.recipe.modality.encode(parts["held out"][shown]))
        sheet = grids.rows_of([images[:8], images[8:16], images[16:24], images[24:]], 1, 1)
        right.imshow(np.asarray(sheet.convert("L")), cmap="gray", interpolation="nearest")
        right.set_title("Held out: the most likely 16, and below the least likely")
        style.save(fig, HERE / "likelihood-digits.png")


if __name__ == "__main__":
    torch.set_num_threads(1)
    flows()
    if len(sys.argv) > 1:
        digits(un.open(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as place:
            digits(un.fit("digits-likelihood", Path(place) / "run"))
