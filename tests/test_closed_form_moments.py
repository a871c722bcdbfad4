import numpy as np
import pytest

from skvae._closed_form._moments import (
    Covariance,
    compute_mean,
    compute_moments,
    compute_share,
    find_first,
)
from skvae.datasets import make_factors


def make_table(n_samples=60, n_features=8):
    """Return standardised rows."""
    X, _ = make_factors(n_samples, n_features, n_components=3, random_state=0)
    return (X - X.mean(axis=0)) / X.std(axis=0)


def make_missing(n_samples=2000):
    """Return rows in different units with missing cells, and weights of rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, 4)) * [1, 1e-3, 1e5, 2] + [0, 1e3, -5, 7]
    X[rng.uniform(size=X.shape) < 0.3] = np.nan
    X[:5, 0] = np.nan
    return X, rng.uniform(0.1, 2, n_samples)


# means, shares and standard deviations ------------------------------------------------


@pytest.mark.parametrize("n_samples", [2000, 30_000])
def test_moments_of_observed_cells_are_numpys(n_samples):
    X, _ = make_missing(n_samples)
    mean, deviation = compute_moments(X)
    np.testing.assert_allclose(mean, np.nanmean(X, axis=0), rtol=1e-10)
    np.testing.assert_allclose(deviation, np.nanstd(X, axis=0), rtol=1e-10)
    some = np.array([3, 1])
    mean, deviation = compute_moments(X, None, some)
    np.testing.assert_allclose(mean, np.nanmean(X, axis=0)[some], rtol=1e-10)
    np.testing.assert_allclose(deviation, np.nanstd(X, axis=0)[some], rtol=1e-10)


def test_moments_are_weighted_by_the_rows():
    X, weight = make_missing()
    mean, deviation = compute_moments(X, weight)
    for j in range(X.shape[1]):
        seen = ~np.isnan(X[:, j])
        expected = np.average(X[seen, j], weights=weight[seen])
        square = np.average((X[seen, j] - expected) ** 2, weights=weight[seen])
        assert mean[j] == pytest.approx(expected, rel=1e-10)
        assert deviation[j] == pytest.approx(np.sqrt(square), rel=1e-10)
    seen = ~np.isnan(X)
    np.testing.assert_allclose(
        compute_share(X, weight), np.average(seen, axis=0, weights=weight), rtol=1e-12
    )
    np.testing.assert_allclose(compute_share(X), seen.mean(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(compute_share(np.ones((3, 2))), 1.0)


def test_moments_of_observed_cells_lose_no_digits():
    X, _ = make_missing()
    expected = np.nanstd(X, axis=0)
    far = compute_moments(X * 1e3 + 1e9)[1] / 1e3
    np.testing.assert_allclose(far[[0, 2, 3]], expected[[0, 2, 3]], rtol=1e-6)
    huge = compute_moments(X * 1e200)[1]
    np.testing.assert_allclose(huge, expected * 1e200, rtol=1e-10)


def test_chunks_do_not_change_complete_moments():
    X = np.random.default_rng(0).normal(size=(20_000, 7)).astype(np.float32)
    mean, deviation = compute_moments(X)
    wide = X.astype(float)
    np.testing.assert_allclose(mean, wide.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(deviation, wide.std(axis=0), rtol=1e-9)


@pytest.mark.parametrize("by_cell", [False, True])
def test_mean_of_a_function_is_numpys(by_cell):
    X, weight = make_missing(20_000)
    if by_cell:
        weight = weight[:, None] * np.linspace(0.1, 1, 4)
    found = compute_mean(X, weight, np.cos)
    observed = np.ma.masked_invalid(np.cos(X))
    if not by_cell:
        weight = np.broadcast_to(weight[:, None], X.shape)
    expected = np.ma.average(observed, axis=0, weights=weight)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_mean_of_the_rows_is_that_of_numpy():
    X = make_table(30_000, 3) + 1
    weight = np.random.default_rng(0).uniform(size=len(X))
    np.testing.assert_allclose(compute_mean(X), X.mean(axis=0), rtol=1e-12)
    expected = np.average(X, axis=0, weights=weight)
    np.testing.assert_allclose(compute_mean(X, weight), expected, rtol=1e-12)


@pytest.mark.parametrize("n_samples", [10, 49])
def test_columns_without_an_observed_cell_are_standard_normal(n_samples):
    X = np.random.default_rng(0).normal(3, 2, (n_samples, 3))
    X[:, 1] = np.nan
    X[1:, 2] = np.nan
    weight = np.ones(n_samples)
    weight[0] = 0.0
    np.testing.assert_array_equal(compute_share(X) == 0, [False, True, False])
    np.testing.assert_array_equal(compute_share(X, weight), [1, 0, 0])
    mean, deviation = compute_moments(X, weight)
    np.testing.assert_array_equal(mean[1:], 0)
    np.testing.assert_array_equal(deviation[1:], 1)
    assert deviation[0] == pytest.approx(X[1:, 0].std())


def test_first_observed_values_are_found():
    X, _ = make_missing(20_000)
    X[:12_000, 1] = np.nan
    X[:, 3] = np.nan
    first = [X[~np.isnan(X[:, j]), j][0] for j in range(3)]
    np.testing.assert_array_equal(find_first(X), [*first, np.nan])
    np.testing.assert_array_equal(find_first(X, np.array([2, 1])), first[:0:-1])


@pytest.mark.parametrize("value", [0.1, -1e9 / 3])
def test_mean_of_a_constant_column_is_exact(value):
    X = make_table()
    X[:, 2] = value
    mean, deviation = compute_moments(X)
    assert (mean[2], deviation[2]) == (value, 0)
    X[::3, 2] = np.nan
    mean, deviation = compute_moments(X)
    assert (mean[2], deviation[2]) == (value, 0)
    X[:, 2] = value
    assert Covariance(X).mean[2] == value


# covariances ------------------------------------------------------------------------


def test_weighted_covariance_equals_numpy():
    X = make_table()
    weight = np.random.default_rng(0).uniform(0.1, 3, len(X))
    covariance = Covariance(X, weight)
    np.testing.assert_allclose(covariance.mean, np.average(X, axis=0, weights=weight))
    expected = np.cov(X.T, aweights=weight, bias=True)
    np.testing.assert_allclose(covariance.matrix, expected, atol=1e-12)
    np.testing.assert_allclose(covariance.variance, np.diag(expected))


def test_eigenpairs_are_found_where_rows_have_a_constant_sum():
    # every other column mirrors the one before: the vector of ones is an eigenvector
    # of 0, exactly, from which no iteration finds anything
    half = np.random.default_rng(0).integers(0, 5, (60, 60)).astype(float)
    X = np.stack([half, -half], axis=-1).reshape(60, 120)
    covariance = Covariance(X)
    assert (covariance.matrix @ np.ones(120) == 0).all()
    values, _ = covariance.top_eigenpairs(3, np.ones(120))
    expected = np.linalg.eigvalsh(covariance.matrix)[:-4:-1]
    np.testing.assert_allclose(values, expected, rtol=1e-7)
    again, _ = covariance.top_eigenpairs(3, np.ones(120))
    np.testing.assert_array_equal(again, values)


@pytest.mark.parametrize("n_features", [10, 120])
def test_eigenpairs_are_orthonormal_and_falling(n_features):
    covariance = Covariance(make_table(50, n_features))
    scale = np.linspace(0.5, 2, n_features)
    values, vectors = covariance.top_eigenpairs(4, scale)
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(4), atol=1e-8)
    scaled = covariance.matrix / np.outer(scale, scale)
    np.testing.assert_allclose(scaled @ vectors, values * vectors, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 5.0, -300.0])
def test_noise_is_added_to_constant_columns_alone(value):
    X = make_table()
    X[:, 2] = value
    covariance = Covariance(X)
    before = covariance.matrix.copy()
    raised = covariance.with_noise_in_constants(1e-6)
    least = 1e-6 * max(1.0, value**2)
    before[2, 2] += least
    np.testing.assert_allclose(raised.matrix, before, atol=1e-15)
    np.testing.assert_allclose(raised.variance[2], least)
