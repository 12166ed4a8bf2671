"""From data to its noise and back, and between two noises: orders, laws and round trips."""

import numpy as np
import pytest
from oracles import PROCESSES, SHAPES, every, named, open_grid, slopes
from test_orders import FIRST, MEAN, VARIANCE, promised

import unnoise as un
from unnoise.config import UserError
from unnoise.samplers.grid import GRIDS
from unnoise.samplers.moments import exact_factor, flow_factor

DETERMINISTIC = list(every(stochastic=False))
LONG = {"unip_2"}  # with a_1 = 1/2 by B(h) = h, its order shows late


def _error(rule, process, steps):
    plan = un.plan(rule[0], process, grid=open_grid(process.schedule, steps), reverse=True, **rule[1])
    factor, center = flow_factor(plan, process.schedule, MEAN, VARIANCE)
    alpha = process.schedule.alpha(np.array(plan.end))
    truth = exact_factor(plan, process.schedule, VARIANCE)
    return float(np.linalg.norm(factor / truth - 1) + np.linalg.norm(center - alpha * MEAN))


@pytest.mark.parametrize("rule", DETERMINISTIC, ids=named)
def test_every_deterministic_rule_keeps_its_order_on_the_way_to_noise(rule):
    """By algebra, on Gaussian data, on the sampling grid walked from its end; the processes in turn."""
    process = list(PROCESSES.values())[DETERMINISTIC.index(rule) % 9]
    order = promised(rule)
    first = 2 * FIRST.get(rule[0], 32 if order > 2 else 16) * (4 if rule[0] in LONG else 1)
    found = slopes(lambda n: _error(rule, process, n), first, 1, floor=1e-13)
    assert all(order - 0.1 <= slope <= order + 0.35 for slope in found), found


@pytest.mark.parametrize("rule", list(every(stochastic=True)), ids=named)
def test_a_rule_that_draws_noise_is_not_walked_back(rule):
    with pytest.raises(UserError, match=f"a rule that draws none, and {rule[0]} draws"):
        un.plan(rule[0], PROCESSES["cosine"], 8, reverse=True, **rule[1])


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", PROCESSES)
def test_the_way_to_noise_begins_at_the_spans_minimum(name, grid):
    """Never at sigma = 0 (trap 15); it ends where the sampling plan of the same grid starts."""
    process = PROCESSES[name]
    down, up = (un.plan("ddim", process, 7, grid, reverse=reverse) for reverse in (False, True))
    least = process.schedule.span[0]
    assert float(np.exp(-process.schedule.logsnr(np.array(up.start)) / 2)) == pytest.approx(least, rel=1e-5)
    assert up.end == down.start
    assert np.all(np.diff([*up.t, up.end]) > 0)
    assert set(np.round(up.t[1:], 9)) <= set(np.round(down.t, 9)), "the same times, the other way"


def _returned(rule, process, steps, x0):
    """Where x_0 comes back to by algebra, and the noise it was, in units of that noise's deviation: (D,) each."""
    up, down = (un.plan(rule[0], process, steps, "logsnr", reverse=reverse, **rule[1]) for reverse in (True, False))
    (rise, shift), (fall, back) = (flow_factor(plan, process.schedule, MEAN, VARIANCE) for plan in (up, down))
    alpha, sigma = (f(np.array([up.start, up.end])) for f in (process.schedule.alpha, process.schedule.sigma))
    noise = rise * alpha[0] * (x0 - MEAN) + shift  # the factors act on what differs from alpha·mean
    return fall * (noise - alpha[1] * MEAN) + back, (noise - alpha[1] * MEAN) / sigma[1]


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("rule", [r for r in DETERMINISTIC if r[0] in SHAPES], ids=named)
def test_gaussian_data_come_back(name, rule):
    """There and back on every process, up to alpha = 0 where it has that; the noise is the item, standardised."""
    x0 = MEAN + np.sqrt(VARIANCE)
    back, noise = _returned(rule, PROCESSES[name], 800 if promised(rule) == 1 else 100, x0)
    floor = PROCESSES[name].schedule.span[0] ** 2 / VARIANCE.min()  # of the last step's own, onto sigma = 0
    assert np.abs(back - x0).max() < 0.02 + 2 * floor
    assert noise == pytest.approx(1.0, rel=0.05 + 2 * floor)
