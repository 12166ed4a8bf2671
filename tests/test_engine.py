"""The open loop: items come and go, and each gets what it would have got alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import PROCESSES, named, rules

import unnoise as un
from unnoise.config import UserError
from unnoise.denoise import exact
from unnoise.denoise.denoiser import Belief
from unnoise.guide.cfg import CFG
from unnoise.loop import Done, Failed, Step, Ticket
from unnoise.nets.mlp import MLP
from unnoise.samplers.ledger import Joined
from unnoise.samplers.plan import Plan
from unnoise.samplers.step import State

PROCESS = PROCESSES["discrete"]
RULES = list(rules())


def _net(classes: int = 3, seed: int = 0) -> un.nets.Net:
    """A network with weights that are not zero."""
    torch.manual_seed(seed)
    net = MLP((2,), width=16, depth=1, features=8, embed_width=16, classes=classes).eval()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.15)
    return net


@pytest.fixture(scope="module")
def denoiser():
    return un.denoiser(_net(), PROCESS, "velocity")


def _drain(engine: un.Engine, failures: bool = False) -> dict[tuple[int, int], torch.Tensor]:
    found = {}
    while engine.busy:
        for event in engine.tick():
            assert failures or not isinstance(event, Failed), event.reason
            if isinstance(event, Done):
                found[event.ticket.number, event.index] = event.x
    return found


# Two executors of one table


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_one_executor_equals_the_other(rule, denoiser):
    """Specialised to one plan or gathered per item: the same to 1e-6 of the sample's size."""
    plan = un.plan(rule[0], PROCESS, steps=9, **rule[1])
    seeds = list(range(5))
    cond = {"label": torch.tensor([0, 1, 2, 3, 1])}
    engine = un.Engine(denoiser, sizes=(5,))
    closed, open_ = un.sample(denoiser, plan, (2,), seeds, cond), engine.run(un.Job(plan, (2,), seeds, cond))
    torch.testing.assert_close(open_, closed, rtol=2e-6, atol=2e-6)


def _any_plan(rows: int = 8, memories: int = 3) -> Plan:
    """A table of random numbers with all that a row can ask for: noise told, columns empty, identity rows, mixtures."""
    rng = np.random.default_rng(0)
    keep, base, ask = rng.normal(size=(rows, 2)), *rng.normal(size=(2, rows, memories + 2))
    keep[::3], base[1::2, 1:], ask[2] = (0, 1), 0, 0
    for line in (base[4], ask[4], ask[5]):
        line[0] += 1 - line[:-1].sum()
    base[3], ask[-1] = np.eye(memories + 2)[0], base[-1]
    t = np.linspace(0.9, 0.2, rows)
    return Plan(t, keep, np.arange(rows) % memories * 1.0, base, ask, t, np.ones(rows), 0.9, 0.1)


