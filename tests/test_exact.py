"""Closed-form denoisers against quadrature, Bayes' rule, each other and the flow's own differential equation."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from unnoise.config import UserError
from unnoise.denoise import Denoiser
from unnoise.denoise.exact import Empirical, Mixture, Normal
from unnoise.process import Gaussian, schedules

PROCESSES = {
    "cosine": Gaussian(schedules.Cosine()),
    "karras": Gaussian(schedules.Karras()),
    "flow": Gaussian(schedules.Flow()),
    "linear chain": Gaussian(schedules.Discrete(schedules.Linear())),
}
on_each = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
COSINE = PROCESSES["cosine"]
INNER = np.array([0.05, 0.3, 0.6, 0.9])


def _cov(d, seed=0, rank=None):
    """A rotated covariance with eigenvalues over two decades; of lower rank where asked."""
    g = np.random.default_rng(seed)
    q, _ = np.linalg.qr(g.standard_normal((d, d)))
    values = np.geomspace(4.0, 0.04, d)
    values[rank if rank is not None else d :] = 0
    return (q * values) @ q.T


def _mixture(process=COSINE, shape=(2,), K=3, labels=None, seed=0):
    g, d = np.random.default_rng(seed), int(np.prod(shape))
    covs = np.stack([_cov(d, seed + k) * 0.3 for k in range(K)])
    return Mixture(process, g.uniform(0.5, 2, K), g.standard_normal((K, *shape)) * 1.5, covs, labels)


def _points(n, shape=(2,), seed=1, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, *shape)) * 1.5).to(dtype)


def _log_normal(x, mean, cov):
    return stats.multivariate_normal(mean, cov, allow_singular=False).logpdf(x)


# Against quadrature and Bayes' rule


@on_each
def test_a_mixtures_posterior_mean_is_bayes_integral(process):
    """E[x_0 | x_t = x] by quadrature over x_0 on the line, and p(x_t = x) with it."""
    weights, means, deviations = np.array([0.2, 0.5, 0.3]), np.array([-2.0, 0.3, 1.7]), np.array([0.3, 0.7, 0.15])
    truth = Mixture(process, weights, means[:, None], deviations[:, None, None] ** 2)
    x = torch.tensor([[-1.3], [0.1], [0.9], [2.2]], dtype=torch.float64)
    level = process.level(INNER, x)
    believed, log_p, score = truth(x, level, {}).x0, truth.log_density(x, level), truth.score(x, level)
    for i, t in enumerate(INNER):
        alpha, sigma = (float(f(np.array(t))) for f in (process.schedule.alpha, process.schedule.sigma))
        grid = np.linspace(-6, 6, 400_001)
        prior = (weights * stats.norm.pdf(grid[:, None], means, deviations)).sum(1)
        joint = prior * stats.norm.pdf(float(x[i]), alpha * grid, sigma)
        evidence = integrate.simpson(joint, x=grid)
        assert float(believed[i]) == pytest.approx(integrate.simpson(joint * grid, x=grid) / evidence, rel=1e-9)
        assert float(log_p[i]) == pytest.approx(np.log(evidence), rel=1e-9)
        slope = integrate.simpson(joint * (alpha * grid - float(x[i])) / sigma**2, x=grid) / evidence
        assert float(score[i]) == pytest.approx(slope, rel=1e-9)


def test_the_posterior_mean_is_the_mean_of_draws_that_agree():
    """Importance weights over 4·10^5 draws of x_0: no formula shared but the likelihood."""
    truth = _mixture(shape=(2, 2))
    x = torch.from_numpy(truth.draw(3, 5)) * 0.6
    level = COSINE.level(np.array([0.6, 0.7, 0.85]), x)
    x0 = truth.draw(400_000, 6).reshape(-1, 4)
    for i, believed in enumerate(truth(x, level, {}).x0):
        alpha, sigma = float(level.alpha[i]), float(level.sigma[i])
        log_w = -0.5 * ((x[i].reshape(-1).numpy() - alpha * x0) ** 2).sum(1) / sigma**2
        w = np.exp(log_w - log_w.max())
        w /= w.sum()
        mean = w @ x0
        error = np.sqrt((w**2) @ (x0 - mean) ** 2)
        assert (np.abs(believed.reshape(-1).numpy() - mean) < 4.5 * error).all()
        assert error.max() < 0.03


def test_draws_have_the_law():
    cov, mean = _cov(4), np.array([[1.0, -2.0], [0.5, 0.0]])
    truth, n = Normal(COSINE, mean, cov), 100_000
    x = truth.draw(n, 3)
    assert x.shape == (n, 2, 2)
    flat = x.reshape(n, 4)
    deviation = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / n)
    assert (np.abs(flat.mean(0) - mean.reshape(-1)) < 4.5 * np.sqrt(np.diag(cov) / n)).all()
    assert (np.abs(np.cov(flat.T) - cov) < 4.5 * deviation).all()
    np.testing.assert_array_equal(x, truth.draw(n, 3))
    assert not np.array_equal(x, truth.draw(n, 4))
    mixed = _mixture(shape=(1,), K=2)
    weights, means, covs = np.exp(mixed._host[3]), mixed._host[0][:, 0], mixed._host[2][:, 0]

    def cdf(v):
        return (weights * stats.norm.cdf(np.asarray(v)[:, None], means, np.sqrt(covs))).sum(1)

    assert stats.kstest(mixed.draw(20_000, 1)[:, 0], cdf).pvalue > 1e-3


# Against each other


@on_each
def test_a_mixture_of_one_or_of_equals_is_a_normal(process):
    cov, mean = _cov(6), np.arange(6.0).reshape(2, 3) / 3
    normal = Normal(process, mean, cov)
    x = _points(4, (2, 3))
    level = process.level(INNER, x)
    for truth in (
        Mixture(process, [2.0], mean[None], cov[None]),
        Mixture(process, [1.0, 3.0], np.stack([mean] * 2), np.stack([cov] * 2)),
    ):
        torch.testing.assert_close(truth(x, level, {}).x0, normal(x, level, {}).x0, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(truth.score(x, level), normal.score(x, level), rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(truth.log_density(x, level), normal.log_density(x, level), rtol=1e-12, atol=1e-12)


@on_each
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_a_finite_set_is_a_mixture_without_variance(process, chunk):
    items = np.random.default_rng(2).standard_normal((30, 2, 2))
    labels = np.arange(30) % 3
    truth = Empirical(process, items, labels, chunk=chunk)
    same = Mixture(process, np.ones(30), items, np.zeros((30, 4, 4)), labels)
    x = _points(6, (2, 2))
    t = np.array([0.01, 0.2, 0.5, 0.8, 0.97, 0.6])
    level = process.level(t, x)
    for cond in ({}, {"label": torch.tensor([0, 1, 2, 3, 0, 3])}):
        torch.testing.assert_close(truth(x, level, cond).x0, same(x, level, cond).x0, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(truth.score(x, level, cond), same.score(x, level, cond), rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(
            truth.log_density(x, level, cond), same.log_density(x, level, cond), rtol=1e-11, atol=1e-11
        )


def test_a_label_is_the_truth_of_its_class_alone():
    labels = [0, 1, 0]
    truth = _mixture(labels=labels)
    means, axes, values, log_w = truth._host
    covs = (axes * values[:, None]) @ axes.transpose(0, 2, 1)
    own = Mixture(COSINE, np.exp(log_w)[[0, 2]], means[[0, 2]], covs[[0, 2]])
    x = _points(4)
    level = COSINE.level(INNER, x)
    zero, null = (torch.full((4,), k) for k in (0, truth.classes))
    torch.testing.assert_close(truth(x, level, {"label": zero}).x0, own(x, level, {}).x0)
    torch.testing.assert_close(truth.log_density(x, level, {"label": zero}), own.log_density(x, level))
    assert torch.equal(truth(x, level, {"label": null}).x0, truth(x, level, {}).x0)
    assert torch.equal(truth.log_density(x, level, {"label": null}), truth.log_density(x, level))


@on_each
def test_beliefs_are_scores_by_tweedie(process):
    """D = (x + sigma²·grad log p(x))/alpha, the gradient by autograd  (Robbins, 1956; Efron, 2011)."""
    items = np.random.default_rng(2).standard_normal((20, 3))
    for truth in (Normal(process, np.ones(3), _cov(3)), _mixture(process, (3,)), Empirical(process, items, chunk=6)):
        x = _points(4, (3,)).requires_grad_()
        level = process.level(np.array([0.1, 0.3, 0.6, 0.9]), x)
        (gradient,) = torch.autograd.grad(truth.log_density(x, level).sum(), x)
        alpha, variance = level.alpha[:, None], level.sigma.square()[:, None]
        torch.testing.assert_close(truth(x, level, {}).x0, (x + variance * gradient) / alpha, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(truth.score(x, level), gradient, rtol=1e-9, atol=1e-9)
        assert torch.autograd.gradcheck(lambda v: truth(v, level, {}).x0, x)  # noqa: B023


# Ends


def test_without_noise_x_is_all_there_is_to_say():
    """At sigma = 0, D = x/alpha; and so near it, as sigma → 0."""
    x = _points(3, (2, 2))
    for truth in (Normal(COSINE, np.ones((2, 2)), _cov(4)), _mixture(shape=(2, 2))):
        clean = COSINE.level(np.zeros(3), x)
        torch.testing.assert_close(truth(x, clean, {}).x0, x, rtol=1e-13, atol=1e-13)
        near = COSINE.level(np.full(3, 1e-7), x)
        torch.testing.assert_close(truth(x, near, {}).x0, x, rtol=1e-4, atol=1e-4)
        assert torch.isfinite(truth.score(x, clean)).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_without_signal_the_mean_is_all_that_is_known(dtype):
    x = _points(3, (2,), dtype=dtype) * 3
    end = COSINE.level(np.ones(3), x)
    items = np.random.default_rng(2).standard_normal((50, 2))
    mixture = _mixture()
    means, weights = mixture._host[0], np.exp(mixture._host[3])
    for truth, mean in (
        (Normal(COSINE, [1.0, 2.0], _cov(2)), [1.0, 2.0]),
        (mixture, weights @ means),
        (Empirical(COSINE, items, chunk=8), items.mean(0)),
    ):
        expected = torch.as_tensor(np.asarray(mean)).to(dtype).expand(3, 2)
        torch.testing.assert_close(truth(x, end, {}).x0, expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(truth.score(x, end), -x)
        unit = torch.from_numpy(stats.norm.logpdf(x.double().numpy()).sum(1)).to(dtype)
        torch.testing.assert_close(truth.log_density(x, end), unit, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_finite_set_without_noise_is_its_nearest_item(dtype):
    items = np.random.default_rng(2).standard_normal((50, 3))
    truth = Empirical(COSINE, items, np.arange(50) % 2, chunk=8)
    x = torch.from_numpy(items[[4, 9]] + 0.01).to(dtype)
    level = COSINE.level(np.zeros(2), x)
    torch.testing.assert_close(truth(x, level, {}).x0, torch.from_numpy(items[[4, 9]]).to(dtype))
    other = truth(x, level, {"label": torch.tensor([1, 1])}).x0
    torch.testing.assert_close(other[1], torch.from_numpy(items[9]).to(dtype))
    nearest = items[1::2][((items[1::2] - x[0].double().numpy()) ** 2).sum(1).argmin()]
    torch.testing.assert_close(other[0], torch.from_numpy(nearest).to(dtype))


def test_single_precision_believes_the_same():
    """Also where sigma is small: distances are not differences of large squares."""
    items = np.random.default_rng(2).standard_normal((400, 64)) + 3
    items[200:] = items[:200] + 0.001 * items[:200][::-1]  # near twins
    process = PROCESSES["karras"]
    noise = torch.from_numpy(np.random.default_rng(3).standard_normal((4, 64)))
    level = process.level(process.schedule.time(-2 * np.log(np.array([0.002, 0.01, 1.0, 5.0]))), noise)
    single = process.level(level.times, noise.float())
    for truth in (Empirical(process, items, chunk=64), _mixture(process, (64,), K=2)):
        x = process.corrupt(torch.from_numpy(truth.draw(4, 8)), level, noise)
        exact, heard = truth(x, level, {}).x0, truth(x.float(), single, {}).x0
        assert heard.dtype == torch.float32
        torch.testing.assert_close(heard, exact.float(), rtol=1e-5, atol=1e-5)


def test_a_singular_covariance_stands_where_there_is_noise():
    process, x = PROCESSES["flow"], _points(4, (4,))
    flat, full = (Normal(process, np.ones(4), _cov(4, rank=2) + ridge * np.eye(4)) for ridge in (0.0, 1e-13))
    level = process.level(INNER, x)
    torch.testing.assert_close(flat(x, level, {}).x0, full(x, level, {}).x0, rtol=1e-9, atol=1e-9)
    clean = process.level(np.zeros(4), x)
    projected = flat(x, clean, {}).x0
    torch.testing.assert_close(flat(projected, clean, {}).x0, projected)  # on the support it is x
    two = Mixture(process, [1, 1], np.zeros((2, 4)), np.stack([_cov(4, rank=2)] * 2))
    assert torch.isfinite(two(x, level, {}).x0).all()
    for ask in (two, flat.score, flat.log_density, Empirical(process, np.ones((2, 4))).log_density):
        with pytest.raises(UserError, match="at sigma = 0"):
            ask(x, clean, {})
    with pytest.raises(UserError, match="start at t > 0"):
        flat.flow(x, 0.0, 0.5)


# The flow


def _right_hand_side(process, denoise):
    """The probability flow: dx/dt = alpha'·D + sigma'·(x − alpha·D)/sigma, the rates by differences."""
    schedule, h = process.schedule, 1e-6

    def f(t, y):
        x = torch.from_numpy(y.reshape(1, -1))
        level = process.level(np.array([t]), x)
        alpha, sigma = float(level.alpha), float(level.sigma)

        def rate(g):  # fourth order
            a, b, c, d = g(np.array([t - 2 * h, t - h, t + h, t + 2 * h]))
            return (8 * (c - b) - (d - a)) / (12 * h)

        believed = denoise(x, level).numpy().reshape(-1)
        return rate(schedule.alpha) * believed + rate(schedule.sigma) * (y - alpha * believed) / sigma

    return f


def _walk(process, denoise, x, t, s):
    made = integrate.solve_ivp(_right_hand_side(process, denoise), (t, s), x, "DOP853", rtol=1e-11, atol=1e-12)
    return made.y[:, -1]


@pytest.mark.parametrize("name", ["cosine", "karras", "flow"])
def test_the_flow_map_solves_the_flows_equation(name):
    process = PROCESSES[name]
    truth = Normal(process, [1.0, -0.5, 0.2], _cov(3))
    x = np.array([1.3, -0.7, 2.0]) * float(process.schedule.sigma(np.array(0.9)))
    for t, s in ((0.9, 0.2), (0.3, 0.8)):
        walked = _walk(process, lambda v, level: truth(v, level, {}).x0, x, t, s)
        mapped = truth.flow(torch.from_numpy(x[None]), t, s)[0].numpy()
        np.testing.assert_allclose(mapped, walked, rtol=1e-8, atol=1e-9 * np.abs(x).max())


@on_each
def test_the_flow_map_composes_and_carries_the_law(process):
    truth = Normal(process, np.ones((2, 2)), _cov(4))
    x = _points(3, (2, 2))
    there = truth.flow(truth.flow(x, 1.0, 0.4), 0.4, 0.1)
    torch.testing.assert_close(there, truth.flow(x, 1.0, 0.1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(truth.flow(there, 0.1, 1.0), x, rtol=1e-11, atol=1e-11)
    assert torch.equal(truth.flow(x, 0.3, 0.3), truth.flow(x, 0.3, 0.3))
    # x_1 ~ N(alpha·mu, C_1) is carried to the data at t = 0: the map's matrix M has M·C_1·Mᵀ = Sigma
    alpha, sigma = (float(f(np.array(1.0))) for f in (process.schedule.alpha, process.schedule.sigma))
    zero = truth.flow(torch.zeros(1, 2, 2, dtype=torch.float64), 1.0, 0.0)
    matrix = (truth.flow(torch.eye(4, dtype=torch.float64).reshape(4, 2, 2), 1.0, 0.0) - zero).reshape(4, 4).T.numpy()
    np.testing.assert_allclose(matrix @ (alpha**2 * _cov(4) + sigma**2 * np.eye(4)) @ matrix.T, _cov(4), atol=1e-9)
    assert truth.flow(x.float(), 0.9, 0.1).dtype == torch.float32


def guided_flow(process, conditional, plain, weight, x, t, s):
    """Where guidance w·D_c + (1 − w)·D_u of two centred Normals with shared axes carries x from t to s.

    Along each axis d log z/d tau = tau·(w/(v_c + tau²) + (1 − w)/(v_u + tau²)) with z = x/alpha, tau = sigma/alpha:
    z_s/z_t = (c_s/c_t)^{w/2} of the one times (c_s/c_t)^{(1−w)/2} of the other.
    """
    schedule, axes = process.schedule, conditional._host[1][0]
    v_c = conditional._host[2][0]
    v_u = np.diag(axes.T @ (plain._host[1][0] * plain._host[2][0]) @ plain._host[1][0].T @ axes)
    alpha, sigma = schedule.alpha(np.array([t, s])), schedule.sigma(np.array([t, s]))
    tau2 = (sigma / alpha) ** 2
    grown = [((v + tau2[1]) / (v + tau2[0])) for v in (v_c, v_u)]
    factor = grown[0] ** (weight / 2) * grown[1] ** ((1 - weight) / 2) * alpha[1] / alpha[0]
    return ((x @ axes) * factor) @ axes.T


@pytest.mark.parametrize("weight", [0.0, 1.0, 3.0])
def test_guidance_between_normals_stays_linear_and_known(weight):
    process, cov = COSINE, _cov(3)
    conditional = Normal(process, np.zeros(3), cov)
    plain = Normal(process, np.zeros(3), cov @ cov + 0.5 * cov)  # commutes
    x, t, s = np.array([0.4, -1.1, 0.8]), 0.9, 0.1

    def guided(v, level):
        return weight * conditional(v, level, {}).x0 + (1 - weight) * plain(v, level, {}).x0

    walked = _walk(process, guided, x, t, s)
    np.testing.assert_allclose(guided_flow(process, conditional, plain, weight, x, t, s), walked, rtol=1e-7, atol=1e-8)
    if weight == 1:
        np.testing.assert_allclose(conditional.flow(torch.from_numpy(x[None]), t, s)[0], walked, rtol=1e-8, atol=1e-9)


# The optimal loss


@on_each
def test_the_optimal_loss_of_a_normal_is_its_formula_and_its_draws(process):
    cov, d = _cov(3), 3
    truth = Normal(process, np.ones(3), cov)
    schedule = process.schedule
    alpha, sigma = schedule.alpha(INNER), schedule.sigma(INNER)
    found = truth.optimal_loss(alpha, sigma)
    assert (found.error == 0).all()
    x0 = torch.from_numpy(truth.draw(40_000, 2))
    noise = torch.from_numpy(np.random.default_rng(9).standard_normal(x0.shape))
    for i, t in enumerate(INNER):
        C = alpha[i] ** 2 * cov + sigma[i] ** 2 * np.eye(d)
        formula = np.trace(cov - alpha[i] ** 2 * cov @ np.linalg.solve(C, cov)) / d
        assert found.value[i] == pytest.approx(formula, rel=1e-6)
        level = process.level(np.full(len(x0), t), x0)
        off = (truth(process.corrupt(x0, level, noise), level, {}).x0 - x0).square().mean(1)
        assert abs(float(off.mean()) - formula) < 4.5 * float(off.std()) / 200
    assert truth.optimal_loss(1.0, 0.0).value == 0
    assert truth.optimal_loss(0.0, 1.0).value == pytest.approx(np.trace(cov) / d)


def test_the_optimal_loss_of_mixtures_and_sets_is_the_loss_of_their_beliefs():
    """The mean of exact posterior variances equals the mean squared error of the belief, within errors."""
    items = np.random.default_rng(2).standard_normal((40, 2))
    alpha, sigma = COSINE.schedule.alpha(INNER), COSINE.schedule.sigma(INNER)
    for truth in (_mixture(labels=[0, 1, 0]), Empirical(COSINE, items, np.arange(40) % 2)):
        for labelled in (False, True):
            found = truth.optimal_loss(alpha, sigma, labelled=labelled, n=4000)
            x0, which = truth._draw(20_000, 11, "test")
            cond = {"label": torch.from_numpy(truth.labels[which])} if labelled else {}
            noise = np.random.default_rng(9).standard_normal(x0.shape)
            for i, t in enumerate(INNER):
                x = torch.from_numpy(alpha[i] * x0 + sigma[i] * noise)
                level = COSINE.level(np.full(len(x0), t), x)
                off = (truth(x, level, cond).x0.numpy() - x0) ** 2
                off = off.mean(1)
                error = np.hypot(off.std() / np.sqrt(len(off)), found.error[i])
                assert abs(off.mean() - found.value[i]) < 4.5 * error + 1e-12
        free, told = (truth.optimal_loss(0.5, 0.8, labelled=flag).value for flag in (False, True))
        assert told < free  # a label never harms
        again = truth.optimal_loss(0.5, 0.8)
        assert again == truth.optimal_loss(0.5, 0.8)
        assert again.value != truth.optimal_loss(0.5, 0.8, seed=1).value


def test_a_mixture_of_one_has_the_optimal_loss_of_a_normal():
    cov = _cov(3)
    one = Mixture(COSINE, [1.0], np.zeros((1, 3)), cov[None]).optimal_loss(0.6, 0.8)
    assert float(one.value) == pytest.approx(float(Normal(COSINE, np.zeros(3), cov).optimal_loss(0.6, 0.8).value))
    assert float(one.error) < 1e-15


def test_memory_is_bounded_without_a_trace(monkeypatch):
    truth = _mixture()
    whole = truth.optimal_loss(0.6, 0.8, n=500)
    monkeypatch.setattr("unnoise.denoise.closed.HELD", 100)
    np.testing.assert_allclose(truth.optimal_loss(0.6, 0.8, n=500), whole, rtol=1e-12)


# Citizens of the library


def test_closed_forms_are_denoisers_and_refuse_what_is_none():
    truth: Denoiser = Normal(COSINE, np.zeros((1, 2)), 2.0)
    x = _points(2, (1, 2))
    assert truth.process is COSINE
    assert truth(x, COSINE.level(np.array([0.5, 0.6]), x), {}).v is None
    spread = Normal(COSINE, np.zeros((1, 2)), [[2.0, 3.0]])
    same = Normal(COSINE, np.zeros((1, 2)), np.diag([2.0, 3.0]))
    np.testing.assert_allclose(spread.draw(3, 1), same.draw(3, 1))
    for make, says in (
        (lambda: truth(_points(2, (2, 1)), COSINE.level(np.array([0.5, 0.6]), x), {}), r"shape \(1, 2\)"),
        (lambda: Normal(COSINE, np.zeros(2), [[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
        (lambda: Normal(COSINE, np.zeros(2), [[1.0, 2.0], [2.0, 1.0]]), "negative eigenvalue"),
        (lambda: Normal(COSINE, np.zeros(3), np.eye(2)), "covariances of shape"),
        (lambda: Mixture(COSINE, [1.0, 0.0], np.zeros((2, 2)), np.stack([np.eye(2)] * 2)), "positive weights"),
        (lambda: _mixture(labels=[0, 2, 0]), "without a gap"),
        (lambda: _mixture(labels=[0, 1]), "3 labels"),
        (lambda: Empirical(COSINE, np.zeros((0, 2))), "at least one item"),
    ):
        with pytest.raises(UserError, match=says):
            make()
