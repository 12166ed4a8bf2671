"""DPM-Solver, single step: exponential integrators of the noise prediction in lambda = log(alpha/sigma)."""

from unnoise.samplers.adams import single
from unnoise.samplers.forms import NoiseForm
from unnoise.samplers.path import Path
from unnoise.samplers.plan import Plan


def dpm_2(path: Path) -> Plan:
    """DPM-Solver-2, two questions an interval, r_1 = 1/2  (Lu et al., 2022: DPM-Solver, Alg. 1).

    u = (alpha_m/alpha_t)·x_t − sigma_m·expm1(h/2)·eps_t; x_s = (alpha_s/alpha_t)·x_t − sigma_s·expm1(h)·eps_u.
    """
    return single(path, NoiseForm(), 2, midpoint=True)


def dpm_3(path: Path) -> Plan:
    """DPM-Solver-3, three questions an interval, r_1 = 1/3, r_2 = 2/3  (Lu et al., 2022: DPM-Solver, Alg. 2)."""
    return single(path, NoiseForm(), 3)
