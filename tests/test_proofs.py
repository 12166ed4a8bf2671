"""What rows promise beyond orders: exact polynomials, papers' formulas, whole laws and one path."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from laws import Bells, carry, carry_two, wasserstein
from oracles import PROCESSES, Scalar, every, named, open_grid, slopes
from scipy.integrate import quad

import unnoise as un
from unnoise.config import UserError
from unnoise.denoise.denoiser import Belief
from unnoise.samplers.integrals import exponential_moments, phis, quadrature, rule
from unnoise.samplers.moments import exact_factor, flow_factor, gaussian_moments
from unnoise.samplers.path import Path
from unnoise.samplers.table import SAMPLERS
from unnoise.tensor import Array

CURVE = un.Gaussian(un.schedules.Cosine())
GRID = open_grid(CURVE.schedule, 9)


# Integrals


@pytest.mark.parametrize("x", [-40.0, -3.001, -2.999, -1.0, -1e-3, -1e-9, 0.0, 1e-9, 0.5, 2.999, 3.001, 12.0])
def test_phi_functions_are_their_integrals(x):
    """phi_k(x) = the integral of e^{(1 − s)x}·s^{k−1}/(k − 1)! over [0, 1], to 1e-12 on both sides of every seam."""
    for k, found in enumerate(phis(x, 5)[1:], start=1):
        value, _ = quad(lambda s, k=k: math.exp((1 - s) * x) * s ** (k - 1), 0, 1, epsabs=0, epsrel=1e-13)
        assert found == pytest.approx(value / math.factorial(k - 1), rel=1e-12)


def test_rules_integrate_every_polynomial_below_their_number():
    moments = exponential_moments(1.7, 4)
    nodes = [0.0, -0.6, -1.7, 1.0]
    weights = rule(moments, nodes)
    np.testing.assert_allclose([weights @ np.power(nodes, k) for k in range(4)], moments, rtol=1e-13)
    found = quadrature(lambda t: np.stack([t**5, np.cos(t)]), np.linspace(2.0, 0.5, 4))
    np.testing.assert_allclose(found, [(0.5**6 - 2**6) / 6, math.sin(0.5) - math.sin(2)], rtol=1e-13)


# Algebraic exactness: answers that are polynomials are integrated to rounding


class Told:
    """Believes what a polynomial of lambda or of sigma/alpha or of t says, of x_0 or of the noise, whatever x is."""

    def __init__(self, process: un.Gaussian, what: str, variable: str, power: int) -> None:
        self.process, self.what, self.variable, self.power = process, what, variable, power

    def value(self, t: Array) -> Array:
        lam = self.process.schedule.logsnr(t) / 2
        return {"lambda": lam, "ratio": np.exp(-lam), "time": t}[self.variable] ** self.power

    def __call__(self, x: Any, level: Any, cond: Any) -> Belief:
        told = torch.from_numpy(self.value(level.times))[:, None]
        alpha, sigma = level.alpha[:, None], level.sigma[:, None]
        return Belief((x - sigma * told) / alpha if self.what == "noise" else told + 0 * x)


def _solution(told: Told, x: float, start: float, end: float) -> float:
    """x at `end` of the probability flow with such answers, by adaptive quadrature."""
    schedule = told.process.schedule
    (a0, a1), (s0, s1) = (f(np.array([start, end])) for f in (schedule.alpha, schedule.sigma))
    ends = schedule.logsnr(np.array([start, end])) / 2

    def value(lam: float) -> float:
        if told.variable != "time":
            return float(lam if told.variable == "lambda" else math.exp(-lam)) ** told.power
        return float(told.value(schedule.time(np.array(2 * lam))))

    sign = 1 if told.what == "data" else -1
    integral, _ = quad(lambda lam: math.exp(sign * lam) * value(lam), *ends, epsabs=0, epsrel=1e-13, limit=200)
    return float(s1 * (x / s0 + integral) if told.what == "data" else a1 * (x / a0 - integral))


# What is interpolated, in which variable, by how many answers; single steps of order 3 know a line exactly.
EXACT = {
    **dict.fromkeys(("dpmpp_3m", "unip_3"), ("data", "lambda", 3)),
    **{f"unipc_{order}": ("data", "lambda", order + 1) for order in (2, 3, 4)},
    "unip_4": ("data", "lambda", 4),
    "dpmpp_3s": ("data", "lambda", 2),
    "dpm_3": ("noise", "lambda", 2),
    **{f"lms_{order}": ("noise", "ratio", order) for order in (1, 2, 3, 4)},
    **{f"deis_{order}": ("noise", "time", order) for order in (1, 2, 3)},
    **dict.fromkeys(("ddim", "dpmpp_2m", "dpmpp_2s", "unip_2", "unipc_1", "heun"), ("data", "lambda", 1)),
    **dict.fromkeys(("dpm_2", "pndm", "plms", "ipndm_4"), ("noise", "ratio", 1)),
}


@pytest.mark.parametrize("name", EXACT)
def test_rows_integrate_the_polynomials_they_interpolate(name):
    """To 1e-12 of what is added up, once the start is over; a power more is not integrated exactly."""
    what, variable, degree = EXACT[name]
    begun = 4  # intervals that belong to the start, with its answers between the times of the grid
    for power in range(degree + 1):
        told = Told(CURVE, what, variable, power)
        plan = un.plan(name, CURVE, grid=GRID)
        start = torch.full((1, 1), 1.5, dtype=torch.float64)
        states = [
            (t, float(state.base))
            for t, (state, _) in zip(
                [*plan.t[1:], plan.end], un.generate(told, plan, (1,), [0], start=start), strict=True
            )
        ]
        if name.startswith("unipc"):  # its base is corrected one row later: the last two rows are not both closed
            states = states[:-1]
            times = [plan.t[k] for k in range(len(states))]
            states = [(t, x) for t, (_, x) in zip(times, states, strict=True)]
        at = dict(states)  # the last row at a time closes its interval
        inner = [t for t in GRID[begun:] if any(np.isclose(t, k, rtol=1e-12) for k in at)]
        near = {t: next(x for k, x in reversed(at.items()) if np.isclose(t, k, rtol=1e-12)) for t in inner}
        off = [abs(_solution(told, near[a], a, b) - near[b]) / (1 + abs(near[b])) for a, b in pairwise(inner)]
        assert len(off) >= 3
        if power < degree:
            assert max(off) < 1e-12, (power, off)
        elif name not in ("dpmpp_3s", "dpm_3"):
            assert max(off) > 1e-9, (power, off)


# The reverse SDE of intensity tau², whose answers are a polynomial of lambda: its mean and its noise are known. Left
# out are Euler-Maruyama, whose noise is its own, and the ER-SDEs, whose intensity is another function.
DRIVEN = {
    **dict.fromkeys(("ddpm", "dpmpp_1_sde", "dpmpp_sde", "dpmpp_2m_sde"), ({}, 1.0, 1)),
    "dpmpp_3m_sde": ({}, 1.0, 3),
    "sa_solver": ({}, 1.0, 3),
    "sa_solver, tau 0.5": ({"tau": 0.5}, 0.5, 3),
    "sa_solver, of 3 and 4": ({"predictor": 3, "corrector": 4}, 1.0, 5),
}


def _driven(told: Told, x: float, start: float, end: float, tau: float) -> float:
    """The mean at `end` of the reverse SDE with such answers, by adaptive quadrature."""
    schedule, k = told.process.schedule, tau**2
    s0, s1 = schedule.sigma(np.array([start, end]))
    l0, l1 = schedule.logsnr(np.array([start, end])) / 2
    integral, _ = quad(
        lambda lam: (1 + k) * math.exp(k * (lam - l1) + lam) * lam**told.power,
        l0,
        l1,
        epsabs=0,
        epsrel=1e-13,
        limit=200,
    )
    return float(s1 * (x / s0 * math.exp(-k * (l1 - l0)) + integral))


@pytest.mark.parametrize("name", DRIVEN)
def test_the_mean_of_stochastic_rows_is_exact_and_so_is_their_noise(name):
    """To 1e-12: the mean for polynomials below the degree, the noise of an Ornstein–Uhlenbeck transition."""
    options, tau, degree = DRIVEN[name]
    plan = un.plan(name.split(",")[0], CURVE, grid=GRID, **options)
    table = plan.to_dict()
    still = {part: np.append(getattr(plan, part)[:, :-1], np.zeros((plan.rows, 1)), axis=1) for part in ("base", "ask")}
    late = name.startswith("sa")  # its base is corrected one row later
    for power in range(degree + 1):
        told, x = Told(CURVE, "data", "lambda", power), torch.full((1, 1), 1.5, dtype=torch.float64)
        states = un.generate(told, type(plan).from_dict(table | still), (1,), [0], start=x)
        found = [float(state.base) for state, _ in states]
        at = plan.t if late else np.append(plan.t[1:], plan.end)
        near = {
            t: next(x for a, x in zip(at[::-1], found[::-1], strict=True) if np.isclose(a, t))
            for t in GRID[4 : -2 if late else -1]
        }
        off = [abs(_driven(told, near[a], a, b, tau) - near[b]) / (1 + abs(near[b])) for a, b in pairwise(near)]
        assert len(off) >= 3
        assert (max(off) < 1e-12) == (power < degree), (power, off)
    lam, sigma = CURVE.schedule.logsnr(GRID) / 2, CURVE.schedule.sigma(GRID)
    if plan.rows == len(GRID) - 1:
        noise = sigma[1:] * np.sqrt(-np.expm1(-2 * tau**2 * np.diff(lam)))
        np.testing.assert_allclose((plan.ask if late else plan.base)[:, -1], noise, rtol=1e-12)


# Papers' formulas, written down once more


def test_samplers_that_are_one_are_one():
    """DDPM's posterior step is SDE-DPM-Solver++(1) and the ancestral Euler step; UniP-2 is 2M, UniP-3 is 3M."""
    same = [
        (("ddpm", {}), ("dpmpp_1_sde", {}), ("euler_ancestral", {}), ("ddim", {"eta": 1.0}), _sa(1, 0)),
        (("dpmpp_2m", {}), ("unip_2", {})),
        (
            ("dpmpp_3m", {"start": "single"}),
            ("unip_3", {"start": "single"}),
            ("unip_3", {"start": "single", "b": "bh1"}),
        ),
        (("dpmpp_3m_sde", {}), _sa(3, 0)),
        (("deis_3", {"variable": "ratio"}), ("lms_3", {})),
        (("deis_1", {}), ("lms_1", {}), ("ipndm_1", {}), ("unip_1", {"predicts": "noise"})),
        (("edm", {"s_churn": 0.0}), ("heun", {}), ("restart", {"repeats": 0})),
        (("dpmpp_2s_ancestral", {"eta": 0.0}), ("dpmpp_2s", {}), ("dpmpp_sde", {"eta": 0.0})),
        (("dpmpp_1_sde", {"eta": 0.0}), ("ddim", {}), ("unip_1", {})),
    ]
    for process in (PROCESSES["linear"], PROCESSES["flow"], PROCESSES["karras"]):
        for first, *others in same:
            one = un.plan(first[0], process, steps=8, grid="logsnr", **first[1])
            for name, options in others:
                other = un.plan(name, process, steps=8, grid="logsnr", **options)
                np.testing.assert_allclose(other.base, one.base, rtol=1e-9, atol=1e-12, err_msg=name)
                np.testing.assert_allclose(other.ask, one.ask, rtol=1e-9, atol=1e-12, err_msg=name)


