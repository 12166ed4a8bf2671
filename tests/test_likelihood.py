"""Densities by the flow: against closed forms over every process; bits of whole numbers against a discrete law."""

import numpy as np
import pytest
import torch
from oracles import PROCESSES, Scalar

from unnoise.config import UserError
from unnoise.denoise import exact
from unnoise.loop.adaptive import Adaptive, flow, least_time
from unnoise.metrics.bound import bound
from unnoise.metrics.likelihood import by_flow, dequantised, log_density
from unnoise.modality import Array, Image, Points
from unnoise.process import Gaussian
from unnoise.process.schedules import Cosine, Flow
from unnoise.tensor import Tensor

COSINE = Gaussian(Cosine())


def normal(process: Gaussian, dim: int = 6) -> exact.Normal:
    """A normal law whose axes are no coordinates': signs would tell a diagonal trace without error."""
    draw = np.random.default_rng(0)
    root = draw.standard_normal((dim, dim))
    return exact.Normal(process, draw.standard_normal(dim), root @ root.T / 4 + 0.02 * np.eye(dim))


def blend(process: Gaussian, dim: int = 5) -> exact.Mixture:
    draw = np.random.default_rng(1)
    covs = np.stack([0.1 * np.eye(dim) + 0.3 * np.outer(v, v) for v in draw.standard_normal((3, dim))])
    return exact.Mixture(process, [0.5, 0.3, 0.2], draw.standard_normal((3, dim)), covs)


def known(truth: exact.Normal | exact.Mixture, x: Tensor) -> np.ndarray:
    """log p of where the flow stops: of x_t/alpha at the least time."""
    process, least = truth.process, least_time(truth.process)
    alpha = float(process.schedule.alpha(np.array(least)))
    return truth.log_density(alpha * x, process.level(np.full(len(x), least), x)).numpy() + x[0].numel() * np.log(alpha)


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_normal_laws_to_a_millionth_of_a_nat_a_number(name: str) -> None:
    truth = normal(PROCESSES[name])
    x = torch.from_numpy(truth.draw(4, 3))

    def prior(x: Tensor) -> Tensor:  # a ladder ends at much noise, and its prior leaves out what data there is in it
        return truth.log_density(x, truth.process.level(np.ones(len(x)), x))

    made = log_density(truth, x, how=Adaptive(2e-7), prior=prior)
    assert np.abs(made.nats[:, 0] - known(truth, x)).max() / 6 < 1e-6


@pytest.mark.parametrize("schedule", [Cosine(), Flow()])
def test_mixtures_to_a_ten_thousandth_from_the_very_noise(schedule: Cosine | Flow) -> None:
    truth = blend(Gaussian(schedule))
    x = torch.from_numpy(truth.draw(12, 3))
    made = log_density(truth, x, how=Adaptive(1e-6))
    assert np.abs(made.nats[:, 0] - known(truth, x)).max() / 5 < 1e-5
    single = log_density(truth, x.float(), how=Adaptive(1e-5))
    assert np.abs(single.nats[:, 0] - known(truth, x)).max() / 5 < 1e-4


def test_random_signs_are_right_on_average_and_tell_their_error() -> None:
    truth, probes = normal(COSINE), 40
    x = torch.from_numpy(truth.draw(60, 4))
    made = log_density(truth, x, how=Adaptive(1e-5), probes=probes).nats
    error = made.std(1, ddof=1) / np.sqrt(probes)
    z = (made.mean(1) - known(truth, x)) / error
    assert error.min() > 0.05  # the axes are turned: signs do not tell it all
    assert abs(z.mean()) < 4 / np.sqrt(60)
    assert 0.75 < z.std() < 1.3


def test_the_signs_of_an_item_are_its_own() -> None:
    truth = normal(COSINE)
    x = torch.from_numpy(truth.draw(9, 4))
    whole = log_density(truth, x, probes=2, seeds=range(9)).nats
    part = log_density(truth, x[4:], probes=2, seeds=range(4, 9)).nats
    assert np.abs(whole[4:] - part).max() < 1e-9
    assert np.abs(log_density(truth, x, probes=2, seeds=range(1, 10)).nats - whole).max() > 1e-3


def test_the_density_is_that_of_what_is_drawn() -> None:
    """On a line the flow is monotone: the mass between two points of noise arrives between their ends."""
    truth, near = blend(COSINE, 1), 2e-4
    noise = torch.linspace(-3, 3, 41, dtype=torch.float64)[:, None]
    starts = torch.cat([noise - near, noise, noise + near])
    least = least_time(COSINE)
    low, x, high = (flow(truth, starts, 1.0, least, tolerance=1e-10) / COSINE.schedule.alpha(np.array(least))).chunk(3)
    density = np.exp(log_density(truth, x, how=Adaptive(1e-7)).nats)
    mass = np.exp(-(noise.numpy() ** 2) / 2) / np.sqrt(2 * np.pi) * 2 * near
    assert np.abs(density * (high - low).numpy() / mass - 1).max() < 1e-4