@pytest.mark.parametrize("plan", [_any_plan(), *(un.plan(r[0], PROCESS, steps=4, **r[1]) for r in RULES)], ids=repr)
def test_one_row_of_either_executor_is_the_table_itself(plan):
    """Random states and answers in float64: row after row both move as the matrix of the row does.

    The one keeps answers in the plan's slots, the other by age, and among more of them than the plan has.
    """
    rng = np.random.default_rng(0)
    other = _any_plan()  # stands before in the ledger, and needs memories of its own
    ledger = plan.join([other, plan], torch.zeros(3, 2, dtype=torch.float64))
    at = np.full((plan.rows, 3), other.rows) + np.arange(plan.rows)[:, None]
    past = [torch.zeros(3, 2, dtype=torch.float64)] * ledger.memories
    slots = past[: plan.memories] + past[:1] * (plan.memories - len(past))
    for row, step in enumerate(ledger.ahead(at, torch.from_numpy(at.reshape(-1)))):
        x, base, x0, z = (torch.from_numpy(rng.normal(size=(3, 2))) for _ in range(4))
        kept = plan.keep[row, 0] * x + plan.keep[row, 1] * x0
        memory = [kept if m == plan.slot[row] else old for m, old in enumerate(slots)]
        columns = torch.stack([base, *memory, z])
        wanted = [torch.einsum("c,cbd->bd", torch.from_numpy(np.array(t[row])), columns) for t in (plan.base, plan.ask)]
        gathered = step.advance(State(x, base, tuple(past)), x0, z)
        special = plan.specialise()[row](State(x, base, tuple(slots)), x0, lambda z=z: z)
        for found in (gathered, special):
            torch.testing.assert_close(found.base, wanted[0], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(found.x, wanted[1], rtol=1e-12, atol=1e-12)
        past, slots = list(gathered.memory), list(special.memory)
        torch.testing.assert_close(past[0], kept, rtol=1e-12, atol=1e-12)
        for m in range(plan.memories):
            torch.testing.assert_close(slots[m], memory[m], rtol=1e-12, atol=1e-12)


def test_a_gathered_row_does_not_depend_on_those_beside_it():
    """Lines that are mixed by shares beside lines that are added up, with noise and without: bit for bit as alone."""
    names = ("euler", "dpmpp_2m", "heun", "euler_ancestral", "unipc_3", "lms_4")
    plans = [*(un.plan(name, PROCESSES["karras"], steps=6) for name in names), _any_plan()]
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    ledger, rng = plans[0].join(plans, x), np.random.default_rng(0)
    for noise in (None, x.flip(0)):
        for _ in range(8):
            at = rng.integers(0, sum(plan.rows for plan in plans), (1, 40))
            state = State(x, x.roll(1, 0), tuple(x.roll(2 + m, 0) for m in range(ledger.memories)))
            (step,) = ledger.ahead(at, torch.from_numpy(at[0]))
            found = step.advance(state, x.roll(-1, 0), noise)
            for i in range(40):
                one = slice(i, i + 1)
                (step,) = ledger.ahead(at[:, one], torch.from_numpy(at[0, one]))
                memory = tuple(m[one] for m in state.memory)
                drawn = None if noise is None else noise[one]
                alone = step.advance(State(x[one], state.base[one], memory), x.roll(-1, 0)[one], drawn)
                assert torch.equal(found.x[one], alone.x)
                assert torch.equal(found.base[one], alone.base)


# Company


def _crowd(count: int) -> list[un.Job]:
    rng = np.random.default_rng(5)
    jobs = []
    for _ in range(count):
        name, options = RULES[rng.integers(len(RULES))]
        plan = un.plan(name, PROCESS, steps=int(rng.integers(1, 7)), **options)
        cond = {"label": torch.tensor([int(rng.integers(4))]), "guidance": torch.tensor([float(rng.normal(1, 2))])}
        jobs.append(un.Job(plan, (2,), [int(rng.integers(2**62))], cond))
    return jobs


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_at_one_padded_size_bits_do_not_depend_on_company(rule, denoiser):
    """Whatever the others' samplers, seeds, labels and weights: bit for bit what the item gets alone."""
    guided = CFG(denoiser, {"label": 3})
    plan = un.plan(rule[0], PROCESS, steps=5, **rule[1])
    cond = {"label": torch.tensor([1]), "guidance": torch.tensor([2.5])}
    job = un.Job(plan, (2,), [77], cond)
    alone = un.Engine(guided, sizes=(32,)).run(job)[0]
    for late in (0, 2):
        engine = un.Engine(guided, sizes=(32,))
        for other in _crowd(6):
            engine.submit(other)
        for _ in range(late):
            engine.tick()
        ticket = engine.submit(job)
        for other in _crowd(5):
            engine.submit(other)
        assert torch.equal(_drain(engine)[ticket.number, 0], alone)


def test_across_sizes_an_item_agrees_to_rounding(denoiser):
    plan = un.plan("dpmpp_2m", PROCESS, steps=8)
    found = [un.Engine(denoiser, sizes=(size,)).run(un.Job(plan, (2,), [3])) for size in (1, 2, 4, 16, 64)]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-5, atol=1e-5)


def _random_mixes(denoiser, mixes: int, seed: int) -> None:
    """Jobs of random samplers, steps, seeds, weights, labels and starts that come and go at random times.

    In turn at one padded size, against solo runs of the engine bit for bit, and at several, against the closed
    loop to rounding.
    """
    rng = np.random.default_rng(seed)
    guided = CFG(denoiser, {"label": 3})
    left = mixes
    while left > 0:
        one_size = left // 20 % 2 == 0
        engine = un.Engine(guided, places=int(rng.integers(1, 12)), sizes=(32,) if one_size else (4, 8, 16))
        jobs, cancelled, found = {}, set(), {}
        for _ in range(min(left, 20)):
            name, options = RULES[rng.integers(len(RULES))]
            plan = un.plan(name, PROCESS, steps=int(rng.integers(1, 9)), **options)
            count = int(rng.integers(1, 4))
            cond = {"label": torch.from_numpy(rng.integers(0, 4, count))}
            if rng.random() < 0.7:
                cond["guidance"] = torch.from_numpy(rng.choice([0.0, 1.0, 0.5, 2.0, -1.0], count))
            start = torch.from_numpy(rng.normal(size=(count, 2))).float() if rng.random() < 0.2 else None
            job = un.Job(plan, (2,), rng.integers(0, 2**62, count).tolist(), cond, start)
            jobs[engine.submit(job).number] = job
            for _ in range(rng.integers(0, 4)):
                found.update({(e.ticket.number, e.index): e.x for e in engine.tick() if isinstance(e, Done)})
            if rng.random() < 0.15:
                gone = int(rng.choice(list(jobs)))
                cancelled.add(gone)
                engine.cancel(Ticket(gone))
        found.update(_drain(engine))
        for number, job in jobs.items():
            if number not in cancelled:
                together = torch.stack([found[number, i] for i in range(len(job.seeds))])
                if one_size:
                    assert torch.equal(together, un.Engine(guided, sizes=(32,)).run(job))
                else:
                    solo = un.sample(guided, job.plan, (2,), job.seeds, job.cond, job.start)
                    torch.testing.assert_close(together, solo, rtol=2e-5, atol=2e-5)
        left -= 20


