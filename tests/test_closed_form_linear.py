import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.decomposition import PCA, FactorAnalysis

import skvae._closed_form._moments as moments
from skvae._closed_form._linear import LinearModel, fit_factor_analysis, fit_ppca
from skvae._closed_form._moments import Covariance
from skvae.datasets import make_factors

FITS = {"ppca": fit_ppca, "factor_analysis": fit_factor_analysis}
over_fits = pytest.mark.parametrize("name", FITS)


def standardize(X):
    return (X - X.mean(axis=0)) / X.std(axis=0)


def make_table(n_samples=60, n_features=8, seed=0):
    X, _ = make_factors(n_samples, n_features, n_components=3, random_state=seed)
    return standardize(X)


def get_covariance(model):
    return model.loadings.T @ model.loadings + np.diag(model.noise)


def make_dependent_table():
    """Return a table whose last column is the sum of two others."""
    X = make_table(150, 6)
    return standardize(np.column_stack([X, X[:, 0] + X[:, 1]]))


# scores and posterior ---------------------------------------------------------------


@over_fits
def test_score_samples_equals_the_multivariate_normal(name):
    X = make_table()
    model = FITS[name](Covariance(X), 3)
    expected = multivariate_normal(model.mean, get_covariance(model)).logpdf(X)
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-10)


@over_fits
def test_posterior_equals_gaussian_conditioning(name):
    X = make_table()
    model = FITS[name](Covariance(X), 3)
    weight, scale = model.posterior()
    # z | x ~ N(W' C⁻¹ (x - mean), I - W' C⁻¹ W), C = W W' + Ψ
    gain = model.loadings @ np.linalg.inv(get_covariance(model))
    loc = ((X - model.mean) / np.sqrt(model.noise)) @ weight
    np.testing.assert_allclose(loc, (X - model.mean) @ gain.T, atol=1e-10)
    covariance = np.eye(3) - gain @ model.loadings.T
    np.testing.assert_allclose(np.diag(scale**2), covariance, atol=1e-10)


@over_fits
def test_loadings_are_rotated_to_a_diagonal_posterior(name):
    model = FITS[name](Covariance(make_table()), 3)
    inner = (model.loadings / model.noise) @ model.loadings.T
    np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-9 * inner.max())
    # the first component says most
    assert (np.diff(np.diag(inner)) <= 0).all()


@over_fits
def test_sign_of_every_component_is_fixed(name):
    model = FITS[name](Covariance(make_table()), 3)
    unit = model.loadings / np.sqrt(model.noise)
    largest = np.abs(unit).argmax(axis=1)
    assert (unit[np.arange(3), largest] > 0).all()


@over_fits
def test_no_component_leaves_independent_columns(name):
    X = make_table()
    model = FITS[name](Covariance(X), 0)
    assert model.loadings.shape == (0, 8)
    expected = multivariate_normal(X.mean(axis=0), np.diag(model.noise)).logpdf(X)
    np.testing.assert_allclose(model.score_samples(X), expected)
    np.testing.assert_allclose(model.noise, 1)


# probabilistic PCA ------------------------------------------------------------------


@pytest.mark.parametrize(("n_samples", "n_features"), [(60, 8), (12, 30), (40, 150)])
@pytest.mark.parametrize("n_components", [1, 3, 7])
def test_ppca_is_pca_with_n_in_place_of_n_minus_one(
    n_samples, n_features, n_components
):
    X = make_table(n_samples, n_features)
    model = fit_ppca(Covariance(X), n_components)
    pca = PCA(n_components, svd_solver="full").fit(X)
    share = (n_samples - 1) / n_samples
    expected = share * pca.get_covariance()
    np.testing.assert_allclose(get_covariance(model), expected, atol=1e-8)
    np.testing.assert_allclose(model.noise, share * pca.noise_variance_)
    expected = multivariate_normal(pca.mean_, expected).logpdf(X)
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-6)


def test_ppca_is_never_below_pca_on_its_training_rows():
    X = make_table()
    model = fit_ppca(Covariance(X), 3)
    assert model.score_samples(X).mean() >= PCA(3).fit(X).score(X)


def test_ppca_in_other_units_is_ppca_of_the_table_in_those_units():
    X = make_table()
    unit = np.geomspace(0.1, 10, 8)
    model = fit_ppca(Covariance(X), 3, column_scale=unit)
    expected = fit_ppca(Covariance(X * unit), 3)
    ours = get_covariance(model) * np.outer(unit, unit)
    np.testing.assert_allclose(ours, get_covariance(expected), atol=1e-9)
    log_volume = np.log(unit).sum()
    np.testing.assert_allclose(
        model.score_samples(X) - log_volume, expected.score_samples(X * unit)
    )


