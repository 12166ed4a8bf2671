"""Plans are values; grids are their papers'; the first rules equal their textbooks."""

import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import PROCESSES, every, named, open_grid, rules

import unnoise as un
from unnoise.config import UserError
from unnoise.denoise import exact
from unnoise.denoise.denoiser import Belief
from unnoise.loop.generate import course
from unnoise.process import schedules
from unnoise.samplers.grid import GRIDS, times
from unnoise.samplers.moments import gaussian_moments
from unnoise.samplers.plan import Plan
from unnoise.samplers.step import State
from unnoise.samplers.table import SAMPLERS
from unnoise.samplers.written import row_step

CHAINS = {
    "linear": un.Gaussian(schedules.Discrete(schedules.Linear())),
    "cosine": un.Gaussian(schedules.Discrete(schedules.Cosine())),
    "short": un.Gaussian(schedules.Discrete(schedules.Quadratic(), 10)),
}
COSINE = PROCESSES["cosine"]


# Plans are values


@pytest.mark.parametrize("rule", list(rules()), ids=named)
def test_a_plan_equals_and_hashes_by_its_numbers(rule, tmp_path):
    one = un.plan(rule[0], COSINE, steps=7, **rule[1])
    fresh = un.plan(rule[0], un.Gaussian(schedules.Cosine()), steps=7, **rule[1])
    other = un.plan(rule[0], COSINE, steps=8, **rule[1])
    assert one == fresh
    assert hash(one) == hash(fresh)
    assert one.digest == fresh.digest
    assert one != other
    assert one != "a plan"
    one.save(tmp_path / "plan.json")
    back = Plan.load(tmp_path / "plan.json")
    assert back == one
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]
    assert Plan.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    assert one.digest[:8] in repr(one)


def test_a_plan_differs_where_a_last_bit_does():
    plan = un.plan("ddim", COSINE, steps=3)
    table = plan.to_dict()
    table["base"][1][0] = float(np.nextafter(table["base"][1][0], 2))
    assert Plan.from_dict(table) != plan


def test_a_plan_cannot_be_written_to():
    plan = un.plan("dpmpp_2m", COSINE, steps=4)
    for name in ("t", "keep", "slot", "base", "ask", "to", "weight"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(plan, name)[0] = 0
    with pytest.raises(AttributeError):
        plan.start = 0.5
    with pytest.raises(TypeError):
        SAMPLERS["ddim"].rule(plan, unknown=1)


def test_a_plan_keeps_its_own_copy():
    table = {name: np.array(value) for name, value in un.plan("heun", COSINE, steps=2).to_dict().items()}
    plan = Plan.from_dict(table)
    before = plan.digest
    table["base"][:] = 7
    assert Plan.from_dict(plan.to_dict()).digest == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base": [[np.nan, 0, 0]] * 3}, "finite; 'base' is not in row 0"),
        ({"start": np.nan}, r"lie in \[0, 1\]"),
        ({"t": [1.5, 0.5, 0.2]}, r"lie in \[0, 1\]"),
        ({"slot": [0, 1, 0]}, "slots 0 to 0"),
        ({"slot": [0, 0.5, 0]}, "slots 0 to 0"),
        ({"to": [0.5, 0.2]}, "'to' has shape"),
        ({"ask": [[0, 0.5, 0]] * 3}, "last row"),
    ],
)
def test_a_plan_refuses_tables_that_cannot_run(change, message):
    with pytest.raises(UserError, match=message):
        Plan.from_dict({**un.plan("ddim", COSINE, steps=3).to_dict(), **change})


