"""Data as a mixture of normal laws fitted to it: on its exact flow a sampler's error is measured path by path."""

from dataclasses import dataclass

import numpy as np
import torch

from unnoise.config import UserError
from unnoise.denoise import exact
from unnoise.loop import sample
from unnoise.process import Gaussian
from unnoise.samplers import Plan
from unnoise.samplers import plan as write
from unnoise.tensor import Array

PATHS = 64  # starts whose ends are compared
FINE = 512  # steps of the flow that stands for the truth
KEPT = 32  # directions of most variance that a mixture is fitted in
LEAST = 1e-4  # share of the mean variance that every component has in every direction


@dataclass(frozen=True, eq=False)
class Blend:
    """A fitted mixture over a process, where paths start, and where the exact flow leads them."""

    truth: exact.Mixture
    start: torch.Tensor  # (PATHS, d) at t = 1
    ends: Array  # (PATHS, d) at t = 0

    def error(self, plan: Plan) -> float:
        """The root mean square distance, over paths and numbers, of a plan's ends from the flow's own."""
        if plan.stochastic:
            raise UserError(
                "on a mixture the path of each sample is followed, so only samplers without noise are drawn"
            )
        x = sample(self.truth, plan, self.start.shape[1:], range(len(self.start)), start=self.at(plan.start))
        return float(np.sqrt(np.square(x.numpy() - self.ends).mean()))

    def at(self, t: float) -> torch.Tensor:
        """The paths' starts where a plan begins: noise of its deviation."""
        return self.start * float(self.truth.process.schedule.sigma(np.array(t)))


def fitted(x: Array, components: int, process: Gaussian, grid: str = "karras", seed: int = 0) -> Blend:
    """A mixture of so many normal laws fitted to items (N, d), along their KEPT directions of most variance.

    By expectation and maximisation; the flow's ends are those of FINE steps of a rule of the third
    order over the same kind of grid.
    """
    from sklearn.mixture import GaussianMixture

    if not 1 <= components <= len(x) // 2:
        raise UserError(f"a mixture fitted to {len(x)} items has 1 to {len(x) // 2} components, got {components}")
    values, axes = np.linalg.eigh(np.atleast_2d(np.cov(x.T)))
    rows = x @ axes[:, ::-1][:, :KEPT]
    floor = LEAST * float(values[::-1][:KEPT].mean())
    found = GaussianMixture(components, reg_covar=max(floor, 1e-12), random_state=seed).fit(rows)
    law = [np.asarray(part) for part in (found.weights_, found.means_, found.covariances_)]
    truth = exact.Mixture(process, *law)
    start = torch.from_numpy(np.random.default_rng(seed).standard_normal((PATHS, rows.shape[1])))
    fine = write("dpmpp_3m", process, FINE, grid)
    blend = Blend(truth, start, np.zeros((PATHS, rows.shape[1])))
    ends = sample(truth, fine, start.shape[1:], range(PATHS), start=blend.at(fine.start))
    return Blend(truth, start, ends.numpy())


__all__ = ["Blend", "fitted"]
