"""Train the digits' classifier that Fréchet distances are read on, once, and store it in the package.

    python benchmarks/classifier.py [--out FILE] [--seed 0]

It sees the 1131 training items and nothing else: validation and test are new to it alike, so a distance
to either means the same, and no setting below was chosen by looking at test. Half a minute on
one core. Beside the weights it prints, and writes to results/classifier.json, the accuracies and the floor.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch.nn import functional

from unnoise.data import SPLITS, Digits
from unnoise.metrics.classifier import STORED, DigitClassifier, DigitNet
from unnoise.metrics.distances import frechet
from unnoise.metrics.protocol import stratified

RESULT = Path(__file__).parent / "results" / "classifier.json"
EPOCHS, BATCH, RATE, DECAY = 120, 64, 3e-3, 0.05


def distort(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A small turn, stretch and shift of each picture, and noise: features that forgive these overfit less."""
    normal = torch.randn(len(x), 6, generator=generator)
    identity = torch.eye(2, 3)
    spread = torch.tensor([[0.08, 0.08, 0.08], [0.08, 0.08, 0.08]])
    grid = functional.affine_grid(identity + spread * normal.reshape(-1, 2, 3), list(x.shape), align_corners=False)
    moved = functional.grid_sample(x + 1, grid, align_corners=False) - 1
    return moved + 0.1 * torch.randn(x.shape, generator=generator)


def train(seed: int) -> DigitNet:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    items = Digits().split("train")
    x = torch.from_numpy(items.items.astype(np.float32)) / 8 - 1
    label = torch.from_numpy(items.cond["label"])
    net = DigitNet()
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    steps = EPOCHS * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(x), generator=generator)
        for rows in order[: len(x) // BATCH * BATCH].split(BATCH):
            features, logits = net(distort(x[rows], generator))
            # Small features: the penalty keeps their law compact, as a normal distribution's is.
            penalty = 1e-3 * features.square().sum(dim=1).mean()
            loss = functional.cross_entropy(logits, label[rows], label_smoothing=0.1) + penalty
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return net


def report(classifier: DigitClassifier) -> dict[str, object]:
    """Accuracies, and the Fréchet distance of real digits to real digits: 20 stratified subsets of training."""
    parts = {name: Digits().split(name) for name in SPLITS}
    accuracy = {
        name: float((classifier.predict(part.items) == part.cond["label"]).mean()) for name, part in parts.items()
    }
    test = classifier.features(parts["test"].items)
    floor = [
        frechet(classifier.features(parts["train"].take(stratified(parts["train"], 540, i))[0]), test)
        for i in range(20)
    ]
    return {
        "parameters": sum(p.numel() for p in classifier.net.parameters()),
        "accuracy": accuracy,
        "frechet_train_540_against_test": {"mean": np.mean(floor), "sd": np.std(floor, ddof=1)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=STORED)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # the bits do not depend on the number of cores

    net = train(options.seed)
    classifier = DigitClassifier(net)
    net.scale.fill_(classifier.features(Digits().split("train").items).var(axis=0).mean() ** 0.5)
    options.out.write_bytes(save(net.state_dict()))
    result = {"seed": options.seed, "epochs": EPOCHS, **report(classifier)}
    text = json.dumps(result, indent=2)
    print(text)
    if options.out == STORED:
        RESULT.write_text(text + "\n")


if __name__ == "__main__":
    main()