def test_what_is_no_plan_is_said():
    with pytest.raises(UserError, match="'t' is missing"):
        Plan.from_dict({"keep": []})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"sampler": "dpmp_2m"}, "no sampler 'dpmp_2m'; did you mean 'dpmpp_2m'"),
        ({"grid": "karas"}, "no grid 'karas'; did you mean 'karras'"),
        ({"etta": 0.5}, "no field 'etta'; did you mean 'eta'"),
        ({"eta": 1.5}, r"eta must lie in \[0, 1\], got 1.5"),
        ({"eta": "much"}, "eta"),
        ({"sampler": "ddpm", "variance": "large"}, "variance must be 'posterior', 'beta' or 'learned', got 'large'"),
        ({"steps": 0}, "at least 1, got 0"),
        ({"steps": None}, "at least 1, got None"),
        ({"grid": "trailing", "steps": 1001}, "1000 steps has no grid of 1001"),
        ({"grid": [1.0, 0.5, 0.0], "steps": 3}, "list of 4 times"),
        ({"grid": [1.0], "steps": None}, "list of 2 times"),
        ({"grid": [1.0, 0.5, 0.5, 0.0], "steps": None}, "fall strictly"),  # trap 6: times that repeat
        ({"grid": [1.2, 0.5], "steps": None}, "fall strictly"),
        ({"grid": [0.5, np.nan], "steps": None}, "fall strictly"),
        ({"grid": [0.0, 0.5, 1.0], "steps": None}, "fall strictly"),  # trap 15: from sigma = 0 upwards
    ],
)
def test_mistakes_are_told_with_the_nearest_name(asked, message):
    with pytest.raises(UserError, match=message):
        un.plan(**{"sampler": "ddim", "process": COSINE, "steps": 10, **asked})


def test_plans_are_cached_by_what_they_depend_on():
    assert un.plan("ddim", COSINE, steps=5) is un.plan("ddim", un.Gaussian(schedules.Cosine()), steps=5, eta=0.0)
    assert un.plan("ddim", COSINE, steps=5) is not un.plan("ddim", COSINE, steps=5, eta=1.0)


# Grids


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("grid", GRIDS)
def test_grids_fall_strictly_from_noise_to_clean(grid, process):
    for steps in (1, 2, 3, 7, 50, 999, 1000):  # trap 7: one step; trap 6: no time twice
        found = times(grid, process.schedule, steps)
        assert len(found) == steps + 1
        assert np.all(np.diff(found) < 0)
        assert found[-1] == 0  # trap 1: sigma = 0 at the end, not sigma_min
        assert process.schedule.sigma(found[-1:])[0] == 0
        assert 0 < found[0] <= 1


def test_grids_in_time_are_their_formulas():
    n, schedule = 8, schedules.Flow()
    u = np.linspace(1, 0, n + 1)
    np.testing.assert_array_equal(times("time", schedule, n), u)
    np.testing.assert_array_equal(times("quadratic", schedule, n), u**2)
    np.testing.assert_allclose(times("beta", schedule, n)[::-1], 1 - times("beta", schedule, n), atol=1e-12)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_grids_in_noise_are_their_formulas(process):
    n, schedule = 9, process.schedule
    low, high = schedule.span

    def ratios(grid: str) -> np.ndarray:
        return np.exp(-schedule.logsnr(times(grid, schedule, n)[:-1]) / 2)

    np.testing.assert_allclose(np.diff(np.log(ratios("logsnr"))), np.log(low / high) / (n - 1), rtol=1e-6)
    for grid, ends in (("karras", (low, high)), ("edm", (max(low, 0.002), min(high, 80.0)))):
        found = ratios(grid)
        np.testing.assert_allclose(found[[-1, 0]], ends, rtol=1e-6)
        np.testing.assert_allclose(np.diff(found ** (1 / 7), 2), 0, atol=1e-6)


def test_integer_grids_are_their_papers():
    """Lin et al., 2024, Table 2: T = 1000, 10 steps."""
    schedule = schedules.Discrete(schedules.Linear())

    def integers(grid: str, steps: int) -> list[int]:
        found = times(grid, schedule, steps) * 1000
        np.testing.assert_allclose(found, np.rint(found), atol=1e-9)
        return np.rint(found).astype(int).tolist()

    assert integers("leading", 10) == [901, 801, 701, 601, 501, 401, 301, 201, 101, 1, 0]
    assert integers("linspace", 10) == [1000, 889, 778, 667, 556, 445, 334, 223, 112, 1, 0]
    assert integers("trailing", 10) == [1000, 900, 800, 700, 600, 500, 400, 300, 200, 100, 0]
    assert integers("trailing", 3) == [1000, 667, 333, 0]
    for grid in ("leading", "linspace", "trailing"):
        assert integers(grid, 1000) == list(range(1000, -1, -1))
    assert integers("leading", 1) == [1, 0]
    assert integers("linspace", 1) == integers("trailing", 1) == [1000, 0]


