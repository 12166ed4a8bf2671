"""The loss on items that training never sees, by noise level, with the same draws each time."""

from typing import Any, NamedTuple

import numpy as np
import torch

from unnoise import rng
from unnoise.data import Items
from unnoise.denoise import Denoiser, NetDenoiser
from unnoise.tensor import Array, Cond, Float, Tensor, align
from unnoise.train.objective import AtLevels, Regression, average
from unnoise.train.order import Encode, Made, tensors


class ByLevel(NamedTuple):
    """Held-out losses at K noise levels, float64 on the host."""

    times: Array  # (K,) t
    noise: Array  # (K,) log(sigma/alpha)
    loss: Array  # (K,) what training minimises
    error: Array  # (K,) mean squared error of x_0, for each element; of a classifier, the share of wrong labels
    spread: float  # standard error of the mean loss, over items
    optimum: Array | None = None  # (K,) the least error there can be: the truth's, on the same draws
    excess: Array | None = None  # (K,) (L − L*)/L*, 0 is perfect

    @property
    def mean(self) -> float:
        """The mean loss over the law of levels that training draws from."""
        return float(self.loss.mean())

    def record(self) -> dict[str, Any]:
        """Its numbers, for a line of metrics.jsonl."""
        fields = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in self._asdict().items()}
        return {"mean": self.mean, **{k: v for k, v in fields.items() if v is not None}}


class HeldOut:
    """Loss by noise level over the held-out items.

    The levels are the K midpoints (k + 1/2)/K of the training law's quantiles. Each item is seen at `repeats`
    of them, spread over the law and shared out so that every level has as many items, each time with a noise
    and its negative. All of it is a function of the seed: two networks are told apart by far less than the
    spread, since they answer the same questions.
    """

    def __init__(
        self,
        objective: AtLevels,
        items: Items,
        encode: Encode,
        *,
        levels: int = 16,
        repeats: int = 4,
        limit: int = 256,
        batch: int = 512,
        seed: int = 0,
        device: torch.device | str = "cpu",
        truth: Denoiser | None = None,
        made: Made | None = None,
    ):
        """limit: of the items, the first so many, each costing 2·repeats answers of the network.

        truth: the posterior mean in closed form, where it is known; made: of x0, conditions that are made of it.
        """
        if len(items) == 0:
            raise ValueError("there is no item held out")
        raw, cond = items.take(np.arange(min(len(items), limit)))
        x0 = encode(raw, rng.host(seed, "held out", "encode")).to(device)
        self._objective, self._truth = objective, truth
        repeats = max(repeats, -(-levels // len(x0)))  # few items are asked more often: no level goes without
        self._levels, self._repeats, self._batch = levels, repeats, batch
        which = np.repeat(np.arange(len(x0)), repeats)
        # Neighbours in the list take levels far apart; over the list each level comes equally often.
        self._bin = np.arange(len(which)) * _stride(levels) % levels
        rows = torch.from_numpy(which)
        known = tensors(cond) | ({} if made is None else made(x0.cpu(), rng.host(seed, "held out", "made")))
        self._rows, self._cond = rows.to(device), {name: leaf.to(device) for name, leaf in known.items()}
        self._x0 = x0[rows.to(x0.device)]
        generator = rng.generator(seed, "held out", "noise")
        self._noise = torch.randn(self._x0.shape, generator=generator).to(self._x0)

    @torch.no_grad()
    def __call__(self, denoiser: NetDenoiser) -> ByLevel:
        """The losses of a denoiser, asked as it stands (put its network into eval mode first)."""
        quantiles = (np.arange(self._levels) + 0.5) / self._levels
        times = self._objective.times(denoiser, quantiles)
        parts: list[Tensor] = []
        for first in range(0, len(self._bin), self._batch):
            rows = slice(first, first + self._batch)
            t, noise = times[self._bin[rows]], self._noise[rows]
            cond = {name: leaf[self._rows[rows]] for name, leaf in self._cond.items()}
            pair = [self._ask(denoiser, self._x0[rows], t, sign * noise, cond) for sign in (1, -1)]
            parts.append((pair[0] + pair[1]) / 2)
        sums = torch.cat(parts, dim=1).cpu().double().numpy()  # in this order: a device may have no float64
        count = np.bincount(self._bin, minlength=self._levels)
        loss, error, optimum, gap = (np.bincount(self._bin, row, self._levels) / count for row in sums)
        by_item = (sums[0] - loss[self._bin]).reshape(-1, self._repeats).mean(1)  # an item's repeats are kin
        known = self._truth is not None
        return ByLevel(
            times,
            -denoiser.process.schedule.logsnr(times) / 2,
            loss,
            error,
            float(by_item.std() / np.sqrt(len(by_item))),
            optimum if known else None,
            gap / optimum if known else None,
        )

    def _ask(self, denoiser: NetDenoiser, x0: Tensor, t: Array, noise: Tensor, cond: Cond) -> Float[Tensor, "4 B"]:
        """Of each item: loss, error, the truth's error, and the squared distance of the two beliefs.

        E|x_0 − D|² = E|x_0 − D*|² + E|D − D*|², so the distance is the excess without the noise of the data.
        """
        if not isinstance(self._objective, Regression):
            loss = self._objective.at(denoiser, x0, cond, t, noise)
            return torch.stack([loss.value, loss.error, *[torch.zeros_like(loss.error)] * 2])
        process = denoiser.process
        level = process.level(t, x0)
        noise = process.constrain(noise, cond)
        x = process.corrupt(x0, level, noise)
        answer, c = denoiser.answer(x, level, cond)
        loss = self._objective.judge(answer, c, x0, noise, level, cond)
        if self._truth is None:
            nothing = torch.zeros_like(loss.error)
            return torch.stack([loss.value, loss.error, nothing, nothing])
        truth, mask = self._truth(x, level, cond).x0, cond.get("mask")
        belief = align(c.skip, x) * x + align(c.out, x) * answer
        distances = average((x0 - truth).square(), mask), average((belief - truth).square(), mask)
        return torch.stack([loss.value, loss.error, *distances])


def _stride(levels: int) -> int:
    """The step coprime to `levels` nearest to its golden section: multiples of it spread evenly."""
    golden = 0.618 * levels
    coprime = [step for step in range(1, levels + 1) if np.gcd(step, levels) == 1]
    return min(coprime, key=lambda step: abs(step - golden))


__all__ = ["ByLevel", "HeldOut"]
