import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.decomposition import FactorAnalysis

import skvae._closed_form._incomplete as incomplete
from skvae._closed_form._incomplete import fit_incomplete
from skvae._closed_form._linear import (
    LinearModel,
    fit_factor_analysis,
    fit_ppca,
)
from skvae._closed_form._moments import Covariance
from skvae.datasets import make_factors

over_kinds = pytest.mark.parametrize("is_isotropic", [False, True])


def standardize(X):
    return (X - X.mean(axis=0)) / X.std(axis=0)


def make_table(n_samples=60, n_features=8, seed=0):
    X, _ = make_factors(n_samples, n_features, n_components=3, random_state=seed)
    return standardize(X)


def delete(X, share=0.3, seed=0):
    X = np.array(X, float)
    X[np.random.default_rng(seed).random(X.shape) < share] = np.nan
    return X


def get_covariance(model):
    return model.loadings.T @ model.loadings + np.diag(model.noise)


def compute_objective(model, X, prior, is_isotropic=False):
    """Return what fit_incomplete maximises, per row, up to a constant."""
    C = get_covariance(model)
    D = np.nanvar(X, axis=0)
    D = np.full(len(D), D.mean()) if is_isotropic else D
    penalty = np.linalg.slogdet(C)[1] + (np.linalg.inv(C).diagonal() * D).sum()
    return (model.score_samples(X).sum() - prior / 2 * penalty) / len(X)


# complete tables --------------------------------------------------------------------

TABLES = {
    "factors_0": (make_factors(200, 10, 3, random_state=0)[0], 3),
    "factors_1": (make_factors(100, 6, 1, random_state=1)[0], 1),
    "factors_wide": (make_factors(15, 20, 2, random_state=2)[0], 2),
    "diabetes": (load_diabetes().data, 3),
    "breast_cancer": (load_breast_cancer().data, 2),
}


@pytest.mark.parametrize("table", TABLES)
def test_complete_table_gives_factor_analysis(table):
    X, n_components = TABLES[table]
    X = standardize(X)
    model = fit_incomplete(X, None, n_components, prior=0)
    expected = fit_factor_analysis(Covariance(X), n_components, floor=1e-3)
    difference = model.score_samples(X).mean() - expected.score_samples(X).mean()
    assert abs(difference) < 1e-4


@pytest.mark.parametrize("table", ["factors_0", "factors_1"])
def test_complete_table_gives_factor_analysis_of_scikit_learn(table):
    # tables without a column of less noise than the floor
    X, n_components = TABLES[table]
    model = fit_incomplete(X, None, n_components, prior=0)
    other = FactorAnalysis(n_components, svd_method="lapack", tol=1e-8, max_iter=5000)
    assert abs(model.score_samples(X).mean() - other.fit(X).score(X)) < 1e-4


@pytest.mark.parametrize("n_components", [0, 1, 3, 7])
@pytest.mark.parametrize("noise", [None, 0.5])
def test_complete_table_gives_probabilistic_pca(n_components, noise):
    X = make_table() * np.geomspace(0.5, 2, 8) + 3
    model = fit_incomplete(
        X, None, n_components, is_isotropic=True, noise=noise, prior=0
    )
    expected = fit_ppca(Covariance(X), n_components, noise=noise)
    difference = model.score_samples(X).mean() - expected.score_samples(X).mean()
    assert abs(difference) < 1e-4
    np.testing.assert_allclose(model.noise, model.noise[0])
    if noise is not None:
        np.testing.assert_allclose(model.noise, noise)


# what is maximised ------------------------------------------------------------------


@over_kinds
@pytest.mark.parametrize("prior", [0.0, 2.0])
def test_objective_never_falls(is_isotropic, prior):
    X = delete(make_table(), 0.4)
    values = []
    for n_iter in range(25):
        model = fit_incomplete(
            X, None, 4, is_isotropic=is_isotropic, prior=prior, n_iter=n_iter
        )
        values.append(compute_objective(model, X, prior, is_isotropic))
    assert (np.diff(values) > -1e-10).all()
    assert values[-1] > values[0] + 0.1