def _sa(predictor: int, corrector: int) -> tuple[str, dict[str, Any]]:
    return "sa_solver", {"predictor": predictor, "corrector": corrector}


def _run(name: str, process: un.Gaussian, denoise: Callable[[Any, float], Any], times: Array, **options: Any) -> Array:
    class Believes:
        def __init__(self) -> None:
            self.process = process

        def __call__(self, x, level, cond):
            return Belief(denoise(x, float(level.times[0])))

    start = torch.linspace(-3, 3, 6, dtype=torch.float64).reshape(6, 1)
    return un.sample(Believes(), un.plan(name, process, grid=times, **options), (1,), range(6), start=start).numpy()


def _points(process: un.Gaussian, times: Array) -> tuple[Array, Array, Array]:
    schedule = process.schedule
    return schedule.alpha(times), schedule.sigma(times), schedule.logsnr(times) / 2


@pytest.mark.parametrize("variant", ["bh1", "bh2"])
def test_unipc_is_the_papers_algorithm(variant):
    """Zhao et al., 2023, Alg. 1 with data prediction: R_p(h)·a = g_p(h)/B(h), rows started with what there is."""
    process, order, n = PROCESSES["linear"], 3, 7
    times = open_grid(process.schedule, n)
    alpha, sigma, lam = _points(process, times)

    def denoise(x, t):
        return torch.sin(2 * x) + t

    x = torch.linspace(-3, 3, 6, dtype=torch.float64).reshape(6, 1)
    answers = [denoise(x, times[0])]
    for i in range(n):
        h, p = lam[i + 1] - lam[i], min(order, i + 1)
        B = h if variant == "bh1" else -math.expm1(-h)
        r = np.array([(lam[i - m] - lam[i]) / h for m in range(1, p)] + [1.0])
        past = [answers[i - m] for m in range(1, p)]
        powers = np.stack([r**k for k in range(p)])
        g, phi = [], -math.expm1(-h) / h
        for k in range(1, p + 1):  # phi_{k+1}(−h), times h^{k−1}·k!/... of the scaled equations
            phi = (1 / math.factorial(k) - phi) / h if k > 0 else phi
            g.append(h * phi * math.factorial(k) / B)
        first = sigma[i + 1] / sigma[i] * x - alpha[i + 1] * math.expm1(-h) * answers[i]
        a = [0.5] if p == 2 else np.linalg.solve(powers[: p - 1, : p - 1], g[: p - 1]) if p > 2 else []
        ahead = first + alpha[i + 1] * B * sum(
            (c / rm * (m - answers[i]) for c, rm, m in zip(a, r, past, strict=False)), torch.zeros_like(x)
        )
        if i + 1 == n:
            x = ahead
            break
        new = denoise(ahead, times[i + 1])
        c = [0.5] if p == 1 else np.linalg.solve(powers, g)
        x = first + alpha[i + 1] * B * sum(
            w / rm * (m - answers[i]) for w, rm, m in zip(c, r, [*past, new], strict=True)
        )
        answers.append(new)
    found = _run("unipc_3", process, denoise, times, b=variant, start="multistep")
    np.testing.assert_allclose(found, x, rtol=1e-9)


