"""All numbers of a table at once: Gauss and Newton through the plan.

Beliefs at neighbouring questions are nearly one, and rows lean on one another: the distance is far steeper in some
directions than in others, and descent along the gradient stalls in the valley. So every step solves for all numbers
together, by the slopes of the samples over each (Levenberg, 1944; Marquardt, 1963). The distance is a mean of norms,
not of squares: an item counts in inverse proportion to its own distance (Weiszfeld, 1937).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from unnoise.distill.fit import weight_of
from unnoise.distill.slopes import slopes
from unnoise.distill.subject import LOT, Subject, distance
from unnoise.distill.table import Fit, Table
from unnoise.tensor import Array, Tensor

PULL = 1e-4  # towards where the descent began: for each offset's square, as a share of the distance there
DAMPING = 1e-3  # share of the curvature along each axis, to begin with
EASED, STIFFENED, TRIES = 0.25, 8.0, 6  # the damping after a step that helped, and after one that did not
LITTLE = 2e-3  # share of the distance: two steps in a row that gain less are the last
NEAREST = 0.1  # of the mean distance: items nearer than this weigh no more


@dataclass(eq=False)
class Descent:
    """Where the fit of a table stands: offsets (P,), see `Fit.put`, so that it can go on after an interruption.

    least, best, fitted: the least distance on the items that choose, the offsets there, and the distance of the items
    that fit there; scale: theirs before any step; idle: steps in a row that gained little.
    """

    fit: Fit
    steps: int
    at: Array
    best: Array
    least: float
    fitted: float
    scale: float
    damping: float = DAMPING
    step: int = 0
    idle: int = 0

    @staticmethod
    def begin(fit: Fit, steps: int, least: float, fitted: float) -> "Descent":
        """At the table itself, so far off on the items that choose and on those that fit."""
        return Descent(fit, steps, np.zeros(fit.size), np.zeros(fit.size), least, fitted, max(fitted, 1e-12))

    @property
    def over(self) -> bool:
        """Whether all steps are done, or the last two gained little."""
        return self.step >= self.steps or self.idle >= 2

    def tensors(self) -> dict[str, Tensor]:
        """All that changes, by name."""
        numbers = np.array([self.least, self.fitted, self.scale, self.damping, self.step, self.idle])
        parts = {"at": self.at, "best": self.best, "numbers": numbers}
        return {name: torch.from_numpy(part.copy()) for name, part in parts.items()}

    def resume(self, tensors: dict[str, Tensor]) -> "Descent":
        """Where `tensors` were told."""
        self.at, self.best = (tensors[name].numpy() for name in ("at", "best"))
        self.least, self.fitted, self.scale, self.damping, step, idle = tensors["numbers"].tolist()
        self.step, self.idle = int(step), int(idle)
        return self

    def found(self) -> Table:
        """The table that was best on the items that choose."""
        self.fit.put(self.best)
        return self.fit.written()


def descend(
    subject: Subject, descent: Descent, starts: Tensor, ends: Tensor, off: Callable[[Table], float], last: int
) -> Iterator[float]:
    """Step after step until it is over, or `last` are done: the mean distance of all items after each.

    starts (n, ...): y where x_T is drawn; ends (n, ...): the fine solution; off: the distance on the items that choose.
    """
    fit = descent.fit
    while not descent.over and descent.step < last:
        fit.put(descent.at)
        value, gradient = gradient_of(subject, fit, starts, ends)
        tied = 2 * PULL * descent.scale
        curvature = _curvature(subject, fit, starts, ends, value)
        now, gained = _step(subject, descent, (starts, ends), value, gradient + tied * descent.at, curvature, tied)
        descent.step += 1
        descent.idle = 2 if not gained else descent.idle + 1 if gained < LITTLE * value else 0
        fit.put(descent.at)
        if gained and (chosen := off(fit.written())) < descent.least:
            descent.least, descent.best, descent.fitted = chosen, descent.at.copy(), now
        yield now


def _step(
    subject: Subject,
    descent: Descent,
    items: tuple[Tensor, Tensor],
    value: float,
    gradient: Array,
    curvature: Array,
    tied: float,
) -> tuple[float, float]:
    """Moves to where distance and pull are less: the distance there, and what is gained; 0 where no damping helps."""
    free = np.diag(curvature) > 0  # the first moment has no slope where no head start is, the last row no state to keep
    square = curvature[np.ix_(free, free)]
    pull = tied / 2 * float(np.square(descent.at).sum())
    for _ in range(TRIES):
        damped = square + np.diag(descent.damping * np.diag(square) + tied)
        tried = descent.at.copy()
        tried[free] -= np.linalg.solve(damped, gradient[free])
        descent.fit.put(tried)
        now = _value(subject, descent.fit, *items)
        gained = value + pull - now - tied / 2 * float(np.square(tried).sum())
        if gained > 0:
            descent.at, descent.damping = tried, descent.damping * EASED
            return now, gained
        descent.damping *= STIFFENED
    return value, 0.0


def gradient_of(subject: Subject, fit: Fit, starts: Tensor, ends: Tensor) -> tuple[float, Array]:
    """The mean distance, and its slope over every offset (P,)."""
    value, gradient = 0.0, np.zeros(fit.size)
    for lot in subject.lots(len(starts)):
        with torch.enable_grad():
            part = distance(_last(subject, fit, starts, lot), ends[lot]).sum() / len(starts)
            gradients = torch.autograd.grad(part, fit.parameters)
        value += float(part.detach())
        gradient += fit.flat(gradients)
    return value, gradient


@torch.no_grad()
def _value(subject: Subject, fit: Fit, starts: Tensor, ends: Tensor) -> float:
    lots = subject.lots(len(starts))
    told = sum(float(distance(_last(subject, fit, starts, lot), ends[lot]).sum()) for lot in lots) / len(starts)
    return told if np.isfinite(told) else np.inf


def _last(subject: Subject, fit: Fit, starts: Tensor, lot: slice) -> Tensor:
    cond, y = subject.cond(lot.start, lot.stop), starts[lot]
    *_, y = fit.walk(subject.denoiser, y, cond, weight_of(subject, cond, y))
    return y


def _curvature(subject: Subject, fit: Fit, starts: Tensor, ends: Tensor, mean: float) -> Array:
    """Gauss and Newton's (P, P): the mean over items of JᵀJ/(d·distance), J (d, P) the slopes of the sample.

    Of all items: the few whose ways part early are the steepest, and a step that has not seen them is refused.
    """
    total, size = np.zeros((fit.size, fit.size)), starts[0].numel()
    for lot in subject.lots(len(starts), max(1, LOT // 4)):
        ys, slope = slopes(subject, fit, starts[lot], subject.cond(lot.start, lot.stop))
        off = distance(ys, ends[lot]).clamp(min=NEAREST * mean)
        columns = (slope.flatten(2) / off.sqrt()[:, None]).flatten(1).double()
        total += (columns @ columns.T).cpu().numpy()
    return total / (size * len(starts))


__all__ = ["Descent", "descend", "gradient_of"]
