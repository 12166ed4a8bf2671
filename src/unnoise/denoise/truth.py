"""What is true of data whose law is known: worlds → their closed-form denoisers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from unnoise.data import Fields, Gaussians8, Mixture, Source
from unnoise.data.points import Plane
from unnoise.denoise import exact
from unnoise.denoise.closed import Components
from unnoise.process.gaussian import Gaussian


def _mixture(process: Gaussian, source: Mixture) -> Components:
    return exact.Mixture(process, source.weights, source.means, source.covariances)


def _fields(process: Gaussian, source: Fields) -> Components:
    labels = list(range(source.components))
    numbers = source.weights, source.means, source.axes, source.spectra
    return exact.Fields(process, *numbers, labels, anywhere=source.anywhere)


def _gaussians8(process: Gaussian, source: Gaussians8) -> Components:
    return exact.Mixture(process, np.ones(8), source.centres, np.tile(source.noise**2 * np.eye(2), (8, 1, 1)))


TRUTHS: dict[type[Source], Callable[[Gaussian, Any], Components]] = {
    Mixture: _mixture,
    Fields: _fields,
    Gaussians8: _gaussians8,
}


def truth(source: Source, process: Gaussian) -> Components | None:
    """The posterior mean, density, entropy and least loss of a source, in its raw units; None where none knows them."""
    make = TRUTHS.get(type(source))
    return None if make is None else make(process, source)


def traced(source: Source, process: Gaussian) -> Components | None:
    """As `truth`; of a world of curves in the plane too, by quadrature: 2,048 normal laws of its noise along them.

    They stand far closer than their deviation, so the sum is the integral along the curve to rounding; at the curve's
    ends alone the score is off, by a percent of its size or less.
    """
    if isinstance(source, Plane) and source.arms:
        nodes = source.nodes()
        noise = np.tile(source.noise**2 * np.eye(2), (len(nodes), 1, 1))
        return exact.Mixture(process, np.ones(len(nodes)), nodes, noise)
    return truth(source, process)


__all__ = ["TRUTHS", "traced", "truth"]