@pytest.mark.parametrize("noise", [1e-3, 0.5, 1.2])
def test_ppca_of_known_noise_keeps_what_exceeds_it(noise):
    # Tipping & Bishop (1999), eq. 7: W = U (Λ - σ² I)^½
    X = make_table()
    covariance = Covariance(X)
    model = fit_ppca(covariance, 3, noise=noise)
    np.testing.assert_allclose(model.noise, noise)
    values = np.linalg.eigvalsh(covariance.matrix)[::-1]
    expected = np.append(np.maximum(values[:3], noise), np.full(5, noise))
    fitted = np.linalg.eigvalsh(get_covariance(model))[::-1]
    np.testing.assert_allclose(fitted, np.sort(expected)[::-1])


def test_ppca_noise_stays_positive_for_a_table_of_low_rank():
    basis = np.random.default_rng(0).standard_normal((2, 6))
    X = np.random.default_rng(1).standard_normal((50, 2)) @ basis
    model = fit_ppca(Covariance(X), 3)
    assert (model.noise > 0).all()
    assert np.isfinite(model.score_samples(X)).all()


# factor analysis --------------------------------------------------------------------

TABLES = {
    "factors_0": (make_factors(200, 10, 3, random_state=0)[0], 3),
    "factors_1": (make_factors(100, 6, 1, random_state=1)[0], 1),
    "factors_wide": (make_factors(15, 20, 2, random_state=2)[0], 2),
    "too_many_components": (make_factors(100, 6, 2, random_state=3)[0], 5),
    "breast_cancer": (load_breast_cancer().data, 2),
    "breast_cancer_6": (load_breast_cancer().data, 6),
    "diabetes": (load_diabetes().data, 3),
    "dependent": (make_dependent_table(), 2),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("table", TABLES)
def test_factor_analysis_is_at_least_as_likely_as_that_of_scikit_learn(table):
    X, n_components = TABLES[table]
    X = standardize(X)
    model = fit_factor_analysis(Covariance(X), n_components)
    other = FactorAnalysis(n_components, svd_method="lapack", tol=1e-8, max_iter=5000)
    expected = other.fit(X).score(X)
    # what its EM gains over ours within the tolerance of L-BFGS
    assert model.score_samples(X).mean() >= expected - 1e-3


def test_factor_analysis_recovers_the_covariance_of_many_rows():
    X, covariance = make_factors(20_000, 6, 2, random_state=0)
    scale = X.std(axis=0)
    model = fit_factor_analysis(Covariance(X / scale), 2)
    fitted = get_covariance(model) * np.outer(scale, scale)
    # standard error of a covariance of normals, about sqrt(2 / n) of the variances
    bound = 5 * np.sqrt(2 / 20_000) * np.outer(scale, scale)
    assert (np.abs(fitted - covariance) < bound).all()


def test_factor_analysis_is_a_stationary_point_of_the_likelihood():
    X = make_table(200)
    model = fit_factor_analysis(Covariance(X), 3)
    best = model.score_samples(X).mean()
    for j in range(8):
        for factor in (0.97, 1.03):
            noise = model.noise.copy()
            noise[j] *= factor
            # any rotation of the loadings gives the same covariance
            root = np.sqrt(noise)
            _, values, vectors = np.linalg.svd(model.loadings / root, False)
            other = LinearModel(model.mean, values[:, None] * vectors * root, noise)
            assert other.score_samples(X).mean() < best


def test_factor_analysis_keeps_the_noise_within_its_bounds():
    X = make_dependent_table()
    model = fit_factor_analysis(Covariance(X), 2, floor=1e-4)
    assert (model.noise >= 1e-4 * (1 - 1e-9)).all()
    assert (model.noise <= 1 + 1e-9).all()
    assert model.noise.min() < 1.1e-4


@over_fits
def test_columns_without_variance_are_no_trouble(name):
    X = make_table()
    X[:, 2] = 0.0
    covariance = Covariance(X).with_noise_in_constants(1e-12)
    model = FITS[name](covariance, 2)
    assert np.isfinite(model.loadings).all()
    assert (model.noise > 0).all()
    assert np.isfinite(model.score_samples(X)).all()


# least noise ------------------------------------------------------------------------


@over_fits
def test_least_noise_keeps_the_loadings_up_to_rotation(name):
    X = make_table()
    model = FITS[name](Covariance(X), 3)
    raised = model.with_least_noise(np.linspace(0.1, 2, 8))
    shared = model.loadings.T @ model.loadings
    np.testing.assert_allclose(raised.loadings.T @ raised.loadings, shared, atol=1e-9)
    expected = np.maximum(model.noise, np.linspace(0.1, 2, 8))
    np.testing.assert_array_equal(raised.noise, expected)
    inner = (raised.loadings / raised.noise) @ raised.loadings.T
    np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-9 * inner.max())
    expected = multivariate_normal(raised.mean, get_covariance(raised)).logpdf(X)
    np.testing.assert_allclose(raised.score_samples(X), expected, rtol=1e-10)


