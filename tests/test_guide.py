"""Classifier-free guidance: exact at its ends, per item and per row, and right where the truth is known."""

import dataclasses

import numpy as np
import pytest
import torch
from oracles import PROCESSES, fine_flow, named, rules

import unnoise as un
from unnoise.denoise import exact
from unnoise.denoise.denoiser import Belief
from unnoise.guide.cfg import CFG
from unnoise.samplers.plan import Plan

PROCESS = PROCESSES["linear"]
RULES = list(rules())


class Watched:
    """Two normals of commuting covariances: label 0 is the one, the null (1) the other. Remembers its rows."""

    def __init__(self, process: un.Gaussian = PROCESS) -> None:
        axes = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
        self.process, self.rows = process, []
        self.mean = np.array([[1.0, -0.5, 0.2], [0.3, 0.4, -0.2]])
        self.cov = np.stack([(axes * v) @ axes.T for v in ([0.2, 0.5, 1.0], [0.8, 1.5, 1.1])])
        self.parts = [exact.Normal(process, m, c) for m, c in zip(self.mean, self.cov, strict=True)]

    def __call__(self, x, level, cond):
        self.rows.append(cond["label"].tolist())
        both = torch.stack([part(x, level, {}).x0 for part in self.parts])
        return Belief(both[cond["label"], torch.arange(len(x))])


def _ask(guided: CFG, weights: list[float] | None, labels: list[int], factor: float = 1.0) -> torch.Tensor:
    n = len(labels)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(n, 3)))
    level = guided.process.level(np.full(n, 0.4), x, weight=np.full(n, factor))
    cond = {"label": torch.tensor(labels)}
    if weights is not None:
        cond["guidance"] = torch.tensor(weights)
    return guided(x, level, cond).x0


def test_weight_1_is_the_conditional_and_0_the_unconditional_bit_for_bit():
    """Trap 14; and neither asks for the other."""
    inner = Watched()
    told, untold = _ask(CFG(inner, {}), None, [0, 0]), _ask(CFG(inner, {}), None, [1, 1])
    inner.rows.clear()
    for guided, weights in ((CFG(inner, {"label": 1}, 1.0), None), (CFG(inner, {"label": 1}, 9.0), [1.0, 1.0])):
        assert torch.equal(_ask(guided, weights, [0, 0]), told)
    for guided, weights in ((CFG(inner, {"label": 1}, 0.0), None), (CFG(inner, {"label": 1}, 9.0), [0.0, 0.0])):
        assert torch.equal(_ask(guided, weights, [0, 0]), untold)
    assert inner.rows == [[0, 0], [0, 0], [1, 1], [1, 1]]


def test_each_item_has_its_own_weight_and_asks_only_what_it_needs():
    inner = Watched()
    guided = CFG(inner, {"label": 1})
    weights = [0.0, 1.0, 2.5, -1.0, 1.0]
    found = _ask(guided, weights, [0] * 5)
    assert inner.rows == [[0, 0, 0, 0, 1, 1, 1]]  # told: items 1 .. 4, untold: items 0, 2, 3
    told, untold = _ask(CFG(inner, {}), None, [0] * 5), _ask(CFG(inner, {}), None, [1] * 5)
    w = torch.tensor(weights)[:, None]
    torch.testing.assert_close(found, (1 - w) * untold + w * told, rtol=1e-14, atol=1e-14)
    assert torch.equal(found[[1, 4]], told[[1, 4]])
    assert torch.equal(found[0], untold[0])


def test_a_rows_factor_multiplies_the_excess_over_1():
    inner = Watched()
    guided = CFG(inner, {"label": 1})
    told, untold = _ask(CFG(inner, {}), None, [0]), _ask(CFG(inner, {}), None, [1])
    inner.rows.clear()
    assert torch.equal(_ask(guided, [5.0], [0], factor=0.0), told)  # outside its interval guidance costs nothing
    assert inner.rows == [[0]]
    torch.testing.assert_close(_ask(guided, [5.0], [0], factor=0.5), -2 * untold + 3 * told, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("engine", [False, True])
def test_guidance_in_an_interval_asks_twice_only_within_it(engine):
    inner = Watched()
    plan = un.plan("ddim", PROCESS, steps=6)
    table = {f.name: getattr(plan, f.name) for f in dataclasses.fields(plan)}
    partly = Plan(**{**table, "weight": np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0])})
    cond = {"label": torch.tensor([0, 0]), "guidance": torch.tensor([3.0, 1.0])}
    guided = CFG(inner, {"label": 1})
    if engine:
        found = un.Engine(guided, sizes=(1, 2, 3)).run(un.Job(partly, (3,), [1, 2], cond))
    else:
        found = un.sample(guided, partly, (3,), [1, 2], cond)
    assert inner.rows == [[0, 0]] * 2 + [[0, 0, 1]] * 2 + [[0, 0]] * 2
    plain = un.sample(inner, plan, (3,), [1, 2], {"label": torch.tensor([0, 0])})
    torch.testing.assert_close(found[1], plain[1], rtol=1e-5, atol=1e-5)
    assert float((found[0] - plain[0]).abs().max()) > 0.01


