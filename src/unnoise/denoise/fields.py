"""The closed-form denoiser of pictures that are a figure anywhere on stationary Gaussian ground: Fourier space."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from unnoise import rng
from unnoise.config import UserError
from unnoise.denoise.closed import Components, Labels
from unnoise.denoise.denoiser import Belief
from unnoise.process.gaussian import Gaussian
from unnoise.process.level import Level
from unnoise.tensor import Array, Cond, Float, Tensor, align


class _Seen(NamedTuple):
    """x_t as component k sees it, in its own channels and in Fourier space; everything (B, C, H, W/2 + 1)."""

    x: Tensor  # complex
    figure: Tensor  # complex, without the batch
    v: Tensor  # the variances of the ground, without the batch
    c: Tensor  # alpha²v + sigma²: those of x_t


class Fields(Components):
    """Data x_0 = T_s·mu_k + U_k·g of shape (C, H, W): a figure shifted by s on a stationary field, on a torus.

    weights (K,); means (K, C, H, W), the figures; axes (K, C, C), orthogonal; spectra (K, C, H, W), the variances
    of the orthonormal Fourier coefficients of each channel of g, in the order of np.fft.fft2 and the same at f and
    −f. s is uniform over all H·W shifts, or none where `anywhere` is false. labels (K,) as for Mixture.

    With C = alpha²S + sigma² the posterior of (k, s) is a softmax over cross-correlations,
    log r_k,s = log w_k + alpha·<T_s·mu_k, C⁻¹x> − (<x, C⁻¹x> + alpha²<mu_k, C⁻¹mu_k> + log det C)/2 + const,
    and the posterior mean a convolution, sum over k of R_k·alpha·S·C⁻¹·x + sigma²·C⁻¹·(r_k ∗ mu_k): everything
    costs one Fourier transform a component, for a mixture of K·H·W components in C·H·W dimensions.
    """

    def __init__(
        self,
        process: Gaussian,
        weights: npt.ArrayLike,
        means: npt.ArrayLike,
        axes: npt.ArrayLike,
        spectra: npt.ArrayLike,
        labels: Labels | None = None,
        anywhere: bool = True,
    ) -> None:
        w, figures, turns, powers = (np.asarray(a, dtype=np.float64) for a in (weights, means, axes, spectra))
        if figures.ndim != 4 or w.shape != figures.shape[:1] or not np.all(w > 0):
            raise UserError(f"figures (K, C, H, W) need K positive weights, got {figures.shape} and {w.shape}")
        K, C, H, W = figures.shape
        if powers.shape != figures.shape or turns.shape != (K, C, C):
            raise UserError(
                f"{K} figures of {C} channels need spectra of shape {figures.shape} and axes {(K, C, C)}, "
                f"got {powers.shape} and {turns.shape}"
            )
        back = np.roll(powers[..., ::-1, ::-1], (1, 1), (-2, -1))
        if not np.all(powers >= 0) or not np.allclose(powers, back, rtol=1e-9):
            raise UserError("the spectrum of a real field is 0 or more, and the same at f and at -f")
        if not np.allclose(turns @ turns.transpose(0, 2, 1), np.eye(C), atol=1e-9):
            raise UserError("the axes of channels must be orthogonal")
        arrays = [figures, turns, powers, np.log(w / w.sum())]
        super().__init__(process, (C, H, W), arrays, labels)
        self.anywhere = anywhere
        self._singular = bool(np.any(powers == 0))
        self._spectra: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def _fourier(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Figures in their own channels and in Fourier space, and the spectra: (K, C, H, W/2 + 1)."""
        where = (like.device, like.dtype)
        if where not in self._spectra:
            figures, turns, powers, _ = self._host
            own = np.einsum("kdc,kdhw->kchw", turns, figures)
            half = np.ascontiguousarray(powers[..., : self.shape[2] // 2 + 1])
            hat = _rfft(torch.from_numpy(own))  # on the host, in float64
            parts = torch.view_as_real(hat).to(like.dtype).to(like.device)
            self._spectra[where] = torch.view_as_complex(parts), torch.from_numpy(half).to(like.dtype).to(like.device)
        return self._spectra[where]

    def _see(self, k: int, x: Tensor, alpha: Tensor, sigma: Tensor) -> _Seen:
        figures, powers = self._fourier(x)
        turn = self._arrays(x)[1][k]
        own = _rfft(torch.einsum("dc,bdhw->bchw", turn, x))
        c = align(alpha.square(), x) * powers[k] + align(sigma.square(), x)
        return _Seen(own, figures[k], powers[k], c.clamp_min(torch.finfo(x.dtype).tiny))

    def _log_joint(self, x: Tensor, alpha: Tensor, sigma: Tensor, cond: Cond | None) -> Float[Tensor, "B K S"]:
        """log p(x_t, k, s | cond), the shifts in the order of rows; S = 1 where there is none."""
        self._flat(x)  # refuses another shape
        log_w = self._arrays(x)[3].expand(len(x), -1)
        allowed = self._allowed(cond, x)
        if allowed is not None:
            own = log_w.masked_fill(~allowed, -torch.inf).log_softmax(dim=1)
            log_w = torch.where(allowed.all(dim=1, keepdim=True), log_w, own)
        _, H, W = self.shape
        found: list[Tensor] = []
        for k in range(len(self._host[0])):
            seen = self._see(k, x, alpha, sigma)
            a = align(alpha, x)
            # <T_s·mu, C⁻¹x> for every s at once
            match = _irfft((seen.figure.conj() * seen.x / seen.c).sum(1), (H, W)) * (H * W) ** 0.5
            apart = seen.x.abs().square() + (a * seen.figure.abs()).square()
            rest = _total(apart / seen.c + seen.c.log(), W)
            logs = a[:, 0] * match - 0.5 * align(rest, match)
            found.append((logs if self.anywhere else logs[:, :1, :1]).flatten(1))
        logs = torch.stack(found, dim=1) - 0.5 * self.size * float(np.log(2 * np.pi))
        return logs + log_w[..., None] - float(np.log(logs.shape[2]))

    def _shares(self, x: Tensor, alpha: Tensor, sigma: Tensor, cond: Cond | None) -> Float[Tensor, "B K S"]:
        """The posterior of component and shift."""
        if not (self.anywhere or len(self._host[0]) > 1):
            return torch.ones_like(x[:, :1, :1, 0])
        self._refuse_clean(sigma, "what x shows")
        return self._log_joint(x, alpha, sigma, cond).flatten(1).softmax(dim=1).unflatten(1, (len(self._host[0]), -1))

    def _spread(self, shares: Tensor) -> Tensor:
        """Fourier coefficients of shares (B, S) of shifts, so scaled that a product with them is a convolution."""
        _, H, W = self.shape
        places = shares.unflatten(1, (H, W)) if self.anywhere else torch.nn.functional.pad(
            shares[:, :, None], (0, W - 1, 0, H - 1)
        )  # fmt: skip
        return _rfft(places) * (H * W) ** 0.5

    def _mean(self, x: Tensor, alpha: Tensor, sigma: Tensor, shares: Tensor) -> Float[Tensor, "B *dims"]:
        """sum over k of R_k·alpha·S·C⁻¹·x + sigma²·C⁻¹·(r_k ∗ mu_k)."""
        a, s = align(alpha, x), align(sigma.square(), x)
        total = torch.zeros_like(x)
        for k in range(len(self._host[0])):
            seen, share = self._see(k, x, alpha, sigma), shares[:, k]
            # where C is 0 (no noise, no variance) so are both gains: the limit sigma → 0 for x in the law's support
            ground = align(share.sum(1), x) * (a * seen.v / seen.c) * seen.x
            figure = torch.where(seen.v > 0, s / seen.c, 1.0) * self._spread(share)[:, None] * seen.figure
            turn = self._arrays(x)[1][k]
            total = total + torch.einsum("dc,bchw->bdhw", turn, _irfft(ground + figure, self.shape[1:]))
        return total

    def __call__(self, x: Tensor, level: Level, cond: Cond) -> Belief:
        """E[x_0 | x_t = x, cond]: the ground filtered as Wiener's filter does, and each figure where it may lie."""
        return Belief(self._mean(x, level.alpha, level.sigma, self._shares(x, level.alpha, level.sigma, cond)))

    def score(self, x: Tensor, level: Level, cond: Cond | None = None) -> Float[Tensor, "B *dims"]:
        """grad log p(x_t = x | cond) = (alpha·E[x_0 | x_t] − x)/sigma²  (Robbins, 1956), shaped like x."""
        if bool((level.sigma == 0).any()):
            raise UserError("the score of these pictures is told by their denoiser, so not at sigma = 0; ask at t > 0")
        belief = self(x, level, cond or {}).x0
        return (align(level.alpha, x) * belief - x) / align(level.sigma, x).square()

    def log_density(self, x: Tensor, level: Level, cond: Cond | None = None) -> Float[Tensor, "B"]:
        """log of the mean over k and s of N(x; alpha·T_s·mu_k, C_k), in nats."""
        self._refuse_clean(level.sigma, "a density")
        return self._log_joint(x, level.alpha, level.sigma, cond).flatten(1).logsumexp(dim=1)

    def _refuse_clean(self, sigma: Tensor, what: str) -> None:
        if self._singular and bool((sigma == 0).any()):
            raise UserError(f"a spectrum with zeros does not tell {what} at sigma = 0; ask at t > 0")

    @property
    def causes(self) -> int:
        """Components times shifts."""
        return len(self._host[0]) * (self.shape[1] * self.shape[2] if self.anywhere else 1)

    def _width(self) -> int:
        return 4 * self.size + self.causes

    def _within(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        """As of a mixture, the eigenvalues being the spectra."""
        values, weights = self._host[2].reshape(len(self._host[0]), -1), np.exp(self._host[3])
        a, s = (np.square(level)[:, None, None] for level in (alpha, sigma))
        c = a * values + s  # (L, K, d)
        left = values * s / np.where(c > 0, c, 1)
        with np.errstate(divide="ignore"):
            return left.sum(-1) @ weights, 0.5 * np.log(2 * np.pi * np.e * c).sum(-1) @ weights

    def _prior_doubt(self) -> float:
        log_w = self._host[3]
        return float(np.log(self.causes / len(log_w)) - np.exp(log_w) @ log_w)

    def _scatter(self, x: Tensor, alpha: Tensor, sigma: Tensor, cond: Cond) -> Float[Tensor, "B"]:
        """E|m_k,s|² − |E m_k,s|², m_k,s = alpha·S·C⁻¹·x + sigma²·C⁻¹·T_s·mu_k in the channels of k."""
        shares = self._shares(x, alpha, sigma, cond)
        a, s = align(alpha, x), align(sigma.square(), x)
        power, W = torch.zeros_like(alpha), self.shape[2]
        for k in range(len(self._host[0])):
            seen, share = self._see(k, x, alpha, sigma), shares[:, k]
            ground = (a * seen.v / seen.c) * seen.x
            figure = torch.where(seen.v > 0, s / seen.c, 1.0) * seen.figure
            both = (ground.conj() * figure * self._spread(share)[:, None]).real
            power = power + share.sum(1) * _total(ground.abs().square() + figure.abs().square(), W)
            power = power + 2 * _total(both, W)
        return (power - self._mean(x, alpha, sigma, shares).flatten(1).square().sum(1)).clamp_min(0)

    def _doubt(self, x: Tensor, alpha: Tensor, sigma: Tensor, cond: Cond) -> Float[Tensor, "B"]:
        return torch.special.entr(self._shares(x, alpha, sigma, cond)).flatten(1).sum(1)

    def _draw(self, n: int, seed: int, word: str) -> tuple[Array, npt.NDArray[np.int64]]:
        figures, turns, powers, log_w = self._host
        _, H, W = self.shape
        which = rng.host("exact", word, "component", seed).choice(len(figures), size=n, p=np.exp(log_w))
        shifts = rng.host("exact", word, "shift", seed).integers(0, (H, W), (n, 2)) * self.anywhere
        x = rng.host("exact", word, "item", seed).standard_normal((n, *self.shape))
        y, z = ((np.arange(size) - shifts[:, axis, None]) % size for axis, size in enumerate((H, W)))
        for k in range(len(figures)):
            rows = which == k
            half = np.sqrt(powers[k, :, :, : W // 2 + 1])
            ground = np.fft.irfft2(np.fft.rfft2(x[rows]) * half, s=(H, W))
            placed = figures[k][:, y[rows][:, :, None], z[rows][:, None, :]]  # (C, n, H, W)
            x[rows] = np.einsum("dc,nchw->ndhw", turns[k], ground) + np.moveaxis(placed, 0, 1)
        return x.reshape(n, -1), which.astype(np.int64)


def _rfft(x: Tensor) -> Tensor:
    """Orthonormal Fourier coefficients of real fields, the half of them that is not told by the other."""
    return torch.fft.rfft2(x, norm="ortho")


def _irfft(x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    return torch.fft.irfft2(x, s=sizes, norm="ortho")


def _total(half: Tensor, width: int) -> Float[Tensor, "B"]:
    """The sum over all frequencies (B, C, H, W) of a field of which the half (B, C, H, W/2 + 1) is given."""
    inner = half[..., 1 : (width + 1) // 2]  # these stand for their mirror images too
    return half.flatten(1).sum(1) + inner.flatten(1).sum(1)


__all__ = ["Fields"]
