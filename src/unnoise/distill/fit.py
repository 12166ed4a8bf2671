"""The coefficients: row by row by least squares on the fine ways, then all at once by gradients through the plan."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from unnoise import rng
from unnoise.denoise.denoiser import Denoiser
from unnoise.distill.fine import Fine
from unnoise.distill.head import Law
from unnoise.distill.subject import Subject, distance
from unnoise.distill.table import Fit, Table
from unnoise.tensor import Array, Cond, Tensor

RIDGE = 1e-4  # pull towards the known rule, as a share of the mean square of what is fitted with
PULL = 1e-3  # the same, of the gradients' loss: for each offset's square
RATE = 2e-2  # of Adam for the moments; rising over WARM steps, then falling as a cosine
ROWS = 4.0  # rows up to which coefficients move at that rate too; with more of them, by the square of the ratio slower
WARM = 10
BETAS = (0.9, 0.99)


def by_rows(subject: Subject, table: Table, fine: Fine, at: tuple[int, ...]) -> Table:
    """The table whose every row leads as near to the fine ways as it can, given the rows before it.

    Errors count as far as they arrive at the sample (see Law.fades). at (N,): the moments' places in `fine`.
    """
    law, lam = subject.law, table.lam
    ratio, stay, weights = np.append(np.exp(-lam), 0.0), table.stay.copy(), table.weights.copy()
    places = [*at, len(fine.lam)]
    y, beliefs = _first(subject, table, fine), list[Tensor]()
    for i in range(table.rows):
        beliefs.append(_believed(subject, float(lam[i]), y))
        kept = float(ratio[i + 1] / ratio[i])
        columns = torch.stack([*(kept * y[None] if i + 1 < table.rows else ()), *((1 - kept) * b for b in beliefs)])
        known = np.append([1 + stay[i]] if i + 1 < table.rows else [], weights[i, : i + 1])
        offsets = _least_squares(columns, known, fine.y[places[i + 1]], law, float(ratio[i + 1]))
        if i + 1 < table.rows:
            stay[i] += offsets[0]
        weights[i, : i + 1] += offsets[-(i + 1) :]
        told = torch.from_numpy(known + offsets).to(columns)
        y = torch.tensordot(told, columns, dims=1)
    return replace(table, stay=stay, weights=weights)


def _least_squares(columns: Tensor, known: Array, wanted: Tensor, law: Law, ratio: float) -> Array:
    """Offsets from known weights (p,) of columns (p, n, ...) that bring their sum nearest to `wanted` (n, ...)."""
    flat = columns.flatten(2).double()
    left = wanted.flatten(1).double() - torch.tensordot(torch.from_numpy(known).to(flat), flat, dims=1)
    rows = law.fades(torch.cat([flat, left[None]]), ratio).flatten(1)
    gram = (rows @ rows.T).cpu().numpy()
    square, along = gram[:-1, :-1], gram[:-1, -1]
    return np.linalg.solve(square + RIDGE * np.trace(square) / len(square) * np.eye(len(square)), along)


def _first(subject: Subject, table: Table, fine: Fine) -> Tensor:
    """y at the first question of every item."""
    if not table.headed:
        return fine.y[0]
    label = label_of(subject, subject.cond(0, fine.y.shape[1]), fine.y.shape[1])
    weight = weight_of(subject, subject.cond(0, fine.y.shape[1]), fine.y)
    here, there = (fine.y.new_tensor(float(np.exp(-lam))) for lam in (table.top, table.lam[0]))
    return subject.law.carry(fine.y[0], here, there, label, weight)


def label_of(subject: Subject, cond: Cond, count: int) -> Tensor:
    """The law of each item: of its class, or of all (count,)."""
    label = cond.get("label")
    return torch.full((count,), subject.law.classes, device=subject.like.device) if label is None else label


def weight_of(subject: Subject, cond: Cond, like: Tensor) -> Tensor | float:
    """The guidance weight of each item (B, 1), or of all."""
    given = cond.get("guidance")
    return subject.guidance[0] if given is None else given.to(like.device, like.dtype)[:, None]


@torch.no_grad()
def _believed(subject: Subject, lam: float, y: Tensor) -> Tensor:
    schedule, process = subject.denoiser.process.schedule, subject.denoiser.process
    t = schedule.time(np.array([2 * lam]))
    alpha, found = float(schedule.alpha(t)[0]), []
    for lot in subject.lots(len(y)):
        level = process.level(np.repeat(t, lot.stop - lot.start), y)
        found.append(subject.denoiser(alpha * y[lot], level, subject.cond(lot.start, lot.stop)).x0)
    return torch.cat(found)


@dataclass
class Descent:
    """Adam on the offsets of a table: where it stands, so that it can go on after an interruption."""

    fit: Fit
    step: int
    steps: int
    first: list[Tensor]  # the running means of the gradients
    second: list[Tensor]  # and of their squares
    scale: float = 0.0  # the distance before any step, by which the loss is measured

    @staticmethod
    def begin(fit: Fit, steps: int) -> "Descent":
        """At the table itself."""
        zeros = [torch.zeros_like(part) for part in fit.parameters]
        return Descent(fit, 0, steps, zeros, [part.clone() for part in zeros])

    def tensors(self) -> dict[str, Tensor]:
        """All that changes, by name."""
        groups = (("at", self.fit.parameters), ("first", self.first), ("second", self.second))
        told = {f"{name}-{i}": part.detach().cpu().clone() for name, parts in groups for i, part in enumerate(parts)}
        return told | {"step": torch.tensor(self.step), "scale": torch.tensor(self.scale, dtype=torch.float64)}

    def resume(self, tensors: dict[str, Tensor]) -> "Descent":
        """Where `tensors` were told."""
        with torch.no_grad():
            for name, parts in (("at", self.fit.parameters), ("first", self.first), ("second", self.second)):
                for i, part in enumerate(parts):
                    part.copy_(tensors[f"{name}-{i}"])
        self.step, self.scale = int(tensors["step"]), float(tensors["scale"])
        return self


def descend(subject: Subject, descent: Descent, starts: Tensor, ends: Tensor, lot: int) -> Iterator[float]:
    """One step after the other until all are done: the mean distance of the items that were asked about.

    starts (n, ...): y where x_T is drawn; ends (n, ...): the fine solution; lot: items a step. The loss is the
    distance over that of the table before any step, and PULL times the square of every offset. Which items a step
    sees depends on its number alone.
    """
    fit, count = descent.fit, len(starts)
    lots = max(1, count // lot)
    while descent.step < descent.steps:
        turn, part = divmod(descent.step, lots)
        order = rng.host("tuning", turn).permutation(count)
        rows = torch.from_numpy(np.sort(order[part * lot : (part + 1) * lot]))
        value, gradients = _gradients(subject, fit, starts, ends, rows)
        descent.scale = descent.scale or max(value, 1e-12)
        rate = RATE * 0.5 * (1 + np.cos(np.pi * descent.step / descent.steps)) * min(1, (descent.step + 1) / WARM)
        slower = min(1.0, ROWS / fit.table.rows) ** 2
        descent.step += 1
        with torch.no_grad():
            rates = (rate, rate * slower, rate * slower)
            moved = zip(rates, fit.parameters, gradients, descent.first, descent.second, strict=True)
            for own, offset, gradient, first, second in moved:
                whole = gradient / descent.scale + 2 * PULL * offset
                first.lerp_(whole, 1 - BETAS[0])
                second.lerp_(whole.square(), 1 - BETAS[1])
                mean, square = first / (1 - BETAS[0] ** descent.step), second / (1 - BETAS[1] ** descent.step)
                offset -= own * mean / (square.sqrt() + 1e-8)
        yield value


def _gradients(subject: Subject, fit: Fit, starts: Tensor, ends: Tensor, rows: Tensor) -> tuple[float, list[Tensor]]:
    cond = {name: leaf[rows.to(leaf.device)] for name, leaf in subject.cond(0, len(starts)).items()}
    here = rows.to(starts.device)
    with torch.enable_grad():
        *_, y = walk(subject.denoiser, subject, fit, starts[here], cond)
        value = distance(y, ends[here]).mean()
        gradients = torch.autograd.grad(value, fit.parameters)
    return float(value.detach()), list(gradients)


def walk(denoiser: Denoiser, subject: Subject, fit: Fit, y: Tensor, cond: Cond) -> Iterator[Tensor]:
    """The walk of a fit for items told `cond`."""
    return fit.walk(denoiser, y, cond, weight_of(subject, cond, y))


__all__ = ["Descent", "by_rows", "descend", "label_of", "weight_of"]