def test_random_mixes_equal_solo_runs(denoiser):
    _random_mixes(denoiser, 60, seed=0)


@pytest.mark.slow
def test_a_thousand_random_mixes_equal_solo_runs(denoiser):
    _random_mixes(denoiser, 1000, seed=1)


# Coming and going


def test_rows_are_prepared_for_twice_as_long_while_nothing_changes(denoiser, monkeypatch):
    """And for one again once an item comes or leaves: no more is in vain than what was of use."""
    prepared: list[int] = []
    ahead = Joined.ahead
    monkeypatch.setattr(Joined, "ahead", lambda self, at, index: prepared.append(len(at)) or ahead(self, at, index))
    engine = un.Engine(denoiser)
    engine.submit(un.Job(un.plan("ddim", PROCESS, steps=100), (2,), [0]))
    for _ in range(10):
        engine.tick()
    assert prepared == [1, 2, 4, 8]
    engine.submit(un.Job(un.plan("ddim", PROCESS, steps=3), (2,), [1]))
    _drain(engine)
    assert prepared[4:] == [1, 2, 1, 2, 4, 8, 16, 32, 24]  # three rows of both, then 87 of one


def test_events_tell_every_row_then_the_sample(denoiser):
    plan = un.plan("heun", PROCESS, steps=3)
    engine = un.Engine(denoiser)
    ticket = engine.submit(un.Job(plan, (2,), [4, 5], {"label": torch.tensor([0, 1])}))
    told = []
    while engine.busy:
        told += engine.tick()
    for index in (0, 1):
        mine = [e for e in told if e.index == index]
        assert [e.row for e in mine[:-1]] == list(range(1, plan.rows + 1))
        assert all(isinstance(e, Step) and e.rows == plan.rows and e.ticket == ticket for e in mine[:-1])
        assert isinstance(mine[-1], Done)
        torch.testing.assert_close(mine[-1].x, mine[-2].x0)
    assert engine.tick() == []


def test_cancelled_items_leave_and_the_others_do_not_notice(denoiser):
    plan = un.plan("ddpm", PROCESS, steps=6)
    engine = un.Engine(denoiser, places=4)
    keeps, goes, waits = (engine.submit(un.Job(plan, (2,), seeds)) for seeds in ([1, 2], [3, 4, 5], [6]))
    engine.tick()
    engine.tick()
    assert engine.under_way == 4
    assert engine.cancel(goes) == 3  # two under way and one that waited
    assert engine.cancel(goes) == 0
    assert engine.cancel(Ticket(99)) == 0
    found = _drain(engine)
    assert set(found) == {(keeps.number, 0), (keeps.number, 1), (waits.number, 0)}
    solo = un.sample(denoiser, plan, (2,), [1, 2, 6])
    torch.testing.assert_close(torch.stack(list(found.values())), solo, rtol=1e-5, atol=1e-5)


def test_an_engine_all_of_whose_items_were_cancelled_is_idle(denoiser):
    engine = un.Engine(denoiser)
    ticket = engine.submit(un.Job(un.plan("ddim", PROCESS, steps=3), (2,), [1, 2]))
    engine.tick()
    assert engine.cancel(ticket) == 2
    assert not engine.busy
    assert engine.tick() == []


class _Faulty:
    """Answers NaN for one label and raises for another."""

    def __init__(self, inner) -> None:
        self.inner, self.process = inner, inner.process

    def __call__(self, x, level, cond):
        if bool((cond["label"] == 2).any()):
            raise IndexError("label 2 is out of range")
        x0 = self.inner(x, level, cond).x0
        x0[cond["label"] == 1] = torch.nan
        return Belief(x0)


