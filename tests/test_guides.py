"""Guides: their closed forms, what each costs, that they compose, and how they are written."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from oracles import PROCESSES, fine_flow
from safetensors.torch import load_file

import unnoise as un
from unnoise.config import UserError
from unnoise.denoise import exact
from unnoise.denoise.denoiser import Belief, NetDenoiser
from unnoise.denoise.labels import Labels, Shift
from unnoise.guide import (
    CFG,
    Autoguidance,
    Classifier,
    Dynamic,
    Linear,
    Projected,
    Rescaled,
    Static,
    evaluations,
    guided,
    nodes,
    words,
)
from unnoise.nets import MLP
from unnoise.recipe import load
from unnoise.train import Classification, Draws
from unnoise.train.levels import LogNormal

PROCESS = PROCESSES["linear"]
EDM = PROCESSES["edm"] if "edm" in PROCESSES else un.Gaussian(un.schedules.Karras(sigma_max=10.0))


SHARES = np.array([0.4, 0.1, 0.2, 0.3])
MEANS = np.random.default_rng(3).normal(size=(4, 3))
HALVES = np.random.default_rng(5).normal(size=(4, 3, 3)) / 3 + 0.1 * np.eye(3)


class Watched:
    """Counts the rows that a denoiser is asked."""

    def __init__(self, inner) -> None:
        self.inner_, self.process, self.rows = inner, inner.process, 0

    def __call__(self, x, level, cond):
        self.rows += len(x)
        assert not set(cond) - {"label"}, "guides keep their own leaves to themselves"
        return self.inner_(x, level, cond)


class ByLabel:
    """What a label adds to the posterior mean of a mixture whose components have labels: exact."""

    def __init__(self, inner) -> None:
        self.inner_, self.process = inner, inner.process

    def __call__(self, x, level, cond):
        return Belief(self.inner_(x, level, cond).x0 - self.inner_(x, level, {}).x0)


def mixture(process=PROCESS) -> exact.Mixture:
    return exact.Mixture(process, SHARES, MEANS, HALVES @ HALVES.transpose(0, 2, 1), labels=[0, 1, 0, 1])


def normal(scale: float, process=PROCESS) -> exact.Normal:
    axes = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
    return exact.Normal(process, [0.5, -0.2, 0.1], (axes * scale * np.array([0.2, 0.5, 1.0])) @ axes.T)


def at(process, t, n: int = 6, seed: int = 0, weight: float = 1.0):
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 3)))
    times = np.broadcast_to(np.asarray(t, float), n).copy()
    return x, process.level(times, x, weight=np.full(n, weight))


LABELS = torch.tensor([0, 1, 0, 1, 0, 1])
NULL = {"label": 2}


def test_a_rescaled_blend_has_the_contrast_of_the_better_belief():
    rng = torch.Generator().manual_seed(0)
    c, u = torch.randn(2, 5, 3, 4, 4, generator=rng, dtype=torch.float64)
    w = torch.tensor([0.5, 2.0, 3.0, 7.0, -1.0], dtype=torch.float64)
    whole, half = Rescaled(1.0)(c, u, w), Rescaled(0.5)(c, u, w)
    std = c.flatten(1).std(1, correction=0)
    torch.testing.assert_close(whole.flatten(1).std(1, correction=0), std, rtol=1e-12, atol=0)
    line = Linear()(c, u, w)
    assert torch.equal(Rescaled(0.0)(c, u, w), line)
    torch.testing.assert_close(half, (whole + line) / 2, rtol=1e-12, atol=1e-12)  # Eq. 16 is linear in the share
    torch.testing.assert_close(whole / whole.flatten(1).norm(dim=1)[:, None, None, None],
                               line / line.flatten(1).norm(dim=1)[:, None, None, None])  # fmt: skip


def test_projected_guidance_moves_across_the_belief_and_no_further_than_told():
    rng = torch.Generator().manual_seed(1)
    c, u = torch.randn(2, 4, 2, 3, 3, generator=rng, dtype=torch.float64)
    w = torch.tensor([1.5, 2.0, 3.0, 7.0], dtype=torch.float64)
    torch.testing.assert_close(Projected(1.0)(c, u, w), Linear()(c, u, w), rtol=1e-12, atol=1e-12)
    moved = (Projected(0.0)(c, u, w) - c).flatten(1)
    assert float((moved * c.flatten(1)).sum(1).abs().max()) < 1e-12
    plain = (c - u).flatten(1)
    along = (plain * c.flatten(1)).sum(1) / c.flatten(1).square().sum(1)
    torch.testing.assert_close(moved, (w - 1)[:, None] * (plain - along[:, None] * c.flatten(1)))
    capped = (Projected(1.0, norm=0.5)(c, u, w) - c).flatten(1).norm(dim=1)
    torch.testing.assert_close(capped, 0.5 * (w - 1))
    assert torch.equal(Projected(1.0, norm=1e9)(c, c, w), c)  # no difference: no step, and no number lost


@pytest.mark.parametrize("process", ["linear", "flow"])
def test_autoguidance_between_two_normals_is_the_closed_form_field(process):
    """As of classifier-free guidance: the belief to 1e-12, the samples' limit to 1e-6 of a fine solution."""
    process = PROCESSES[process]
    good, bad, w = normal(1.0, process), normal(1.7, process), 2.5
    guide, schedule = Autoguidance(good, bad, w), process.schedule
    x, level = at(process, 0.3)
    wanted = w * good(x, level, {}).x0 + (1 - w) * bad(x, level, {}).x0
    torch.testing.assert_close(guide(x, level, {}).x0, wanted, rtol=1e-12, atol=1e-12)

    def field(x: np.ndarray, t: float) -> np.ndarray:
        like = torch.from_numpy(np.ascontiguousarray(x))
        here = process.level(np.full(len(x), t), like)
        return (w * good(like, here, {}).x0 + (1 - w) * bad(like, here, {}).x0).numpy()

    def sampled(steps: int) -> np.ndarray:
        plan = un.plan("heun", process, grid=np.linspace(0.7, 0.3, steps + 1))
        return un.sample(guide, plan, (3,), range(6), start=x).numpy()

    limit = (4 * sampled(160) - sampled(80)) / 3
    np.testing.assert_allclose(limit, fine_flow(field, schedule, x.numpy(), 0.7, 0.3), rtol=1e-6, atol=1e-6)


