"""How likely a model finds items: their log-density by the probability flow, in nats and in bits a number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from unnoise import rng
from unnoise.config import UserError
from unnoise.data import Items, Source, World
from unnoise.denoise import Denoiser
from unnoise.denoise.closed import Components
from unnoise.loop.adaptive import Adaptive, integrate, least_time
from unnoise.metrics.lots import stratified
from unnoise.modality import Image, Modality
from unnoise.process import Level
from unnoise.tensor import Array, Cond, Float, Tensor

EXACT = 16  # numbers of an item up to which the trace is taken exactly unless one says otherwise
PROBES = 2  # beyond: the fewest that tell their own error
TOLERANCE = 1e-4  # of a step; the error of a density is of its size, in nats a number
MANY = 1000  # items whose likelihood is told where nobody says how many
NATS = float(np.log(2))  # in a bit

Prior = Callable[[Tensor], Tensor]  # x_1 (B, *shape) → log-density (B,) in nats


@dataclass(frozen=True, eq=False)
class Density:
    """log p(x) of N items: nats (N, K), one column a probe, each without bias; evaluations (N,)."""

    nats: Array
    evaluations: Array


def log_density(
    denoiser: Denoiser,
    x: Float[Tensor, "N *dims"],
    cond: Cond | None = None,
    how: Adaptive | None = None,
    *,
    probes: int = 0,
    seeds: Sequence[int] | None = None,
    prior: Prior | None = None,
    places: int = 64,
    arrived: Callable[[], None] | None = None,
) -> Density:
    """log p(x) of encoded items x (N, ...) under what a denoiser and the probability flow draw.

    The flow carries the prior at t = 1 to the least time of the schedule's span (see `loop.adaptive`); p is the
    density of where it arrives, divided by alpha there, so no small noise is left out or added to x. Along
    dz/du = cos·z − D it changes by −(d·cos − r·tr ∂D/∂x), r = sqrt(alpha² + sigma²)  (Chen et al., Neural ordinary
    differential equations, 2018, Eq. 8; Song et al., 2021, Eq. 39).
    probes: 0 takes the trace exactly, by d products with the Jacobian at each question; K > 0 by K random signs e,
    tr J = E eᵀJe  (Hutchinson, 1990), the same all the way, of each item's seed (0, 1, .. if silent).
    prior: the log-density of x_1; silent: N(0, sigma(1)²), where sampling starts. arrived: called for every item.
    """
    if denoiser.process.constraint is not None:
        raise UserError("items under a constraint fill no volume, so they have no density")
    if probes < 0:
        raise UserError(f"probes are counted: 0 for the exact trace, or more, got {probes}")
    how, size, shape = how or Adaptive(TOLERANCE), int(np.prod(x.shape[1:])), tuple(x.shape[1:])
    signs = None if probes == 0 else _signs(range(len(x)) if seeds is None else seeds, probes, shape, x)

    def field(x: Tensor, level: Level, cond: Cond, items: Tensor) -> tuple[Tensor, Tensor]:
        radius = torch.hypot(level.alpha, level.sigma)
        x0, traces = _traced(denoiser, x, level, cond, None if signs is None else signs[items])
        return x0, (size * level.alpha / radius)[:, None] - radius[:, None] * traces

    process, least = denoiser.process, least_time(denoiser.process)
    schedule = process.schedule
    alpha, sigma = (f(np.array([least, 1.0])) for f in (schedule.alpha, schedule.sigma))
    logs = np.log(np.hypot(alpha, sigma))
    volume = size * float(logs[1] - logs[0] + np.log(alpha[0]))
    nats, evaluations = np.empty((len(x), max(probes, 1))), np.empty(len(x))
    start = float(alpha[0]) * x
    for one in integrate(process, field, start, least, 1.0, how, cond, beside=max(probes, 1), places=places):
        end = one.x.cpu().double()
        known = _normal(end, float(sigma[1])) if prior is None else float(prior(one.x[None])[0])
        nats[one.item] = known + volume + one.told.cpu().double().numpy()
        evaluations[one.item] = one.evaluations
        if arrived is not None:
            arrived()
    return Density(nats, evaluations)


def _signs(seeds: Sequence[int], probes: int, shape: tuple[int, ...], like: Tensor) -> Float[Tensor, "N K *dims"]:
    """Random signs, a function of the seed."""
    drawn = [rng.host("likelihood", "probe", int(seed)).integers(0, 2, (probes, *shape)) for seed in seeds]
    return torch.from_numpy(2.0 * np.stack(drawn) - 1).to(like.dtype).to(like.device)


def _traced(
    denoiser: Denoiser, x: Tensor, level: Level, cond: Cond, signs: Tensor | None
) -> tuple[Tensor, Float[Tensor, "B K"]]:
    """D (B, ...) and tr ∂D/∂x (B, 1), or eᵀ(∂D/∂x)e for each of the signs e (B, K, ...)."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        x0 = denoiser(x, level, cond).x0
        flat = x0.flatten(1)
        count = flat.shape[1] if signs is None else signs.shape[1]
        found: list[Tensor] = []
        for k in range(count):
            if signs is None:
                (row,) = torch.autograd.grad(flat[:, k].sum(), x, retain_graph=k + 1 < count)
                found.append(row.flatten(1)[:, k])
            else:
                (row,) = torch.autograd.grad(x0, x, signs[:, k], retain_graph=k + 1 < count)
                found.append((row * signs[:, k]).flatten(1).sum(1))
    traces = torch.stack(found, 1)
    return x0.detach(), traces.sum(1, keepdim=True) if signs is None else traces


