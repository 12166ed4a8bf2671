"""Rules of the first order: DDPM, DDIM, Euler and Euler–Maruyama; and Heun's of the second."""

import numpy as np

from unnoise.config import UserError
from unnoise.samplers.path import BASE, NOISE, Path, Pen, Point, gain, shrink
from unnoise.samplers.plan import Plan


def ddpm(path: Path, variance: str = "posterior") -> Plan:
    """Ancestral sampling of the chain  (Ho et al., 2020, Eqs. 7 and 11), on any process and any grid.

    x_s = c_data·x_0 + c_here·x_t + deviation·z; variance: 'posterior' (beta tilde) = sigma_s²·(1 − e^{−2h}),
    'beta' = sigma_t²·(1 − e^{−2h}), the chain's own, or 'learned', between the two in the log by the fraction v that
    the network tells  (Nichol & Dhariwal, 2021, Eq. 15). No noise is added in the step onto 0.
    """
    if variance not in ("posterior", "beta", "learned"):
        raise UserError(f"variance must be 'posterior', 'beta' or 'learned', got '{variance}'")
    pen = Pen(path)
    for i in range(path.steps):
        p, q = path.interval(i)
        spread = float(np.log(p.sigma / q.sigma)) if variance == "learned" and q.sigma else 0.0
        pen.row(p, q, ancestral(p, q, pen.here, p.sigma if variance == "beta" else q.sigma), spread=spread)
    return pen.plan()


def ancestral(p: Point, q: Point, answer: int, scale: float) -> dict[int, float]:
    """E[x_q | x_p, x_0] = c_data·x_0 + c_here·x_p, and noise of deviation scale·sqrt(1 − e^{−2h}); none onto 0."""
    fresh = -np.expm1(2 * (p.lam - q.lam))  # 1 − e^{−2h}
    deviation = scale * np.sqrt(fresh) if q.sigma else 0.0
    c_here = shrink(p, q) ** 2 * p.alpha / q.alpha
    return {BASE: c_here, answer: float(q.alpha * fresh), NOISE: float(deviation)}


def ddim(path: Path, eta: float = 0.0) -> Plan:
    """x_s = sqrt(sigma_s² − s²)·eps + alpha_s·x_0 + s·z  (Song, Meng & Ermon, 2021, Eqs. 12 and 16).

    s = eta·sigma_s·sqrt(1 − e^{−2h}): the paper's form on VP, and on every process. eta = 0 is deterministic,
    the exponential Euler step of the probability flow; eta = 1 is DDPM with the posterior variance.
    """
    check_eta(eta)
    pen = Pen(path)
    for i in range(path.steps):
        if eta == 0:
            pen.first_order(i)
            continue
        p, q = path.interval(i)
        h = q.lam - p.lam
        fresh = -np.expm1(-2 * h)
        log_kept = np.log1p(-(eta**2) * fresh) / 2 if eta < 1 else -h  # log sqrt(1 − eta²·(1 − e^{−2h}))
        row = {
            BASE: float(shrink(p, q) * np.exp(log_kept)),
            pen.here: float(-q.alpha * np.expm1(log_kept - h)),
            NOISE: float(eta * q.sigma * np.sqrt(fresh)),
        }
        pen.row(p, q, row)
    return pen.plan()


def check_eta(eta: float) -> None:
    """Raises where the share of noise lies outside [0, 1]."""
    if not 0 <= eta <= 1:
        raise UserError(f"eta must lie in [0, 1], got {eta}")


def euler(path: Path) -> Plan:
    """The Euler step of dy/ds = eps in y = x/alpha, s = sigma/alpha: equal to DDIM at eta = 0."""
    return ddim(path)


def euler_maruyama(path: Path) -> Plan:
    """Euler–Maruyama of the reverse SDE in y = x/alpha with the clock v = (sigma/alpha)², where nothing else drifts.

    y_s = y_t + (v_t − v_s)·score + sqrt(v_t − v_s)·z, the reverse diffusion sampler (Song et al., 2021, Eqs. 46, 47):
    DDPM's step with more noise, by sigma_t·alpha_s/alpha_t for sigma_s.
    """
    pen = Pen(path)
    for i in range(path.steps):
        p, q = path.interval(i)
        pen.row(p, q, ancestral(p, q, pen.here, diffused(p, q)))
    return pen.plan()


def diffused(p: Point, q: Point) -> float:
    """The scale of the noise of the reverse diffusion step; from alpha = 0 it has no bound, and is sigma_q."""
    return p.sigma * q.alpha / p.alpha if p.alpha else q.sigma


def heun(path: Path) -> Plan:
    """The trapezoid in y = x/alpha, s = sigma/alpha: two questions an interval  (Karras et al., 2022, Alg. 1).

    With D at x_t and D' at the Euler step: x_s = (sigma_s/sigma_t)·x_t − alpha_s·expm1(−h)·D
    + alpha_s·expm1(h)/2·(D' − D). Intervals that touch alpha = 0 or sigma = 0 are one Euler step, as the
    paper's last one is.
    """
    pen = Pen(path)
    for i in range(path.steps):
        trapezoid(pen, *path.interval(i))
    return pen.plan()


def trapezoid(pen: Pen, p: Point, q: Point, after: Point | None = None, noise: float = 1.0) -> None:
    """Heun's rows from p to q; after: then more noise, from q up to there, times `noise`."""
    step = {BASE: shrink(p, q), pen.here: gain(p, q)}
    if not (p.finite and q.finite):
        pen.row(p, q, _raised(step, q, after, noise))
        return
    pen.row(p, q, {BASE: 1.0}, step)
    bend = float(q.alpha * np.expm1(q.lam - p.lam) / 2)
    close = {BASE: shrink(p, q), pen.here - 1: gain(p, q) - bend, pen.here: bend}
    pen.row(q, q, _raised(close, q, after, noise))


def _raised(row: dict[int, float], q: Point, after: Point | None, noise: float) -> dict[int, float]:
    """A row, and upon it the way forward from q to a point with more noise: y keeps, the ratio rises."""
    if after is None:
        return row
    grown = after.sigma * np.sqrt(-np.expm1(2 * (after.lam - q.lam)))  # alpha·sqrt(ratio² − ratio_q²)
    return {**{key: after.alpha / q.alpha * value for key, value in row.items()}, NOISE: float(noise * grown)}