def test_autoguidance_asks_each_model_only_of_the_items_that_need_it():
    good, bad = Watched(normal(1.0)), Watched(normal(1.7))
    x, level = at(PROCESS, 0.4)
    cond = {"autoguidance": torch.tensor([1.0, 0.0, 2.0, 1.0, -1.0, 1.0])}
    found = Autoguidance(good, bad)(x, level, cond).x0
    assert (good.rows, bad.rows) == (5, 3)
    better, worse = good(x, level, {}).x0, bad(x, level, {}).x0
    assert torch.equal(found[[0, 3, 5]], better[[0, 3, 5]])
    assert torch.equal(found[1], worse[1])
    torch.testing.assert_close(found[[2, 4]], torch.stack([2 * better[2] - worse[2], 2 * worse[4] - better[4]]))
    bad.rows = 0
    assert torch.equal(Autoguidance(good, bad, 1.0)(x, level, {}).x0, better)
    assert bad.rows == 0


def test_away_from_another_label_is_guidance_with_that_label_as_the_null():
    inner = mixture()
    x, level = at(PROCESS, 0.4)
    plain = CFG(inner, {"label": 1}, 3.0)(x, level, {"label": LABELS})
    each = {"label": LABELS, "negative label": torch.ones(6, dtype=torch.int64)}
    watched = Watched(inner)
    assert torch.equal(CFG(watched, NULL, 3.0)(x, level, each).x0, plain.x0)
    assert watched.rows == 12
    node = {"kind": "cfg", "weight": 3, "negative": "square"}
    named = guided(inner, node, NULL, lambda name: {"label": ["ring", "square"].index(name)}, lambda *_: inner)
    assert torch.equal(named(x, level, {"label": LABELS}).x0, plain.x0)