def test_units_of_points_are_accounted() -> None:
    truth = blend(COSINE, 2)
    raw = truth.draw(50, 7)
    plain = by_flow(truth, Points(), raw.astype(np.float32))
    scaled = by_flow(truth, Points(mean=(3.0, -1.0), scale=(10.0, 0.5)), (raw * [10, 0.5] + [3, -1]).astype(np.float32))
    assert plain.unit == "nats a number"
    assert abs(scaled.value - plain.value - (np.log(10) + np.log(0.5)) / 2) < 1e-3
    assert abs(plain.error - plain.nats.std(ddof=1) / 2 / np.sqrt(50)) < 1e-12


def test_pictures_of_a_known_discrete_law() -> None:
    """P over levels 0..4, each pixel alone; dequantised it is steps of width 1, of which the flow knows a mixture."""
    shares = np.array([0.1, 0.4, 0.2, 0.05, 0.25])
    modality = Image(low=0, high=4)
    # Each step is 150 narrow bells: the law of raw + u but for the blur of its edges, a few hundredths of a bit.
    parts = 150
    centres = (np.arange(5)[:, None] + (np.arange(parts) + 0.5) / parts - 0.5) / 2 - 1
    centres = centres.reshape(-1, 1, 1, 1)
    narrow = np.full((5 * parts, 1, 1), (0.5 / parts / 1.2) ** 2)
    truth = exact.Mixture(COSINE, np.repeat(shares, parts), centres, narrow)
    raw = np.repeat(np.arange(5), 30).reshape(-1, 1, 1, 1).astype(np.uint8)
    told = by_flow(truth, modality, raw, draws=2)
    assert told.unit == "bits a number"
    bits = told.nats.mean(1).reshape(5, 30).mean(1) / np.log(2)
    assert np.abs(bits + np.log2(shares)).max() < 0.04
    assert abs(told.value - bits.mean()) < 1e-9


def test_whole_numbers_are_spread_over_their_cells() -> None:
    draw = np.random.default_rng(0)
    raw = np.array([[[[0, 16], [3, 9]]]], dtype=np.uint8)
    x = torch.cat([dequantised(Image(high=16), raw, draw) for _ in range(2000)])
    found = (x.numpy().astype(float) + 1) * 8 - raw
    assert found.min() < -0.49
    assert found.max() > 0.49
    assert abs(found.var() - 1 / 12) < 3e-3
    counts = Array(dtype="int32", scale=2.0)
    assert counts.whole
    apart = (2 * dequantised(counts, raw.astype(np.int32), draw) - torch.from_numpy(raw)).abs()
    assert 0 < float(apart.min()) < float(apart.max()) <= 0.5
    assert Points().whole is False


def test_own_error_shrinks_with_probes_and_draws() -> None:
    dim = 20
    truth = normal(COSINE, dim)
    raw = truth.draw(30, 1).astype(np.float32)
    few, many = (by_flow(truth, Points(), raw, probes=k, seed=1) for k in (2, 16))
    assert few.probes == 2
    assert few.own_error is not None
    assert many.own_error is not None
    assert 1.8 < few.own_error / many.own_error < 4.5  # sqrt(8)
    exactly = by_flow(truth, Points(), raw, exact=dim)
    assert exactly.own_error is None
    assert abs(few.value - exactly.value) < 4 * few.own_error
    assert abs(many.value - exactly.value) < 4 * many.own_error


def test_the_gap_to_the_truth_is_known_far_better_than_the_likelihood() -> None:
    truth = blend(COSINE, 2)
    raw = truth.draw(256, 9).astype(np.float32)
    told = by_flow(truth, Points(), raw, truth=truth)
    assert told.gap is not None
    assert abs(told.gap[0]) < 1e-3
    assert told.gap[1] < 0.05 * told.error
    wrong = by_flow(exact.Normal(COSINE, np.zeros(2), np.eye(2)), Points(), raw, truth=truth)
    assert wrong.gap is not None
    assert wrong.gap[0] > 0.05
    assert abs(told.value - float(truth.entropy().value) / 2) < 4 * told.error


def test_what_it_refuses() -> None:
    truth = normal(COSINE)
    x = torch.from_numpy(truth.draw(3, 3))
    with pytest.raises(UserError, match="probes are counted"):
        log_density(truth, x, probes=-1)
    bound = Gaussian(Cosine(), lambda x, cond: x - x.mean(1, keepdim=True))
    with pytest.raises(UserError, match="fill no volume"):
        log_density(Scalar(bound), x)
    with pytest.raises(UserError, match="takes items"):
        by_flow(truth, Points(), np.zeros((0, 6), np.float32))


def test_a_fine_chain_bounds_what_the_flow_tells() -> None:
    """At beta's variance the last step is right for data that are smooth there, in chains of any length."""
    truth = blend(COSINE, 3)
    raw = truth.draw(500, 2).astype(np.float32)
    exactly = by_flow(truth, Points(), raw, how=Adaptive(1e-3)).value
    for steps in (300, 3000):
        told = bound(truth, Points(), raw, steps=steps, variance="beta", asked=40).likelihood
        error = 4 * told.error
        assert -error < told.value - exactly < error + 15 / steps