def test_least_noise_below_all_noise_changes_nothing():
    model = fit_ppca(Covariance(make_table()), 3)
    assert model.with_least_noise(1e-12) is model


# weights and wide tables -------------------------------------------------------------


def assert_as_likely(one, other, X, weight):
    """Check that two fits to the same rows agree as far as L-BFGS converges.

    It stops where the loss gains less than 1e-9 of itself; around its optimum the loss
    is quadratic, so that the scores of single rows differ by the root of that.
    """
    scores = one.score_samples(X), other.score_samples(X)
    means = [np.average(score, weights=weight) for score in scores]
    np.testing.assert_allclose(*means, atol=1e-6)
    np.testing.assert_allclose(*scores, atol=1e-2)


@over_fits
def test_scale_of_the_weights_is_irrelevant(name):
    X = make_table()
    weight = np.random.default_rng(0).uniform(0.1, 3, len(X))
    one = FITS[name](Covariance(X, weight), 2)
    other = FITS[name](Covariance(X, 100 * weight), 2)
    assert_as_likely(one, other, X, weight)


@over_fits
@pytest.mark.parametrize("n_features", [8, 40])
def test_integer_weights_are_repeated_rows(name, n_features):
    X = make_table(30, n_features)
    weight = np.random.default_rng(0).integers(1, 4, len(X)).astype(float)
    weighted = FITS[name](Covariance(X, weight), 2)
    repeated = FITS[name](Covariance(np.repeat(X, weight.astype(int), axis=0)), 2)
    np.testing.assert_allclose(weighted.mean, repeated.mean, atol=1e-12)
    assert_as_likely(weighted, repeated, X, weight)


@over_fits
@pytest.mark.parametrize("is_operator", [False, True])
def test_iterative_eigenpairs_change_nothing(name, is_operator, monkeypatch):
    X = make_table(25, 40)
    expected = FITS[name](Covariance(X), 3)
    monkeypatch.setattr(moments, "_DENSE_COLUMNS", 10)
    if is_operator:
        monkeypatch.setattr(moments, "_MAX_MATRIX_COLUMNS", 10)
    covariance = Covariance(X)
    assert (covariance.matrix is None) == is_operator
    model = FITS[name](covariance, 3)
    np.testing.assert_allclose(
        model.score_samples(X).mean(), expected.score_samples(X).mean(), atol=1e-4
    )


@over_fits
@pytest.mark.parametrize("n_features", [130, 3100])
def test_wide_tables_have_finite_and_better_models(name, n_features):
    X = make_table(12, n_features)
    covariance = Covariance(X)
    assert (covariance.matrix is None) == (n_features > 3000)
    model = FITS[name](covariance, 2)
    assert model.loadings.shape == (2, n_features)
    assert (model.noise > 0).all()
    score = model.score_samples(X)
    assert np.isfinite(score).all()
    independent = FITS[name](covariance, 0)
    assert score.mean() > independent.score_samples(X).mean()


# rows with missing cells ------------------------------------------------------------


@over_fits
def test_missing_cells_are_left_out(name):
    X = make_table()
    model = FITS[name](Covariance(X), 3)
    C = get_covariance(model)
    X[::2, 1:5] = np.nan
    X[0] = np.nan
    scores = model.score_samples(X)
    assert scores[0] == 0
    for i in range(1, len(X)):
        o = ~np.isnan(X[i])
        expected = multivariate_normal(model.mean[o], C[np.ix_(o, o)]).logpdf(X[i, o])
        np.testing.assert_allclose(scores[i], expected, rtol=1e-10)
