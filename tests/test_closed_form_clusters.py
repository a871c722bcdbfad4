import itertools

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from skvae._closed_form._clusters import Clusters, fit_clusters
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
    weighted = fit_clusters(x, times.astype(float), 3, seed=0, start=start)
    repeated = fit_clusters(np.repeat(x, times, axis=0), None, 3, seed=0, start=start)
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
