"""The digits by denoising, by a game and by a bound, and what breaks a deaf network: python generators.py [RUNS].

RUNS: a folder whose finished runs are taken as they are; those that it lacks are trained there.
"""

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch

import unnoise as un
from unnoise import rng
from unnoise.run import Run
from unnoise.train import VAE

RUNS: dict[str, tuple[str, ...]] = {
    "digits-gan": ("digits-gan",),
    "digits-vae": ("digits-vae",),
    "swissroll, hearing": ("swissroll", "train.items=400000", "train.validate_every=400000"),
    "swissroll, deaf": ("swissroll", "train.items=400000", "train.validate_every=400000", "net.hears=nothing"),
    "digits, hearing": ("digits", "train.items=24000"),
    "digits, deaf": ("digits", "train.items=24000", "net.hears=nothing"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="?", type=Path, help="where finished runs are, and others are trained")
    options = parser.parse_args()
    figures: dict[str, Any] = {"machine": harness.machine(), "runs": []}
    with tempfile.TemporaryDirectory() as temporary:
        place = options.runs or Path(temporary)
        for name, (recipe, *changes) in RUNS.items():
            run = un.fit(recipe, place / name.replace(", ", "-"), *changes, resume=True)
            told: dict[str, Any] = {
                "name": name,
                "recipe": [recipe, *changes],
                "parameters": run.denoiser.net.parameter_count(),
                "evaluations": run.plan().rows,
                "measures": {m.name: [m.value, m.spread, m.floor] for m in run.evaluate()},
            }
            if isinstance(run.recipe.objective, VAE):
                told["bits_per_number"] = {part: bound(run, part) for part in ("train", "test")}
            figures["runs"].append(told)
            print(f"{name:20}", {key: round(value[0], 3) for key, value in told["measures"].items()}, flush=True)
            harness.save("generators", figures)


def bound(run: Run, part: str) -> dict[str, float]:
    """−ELBO of a part of the data and its rate, in bits for each of an item's numbers, on the scale of raw levels."""
    objective, recipe = run.recipe.objective, run.recipe
    assert isinstance(objective, VAE)
    encoder = objective.beside(run.denoiser.net)
    kept = run.checkpoint.tensors("encoder")
    encoder.load_state_dict({name: leaf for name, leaf in kept.items() if not name.startswith("optimiser.")})
    raw, cond = recipe.source.split(part).take(np.arange(500))
    x = recipe.modality.encode(raw, rng.host(0, "bound"))
    labels = {name: torch.from_numpy(np.asarray(leaf)) for name, leaf in cond.items()}
    with torch.no_grad():
        drawn = torch.randn(x.shape, generator=rng.generator(0, "bound"))
        found = objective.bound(run.denoiser, encoder, x, labels, drawn)
    scale = 8  # levels 0 .. 16 are encoded as −1 .. 1
    nats = float((found.distortion + found.rate).mean()) + math.log(scale)
    return {"bound": nats / math.log(2), "rate": float(found.rate.mean()) / math.log(2)}


if __name__ == "__main__":
    main()