@over_kinds
@pytest.mark.parametrize("prior", [0.0, 5.0])
def test_optimum_is_stationary(is_isotropic, prior):
    X = delete(make_table(200), 0.4)
    kind = {"is_isotropic": is_isotropic, "prior": prior}
    model = fit_incomplete(X, None, 3, n_iter=1000, **kind)
    best = compute_objective(model, X, prior, is_isotropic)
    rng = np.random.default_rng(0)
    for _ in range(30):
        mean = model.mean + 0.05 * rng.standard_normal(8)
        loadings = model.loadings + 0.05 * rng.standard_normal((3, 8))
        spread = rng.standard_normal(1 if is_isotropic else 8)
        noise = model.noise * np.exp(0.1 * spread)
        root = np.sqrt(noise)
        _, values, vectors = np.linalg.svd(loadings / root, full_matrices=False)
        other = LinearModel(mean, values[:, None] * vectors * root, noise)
        assert compute_objective(other, X, prior, is_isotropic) < best


@over_kinds
def test_prior_is_that_of_complete_rows(is_isotropic):
    # of a complete table the optimum is that of (n S + prior D) / (n + prior)
    X = make_table() * np.geomspace(0.5, 2, 8)
    model = fit_incomplete(X, None, 2, is_isotropic=is_isotropic, prior=30, n_iter=1000)
    D = X.var(axis=0)
    D = np.full(8, D.mean()) if is_isotropic else D
    root = np.concatenate([X - X.mean(axis=0), np.sqrt(30) * np.diag(np.sqrt(D))])
    fit = fit_ppca if is_isotropic else fit_factor_analysis
    expected = fit(Covariance.from_root(root / np.sqrt(90)), 2)
    values = [
        compute_objective(m, X - X.mean(axis=0), 30, is_isotropic)
        for m in (
            LinearModel(model.mean - X.mean(axis=0), model.loadings, model.noise),
            expected,
        )
    ]
    assert abs(values[0] - values[1]) < 1e-4


@over_kinds
def test_many_rows_recover_the_covariance(is_isotropic):
    rng = np.random.default_rng(0)
    loadings = rng.standard_normal((2, 5))
    noise = np.full(5, 0.5) if is_isotropic else rng.uniform(0.3, 1, 5)
    X = rng.standard_normal((20_000, 2)) @ loadings + 1000
    X += rng.standard_normal(X.shape) * np.sqrt(noise)
    model = fit_incomplete(delete(X), None, 2, is_isotropic=is_isotropic)
    expected = loadings.T @ loadings + np.diag(noise)
    # half of the pairs of cells are observed; see the standard errors of `Covariance`
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    bound = 5 * np.sqrt(2 / 10_000) * scale
    assert (np.abs(get_covariance(model) - expected) < bound).all()
    bound = 5 * np.sqrt(np.diag(expected) / 10_000)
    assert (np.abs(model.mean - 1000) < bound).all()


def test_deletion_that_depends_on_observed_cells_does_no_harm():
    rng = np.random.default_rng(0)
    X = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], 5000)
    X[X[:, 0] > 0, 1] = np.nan
    model = fit_incomplete(X, None, 1)
    assert abs(np.nanmean(X[:, 1])) > 0.5
    assert abs(model.mean[1]) < 0.1


# the model returned -----------------------------------------------------------------


@over_kinds
def test_loadings_are_rotated_and_oriented(is_isotropic):
    X = delete(make_table())
    model = fit_incomplete(X, None, 3, is_isotropic=is_isotropic)
    unit = model.loadings / np.sqrt(model.noise)
    inner = unit @ unit.T
    np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-9 * inner.max())
    assert (np.diff(np.diag(inner)) <= 0).all()
    assert (unit[np.arange(3), np.abs(unit).argmax(axis=1)] > 0).all()


def test_units_of_the_columns_are_irrelevant():
    X = delete(make_table())
    unit, shift = np.geomspace(1e-3, 1e3, 8), np.linspace(-1e3, 1e3, 8)
    model = fit_incomplete(X, None, 3)
    other = fit_incomplete(X * unit + shift, None, 3)
    np.testing.assert_allclose(other.mean, model.mean * unit + shift, rtol=1e-6)
    ours = get_covariance(other) / np.outer(unit, unit)
    np.testing.assert_allclose(ours, get_covariance(model), atol=1e-6)