def _normal(x: Tensor, deviation: float) -> float:
    """log N(x; 0, deviation²) in nats."""
    scaled = float(x.square().sum()) / deviation**2
    return -scaled / 2 - x.numel() * float(np.log(deviation) + np.log(2 * np.pi) / 2)


@dataclass(frozen=True, eq=False)
class Likelihood:
    """−log p of N items in nats, in the units of the raw data: nats (N, P) by P estimates each, without bias.

    way: "ode" or "bound"; numbers: of an item; whole: whether raw data are whole numbers: then it bounds −log P of
    the very item from above, by its mean over the unit cell around it. least (N,): −log p under the true law, where
    one is known. text: how it was measured.
    """

    way: str
    nats: Array
    numbers: int
    whole: bool
    text: str
    evaluations: float
    probes: int = 0
    least: Array | None = None

    @cached_property
    def _items(self) -> Array:
        return self.nats.mean(1) / self.numbers

    @property
    def unit(self) -> str:
        """In what it is told."""
        return "bits a number" if self.whole else "nats a number"

    @property
    def _scale(self) -> float:
        return 1 / NATS if self.whole else 1.0

    @property
    def value(self) -> float:
        """The mean over items, for each number of an item, in its unit."""
        return float(self._items.mean()) * self._scale

    @property
    def error(self) -> float:
        """The standard error of the mean: of which items were at hand, and of all that is random besides."""
        return _error(self._items) * self._scale

    @property
    def own_error(self) -> float | None:
        """The part of it that more probes and more places in the cells would lessen; None where one estimate is all."""
        if self.nats.shape[1] < 2:
            return None
        variance = self.nats.var(1, ddof=1) / self.nats.shape[1] / self.numbers**2
        return float(np.sqrt(variance.mean() / len(variance))) * self._scale

    @property
    def gap(self) -> tuple[float, float] | None:
        """By how much it lies above the least possible, and its standard error: over the very same items."""
        if self.least is None:
            return None
        apart = self._items - self.least / self.numbers
        return float(apart.mean()) * self._scale, _error(apart) * self._scale

    def record(self) -> dict[str, Any]:
        """Its numbers, for metrics.json."""
        gap = self.gap
        known = {} if gap is None else {"gap": gap[0], "gap_error": gap[1]}
        return {
            "name": f"likelihood_{self.way}",
            "unit": "bits/dim" if self.whole else "nats/dim",
            "value": self.value,
            "error": self.error,
            "own_error": self.own_error,
            "items": len(self.nats),
            "numbers": self.numbers,
            "evaluations": self.evaluations,
            **known,
            "protocol": self.text,
        }


