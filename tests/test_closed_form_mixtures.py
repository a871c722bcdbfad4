import itertools

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.mixture import GaussianMixture

import skvae._closed_form._mixtures as mixtures
from skvae._closed_form._mixtures import (
    Clusters,
    _find_dense,
    fit_clusters,
    fit_columns,
    iterate_em,
)
from skvae.datasets import make_clusters


def make_shared(n_samples=600, seed=0):
    """Return rows of clusters with one diagonal covariance, and their truth."""
    generator = np.random.default_rng(seed)
    truth = Clusters(
        np.array([0.5, 0.3, 0.2]),
        4 * generator.standard_normal((3, 4)),
        np.array([0.3, 1.0, 0.5, 2.0]),
    )
    labels = generator.choice(3, n_samples, p=truth.weights)
    noise = generator.standard_normal((n_samples, 4))
    return truth.means[labels] + np.sqrt(truth.noise) * noise, labels, truth


def test_density_is_that_of_scipy():
    x, _, truth = make_shared(20)
    parts = norm.logpdf(x[:, None], truth.means, np.sqrt(truth.noise)).sum(axis=-1)
    expected = logsumexp(np.log(truth.weights) + parts, axis=1)
    np.testing.assert_allclose(truth.score_samples(x), expected, rtol=1e-12)
    share, _ = truth.share(x)
    joint = np.exp(np.log(truth.weights) + parts - expected[:, None])
    np.testing.assert_allclose(share, joint, atol=1e-12)


def test_log_odds_are_linear_in_x():
    x, _, truth = make_shared(20)
    weight, bias = truth.posterior(np.full(4, 0.7))
    logits = (x - 0.7) @ weight + bias
    share = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
    np.testing.assert_allclose(share, truth.share(x)[0], atol=1e-12)


def test_fit_finds_what_the_rows_were_drawn_from():
    x, _, truth = make_shared(2000)
    found = fit_clusters(x, None, 3, seed=0)
    fresh, *_ = make_shared(2000, seed=0)
    # 17 parameters cost half a nat each over all rows
    assert found.score_samples(fresh).mean() > truth.score_samples(fresh).mean() - 0.01


def test_integer_weights_are_repeated_rows():
    x, *_ = make_shared(300)
    times = np.random.default_rng(0).integers(1, 4, len(x))
    start = fit_clusters(x, None, 3, seed=0)
    weighted = fit_clusters(x, times.astype(float), 3, seed=0, init=start)
    repeated = fit_clusters(np.repeat(x, times, axis=0), None, 3, seed=0, init=start)
    # but for the one row of prior evidence, which counts in rows
    np.testing.assert_allclose(weighted.means, repeated.means, atol=0.02)
    np.testing.assert_allclose(weighted.noise, repeated.noise, rtol=0.02)


def test_known_and_shared_variances_are_kept():
    x, *_ = make_shared(300)
    assert (fit_clusters(x, None, 3, seed=0, noise=0.7).noise == 0.7).all()
    noise = fit_clusters(x, None, 3, seed=0, is_isotropic=True).noise
    assert len(np.unique(noise)) == 1


@pytest.mark.parametrize("n_samples", [2, 3, 10])
def test_fewer_rows_than_clusters_leave_a_proper_density(n_samples):
    x, *_ = make_shared(n_samples)
    found = fit_clusters(x, None, 20, seed=0)
    assert np.isfinite(found.score_samples(x)).all()
    assert (found.noise > 0).all()
    assert (found.weights > 0).all()
    assert found.weights.sum() == pytest.approx(1)


def test_equal_rows_leave_a_proper_density():
    found = fit_clusters(np.ones((50, 3)), None, 4, seed=0)
    assert np.isfinite(found.score_samples(np.ones((2, 3)))).all()


def test_generator_of_clusters_knows_its_density():
    X, labels, log_density = make_clusters(4000, n_features=1, random_state=0)
    grid = np.linspace(-15, 15, 4001)
    counts, edges = np.histogram(X[:, 0], bins=40)
    assert set(labels) == set(range(5))
    # the density of a row is what a histogram shows there
    order = np.argsort(X[:, 0])
    density = np.interp(grid, X[order, 0], np.exp(log_density[order]), left=0, right=0)
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=0.02)
    share = counts / len(X)
    expected = [
        np.trapezoid(density[inside], grid[inside])
        for a, b in itertools.pairwise(edges)
        for inside in [(grid >= a) & (grid <= b)]
    ]
    np.testing.assert_allclose(share, expected, atol=0.03)


# the loop of EM -----------------------------------------------------------------------


def make_steps(x, axis=-1):
    """Return M-step and E-step of a mixture of normals with diagonal covariances."""

    def maximize(share):
        share = np.moveaxis(share, axis, -1)
        size = share.sum(axis=0)
        means = share.T @ x / size[:, None]
        variance = share.T @ x**2 / size[:, None] - means**2
        return size / len(x), means, variance

    def score_joint(model):
        weights, means, variance = model
        parts = norm.logpdf(x[:, None], means, np.sqrt(variance)).sum(axis=-1)
        return np.moveaxis(parts + np.log(weights), -1, axis)

    return maximize, score_joint


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("n_steps", [1, 7])
def test_em_is_that_of_scikit_learn(n_steps, axis):
    x, *_ = make_shared(400)
    share = np.random.default_rng(0).dirichlet(np.ones(3), len(x))
    maximize, score_joint = make_steps(x, axis)
    model, found, score = iterate_em(
        np.moveaxis(share, -1, axis), maximize, score_joint, n_steps, axis=axis, tol=0.0
    )
    weights, means, variance = maximize(np.moveaxis(share, -1, axis))
    other = GaussianMixture(
        3,
        covariance_type="diag",
        reg_covar=0.0,
        tol=0.0,
        max_iter=n_steps,
        weights_init=weights,
        means_init=means,
        precisions_init=1 / variance,
    ).fit(x)
    # it takes the E-step first: one M-step more
    model = maximize(found)
    np.testing.assert_allclose(model[0], other.weights_, rtol=1e-9)
    np.testing.assert_allclose(model[1], other.means_, rtol=1e-9)
    np.testing.assert_allclose(model[2], other.covariances_, rtol=1e-8)
    np.testing.assert_allclose(score, other.lower_bound_, rtol=1e-9)