def test_grids_given_as_times_may_end_above_zero():
    given = open_grid(COSINE.schedule, 5)
    plan = un.plan("dpmpp_2m", COSINE, grid=given)
    assert plan == un.plan("dpmpp_2m", COSINE, steps=5, grid=list(given))
    assert (plan.start, plan.end, plan.rows) == (given[0], given[-1], 5)


# Textbooks


def _textbook(process: un.Gaussian) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """beta_k, alpha_k, abar_k, abar_{k−1} of the chain, T first, abar by its own product."""
    beta = process.schedule.beta
    abar = np.concatenate([[1.0], np.cumprod(1 - beta)])
    return beta[::-1], 1 - beta[::-1], abar[:0:-1], abar[-2::-1]


@pytest.mark.parametrize("variance", ["posterior", "beta"])
@pytest.mark.parametrize("process", CHAINS.values(), ids=CHAINS)
def test_ddpm_on_the_whole_chain_is_the_textbook_step(process, variance):
    """1/sqrt(alpha_t)·(x − beta_t/sqrt(1 − abar_t)·eps) + deviation·z, cell by cell."""
    steps = process.schedule.T
    plan = un.plan("ddpm", process, steps=steps, grid="trailing", variance=variance)
    beta, alpha, abar, before = _textbook(process)
    x, data, z = plan.base.T  # a belief x0 = (x − sqrt(1 − abar)·eps)/sqrt(abar)
    np.testing.assert_allclose(x + data / np.sqrt(abar), 1 / np.sqrt(alpha), rtol=1e-10)
    eps = beta / np.sqrt(1 - abar) / np.sqrt(alpha)
    np.testing.assert_allclose(data * np.sqrt((1 - abar) / abar), eps, rtol=1e-10)
    tilde = beta * (1 - before) / (1 - abar)
    wanted = np.sqrt(tilde if variance == "posterior" else beta)
    wanted[-1] = 0  # no noise in the step onto x_0
    np.testing.assert_allclose(z, wanted, rtol=1e-9)