@over_kinds
def test_integer_weights_are_repeated_rows(is_isotropic):
    X = delete(make_table(30))
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    repeated = np.repeat(X, weight, axis=0)
    kind = {"is_isotropic": is_isotropic, "n_iter": 50}
    model = fit_incomplete(X, weight, 2, **kind)
    expected = fit_incomplete(repeated, None, 2, **kind)
    np.testing.assert_allclose(model.mean, expected.mean, atol=1e-6)
    ours = get_covariance(model)
    np.testing.assert_allclose(ours, get_covariance(expected), atol=1e-6)


def test_rows_of_one_pattern_are_reduced_without_loss(monkeypatch):
    X = make_table(200, 4)
    X[:80, 1] = np.nan
    X[80:120, 2:] = np.nan
    X[-1] = np.nan
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X))
    arguments = X, weight, np.zeros(4), np.ones(4)
    reduced = incomplete._gather(*arguments)
    assert len(reduced.values) == 4 + 3 + 5
    np.testing.assert_allclose(reduced.count.sum(), weight[:-1].sum())
    np.testing.assert_allclose((reduced.ones**2).sum(), weight[:-1].sum())
    products = reduced.values.T @ reduced.values
    filled = np.nan_to_num(X) * np.sqrt(weight)[:, None]
    np.testing.assert_allclose(products, filled.T @ filled)
    sums = reduced.ones @ reduced.values
    np.testing.assert_allclose(sums, weight @ np.nan_to_num(X))


def test_chunks_change_nothing(monkeypatch):
    X = delete(make_table(200), 0.1)
    expected = fit_incomplete(X, None, 3)
    monkeypatch.setattr(incomplete, "CHUNK_VALUES", 100)
    model = fit_incomplete(X, None, 3)
    np.testing.assert_allclose(model.mean, expected.mean, atol=1e-6)
    ours = get_covariance(model)
    np.testing.assert_allclose(ours, get_covariance(expected), atol=1e-6)


@pytest.mark.parametrize(("n_work", "n_least"), [(100, 10), (0, 100)])
def test_big_tables_are_subsampled(n_work, n_least, monkeypatch):
    X = delete(make_table(400))
    monkeypatch.setattr(incomplete, "_MAX_STEP_WORK", n_work * 8 * (64 + 16))
    monkeypatch.setattr(incomplete, "_MIN_ROWS", n_least)
    kept = np.sort(np.random.default_rng(0).choice(400, 100, replace=False))
    model = fit_incomplete(X, None, 3)
    monkeypatch.undo()
    expected = fit_incomplete(X[kept], None, 3)
    np.testing.assert_array_equal(model.loadings, expected.loadings)


def test_em_continues_from_a_model():
    X = delete(make_table(200))
    model = fit_incomplete(X, None, 3, n_iter=1000)
    best = compute_objective(model, X, 2.0)
    again = fit_incomplete(X, None, 3, init=model, n_iter=2)
    assert compute_objective(again, X, 2.0) >= best - 1e-10
    cold = fit_incomplete(X[:150], None, 3, n_iter=3)
    warm = fit_incomplete(X[:150], None, 3, init=model, n_iter=3)
    value = compute_objective(warm, X[:150], 2.0)
    assert value > compute_objective(cold, X[:150], 2.0)


@over_kinds
def test_single_precision_on_a_disk_is_read_only(tmp_path, is_isotropic):
    X = delete(make_table()).astype(np.float32)
    X.tofile(tmp_path / "x")
    table = np.memmap(tmp_path / "x", np.float32, "r", shape=X.shape)
    model = fit_incomplete(table, None, 2, is_isotropic=is_isotropic)
    expected = fit_incomplete(X.astype(float), None, 2, is_isotropic=is_isotropic)
    np.testing.assert_array_equal(table, X)
    np.testing.assert_allclose(model.loadings, expected.loadings)
    assert model.loadings.dtype == np.float64


def test_noise_has_a_floor():
    X = make_table(100, 4)
    X = delete(np.column_stack([X, X[:, 0] + X[:, 1]]), 0.1)
    model = fit_incomplete(X, None, 4, floor=0.01, prior=0)
    share = model.noise / np.nanvar(X, axis=0)
    assert share.min() >= 0.01 * (1 - 1e-9)
    assert share.min() < 0.011