@pytest.mark.parametrize("engine", [False, True])
def test_within_an_interval_of_noise_guidance_is_whole_and_beyond_it_costs_nothing(engine):
    plan = un.plan("ddim", PROCESS, steps=12)
    noise = np.exp(-PROCESS.schedule.logsnr(plan.t) / 2)
    interval = (0.3, 2.0)
    inside = int(((noise >= 0.3) & (noise <= 2.0)).sum())
    assert 0 < inside < 12
    inner = Watched(mixture())
    cond, whole = {"label": LABELS[:2]}, CFG(mixture(), NULL, 4.0)
    guide = CFG(inner, NULL, 4.0, interval)
    run = un.Engine(guide, sizes=(1, 2, 4)).run if engine else None
    found = run(un.Job(plan, (3,), [1, 2], cond)) if run else un.sample(guide, plan, (3,), [1, 2], cond)
    assert inner.rows == 2 * (12 + inside) == 2 * evaluations(guide, plan, (3,), cond)
    for t, far in zip(plan.t, (noise < 0.3) | (noise > 2.0), strict=True):
        x, level = at(PROCESS, t, 2)
        wanted = (inner if far else whole)(x, level, cond).x0
        torch.testing.assert_close(guide(x, level, cond).x0, wanted, rtol=1e-12, atol=1e-12)
    assert bool(torch.isfinite(found).all())


def test_thresholds_hold_beliefs_to_the_range_and_leave_what_lies_within():
    class Known:
        process = PROCESS

        def __call__(self, x, level, cond):
            return Belief(x)

    generator = torch.Generator().manual_seed(0)
    x = (
        torch.randn(3, 1, 20, 20, generator=generator, dtype=torch.float64)
        * torch.tensor([0.2, 1.0, 5.0])[:, None, None, None]
    )
    level = PROCESS.level(np.full(3, 0.5), x)
    assert torch.equal(Static(Known())(x, level, {}).x0, x.clamp(-1, 1))
    found = Dynamic(Known(), quantile=0.9)(x, level, {}).x0
    assert torch.equal(found[0], x[0])  # within the range already
    for before, after in zip(x[1:], found[1:], strict=True):
        s = float(np.quantile(before.abs().numpy(), 0.9))
        torch.testing.assert_close(after, before.clamp(-s, s) / s, rtol=1e-6, atol=1e-6)
        assert 0.09 < float((after.abs() > 1 - 1e-6).double().mean()) < 0.11


def test_bayes_rule_makes_a_classifiers_push_the_conditional_belief():
    """D(x | nothing) + (sigma²/alpha)·∇log p(y | x_t) = D(x | y), and w is the dial of classifier-free guidance."""
    inner = mixture()
    for t in (0.05, 0.4, 1.0):
        x, level = at(PROCESS, t)
        cond = {"label": LABELS}
        found = Classifier(inner, ByLabel(inner), NULL)(x, level, cond).x0
        torch.testing.assert_close(found, inner(x, level, cond).x0, rtol=1e-10, atol=1e-10)
        for w in (0.0, 2.0, 5.0):
            mine = Classifier(inner, ByLabel(inner), NULL, w)(x, level, cond).x0
            torch.testing.assert_close(mine, CFG(inner, NULL, w)(x, level, cond).x0, rtol=1e-9, atol=1e-9)
    twice = Classifier(inner, ByLabel(inner), NULL, 1.0, conditional=True)(x, level, cond).x0
    torch.testing.assert_close(twice, CFG(inner, NULL, 2.0)(x, level, cond).x0, rtol=1e-9, atol=1e-9)
    shift = Watched(ByLabel(inner))
    partly = {"label": LABELS, "classifier guidance": torch.tensor([0.0, 1.0, 0.0, 2.0, 0.0, 0.0])}
    Classifier(inner, shift, NULL)(x, level, partly)
    assert shift.rows == 2


