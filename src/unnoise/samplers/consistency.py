"""Consistency models: each answer is a sample, which is noised again."""

from unnoise.samplers.path import NOISE, Path, Pen
from unnoise.samplers.plan import Plan


def consistency(path: Path) -> Plan:
    """x_s = alpha_s·f(x_t) + sigma_s·z, with f the answer for time 0 at every step  (Song et al., 2023, Alg. 1).

    For networks that answer with where the flow ends; exact at any number of steps where they do. A posterior mean
    is not that: asked so, it loses variance at every step.
    """
    pen, last = Pen(path), path.points[-1]
    for i in range(path.steps):
        p, q = path.interval(i)
        pen.row(p, last, {pen.here: q.alpha, NOISE: q.sigma})
    return pen.plan()