def test_ddpm_runs_as_the_textbook_loop():
    process = CHAINS["short"]
    plan = un.plan("ddpm", process, steps=10, grid="trailing")
    beta, alpha, abar, before = _textbook(process)

    def eps(x: torch.Tensor) -> torch.Tensor:  # any prediction of the noise, not the right one
        return torch.tanh(x) + 0.1

    class Believes:
        def __init__(self) -> None:
            self.process = process

        def __call__(self, x, level, cond):
            a, s = level.alpha[:, None], level.sigma[:, None]
            return Belief((x - s * eps(x)) / a)

    start = torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(4, 3)
    found = un.sample(Believes(), plan, (3,), range(4), start=start)
    x = start
    noises = process.walk((3,), range(4), start, course(process, plan))
    for k in range(10):
        z = next(noises) if k < 9 else 0
        mean = (x - beta[k] / np.sqrt(1 - abar[k]) * eps(x)) / np.sqrt(alpha[k])
        x = mean + np.sqrt(beta[k] * (1 - before[k]) / (1 - abar[k])) * z
    np.testing.assert_allclose(found, x, rtol=1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("grid", ["leading", "trailing", "linspace", "karras"])
def test_ddim_is_the_papers_step_between_neighbours_of_the_grid(grid, eta):
    """Song, Meng & Ermon, 2021, Eqs. 12 and 16, with abar of the grid's own next time (trap 4)."""
    process = CHAINS["linear"]
    plan = un.plan("ddim", process, steps=30, grid=grid, eta=eta)
    path = times(grid, process.schedule, 30)
    now, then = (np.square(process.schedule.alpha(part)) for part in (path[:-1], path[1:]))
    deviation = eta * np.sqrt((1 - then) / (1 - now)) * np.sqrt(1 - now / then)
    toward = np.sqrt(1 - then - deviation**2)
    x, data, z = plan.base.T  # eps = (x − sqrt(abar)·x0)/sqrt(1 − abar)
    np.testing.assert_allclose(x, toward / np.sqrt(1 - now), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(data, np.sqrt(then) - toward * np.sqrt(now / (1 - now)), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(z, deviation, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(plan.base, plan.ask)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("steps", [1, 2, 20])
def test_samplers_that_are_one_are_one(process, steps):
    full = un.plan("ddim", process, steps=steps, grid="karras", eta=1.0)
    chain = un.plan("ddpm", process, steps=steps, grid="karras")
    np.testing.assert_allclose(full.base, chain.base, rtol=1e-10, atol=1e-14)
    still = un.plan("ddim", process, steps=steps, grid="karras")
    assert un.plan("euler", process, steps=steps, grid="karras") == still
    assert not still.stochastic


def test_heun_is_the_papers_loop_on_its_process():
    """Karras et al., 2022, Alg. 1 without churn, where alpha = 1 (trap 8: each stage divides by its own sigma)."""
    process = un.Gaussian(schedules.Karras())
    truth = exact.Mixture(process, [0.4, 0.6], [[1.0, 0.5], [-1.0, 0.2]], np.stack([0.05 * np.eye(2)] * 2))
    plan = un.plan("heun", process, steps=11)
    start = 80 * torch.from_numpy(np.random.default_rng(0).normal(size=(6, 2)))

    def denoise(x: torch.Tensor, t: float) -> torch.Tensor:
        return truth(x, process.level(np.full(6, t), x), {}).x0

    path = times("karras", process.schedule, 11)
    sigma, x = process.schedule.sigma(path), start
    for i in range(11):
        d = (x - denoise(x, path[i])) / sigma[i]
        ahead = x + (sigma[i + 1] - sigma[i]) * d
        if sigma[i + 1] > 0:
            after = (ahead - denoise(ahead, path[i + 1])) / sigma[i + 1]
            ahead = x + (sigma[i + 1] - sigma[i]) * (d + after) / 2
        x = ahead
    np.testing.assert_allclose(un.sample(truth, plan, (2,), range(6), start=start), x, rtol=1e-9, atol=1e-11)
    assert plan.rows == 2 * 10 + 1


def test_multistep_is_the_papers_loop():
    """Lu et al., 2022 (DPM-Solver++), Alg. 2, with the first and the last step of the first order."""
    process = CHAINS["linear"]
    plan = un.plan("dpmpp_2m", process, steps=9)
    path = times("karras", process.schedule, 9)
    schedule = process.schedule
    alpha, sigma, lam = schedule.alpha(path), schedule.sigma(path), schedule.logsnr(path) / 2
    denoise = torch.sin
    x = start = torch.linspace(-3, 3, 10, dtype=torch.float64).reshape(5, 2)
    before = None
    for i in range(9):
        h, now = lam[i + 1] - lam[i], denoise(x)
        mixed = now
        if before is not None and i < 8:
            r = (lam[i] - lam[i - 1]) / h
            mixed = (1 + 1 / (2 * r)) * now - 1 / (2 * r) * before
        x = sigma[i + 1] / sigma[i] * x - alpha[i + 1] * (np.exp(-h) - 1) * mixed
        before = now

    class Believes:
        def __init__(self) -> None:
            self.process = process

        def __call__(self, x, level, cond):
            return Belief(denoise(x))

    np.testing.assert_allclose(un.sample(Believes(), plan, (2,), range(5), start=start), x, rtol=1e-10)


# Traps of the tables


@pytest.mark.parametrize("rule", list(rules()), ids=named)
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_every_rule_on_every_process_and_grid_is_finite_and_ends_clean(process, rule):
    """A sample of a constant belief is that constant: no noise is left (trap 1), no log of 0 (traps 2, 7)."""
    for grid in GRIDS:
        for steps in (1, 2, 5):
            plan = un.plan(rule[0], process, steps=steps, grid=grid, **rule[1])
            _, left = gaussian_moments(plan, process.schedule, np.array([0.7]), np.array([1e-30]))
            assert left[0] < 1e-12, (grid, steps)
            assert not plan.draws(plan.rows - 1)
            assert plan.end == 0


@pytest.mark.parametrize("steps", [2, 3, 10, 11])
def test_the_last_step_onto_zero_is_first_order_at_even_and_odd_counts(steps):
    """Trap 3: a lowered final order has its effect whatever the parity."""
    for name, options in every():
        if name != "consistency":
            plan = un.plan(name, PROCESSES["linear"], steps=steps, **options)
            wanted = np.zeros(plan.memories + 2)
            wanted[1 + int(plan.slot[-1])] = 1  # the last answer, and nothing else
            np.testing.assert_allclose(plan.base[-1], wanted, atol=1e-12, err_msg=name)
            np.testing.assert_allclose(plan.keep[-1], [0, 1], atol=1e-15)


@pytest.mark.parametrize("name", ["flow", "zero_terminal", "discrete_zero_terminal"])
@pytest.mark.parametrize("rule", list(every(stochastic=False)), ids=named)
def test_a_first_row_at_alpha_0_is_that_of_ddim(rule, name):
    process = PROCESSES[name]
    plan, ddim = (un.plan(s, process, steps=6, grid="time", **o) for s, o in (rule, ("ddim", {})))
    assert plan.start == 1
    assert process.schedule.alpha(np.array([1.0]))[0] == 0
    for name in ("keep", "base", "ask"):
        mine, other = getattr(plan, name)[0], getattr(ddim, name)[0]
        np.testing.assert_array_equal(mine[mine != 0], other[other != 0])


def test_tables_at_a_thousand_steps_are_exact():
    """Trap 9: −alpha_s·expm1(−h) to 1e-12 of exact rational arithmetic, where exp(−h) − 1 in single loses half."""
    process = PROCESSES["flow"]
    plan = un.plan("ddim", process, steps=1000, grid="time")
    for row in (1, 500, 998):
        t, s = Fraction(1000 - row, 1000), Fraction(999 - row, 1000)
        shrink, gain = s / t, (1 - s) - s / t * (1 - t)
        np.testing.assert_allclose(plan.base[row], [float(shrink), float(gain), 0], rtol=1e-11)


def test_clean_ends_are_exact_in_every_precision():
    """Trap 10: sqrt(1 − abar_0) is 0 because sigma(0) is, and the last row's own sigma is not."""
    for process in PROCESSES.values():
        plan = un.plan("ddim", process, steps=4)
        level = process.level(plan.t, torch.zeros(0, dtype=torch.float32), plan.to)
        assert float(level.sigma.min()) > 0
        assert float(level.to[-1]) == 0
        np.testing.assert_allclose(plan.base[-1], [0, 1, 0], atol=1e-15)


@settings(deadline=None)
@given(
    st.lists(st.floats(-3, 3), min_size=1, max_size=4),
    st.floats(-2, 2),
    st.booleans(),
    st.sampled_from([torch.float64, torch.float32]),
)
def test_a_row_written_out_is_its_sum(columns, noise, mixed, told):
    """Whether its coefficients sum to 1, and are mixed by shares, or not; and an answer of another dtype is taken."""
    row = np.array([*columns, noise])
    if mixed:
        row[0] += 1 - row[:-1].sum()
    memories = max(len(columns) - 1, 1)
    row = np.insert(row, 1, np.zeros(memories + 2 - len(row)))
    generator = torch.Generator().manual_seed(0)
    x, base, x0, drawn, *kept = torch.randn(4 + memories, 3, generator=generator, dtype=torch.float64)
    x0 = x0.to(told)
    step = row_step(np.array([0.0, 1.0]), 0, row, row, 0.0)
    state = step(State(x, base, tuple(kept)), x0, lambda: drawn)
    whole = torch.stack([base, x0.double(), *kept[1:], drawn])
    wanted = torch.einsum("c,cn->n", torch.from_numpy(row), whole)
    assert state.base.dtype == torch.float64
    torch.testing.assert_close(state.base, wanted, rtol=0, atol=1e-13 * (1 + np.abs(row).sum()))


def test_a_plan_used_twice_and_by_two_callers_gives_the_same():
    """Trap 11: nothing is remembered in it."""
    process = PROCESSES["linear"]
    truth = exact.Normal(process, np.zeros(3), np.diag([0.2, 1.0, 2.0]))
    plan = un.plan("dpmpp_2m", process, steps=6)
    first, second = (un.generate(truth, plan, (3,), [1, 2]) for _ in range(2))
    mixed = [(a, b) for a, b in zip(first, second, strict=True)]
    again = un.sample(truth, plan, (3,), [1, 2])
    assert torch.equal(mixed[-1][0][0].base, again)
    assert torch.equal(mixed[-1][1][0].base, again)
