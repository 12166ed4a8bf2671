"""Tables read out of other samplers: what goes in comes out, and what is wrong is told."""

import itertools
import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import PROCESSES, named, open_grid, rules

import unnoise as un
from unnoise.cli import main
from unnoise.config import UserError
from unnoise.conformance import Loop, Scheduler, Unrolled, blend, foreign, judge, local, proof, read, unroll
from unnoise.conformance.account import account
from unnoise.process.schedules import Discrete, Linear
from unnoise.samplers import Plan
from unnoise.samplers.moments import gaussian_moments

EDM = un.Gaussian(un.schedules.Karras())


def euler(model, x, sigmas):
    for here, there in itertools.pairwise(sigmas):
        x = x + (x - model(x, here)) / here * (there - here)
    return x


def ancestral(model, x, sigmas):
    """DDPM's posterior step at alpha = 1."""
    for here, there in itertools.pairwise(sigmas):
        kept = (there / here) ** 2
        x = kept * x + (1 - kept) * model(x, here) + there * (1 - kept).sqrt() * torch.randn_like(x)
    return x


def second(model, x, sigmas, slip=1.0):
    """DPM-Solver++(2M), written as a loop; slip: a factor that does not belong there."""
    before = last = None
    for here, there in itertools.pairwise(sigmas):
        data, h = model(x, here), (here / there).log()
        tilt = 0.0 if before is None or there == 0 else slip * h / last / 2
        mixed = data if before is None else (1 + tilt) * data - tilt * before
        x = there / here * x - torch.expm1(-h) * mixed
        before, last = data, h
    return x


class Stepper:
    """A scheduler as its callers see one; `leap`: it takes the previous timestep for t − T//n."""

    def __init__(self, prediction_type="epsilon", leap=False, clip=None):
        self.config = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
        self.config["prediction_type"] = prediction_type
        self.leap, self.clip = leap, clip
        self.abar = Discrete(Linear()).abar

    def set_timesteps(self, n):
        self.timesteps = torch.from_numpy(np.rint(np.linspace(999, 0, n)).astype(np.int64))

    def step(self, answer, stamp, x):
        place = int((self.timesteps == stamp).nonzero()[0])
        last = place + 1 == len(self.timesteps)
        after = (
            int(stamp) - 1000 // len(self.timesteps) if self.leap else -1 if last else int(self.timesteps[place + 1])
        )
        here, there = self.abar[int(stamp) + 1], self.abar[max(after, -1) + 1]
        if self.config["prediction_type"] == "epsilon":
            noise, data = answer, (x - np.sqrt(1 - here) * answer) / np.sqrt(here)
        else:
            noise, data = (x - np.sqrt(here) * answer) / np.sqrt(1 - here), answer
        if self.clip is not None:
            data = data.clamp(-self.clip, self.clip)
        return types.SimpleNamespace(prev_sample=np.sqrt(there) * data + np.sqrt(1 - there) * noise)


def same(a, b, tolerance=1e-9, start=1.0):
    """start: by how much more noise a begins with than b."""
    assert a.wide.rows == b.rows
    b = replace(b, forms=b.forms * np.where(np.arange(b.forms.shape[1]) == 0, start, 1.0))
    columns = 1 + b.rows
    np.testing.assert_allclose(a.wide.in_data().forms[:, :columns], b.in_data().forms[:, :columns], atol=tolerance)
    np.testing.assert_allclose(
        np.linalg.norm(a.wide.forms[:, columns:], axis=1), np.linalg.norm(b.forms[:, columns:], axis=1), atol=tolerance
    )


