"""The variance of a step back: fixed, or told by the network; and what a step costs in nats under the bound.

A chain goes back from t to s by p(x_s | x_t) = N(c_data·D + c_here·x_t, variance), D the belief. Its least sensible
variance is that of q(x_s | x_t, x_0), sigma_s²·(1 − e^{−2h}), and its largest sigma_t²·(1 − e^{−2h}): they are right
for data of no variance and of variance 1 (Ho et al., 2020, Sec. 3.2). A fraction v lies between them in the log
(Nichol & Dhariwal, Improved denoising diffusion probabilistic models, 2021, Eq. 15), and is held to no range.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch

from unnoise.config import UserError
from unnoise.denoise.tail import log_cdf
from unnoise.process.schedule import Schedule
from unnoise.tensor import Array, Bool, Float, Tensor, align, send


@dataclass(frozen=True)
class Fixed:
    """The sampler's own: for DDPM the posterior variance, or beta."""


@dataclass(frozen=True)
class Learned:
    """Told by the network as a fraction v beside its answer, from least to largest  (Nichol & Dhariwal, 2021, Eq. 15).

    It is trained by share·L_vlb, in nats for each number of an item, beside the objective, whose answer the bound does
    not move (Sec. 3.1). steps: of the chain whose variances are learned; silent: the schedule's. cell: the width of a
    level of the data, 0 where they have a density.
    """

    share: float = 0.001
    steps: int | None = None
    cell: float = 0.0

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise UserError(f"share is the part that the bound has in the loss and must be positive, got {self.share}")
        if self.steps is not None and self.steps < 2:
            raise UserError(f"a chain has 2 steps or more, got {self.steps}")

    def loss(
        self,
        schedule: Schedule,
        t: Array,
        x0: Float[Tensor, "B *dims"],
        belief: Float[Tensor, "B *dims"],
        v: Float[Tensor, "B *dims"],
    ) -> Float[Tensor, "B *dims"]:
        """share·T·L_t of every number of x0, for the step from each time t (B,) to t − 1/T or 0."""
        chain = chain_of(self, schedule)
        back = Back.within(schedule, t, chain, x0)
        return self.share * chain * back.nats(x0, belief, v, self.cell)


Variance: TypeAlias = Fixed | Learned

ROOM = 0.5  # what a last deviation may be learned to grow by, in its log, where the chain itself leaves less

VARIANCES: dict[str, type[Variance]] = {"fixed": Fixed, "learned": Learned}


def chain_of(variance: Variance, schedule: Schedule) -> int:
    """How many steps the chain has whose bound is told: those whose variances were learned, or the schedule's."""
    return (variance.steps if isinstance(variance, Learned) else None) or schedule.steps


@dataclass(frozen=True, eq=False)
class Back:
    """One step back for each item of a batch, from t to s: what its nats are made of. Each (B,).

    gain: snr_s − snr_t, with snr = (alpha/sigma)²; spread: half the log of the largest variance over the least;
    last: whether s = 0, so that the data themselves are told, from a normal law around the belief whose least
    deviation is exp(deviation).
    """

    gain: Float[Tensor, "B"]
    spread: Float[Tensor, "B"]
    last: Bool[Tensor, "B"]
    deviation: Float[Tensor, "B"]

    @staticmethod
    def over(schedule: Schedule, s: Array, t: Array, before: Array, like: Tensor) -> "Back":
        """The steps from t to s, each (B,); before: where the step onto t came from, which the last one's deviation
        is taken from: sigma/alpha·sqrt(1 − e^{−2h}) of the step before it  (Ho et al., 2020, who add no noise there).
        """
        both = np.stack([s, t])
        sigma, log_snr, higher = schedule.sigma(both), schedule.logsnr(both), schedule.logsnr(before)
        last = sigma[0] == 0
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.where(last, 0.0, -np.exp(log_snr[0]) * np.expm1(log_snr[1] - log_snr[0]))
            least = np.where(before > t, np.log(-np.expm1(higher - log_snr[1])) / 2, 0.0)
            spread = np.where(last, np.maximum(-least, ROOM), np.log(sigma[1]) - np.log(np.where(last, 1.0, sigma[0])))
            deviation = np.where(last, least - log_snr[1] / 2, 0.0)
        host = torch.from_numpy(np.stack([gain, spread, last, deviation]))
        gain, spread, last, deviation = send(host.to(like.dtype), like.device).unbind(0)  # one transfer
        return Back(gain, spread, last != 0, deviation)

    @staticmethod
    def within(schedule: Schedule, t: Array, steps: int, like: Tensor) -> "Back":
        """The steps of length 1/steps down from t, or onto 0."""
        return Back.over(schedule, np.maximum(t - 1 / steps, 0), t, np.minimum(t + 1 / steps, 1), like)

    def nats(
        self,
        x0: Float[Tensor, "B *dims"],
        belief: Float[Tensor, "B *dims"],
        v: Float[Tensor, "B *dims"] | float,
        cell: float = 0.0,
    ) -> Float[Tensor, "B *dims"]:
        """KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t)) of every number, or −log p(x_0 | x_t) where the step is the last.

        With g = 2·spread·v: KL = (g + e^{−g}·(1 + gain·(x_0 − D)²) − 1)/2. v: told for every number, or one for all,
        0 the posterior's variance and 1 beta, which leave the last step at its least deviation where levels are told;
        where a density is, beta is sigma/alpha there: right for data flat on that scale, in chains of any length.
        cell: the width of a level of the data, whose probability is told instead of a density; the outermost, at −1
        and 1, are open  (Ho et al., 2020, Eq. 13).
        """
        leaves = self.gain, self.spread, self.last, self.deviation
        gain, spread, last, deviation = (align(leaf, x0) for leaf in leaves)
        width, error = spread * v, x0 - belief
        g = 2 * width
        step = (g + torch.expm1(-g) + (-g).exp() * gain * error.square()) / 2
        told = deviation + (width if isinstance(v, Tensor) or not cell else 0)
        return torch.where(last, _told(x0, error, told, cell), step)


def _told(x0: Tensor, error: Tensor, log_sd: Tensor, cell: float) -> Tensor:
    """−log of a normal density at an error from its mean, or of the probability of the cell around x_0."""
    inverse = (-log_sd).exp()
    if not cell:
        return (error * inverse).square() / 2 + log_sd + float(np.log(2 * np.pi) / 2)
    edge = 1 - cell / 4
    low, high = (error - cell / 2) * inverse, (error + cell / 2) * inverse
    highest, lowest = x0 > edge, x0 < -edge
    # Between two cells' edges: on the side of the mean where both tails are small, so that their difference is exact.
    flip = low + high > 0
    near, far = torch.where(flip, -low, high), torch.where(flip, -high, low)
    near = torch.where(highest, -low, torch.where(lowest, high, near))
    tail, beyond = log_cdf(torch.stack([near, far]))
    least = float(np.finfo(np.float32).tiny)
    inner = tail + (-torch.expm1(beyond - tail)).clamp(min=least).log()
    return -torch.where(highest | lowest, tail, inner)


def prior(schedule: Schedule, t: float, x0: Float[Tensor, "B *dims"]) -> Float[Tensor, "B *dims"]:
    """KL(q(x_t | x_0) ‖ N(0, sigma_t²)) of every number: (alpha·x_0/sigma)²/2."""
    return float(np.exp(schedule.logsnr(np.array(t)))) * x0.square() / 2


__all__ = ["VARIANCES", "Back", "Fixed", "Learned", "Variance", "chain_of", "prior"]