def test_a_classifiers_shift_is_the_slope_of_its_logits_and_regular_where_no_data_is_left():
    """(sigma²/alpha)·∇log p(y | x_t), by differences in double; and its limit at alpha = 0."""
    process = PROCESSES["flow"]
    torch.manual_seed(0)
    body = MLP((3,), answers=2, width=16, depth=1).double()
    torch.nn.init.normal_(body.last.weight, std=0.5)
    net = Labels(body)
    model = NetDenoiser(net, process, Shift())

    def log_p(x: torch.Tensor, level) -> torch.Tensor:
        heard = x / torch.hypot(level.alpha, level.sigma)[:, None]
        logits = net.logits(heard, level.noise)
        return logits.log_softmax(1).gather(1, LABELS[:, None])[:, 0]

    for t in (0.2, 0.9):
        x, level = at(process, t)
        slope = torch.stack(
            [(log_p(x + d, level) - log_p(x - d, level)) / 2e-6 for d in 1e-6 * torch.eye(3, dtype=torch.float64)], 1
        )
        wanted = (level.sigma.square() / level.alpha)[:, None] * slope
        torch.testing.assert_close(model(x, level, {"label": LABELS}).x0, wanted, rtol=1e-6, atol=1e-7)
    x, end = at(process, 1.0)
    near = process.level(np.full(6, 1 - 1e-7), x)
    there = model(x, end, {"label": LABELS}).x0
    assert float(there.abs().max()) > 1e-3
    torch.testing.assert_close(model(x, near, {"label": LABELS}).x0, there, rtol=1e-4, atol=1e-6)
    none = model(x, end, {"label": torch.full((6,), 2)}).x0
    assert torch.equal(none, torch.zeros_like(x))


def test_a_classifier_learns_the_slope_of_the_true_posterior():
    """Of a mixture whose p(y | x_t) is known: its push misses the exact one by a tenth of the push's own size."""
    truth = mixture(EDM)
    torch.manual_seed(0)
    objective = Classification(LogNormal(mean=-0.5, std=1.2))
    model = NetDenoiser(Labels(MLP((3,), answers=2, width=64, depth=2, waves=0)), EDM, Shift())
    optimiser = torch.optim.AdamW(model.net.parameters(), 3e-3)
    rng = np.random.default_rng(0)
    parts = rng.choice(4, p=SHARES, size=20_000)
    data = MEANS[parts] + np.einsum("nij,nj->ni", HALVES[parts], rng.normal(size=(len(parts), 3)))
    labels = torch.tensor([0, 1, 0, 1])[torch.from_numpy(parts)]
    data = torch.from_numpy(data).float()
    for step in range(500):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * (1 - step / 500)
        rows = torch.from_numpy(rng.integers(0, len(data), 512))
        loss = objective(model, data[rows], {"label": labels[rows]}, Draws(0, "step", step * 512, batch=512))
        optimiser.zero_grad()
        loss.value.mean().backward()
        optimiser.step()
    model.net.eval()
    off = []
    for t in EDM.schedule.time(-2 * np.log([0.3, 0.6, 1.0, 2.0])):
        level = EDM.level(np.full(2000, t), data[:2000])
        x = EDM.corrupt(data[:2000], level, torch.randn(2000, 3, generator=torch.Generator().manual_seed(1)))
        cond = {"label": labels[:2000]}
        wanted = ByLabel(truth)(x, level, cond).x0
        off.append(float((model(x, level, cond).x0 - wanted).square().mean() / wanted.square().mean()))
    assert max(off) < 0.1, off


def _compositions() -> Mapping[str, object]:
    inner, bad = mixture(), normal(1.7)
    cfg = CFG(inner, NULL, 3.0)
    return {
        "rescaled": CFG(inner, NULL, 3.0, blend=Rescaled(0.5)),
        "projected": CFG(inner, NULL, 3.0, (0.1, 5.0), Projected(0.0, 1.0)),
        "auto": Autoguidance(inner, bad, 2.0),
        "auto around cfg": Autoguidance(cfg, bad, 1.5),
        "cfg around auto": CFG(Autoguidance(inner, bad, 1.5), NULL, 2.0),
        "worse guided too": Autoguidance(cfg, CFG(bad, NULL, 2.0), 1.5),
        "static around cfg": Static(cfg, 0.8),
        "cfg around dynamic": CFG(Dynamic(inner, 0.9, 0.7), NULL, 3.0),
        "classifier": Classifier(inner, ByLabel(inner), NULL, 2.0, interval=(0.2, 4.0)),
        "classifier in thresholds": Dynamic(Classifier(inner, ByLabel(inner), NULL, 2.0, conditional=True), 0.9, 1.2),
    }


