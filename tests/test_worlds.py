"""Worlds with a truth: pictures against the same law written out in full, densities, entropies, least losses."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from unnoise.config import UserError
from unnoise.data import Fields as World
from unnoise.data import Gaussians8
from unnoise.data import Mixture as Points
from unnoise.denoise import exact
from unnoise.denoise.truth import TRUTHS, truth
from unnoise.process import Gaussian, schedules

PROCESSES = {
    "cosine": Gaussian(schedules.Cosine()),
    "karras": Gaussian(schedules.Karras()),
    "flow": Gaussian(schedules.Flow()),
}
on_each = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
COSINE = PROCESSES["cosine"]
INNER = np.array([0.05, 0.3, 0.6, 0.9])


def _written_out(world: World, process: Gaussian = COSINE) -> exact.Mixture:
    """The law of the pictures as a mixture with a dense covariance for every component and every shift."""
    K, C, H, W = world.means.shape
    flat = np.eye(H * W).reshape(-1, H, W)
    weights, means, covs, labels = [], [], [], []
    for k in range(K):
        stationary = np.stack(
            [np.fft.ifft2(np.fft.fft2(flat) * world.spectra[k, c]).real.reshape(H * W, H * W) for c in range(C)]
        )  # (C, HW, HW), circulant
        turned = np.einsum("dc,cij,ec->diej", world.axes[k], stationary, world.axes[k]).reshape(C * H * W, -1)
        for s in range(H * W) if world.anywhere else [0]:
            weights.append(world.weights[k])
            means.append(np.roll(world.means[k], divmod(s, W), (1, 2)))
            covs.append((turned + turned.T) / 2)
            labels.append(k)
    return exact.Mixture(process, weights, np.stack(means), np.stack(covs), labels)


SMALL = {
    "anywhere": World(side=4, channels=2, components=3, truth=1),
    "in its place": World(side=5, channels=1, components=2, anywhere=False, decay=1.0),
    "odd": World(side=5, channels=1, components=1, truth=3),
    "one, in its place": World(side=4, channels=3, components=1, anywhere=False),
}
on_worlds = pytest.mark.parametrize("world", SMALL.values(), ids=SMALL.keys())


@on_worlds
@on_each
def test_pictures_in_fourier_space_are_the_mixture_written_out(world, process):
    known, same = truth(world, process), _written_out(world, process)
    x = torch.from_numpy(known.draw(4, 3)) * 0.7 + 0.3 * torch.randn(
        4, *known.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    level = process.level(INNER, x)
    for cond in ({}, {"label": torch.arange(4) % (world.components + 1)}):  # the last is the null
        torch.testing.assert_close(known(x, level, cond).x0, same(x, level, cond).x0, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(known.score(x, level, cond), same.score(x, level, cond), rtol=1e-7, atol=1e-7)
        close = torch.testing.assert_close
        close(known.log_density(x, level, cond), same.log_density(x, level, cond), rtol=1e-9, atol=1e-9)
        one = level.alpha, level.sigma, cond
        close(known._scatter(x, *one), same._scatter(x, *one), rtol=1e-7, atol=1e-9)
    close(known._doubt(x, level.alpha, level.sigma, {}), same._doubt(x, level.alpha, level.sigma, {}))
    clean = process.level(np.zeros(4), x)
    close(known.log_density(x, clean), same.log_density(x, clean), rtol=1e-8, atol=1e-8)


@on_worlds
def test_pictures_have_the_law_they_state(world):
    """Mean, covariance and, on random lines, the whole law of both the world's draws and the truth's own."""
    same, n = _written_out(world), 20_000
    means, axes, values, log_w = same._host
    w = np.exp(log_w)
    covs = np.einsum("kde,ke,kfe->kdf", axes, values, axes)
    assert np.allclose(w @ means, 0, atol=1e-12)
    total = np.einsum("k,kij->ij", w, covs) + np.einsum("k,ki,kj->ij", w, means, means)
    assert np.isclose(np.trace(total) / len(total), 1)
    between = w @ (means**2).mean(1)
    assert np.isclose(between, world.between if world.anywhere or world.components > 1 else 0)
    own, (fresh, which) = world.draw(n, 5), truth(world, COSINE)._draw(n, 5, "test")
    for x, label in ((own.items.reshape(n, -1).astype(np.float64), own.cond["label"]), (fresh, which)):
        expected = world.weights * n
        assert stats.chi2.sf(((np.bincount(label, minlength=len(expected)) - expected) ** 2 / expected).sum(), 5) > 1e-3
        assert np.allclose(np.cov(x.T), total, atol=6 * np.sqrt(2 / n) * np.diag(total).max())
        for line in np.random.default_rng(1).standard_normal((3, x.shape[1])):
            centre, spread = means @ line, np.sqrt(np.einsum("kij,i,j->k", covs, line, line))
            grid = np.linspace((x @ line).min() - 1, (x @ line).max() + 1, 4001)
            cdf = stats.norm.cdf((grid[:, None] - centre) / spread) @ w
            at = np.interp(x @ line, grid, cdf)
            assert stats.kstest(at, "uniform").pvalue > 1e-3


def test_pictures_of_a_longer_draw_begin_with_the_shorter(monkeypatch):
    world = World(side=6, channels=2)
    whole = world.draw(50, 1)
    assert np.array_equal(world.draw(20, 1).items, whole.items[:20])
    monkeypatch.setattr("unnoise.data.fields._CHUNK", 500)  # bounded memory leaves no trace
    assert np.array_equal(world.draw(50, 1).items, whole.items)
    assert not np.array_equal(world.draw(50, 2).items, whole.items)


def test_float32_tells_pictures_as_float64_does():
    """At every noise level that a network is asked: the truth on a device is known to far below any excess."""
    known = truth(World(), PROCESSES["karras"])
    x0 = torch.from_numpy(known.draw(16, 1))
    noise = torch.randn(x0.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for ratio in np.geomspace(0.02, 50, 6):
        x = x0 + ratio * noise
        t = PROCESSES["karras"].schedule.time(np.full(16, -2 * np.log(ratio)))
        fine = known(x, known.process.level(t, x), {}).x0
        coarse = known(x.float(), known.process.level(t, x.float()), {}).x0
        least = float(known.optimal_loss(1.0, float(ratio), n=64).value)
        assert float((fine - coarse).square().mean()) < 1e-6 * least


# Densities, entropies, least losses


def _line(weights, means, deviations, process=COSINE):
    covs = np.square(deviations)[:, None, None]
    return exact.Mixture(process, weights, np.asarray(means)[:, None], covs)


def test_the_entropy_of_a_mixture_is_its_integral_on_a_line_and_in_the_plane():
    weights, means, deviations = np.array([0.2, 0.5, 0.3]), np.array([-1.0, 0.3, 1.2]), np.array([0.3, 0.7, 0.15])
    known = _line(weights, means, deviations)
    grid = np.linspace(-9, 9, 200_001)
    for sigma in (0.0, 0.4, 3.0):
        p = (weights * stats.norm.pdf(grid[:, None], means, np.hypot(deviations, sigma))).sum(1)
        integral = integrate.simpson(-p * np.log(p, where=p > 0, out=np.zeros_like(p)), x=grid)
        found = known.entropy(1.0, sigma)
        if sigma < 3:  # the wide one is cut off by the grid
            assert 0 < found.error < 3e-3
            assert abs(found.value - integral) < 4.5 * found.error
    plane = truth(Gaussians8(noise=0.4), COSINE)
    side = np.linspace(-4, 4, 801)
    points = torch.from_numpy(np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2))
    log_p = plane.log_density(points, COSINE.level(np.zeros(len(points)), points)).numpy().reshape(801, 801)
    integral = integrate.simpson(integrate.simpson(-np.exp(log_p) * log_p, x=side), x=side)
    found = plane.entropy()
    assert abs(found.value - integral) < 4.5 * found.error + 1e-6


def test_the_entropy_is_the_mean_of_minus_log_p_and_known_better():
    for world in (Points(dim=12, components=4, decay=0.3, between=0.1), World(side=8, components=3, between=0.1)):
        known = truth(world, COSINE)
        n = 4000
        x = torch.from_numpy(known.draw(n, 9))
        log_p = known.log_density(x, COSINE.level(np.zeros(n), x)).numpy()
        found = known.entropy(n=4000)
        assert abs(found.value + log_p.mean()) < 4.5 * log_p.std() / np.sqrt(n)
        assert found.error < 0.3 * log_p.std() / np.sqrt(n)
        items = world.draw(n, 2).items.astype(np.float64)  # and the world's own draws have it too
        own = known.log_density(torch.from_numpy(items), COSINE.level(np.zeros(n), x)).numpy()
        assert abs(found.value + own.mean()) < 4.5 * np.hypot(own.std() / np.sqrt(n), found.error)


def test_the_slope_of_the_entropy_is_the_least_loss():
    """dh/d(sigma²) = (d − d·L*/sigma²)/(2·sigma²): two Monte Carlo estimates of different things agree."""
    for world in (Points(dim=6, components=5), World(side=6, components=3)):
        known, d = truth(world, COSINE), truth(world, COSINE).size
        for sigma in (0.3, 1.0):
            step = 0.02 * sigma**2
            sigmas = np.sqrt(sigma**2 + np.array([-step, 0.0, step]))
            h = known.entropy(np.ones(3), sigmas, n=6000)  # the same draws, so the difference is known far better
            loss = known.optimal_loss(1.0, sigma, n=6000)
            expected = (d - d * loss.value / sigma**2) / (2 * sigma**2)
            error = d * loss.error / (2 * sigma**4) + 0.003 * expected
            assert abs((h.value[2] - h.value[0]) / (2 * step) - expected) < 4.5 * error


def test_one_component_has_everything_in_closed_form():
    world = World(side=6, channels=2, components=1, anywhere=False)
    known = truth(world, COSINE)
    spectrum = world.spectra.ravel()
    found = known.entropy()
    assert found.error == 0
    assert float(found.value) == pytest.approx(0.5 * np.log(2 * np.pi * np.e * spectrum).sum())
    loss = known.optimal_loss(0.6, 0.8)
    assert loss.error == 0
    assert float(loss.value) == pytest.approx((spectrum * 0.64 / (0.36 * spectrum + 0.64)).mean())
    cov = np.diag([1.0, 4.0])
    h = exact.Normal(COSINE, np.zeros(2), cov).entropy()
    assert float(h.value) == pytest.approx(stats.multivariate_normal(np.zeros(2), cov).entropy())


def test_what_is_sure_of_its_cause_is_known_exactly():
    """Far apart, the components are told without doubt: no draw is left in the numbers."""
    far = _line([0.5, 0.5], [-100.0, 100.0], [1.0, 1.0])
    h, loss = far.entropy(), far.optimal_loss(1.0, 0.5)
    assert float(h.value) == pytest.approx(0.5 * np.log(2 * np.pi * np.e) + np.log(2), rel=1e-12)
    assert float(loss.value) == pytest.approx(0.25 / 1.25, rel=1e-12)
    assert h.error < 1e-12
    assert loss.error < 1e-12


def test_every_truth_is_of_the_items_that_its_world_draws():
    """The belief of x_0 is the best guess of the world's own items: its error is L*, and no shrinking improves it."""
    worlds = {Points: Points(dim=5, components=3), World: World(side=6, components=2), Gaussians8: Gaussians8()}
    assert worlds.keys() == TRUTHS.keys()
    for world in worlds.values():
        known, n = truth(world, COSINE), 8000
        x0 = torch.from_numpy(world.draw(n, 3).items.astype(np.float64))
        noise = torch.randn(x0.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        level = COSINE.level(np.full(n, 0.4), x0)
        x = COSINE.corrupt(x0, level, noise)
        belief = known(x, level, {}).x0
        off = (belief - x0).square().flatten(1).mean(1).numpy()
        least = known.optimal_loss(float(level.alpha[0]), float(level.sigma[0]))
        assert abs(off.mean() - least.value) < 4.5 * np.hypot(off.std() / np.sqrt(n), least.error)
        slope = ((belief - x0) * belief).flatten(1).mean(1).numpy()  # E(x_0 − D)·D = 0: D is a projection
        assert abs(slope.mean()) < 4.5 * slope.std() / np.sqrt(n)


def test_mistakes_are_told_in_one_sentence():
    ones, axes = np.ones((2, 1, 4, 4)), np.ones((2, 1, 1))
    lopsided = ones.copy()
    lopsided[0, 0, 0, 1] = 2
    for make, says in (
        (lambda: World(side=2), "4 pixels"),
        (lambda: World(channels=0), "1 channel"),
        (lambda: World(between=1.0), "between"),
        (lambda: exact.Fields(COSINE, [1, 0], ones, axes, ones), "positive weights"),
        (lambda: exact.Fields(COSINE, [1, 1], ones, axes, ones[0]), "spectra of shape"),
        (lambda: exact.Fields(COSINE, [1, 1], ones, axes, lopsided), "at f and at -f"),
        (lambda: exact.Fields(COSINE, [1, 1], ones, 2 * axes, ones), "orthogonal"),
        (lambda: exact.Fields(COSINE, [1, 1], ones, axes, 0 * ones).entropy(), "sigma = 0"),
        (lambda: exact.Normal(COSINE, np.zeros(2), 0.0).entropy(), "sigma = 0"),
    ):
        with pytest.raises(UserError, match=says):
            make()