def test_er_sde_is_the_papers_integral():
    """Cui et al., 2023: (s_q − s_p + phi_q·∫ ds/phi)·(D − D_before)/(s_p − s_before) at second order."""
    process = PROCESSES["karras"]
    times = open_grid(process.schedule, 6)
    plan = un.plan("er_sde_2", process, grid=times)
    s = process.schedule.sigma(times)

    def phi(x: float) -> float:
        return x * (math.exp(x**0.3) + 10)

    for i in range(1, 6):
        fade = phi(s[i + 1]) / phi(s[i])
        extra = s[i + 1] - s[i] + phi(s[i + 1]) * quad(lambda x: 1 / phi(x), s[i + 1], s[i], epsrel=1e-12)[0]
        slope = extra / (s[i] - s[i - 1])
        new, old = 1 + int(plan.slot[i]), 1 + int(plan.slot[i - 1])
        wanted = [fade, 1 - fade + slope, -slope, math.sqrt(s[i + 1] ** 2 - (s[i] * fade) ** 2)]
        np.testing.assert_allclose(plan.base[i][[0, new, old, -1]], wanted, rtol=1e-9)


@pytest.mark.parametrize("name", ["cosine", "discrete"])
def test_deis_is_the_papers_integral(name):
    """Zhang & Chen, 2023, Eq. 15: Lagrange polynomials of t against d(sigma/alpha), on a curve and on a chain."""
    process = PROCESSES[name]
    times = open_grid(process.schedule, 6)
    plan, (alpha, _, lam) = un.plan("deis_2", process, grid=times), _points(process, times)
    ratio = np.exp(-lam)

    def at(t: float) -> float:
        return math.exp(-float(process.schedule.logsnr(np.array(t))) / 2)

    def weight(j: int, k: int, i: int) -> float:
        knots = [times[i + 1], *(t for t in np.arange(1, 1000) / 1000 if times[i + 1] < t < times[i]), times[i]]
        inner = sum(quad(at, a, b)[0] for a, b in pairwise(knots))
        ends = [(t - times[k]) / (times[j] - times[k]) for t in times[[i, i + 1]]]
        return ends[1] * ratio[i + 1] - ends[0] * ratio[i] + inner / (times[j] - times[k])  # by parts

    new, old = 1 + int(plan.slot[4]), 1 + int(plan.slot[3])
    wanted = alpha[5] * np.array([1 / alpha[4], weight(4, 3, 4), weight(3, 4, 4)])
    np.testing.assert_allclose(plan.base[4][[0, new, old]], wanted, rtol=1e-7)


