"""Where to ask: the grid by dynamic programming over what a model believes on its own fine trajectories.

The scalar products of states and beliefs on the fine ways tell the error of every linear rule on every choice of
moments, with no further question: the best two-step rule of an interval is a least-squares problem of two unknowns.
"""

from dataclasses import dataclass

import numpy as np
import torch

from unnoise.distill.fine import Fine
from unnoise.distill.head import Law
from unnoise.tensor import Array, Tensor

TIED = 1e-6  # share of a belief's square that keeps two beliefs apart, where they are nearly one


@dataclass(frozen=True)
class Places:
    """Moments of the fine ways to ask at, and by how much the sample is expected to be off (rms per number).

    at (N,): places among the fine moments; off (N + 1,): what the way to each and the last step add.
    """

    at: tuple[int, ...]
    off: Array

    @property
    def total(self) -> float:
        """The expected distance, if what is added is independent."""
        return float(np.sqrt(np.square(self.off).sum()))


@dataclass(frozen=True)
class Costs:
    """Mean squares, as they arrive at the sample: beginning at i (G,); one step from i to j, (G, G + 1); and a step
    from i to j that knows the belief at h too, (G, G, G + 1) by h, i, j. Infinite where there is no such step."""

    begin: Array
    single: Array
    double: Array


def costs(fine: Fine, law: Law) -> Costs:
    """Of items that start at the first moment: see `begun` for a head start."""
    G, numbers = len(fine.lam), fine.ends[0].numel() * fine.ends.shape[0]
    ratio = np.append(np.exp(-fine.lam), 0.0)
    begin = np.full(G, np.inf)
    begin[0] = 0.0
    single, double = np.full((G, G + 1), np.inf), np.full((G, G, G + 1), np.inf)
    states, beliefs = fine.y.flatten(2).double(), fine.beliefs.flatten(2).double()
    for j in range(1, G + 1):
        vectors = torch.cat([states[: j + 1], beliefs[:j]])
        faded = law.fades(vectors, float(ratio[j])).flatten(1)
        gram = (faded @ faded.T).cpu().numpy() / numbers
        single[:j, j], double[:j, :j, j] = _steps(gram, ratio[: j + 1])
    return Costs(begin, single, double)


def begun(fine: Fine, law: Law, headed: Tensor) -> Array:
    """The costs of beginning at each moment (G,), where a head start stands at `headed` (G, n, ...)."""
    found = np.zeros(len(fine.lam))
    for j in range(1, len(fine.lam)):
        off = (headed[j] - fine.y[j]).flatten(1).double()
        found[j] = float(law.fades(off, float(np.exp(-fine.lam[j]))).square().mean())
    return found


def _steps(gram: Array, ratio: Array) -> tuple[Array, Array]:
    """The least mean squares of all steps to the last of j + 1 moments: (j,), (j, j) by h, i.

    y_j − (r_j/r_i)·y_i − (1 − r_j/r_i)·(w·D_i + v·D_h), over w and v.
    """
    j = len(ratio) - 1
    kept = ratio[j] / ratio[:j]
    yy, yd, dd = gram[: j + 1, : j + 1], gram[: j + 1, j + 1 :], gram[j + 1 :, j + 1 :]
    here = np.arange(j)
    square = yy[j, j] - 2 * kept * yy[j, here] + kept**2 * yy[here, here]
    seen = yd[j][None] - kept[:, None] * yd[:j]  # (i, k): <y_j − kept·y_i, D_k>
    own = (1 + TIED) * np.diag(dd)
    single = np.maximum(square - np.diag(seen) ** 2 / own, 0.0)
    det = own[None] * own[:, None] - dd**2
    with np.errstate(divide="ignore", invalid="ignore"):
        mine, past = np.diag(seen)[None], seen.T  # (h, i)
        told = (own[:, None] * mine**2 - 2 * dd * mine * past + own[None] * past**2) / det
    double = np.maximum(square[None] - told, 0.0)
    double[np.arange(j)[:, None] >= np.arange(j)[None]] = np.inf  # h before i
    return single, double


def best(found: Costs, questions: int) -> Places:
    """The places of so many questions whose steps add up to the least."""
    G = len(found.begin)
    total = [np.full((G + 1, G), np.inf)]  # by the last but one (the last entry: none) and the last place
    total[0][G] = found.begin
    back: list[Array] = []
    steps = np.concatenate([found.double, found.single[None]])  # (h or none, i, j)
    for _ in range(questions - 1):
        ways = total[-1][:, :, None] + steps[:, :, :G]  # (h, i, j)
        back.append(ways.argmin(axis=0).astype(np.float64))
        fresh = np.full((G + 1, G), np.inf)
        fresh[:G] = ways.min(axis=0)
        total.append(fresh)
    final = total[-1] + steps[:, :, G]
    h, i = (int(k) for k in np.unravel_index(final.argmin(), final.shape))
    at = [i]
    before = h
    for step in reversed(back):
        at.insert(0, before)
        before = int(step[before, at[1]])
    last = [G, *at]
    squares = [found.begin[at[0]]]
    for k, place in enumerate(at):
        squares.append(steps[last[k] if k else G, place, at[k + 1] if k + 1 < len(at) else G])
    return Places(tuple(at), np.sqrt(np.array(squares)))


__all__ = ["Costs", "Places", "best", "costs"]
