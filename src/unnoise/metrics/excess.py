"""Excess risk: by how much a denoiser errs more than the least there can be, where the law of the data is known."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.integrate import trapezoid

from unnoise import rng
from unnoise.config import UserError
from unnoise.data import Items, World
from unnoise.denoise import Denoiser
from unnoise.denoise.closed import Components
from unnoise.metrics.measure import Measure
from unnoise.modality import Modality
from unnoise.process import Gaussian
from unnoise.tensor import Array

RATIOS = np.geomspace(0.02, 50, 15)  # sigma/alpha, of data with a deviation of about 1
FRESH = 20_000  # items that no training has seen
LOT = 1500  # items held at once
RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class Excess:
    """Of fresh items at K noise levels: how far the beliefs D lie from the exact ones D*, and the least loss L*.

    As E|x_0 − D|² = E|x_0 − D*|² + E|D − D*|², the distance is the excess itself, without the noise of a difference;
    it is 0 for the exact posterior mean alone. Items are shared out over the levels, each is asked once.
    """

    ratios: Array  # (K,) sigma/alpha, ascending
    distances: tuple[Array, ...]  # K lots of |D − D*|²/d, one for each item
    losses: tuple[Array, ...]  # K lots of numbers with the mean L*

    @property
    def items(self) -> int:
        """How many were asked about."""
        return sum(map(len, self.distances))

    @property
    def noise(self) -> Array:
        """(K,) log(sigma/alpha)."""
        return np.log(self.ratios)

    @property
    def distance(self) -> Array:
        """(K,) E|D − D*|²/d."""
        return np.array([lot.mean() for lot in self.distances])

    @property
    def optimum(self) -> Array:
        """(K,) L*."""
        return np.array([lot.mean() for lot in self.losses])

    @property
    def by_level(self) -> Array:
        """(K,) (L − L*)/L*."""
        return self.distance / self.optimum

    @property
    def risk(self) -> float:
        """The mean of (L − L*)/L* over the levels, which are evenly spread over log(sigma/alpha)."""
        return float(self.by_level.mean())

    @property
    def bits(self) -> float:
        """(1/2)·∫ E|D − D*|² d(snr) in bits for each number of an item, snr = (alpha/sigma)²; see `integral`."""
        return float(integral(self.ratios, self.distance))

    @cached_property
    def _resampled(self) -> tuple[Array, Array]:
        """(RESAMPLES, K) of E|D − D*|² and of L*, from items drawn again with replacement (Efron, 1979)."""
        draw, found = rng.host("excess", "resample"), np.empty((2, RESAMPLES, len(self.ratios)))
        for k, (gap, least) in enumerate(zip(self.distances, self.losses, strict=True)):
            counts = draw.multinomial(len(gap), np.full(len(gap), 1 / len(gap)), RESAMPLES) / len(gap)
            found[0, :, k], found[1, :, k] = counts @ gap, counts @ least
        return found[0], found[1]

    @property
    def span(self) -> tuple[Array, Array]:
        """The 95 % intervals of `by_level`, (K,) each."""
        gap, least = self._resampled
        low, high = np.quantile(gap / least, (0.025, 0.975), axis=0)
        return low, high

    def record(self) -> dict[str, Any]:
        """Its numbers by level, for metrics.json."""
        low, high = self.span
        return {
            "items": self.items,
            "noise": self.noise.tolist(),
            "optimum": self.optimum.tolist(),
            "excess": self.by_level.tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
            "bits": (integrand(self.ratios, self.distance)).tolist(),
        }

    def measures(self) -> list[Measure]:
        """The two rows of a table: the relative excess, and what it costs in bits; their floor is a true zero."""
        gap, least = self._resampled
        text = (
            f"on {self.items:,} fresh items, {len(self.ratios)} noise levels from sigma/alpha = {self.ratios[0]:.3g} "
            f"to {self.ratios[-1]:.3g}; D: the network's belief, D*: the exact one; floor: 0, by D* alone"
        )
        rows = (
            ("excess_risk", self.risk, (gap / least).mean(1), f"mean over levels of E|D − D*|²/L*, {text}"),
            ("excess_bits", self.bits, integral(self.ratios, gap), f"½·∫ E|D − D*|² d(alpha/sigma)² a number, {text}"),
        )
        return [
            Measure(
                name=name,
                value=value,
                spread=float(again.std(ddof=1)),
                floor=0.0,
                floor_spread=0.0,
                draws=1,
                count=self.items,
                better="lower",
                protocol=told,
                values=(value,),
                low=float(np.quantile(again, 0.025)),
                high=float(np.quantile(again, 0.975)),
                interval="items, drawn again with replacement",
                features="beliefs",
            )
            for name, value, again, told in rows
        ]


def integral(ratios: Array, distance: Array) -> Array:
    """(1/2)·∫ E|D − D*|² d(snr), snr = 1/ratio², in the unit of bits: distances (..., K) at K ratios → (...).

    With D the posterior mean under a wrong law q it is D(p ‖ q) at the least noise less that at the most (Verdú,
    Mismatched estimation and relative entropy, 2010). With any D it bounds the divergence of what the exact
    reverse process draws with D in the place of D*, by Girsanov's theorem (Song et al., Maximum likelihood training of
    score-based diffusion models, 2021, Theorem 1). By the trapezoid over log snr.
    """
    return np.asarray(trapezoid(integrand(ratios, distance), np.log(ratios), axis=-1))


def integrand(ratios: Array, distance: Array) -> Array:
    """Bits for each number of an item and unit of log(sigma/alpha): d(snr) = 2·snr·d log(sigma/alpha) in amount."""
    return distance / ratios**2 / np.log(2)


@torch.no_grad()
def excess(
    denoiser: Denoiser,
    truth: Components,
    source: World,
    modality: Modality,
    *,
    items: int = FRESH,
    device: torch.device | str = "cpu",
) -> Excess:
    """What a denoiser errs on fresh items of a world beyond what its truth errs; equal questions for all denoisers.

    Levels that the schedule does not reach are left out. Draws are made in lots, so memory does not grow with `items`.
    """
    if items < 2 * len(RATIOS):
        raise UserError(f"excess risk asks {len(RATIOS)} noise levels of 2 items or more each, got {items} items")
    schedule = denoiser.process.schedule
    ends = -schedule.logsnr(np.array([0.0, 1.0])) / 2
    ratios = RATIOS[(np.log(RATIOS) >= ends[0]) & (np.log(RATIOS) <= ends[1])]
    times = schedule.time(-2 * np.log(ratios))
    which, gaps, losses = np.arange(items) % len(ratios), np.empty(items), np.empty(items)
    for first in range(0, items, LOT):
        rows = slice(first, min(first + LOT, items))
        lot = source.draw(rows.stop - first, rng.key("excess", first))
        gaps[rows], losses[rows] = _ask(denoiser, truth, lot, modality, times[which[rows]], first, device)
    kinds = range(len(ratios))
    return Excess(ratios, tuple(gaps[which == k] for k in kinds), tuple(losses[which == k] for k in kinds))


def _ask(
    denoiser: Denoiser,
    truth: Components,
    lot: Items,
    modality: Modality,
    times: Array,
    first: int,
    device: torch.device | str,
) -> tuple[Array, Array]:
    """|D − D*|²/d and what has the mean L*, of each item at its time."""
    process: Gaussian = denoiser.process
    x0 = modality.encode(lot.items).to(device)
    noise = torch.randn(x0.shape, generator=rng.generator("excess", "noise", first)).to(x0)
    cond = {name: torch.from_numpy(np.asarray(leaf)).to(device) for name, leaf in lot.cond.items()}
    level = process.level(times, x0)
    x = process.corrupt(x0, level, noise)
    apart = (denoiser(x, level, cond).x0 - truth(x, level, cond).x0).square().flatten(1).mean(1)
    both = torch.stack([apart, truth.losses(x, level, cond)]).cpu().double().numpy()
    return both[0], both[1]


__all__ = ["FRESH", "RATIOS", "Excess", "excess", "integral", "integrand"]