def test_em_stops_where_it_gains_or_changes_little():
    x, *_ = make_shared(400)
    start = np.random.default_rng(0).dirichlet(np.ones(3), len(x))
    maximize, score_joint = make_steps(x)
    scores, shares = [], [start]
    for n_steps in range(1, 60):
        _, share, score = iterate_em(start, maximize, score_joint, n_steps, tol=-np.inf)
        scores.append(score)
        shares.append(share)
    # EM never falls
    assert (np.diff(scores) > -1e-12).all()
    *_, score = iterate_em(start, maximize, score_joint, 60, tol=1e-3)
    assert score == scores[np.flatnonzero(np.diff(scores) < 1e-3)[0] + 1]
    _, share, _ = iterate_em(start, maximize, score_joint, 60, share_tol=1e-2)
    change = np.abs(np.diff(shares, axis=0)).max(axis=(1, 2))
    expected = shares[np.flatnonzero(change < 1e-2)[0] + 1]
    np.testing.assert_array_equal(share, expected)


# mixtures of columns ------------------------------------------------------------------


def draw_columns(n_samples=500):
    generator = np.random.default_rng(0)
    sign = generator.choice([-1.0, 1.0], n_samples)
    bimodal = 3 * sign + 0.3 * generator.standard_normal(n_samples)
    return np.column_stack([bimodal, generator.standard_t(3, (n_samples, 2))])


def score_columns(x, log_weights, loc, log_scale):
    """Return the mean of log p(x) by column."""
    joint = log_weights + norm.logpdf(x[:, None], loc, np.exp(log_scale))
    return logsumexp(joint, axis=1).mean(axis=0)


def test_mixtures_of_columns_find_modes_and_widths():
    x = draw_columns()
    log_weights, loc, log_scale, _ = fit_columns(x, 3, np.full(3, -3.0), 0.05, x, 2)
    np.testing.assert_allclose(np.exp(log_weights).sum(axis=0), 1)
    np.testing.assert_allclose(np.sort(loc[:2, 0]), [-3, 3], atol=0.05)
    np.testing.assert_allclose(np.exp(log_scale[:2, 0]), 0.3, atol=0.05)
    assert (score_columns(x, log_weights, loc, log_scale) > norm.logpdf(x).mean()).all()


def test_last_component_of_columns_is_the_linear_model_or_wider():
    x = draw_columns()
    least = np.array([-1.0, -0.5, 0.3])
    log_weights, loc, log_scale, _ = fit_columns(0.01 * x, 4, least, 0.05, x, 2)
    np.testing.assert_array_equal(loc[-1], 0)
    assert (log_scale[-1] >= 0).all()
    assert (log_scale[:-1] >= least).all()
    # 5 % of the rows beforehand, which are fewer of all rows and these
    assert (log_weights[-1] > np.log(0.05 / 1.06)).all()


@pytest.mark.parametrize("n_samples", [1, 2, 300])
def test_mixtures_of_columns_do_not_know_of_one_another(n_samples, monkeypatch):
    x = draw_columns()[:n_samples]
    expected = fit_columns(x, 3, np.full(3, -3.0), 0.05, x, 2)
    monkeypatch.setattr(mixtures, "_COLUMN_VALUES", 1)
    found = fit_columns(x, 3, np.full(3, -3.0), 0.05, x, 2)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n_samples", [400, 1600])
def test_repeated_values_have_components_that_do_not_follow_the_model(n_samples):
    generator = np.random.default_rng(0)
    offset = 3 * generator.normal(size=(n_samples, 3))
    x = offset + generator.normal(size=offset.shape)
    share = np.array([0.5, 0.2, 0.0])
    values = np.array([-2.0, 3.0, 0.0])
    x = np.where(generator.random(x.shape) < share, values, x)
    # in units of what the model leaves
    unit = (x - offset).std(axis=0)
    x, offset, values = x / unit, offset / unit, values / unit
    least = np.full(3, -3.0)
    log_weights, loc, log_scale, n_constant = fit_columns(
        x - offset, 4, least, 0.05, x, 2
    )
    assert (n_constant[:2] >= 1).all()
    assert n_constant[2] == 0
    for j in range(2):
        at_value = np.abs(loc[: n_constant[j], j] - values[j]) < 0.05
        narrow = log_scale[: n_constant[j], j] < -1.5
        weight = np.exp(log_weights[: n_constant[j], j])[at_value & narrow].sum()
        assert weight == pytest.approx(share[j], abs=0.05)


def test_few_rows_without_repeated_values_have_few_constant_components():
    generator = np.random.default_rng(3)
    offset, residual = generator.normal(size=(2, 50, 200))
    least = np.full(200, -3.0)
    *_, n_constant = fit_columns(residual, 4, least, 0.05, 0.6 * offset + residual, 2)
    assert (n_constant > 0).mean() < 0.1


def test_dense_intervals_do_not_overlap():
    # zeros in half of the rows, and a value in a quarter
    column = np.repeat([0.0, 4.0, 1.0, 2.5, 6.0], [20, 10, 4, 3, 3])[:, None]
    np.testing.assert_array_equal(_find_dense(column, 2)[:, 0], [0.0, 4.0])
