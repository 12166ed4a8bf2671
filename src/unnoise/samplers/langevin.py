"""Langevin dynamics at a noise level: on its own, and as the corrector of a predictor."""

from collections.abc import Callable
from typing import Any

import numpy as np

from unnoise.config import UserError, choose
from unnoise.samplers.euler import ancestral, diffused
from unnoise.samplers.path import BASE, NOISE, Path, Pen, Point, gain, shrink
from unnoise.samplers.plan import Plan

SCALES: dict[str, Callable[[Point, Point], float]] = {"ancestral": lambda p, q: q.sigma, "reverse_diffusion": diffused}


def _correct(p: Point, snr: float, answer: int) -> dict[int, float]:
    """x + e·score + sqrt(2e)·z with e = 2·(snr·sigma)².

    The paper takes e = 2·(snr·|z|/|score|)² of the batch at hand; |score| is expected to be |z|/sigma, and with
    that expectation the step is affine, and an item's sample does not depend on its company.
    """
    pull = 2 * snr**2
    return {BASE: 1 - pull, answer: pull * p.alpha, NOISE: 2 * snr * p.sigma}


def _check(corrections: int, snr: float) -> None:
    if corrections < 1 or not 0 < snr < 1:
        raise UserError(f"Langevin steps need corrections >= 1 and snr in (0, 1), got {corrections} and {snr}")


def langevin(path: Path, corrections: int = 5, snr: float = 0.35, wide: float = 1.0) -> Plan:
    """Annealed Langevin dynamics: some steps at each noise level, then the next  (Song & Ermon, 2019, Alg. 1).

    x + e·score + sqrt(2e)·z with e = 2·(snr·sigma)²; the paper has snr = 0.22 and 100 steps a level. The last
    question tells the data; between levels x/alpha keeps. Of no order: unadjusted, its noise has the variance
    sigma²/(1 − snr²) however many the levels. wide: the first row spreads the start so many times wider than the
    noise of the first level, for a model that knows no level as wide as its data.
    """
    _check(corrections, snr)
    if not 1 <= wide < np.inf:
        raise UserError(f"wide is how many times wider than its first noise the start is, 1 or more, got {wide}")
    pen = Pen(path)
    if wide > 1:
        first = path.points[0]
        pen.row(first, first, {BASE: wide})
    for i in range(path.steps):
        p, q = path.interval(i)
        last = i + 1 == path.steps
        for k in range(corrections):
            row = _correct(p, snr, pen.here)
            onward = not last and k + 1 == corrections and p.alpha > 0
            to, kept = (q, q.alpha / p.alpha) if onward else (p, 1.0)
            pen.row(p, to, {key: kept * value for key, value in row.items()})
        if last or p.alpha == 0:
            pen.row(p, q, {BASE: shrink(p, q), pen.here: gain(p, q)})
    return pen.plan()


def predictor_corrector(path: Path, corrections: int = 1, snr: float = 0.16, predictor: str = "ancestral") -> Plan:
    """A step to the next noise level, then Langevin steps there  (Song et al., 2021, Alg. 1, 4 and 5).

    predictor: 'ancestral' (DDPM) or 'reverse_diffusion' (see euler_maruyama); Langevin with e = 2·(snr·sigma)², the
    expectation of the paper's ratio of norms. Of no order, as langevin.
    """
    _check(corrections, snr)
    scale = choose("predictor", predictor, SCALES)
    pen = Pen(path)
    for i in range(path.steps):
        p, q = path.interval(i)
        pen.row(p, q, ancestral(p, q, pen.here, scale(p, q)))
        for _ in range(corrections if i + 1 < path.steps else 0):
            pen.row(q, q, _correct(q, snr, pen.here))
    return pen.plan()


def questions(steps: int, corrections: int = 5, wide: float = 1.0, **_: Any) -> int:
    """Of langevin: every correction, the last answer, and one where the start is spread."""
    return steps * corrections + 1 + (wide > 1)


def corrected_questions(steps: int, corrections: int = 1, **_: Any) -> int:
    """Of predictor_corrector: no corrections at the end, where there is no noise."""
    return steps + (steps - 1) * corrections
