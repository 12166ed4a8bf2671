"""The coefficients row by row: least squares on the fine ways."""

from dataclasses import replace

import numpy as np
import torch

from unnoise.distill.fine import Fine
from unnoise.distill.head import Law
from unnoise.distill.subject import Subject
from unnoise.distill.table import Table
from unnoise.tensor import Array, Cond, Tensor

RIDGE = 1e-4  # pull towards the known rule, as a share of the mean square of what is fitted with


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


__all__ = ["by_rows", "label_of", "weight_of"]