def test_pndm_is_the_papers_loop():
    """Liu et al., 2022, Alg. 2, with its transfer of Eq. 11; 12 questions for three steps, then one each."""
    process = PROCESSES["scaled_linear"]
    times = np.linspace(0.9, 0.2, 8)

    def denoise(x, t):
        return torch.tanh(x) * (1 - t)

    def eps(x, t):
        a, s = (float(v[0]) for v in _points(process, np.array([t]))[:2])
        return (x - a * denoise(x, t)) / s

    def transfer(x, e, t, s):
        (a, b), (u, v), _ = _points(process, np.array([t, s]))
        return b / a * x + (v - b / a * u) * e

    x, known = torch.linspace(-3, 3, 6, dtype=torch.float64).reshape(6, 1), []
    for t, s in pairwise(times):
        m = (t + s) / 2
        e1 = eps(x, t)
        known.insert(0, e1)
        if len(known) < 4:
            e2 = eps(transfer(x, e1, t, m), m)
            e3 = eps(transfer(x, e2, t, m), m)
            e4 = eps(transfer(x, e3, t, s), s)
            e = (e1 + 2 * e2 + 2 * e3 + e4) / 6
        else:
            e = (55 * known[0] - 59 * known[1] + 37 * known[2] - 9 * known[3]) / 24
        x = transfer(x, e, t, s)
    np.testing.assert_allclose(_run("pndm", process, denoise, times), x, rtol=1e-10)
    assert un.plan("pndm", process, grid=times).rows == 12 + 4


