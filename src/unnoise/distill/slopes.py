"""How a sample turns with each number of a plan's table: the walk, and the slopes that it carries along."""

import numpy as np
import torch

from unnoise.distill.fit import label_of, weight_of
from unnoise.distill.subject import Subject
from unnoise.distill.table import Fit
from unnoise.tensor import Array, Cond, Tensor

NUDGE = 1e-3  # of a question, against the deviation of what it holds; and of lam
APART = 1e-2  # of lam, to either side of where the law of the data carries noise to


@torch.no_grad()
def slopes(subject: Subject, fit: Fit, y: Tensor, cond: Cond) -> tuple[Tensor, Tensor]:
    """The samples (n, ...) of y where x_T is drawn, and their slope over every offset (P, n, ...).

    The tables are linear and their slopes exact; those of a belief are differences along the way the question turns.
    """
    table, rate = fit.written(), fit.rate()
    lam, stay, weights, first = table.lam, table.stay, table.weights, fit.first
    ratio = np.append(np.exp(-lam), 0.0)
    turns = y.new_zeros((fit.size, *y.shape))
    if table.headed:
        label, weight = label_of(subject, cond, len(y)), weight_of(subject, cond, y)
        top, *there = (y.new_tensor(np.exp(-at)) for at in (table.top, lam[0], lam[0] - APART, lam[0] + APART))
        y, before, after = (subject.law.carry(y, top, ratio, label, weight) for ratio in there)
        turns[0] = rate[0] / (2 * APART) * (after - before)
    beliefs, turned = list[Tensor](), list[Tensor]()
    for i in range(table.rows):
        belief, turn = _believed(subject, lam[i], y, turns[: first[i] + 1], rate[i], cond)
        beliefs.append(belief)
        turned.append(torch.cat([turn, turn.new_zeros((fit.size - len(turn), *y.shape))]))
        kept = float(ratio[i + 1] / ratio[i])
        blend = torch.stack([float(w) * b for w, b in zip(weights[i], beliefs, strict=False)]).sum(0)
        turns = (1 + stay[i]) * kept * turns
        for j, part in enumerate(turned):
            turns += (1 - kept) * float(weights[i, j]) * part
            turns[first[i] + 2 + j] += (1 - kept) * beliefs[j]
        shift = kept * ((1 + stay[i]) * y - blend)  # over lam here; over the next one its negative
        turns[first[i]] += rate[i] * shift
        turns[first[i] + 1] += kept * y
        if i + 1 < table.rows:
            turns[first[i + 1]] -= rate[i + 1] * shift
        y = (1 + stay[i]) * kept * y + (1 - kept) * blend
    return y, turns


def _believed(subject: Subject, lam: float, y: Tensor, turns: Tensor, rate: float, cond: Cond) -> tuple[Tensor, Tensor]:
    """The belief about y (n, ...), and how it turns (k, n, ...) as y does; with the last of them lam does too."""
    process, count = subject.denoiser.process, len(y)
    sizes = turns.flatten(1).square().mean(1).sqrt()
    nudge = NUDGE * float(np.sqrt(1 + np.exp(-2 * lam))) / sizes.clamp(min=1e-12)
    nudge = torch.where(sizes > 0, nudge, nudge.new_tensor(NUDGE))
    nudge[-1] = torch.minimum(nudge[-1], nudge.new_tensor(NUDGE / max(abs(rate), 1e-12)))
    lams = np.full(1 + len(turns), lam)
    lams[-1] += float(nudge[-1]) * rate
    asked = torch.cat([y[None], y + nudge.reshape(-1, *(1,) * y.ndim) * turns]).flatten(0, 1)
    t = np.repeat(process.schedule.time(2 * lams), count)
    told: Array = process.schedule.alpha(t)
    found: list[Tensor] = []
    for lot in subject.lots(len(asked)):
        level = process.level(t[lot], y)
        x = asked[lot] * torch.from_numpy(told[lot]).to(y).reshape(-1, *(1,) * (y.ndim - 1))
        which = torch.arange(lot.start, lot.stop) % count
        found.append(subject.denoiser(x, level, {name: leaf[which.to(leaf.device)] for name, leaf in cond.items()}).x0)
    belief, *moved = torch.cat(found).reshape(1 + len(turns), *y.shape)
    turned = (torch.stack(moved) - belief) / nudge.reshape(-1, *(1,) * y.ndim)
    return belief, turned


__all__ = ["slopes"]