@pytest.mark.parametrize("rule", list(rules()), ids=named)
@pytest.mark.parametrize("name", ["cosine", "karras", "flow"])
def test_a_table_unrolled_is_found_again(rule, name):
    """Forms of questions, made into the shortest table, say the same; wider by one answer at most."""
    process = PROCESSES[name]
    plan = un.plan(rule[0], process, steps=7, **rule[1])
    wide = Unrolled.of(plan)
    again = wide.plan(process.schedule)
    assert again.memories <= plan.memories + 1
    mean, variance = judge.spectrum()
    told, other = (gaussian_moments(p, process.schedule, mean, variance) for p in (plan, again))
    np.testing.assert_allclose(told, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("rule", list(rules()), ids=named)
def test_laws_of_forms_are_the_laws_of_tables(rule):
    process = PROCESSES["sigmoid"]
    plan = un.plan(rule[0], process, grid=open_grid(process.schedule, 6), **rule[1])
    mean, variance = judge.spectrum()
    center, spread = Unrolled.of(plan).on_gaussian(process.schedule, mean, variance)
    told = gaussian_moments(plan, process.schedule, mean, variance)
    np.testing.assert_allclose(center[-1], told[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(spread[-1], told[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("loop", "rule"), [(euler, "euler"), (ancestral, "ddpm"), (second, "dpmpp_2m")])
def test_a_loop_is_read_as_the_rule_that_it_is(loop, rule):
    reading = read(Loop(loop.__name__, loop), 9)
    assert reading.residual < 1e-12
    same(reading, Unrolled.of(un.plan(rule, EDM, steps=9, grid="karras")))
    departure = judge.departure(reading.wide, rule, EDM)
    assert departure is not None
    assert departure.cells == []


@pytest.mark.parametrize("kind", ["epsilon", "sample"])
def test_a_scheduler_is_read_in_what_it_is_answered(kind):
    reading = read(Scheduler("stepper", Stepper, {"prediction_type": kind}), 12)
    ours = un.plan("ddim", reading.process, steps=12, grid="linspace")
    assert reading.residual < 1e-12
    unit = 1 / float(reading.process.schedule.sigma(np.array(ours.start)))  # it starts at noise of deviation 1
    same(reading, Unrolled.of(ours), 1e-8, unit)
    assert reading.plan is not None
    assert reading.plan.memories == 1
    mean, variance = judge.spectrum()
    found, told = (gaussian_moments(p, reading.process.schedule, mean, variance) for p in (reading.plan, ours))
    np.testing.assert_allclose(found, told, rtol=1e-4)  # of the start


def test_what_is_not_affine_shows_as_a_residual():
    assert read(Scheduler("stepper", Stepper, {"clip": 1.0}), 5).residual > 1e-2


def test_a_wrong_previous_timestep_is_a_question_at_another_level():
    right, wrong = (read(Scheduler("stepper", Stepper, {"leap": leap}), 10) for leap in (False, True))
    assert np.abs(judge.displaced(right.wide, right.process.schedule)).max() < 1e-4
    assert np.abs(judge.displaced(wrong.wide, wrong.process.schedule)).max() > 0.01


def test_a_slip_in_one_factor_is_told_cell_by_cell():
    def slipped(model, x, sigmas):
        return second(model, x, sigmas, slip=0.5)

    reading = read(Loop("slipped", slipped), 8)
    departure = judge.departure(reading.wide, "dpmpp_2m", EDM)
    assert departure is not None
    assert {(row, column) for row, column, _, _ in departure.cells} == {(r, c) for r in range(1, 7) for c in (1, 2)}


def test_orders_are_what_the_loops_are():
    schedule = EDM.schedule
    for loop, told in ((euler, 1), (second, 2)):
        errors = [judge.worst_question(unroll(Loop("loop", loop), n), schedule) for n in (40, 80, 160)]
        assert abs(judge.order((40, 80, 160), errors) - told) < 0.3, errors


def test_exactness_is_one_up_to_the_order():
    """As steps shorten, a rule of order two makes of a line what it should, of a square half of −1: its own error."""
    wide = Unrolled.of(un.plan("dpmpp_2m", EDM, grid=open_grid(EDM.schedule, 400)))
    ratios = judge.exactness(wide, EDM.schedule)[200]
    np.testing.assert_allclose(ratios[:2], 1, atol=0.01)
    assert abs(ratios[2] - 1) > 0.5
    exact = judge.exactness(Unrolled.of(un.plan("euler", EDM, grid=open_grid(EDM.schedule, 10))), EDM.schedule)
    np.testing.assert_allclose(exact[:, 0], 1, rtol=1e-10)
    assert np.abs(exact[:, 1]).max() < 1e-12


def test_the_normal_form_of_the_first_order_is_its_formula():
    plan = un.plan("ddim", EDM, steps=5, grid="karras")
    table = local(Unrolled.of(plan))
    sigma = EDM.schedule.sigma(np.append(plan.t, 0))
    np.testing.assert_allclose(table[:, 0], sigma[1:] / sigma[:-1], atol=1e-12)
    np.testing.assert_allclose(table[:, 1], 1 - sigma[1:] / sigma[:-1], atol=1e-12)
    assert not table[:, 2:].any()


def test_what_is_not_finite_is_told():
    def dividing(model, x, sigmas):
        return euler(model, x, sigmas) / sigmas[-1]

    with pytest.raises(UserError, match="is not finite: the sample"):
        read(Loop("dividing", dividing), 4)
    told = judge.finite(lambda n: read(Loop("dividing", dividing), n).wide, (3, 4))
    assert "not finite" in told[3]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("diffusers", "named library:name"),
        ("no_such_library:x", "cannot be imported here"),
        ("here:sample_eulr", "has no sampler 'sample_eulr'.*sample_euler"),
    ],
)
def test_what_is_not_there_is_told_in_a_sentence(spec, told, monkeypatch):
    module = types.ModuleType("here")
    module.sample_euler = euler
    monkeypatch.setitem(sys.modules, "here", module)
    with pytest.raises(UserError, match=told):
        foreign(spec)


@pytest.fixture
def here(monkeypatch):
    module = types.ModuleType("here")
    module.second, module.slipped = second, lambda model, x, sigmas: second(model, x, sigmas, slip=0.5)
    module.second.__module__ = module.slipped.__module__ = __name__
    module.slipped.__name__ = "sample_dpmpp_2m"
    monkeypatch.setitem(sys.modules, "here", module)
    return module


def test_the_command_reads_judges_draws_and_keeps_the_table(here, tmp_path, capsys):
    assert main(["conformance", "here:slipped", "--steps", "8", "--out", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rule"] == "dpmpp_2m"
    assert told["order"] < 1.4 < 1.6 < told["own_order"]
    assert any("cells are not those of dpmpp_2m" in sentence for sentence in told["sentences"])
    kept, picture = (Path(path) for path in told["files"])
    plan = Plan.from_dict(json.loads(kept.read_text())["plan"])
    assert plan == read(foreign("here:slipped"), 8).plan
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["conformance", "here:slipped", "--steps", "8", "--out", str(tmp_path)]) == 0
    assert "names the rule          dpmpp_2m" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m", "ddpm"])
def test_a_proof_finds_the_order_promised(name):
    found = proof.proof(name)
    assert found.kept
    assert all(abs(order - found.promised) < 0.15 for order in found.orders.values())
    assert found.few[20] < found.few[5]
    assert not replace(found, promised=found.promised + 1).kept


def test_paths_on_a_fitted_mixture_end_where_the_exact_flow_does():
    """One component is a normal law, whose flow is known; more of them show the orders that rules have."""
    process = un.Gaussian(un.schedules.Cosine())
    x = np.random.default_rng(0).standard_normal((2000, 3)) * [2.0, 1.0, 0.5] + [0.0, 1.0, -1.0]
    one = blend.fitted(x, 1, process)
    rows = x @ np.linalg.eigh(np.cov(x.T))[1][:, ::-1]
    flow = un.exact.Normal(process, rows.mean(axis=0), np.cov(rows.T, bias=True))
    start = un.plan("ddim", process, 4, "karras").start
    np.testing.assert_allclose(one.ends, flow.flow(one.at(start), start, 0.0), atol=1e-3)
    several = blend.fitted(np.concatenate([x, -x + 3]), 2, process)
    for name, order in (("ddim", 1), ("dpmpp_2m", 2)):
        errors = [several.error(un.plan(name, process, n, "karras")) for n in (16, 32, 64)]
        assert abs(judge.order((16, 32, 64), errors) - order) < 0.5, (name, errors)
    with pytest.raises(UserError, match="only samplers without noise"):
        one.error(un.plan("ddpm", process, 4))


def test_a_loop_that_writes_into_what_it_is_given_is_read_as_it_is():
    def inside(model, x, sigmas):
        for here, there in itertools.pairwise(sigmas):
            x += (x - model(x, here).mul_(1.0)) / here * (there - here)
        return x

    reading = read(Loop("inside", inside), 6)
    assert reading.residual < 1e-12
    same(reading, Unrolled.of(un.plan("euler", EDM, steps=6, grid="karras")))


def test_what_no_plan_says_is_still_judged():
    """Noise before the first question: a start drawn twice is no plan, and all else can be told."""

    def churning(model, x, sigmas):
        return euler(model, x + torch.randn_like(x), sigmas)

    found = account(Loop("churning", churning), 6)
    assert found.reading.plan is None
    assert any("No plan says the same" in sentence for sentence in found.sentences)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["plan"] is None