def test_third_order_as_published_is_its_formula_and_of_order_two():
    """The divided second difference stands where the second derivative belongs: measured 2, with the factor 3."""
    process = PROCESSES["karras"]
    times = open_grid(process.schedule, 8)
    alpha, sigma, lam = _points(process, times)
    plan = un.plan("dpmpp_3m_published", process, grid=times)
    for i in (2, 5, 7):
        h, h0, h1 = lam[i + 1] - lam[i], lam[i] - lam[i - 1], lam[i - 1] - lam[i - 2]
        r0, r1 = h0 / h, h1 / h
        e0, e1 = np.array([1, -1, 0]) / r0, np.array([0, 1, -1]) / r1
        d1, d2 = e0 + r0 / (r0 + r1) * (e0 - e1), (e0 - e1) / (r0 + r1)
        b = math.expm1(-h)
        told = -alpha[i + 1] * b * np.array([1, 0, 0]) + alpha[i + 1] * (b / h + 1) * d1
        told = told - alpha[i + 1] * ((b + h) / h**2 - 0.5) * d2
        slots = [1 + int(plan.slot[i - k]) for k in range(3)]
        np.testing.assert_allclose(plan.base[i][slots], told, rtol=1e-9)
        np.testing.assert_allclose(plan.base[i][0], sigma[i + 1] / sigma[i], rtol=1e-13)
    for name, order in (("dpmpp_3m_published", 2), ("dpmpp_3m", 3)):
        assert slopes(lambda n, name=name: _off(name, n), 32, 4)[-1] == pytest.approx(order, abs=0.1)


def _off(name: str, steps: int, high: float = 20.0, **options: Any) -> float:
    process, variance = PROCESSES["karras"], np.array([0.05, 0.6, 2.0])
    plan = un.plan(name, process, grid=open_grid(process.schedule, steps, high=high), **options)
    factor, _ = flow_factor(plan, process.schedule, np.zeros(3), variance)
    return float(np.linalg.norm(factor - exact_factor(plan, process.schedule, variance)))


@pytest.mark.parametrize(
    ("name", "kept", "lost"), [("dpmpp_3m", 3, 2), ("unip_4", 4, 2), ("unipc_3", 4, 3.0), ("unipc_4", 5, 3.0)]
)
def test_a_start_of_several_questions_keeps_the_order_away_from_the_prior(name, kept, lost):
    """From sigma/alpha = 2 a start with what there is falls to two, corrected to three; a single step does not."""
    whole = slopes(lambda n: _off(name, n, 2.0), 32, 1)  # auto: single from 32 steps on
    low = slopes(lambda n: _off(name, n, 2.0, start="multistep"), 256, 1)
    assert whole[-1] == pytest.approx(kept, abs=0.35)
    assert low[-1] == pytest.approx(lost, abs=0.25)


def test_deis_on_a_chain_is_of_order_three_until_its_steps_are_a_few_integers():
    """Between the integers of a chain logSNR has kinks in t, which a polynomial in lambda does not see."""
    process, variance = PROCESSES["discrete"], np.array([0.05, 0.6, 2.0])

    def off(steps: int, variable: str) -> float:
        plan = un.plan("deis_3", process, grid=open_grid(process.schedule, steps), variable=variable)
        factor, _ = flow_factor(plan, process.schedule, np.zeros(3), variance)
        return float(np.linalg.norm(factor - exact_factor(plan, process.schedule, variance)))

    assert slopes(lambda n: off(n, "time"), 64, 1)[0] == pytest.approx(3, abs=0.2)
    assert slopes(lambda n: off(n, "lambda"), 128, 1)[0] == pytest.approx(3, abs=0.1)