def test_a_condition_is_dropped_by_its_name_and_the_others_stay():
    seen = []

    class Inner:
        process = PROCESS

        def __call__(self, x, level, cond):
            seen.append({name: leaf.tolist() for name, leaf in cond.items()})
            return Belief(x, v=x + len(seen))

    x = torch.zeros(2, 1)
    level = PROCESS.level(np.full(2, 0.5), x)
    cond = {"label": torch.tensor([4, 5]), "mask": torch.tensor([1.0, 2.0]), "size": torch.tensor([7, 8])}
    given = {name: leaf.clone() for name, leaf in cond.items()}
    belief = CFG(Inner(), {"label": 10, "size": 0}, 2.0)(x, level, cond)
    assert seen == [{"label": [4, 5, 10, 10], "mask": [1, 2, 1, 2], "size": [7, 8, 0, 0]}]
    assert all(torch.equal(cond[name], given[name]) for name in cond)  # the caller's leaves are not written to
    assert belief.v is not None
    assert belief.v.shape == x.shape


def _guided_flow(inner: Watched, w: float, x: np.ndarray, start: float, end: float) -> np.ndarray:
    """The flow of D = (1 − w)·D_u + w·D_c, affine in x: solved finely from the covariances themselves."""
    schedule, eye = inner.process.schedule, np.eye(3)

    def denoise(x: np.ndarray, t: float) -> np.ndarray:
        a, s = float(schedule.alpha(np.array(t))), float(schedule.sigma(np.array(t)))
        told, untold = (
            m + (x - a * m) @ (a * c @ np.linalg.inv(a**2 * c + s**2 * eye)).T
            for m, c in zip(inner.mean, inner.cov, strict=True)
        )
        return w * told + (1 - w) * untold

    return fine_flow(denoise, schedule, x, start, end)


@pytest.mark.parametrize("w", [0.0, 1.0, 3.0])
def test_guidance_between_two_normals_is_the_closed_form_field(w):
    """The belief to 1e-12 in double; the samples' limit to 1e-6 of a fine solution of that field."""
    inner = Watched()
    x = np.random.default_rng(1).normal(size=(4, 3))
    a, s = (float(f(np.array(0.3))) for f in (PROCESS.schedule.alpha, PROCESS.schedule.sigma))
    axes = np.linalg.eigh(inner.cov[0])[1]  # one basis for both: in it everything is diagonal
    v = np.stack([np.diag(axes.T @ c @ axes) for c in inner.cov])
    gain = a * v / (a**2 * v + s**2)
    z = x @ axes
    parts = inner.mean @ axes + 0.0
    told, untold = (parts[k] + gain[k] * (z - a * parts[k]) for k in (0, 1))
    like = torch.from_numpy(x)
    cond = {"label": torch.zeros(4, dtype=torch.int64), "guidance": torch.full((4,), w)}
    found = CFG(inner, {"label": 1})(like, PROCESS.level(np.full(4, 0.3), like), cond).x0.numpy()
    np.testing.assert_allclose(found @ axes, (1 - w) * untold + w * told, rtol=1e-11, atol=1e-12)

    def sampled(steps: int) -> np.ndarray:
        plan = un.plan("heun", PROCESS, grid=np.linspace(0.7, 0.3, steps + 1))
        return un.sample(CFG(inner, {"label": 1}), plan, (3,), range(4), cond, start=like).numpy()

    limit = (4 * sampled(160) - sampled(80)) / 3  # what two runs of a second-order rule tell of the limit
    np.testing.assert_allclose(limit, _guided_flow(inner, w, x, 0.7, 0.3), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_guidance_in_the_engine_is_guidance_in_the_loop(rule):
    guided = CFG(Watched(), {"label": 1})
    plan = un.plan(rule[0], PROCESS, steps=6, **rule[1])
    cond = {"label": torch.tensor([0, 0, 1, 0, 0]), "guidance": torch.tensor([0.0, 1.0, 2.0, 2.0, -0.5])}
    seeds = range(5)
    closed = un.sample(guided, plan, (3,), seeds, cond)
    open_ = un.Engine(guided, sizes=(4, 16)).run(un.Job(plan, (3,), seeds, cond))
    largest = float(np.abs(plan.base).sum(axis=1).max())  # Heun's row of six steps bends by 40: so a rounding grows
    rounding = max(1e-5, 8 * largest * torch.finfo(torch.float32).eps)
    torch.testing.assert_close(open_, closed, rtol=1e-5, atol=rounding)


def test_guidance_around_guidance_multiplies():
    """A wrapper around a wrapper expands twice: (1 − w)·u + w·(c at weight w') in both loops."""
    inner = Watched()
    twice = CFG(CFG(inner, {"label": 1}, weight=2.0), {"size": 0}, weight=3.0)
    plan = un.plan("ddim", PROCESS, steps=3)
    cond = {"label": torch.tensor([0, 1]), "size": torch.tensor([5, 6])}
    closed = un.sample(twice, plan, (3,), [1, 2], cond)
    assert inner.rows[0] == [0, 1, 0, 1, 1, 1, 1, 1]
    torch.testing.assert_close(un.Engine(twice).run(un.Job(plan, (3,), [1, 2], cond)), closed, rtol=1e-5, atol=1e-5)