@pytest.mark.parametrize("name", list(_compositions()))
def test_any_order_of_guides_is_the_same_in_the_engine_and_in_the_loop(name):
    guide = _compositions()[name]
    plan = un.plan("dpmpp_2m", PROCESS, steps=5)
    cond = {"label": LABELS, "guidance": torch.tensor([0.0, 1.0, 2.0, 3.0, -0.5, 1.0])}
    if name.startswith("classifier") or name == "auto":
        cond.pop("guidance")
    closed = un.sample(guide, plan, (3,), range(6), cond)
    found = un.Engine(guide, sizes=(4, 8)).run(un.Job(plan, (3,), range(6), cond))
    torch.testing.assert_close(found, closed, rtol=1e-5, atol=1e-5)
    alone = un.Engine(guide, sizes=(4, 8)).run(un.Job(plan, (3,), [3], {k: v[3:4] for k, v in cond.items()}))
    torch.testing.assert_close(found[3], alone[0], rtol=1e-5, atol=1e-5)
    assert bool(torch.isfinite(found).all())


WRITTEN = {
    "1": (),
    "3": ({"kind": "cfg", "weight": 3.0},),
    "apg weight=4 + dynamic": ({"kind": "apg", "weight": 4}, {"kind": "dynamic"}),
    "cfg weight=3 interval=[0.2, 2.5]": ({"kind": "cfg", "weight": 3, "interval": [0.2, 2.5]},),
    "cfg weight=2.5 negative=square": ({"kind": "cfg", "weight": 2.5, "negative": "square"},),
    "autoguidance items=100 blend.kind=rescaled blend.share=0.5": (
        {"kind": "autoguidance", "items": 100, "blend": {"kind": "rescaled", "share": 0.5}},
    ),
}


@pytest.mark.parametrize("text", list(WRITTEN))
def test_guidance_is_read_as_it_is_written(text):
    assert nodes(text) == WRITTEN[text]
    assert nodes(words(text)) == nodes(text)
    assert nodes(list(WRITTEN[text])) == nodes(text)
    assert words(words(text)) == words(text)


def test_a_number_is_a_weight_wherever_it_stands():
    assert nodes(3) == nodes(3.0) == nodes("3") == nodes("3.0") == nodes(["3"]) == nodes({"kind": "cfg", "weight": 3.0})
    assert nodes("1e+1 + static") == ({"kind": "cfg", "weight": 10.0}, {"kind": "static"})
    assert words(1.0) == "1"
    assert un.guide.several("1, 2.5, apg weight=3, cfg interval=[1, 2]") == [
        1.0,
        2.5,
        "apg weight=3",
        "cfg interval=[1, 2]",
    ]


def _told(name):
    raise UserError(f"there is no label '{name}'")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cgf weight=3", "did you mean 'cfg'"),
        ("cfg wait=3", "did you mean 'weight'"),
        ("cfg weight=many", "weight"),
        ("cfg weight", "guidance is a weight, such as 3"),
        ("cfg interval=[3, 1]", "least, most"),
        ("cfg negative=7", "there is no label '7'"),
        ("rescaled share=2", "0 to 1"),
        ("apg norm=0", "positive"),
        ("autoguidance", "needs a worse model"),
        ("classifier", "needs run="),
        ("dynamic quantile=0", "quantile"),
        ("static limit=-1", "limit"),
        ("3 + ", "guidance is a weight"),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_sentence(text, says):
    with pytest.raises(UserError, match=says):
        un.guide.check(text, NULL, _told, PROCESS)


def test_guides_that_follow_a_condition_are_refused_without_one():
    for text in ("3", "apg weight=2", "classifier run=x"):
        with pytest.raises(UserError, match="without conditions"):
            un.guide.check(text, {}, _told, PROCESS)
    un.guide.check("autoguidance items=100 + dynamic", {}, _told, PROCESS)