# The whole law on a line

BELLS = ([0.3, 0.5, 0.2], [-1.5, 0.2, 1.4], [0.25, 0.15, 0.4])
FORGETFUL = ["ddpm", "euler_maruyama", "er_sde_1", "dpmpp_sde", "dpmpp_2s_ancestral", "edm", "restart"]


def _bells(weights: Any, means: Any, deviations: Any) -> Bells:
    return Bells(PROCESSES["karras"], *(np.asarray(v, dtype=np.float64) for v in (weights, means, deviations)))


@pytest.mark.parametrize("name", FORGETFUL)
def test_the_whole_law_on_a_mixture_is_met_at_the_promised_order(name):
    """W1 between the exact law of the sample and the truth, no Monte Carlo; mean and variance too."""
    truth, counts = _bells(*BELLS), (8, 16, 32) if name != "er_sde_1" else (4, 8, 16)
    apart, off = [], []
    for steps in counts:
        plan = un.plan(name, truth.process, grid=open_grid(truth.process.schedule, steps, low=0.1, high=10.0))
        x, share = carry(plan, truth)
        apart.append(wasserstein(x, share, truth, plan.end))
        second = truth.weights @ (truth.means**2 + truth.deviations**2) + 0.1**2
        off.append(abs(share @ x**2 - second) / second)
    found = np.log2(np.divide(apart[:-1], apart[1:]))
    assert np.all(found > SAMPLERS[name].promised() - (0.2 if SAMPLERS[name].promised() == 1 else 0.6)), (apart, found)
    assert apart[-1] < 0.06
    assert off[-1] < 0.15


@pytest.mark.parametrize("name", [*FORGETFUL, "predictor_corrector", "langevin", "consistency"])
def test_the_law_carried_and_the_algebra_agree(name):
    """On one bell: mean and variance to 1e-6."""
    truth = _bells([1.0], [0.7], [0.6])
    plan = un.plan(name, truth.process, grid=open_grid(truth.process.schedule, 5, low=0.2, high=5.0))
    x, share = carry(plan, truth)
    mean, variance = gaussian_moments(plan, truth.process.schedule, np.array([0.7]), np.array([0.36]))
    assert share @ x == pytest.approx(mean[0], abs=1e-6)
    assert share @ (x - mean[0]) ** 2 == pytest.approx(variance[0], rel=1e-5)


REMEMBERING = {"dpmpp_2m_sde": {}, "er_sde_2": {}, "sa_solver": {"corrector": 0}}  # one answer beside the newest


@pytest.mark.parametrize("name", REMEMBERING)
def test_the_whole_law_of_a_rule_that_remembers_is_met_at_the_promised_order(name):
    """W1 and the second moment on a mixture, two states carried; on one bell the algebra's moments to 1e-12."""
    options, one = REMEMBERING[name], _bells([1.0], [0.7], [0.6])
    plan = un.plan(name, one.process, grid=open_grid(one.process.schedule, 5, low=0.2, high=5.0), **options)
    x, share = carry_two(plan, one)
    mean, variance = gaussian_moments(plan, one.process.schedule, np.array([0.7]), np.array([0.36]))
    assert share @ x == pytest.approx(mean[0], abs=1e-12)
    assert share @ (x - mean[0]) ** 2 == pytest.approx(variance[0], rel=1e-11)

    truth, apart, off = _bells(*BELLS), [], []
    for steps in (8, 16, 32):
        plan = un.plan(
            name, truth.process, grid=open_grid(truth.process.schedule, steps, low=0.1, high=10.0), **options
        )
        x, share = carry_two(plan, truth)
        apart.append(wasserstein(x, share, truth, plan.end))
        second = truth.weights @ (truth.means**2 + truth.deviations**2) + 0.1**2
        off.append(abs(share @ x**2 - second) / second)
    for found in (np.log2(np.divide(errors[:-1], errors[1:])) for errors in (apart, off)):
        assert np.all(found > SAMPLERS[name].promised(**options) - 0.15), (apart, off)
    assert apart[-1] < 0.006
    assert off[-1] < 0.013


# One path of noise


