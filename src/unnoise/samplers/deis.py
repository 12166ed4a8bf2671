"""The noise prediction as a polynomial along the flow: DEIS, and linear multistep on the true grid."""

from collections.abc import Callable

from unnoise.config import choose
from unnoise.process.schedule import Schedule
from unnoise.samplers.adams import adams
from unnoise.samplers.forms import Form, NoiseForm, RatioForm, TimeForm
from unnoise.samplers.path import Path
from unnoise.samplers.plan import Plan

FORMS: dict[str, Callable[[Schedule], Form]] = {
    "time": TimeForm,  # the paper's tAB
    "ratio": lambda _: RatioForm(),  # its rhoAB, equal to lms
    "lambda": lambda _: NoiseForm(),  # an exponential integrator
}


def deis(order: int) -> Callable[..., Plan]:
    """DEIS of an order."""

    def rule(path: Path, variable: str = "time", start: str = "auto") -> Plan:
        return adams(path, choose("variable", variable, FORMS)(path.schedule), order, start)

    rule.__doc__ = f"""DEIS of {order} answer{"s" * (order > 1)}, the noise prediction a polynomial in t
    (Zhang & Chen, 2023: tAB-DEIS, Eq. 15).

    The paper counts the degree, {order - 1}. variable: 'time', 'ratio' (rhoAB) or 'lambda'; start: see dpmpp_3m.
    """
    return rule


def lms(order: int) -> Callable[..., Plan]:
    """Adams–Bashforth of an order."""

    def rule(path: Path, start: str = "auto") -> Plan:
        return adams(path, RatioForm(), order, start)

    rule.__doc__ = f"""Adams–Bashforth of {order} answer{"s" * (order > 1)} in y = x/alpha over s = sigma/alpha,
    the weights those of the true grid (Hairer, Nørsett & Wanner, 1993, III.5).

    dy = eps ds; on an even grid of s the weights are those of ipndm_{order}. start: see dpmpp_3m.
    """
    return rule
