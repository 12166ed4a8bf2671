"""How long, how fast and with what care: the `train` node of a recipe."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from unnoise.config import UserError, choose

DECAYS: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: (1.0 + math.cos(math.pi * progress)) / 2,
}


@dataclass(frozen=True)
class TrainConfig:
    """All lengths are counted in items, so they survive a change of the batch."""

    items: int = 200_000  # seen in all; the last batch is a whole one
    batch: int = 128  # items a step
    accumulate: int = 1  # parts that a batch is computed in, one after the other, where memory is short
    optimiser: Literal["adamw", "muon"] = "adamw"  # muon: for the matrices inside the network, adamw for the rest
    lr: float = 2e-3  # the optimiser's step at its height
    momentum: float = 0.95  # Muon's memory, per step
    betas: tuple[float, float] = (0.9, 0.99)  # AdamW's memories, per step
    epsilon: float = 1e-8  # AdamW's floor under the root of the second moment
    weight_decay: float = 0.0  # per step and lr, on matrices and kernels; never on biases, gains and norms
    warmup: int = 10_000  # items over which lr rises from 0
    decay: str = "linear"  # how lr falls to 0 after that: constant, linear, cosine
    clip: float = 1.0  # the largest norm of a gradient; 0: any
    ema: tuple[float, ...] = (0.1,)  # widths of the weights' averages, as shares of the items seen; the first samples
    snapshots: int = 4  # of two averages, kept along the way: of them any other width is made after training; 0: none
    precision: Literal["float32", "bfloat16"] = "float32"  # of products and convolutions; weights stay float32
    drop: float | dict[str, float] = 0.1  # how often a condition is replaced by its null; one number or each by name
    drop_all: float = 0.0  # how often, beside that, all conditions of an item are replaced at once
    workers: int = 0  # processes that read and encode ahead; bits do not depend on it
    seed: int = 0  # of order, noise, levels, nulls and dropout
    log_every: int = 5_000  # items between ticks
    validate_every: int = 50_000  # items between held-out losses; 0: none, here and below
    validate_items: int = 256  # held-out items asked each time, at four levels each, with a noise and its negative
    sample_every: int = 0  # items between samples drawn as it trains
    checkpoint_every: int = 50_000  # items between checkpoints; the end is always one
    keep: int = 2  # newest checkpoints kept
    milestone_every: int = 0  # items between checkpoints kept for good

    def __post_init__(self) -> None:
        choose("decay", self.decay, DECAYS)
        for name in ("items", "batch", "accumulate", "log_every", "validate_items", "keep"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        names = (
            "warmup",
            "workers",
            "snapshots",
            "validate_every",
            "sample_every",
            "checkpoint_every",
            "milestone_every",
        )
        for name in (*names, "weight_decay", "clip", "epsilon"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 0 < self.lr < math.inf:
            raise UserError(f"lr must be positive, got {self.lr}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise UserError(f"betas are from 0 to below 1, got {self.betas}")
        if not 0 <= self.momentum < 1:
            raise UserError(f"momentum is from 0 to below 1, got {self.momentum}")
        if self.accumulate > self.batch:
            raise UserError(f"a batch of {self.batch} items cannot be computed in {self.accumulate} parts")
        for name, share in self.drops(("drop",)).items():
            if not 0 <= share <= 1:
                raise UserError(f"drop is a share from 0 to 1, got {share} for '{name}'")
        if not 0 <= self.drop_all <= 1:
            raise UserError(f"drop_all is a share from 0 to 1, got {self.drop_all}")

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return -(-self.items // self.batch)

    def rate(self, items: int) -> float:
        """The learning rate of the step that begins after `items`: the schedule at the step's middle."""
        middle = items + self.batch / 2
        if middle < self.warmup:
            return self.lr * middle / self.warmup
        end = max(self.steps * self.batch, self.warmup + 1)
        return self.lr * DECAYS[self.decay](min((middle - self.warmup) / (end - self.warmup), 1.0))

    def drops(self, names: tuple[str, ...]) -> dict[str, float]:
        """The share of nulls of each condition."""
        if isinstance(self.drop, dict):
            return dict(self.drop)
        return dict.fromkeys(names, self.drop)


__all__ = ["DECAYS", "TrainConfig"]