@pytest.mark.slow
@pytest.mark.parametrize("rule", [r for r in every(stochastic=True) if SAMPLERS[r[0]].strong], ids=named)
def test_strong_order_along_the_path(rule):
    """The same path of noise with twice the steps is half as far from the finest, whatever the sampler."""
    process, seeds = PROCESSES["flow"], range(4)
    start = process.prior((64,), seeds, torch.zeros(0, dtype=torch.float64))

    def run(steps: int) -> torch.Tensor:
        grid = process.schedule.time(-2 * np.log(np.geomspace(5.0, 0.1, steps + 1)))
        return un.sample(
            Scalar(process, 0.5, 0.4), un.plan(rule[0], process, grid=grid, **rule[1]), (64,), seeds, start=start
        )

    fine = run(192)
    errors = [float((run(n) - fine).square().mean().sqrt()) for n in (6, 12, 24)]
    assert np.log2(errors[0] / errors[2]) / 2 > 0.75, errors


@pytest.mark.parametrize("name", ["edm", "restart", "langevin", "predictor_corrector", "consistency"])
def test_noise_that_goes_back_up_is_fresh_and_another_seed_is_another_sample(name):
    process = PROCESSES["karras"]
    plan = un.plan(name, process, steps=12)
    truth = Scalar(process, 0.0, 1.0)
    once, again, other = (un.sample(truth, plan, (500,), [seed]) for seed in (3, 3, 4))
    assert torch.equal(once, again)
    assert abs(float(np.corrcoef(once[0], other[0])[0, 1])) < 5 / math.sqrt(500)


# Single rules


def test_a_consistency_function_is_sampled_exactly_at_any_number_of_steps():
    """Song et al., 2023, Alg. 1: where the answers are the flow's end, the law of the sample is the data's."""
    process, variance = PROCESSES["karras"], 0.36

    class Ends:
        def __init__(self) -> None:
            self.process = process

        def __call__(self, x, level, cond):
            assert float(level.to[0]) == 0  # every answer is for time 0
            wide = torch.sqrt(level.alpha**2 * variance + level.sigma**2)[:, None]
            return Belief(0.7 + math.sqrt(variance) / wide * (x - level.alpha[:, None] * 0.7))

    for steps in (1, 2, 5):
        x = un.sample(Ends(), un.plan("consistency", process, steps=steps), (20000,), [0, 1]).double()
        assert float(x.mean()) == pytest.approx(0.7, abs=4 * 0.6 / math.sqrt(40000) + 2e-2 / 80)
        assert float(x.var()) == pytest.approx(variance, rel=4 * math.sqrt(2 / 40000))


@pytest.mark.parametrize("name", ["langevin", "predictor_corrector"])
def test_langevin_steps_are_affine_and_keep_the_noise_they_should(name):
    """Trap 13: e = 2·(snr·sigma)², the expectation of the norms' ratio; unadjusted, its noise is sigma²/(1 − snr²)."""
    process, snr = PROCESSES["karras"], 0.3
    times = np.append(process.schedule.time(-2 * np.log(np.full(2, 3.0) * [1.001, 1.0])), 0.0)
    plan = un.plan(name, process, grid=times, snr=snr, corrections=400)
    row = plan.base[-2] if name == "langevin" else plan.base[1]
    np.testing.assert_allclose(row, [1 - 2 * snr**2, 2 * snr**2, 2 * snr * 3.0], rtol=1e-9)
    shares = np.ones(1)
    for line in plan.base[:-1][::-1]:
        shares = np.append(shares, shares[-1] * line[0])
    left = sum((share * line[-1]) ** 2 for share, line in zip(shares, plan.base[:-1][::-1], strict=False))
    assert left == pytest.approx(9 / (1 - snr**2), rel=1e-6)


@pytest.mark.parametrize("process", ["karras", "linear", "flow"])
def test_churn_raises_the_noise_by_its_share_and_never_beyond_the_process(process):
    schedule = PROCESSES[process].schedule
    steps = 10
    for churn, growth in ((2.0, 0.2), (1e6, math.sqrt(2) - 1)):
        plan = un.plan("edm", PROCESSES[process], steps=steps, s_churn=churn, s_min=0.1, s_max=1e3)
        grid = un.plan("euler", PROCESSES[process], steps=steps)
        ratio, asked = (np.exp(-schedule.logsnr(t) / 2) for t in (grid.t, plan.t))
        raised = np.minimum(ratio[1:] * (1 + growth), np.exp(-schedule.logsnr(np.array(1.0)) / 2))
        wanted = np.where(ratio[1:] >= 0.1, raised, ratio[1:])
        np.testing.assert_allclose([asked[np.abs(np.log(asked / w)).argmin()] for w in wanted], wanted, rtol=1e-6)
        assert plan.t.max() <= 1
        assert np.all((plan.base[:, -1] > 0).sum() == (ratio[1:] >= 0.1).sum())


