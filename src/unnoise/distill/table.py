"""A plan with parameters: rows in y = x/alpha that can be fitted, and the table that they make.

y_{i+1} = (1 + a_i)·(r_{i+1}/r_i)·y_i + (1 − r_{i+1}/r_i)·(sum over j <= i of w_ij·D_j),  r = sigma/alpha = exp(−lam)

With a = 0 and weights of sum 1 it is exact for beliefs that do not change: DDIM, DPM-Solver++(2M) and every other
multistep rule in the data prediction is a choice of w. The last step is onto r = 0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from unnoise.denoise import Denoiser
from unnoise.distill.head import Head, Law
from unnoise.process.level import LOUDEST, Level
from unnoise.process.schedule import Schedule
from unnoise.samplers import Plan
from unnoise.samplers.path import BASE, Path, Pen
from unnoise.tensor import Array, Cond, Tensor

EDGE = 0.02  # share of the room of a moment that is kept from its ends, so that it has a slope
REACH = 0.45  # share of the way to its neighbours that a moment may move
FURTHER = 2.0  # of lam: the neighbour of the last moment, if the schedule's span reaches so far
CLEAR = 0.01  # of lam: what is kept from the end of the span, beyond which a ladder has no noise
TINY = 1e-4  # step of the numerical slope of log alpha over lam


@dataclass(frozen=True)
class Table:
    """N rows: lam (N,), the moments to ask at; stay (N,), a; weights (N, N), w, of which j > i are 0.

    top: lam where x_T is drawn; headed: whether the data's law carries it from there to lam[0].
    """

    lam: Array
    stay: Array
    weights: Array
    top: float
    headed: bool

    @property
    def rows(self) -> int:
        """Questions."""
        return len(self.lam)

    def plan(self, schedule: Schedule, law: Law, weight: float = 1.0) -> Plan:
        """The table in x: what samples are drawn by."""
        path = Path.over(schedule, np.append(schedule.time(2 * self.lam), 0.0))
        pen = Pen(path)
        for i in range(self.rows):
            p, q = path.interval(i)
            kept = q.ratio / p.ratio
            row = {BASE: (1 + self.stay[i]) * kept * q.alpha / p.alpha}
            row |= {j: float(q.alpha * (1 - kept) * self.weights[i, j]) for j in range(i + 1)}
            pen.row(p, q, row)
        made = pen.plan()
        if not self.headed:
            return made
        top = Path.over(schedule, np.append(schedule.time(np.array([2 * self.top])), 0.0)).points[0]
        first = path.points[0]
        head = Head(law, (top.alpha, top.sigma), (first.alpha, first.sigma), weight)
        return replace(made, start=top.t, head=head)


def known(lam: Array, top: float, headed: bool) -> Table:
    """The rule that others are fitted from: DPM-Solver++(2M), its first and last step of order one."""
    N = len(lam)
    weights, h = np.eye(N), np.diff(lam)
    for i in range(1, N - 1):
        bend = h[i] / h[i - 1] / 2
        weights[i, i], weights[i, i - 1] = 1 + bend, -bend
    return Table(lam, np.zeros(N), weights, top, headed)


@dataclass
class Fit:
    """What gradients move: offsets (3 parts) from a table, on the device, in float32."""

    table: Table
    schedule: Schedule
    law: Law
    move: Tensor  # (N,): of the moments, by a sigmoid of it between REACH of the way to either neighbour
    stay: Tensor  # (N,)
    weights: Tensor  # (N, N)

    @staticmethod
    def at(table: Table, schedule: Schedule, law: Law, like: Tensor) -> "Fit":
        """No offset as yet."""
        N = table.rows
        parts = (torch.zeros(shape, device=like.device, requires_grad=True) for shape in ((N,), (N,), (N, N)))
        return Fit(table, schedule, law, *parts)

    @property
    def parameters(self) -> list[Tensor]:
        """The three parts."""
        return [self.move, self.stay, self.weights]

    @property
    def first(self) -> list[int]:
        """Where each row's offsets begin among all P: its moment's, what it keeps of the state, one for each belief."""
        return [row * (row + 5) // 2 for row in range(self.table.rows)]

    @property
    def size(self) -> int:
        """P, the number of offsets."""
        return self.table.rows * (self.table.rows + 5) // 2

    def flat(self, parts: Sequence[Tensor]) -> Array:
        """Three parts in one line (P,), row after row, on the host."""
        move, stay, weights = (part.detach().double().cpu().numpy() for part in parts)
        return np.concatenate([[move[i], stay[i], *weights[i, : i + 1]] for i in range(self.table.rows)])

    @torch.no_grad()
    def put(self, offsets: Array) -> None:
        """Moves to these offsets (P,)."""
        N, first = self.table.rows, self.first
        weights = np.zeros((N, N))
        for i in range(N):
            weights[i, : i + 1] = offsets[first[i] + 2 : first[i] + 3 + i]
        for part, values in zip(self.parameters, (offsets[first], offsets[np.add(first, 1)], weights), strict=True):
            part.copy_(torch.from_numpy(values))

    def rate(self) -> Array:
        """By how much each moment moves with its offset (N,)."""
        with torch.enable_grad():
            (found,) = torch.autograd.grad(self.moments().sum(), [self.move])
        return found.double().cpu().numpy()

    def moments(self) -> Tensor:
        """lam (N,): each between its neighbours; the first stays where x_T is drawn, if there is no head start."""
        lam = self.table.lam
        last = max(lam[-1], min(lam[-1] + FURTHER, -np.log(self.schedule.span[0]) - CLEAR))
        down, up = np.diff(lam, prepend=self.table.top), np.diff(lam, append=last)
        if not self.table.headed:
            up, down = np.append(0.0, up[1:]), np.append(0.0, down[1:])
        low, high = lam - REACH * down, lam + REACH * up
        part = np.clip(
            (lam - low) / np.where(high > low, high - low, 1.0), EDGE, 1 - EDGE
        )  # of the way, where it is now
        there = np.log(part / (1 - part))
        bounds = (torch.from_numpy(values).to(self.move) for values in (lam, low, high, there, part))
        base, least, most, begun, before = bounds
        moved = base + (most - least) * (torch.sigmoid(2 * self.move + begun) - before)
        return torch.minimum(torch.maximum(moved, least), most)

    def coefficients(self) -> tuple[Tensor, Tensor]:
        """stay (N,) and weights (N, N)."""
        stay, weights = (torch.from_numpy(part).to(self.move) for part in (self.table.stay, self.table.weights))
        return stay + self.stay, weights + torch.tril(self.weights)

    def written(self) -> Table:
        """The table as it stands."""
        with torch.no_grad():
            stay, weights = self.coefficients()
            lam, stay, weights = (part.double().cpu().numpy() for part in (self.moments(), stay, weights))
        return replace(self.table, lam=lam, stay=stay, weights=weights)

    def walk(self, denoiser: Denoiser, y: Tensor, cond: Cond, weight: Tensor | float = 1.0) -> Iterator[Tensor]:
        """y before every question and after the last, for y (B, ...) where x_T is drawn: N + 1 of them."""
        lam, (stay, weights) = self.moments(), self.coefficients()
        ratio = torch.cat([torch.exp(-lam), lam.new_zeros(1)])
        if self.table.headed:
            label = cond.get("label")
            which = torch.full((len(y),), self.law.classes, device=y.device) if label is None else label
            y = self.law.carry(y, y.new_tensor(float(np.exp(-self.table.top))), ratio[0], which, weight)
        beliefs: list[Tensor] = []
        for i in range(self.table.rows):
            yield y
            alpha, level = self._level(lam[i], len(y), y)
            beliefs.append(denoiser(alpha * y, level, cond).x0)
            kept = ratio[i + 1] / ratio[i]
            blend = sum(weights[i, j] * beliefs[j] for j in range(i + 1))
            y = (1 + stay[i]) * kept * y + (1 - kept) * blend
        yield y

    def _level(self, lam: Tensor, batch: int, like: Tensor) -> tuple[Tensor, Level]:
        """alpha and the level at lam, both with their slopes in it: the schedule itself lives on the host."""
        here = float(lam.detach())
        t, ends = (self.schedule.time(2 * np.array(at)) for at in ([here], [here - TINY, here + TINY]))
        log_alpha = np.log(self.schedule.alpha(ends))
        slope = float(log_alpha[1] - log_alpha[0]) / (2 * TINY)
        base = Level.at(self.schedule, np.repeat(t, batch), like)
        step = lam - here  # 0, with a slope
        alpha = float(self.schedule.alpha(t)[0]) * torch.exp(slope * step)
        sigma = alpha * torch.exp(-lam)
        noise = torch.clamp(-lam, -LOUDEST, LOUDEST)
        leaves = torch.stack([*base.leaves[:2], *(part.expand(batch) for part in (alpha, sigma, noise)),
                              *base.leaves[5:]])  # fmt: skip
        return alpha, Level(leaves, base.times, base.weight)


__all__ = ["Fit", "Table", "known"]