def _error(values: Array) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def by_flow(
    denoiser: Denoiser,
    modality: Modality,
    raw: npt.NDArray[Any],
    cond: Cond | None = None,
    *,
    how: Adaptive | None = None,
    exact: int = EXACT,
    probes: int = PROBES,
    draws: int = 1,
    seed: int = 0,
    truth: Components | None = None,
    device: torch.device | str = "cpu",
    arrived: Callable[[], None] | None = None,
) -> Likelihood:
    """−log p of raw items (N, ...) in raw units, by the probability flow.

    Whole numbers are dequantised, `draws` times each: P(raw) is the integral of p over the unit cell around raw, and
    −log P(raw) <= −E log p(raw + u), u uniform over the cell (Theis et al., A note on the evaluation of generative
    models, 2016, Eq. 4). exact: numbers of an item up to which the trace is exact, not by `probes`. arrived: called
    for every item of every draw.
    """
    if len(raw) < 1 or draws < 1 or probes < 1:
        raise UserError(f"a likelihood takes items, draws and probes, got {len(raw)}, {draws} and {probes}")
    how, whole = how or Adaptive(TOLERANCE), modality.whole
    found: list[Array] = []
    asked: list[Array] = []
    size = used = 0
    for draw in range(draws if whole else 1):
        x = dequantised(modality, raw, rng.host("likelihood", "cell", seed, draw)).to(device)
        size = int(np.prod(x.shape[1:]))
        used = 0 if size <= exact else probes
        seeds = [rng.key("likelihood", seed, draw, i) for i in range(len(x))]
        made = log_density(denoiser, x, cond, how, probes=used, seeds=seeds, arrived=arrived)
        found.append(-made.nats + modality.log_unit(tuple(x.shape[1:])))
        asked.append(made.evaluations)
    trace = f"{used} random signs" if used else "exact"
    cells = f"{draws} uniform place{'s' * (draws > 1)} in the cell of each number; " if whole else ""
    text = (
        f"{len(raw):,} items; {cells}probability flow, tolerance {how.tolerance:g}, trace {trace}; "
        f"stopped at the least noise, sigma/alpha = {denoiser.process.schedule.span[0]:.3g}"
    )
    least = None if truth is None else _least(truth, modality, raw)
    nats = np.concatenate(found, axis=1)
    return Likelihood("ode", nats, size, whole, text, float(np.mean(asked)), used, least)


def _least(truth: Components, modality: Modality, raw: npt.NDArray[Any]) -> Array | None:
    """−log p under the true law, in raw units; None where that has no density."""
    x = modality.encode(raw).double()
    level = truth.process.level(np.zeros(len(x)), x)
    try:
        nats = -truth.log_density(x, level).numpy()
    except UserError:  # a law on fewer dimensions than its items have
        return None
    return nats + modality.log_unit(tuple(x.shape[1:]))


def held_out(source: Source, against: str, count: int | None = None) -> Items:
    """Items of a part to ask about: all of a finite source's, stratified where there are more than `count`.

    Of a world, the first of its part: MANY where the count is silent, which all other sources keep to as well.
    """
    items = source.split(against)
    if count is not None and count > len(items):
        raise UserError(f"{against} holds {len(items)} items, fewer than the {count} asked")
    count = min(count or MANY, len(items))
    if isinstance(source, World):
        return Items(*items.take(np.arange(count)))
    return items if count == len(items) else Items(*items.take(stratified(items, count, 0)))


def dequantised(modality: Modality, raw: npt.NDArray[Any], draw: np.random.Generator) -> Tensor:
    """Raw items encoded: whole numbers with u added, uniform over the unit cell; others as training encodes them."""
    if isinstance(modality, Image):
        return replace(modality, dequantise=True).encode(raw, draw)
    if modality.whole:
        return modality.encode(raw + draw.random(raw.shape) - 0.5)
    return modality.encode(raw, draw)


__all__ = ["EXACT", "PROBES", "TOLERANCE", "Density", "Likelihood", "by_flow", "dequantised", "held_out", "log_density"]
