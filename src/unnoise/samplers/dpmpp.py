"""DPM-Solver++: exponential integrators of the data prediction in lambda = log(alpha/sigma); and their SDE forms."""

from unnoise.config import UserError
from unnoise.samplers.adams import adams, single
from unnoise.samplers.forms import DataForm
from unnoise.samplers.integrals import phis
from unnoise.samplers.path import BASE, NOISE, Path, Pen, gain, mixed, shrink
from unnoise.samplers.plan import Plan


def dpmpp_2s(path: Path) -> Plan:
    """Second order, single step: two questions an interval, r_1 = 1/2  (Lu et al., 2022: DPM-Solver++, Alg. 1).

    u = (sigma_m/sigma_t)·x_t − alpha_m·expm1(−h/2)·D_t; x_s = (sigma_s/sigma_t)·x_t − alpha_s·expm1(−h)·D_u.
    """
    return single(path, DataForm(), 2, midpoint=True)


def dpmpp_3s(path: Path) -> Plan:
    """Third order, single step: three questions an interval, r_1 = 1/3, r_2 = 2/3.

    DPM-Solver-3 of the data prediction (Lu et al., 2022: DPM-Solver, Alg. 2, and DPM-Solver++, App. A).
    """
    return single(path, DataForm(), 3)


def dpmpp_2m(path: Path) -> Plan:
    """Second order, multistep  (Lu et al., 2022: DPM-Solver++, Alg. 2).

    x_s = (sigma_s/sigma_t)·x_t − alpha_s·expm1(−h)·[(1 + 1/(2r))·D_t − 1/(2r)·D_before], r = h_before/h.
    The first step, and those that touch alpha = 0 or sigma = 0, are of the first order: a start of order one
    keeps the order two, and the step onto 0 is exact for a constant belief.
    """
    return adams(path, DataForm(b="bh2"), 2)


def dpmpp_3m(path: Path, start: str = "auto") -> Plan:
    """Third order, multistep: the quadratic through three data predictions, integrated exactly; equal to UniP-3.

    start: 'single' asks once more in the first interval and keeps the order; 'multistep' does not, and has two;
    'auto' takes the former from 32 steps on, and the latter below, where it errs less.
    """
    return adams(path, DataForm(), 3, start)


def dpmpp_3m_published(path: Path) -> Plan:
    """Third-order multistep as published and widely run: its second difference lacks a factor 2, so its order is two.

    With r_0, r_1 the last two steps in units of h, E_j the divided differences of D and D1 = E_0 + r_0/(r_0 + r_1)·
    (E_0 − E_1), D2 = (E_0 − E_1)/(r_0 + r_1): x_s = (sigma_s/sigma_t)·x_t − alpha_s·[expm1(−h)·D − (expm1(−h)/h + 1)·
    D1 + ((expm1(−h) + h)/h² − 1/2)·D2]  (Lu et al., 2022: DPM-Solver++, in their code). D2 is half the second
    derivative, and stands where the whole belongs. At 10 to 20 steps it is not always the worse one.
    """
    pen, known = Pen(path), list[int]()
    for i in range(path.steps):
        new = pen.here
        if path.ends(i) or not known:
            pen.first_order(i)
            known = [] if path.ends(i) else [new]
            continue
        p, q = path.interval(i)
        h = q.lam - p.lam
        past = [(path.points[j + 1].lam - path.points[j].lam) / h for j in range(i - 1, i - 1 - len(known), -1)]
        row, slope = {BASE: shrink(p, q), new: gain(p, q)}, {new: 1 / past[0], known[0]: -1 / past[0]}
        if len(known) == 1:
            row = mixed((1.0, row), (gain(p, q) / 2, slope))
        else:
            before = {known[0]: 1 / past[1], known[1]: -1 / past[1]}
            second = mixed((1 / sum(past), slope), (-1 / sum(past), before))
            first, phi = mixed((1.0, slope), (past[0], second)), phis(-h, 3)
            row = mixed((1.0, row), (q.alpha * h * phi[2], first), (q.alpha * h * phi[3], second))
        known = [new, *known][:2]
        pen.row(p, q, row)
    return pen.plan()


def dpmpp_1_sde(path: Path, eta: float = 1.0) -> Plan:
    """SDE-DPM-Solver++(1): the reverse SDE with the data prediction held  (Lu et al., 2022: DPM-Solver++, Eq. 18).

    x_s = (sigma_s/sigma_t)·e^{−eta·h}·x_t − alpha_s·expm1(−(1 + eta)·h)·D_t + sigma_s·sqrt(1 − e^{−2·eta·h})·z;
    eta = 1 is DDPM's step, eta = 0 is DDIM's.
    """
    return adams(path, _sde(eta), 1)


def dpmpp_2m_sde(path: Path, eta: float = 1.0) -> Plan:
    """SDE-DPM-Solver++(2M), the form with the midpoint  (Lu et al., 2022: DPM-Solver++, Sec. 5 and App. D).

    As dpmpp_1_sde with D_t + (D_t − D_before)/(2r) in the place of D_t, r = h_before/h.
    """
    return adams(path, _sde(eta, "bh2"), 2)


def dpmpp_3m_sde(path: Path, eta: float = 1.0) -> Plan:
    """The same with the quadratic through three data predictions, integrated exactly against e^{−(1 + eta)(h − u)}.

    As widely run its second difference lacks a factor 2 (see dpmpp_3m_published); here it has it.
    """
    return adams(path, _sde(eta), 3, "multistep")


def dpmpp_sde(path: Path, eta: float = 1.0, r: float = 0.5) -> Plan:
    """The two-stage rule of the reverse SDE: a noisy step to a part r of the way in lambda, then the whole step.

    D = (1 − 1/(2r))·D_t + 1/(2r)·D_r  (Lu et al., 2022: DPM-Solver++, Alg. 1, on the SDE). Both noises are parts
    of one path, weighed so that together they are exactly what comes in between t and s.
    """
    if not 0 < r <= 1:
        raise UserError(f"r must lie in (0, 1], got {r}")
    form, pen = _sde(eta), Pen(path)
    for i in range(path.steps):
        p, q = path.interval(i)
        new = pen.here
        if path.ends(i):
            kept = 0.0 if eta else shrink(p, q)
            pen.row(p, q, {BASE: kept, new: gain(p, q), NOISE: form.noise(p, q)})
            continue
        m = q if r == 1 else path.between(p, q, r)
        ask = {BASE: form.carry(p, m), new: float(form.weights(p, m, [p])[0]), NOISE: form.noise(p, m)}
        pen.row(p, m, {BASE: 1.0, NOISE: form.noise(p, m) / form.carry(p, m)}, ask)
        whole = float(form.weights(p, q, [p])[0])
        told = {new: whole * (1 - 1 / (2 * r)), pen.here: whole / (2 * r)}
        pen.row(m, q, mixed((1.0, told), (1.0, {BASE: form.carry(p, q), NOISE: form.noise(m, q)})))
    return pen.plan()


def _sde(eta: float, b: str | None = None) -> DataForm:
    if not 0 <= eta <= 1:
        raise UserError(f"eta must lie in [0, 1], got {eta}")
    return DataForm(float(eta), b)
