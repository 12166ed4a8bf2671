"""What is known stays what it is, and nothing else is touched where nothing else hangs on it."""

import numpy as np
import torch
from oracles import PROCESSES

import unnoise as un
from unnoise.denoise import exact
from unnoise.guide.cfg import CFG
from unnoise.nets.mlp import MLP
from unnoise.restore import KNOWN, MASK, Known

PROCESS = PROCESSES["discrete"]


def _cond(n, mask=(1.0, 0.0)):
    known = torch.tensor([[0.25, -3.0]]).expand(n, 2)
    return {KNOWN: known.contiguous(), MASK: torch.tensor([mask]).expand(n, 2).contiguous()}


def test_the_known_part_is_exact_and_the_rest_is_what_it_was_where_they_are_independent():
    """Independent coordinates: the drawn one is bit for bit the one drawn without the mask."""
    truth = exact.Normal(PROCESS, np.array([0.5, -1.0]), np.diag([0.3, 2.0]))
    for sampler in ("heun", "dpmpp_2m", "ddpm"):
        plan = un.plan(sampler, PROCESS, steps=12)
        free = un.sample(truth, plan, (2,), range(8))
        held = un.sample(Known(truth), plan, (2,), range(8), _cond(8))
        torch.testing.assert_close(held[:, 0], torch.full((8,), 0.25), rtol=1e-5, atol=1e-6)
        assert torch.equal(held[:, 1], free[:, 1])


def test_the_rest_follows_from_what_is_known():
    """Two coordinates of correlation 0.9: the drawn one turns to its side of the known one, and its spread shrinks.

    Replacement is no exact conditioning: E[b | a] = 1.35 and the deviation 0.44 are not reached.
    """
    truth = exact.Normal(PROCESS, np.zeros(2), np.array([[1.0, 0.9], [0.9, 1.0]]))
    plan = un.plan("ddpm", PROCESS, steps=60)
    for side in (1, -1):
        cond = {
            KNOWN: torch.tensor([[1.5 * side, 0.0]]).expand(512, 2),
            MASK: torch.tensor([[1.0, 0.0]]).expand(512, 2),
        }
        held = un.sample(Known(truth), plan, (2,), range(512), cond)[:, 1]
        assert 0.7 < side * float(held.mean()) < 1.35
        assert float(held.std()) < 0.75


def test_without_the_leaves_it_is_the_denoiser_within():
    truth = exact.Normal(PROCESS, np.zeros(2), np.eye(2))
    plan = un.plan("heun", PROCESS, steps=5)
    assert torch.equal(un.sample(Known(truth), plan, (2,), [1]), un.sample(truth, plan, (2,), [1]))


def test_items_with_and_without_a_known_part_share_an_engine():
    """Around guidance, in lanes of their own: each gets what it would have got alone."""
    torch.manual_seed(0)
    net = MLP((2,), width=16, depth=1, features=8, embed_width=16, classes=3).eval()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.15)
    denoiser = Known(CFG(un.denoiser(net, PROCESS, "velocity"), {"label": 3}))
    plan = un.plan("dpmpp_2m", PROCESS, steps=6)
    told = {"label": torch.tensor([1]), "guidance": torch.tensor([2.0])}
    jobs = [un.Job(plan, (2,), [5], told), un.Job(plan, (2,), [5], {**told, **_cond(1)})]
    engine = un.Engine(denoiser, sizes=(4,))
    tickets = [engine.submit(job) for job in jobs]
    found = {}
    while engine.busy:
        found |= {e.ticket: e.x for e in engine.tick() if isinstance(e, un.loop.Done)}
    for ticket, job in zip(tickets, jobs, strict=True):
        assert torch.equal(found[ticket], un.Engine(denoiser, sizes=(4,)).run(job)[0])
    assert abs(float(found[tickets[1]][0]) - 0.25) < 1e-5
    assert not torch.equal(found[tickets[0]], found[tickets[1]])


def test_a_soft_mask_blends():
    truth = exact.Normal(PROCESS, np.zeros(2), np.eye(2))
    level = PROCESS.level(np.array([0.5]), torch.zeros(0))
    x = torch.tensor([[1.0, 1.0]])
    plain = truth(x, level, {}).x0
    mixed = Known(truth)(x, level, _cond(1, (0.25, 1.0))).x0
    torch.testing.assert_close(mixed, torch.stack([0.25 * 0.25 + 0.75 * plain[:, 0], torch.tensor([-3.0])], 1))
