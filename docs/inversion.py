"""Draws the pictures of docs/inversion.md, three minutes on two cores: python docs/inversion.py [FOLDER OF RUNS]."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import unnoise as un
from unnoise.cli import main
from unnoise.report import errors, grids, style
from unnoise.run import Run
from unnoise.samplers import Plan
from unnoise.tensor import Tensor

HERE = Path(__file__).parent
ENDS = ((3, 5, "2"), (11, 4, "5"), (8, 21, "8"))  # seeds, and the label of both
REAL = 10  # digits of the test part
RACED = {
    "ddim": (8, 16, 32, 64, 128),
    "heun": (6, 12, 24, 48),
    "dpmpp_2m": (8, 16, 32, 64),
    "dpmpp_3m": (8, 16, 32, 64),
}


def opened(folder: Path) -> Run:
    """The run of the recipe digits, trained where it does not stand."""
    place = folder / "digits"
    return un.open(place) if place.exists() else un.fit("digits", place)


def strips(run: Run) -> None:
    """Samples between two seeds, one pair a row."""
    rows: dict[str, list[grids.Picture]] = {}
    for first, last, label in ENDS:
        ends = run.recipe.process.prior(run.recipe.shape, [first, last], torch.zeros(0), run.plan().start)
        x = run.sample(start=un.between(ends[0], ends[1], 11), label=label, raw=False)
        rows[f"seed {first} to {last}"] = list(run.recipe.modality.show(x))
    grids.save(grids.class_rows(rows), HERE / "between.png")


def ways(run: Run) -> None:
    """How long noise is on the arc and on the chord between two noises, and what is drawn half way."""
    seeds = range(400)
    noise = run.recipe.process.prior(run.recipe.shape, seeds, torch.zeros(0), run.plan().start)
    sigma = float(run.recipe.process.schedule.sigma(np.array(run.plan().start)))
    pairs = list(zip(noise[::2], noise[1::2], strict=True))
    u = torch.linspace(0, 1, 51)
    share = u.reshape(-1, *(1,) * (noise.ndim - 1))
    arc = torch.stack([un.between(a, b, len(u)) for a, b in pairs])
    chord = torch.stack([(1 - share) * a + share * b for a, b in pairs])
    with style.themed("light") as look:
        fig = style.figure((9.6, 3.6))
        lengths, middles = fig.subplots(1, 2, width_ratios=(1, 1.15))
        named = {"arc: cos·a + sin·b": arc, "chord: (1 − u)·a + u·b": chord}
        for (name, way), line in zip(named.items(), look.series(2), strict=True):
            length = (way / sigma).flatten(2).square().mean(2).sqrt().numpy()
            low, middle, high = np.quantile(length, (0.05, 0.5, 0.95), axis=0)
            lengths.fill_between(u, low, high, color=line["color"], alpha=0.15, lw=0)
            lengths.plot(u, middle, label=name, **line)
        lengths.set(title="How long the noise is", xlabel="share of the way, u", ylabel="length, that of noise 1")
        lengths.set_ylim(0.5, 1.3)
        lengths.legend(loc="lower left")
        half, labels = len(u) // 2, [k % 10 for k in range(20)]
        rows: list[list[grids.Picture]] = []
        for way in (arc, chord):
            drawn = run.sample(start=way[:20, half].contiguous(), label=labels, raw=False)
            shown: list[grids.Picture] = list(run.recipe.modality.show(drawn))
            rows += [shown[:10], shown[10:]]
        middles.imshow(np.asarray(grids.rows_of(rows)), interpolation="none")
        middles.set(title="What is drawn half way: arc above, chord below")
        middles.set_axis_off()
    style.save(fig, HERE / "arc.png")


def real(run: Run) -> None:
    """Real digits to noise and back, and their noise under every other label."""
    out = HERE / "inversion.npy"
    main(["invert", str(run.folder), f"test:0-{REAL - 1}", "--steps", "50", "--out", str(out)])
    out.unlink()
    raw, cond = run.recipe.source.split("test").take(range(4))
    own = cond["label"].tolist()
    noise = run.invert(raw, label=own, steps=50, seeds=range(4))
    show = run.recipe.modality.show
    rows: dict[str, list[grids.Picture]] = {}
    for k, label in enumerate(own):
        drawn = run.sample(start=noise[[k] * 10], label=range(10), steps=50, raw=False)
        rows[f"a real {label}"] = [*show(run.encode(raw[k : k + 1])), *show(drawn)]
    grids.save(grids.class_rows(rows), HERE / "relabelled.png")


def raced(run: Run) -> None:
    """How far the noise of real digits is from the flow's own, by the evaluations spent."""
    raw, cond = run.recipe.source.split("test").take(range(64))
    label = cond["label"].tolist()
    exact = run.invert(raw, "adaptive", label=label, tolerance=1e-6)
    size = float(exact.square().mean().sqrt())
    found: dict[str, tuple[list[int], list[float]]] = {}
    for sampler, counts in RACED.items():
        asked, off = found.setdefault(sampler, ([], []))
        for steps in counts:
            plan = run.rising(sampler, steps, "karras")
            noise: Tensor = run.invert(raw, sampler, steps, "karras", label=label)
            assert isinstance(plan, Plan)
            asked.append(plan.rows)
            off.append(float((noise - exact).square().mean().sqrt()) / size)
            print(f"{sampler:9s} {asked[-1]:4d} evaluations: {off[-1]:.2g}")
    fig = errors.error(found, title="The noise of 64 real digits", measure="error, root mean square; the noise is 1")
    style.save(fig, HERE / "inversion-error.png")


def all_of(folder: Path) -> None:
    """Every picture."""
    digits = opened(folder)
    strips(digits)
    ways(digits)
    real(digits)
    raced(digits)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        all_of(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as place:
            all_of(Path(place))
