"""No loop waits for its device, leaves it, or asks it for float64.

The device is torch's `meta`: it holds no numbers, so that to read one back raises, and so does an operation with a
tensor of the host. What runs there runs ahead of any device that computes.
"""

import numpy as np
import pytest
import torch
from oracles import PROCESSES, named, rules
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import unnoise as un
from unnoise.data import Digits, Fields
from unnoise.denoise import exact
from unnoise.denoise.truth import truth as truth_of
from unnoise.denoise.variance import Learned
from unnoise.loop import Step
from unnoise.modality import Image
from unnoise.train import LEVELS, WEIGHTS, Bound, Draws, Regression, Shuffled, TrainConfig, Trainer

COSINE = PROCESSES["cosine"]
LABELS = {"label": torch.tensor([0, 1, 3]), "guidance": torch.tensor([2.0, 1.0, 0.0])}


LACKED = {"aten::special_log_ndtr", "aten::special_erfcx", "aten::special_ndtri"}  # by Metal, as of torch 2.13


class Single(TorchDispatchMode):
    """Refuses float64 on the device, as some devices do, and what they do not compute."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.device.type == "meta":
                assert operation._schema.name not in LACKED, operation
                assert leaf.dtype != torch.float64, operation
        return result


def _guided() -> un.CFG:
    net = un.nets.UNet((1, 8, 8), classes=3, widths=(8, 16), blocks=1, attention=(1,), head_width=8)
    return un.CFG(un.denoiser(net.to("meta").eval().requires_grad_(False), COSINE), {"label": 3})


def test_the_device_would_tell():
    x = torch.ones(2, device="meta")
    for mistake in (x.tolist, lambda: x + torch.ones(2), lambda: bool(x[0] > 0), x.cpu):
        with pytest.raises((RuntimeError, NotImplementedError)):
            mistake()
    for refused in (x.double, lambda: torch.special.log_ndtr(x)):
        with pytest.raises(AssertionError), Single():
            refused()


@pytest.mark.parametrize("rule", list(rules()), ids=named)
def test_the_closed_loop_waits_for_nothing(rule):
    plan = un.plan(rule[0], COSINE, steps=3, **rule[1])
    with Single():
        x = un.sample(_guided(), plan, (1, 8, 8), [1, 2, 3], LABELS)
    assert x.device.type == "meta"


@pytest.mark.parametrize("rule", list(rules()), ids=named)
def test_the_engine_waits_only_where_items_finish(rule):
    """Jobs of other lengths share its lanes; the last row alone reads whether a sample is finite."""
    engine = un.Engine(_guided())
    with Single():
        for steps in (9, 7):
            engine.submit(un.Job(un.plan(rule[0], COSINE, steps=steps, **rule[1]), (1, 8, 8), [1, 2, 3], LABELS))
        events = [event for _ in range(6) for event in engine.tick()]
        assert len(events) == 36
        assert all(isinstance(event, Step) for event in events)
        with pytest.raises((RuntimeError, NotImplementedError)):
            [engine.tick() for _ in range(20)]


@pytest.mark.parametrize("kind", ["normal", "mixture", "empirical", "fields"])
def test_closed_forms_wait_for_nothing(kind):
    truth = {
        "normal": lambda: exact.Normal(COSINE, np.ones(2), np.diag([0.1, 2.0])),
        "mixture": lambda: exact.Mixture(COSINE, [0.5, 0.5], np.eye(2), [np.eye(2)] * 2, labels=[0, 1]),
        "empirical": lambda: exact.Empirical(COSINE, np.eye(2), labels=[0, 1]),
        "fields": lambda: truth_of(Fields(side=4, components=2), COSINE),
    }[kind]()
    with Single():
        x = un.sample(
            truth, un.plan("heun", COSINE, steps=3), truth.shape, [1, 2], {"label": torch.tensor([0, 2])}, device="meta"
        )
    assert x.device.type == "meta"


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("levels", LEVELS)
def test_a_training_step_waits_for_nothing(levels, weight, monkeypatch):
    """Not even to see whether its gradient was finite: that is read at the next tick."""
    monkeypatch.setattr(Draws, "normal", lambda self, name, like: torch.empty_like(like))  # meta has no generator
    denoiser = un.denoiser(un.nets.UNet((1, 8, 8), classes=10, widths=(8,), blocks=1).to("meta"), COSINE)
    encode = Image(high=16, dequantise=True).encode
    feed = Shuffled(Digits().split("train"), encode, 0, "meta")
    config = TrainConfig(batch=8, items=64, accumulate=2)
    trainer = Trainer(denoiser, Regression(LEVELS[levels](), WEIGHTS[weight]()), feed, config, {"label": 10})
    with Single():
        for _ in range(2):
            trainer.step()
    assert trainer.items == 16


@pytest.mark.parametrize("objective", [Regression(), Bound(LEVELS["log_normal"](), steps=50, cell=0.125)])
def test_a_learned_variance_waits_for_nothing(objective, monkeypatch):
    """Neither in training, by the hybrid loss or the bound, nor where a plan heeds it, in either loop."""
    monkeypatch.setattr(Draws, "normal", lambda self, name, like: torch.empty_like(like))
    net = un.nets.UNet((1, 8, 8), classes=10, answers=2, widths=(8,), blocks=1).to("meta")
    denoiser = un.denoiser(net, COSINE, variance=Learned(cell=0.125))
    feed = Shuffled(Digits().split("train"), Image(high=16).encode, 0, "meta")
    trainer = Trainer(denoiser, objective, feed, TrainConfig(batch=8, items=64), {"label": 10})
    plan = un.plan("ddpm", COSINE, steps=9, variance="learned")
    engine = un.Engine(un.denoiser(net.eval(), COSINE, variance="learned"))
    with Single():
        trainer.step()
        assert un.sample(engine.denoiser, plan, (1, 8, 8), [1, 2, 3], LABELS).device.type == "meta"
        engine.submit(un.Job(plan, (1, 8, 8), [1, 2, 3], LABELS))
        assert len([event for _ in range(6) for event in engine.tick()]) == 18