@pytest.mark.parametrize(("label", "reason"), [(1, "not finite"), (2, "IndexError: label 2 is out of range")])
def test_a_failing_item_fails_alone(label, reason, denoiser):
    faulty = _Faulty(denoiser)
    plan = un.plan("dpmpp_2m", PROCESS, steps=4)
    engine = un.Engine(faulty, sizes=(1, 2, 4))
    job = un.Job(plan, (2,), [1, 2, 3], {"label": torch.tensor([0, label, 3])})
    engine.submit(job)
    events = []
    while engine.busy:
        events += engine.tick()
    failed = [e for e in events if isinstance(e, Failed)]
    assert [e.index for e in failed] == [1]
    assert reason in failed[0].reason
    found = {e.index: e.x for e in events if isinstance(e, Done)}
    solo = un.sample(denoiser, plan, (2,), [1, 3], {"label": torch.tensor([0, 3])})
    torch.testing.assert_close(torch.stack([found[0], found[2]]), solo, rtol=1e-5, atol=1e-5)
    with pytest.raises(RuntimeError, match=f"item 1: .*{reason}"):
        engine.run(job)
    assert not engine.busy


class _Picky(un.Gaussian):
    """Refuses to begin an item of label 1."""

    def constrain(self, x, cond):
        if bool((cond["label"] == 1).any()):
            raise ValueError("label 1 has no such shape")
        return x


def test_an_item_that_cannot_begin_fails_alone(denoiser):
    picky = un.denoiser(denoiser.net, _Picky(PROCESS.schedule), "velocity")
    plan = un.plan("ddim", PROCESS, steps=3)
    engine = un.Engine(picky, sizes=(4,))
    engine.submit(un.Job(plan, (2,), [1, 2, 3], {"label": torch.tensor([0, 1, 2])}))
    events = []
    while engine.busy:
        events += engine.tick()
    failed = [(e.index, e.reason) for e in events if isinstance(e, Failed)]
    assert failed == [(1, "ValueError: label 1 has no such shape")]
    found = {e.index: e.x for e in events if isinstance(e, Done)}
    solo = un.sample(denoiser, plan, (2,), [1, 3], {"label": torch.tensor([0, 2])})
    torch.testing.assert_close(torch.stack([found[0], found[2]]), solo, rtol=1e-5, atol=1e-5)


def test_where_every_item_fails_the_engine_goes_on(denoiser):
    engine = un.Engine(_Faulty(denoiser))
    plan = un.plan("ddim", PROCESS, steps=2)
    engine.submit(un.Job(plan, (2,), [1, 2], {"label": torch.tensor([2, 2])}))
    good = engine.submit(un.Job(plan, (2,), [3], {"label": torch.tensor([0]), "extra": torch.zeros(1)}))
    assert set(_drain(engine, failures=True)) == {(good.number, 0)}


# Places and turns


def test_places_bound_what_is_under_way_and_the_oldest_come_first(denoiser):
    engine = un.Engine(denoiser, places=3)
    tickets = [engine.submit(un.Job(un.plan("ddim", PROCESS, steps=2), (2,), [s, s + 1])) for s in range(5)]
    order = []
    while engine.busy:
        order += [(e.ticket.number, e.index) for e in engine.tick() if isinstance(e, Done)]
        assert engine.under_way <= 3
    assert order == [(ticket.number, i) for ticket in tickets for i in (0, 1)]


def test_lanes_take_turns():
    """Items of four shapes cannot share a call: each lane moves once in four ticks, whoever is the longest."""
    engine = un.Engine(exact_of_any_shape(), places=8)
    plan = un.plan("ddim", PROCESS, steps=12)
    tickets = [engine.submit(un.Job(plan, (n,), [1])) for n in (1, 2, 3, 4)]
    moved = [engine.tick()[0].ticket for _ in range(24)]
    assert moved == tickets * 6


def test_no_one_starves_where_jobs_keep_coming(denoiser):
    """A job of another shape, submitted amid a stream that fills every place, is done in bounded time."""
    engine = un.Engine(exact_of_any_shape(), places=2)
    plan = un.plan("ddim", PROCESS, steps=3)
    for seed in range(4):
        engine.submit(un.Job(plan, (2,), [seed]))
    mine = engine.submit(un.Job(plan, (3,), [9]))
    for tick in range(60):
        engine.submit(un.Job(plan, (2,), [tick]))
        if any(isinstance(e, Done) and e.ticket == mine for e in engine.tick()):
            break
    assert tick < 20


