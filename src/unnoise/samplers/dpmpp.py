"""DPM-Solver++: exponential integrators of the data prediction in lambda = log(alpha/sigma)."""

from unnoise.samplers.path import BASE, Path, Pen, memory
from unnoise.samplers.plan import Plan


def dpmpp_2m(path: Path) -> Plan:
    """Second-order multistep  (Lu et al., 2022, Alg. 2).

    x_s = (sigma_s/sigma_t)·x_t − alpha_s·expm1(−h)·[(1 + 1/(2r))·D_t − 1/(2r)·D_before], r = h_before/h.
    The first step, and those that touch alpha = 0 or sigma = 0, are of the first order: a start of order one
    keeps the order two, and the step onto 0 is exact for a constant belief.
    """
    pen = Pen(path, 2)
    for i in range(path.steps):
        gain, new, old = path.gain(i), memory(i % 2), memory((i + 1) % 2)
        single = i == 0 or path.ends(i) or path.ends(i - 1)
        tilt = 0.0 if single else path.h(i) / path.h(i - 1) / 2  # 1/(2r)
        pen.data(i, i % 2, {BASE: path.shrink(i), new: gain * (1 + tilt), old: -gain * tilt})
    return pen.plan()