SMALL = (
    "net.widths=[8,16]",
    "train.items=128",
    "train.batch=32",
    "train.warmup=32",
    "train.validate_every=64",
    "train.checkpoint_every=64",
    "train.keep=9",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("guided")
    drawn = un.fit("digits", place / "digits", *SMALL, "sample.steps=2")
    return drawn, un.fit("digits-classifier", place / "classifier", *SMALL)


def test_a_run_is_guided_by_words_by_a_number_and_by_nodes(runs):
    run, judge = runs
    ways = {
        "cfg weight=3": (3, 3.0, "3", [{"kind": "cfg", "weight": 3}]),
        "autoguidance items=64 weight=1.5": ({"kind": "autoguidance", "items": 64, "weight": 1.5},),
        "autoguidance ema=0 + static": ([{"kind": "autoguidance", "ema": 0.0}, "static"],),
        f"classifier run={judge.folder} weight=2": ([{"kind": "classifier", "run": str(judge.folder), "weight": 2}],),
        "cfg weight=2 negative=5": ([{"kind": "cfg", "weight": 2, "negative": "5"}],),
    }
    plain, seen = run.sample(4, label=3, raw=False), []
    for text, others in ways.items():
        found = run.sample(4, label=3, guidance=text, raw=False)
        assert bool(torch.isfinite(found).all())
        for other in others:
            assert torch.equal(run.sample(4, label=3, guidance=other, raw=False), found)
        assert not any(torch.equal(found, before) for before in (plain, *seen))
        seen.append(found)


def test_the_worse_model_is_what_the_run_was_then(runs):
    run, _ = runs
    worse = run.guided("autoguidance items=64 ema=0.1").worse
    kept = {path.name: path for path in (run.folder / "checkpoints").iterdir()}[f"{64:012d}"]
    for name, tensor in load_file(kept / "ema-0.1.safetensors").items():
        assert torch.equal(worse.net.state_dict()[name], tensor)


def test_what_a_run_cannot_be_guided_by_is_told_in_a_sentence(runs):
    run, judge = runs
    for text, says in {
        "autoguidance items=7": "no weights were kept after 7 items",
        "autoguidance items=64 ema=0.3": "no average of width 0.3",
        f"classifier run={run.folder}": "is no run of a classifier",
        f"autoguidance run={judge.folder}": "is no run of a model that draws",
        "cfg weight=2 negative=11": "there is no label 11",
        "3 + autoguidanse": "did you mean 'autoguidance'",
    }.items():
        with pytest.raises(UserError, match=says):
            run.guided(text)
    with pytest.raises(UserError, match="tells labels apart and draws nothing"):
        judge.sample(1)


def test_a_classifiers_held_out_loss_is_its_nats_and_the_share_of_wrong_labels(runs):
    _, judge = runs
    found = judge.history[-1]["held_out"]["0.1"]
    assert len(found["loss"]) == 16
    assert all(0 <= share <= 1 for share in found["error"])
    chance = 9 / 10
    noisiest = max(range(16), key=lambda k: found["noise"][k])
    assert abs(found["error"][noisiest] - chance) < 0.15  # in much noise nothing can be told
    assert found["loss"][noisiest] == pytest.approx(np.log(10), abs=0.15)


def test_a_recipe_samples_by_the_guides_it_names(runs, tmp_path):
    made = load("digits", ["sample.guidance=apg weight=4 + dynamic"])
    assert nodes(made.sampling.guidance) == nodes("apg weight=4 + dynamic")
    listed = load("digits", ["sample.guidance=[{kind: apg, weight: 4}, dynamic]"])
    assert nodes(listed.sampling.guidance) == nodes(made.sampling.guidance)
    with pytest.raises(UserError, match=r"digits: sample: .*did you mean 'cfg'"):
        load("digits", ["sample.guidance=cgf weight=4"])
    with pytest.raises(UserError, match="without conditions"):
        load("swissroll", ["sample.guidance=2"])