def exact_of_any_shape():
    """The belief about standard normal data of any shape."""
    from oracles import Scalar

    return Scalar(PROCESS)


def test_network_calls_are_padded_to_the_sizes(denoiser):
    seen = []

    class Watched:
        process = denoiser.process

        def __call__(self, x, level, cond):
            seen.append((len(x), len(level.alpha), len(cond["label"])))
            return denoiser(x, level, cond)

    plan = un.plan("ddim", PROCESS, steps=1)
    for count in (1, 3, 4, 5, 16, 17, 35):
        seen.clear()
        job = un.Job(plan, (2,), range(count), {"label": torch.zeros(count, dtype=torch.int64)})
        found = un.Engine(Watched(), places=64, sizes=(4, 8, 16)).run(job)
        torch.testing.assert_close(found, un.sample(denoiser, plan, (2,), range(count), job.cond))
        sizes = {1: [4], 3: [4], 4: [4], 5: [8], 16: [16], 17: [16, 4], 35: [16, 16, 4]}[count]
        assert seen[: len(sizes)] == [(s, s, s) for s in sizes]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=6))
def test_every_item_is_done_exactly_once(jobs):
    """Whatever the sizes of jobs, their steps and when they come."""
    engine = un.Engine(exact_of_any_shape(), places=3, sizes=(2, 4))
    wanted, done = set(), []
    for count, steps, ticks in jobs:
        ticket = engine.submit(un.Job(un.plan("ddim", PROCESS, steps=steps), (steps % 2 + 1,), range(count)))
        wanted |= {(ticket.number, i) for i in range(count)}
        for _ in range(ticks):
            done += [(e.ticket.number, e.index) for e in engine.tick() if isinstance(e, Done)]
    while engine.busy:
        done += [(e.ticket.number, e.index) for e in engine.tick() if isinstance(e, Done)]
    assert sorted(done) == sorted(wanted)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({"seeds": []}, "at least one seed"),
        ({"start": torch.zeros(1, 3)}, r"start has shape \(1, 3\), expected \(1, 2\)"),
        ({"cond": {"label": torch.zeros(2)}}, "condition 'label'"),
        ({"cond": {"label": torch.tensor([4])}}, "there is no label 4: expected 0 to 2, or 3 for none"),
        ({"cond": {"label": torch.tensor([-1])}}, "there is no label -1"),
        ({"cond": {"label": torch.tensor([0.5])}}, "labels are whole numbers .* got float32"),
    ],
)
def test_jobs_that_do_not_fit_are_refused_at_once(job, message, denoiser):
    plan = un.plan("ddim", PROCESS, steps=2)
    engine = un.Engine(denoiser)
    with pytest.raises(UserError, match=message):
        engine.submit(un.Job(**{"plan": plan, "shape": (2,), "seeds": [0], **job}))
    assert not engine.busy


@pytest.mark.parametrize("sizes", [(), (4, 4), (8, 4), (0, 4)])
def test_sizes_must_rise(sizes, denoiser):
    with pytest.raises(UserError, match="rising sizes"):
        un.Engine(denoiser, sizes=sizes)


def test_run_is_for_an_idle_engine(denoiser):
    engine = un.Engine(denoiser)
    job = un.Job(un.plan("ddim", PROCESS, steps=2), (2,), [0])
    engine.submit(job)
    with pytest.raises(UserError, match="idle engine"):
        engine.run(job)


def test_items_of_other_numbers_of_memories_share_a_lane(denoiser):
    """One that remembers two answers comes to one that remembers one, and the other way about."""
    few, more = un.plan("ddim", PROCESS, steps=6), un.plan("dpmpp_2m", PROCESS, steps=6)
    assert few.memories < more.memories
    for plans in ((few, more), (more, few)):
        engine = un.Engine(denoiser)
        first = engine.submit(un.Job(plans[0], (2,), [1]))
        engine.tick()
        second = engine.submit(un.Job(plans[1], (2,), [2]))
        found = _drain(engine)
        for ticket, plan, seed in ((first, plans[0], 1), (second, plans[1], 2)):
            solo = un.sample(denoiser, plan, (2,), [seed])[0]
            torch.testing.assert_close(found[ticket.number, 0], solo, rtol=1e-5, atol=1e-5)


def test_exact_beliefs_run_in_the_engine_too():
    truth = exact.Normal(PROCESS, np.ones(2), np.diag([0.1, 2.0]))
    plan = un.plan("dpmpp_2m", PROCESS, steps=6)
    torch.testing.assert_close(un.Engine(truth).run(un.Job(plan, (2,), [8])), un.sample(truth, plan, (2,), [8]))
