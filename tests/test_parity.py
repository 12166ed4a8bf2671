"""Trajectories of other libraries, recorded by benchmarks/parity.py: our plans of the same rules walk them too."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import unnoise as un
from unnoise.process.schedules import Discrete, Flow, Karras, Linear

TOLD = json.loads((Path(__file__).parent / "recorded" / "samplers.json").read_text())


def process_of(told):
    """The process that a peer walked back, by its schedule's own numbers."""
    kind, numbers = told["kind"], {name: value for name, value in told.items() if name != "kind"}
    return un.Gaussian({"discrete": lambda: Discrete(Linear(**numbers)), "flow": Flow, "karras": Karras}[kind]())


def plan_of(case, process):
    """Our plan of the rule over the times that were asked at: each falling one, or every second of two stages."""
    t = np.array(case["t"])
    falling = [x for i, x in enumerate(t) if i == 0 or x < t[i - 1] - 1e-9]
    for stride in (1, 2):
        plan = un.plan(case["rule"], process, grid=[*falling[::stride], 0.0], **case["ours"])
        if plan.rows == len(t) and np.allclose(plan.t, t, atol=2e-4):
            return plan
    raise AssertionError(f"{case['rule']} does not ask at these times")


@pytest.mark.parametrize(
    "case", TOLD["recorded"], ids=lambda c: "-".join([c["sampler"], *(str(v) for v in c["options"].values())])
)
def test_a_recorded_trajectory_is_walked_again(case):
    """To 2e-5 of the state's size: they count in float32, and one integrates its weights to 1e-4 of themselves.

    The noises are the recorded ones, in their order.
    """
    process = process_of(case["schedule"])
    plan, mixture = plan_of(case, process), TOLD["mixture"]
    truth = un.exact.Mixture(process, mixture["weights"], mixture["means"], mixture["covariances"])
    asked, draws = np.array(case["questions"]), iter(np.array(case["draws"]))
    base = ask = asked[0]
    memory = np.zeros((plan.memories, *base.shape))
    for row in range(plan.rows):
        size = np.hypot(process.schedule.alpha(plan.t[row]), process.schedule.sigma(plan.t[row]))
        np.testing.assert_allclose(ask / size, asked[row] / size, atol=2e-5, err_msg=f"question {row}")
        like = torch.from_numpy(ask)
        belief = truth(like, process.level(np.full(len(ask), case["t"][row]), like), {}).x0.numpy()
        memory[int(plan.slot[row])] = plan.keep[row, 0] * ask + plan.keep[row, 1] * belief
        columns = np.stack([base, *memory, next(draws) if plan.draws(row) else np.zeros_like(base)])
        base, ask = (np.tensordot(table[row], columns, axes=1) for table in (plan.base, plan.ask))
    np.testing.assert_allclose(base, case["sample"], atol=2e-5)
