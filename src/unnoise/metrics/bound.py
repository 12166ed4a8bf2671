"""The variational bound on −log p of items over a chain of steps back, term by term."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from unnoise import rng
from unnoise.config import UserError, choose
from unnoise.denoise import Denoiser
from unnoise.denoise.variance import Back, prior
from unnoise.metrics.likelihood import Likelihood, dequantised
from unnoise.modality import Modality
from unnoise.process import Gaussian
from unnoise.samplers.grid import times
from unnoise.tensor import Array, Cond, Float, Int, Tensor

FRACTIONS = {"posterior": 0.0, "beta": 1.0, "learned": None}  # v of a chain's variance; None: the denoiser tells it
NUMBERS = 1 << 16  # of all items under way at a time, about


@dataclass(frozen=True, eq=False)
class Terms:
    """The bound of N encoded items over a chain of T steps, in nats of x, the last step onto the data.

    times   (T + 1,)  t_0 > .. > t_T = 0
    prior   (N,)      KL(q(x_1 | x_0) ‖ prior)
    which   (N, K)    the steps that an item was asked about: every one, or the last and one of each of K − 1 parts
    share   (N, K)    how many steps each stands for
    nats    (N, K)    KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t)) of those steps, or −log p(x_0 | x_t) of the last
    """

    times: Array
    prior: Array
    which: npt.NDArray[np.int64]
    share: Array
    nats: Array

    @property
    def totals(self) -> Array:
        """The bound of each item, without bias: (N,)."""
        return self.prior + (self.share * self.nats).sum(1)

    @property
    def by_step(self) -> Array:
        """The mean of each step over the items that were asked about it: (T,); NaN where none was."""
        steps = len(self.times) - 1
        count = np.bincount(self.which.ravel(), minlength=steps)
        with np.errstate(invalid="ignore"):
            return np.bincount(self.which.ravel(), self.nats.ravel(), steps) / count


@torch.no_grad()
def terms(
    denoiser: Denoiser,
    x0: Float[Tensor, "N *dims"],
    chain: Array,
    cond: Cond | None = None,
    *,
    variance: str = "posterior",
    cell: float = 0.0,
    asked: int | None = None,
    seed: int = 0,
) -> Terms:
    """Every term of the bound for encoded items x0 (N, ...), each with one draw of x_t  (Ho et al., 2020, Eq. 5).

    chain: falling times from 1 to 0, (T + 1,); variance: of a step back, 'posterior', 'beta' or 'learned', as of the
    sampler ddpm; cell: the width of a level of x0 where these are whole numbers and not spread over it, else 0;
    asked: of how many steps an item is asked, the last and one of each of equal parts of the rest; silent: of all.
    """
    fraction = choose("variance", variance, FRACTIONS)
    chain = np.asarray(chain, dtype=np.float64)
    steps, count, process = len(chain) - 1, len(x0), denoiser.process
    if steps < 2 or chain[-1] != 0 or not (np.diff(chain) < 0).all():
        raise UserError("a bound is told over times that fall to 0 in 2 steps or more")
    if asked is not None and not 2 <= asked <= steps:
        raise UserError(f"of a chain of {steps} steps 2 to {steps} are asked, got {asked}")
    which, share = _chosen(count, _breadths(process, chain), asked, seed)
    nats = np.empty(which.shape)
    rows, columns = np.divmod(np.arange(which.size), which.shape[1])
    size = max(1, NUMBERS // max(1, int(np.prod(x0.shape[1:]))))
    for first in range(0, which.size, size):
        own = slice(first, first + size)
        items, step = torch.from_numpy(rows[own]).to(x0.device), which[rows[own], columns[own]]
        part = {name: leaf[items.to(leaf.device)] for name, leaf in (cond or {}).items()}
        drawn = torch.randn((len(step), *x0.shape[1:]), generator=rng.generator("bound", seed, first)).to(x0)
        found = _asked(denoiser, process, x0[items], chain, step, part, drawn, fraction, cell)
        nats[rows[own], columns[own]] = found.cpu().double().numpy()
    first_term = prior(process.schedule, float(chain[0]), x0).flatten(1).sum(1).cpu().double().numpy()
    return Terms(chain, first_term, which, share, nats)


def _breadths(process: Gaussian, chain: Array) -> Array:
    """How far each step but the last goes in asinh(alpha/sigma): (T − 1,).

    By that clock a step costs about alike near the data, where it tells half of its breadth in nats of every number
    that is not known yet, and little near the noise.
    """
    return np.diff(np.arcsinh(np.exp(process.schedule.logsnr(chain[:-1]) / 2)))


def _chosen(count: int, breadths: Array, asked: int | None, seed: int) -> tuple[npt.NDArray[np.int64], Array]:
    """Steps for each item, and how many each stands for: all; or the last, and one drawn from each run of the others.

    The runs are about equally broad. The last tells the data themselves and is far from the rest: to ask it of a few
    items only would tell little.
    """
    steps = len(breadths) + 1
    if asked is None or asked == steps:
        return np.tile(np.arange(steps), (count, 1)), np.ones((count, steps))
    whole = np.append(0.0, np.cumsum(breadths))
    runs = asked - 1
    edges = np.searchsorted(whole, np.linspace(0, whole[-1], asked))
    ranks = np.arange(asked)  # a step at least in each run, from either end
    edges = np.minimum(np.maximum.accumulate(edges - ranks) + ranks, steps - 1 - runs + ranks)
    edges[0], edges[-1] = 0, steps - 1
    drawn = rng.host("bound", "steps", seed).integers(edges[:-1], edges[1:], (count, runs))
    share = np.append(np.diff(edges), 1).astype(np.float64)
    return np.append(drawn, np.full((count, 1), steps - 1), axis=1), np.tile(share, (count, 1))


def _asked(
    denoiser: Denoiser,
    process: Gaussian,
    x0: Tensor,
    chain: Array,
    step: Int[Any, "B"],
    cond: Cond,
    noise: Tensor,
    fraction: float | None,
    cell: float,
) -> Float[Tensor, "B"]:
    """The nats of one step of each item."""
    t = chain[step]
    level = process.level(t, x0)
    x = process.corrupt(x0, level, process.constrain(noise, cond))
    belief = denoiser(x, level, cond)
    v = belief.v if fraction is None else fraction
    if v is None:
        raise UserError("this denoiser tells no variance: ask for the bound with variance=posterior or beta")
    back = Back.over(process.schedule, chain[step + 1], t, chain[np.maximum(step - 1, 0)], x0)
    return back.nats(x0, belief.x0, v, cell).flatten(1).sum(1)


@dataclass(frozen=True, eq=False)
class Bound:
    """The variational bound on −log p of N raw items, in nats: `terms` in the units of x, `shift` more in raw units."""

    terms: Terms
    shift: float
    numbers: int
    whole: bool
    text: str

    @cached_property
    def nats(self) -> Array:
        """For each item, in raw units: (N,)."""
        return self.terms.totals + self.shift

    @property
    def parts(self) -> dict[str, float]:
        """Means over the items, in nats for each number of one: the prior's, that of all steps but the last, the data's
        own, and their sum in raw units."""
        t = self.terms
        last = t.which == len(t.times) - 2
        weighed = t.share * t.nats
        means = {
            "prior": t.prior.mean(),
            "steps": np.where(last, 0, weighed).sum(1).mean(),
            "data": np.where(last, weighed, 0).sum(1).mean() + self.shift,
            "total": self.nats.mean(),
        }
        return {name: float(value) / self.numbers for name, value in means.items()}

    @property
    def likelihood(self) -> Likelihood:
        """As a row beside other likelihoods."""
        asked = float(self.terms.which.shape[1])
        return Likelihood("bound", self.nats[:, None], self.numbers, self.whole, self.text, asked)


def bound(
    denoiser: Denoiser,
    modality: Modality,
    raw: npt.NDArray[Any],
    cond: Cond | None = None,
    *,
    steps: int | None = None,
    grid: str = "time",
    variance: str = "posterior",
    asked: int | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Bound:
    """−log p of raw items (N, ...) in raw units, at most: over a chain of so many steps of a grid, the schedule's own
    number if silent. variance, asked: as of `terms`.

    Whole numbers that training has spread over their cells are spread here too, and the mean of −log p over the cell
    bounds −log P of the item; others are told as they are, by the probability of their cell under the last step.
    """
    if len(raw) < 1:
        raise UserError("a bound takes items, got none")
    schedule = denoiser.process.schedule
    chain = times(grid, schedule, schedule.steps if steps is None else steps)
    cell = modality.cell
    draw = rng.host("bound", "cell", seed)
    x0 = (modality.encode(raw) if cell else dequantised(modality, raw, draw)).to(device)
    given = {name: leaf.to(device) for name, leaf in (cond or {}).items()}
    found = terms(denoiser, x0, chain, given, variance=variance, cell=cell, asked=asked, seed=seed)
    shape = tuple(x0.shape[1:])
    told = "the probability of each level" if cell else "a density" + " over the cells" * modality.whole
    some = "every step" if asked in (None, len(chain) - 1) else f"{asked} steps of each item"
    text = f"{len(raw):,} items; variational bound, {len(chain) - 1} steps of the grid {grid}, {variance} variance, "
    text += f"{some} asked once; the data told by {told}"
    shift = 0.0 if cell else modality.log_unit(shape)
    return Bound(found, shift, int(np.prod(shape)), modality.whole, text)


__all__ = ["FRACTIONS", "Bound", "Terms", "bound", "terms"]
