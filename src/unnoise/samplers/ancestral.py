"""Ancestral rules: a deterministic step beyond the next noise level, and fresh noise back up to it."""

import math

from unnoise.samplers.euler import check_eta, ddim
from unnoise.samplers.path import BASE, NOISE, Path, Pen, Point
from unnoise.samplers.plan import Plan


def euler_ancestral(path: Path, eta: float = 1.0) -> Plan:
    """Euler's step down to sqrt(sigma_s² − up²), then noise of deviation up = eta·sigma_s·sqrt(1 − e^{−2h}).

    In y = x/alpha; on every process this is DDIM with eta, and at eta = 1 it is DDPM  (Song et al., 2021, App. F).
    """
    return ddim(path, eta)


def dpmpp_2s_ancestral(path: Path, eta: float = 1.0) -> Plan:
    """DPM-Solver++(2S) down to sqrt(sigma_s² − up²), then noise of deviation up, as euler_ancestral.

    The second question lies half-way down in lambda: with eta = 1 at s itself.
    """
    check_eta(eta)
    pen = Pen(path)
    for i in range(path.steps):
        p, q = path.interval(i)
        if path.ends(i):
            _one(pen, p, q, eta)
            continue
        fresh = -math.expm1(2 * (p.lam - q.lam))
        down = q.lam - p.lam - math.log1p(-(eta**2) * fresh) / 2 if eta < 1 else 2 * (q.lam - p.lam)
        m = q if eta == 1 else path.at(p.lam + down / 2)
        half = m.lam - p.lam
        up = eta * q.sigma * math.sqrt(fresh)
        left = q.alpha / p.alpha * math.exp(-down)  # of x_t in x_s
        # Each part of the interval draws its share of the noise, so that all of the path is heard; what the first
        # question draws waits in the base.
        late = -math.expm1(2 * (m.lam - q.lam)) / fresh
        ask = {BASE: m.sigma / p.sigma, pen.here: -m.alpha * math.expm1(-half)}
        pen.row(p, m, {BASE: 1.0, NOISE: up * math.sqrt(1 - late) / left}, ask)
        pen.row(m, q, {BASE: left, pen.here: -q.alpha * math.expm1(-down), NOISE: up * math.sqrt(late)})
    return pen.plan()


def _one(pen: Pen, p: Point, q: Point, eta: float) -> None:
    """DDIM's row where alpha or sigma is 0: sqrt(1 − eta²) of the noise is kept."""
    kept = math.sqrt(1 - eta**2) * q.sigma / p.sigma
    pen.row(p, q, {BASE: kept, pen.here: q.alpha - kept * p.alpha, NOISE: eta * q.sigma})
