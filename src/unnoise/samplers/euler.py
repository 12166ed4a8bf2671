"""Rules of the first order: DDPM, DDIM and Euler; and Heun's of the second."""

import numpy as np

from unnoise.config import UserError
from unnoise.samplers.path import BASE, NOISE, Path, Pen, memory
from unnoise.samplers.plan import Plan


def ddpm(path: Path, variance: str = "posterior") -> Plan:
    """Ancestral sampling of the chain  (Ho et al., 2020, Eqs. 7 and 11), on any process and any grid.

    x_s = c_data·x_0 + c_here·x_t + deviation·z; variance: 'posterior' (beta tilde) = sigma_s²·(1 − e^{−2h}),
    or 'beta' = sigma_t²·(1 − e^{−2h}), the chain's own. No noise is added in the step onto 0.
    """
    if variance not in ("posterior", "beta"):
        raise UserError(f"variance must be 'posterior' or 'beta', got '{variance}'")
    pen = Pen(path, 1)
    for i in range(path.steps):
        fresh = -np.expm1(-2 * path.h(i))  # 1 − e^{−2h}
        c_here = path.shrink(i) ** 2 * path.alpha[i] / path.alpha[i + 1]
        scale = path.sigma[i + 1] if variance == "posterior" or path.sigma[i + 1] == 0 else path.sigma[i]
        row = {BASE: c_here, memory(0): path.alpha[i + 1] * fresh, NOISE: scale * np.sqrt(fresh)}
        pen.data(i, 0, row)
    return pen.plan()


def ddim(path: Path, eta: float = 0.0) -> Plan:
    """x_s = sqrt(sigma_s² − s²)·eps + alpha_s·x_0 + s·z  (Song, Meng & Ermon, 2021, Eqs. 12 and 16).

    s = eta·sigma_s·sqrt(1 − e^{−2h}): the paper's form on VP, and on every process. eta = 0 is deterministic,
    the exponential Euler step of the probability flow; eta = 1 is DDPM with the posterior variance.
    """
    if not 0 <= eta <= 1:
        raise UserError(f"eta must lie in [0, 1], got {eta}")
    pen = Pen(path, 1)
    for i in range(path.steps):
        h = path.h(i)
        fresh = -np.expm1(-2 * h)
        log_kept = np.log1p(-(eta**2) * fresh) / 2 if eta < 1 else -h  # log sqrt(1 − eta²·(1 − e^{−2h}))
        row = {
            BASE: path.shrink(i) * np.exp(log_kept),
            memory(0): -path.alpha[i + 1] * np.expm1(log_kept - h),
            NOISE: eta * path.sigma[i + 1] * np.sqrt(fresh),
        }
        pen.data(i, 0, row)
    return pen.plan()


def euler(path: Path) -> Plan:
    """The Euler step of dy/ds = eps in y = x/alpha, s = sigma/alpha: equal to DDIM at eta = 0."""
    return ddim(path)


def heun(path: Path) -> Plan:
    """The trapezoid in y = x/alpha, s = sigma/alpha: two questions an interval  (Karras et al., 2022, Alg. 1).

    With D at x_t and D' at the Euler step: x_s = (sigma_s/sigma_t)·x_t − alpha_s·expm1(−h)·D
    + alpha_s·expm1(h)/2·(D' − D). Intervals that touch alpha = 0 or sigma = 0 are one Euler step, as the
    paper's last one is.
    """
    pen = Pen(path, 2)
    for i in range(path.steps):
        step = {BASE: path.shrink(i), memory(0): path.gain(i)}
        if path.ends(i):
            pen.data(i, 0, step)
            continue
        pen.data(i, 0, base={BASE: 1.0}, ask=step)
        bend = float(path.alpha[i + 1] * np.expm1(path.h(i)) / 2)
        close = {BASE: path.shrink(i), memory(0): path.gain(i) - bend, memory(1): bend}
        pen.data(i + 1, 1, close, to=i + 1)
    return pen.plan()
