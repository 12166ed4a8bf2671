"""Features are the published ones: equal to other programs on equal weights, at the resizing that belongs to them."""

import hashlib
import json
import runpy
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from unnoise.config import UserError
from unnoise.metrics import frechet, inception_score, kid
from unnoise.metrics import weights as door
from unnoise.metrics.inception import Inception, InceptionNet
from unnoise.metrics.lpips import LPIPS, LPIPSNet, opened
from unnoise.metrics.resizing import as_bytes, bicubic, tensorflow
from unnoise.metrics.weights import Published, digest_of, fit, read

ROOT = Path(__file__).parents[1]
BENCH = runpy.run_path(str(ROOT / "benchmarks" / "fidelity.py"))
RECORD = json.loads((ROOT / "benchmarks" / "results" / "fidelity.json").read_text())
COUNT, SIDES, WIDE = BENCH["COUNT"], BENCH["SIDES"], BENCH["WIDE"]


def drawn(net):
    """The network with the benchmark's weights."""
    shapes = {k: tuple(v.shape) for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    return fit(net, BENCH["state"](shapes), "drawn")


@cache
def inception():
    return drawn(InceptionNet())


def sets(count=COUNT, sides=SIDES):
    return [BENCH["pictures"](seed, count, *sides) for seed in (0, 1)]


def agree(told, features, rtol=1e-3):
    mine = BENCH["told"](features)
    for name, values in told.items():
        np.testing.assert_allclose(mine[name], values, rtol=rtol, atol=rtol * np.abs(values).max(), err_msg=name)


def test_inception_is_torch_fidelitys():
    net, record = Inception(inception()), RECORD["torch-fidelity"]
    a, b = map(net.features, sets())
    agree(record["features"], a)
    _, logits = net.both(sets()[0])
    agree(record["logits"], logits)
    assert frechet(a, b) == pytest.approx(record["frechet"], rel=1e-3)
    assert kid(a, b) == pytest.approx(record["kid"], rel=1e-3)
    assert inception_score(net.probabilities(sets()[0])) == pytest.approx(record["inception_score"], rel=1e-3)


def test_inception_is_pytorch_fids():
    net, record = Inception(inception(), "torch"), RECORD["pytorch-fid"]
    a, b = map(net.features, sets())
    agree(record["features"], a)
    assert frechet(a, b) == pytest.approx(record["frechet"], rel=1e-3)
    # The two resizings are two measures, and their names and figures say so.
    assert abs(record["frechet"] / RECORD["torch-fidelity"]["frechet"] - 1) > 0.01
    assert net.name == "inception-pytorch-fid"


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_lpips_is_the_published_one_and_a_distance_of_features(trunk):
    net = LPIPS(drawn(LPIPSNet(trunk)), f"lpips-{trunk}")
    x, y = sets(COUNT // 2, (WIDE, WIDE))
    np.testing.assert_allclose(net.distance(x, y), RECORD["lpips"][trunk], rtol=1e-3)
    assert net.distance(x, x).max() == 0
