"""Closed-form denoisers: the truth for Gaussian data and mixtures; pictures and finite sets have their own files."""

import numpy as np
import numpy.typing as npt
import torch

from unnoise import rng
from unnoise.config import UserError
from unnoise.denoise.closed import Components, Estimate, Labels
from unnoise.denoise.denoiser import Belief
from unnoise.denoise.empirical import Empirical
from unnoise.denoise.fields import Fields
from unnoise.process.gaussian import Gaussian
from unnoise.process.level import Level
from unnoise.tensor import Array, Cond, Float, Tensor


class _Blend(Components):
    """p(x_0) = sum over k of w_k·N(mu_k, Sigma_k), with Sigma_k = U_k·diag(v_k)·U_kᵀ.

    C_k = alpha²Sigma_k + sigma²I is the covariance of x_t within component k.
    """

    def __init__(
        self,
        process: Gaussian,
        weights: npt.ArrayLike,
        means: npt.ArrayLike,
        covs: npt.ArrayLike,
        labels: Labels | None,
    ) -> None:
        w, centres, sigmas = (np.asarray(a, dtype=np.float64) for a in (weights, means, covs))
        K, shape = centres.shape[0], centres.shape[1:]
        flat = centres.reshape(K, -1)
        d = flat.shape[1]
        if w.shape != (K,) or not np.all(w > 0) or not np.isfinite(w.sum()):
            raise UserError(f"{K} means need {K} positive weights, got {w}")
        if sigmas.shape != (K, d, d):
            raise UserError(f"{K} means of {d} numbers need covariances of shape {(K, d, d)}, got {sigmas.shape}")
        scale = np.abs(sigmas).max(axis=(1, 2), initial=0.0)[:, None]
        if np.any(np.abs(sigmas - sigmas.transpose(0, 2, 1)) > 1e-9 * scale[..., None]):
            raise UserError("a covariance must be symmetric")
        values, axes = np.linalg.eigh(sigmas)
        if np.any(values < -1e-9 * scale):
            raise UserError(f"a covariance must have no negative eigenvalue, got {values.min():g}")
        values = np.where(values > d * np.finfo(np.float64).eps * scale, values, 0.0)
        super().__init__(process, shape, [flat, axes, values, np.log(w / w.sum())], labels)
        self._singular = bool(np.any(values == 0))

    def _parts(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """z = U_kᵀ(x − alpha·mu_k) and the eigenvalues c of C_k: (B, K, d) each."""
        means, axes, values, _ = self._arrays(x)
        centred = self._flat(x)[:, None, :] - alpha[:, None, None] * means
        c = alpha.square()[:, None, None] * values + sigma.square()[:, None, None]
        return torch.einsum("bkd,kde->bke", centred, axes), c

    def _log_joint(self, z: Tensor, c: Tensor, cond: Cond | None) -> Float[Tensor, "B K"]:
        """log w_k + log N(x; alpha·mu_k, C_k), the weights those of the label's components."""
        log_w = self._arrays(z)[3].expand(z.shape[0], -1)
        allowed = self._allowed(cond, z)
        if allowed is not None:
            own = log_w.masked_fill(~allowed, -torch.inf).log_softmax(dim=1)
            log_w = torch.where(allowed.all(dim=1, keepdim=True), log_w, own)  # the null is no label, to the bit
        return log_w - 0.5 * (z.square() / c + c.log() + float(np.log(2 * np.pi))).sum(dim=-1)

    def _posteriors(
        self, z: Tensor, c: Tensor, alpha: Tensor, sigma: Tensor, cond: Cond | None
    ) -> tuple[Tensor, Tensor]:
        """Responsibilities (B, K) and means mu_k + alpha·Sigma_k·C_k⁻¹(x − alpha·mu_k) (B, K, d)."""
        means, axes, values, _ = self._arrays(z)
        # where C is 0 (no noise, no variance) so is the gain: the limit sigma → 0
        gain = alpha[:, None, None] * values / c.clamp_min(torch.finfo(c.dtype).tiny)
        posterior = means + torch.einsum("bke,kde->bkd", gain * z, axes)
        if z.shape[1] == 1:
            return torch.ones_like(z[..., 0]), posterior
        self._refuse_clean(sigma, "which component x comes from")
        return self._log_joint(z, c, cond).softmax(dim=1), posterior

    def __call__(self, x: Tensor, level: Level, cond: Cond) -> Belief:
        """sum over k of r_k·(mu_k + alpha·Sigma_k·C_k⁻¹(x − alpha·mu_k)), r_k ∝ w_k·N(x; alpha·mu_k, C_k)."""
        z, c = self._parts(x, level.alpha, level.sigma)
        shares, means = self._posteriors(z, c, level.alpha, level.sigma, cond)
        return Belief(torch.einsum("bk,bkd->bd", shares, means).reshape(x.shape))

    def score(self, x: Tensor, level: Level, cond: Cond | None = None) -> Float[Tensor, "B *dims"]:
        """grad log p(x_t = x | cond) = −sum over k of r_k·C_k⁻¹(x − alpha·mu_k), shaped like x."""
        self._refuse_clean(level.sigma, "a score")
        z, c = self._parts(x, level.alpha, level.sigma)
        shares = self._log_joint(z, c, cond).softmax(dim=1)
        axes = self._arrays(x)[1]
        turned = torch.einsum("bke,kde->bkd", z / c, axes)
        return -torch.einsum("bk,bkd->bd", shares, turned).reshape(x.shape)

    def log_density(self, x: Tensor, level: Level, cond: Cond | None = None) -> Float[Tensor, "B"]:
        """log of sum over k of w_k·N(x; alpha·mu_k, C_k), in nats."""
        self._refuse_clean(level.sigma, "a density")
        return self._log_joint(*self._parts(x, level.alpha, level.sigma), cond).logsumexp(dim=1)

    def _refuse_clean(self, sigma: Tensor, what: str) -> None:
        if self._singular and bool((sigma == 0).any()):
            raise UserError(f"a singular covariance does not tell {what} at sigma = 0; ask at t > 0")

    @property
    def causes(self) -> int:
        """How many components there are."""
        return len(self._host[0])

    def _width(self) -> int:
        return self.causes * self.size

    def _within(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        """sum over k of w_k·tr(Sigma_k − alpha²Sigma_k²C_k⁻¹), and of w_k·log det(2·pi·e·C_k)/2."""
        values, weights = self._host[2], np.exp(self._host[3])
        a, s = (np.square(level)[:, None, None] for level in (alpha, sigma))
        c = a * values + s  # (L, K, d)
        left = values * s / np.where(c > 0, c, 1)  # v − alpha²v²/c, without the difference
        with np.errstate(divide="ignore"):
            return left.sum(-1) @ weights, 0.5 * np.log(2 * np.pi * np.e * c).sum(-1) @ weights

    def _prior_doubt(self) -> float:
        log_w = self._host[3]
        return -float(np.exp(log_w) @ log_w)

    def _scatter(self, x: Tensor, alpha: Tensor, sigma: Tensor, cond: Cond) -> Float[Tensor, "B"]:
        """sum over k of r_k·|m_k − E[x_0 | x_t]|²."""
        shares, means = self._posteriors(*self._parts(x, alpha, sigma), alpha, sigma, cond)
        mean = torch.einsum("bk,bkd->bd", shares, means)
        return (shares * (means - mean[:, None]).square().sum(-1)).sum(1)

    def _doubt(self, x: Tensor, alpha: Tensor, sigma: Tensor, cond: Cond) -> Float[Tensor, "B"]:
        return torch.special.entr(self._log_joint(*self._parts(x, alpha, sigma), cond).softmax(dim=1)).sum(1)

    def _draw(self, n: int, seed: int, word: str) -> tuple[Array, npt.NDArray[np.int64]]:
        means, axes, values, log_w = self._host
        which = rng.host("exact", word, "component", seed).choice(len(means), size=n, p=np.exp(log_w))
        items = rng.host("exact", word, "item", seed).standard_normal((n, self.size))
        for k in range(len(means)):
            rows = which == k
            items[rows] = means[k] + (items[rows] * np.sqrt(values[k])) @ axes[k].T
        return items, which.astype(np.int64)


class Normal(_Blend):
    """Data N(mean, cov): a mean of any shape; cov (d, d) over its d numbers, or their variances, or one for all."""

    def __init__(self, process: Gaussian, mean: npt.ArrayLike, cov: npt.ArrayLike | float) -> None:
        centre, sigma = np.asarray(mean, dtype=np.float64), np.asarray(cov, dtype=np.float64)
        if sigma.ndim == 0 or sigma.shape == centre.shape:
            sigma = np.diag(np.broadcast_to(sigma, centre.shape).reshape(-1))
        super().__init__(process, [1.0], centre[None], sigma[None], None)

    def flow(self, x_t: Float[Tensor, "B *dims"], t: float, s: float) -> Float[Tensor, "B *dims"]:
        """Where the probability flow through x_t at time t stands at time s, before or after; float64 within.

        x_s = alpha_s·mu + C_s^{1/2}·C_t^{−1/2}·(x_t − alpha_t·mu)
        """
        mean, axes, values = (part[0] for part in self._host[:3])
        ends = np.array([t, s], dtype=np.float64)
        alpha, sigma = self.process.schedule.alpha(ends), self.process.schedule.sigma(ends)
        c_t, c_s = (np.square(alpha[i]) * values + np.square(sigma[i]) for i in (0, 1))
        if np.any(c_t == 0):
            raise UserError("from t = 0 a singular covariance has no path; start at t > 0")
        z = (self._flat(x_t).detach().cpu().double().numpy() - alpha[0] * mean) @ axes
        moved = alpha[1] * mean + (z * np.sqrt(c_s / c_t)) @ axes.T
        return torch.from_numpy(moved).to(x_t.dtype).to(x_t.device).reshape(x_t.shape)


class Mixture(_Blend):
    """Data from K normals: weights (K,), means (K, *shape), covs (K, d, d) over the d numbers of an item.

    labels (K,), the class of each component: cond["label"] (B,) then restricts to the components of that
    class; the number of classes, as a label, is the null and means all, as no label does.
    """

    def __init__(
        self,
        process: Gaussian,
        weights: npt.ArrayLike,
        means: npt.ArrayLike,
        covs: npt.ArrayLike,
        labels: Labels | None = None,
    ) -> None:
        super().__init__(process, weights, means, covs, labels)


__all__ = ["Empirical", "Estimate", "Fields", "Mixture", "Normal"]