def test_restart_walks_the_same_intervals_again():
    process = PROCESSES["karras"]
    plan, heun = un.plan("restart", process, steps=20, repeats=3), un.plan("heun", process, steps=20)
    noisy = np.flatnonzero(plan.base[:, -1])
    assert len(noisy) == 3
    schedule = process.schedule
    low, high = (np.exp(-schedule.logsnr(t) / 2) for t in (plan.t[noisy[0]], plan.t[noisy[0] + 1]))
    assert 0.04 < low < 0.09
    assert 0.2 < high < 0.45
    assert plan.base[noisy[0], -1] == pytest.approx(math.sqrt(high**2 - low**2), rel=1e-9)
    assert (plan.rows - heun.rows) % 3 == 0
    assert un.plan("restart", process, steps=2).rows >= 3


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"sampler": "edm", "s_churn": -1.0}, "churn needs s_churn >= 0"),
        ({"sampler": "restart", "low": 0.5, "high": 0.2}, "restart needs 0 < low < high"),
        ({"sampler": "langevin", "snr": 1.0}, r"snr in \(0, 1\), got 5 and 1.0"),
        ({"sampler": "predictor_corrector", "corrections": 0}, "corrections >= 1"),
        ({"sampler": "predictor_corrector", "predictor": "ancestor"}, "did you mean 'ancestral'"),
        ({"sampler": "sa_solver", "predictor": 5}, "1 to 4 answers"),
        ({"sampler": "unipc_2", "b": "bh3"}, "b must be 'bh1'"),
        ({"sampler": "unipc_2", "predicts": "velocity"}, "predicts must be 'data' or 'noise', got 'velocity'"),
        ({"sampler": "unip_3", "start": "slow"}, "start must be 'auto'"),
        ({"sampler": "deis_2", "variable": "tim"}, "did you mean 'time'"),
        ({"sampler": "dpmpp_2m_sde", "eta": 1.5}, r"eta must lie in \[0, 1\], got 1.5"),
        ({"sampler": "dpmpp_sde", "r": 0.0}, r"r must lie in \(0, 1\]"),
        ({"sampler": "unipc_5"}, "did you mean 'unipc_4'"),
    ],
)
def test_mistakes_in_options_are_told(asked, message):
    with pytest.raises(UserError, match=message):
        un.plan(**{"process": CURVE, "steps": 5, **asked})


# Over the table


@pytest.mark.parametrize("rule", list(every()), ids=named)
def test_questions_are_as_many_as_the_table_says(rule):
    entry = SAMPLERS[rule[0]]
    for steps in (1, 2, 7):
        told = un.plan(rule[0], PROCESSES["karras"], steps=steps, grid="karras", **rule[1]).rows
        assert told == entry.evaluations(steps, **rule[1]), steps
    if rule[0] not in ("restart", "langevin"):
        within = entry.steps(20, **rule[1])
        assert entry.evaluations(within, **rule[1]) <= 20 < entry.evaluations(within + 1, **rule[1])


def test_memories_are_as_few_as_the_rule_needs():
    """An answer's place is taken again once it is told for good: the widest, PNDM in its start, needs six."""
    widths = {name: un.plan(name, CURVE, steps=9, grid="karras", **o).memories for name, o in every()}
    assert max(widths.values()) == widths["pndm"] == 6
    assert {n: widths[n] for n in ("ddim", "heun", "dpmpp_2m", "dpmpp_3m", "unip_4", "unipc_4")} == {
        "ddim": 1, "heun": 2, "dpmpp_2m": 2, "dpmpp_3m": 3, "unip_4": 4, "unipc_4": 5,
    }  # fmt: skip


def test_a_point_between_two_lies_where_it_says():
    path, schedule = Path.over(CURVE.schedule, GRID), CURVE.schedule
    p, q = path.interval(3)
    m = path.between(p, q, 0.25)
    assert m.lam == pytest.approx(p.lam + 0.25 * (q.lam - p.lam), rel=1e-9)
    assert p.t > m.t > q.t
    assert (m.alpha, m.sigma) == pytest.approx(
        (float(schedule.alpha(np.array(m.t))), float(schedule.sigma(np.array(m.t))))
    )
