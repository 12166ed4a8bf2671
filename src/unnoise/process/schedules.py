"""The table of schedules."""

from unnoise.process.chain import Discrete, SubVP, ZeroTerminal
from unnoise.process.ladder import Flow, Geometric, Karras
from unnoise.process.preserving import Cosine, Exponential, Linear, Quadratic, ScaledLinear, Sigmoid
from unnoise.process.schedule import Schedule

SCHEDULES: dict[str, type[Schedule]] = {
    "linear": Linear,
    "scaled_linear": ScaledLinear,
    "cosine": Cosine,
    "quadratic": Quadratic,
    "exponential": Exponential,
    "sigmoid": Sigmoid,
    "geometric": Geometric,
    "karras": Karras,
    "flow": Flow,
    "zero_terminal": ZeroTerminal,
    "sub_vp": SubVP,
    "discrete": Discrete,
}

__all__ = [
    "SCHEDULES",
    "Cosine",
    "Discrete",
    "Exponential",
    "Flow",
    "Geometric",
    "Karras",
    "Linear",
    "Quadratic",
    "ScaledLinear",
    "Schedule",
    "Sigmoid",
    "SubVP",
    "ZeroTerminal",
]
