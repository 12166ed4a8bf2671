"""The score of noisy data in the plane: the exact field, what a network has learned of it, and where it errs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from unnoise import rng
from unnoise.config import UserError
from unnoise.denoise import Denoiser, from_data
from unnoise.denoise.closed import Exact
from unnoise.process import Gaussian, Level
from unnoise.tensor import Array, Cond

FINE = 96  # places a side at which density and error are told
COARSE = 17  # arrows a side
DRAWN = 4000  # draws of x_t that the error is averaged over
PART = 2048  # places asked about at a time


@dataclass(frozen=True, eq=False)
class Relation:
    """One noisy point, and its score in three ways; with the network's own where there is one."""

    at: Array  # (2,) x
    mean: Array  # (2,) alpha·E[x_0 | x_t = x]
    items: Array  # (N, 2) alpha·x_0
    weights: Array  # (N,) how likely each is where x came from, of sum 1
    slope: Array  # (2,) the gradient of log p(x_t), by automatic differentiation of the density
    noise: Array  # (2,) −E[noise | x_t = x]/sigma
    pull: Array  # (2,) (alpha·E[x_0 | x_t = x] − x)/sigma²
    learned: Array | None  # (2,) the network's


@dataclass(frozen=True, eq=False)
class Field:
    """The score at one noise level. Arrows are sigma²·score = alpha·E[x_0 | x_t] − x, in data units."""

    t: float
    alpha: float
    sigma: float
    box: tuple[float, float, float, float]  # x0, x1, y0, y1
    density: Array  # (FINE, FINE) p(x_t), rows by rising y
    places: Array  # (COARSE², 2)
    exact: Array  # (COARSE², 2)
    learned: Array | None  # (COARSE², 2)
    error: Array | None  # (FINE, FINE) sigma·|learned − exact score|: the error of the noise that it believes in
    off: float | None  # the root of E|learned − exact|² over that of E|exact|², x_t drawn from p
    point: Relation

    @property
    def ratio(self) -> float:
        """sigma/alpha."""
        return self.sigma / self.alpha


def field(
    truth: Exact,
    process: Gaussian,
    items: Array,
    ratio: float,
    learned: Denoiser | None = None,
    cond: Callable[[int], Cond] | None = None,
    at: tuple[float, float] | None = None,
    device: str = "cpu",
) -> Field:
    """The field at the noise level `ratio` = sigma/alpha, of items (N, 2) whose law `truth` knows.

    learned: a denoiser whose score (alpha·D − x)/sigma² stands beside; cond: what it is told, for so many; at: the
    point whose relation is told, else a draw of x_t as far from its mean as noise usually is.
    """
    place = process.schedule.time(np.array([-2 * np.log(ratio)]))
    t, alpha, sigma = float(place[0]), float(process.schedule.alpha(place)[0]), float(process.schedule.sigma(place)[0])
    if not np.isclose(sigma, ratio * alpha, rtol=1e-6):
        low, high = process.schedule.span
        raise UserError(f"the schedule has no level sigma/alpha = {ratio:g}: it reaches from {low:g} to {high:g}")

    def of(who: Denoiser, x: Array, where: str, dtype: torch.dtype, told: Callable[[int], Cond] | None) -> Array:
        """alpha·D − x at places (N, 2)."""
        found: list[Array] = []
        with torch.no_grad():
            for first in range(0, len(x), PART):
                part = torch.from_numpy(x[first : first + PART]).to(dtype).to(where)
                level = process.level(np.full(len(part), t), part)
                mean = who(part, level, told(len(part)) if told else {}).x0.cpu().double().numpy()
                found.append(alpha * mean - x[first : first + PART])
        return np.concatenate(found)

    def exactly(x: Array) -> Array:
        return of(truth, x, "cpu", torch.float64, None)

    def network(x: Array) -> Array | None:
        return None if learned is None else of(learned, x, device, torch.float32, cond)

    noise = rng.host("field", "noise", 0).standard_normal((min(DRAWN, len(items)), 2))
    drawn = alpha * items[: len(noise)] + sigma * noise
    box = _box(drawn)
    fine, places = _mesh(box, FINE), _mesh(box, COARSE)
    fine_learned, drawn_learned = network(fine), network(drawn)
    error = off = None
    if fine_learned is not None and drawn_learned is not None:
        error = (np.linalg.norm(fine_learned - exactly(fine), axis=1) / sigma).reshape(FINE, FINE)
        true = exactly(drawn)
        off = float(np.linalg.norm(drawn_learned - true) / np.linalg.norm(true))
    if at is None:
        length = np.linalg.norm(exactly(drawn[:200]), axis=1) / sigma
        at = tuple(drawn[int(np.argmin(np.abs(length - np.sqrt(2))))])
    return Field(
        t=t,
        alpha=alpha,
        sigma=sigma,
        box=box,
        density=np.exp(_log_density(truth, process, fine, t)).reshape(FINE, FINE),
        places=places,
        exact=exactly(places),
        learned=network(places),
        error=error,
        off=off,
        point=_relation(truth, process, items, t, np.asarray(at, dtype=np.float64), network),
    )


def _relation(
    truth: Exact, process: Gaussian, items: Array, t: float, x: Array, network: Callable[[Array], Array | None]
) -> Relation:
    row = torch.from_numpy(x[None].copy()).requires_grad_()
    level = process.level(np.array([t]), row)
    alpha, sigma = float(level.alpha), float(level.sigma)
    (slope,) = torch.autograd.grad(truth.log_density(row, level).sum(), row)
    with torch.no_grad():
        clean = truth(row, level, {}).x0
        noise = from_data(clean, row, level, "noise")[0].numpy()
    mean = alpha * clean[0].numpy()
    far = ((x - alpha * items) ** 2).sum(1) / (2 * sigma**2)
    weights = np.exp(far.min() - far)
    learned = network(x[None])
    return Relation(
        at=x,
        mean=mean,
        items=alpha * items,
        weights=weights / weights.sum(),
        slope=slope[0].numpy(),
        noise=-noise / sigma,
        pull=(mean - x) / sigma**2,
        learned=None if learned is None else learned[0] / sigma**2,
    )


def _log_density(truth: Exact, process: Gaussian, x: Array, t: float) -> Array:
    found: list[Array] = []
    with torch.no_grad():
        for first in range(0, len(x), PART):
            part = torch.from_numpy(x[first : first + PART])
            level: Level = process.level(np.full(len(part), t), part)
            found.append(truth.log_density(part, level).numpy())
    return np.concatenate(found)


def _box(points: Array, margin: float = 0.12) -> tuple[float, float, float, float]:
    """A square about nearly all of the points, so that both axes have one scale."""
    low, high = np.quantile(points, 0.002, axis=0), np.quantile(points, 0.998, axis=0)
    middle, half = (low + high) / 2, max(float(np.max(high - low)) / 2, 1e-6) * (1 + 2 * margin)
    (x0, y0), (x1, y1) = middle - half, middle + half
    return float(x0), float(x1), float(y0), float(y1)


def _mesh(box: tuple[float, float, float, float], count: int) -> Array:
    """The middles of count² cells of a box, by rising y, then x: (count², 2)."""
    along = (np.arange(count) + 0.5) / count
    x, y = np.meshgrid(box[0] + along * (box[1] - box[0]), box[2] + along * (box[3] - box[2]))
    return np.stack([x.ravel(), y.ravel()], axis=1)


__all__ = ["Field", "Relation", "field"]