# tables of little information -------------------------------------------------------


def make_constant(X):
    X[:, 2] = 5.0
    X[0, 2] = np.nan
    return X


def make_sparse(X):
    X[1:, 0] = np.nan
    X[2:, 1] = np.nan
    return X


def make_empty_column(X):
    X[:, 3] = np.nan
    return X


def make_offset(X):
    return X + 1e6


def make_empty(X):
    return np.full_like(X, np.nan)


ODD = {
    "constant": make_constant,
    "few_cells": make_sparse,
    "empty_column": make_empty_column,
    "offset": make_offset,
    "empty": make_empty,
    "wide": lambda X: X[:5],
    "one_row": lambda X: X[:1],
    "one_column": lambda X: X[:, :1],
    "two_columns": lambda X: X[:, :2],
    "all_constant": lambda X: X * 0 + 0.1,
    "twins": lambda X: np.column_stack([X[:, 0]] * 4),
}


@over_kinds
@pytest.mark.parametrize("prior", [0.0, 2.0])
@pytest.mark.parametrize("n_components", [0, 2, 20])
@pytest.mark.parametrize("name", ODD)
def test_odd_tables_have_finite_models(name, n_components, prior, is_isotropic):
    X = delete(make_table())
    X[3] = np.nan
    X = ODD[name](X)
    model = fit_incomplete(
        X, None, n_components, is_isotropic=is_isotropic, prior=prior, n_iter=20
    )
    n_features = X.shape[1]
    assert model.loadings.shape == (min(n_components, n_features - 1), n_features)
    assert (model.noise > 0).all()
    assert np.isfinite(model.mean).all()
    assert np.isfinite(model.loadings).all()
    assert np.isfinite(model.score_samples(X)).all()


def test_constant_columns_are_noise():
    X = make_constant(delete(make_table()))
    model = fit_incomplete(X, None, 3)
    assert model.mean[2] == 5
    np.testing.assert_allclose(model.noise[2], 1e-3 * 25)
    np.testing.assert_allclose(model.loadings[:, 2], 0, atol=1e-12)


def test_empty_columns_are_standard_normal():
    model = fit_incomplete(make_empty_column(delete(make_table())), None, 3)
    np.testing.assert_allclose(model.mean[3], 0, atol=1e-12)
    np.testing.assert_allclose(get_covariance(model)[3], np.eye(8)[3], atol=1e-12)


# rows with missing cells ------------------------------------------------------------


@over_kinds
def test_scores_are_those_of_the_observed_cells(is_isotropic):
    X = delete(make_table(), 0.5)
    X[:10] = make_table()[:10]
    X[10] = np.nan
    model = fit_incomplete(X, None, 3, is_isotropic=is_isotropic)
    C = get_covariance(model)
    scores = model.score_samples(X)
    for row, score in zip(X, scores, strict=True):
        o = ~np.isnan(row)
        if o.any():
            expected = multivariate_normal(model.mean[o], C[np.ix_(o, o)])
            np.testing.assert_allclose(score, expected.logpdf(row[o]), rtol=1e-10)
    assert scores[10] == 0


def test_weights_that_are_shares_count_as_rows():
    X, _ = make_factors(300, 5, 2, random_state=0)
    X[np.random.default_rng(0).random(X.shape) < 0.3] = np.nan
    model, other = (fit_incomplete(X, w, 2) for w in (None, np.full(300, 1 / 300)))
    np.testing.assert_allclose(other.noise, model.noise, rtol=1e-6)


@pytest.mark.parametrize("n_components", [5, 6, 7])
def test_more_components_are_no_worse_at_the_bound_of_ledermann(n_components):
    X = standardize(load_breast_cancer().data[:, :10])
    # lost for a reason that is observed
    is_lost = np.random.default_rng(1).random(len(X)) < 1 / (1 + np.exp(-2 * X[:, 0]))
    X[is_lost, 1] = np.nan
    few, model = (fit_incomplete(X, None, n) for n in (4, n_components))
    assert compute_objective(model, X, 2.0) > compute_objective(few, X, 2.0) - 0.01
