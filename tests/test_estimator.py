"""What VAETransformer promises: determinism, nats, options, callbacks, containers."""

import copy
import math
import pickle
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.stats
import skorch
import torch
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_iris,
    load_wine,
    make_blobs,
)
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback
from torch_network import TorchNetwork

from skvae import UnusedComponentsWarning, VAETransformer
from skvae.datasets import make_factors
from skvae.latents import Gaussian as GaussianLatent
from skvae.likelihoods import Bernoulli, Gaussian, GaussianMixture, ZeroInflated
from skvae.networks import MLP
from skvae.objectives import ELBO, IWAE

LOADERS = {
    "iris": load_iris,
    "wine": load_wine,
    "breast_cancer": load_breast_cancer,
    "diabetes": load_diabetes,
}
CALLS = ["transform", "posterior", "reconstruct", "score", "score_features"]
OPTIMIZERS = ["adamw", "adam", "nadam", "radam", "rmsprop", "sgd"]
METHODS = ["elbo", "evidence", "reconstruction", "kl", "refined"]


class WatchBeta(Callback):
    """Keep the weight of the KL term in the last epochs."""

    def on_epoch_end(self, net, **kwargs):
        assert net.history[-1, "epoch"] == len(net.history)
        self.betas_ = [*getattr(self, "betas_", []), net.criterion_.beta][-20:]


class Recorder(Callback):
    """Count what skorch reports."""

    def on_train_begin(self, net, **kwargs):
        self.epochs_, self.steps_, self.betas_ = 0, 0, []

    def on_batch_end(self, net, training=False, **kwargs):
        self.steps_ += training

    def on_epoch_end(self, net, **kwargs):
        self.epochs_ += 1
        self.betas_.append(net.criterion_.beta)


class TaskRecorder:
    """scikit-learn callback: note every task, and stop after some epochs."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.begun, self.ended, self.scores, self.metadata = [], [], [], []

    def setup(self, estimator, context):
        self.begun.append("setup")

    def teardown(self, estimator, context):
        self.ended.append("setup")

    def on_fit_task_begin(self, estimator, context):
        self.begun.append((context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X, metadata, fitted_estimator):
        self.ended.append((context.task_name, context.task_id))
        self.scores.append(fitted_estimator.score(X))
        self.metadata.append(metadata)
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after


def fit_factor_analysis(table, n_components):
    """Fit by many iterations of EM; where a noise variance vanishes, never enough."""
    oracle = FactorAnalysis(n_components, tol=1e-8, svd_method="lapack", max_iter=5000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return oracle.fit(table)


def get_weights(vae):
    return [p.detach().numpy() for p in vae.net_.module_.state_dict().values()]


def load(name):
    return LOADERS[name]().data


# determinism --------------------------------------------------------------------------


@pytest.mark.parametrize("random_state", [0, 2**32 - 1])
@pytest.mark.parametrize("sizes", [(), (8,)])
def test_equal_seeds_give_equal_weights_bit_for_bit(random_state, sizes, X):
    params = {"hidden_layer_sizes": sizes, "max_epochs": 2}
    params["random_state"] = random_state
    one, two = (VAETransformer(**params).fit(X) for _ in range(2))
    for a, b in zip(get_weights(one), get_weights(two), strict=True):
        np.testing.assert_array_equal(a, b)
    for method in METHODS:
        np.testing.assert_array_equal(
            one.score_samples(X[:20], method), two.score_samples(X[:20], method)
        )


def test_random_state_object_is_advanced_and_reproducible(quick, X):
    def fit(random_state):
        vae = quick(hidden_layer_sizes=(4,), random_state=random_state)
        return vae.fit(X).score_samples(X)

    state = np.random.RandomState(3)
    first, second = fit(state), fit(state)
    np.testing.assert_array_equal(first, fit(np.random.RandomState(3)))
    assert not np.array_equal(first, second)


def test_other_seeds_give_other_weights(quick, X):
    seeds = (1, 2, None, None)
    scores = [
        quick(random_state=s, hidden_layer_sizes=(4,)).fit(X).score_samples(X)
        for s in seeds
    ]
    assert len({tuple(s) for s in scores}) == len(seeds)


@pytest.mark.parametrize("method", METHODS)
def test_score_of_a_row_depends_on_that_row_alone(method, fitted, X):
    rows = X[:30]
    scores = fitted.score_samples(rows, method)
    order = np.random.default_rng(0).permutation(len(rows))
    atol = 1e-6 * np.abs(scores).max()
    shuffled = fitted.score_samples(rows[order], method)
    np.testing.assert_allclose(shuffled, scores[order], rtol=1e-6, atol=atol)
    singles = [fitted.score_samples(row[None], method)[0] for row in rows[:5]]
    np.testing.assert_allclose(singles, scores[:5], rtol=1e-6, atol=atol)
    np.testing.assert_array_equal(fitted.score_samples(rows, method), scores)


@pytest.mark.parametrize("name", ["transform", "reconstruct", "score_features"])
def test_output_of_a_row_depends_on_that_row_alone(name, fitted, X):
    call = getattr(fitted, name)
    whole = call(X)
    atol = 1e-6 * np.abs(whole).max()
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(call(X[order]), whole[order], rtol=1e-6, atol=atol)
    parts = np.concatenate([call(X[:1]), call(X[1:77]), call(X[77:])])
    np.testing.assert_allclose(parts, whole, rtol=1e-6, atol=atol)


def get_numpy_state():
    _, keys, *rest = np.random.get_state()  # noqa: NPY002
    return keys.tobytes(), *rest


def test_nothing_global_is_touched(quick, X):
    def look():
        return {
            "numpy": get_numpy_state(),
            "torch": torch.get_rng_state().tolist(),
            "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
            "filters": list(warnings.filters),
            "gradients": torch.is_grad_enabled(),
            "dtype": torch.get_default_dtype(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "errors": np.geterr(),
            "workers": threading.active_count(),
        }

    def calls():
        for params in ({}, {"hidden_layer_sizes": ()}):
            vae = quick(**{"hidden_layer_sizes": (8,), "max_epochs": 1, **params})
            yield lambda vae=vae: vae.fit(X)
            yield lambda vae=vae: vae.partial_fit(X)
            for name in CALLS:
                yield lambda vae=vae, name=name: getattr(vae, name)(X[:9])
            yield lambda vae=vae: vae.sample(3, random_state=0)
        for method in METHODS:
            yield lambda m=method: vae.score_samples(X[:3], m)

    torch.set_num_threads(2)
    try:
        before = look()
        for call in calls():
            call()
            assert look() == before
    finally:
        torch.set_num_threads(1)


def test_global_seeds_are_not_read(quick, X):
    scores = []
    numpy_state = np.random.get_state()  # noqa: NPY002
    torch_state = torch.get_rng_state()
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        vae = quick(hidden_layer_sizes=(4,)).fit(X)
        scores.append((vae.score_samples(X), vae.sample(5, random_state=0)))
    np.random.set_state(numpy_state)  # noqa: NPY002
    torch.set_rng_state(torch_state)
    np.testing.assert_array_equal(scores[0][0], scores[1][0])
    np.testing.assert_array_equal(scores[0][1], scores[1][1])


def test_random_state_none_draws_one_seed_from_numpys_generator(quick, X):
    before = np.random.get_state()  # noqa: NPY002
    try:
        found, states = [], []
        for _ in range(2):
            np.random.seed(3)  # noqa: NPY002
            vae = quick(hidden_layer_sizes=(4,), random_state=None).fit(X)
            states.append(get_numpy_state())
            draws = vae.sample(2), vae.sample(2)
            assert not np.array_equal(*draws)
            found.append(np.vstack([vae.transform(X), vae.partial_fit(X).transform(X)]))
            found[-1] = np.hstack([found[-1], np.resize(draws, (2 * len(X), 6))])
        np.testing.assert_array_equal(*found)
        np.random.seed(3)  # noqa: NPY002
        np.random.randint(2**31 - 1)  # noqa: NPY002
        assert states == [get_numpy_state()] * 2
        # conditional means need no draws
        vae.impute(np.where(X > 1, np.nan, X))
        vae.transform(X)
        np.random.seed(4)  # noqa: NPY002
        other = quick(hidden_layer_sizes=(4,), random_state=None).fit(X)
        assert not np.array_equal(other.transform(X), found[0][: len(X), :2])
    finally:
        np.random.set_state(before)  # noqa: NPY002


def test_input_is_not_changed(quick, X):
    table = X.copy()
    weight = np.linspace(0, 2, len(X))
    vae = quick().fit(table, sample_weight=weight, X_val=table[:30])
    vae.transform(table)
    vae.score_samples(table, "refined")
    np.testing.assert_array_equal(table, X)
    np.testing.assert_array_equal(weight, np.linspace(0, 2, len(X)))


def test_parameters_are_stored_untouched(quick, X):
    params = {
        "hidden_layer_sizes": [8],
        "latent": GaussianLatent(),
        "likelihood": Gaussian(),
        "network": MLP((4,)),
        "objective": ELBO(),
        "net_params": {"optimizer__betas": (0.9, 0.99)},
        "net_callbacks": [],
    }
    kept = copy.deepcopy(params)
    vae = quick(**params).fit(X)
    for name, value in params.items():
        assert getattr(vae, name) is value
        assert repr(value) == repr(kept[name])


# nats ---------------------------------------------------------------------------------


def test_scores_are_bounds_of_one_another(fitted, X):
    rows = X[:50]
    score = {method: fitted.score_samples(rows, method) for method in METHODS}
    for value in score.values():
        assert value.shape == (50,)
        assert value.dtype == np.float64
        assert np.isfinite(value).all()
    difference = score["reconstruction"] - score["kl"]
    np.testing.assert_allclose(score["elbo"], difference, rtol=1e-9, atol=1e-9)
    assert (score["evidence"] >= score["elbo"] - 1e-9).all()
    assert (score["refined"] >= score["elbo"]).all()
    assert score["refined"].mean() > score["elbo"].mean()
    np.testing.assert_allclose(fitted.score(rows), score["elbo"].mean(), rtol=1e-12)


def test_score_takes_sample_weight(fitted, X):
    weight = np.arange(len(X), dtype=float)
    expected = np.average(fitted.score_samples(X), weights=weight)
    np.testing.assert_allclose(fitted.score(X, sample_weight=weight), expected)


def test_scores_of_features_sum_to_the_reconstruction(fitted, X):
    cells = fitted.score_features(X)
    assert cells.shape == X.shape
    assert cells.dtype == np.float64
    expected = fitted.score_samples(X, "reconstruction")
    np.testing.assert_allclose(cells.sum(axis=1), expected, rtol=1e-9)


def test_score_carries_the_jacobian_of_units(X):
    # powers of two: standardised rows are equal bit for bit, and so is training
    factor = 2.0 ** np.array([3, -2, 0, 10, -5, 1])
    params = {"likelihood": Gaussian("feature"), "max_epochs": 3, "random_state": 0}
    plain = VAETransformer(2, hidden_layer_sizes=(), **params).fit(X)
    scaled = VAETransformer(2, hidden_layer_sizes=(), **params).fit(X * factor)
    for method in METHODS:
        shift = 0.0 if method == "kl" else np.log(factor).sum()
        expected = plain.score_samples(X[:20], method) - shift
        other = scaled.score_samples(X[:20] * factor, method)
        np.testing.assert_allclose(other, expected, rtol=1e-6, atol=1e-6)


def test_default_score_carries_the_jacobian_of_units(fitted, X):
    scaled = VAETransformer(2, max_epochs=3, random_state=0).fit(8 * X)
    expected = fitted.score_samples(X) - 6 * math.log(8)
    np.testing.assert_allclose(scaled.score_samples(8 * X), expected, atol=1e-6)
    np.testing.assert_allclose(scaled.transform(8 * X), fitted.transform(X), atol=1e-5)


@pytest.mark.parametrize("sizes", [(), (32,)])
def test_a_column_times_ten_costs_log_ten(sizes, X):
    factor = np.array([1, 10, 1, 1, 1, 1.0])
    params = {"hidden_layer_sizes": sizes, "max_epochs": 3, "random_state": 0}
    plain = VAETransformer(**params).fit(X).score(X)
    scaled = VAETransformer(**params).fit(X * factor).score(X * factor)
    # rounding takes training along another path, whose end is as good
    assert scaled == pytest.approx(plain - math.log(10), abs=0.02)


@pytest.mark.parametrize("name", ["wine", "breast_cancer", "diabetes"])
def test_linear_model_meets_factor_analysis_and_never_beats_it(name):
    table = StandardScaler().fit_transform(load(name))
    oracle = fit_factor_analysis(table, 2)
    vae = VAETransformer(2, hidden_layer_sizes=(), random_state=0).fit(table)
    for method in ("elbo", "evidence"):
        gap = oracle.score(table) - vae.score_samples(table, method).mean()
        assert -1e-3 < gap < 0.1


def test_linear_model_finds_the_better_optimum_of_factor_analysis():
    # two noise variances of iris vanish, in one of several optima; EM ends in another
    table = StandardScaler().fit_transform(load("iris"))
    vae = VAETransformer(2, hidden_layer_sizes=(), random_state=0).fit(table)
    assert vae.score(table) > fit_factor_analysis(table, 2).score(table) - 1e-3


@pytest.mark.parametrize("name", LOADERS)
def test_bound_of_a_linear_model_is_its_likelihood(name):
    table = StandardScaler().fit_transform(load(name))
    vae = VAETransformer(2, hidden_layer_sizes=(), random_state=0).fit(table)
    module, columns = vae.net_.module_.double(), vae.columns_
    z = torch.cat([torch.zeros(1, 2), torch.eye(2)]).double()
    with torch.no_grad():
        mean, *ends = columns.decode(module.decode(z).mean.numpy())
    loadings = np.array(ends) - mean
    covariance = loadings.T @ loadings + np.diag(vae.noise_variance_)
    normal = scipy.stats.multivariate_normal(mean, covariance, allow_singular=True)
    exact = normal.logpdf(table)
    # of moment-matched draws the ELBO is exact, and so below the likelihood
    elbo = vae.score_samples(table)
    assert (elbo < exact + 1e-6).all()
    assert exact.mean() - elbo.mean() < 0.01


def test_linear_model_meets_factor_analysis_on_factors():
    table, _ = make_factors(2000, 10, 3, random_state=0)
    oracle = fit_factor_analysis(table, 3)
    vae = VAETransformer(3, hidden_layer_sizes=(), random_state=0).fit(table)
    assert -1e-3 < oracle.score(table) - vae.score(table) < 0.1


def score_ppca(table, n_components):
    """Mean log-likelihood of the training rows, Tipping & Bishop (1999), eq. 4."""
    values = np.linalg.eigvalsh(np.cov(table.T, bias=True))[::-1]
    noise = values[n_components:].mean()
    log_det = np.log(values[:n_components]).sum()
    log_det += (len(values) - n_components) * np.log(noise)
    return -0.5 * (len(values) * (np.log(2 * np.pi) + 1) + log_det)


@pytest.mark.parametrize("name", LOADERS)
def test_linear_model_with_shared_noise_meets_probabilistic_pca(name):
    table = StandardScaler().fit_transform(load(name))
    vae = VAETransformer(
        2, hidden_layer_sizes=(), likelihood=Gaussian("shared"), random_state=0
    ).fit(table)
    assert -1e-3 < score_ppca(table, 2) - vae.score(table) < 0.1


@pytest.mark.parametrize("n_draws", [1, 2, 7, 32])
def test_module_with_parameters_of_pca_scores_as_pca(n_draws):
    table = load("wine")
    pca = PCA(3).fit(table)
    noise = pca.noise_variance_
    loadings = np.sqrt(pca.explained_variance_ - noise)[:, None] * pca.components_
    precision = pca.explained_variance_  # M = W'W + noise, diagonal
    vae = VAETransformer(
        3,
        hidden_layer_sizes=(),
        likelihood=Gaussian("shared"),
        n_draws=n_draws,
        max_epochs=0,
        random_state=0,
    ).fit(table)
    unit = math.sqrt(noise)  # the module sees (x - mean) / unit
    by_hand = {
        "decoder_weight": loadings / unit,
        "decoder_bias": np.zeros((1, 13)),
        "encoder_centre": np.zeros((1, 13)),
        "encoder_weight": (loadings / precision[:, None]).T * unit,
        "posterior_scale": np.sqrt(noise / precision)[None],
    }
    module = vae.net_.module_
    for name, value in by_hand.items():
        setattr(module.linear_start, name, torch.as_tensor(value))
    for parameter in module.parameters():
        parameter.data.zero_()
    vae.columns_ = replace(vae.columns_, location=pca.mean_, unit=np.full(13, unit))
    expected = pca.score_samples(table)
    for method in ("elbo", "evidence", "refined"):
        atol = 1e-2 if method == "refined" else 0
        scores = vae.score_samples(table, method)
        np.testing.assert_allclose(scores, expected, rtol=1e-10, atol=atol)
    mean = pca.transform(table) * np.sqrt(precision - noise) / precision
    np.testing.assert_allclose(vae.transform(table), mean, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", LOADERS)
def test_held_out_score_is_not_below_linear_models(name):
    train, test = train_test_split(load(name), random_state=0)
    linear = max(
        PCA(2).fit(train).score(test),
        fit_factor_analysis(train, 2).score(test),
    )
    assert VAETransformer(2, random_state=0).fit(train).score(test) > linear - 0.05


def test_noise_variance_is_in_units_of_the_table():
    table, _ = make_factors(1000, 6, 2, noise=0.5, random_state=0)
    oracle = fit_factor_analysis(table, 2).noise_variance_
    vae = VAETransformer(2, hidden_layer_sizes=(), random_state=0).fit(table)
    assert vae.noise_variance_.shape == (6,)
    np.testing.assert_allclose(vae.noise_variance_, oracle, rtol=0.1)
    scaled = VAETransformer(2, hidden_layer_sizes=(), random_state=0).fit(8 * table)
    np.testing.assert_allclose(
        scaled.noise_variance_, 64 * vae.noise_variance_, rtol=1e-3
    )


# parameters ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {"n_components": 1},
        {"objective": "iwae"},
        {"objective": IWAE(n_draws=3)},
        {"objective": ELBO(n_draws=2), "beta": 0.5},
        {"beta": 4.0},
        {"beta": 0.0},
        {"init": "random", "max_epochs": 20},
        {"standardize": False},
        {"early_stopping": False},
        {"batch_size": 50},
        {"batch_size": 1000},
        {"batch_size": 1},
        {"dropout": 0.3},
        {"weight_decay": 0.1},
        {"weight_decay": 0.0},
        {"n_draws": 1},
        {"n_draws": 3},
        {"max_epochs": 0},
        {"hidden_layer_sizes": 8},
        {"hidden_layer_sizes": [8, 4]},
        {"hidden_layer_sizes": np.array([8, 4])},
        {"hidden_layer_sizes": np.int64(8)},
        {"activation": "tanh"},
        {"likelihood": "gaussian"},
        {"likelihood": Gaussian("network")},
        {"likelihood": Gaussian(0.5)},
        {"likelihood": Gaussian(variance_floor=1e-2)},
        {"likelihood": GaussianMixture(n_mixture=2)},
        {"likelihood": dict.fromkeys(range(6), "gaussian")},
        {"latent": GaussianLatent("standard")},
        {"latent": GaussianLatent("mixture", n_mixture=2)},
        {"network": "mlp"},
        {"network": MLP((8,), "relu")},
        {"network": TorchNetwork()},
        {"optimizer": torch.optim.Adagrad},
        {"device": "cpu"},
        {"validation_fraction": 0.5},
        {"n_components": np.int64(2), "n_draws": np.int64(3)},
    ]
    + [{"optimizer": o} for o in OPTIMIZERS],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
def test_every_option_makes_a_usable_model(params, X):
    params = {"hidden_layer_sizes": (8,), "max_epochs": 2, "n_components": 2} | params
    X = X[:100]
    vae = VAETransformer(random_state=0, **params).fit(X)
    q = params["n_components"]
    assert vae.transform(X).shape == (100, q)
    assert vae.transform(X).dtype == np.float32
    most = params["max_epochs"] * (1 + vae.net_.module_.is_refined)
    assert min(most, 11) <= len(vae.history_) <= most
    assert vae.n_iter_ <= params["max_epochs"]
    assert vae.sample(4, random_state=0).shape == (4, 6)
    assert vae.reconstruct(X).shape == X.shape
    assert vae.kl_per_component_.shape == (q,)
    assert 0 <= vae.n_active_components_ <= q
    elbo, evidence = vae.score_samples(X), vae.score_samples(X, "evidence")
    assert np.isfinite(elbo).all()
    assert (evidence >= elbo - 1e-9).all()
    if params.get("n_draws") == 1:
        np.testing.assert_allclose(elbo, evidence)
    np.testing.assert_array_equal(elbo, clone(vae).fit(X).score_samples(X))


@pytest.mark.filterwarnings("ignore::skvae._utils._warnings.UnusedComponentsWarning")
def test_more_components_than_features_are_allowed(X):
    vae = VAETransformer(9, max_epochs=2, random_state=0).fit(X)
    assert vae.transform(X).shape == (200, 9)
    assert vae.posterior(X)[1].shape == (200, 9)
    assert vae.sample(3).shape == (3, 6)
    assert vae.score(X) > fit_factor_analysis(X, 5).score(X) - 0.1


def test_components_that_say_nothing_are_reported(X):
    vae = VAETransformer(9, hidden_layer_sizes=(), max_epochs=2, random_state=0)
    with pytest.warns(UnusedComponentsWarning, match="of 9 components are unused"):
        vae.fit(X)
    assert 1 <= vae.n_active_components_ <= 5
    assert (vae.kl_per_component_ < 0.01).sum() == 9 - vae.n_active_components_


def test_batch_size_sets_the_number_of_steps(quick, X):
    for size, n_steps in ((50, 4), (64, 4), (200, 1), (1, 200), (10_000, 1)):
        recorder = Recorder()
        quick(
            max_epochs=1,
            batch_size=size,
            early_stopping=False,
            hidden_layer_sizes=(4,),
            net_callbacks=[recorder],
        ).fit(X)
        assert recorder.steps_ == n_steps


def test_optimizer_is_the_one_named(quick, X):
    vae = quick(optimizer="sgd", lr=0.01, weight_decay=0.25).fit(X)
    assert type(vae.net_.optimizer_) is torch.optim.SGD
    assert {g["weight_decay"] for g in vae.net_.optimizer_.param_groups} == {0, 0.25}
    assert type(quick(optimizer=torch.optim.RAdam).fit(X).net_.optimizer_) is (
        torch.optim.RAdam
    )


def test_net_params_reach_the_net(quick, X):
    vae = quick(net_params={"optimizer__betas": (0.5, 0.75), "averaging": 0.5}).fit(X)
    assert vae.net_.optimizer_.param_groups[0]["betas"] == (0.5, 0.75)
    assert vae.net_.averaging == 0.5


def test_weaker_kl_weight_lets_the_latent_say_more(X):
    kl = {}
    for beta in (0.1, 8.0):
        vae = VAETransformer(
            1,
            beta=beta,
            latent=GaussianLatent("standard"),
            max_epochs=20,
            early_stopping=False,
            random_state=0,
        ).fit(X)
        kl[beta] = vae.score_samples(X, "kl").mean()
    assert kl[0.1] > kl[8.0] + 1


def test_score_is_the_bound_whatever_weight_was_trained(quick, X):
    vae = quick(beta=3.0, objective="iwae").fit(X)
    difference = vae.score_samples(X, "reconstruction") - vae.score_samples(X, "kl")
    np.testing.assert_allclose(vae.score_samples(X), difference, rtol=1e-9)


@pytest.mark.parametrize(
    ("kl_warmup", "max_epochs"), [(0.5, 6), (0.9, 5), (0.99, 4), (0.5, 1)]
)
def test_kl_weight_rises_from_zero_and_ends_at_beta(kl_warmup, max_epochs, quick, X):
    recorder = Recorder()
    vae = quick(
        hidden_layer_sizes=(8,),
        beta=2.0,
        kl_warmup=kl_warmup,
        max_epochs=max_epochs,
        n_iter_no_change=1,
        tol=100.0,
        net_callbacks=[("recorder", recorder)],
    ).fit(X)
    betas = recorder.betas_
    assert betas == sorted(betas)
    assert max_epochs == 1 or betas[0] == 0
    assert vae.net_.criterion_.beta == 2.0
    assert vae.n_iter_ > math.floor(kl_warmup * max_epochs)
    assert vae.best_validation_score_ is not None


def test_early_stopping_stops_and_keeps_the_best(X):
    recorder = Recorder()
    vae = VAETransformer(
        density="joint",
        max_epochs=50,
        n_iter_no_change=2,
        lr=0.05,
        random_state=0,
        net_callbacks=[recorder],
    ).fit(X)
    assert vae.n_iter_ < 50
    assert recorder.epochs_ == vae.n_iter_
    assert len(vae.validation_scores_) == len(vae.loss_curve_) == vae.n_iter_
    assert vae.best_validation_score_ >= max(vae.validation_scores_) - vae.tol


def test_without_early_stopping_all_epochs_are_run_on_all_rows(X):
    recorder = Recorder()
    vae = VAETransformer(
        density="joint",
        max_epochs=4,
        early_stopping=False,
        n_iter_no_change=1,
        tol=100.0,
        batch_size=100,
        random_state=0,
        net_callbacks=[recorder],
    ).fit(X)
    assert vae.n_iter_ == recorder.epochs_ == 4
    assert recorder.steps_ == 8
    assert vae.validation_scores_ == []
    assert vae.best_validation_score_ is None
    assert "valid_loss" not in vae.history_[-1]


def test_zero_epochs_is_the_linear_start(X):
    vae = VAETransformer(2, hidden_layer_sizes=(), max_epochs=0, random_state=0).fit(X)
    assert vae.n_iter_ == 0
    assert vae.loss_curve_ == []
    oracle = fit_factor_analysis(X, 2)
    assert -1e-3 < oracle.score(X) - vae.score(X) < 0.5


# skorch -------------------------------------------------------------------------------


def test_history_holds_losses_and_terms_in_nats(fitted):
    assert isinstance(fitted.net_, skorch.NeuralNet)
    assert fitted.history_ is fitted.net_.history
    # as many in each of two stages
    assert 2 * fitted.n_iter_ == len(fitted.history_) == 6
    wanted = {"epoch", "dur"} | {
        f"{part}_{term}"
        for part in ("train", "valid")
        for term in ("loss", "reconstruction", "kl")
    }
    for row in fitted.history_:
        assert wanted <= set(row)
        if row["stage"] == "map":
            # its loss has another weight of the KL
            continue
        for part in ("train", "valid"):
            bound = row[f"{part}_reconstruction"] - row[f"{part}_kl"]
            # means over batches of nearly equal size
            assert -row[f"{part}_loss"] == pytest.approx(bound, abs=1e-3)
    assert fitted.loss_curve_ == fitted.history_[:, "train_loss"]
    assert fitted.validation_scores_ == [-v for v in fitted.history_[:, "valid_loss"]]


def test_losses_are_in_the_units_of_the_table(quick, X):
    vae = quick(early_stopping=False, max_epochs=5, hidden_layer_sizes=()).fit(100 * X)
    assert -vae.loss_curve_[-1] == pytest.approx(vae.score(100 * X), abs=0.2)


def test_net_callbacks_are_called(quick, X):
    recorder, named = Recorder(), Recorder()
    vae = quick(net_callbacks=[recorder, ("mine", named)]).fit(X)
    assert recorder.epochs_ == named.epochs_ == vae.n_iter_ == 2
    assert recorder.steps_ == named.steps_ > 0
    assert dict(vae.net_.callbacks_)["mine"] is named


def test_early_stopping_of_skorch_is_no_interrupt(quick, X):
    stopper = skorch.callbacks.EarlyStopping(
        "train_loss", patience=1, threshold=1e9, threshold_mode="abs", sink=lambda _: 0
    )
    vae = quick(max_epochs=9, net_callbacks=[stopper]).fit(X)
    assert vae.n_iter_ < 9


def test_data_loader_of_torch_can_be_asked_for(quick, X):
    params = {"iterator_train__num_workers": 0, "iterator_train__drop_last": True}
    vae = quick(net_params=params, batch_size=64, early_stopping=False)
    recorder = Recorder()
    vae.set_params(net_callbacks=[recorder]).fit(X)
    assert recorder.steps_ == 6
    assert vae.n_iter_ == 2


def test_workers_can_load_batches(quick, X):
    vae = quick(
        net_params={"iterator_train__num_workers": 1},
        batch_size=64,
        max_epochs=1,
        hidden_layer_sizes=(8,),
    ).fit(X)
    assert np.isfinite(vae.score(X))


def test_progress_bar_shows_the_elbo(quick, X, capsys):
    quick(verbose=1).fit(X)
    shown = capsys.readouterr()
    assert "elbo=" in shown.err + shown.out
    assert "2/2" in shown.err + shown.out
    quick(verbose=0).fit(X)
    shown = capsys.readouterr()
    assert shown.err + shown.out == ""


# going on -----------------------------------------------------------------------------


def test_partial_fit_learns_from_chunks(X):
    chunks = np.array_split(np.random.default_rng(0).permutation(X), 2)
    vae = VAETransformer(2, density="joint", hidden_layer_sizes=(32,), random_state=0)
    scores = []
    for _ in range(8):
        for chunk in chunks:
            assert vae.partial_fit(chunk) is vae
        scores.append(vae.score(X))
    assert vae.n_iter_ == len(vae.history_) == 16
    assert scores[-1] > scores[0] + 0.05


def test_partial_fit_passes_over_the_chunk_once(quick, X):
    for size in (50, "auto"):
        recorder = Recorder()
        vae = quick(batch_size=size, net_callbacks=[recorder])
        for _ in range(2):
            vae.partial_fit(X)
            assert recorder.steps_ == 4
            assert recorder.epochs_ == 1


def test_partial_fit_keeps_the_units_of_the_first_chunk(quick, X):
    vae = quick().partial_fit(X)
    location, unit = vae.columns_.location.copy(), vae.columns_.unit.copy()
    vae.partial_fit(5 * X + 3)
    np.testing.assert_array_equal(vae.columns_.location, location)
    np.testing.assert_array_equal(vae.columns_.unit, unit)


@pytest.mark.parametrize("density", ["joint", "after"])
def test_stream_does_not_grow(density, X):
    n_stages, n_calls = 1 + (density == "after"), 24
    vae = VAETransformer(
        *(2,),
        density=density,
        hidden_layer_sizes=(4,),
        random_state=0,
        max_epochs=60,
        kl_warmup=0.5,
        net_callbacks=[WatchBeta()],
    )
    sizes = []
    for call in range(n_calls):
        vae.partial_fit(X[:40])
        n_rows = min(20, n_stages * (call + 1))
        assert len(vae.history_) == len(vae.loss_curve_) == n_rows
        assert vae.loss_curve_ == vae.history_[:, "train_loss"]
        last = n_stages * (call + 1)
        assert vae.n_iter_ == call + 1
        assert vae.history_[:, "epoch"] == list(range(last - n_rows + 1, last + 1))
        if call > n_calls - 4:
            sizes.append(len(pickle.dumps(vae)))
    assert max(sizes) - min(sizes) < 100
    # the warm-up counts the passes that are not in the history any more
    betas = dict(vae.net_.callbacks_)["WatchBeta"].betas_[::n_stages]
    assert betas == sorted(set(betas))
    vae.set_params(warm_start=True, max_epochs=3, net_callbacks=None)
    vae.set_params(early_stopping=False).fit(X)
    assert vae.n_iter_ == n_calls + 3
    assert len(vae.history_) == 20 + 3 * n_stages
    assert vae.history_[-1, "epoch"] == n_stages * vae.n_iter_


def test_partial_fit_trains_a_fitted_model_further(quick, X):
    vae = quick().fit(X)
    score = vae.score(X)
    vae.partial_fit(X)
    assert vae.n_iter_ == 3
    assert vae.score(X) > score - 0.2


@pytest.mark.parametrize("sizes", [(), (32,)])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_warm_start_trains_the_fitted_model_further(sizes, early_stopping, X):
    vae = VAETransformer(
        2,
        density="joint",
        hidden_layer_sizes=sizes,
        early_stopping=early_stopping,
        n_iter_no_change=100,
        max_epochs=5,
        warm_start=True,
        random_state=0,
    ).fit(X)
    # where it goes on from: the last weights, or those that held-out rows called best
    score, reached = vae.score(X), vae.loss_curve_[-1]
    if early_stopping:
        reached = vae.loss_curve_[0]
    vae.fit(X)
    assert vae.n_iter_ == len(vae.history_) == len(vae.loss_curve_) == 10
    assert vae.loss_curve_[5] < reached + 0.1
    assert vae.score(X) > score - 0.05


def test_warm_start_keeps_the_state_of_the_optimizer(quick, X):
    vae = quick(
        warm_start=True,
        early_stopping=False,
        batch_size=100,
        net_params={"lr_warmup": 6},
    ).fit(X)
    steps = [int(s["step"]) for s in vae.net_.optimizer_.state.values()]
    assert set(steps) == {4}
    vae.set_params(lr=0.001).fit(X)
    steps = [int(s["step"]) for s in vae.net_.optimizer_.state.values()]
    assert set(steps) == {8}
    assert {g["lr"] for g in vae.net_.optimizer_.param_groups} == {0.001}


def test_learning_rate_may_change_between_fits_while_it_rises(quick, X):
    seen = []

    class Watcher(Callback):
        def on_grad_computed(self, net, **kwargs):
            seen.append(net.optimizer_.param_groups[0]["lr"])

    vae = quick(
        warm_start=True,
        early_stopping=False,
        batch_size=100,
        net_callbacks=[Watcher()],
    ).fit(X)
    vae.set_params(lr=0.01).fit(X)
    rising = [0.003 * step / 50 for step in range(1, 5)]
    rising += [0.01 * step / 50 for step in range(5, 9)]
    assert seen == pytest.approx(rising)
    for group in vae.net_.optimizer_.param_groups:
        assert group["lr"] == 0.01


def test_fit_starts_anew_without_warm_start(quick, X):
    vae = quick().fit(X)
    scores = vae.score_samples(X)
    np.testing.assert_array_equal(vae.fit(X).score_samples(X), scores)
    assert vae.n_iter_ == 2


def test_validation_set_takes_the_place_of_held_out_rows(quick, X):
    recorder = Recorder()
    vae = quick(batch_size=120, net_callbacks=[recorder])
    vae.fit(X[:120], X_val=X[120:])
    assert recorder.steps_ == 2
    assert len(vae.validation_scores_) == 2
    other = quick(batch_size=120).fit(X[:120], X_val=X[120:] + 1)
    assert other.validation_scores_ != vae.validation_scores_
    assert vae.validation_scores_[-1] == pytest.approx(vae.score(X[120:]), abs=0.5)


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("as_frame", [False, True])
def test_validation_set_that_cross_validation_would_cut_is_refused(
    as_frame, n_jobs, quick, X
):
    X_val = X[::-1] + 0.1
    if as_frame:
        X, X_val = map(pd.DataFrame, (X, X_val))
    vae = quick(hidden_layer_sizes=(4,), max_epochs=1)
    search = GridSearchCV(vae, {"beta": [0.5, 1.0]}, cv=2, n_jobs=n_jobs)
    with pytest.raises(ValueError, match="X_val has 100 rows, as many as the X of"):
        search.fit(X, X_val=X_val)
    # as a whole, where it has another length, and outside of cross-validation
    search.fit(X, X_val=X_val[:-1])
    expected = clone(search.best_estimator_).fit(X, X_val=X_val[:-1])
    assert search.best_estimator_.validation_scores_ == expected.validation_scores_
    assert clone(vae).fit(X, X_val=X_val).validation_scores_


class _Halves(BaseEstimator):
    """Fits on one half of the rows, and validates on the other."""

    def __init__(self, vae=None):
        self.vae = vae

    def fit(self, X, y=None):
        half = len(X) // 2
        self.vae_ = clone(self.vae).fit(X[:half], X_val=X[half:])
        return self

    def score(self, X, y=None):
        return self.vae_.score(X)


def test_validation_set_that_an_estimator_splits_off_itself_is_accepted(quick, X):
    halves = _Halves(quick(hidden_layer_sizes=(4,), max_epochs=1))
    scores = cross_val_score(halves, X[:160], cv=2, error_score="raise")
    assert np.isfinite(scores).all()


def test_validation_set_goes_through_a_pipeline(X):
    table = 100 * X + 7
    with config_context(enable_metadata_routing=True):
        vae = VAETransformer(2, max_epochs=2, random_state=0)
        vae.set_fit_request(X_val=True, sample_weight=False)
        pipeline = Pipeline(
            [("scale", StandardScaler()), ("vae", vae)], transform_input=["X_val"]
        )
        pipeline.fit(table[:120], X_val=table[120:])
    scaler = StandardScaler().fit(table[:120])
    expected = VAETransformer(2, max_epochs=2, random_state=0).fit(
        scaler.transform(table[:120]), X_val=scaler.transform(table[120:])
    )
    np.testing.assert_allclose(
        pipeline[-1].validation_scores_, expected.validation_scores_
    )


# weights ------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(), (16,)])
def test_rows_of_weight_zero_do_not_count(sizes, quick, X):
    spoilt = X.copy()
    spoilt[::3] = 1e3
    weight = np.ones(len(X))
    weight[::3] = 0
    plain = quick(hidden_layer_sizes=sizes).fit(X[weight > 0])
    weighted = quick(hidden_layer_sizes=sizes).fit(spoilt, sample_weight=weight)
    np.testing.assert_allclose(
        weighted.score_samples(X), plain.score_samples(X), rtol=1e-6, atol=1e-6
    )


def test_equal_weights_are_no_weights(quick, X):
    plain = quick().fit(X).score_samples(X)
    weighted = quick().fit(X, sample_weight=np.full(len(X), 3.0)).score_samples(X)
    np.testing.assert_array_equal(weighted, plain)


def test_weight_is_that_many_rows_in_the_linear_model(X):
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    params = {"hidden_layer_sizes": (), "early_stopping": False, "max_epochs": 0}
    for likelihood in ("gaussian", Gaussian("shared")):
        params["likelihood"] = likelihood
        weighted = VAETransformer(2, random_state=0, **params)
        weighted.fit(X, sample_weight=weight)
        repeated = VAETransformer(2, random_state=0, **params)
        repeated.fit(np.repeat(X, weight, axis=0))
        assert weighted.score(X) == pytest.approx(repeated.score(X), abs=1e-4)
        # factor analysis is found by iteration, probabilistic PCA in closed form
        rtol = 1e-3 if likelihood == "gaussian" else 1e-7
        np.testing.assert_allclose(
            weighted.score_samples(X), repeated.score_samples(X), rtol=rtol, atol=rtol
        )


@pytest.mark.parametrize("likelihood", ["gaussian", "auto"])
def test_weight_is_that_many_rows_in_distribution(likelihood, X):
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    params = {
        "likelihood": likelihood,
        "latent": GaussianLatent("mixture", n_mixture=4),
        "hidden_layer_sizes": (16,),
        "early_stopping": False,
        # all rows in every step: equally many steps, with equal gradients on average
        "batch_size": 1000,
        "max_epochs": 100,
        "weight_decay": 0.1,
    }
    scores = {"weighted": [], "repeated": []}
    for seed in range(6):
        vae = VAETransformer(2, random_state=seed, **params)
        vae.fit(X, sample_weight=weight)
        scores["weighted"].append(vae.score(X, sample_weight=weight))
        vae = VAETransformer(2, random_state=seed, **params)
        vae.fit(np.repeat(X, weight, axis=0))
        scores["repeated"].append(vae.score(X, sample_weight=weight))
    weighted, repeated = map(np.array, scores.values())
    error = np.sqrt((weighted.var(ddof=1) + repeated.var(ddof=1)) / 6)
    # 0.03 nats: a repeated row is seen through more draws, with less noise
    assert abs(weighted.mean() - repeated.mean()) < 4 * error + 0.03


# scikit-learn's callbacks -------------------------------------------------------------


def test_progress_bar_of_scikit_learn_works(quick, X, capsys, sklearn_callback):
    quick().set_callbacks(sklearn_callback.ProgressBar()).fit(X)
    assert "VAETransformer" in capsys.readouterr().out


@pytest.mark.usefixtures("sklearn_callback")
@pytest.mark.parametrize("sizes", [(), (8,)])
def test_tasks_are_reported_with_a_usable_estimator(sizes, quick, X):
    recorder = TaskRecorder()
    # 'auto' chooses the draws of scores once training has ended
    vae = quick(max_epochs=3, hidden_layer_sizes=sizes, n_draws=32)
    vae.set_callbacks(recorder).fit(X)
    epochs = [("epoch", i) for i in range(3)]
    assert recorder.begun == ["setup", ("fit", 0), *epochs]
    assert recorder.ended == [*epochs, ("fit", 0), "setup"]
    assert recorder.scores[-1] == pytest.approx(vae.score(X), rel=1e-9)
    assert {"epoch", "train_loss", "valid_loss"} <= set(recorder.metadata[0])
    # what a second fit reports is in its own units, not those of the first
    vae.fit(100 * X + 7)
    assert recorder.scores[-1] == pytest.approx(vae.score(100 * X + 7), rel=1e-9)


@pytest.mark.usefixtures("sklearn_callback")
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_tasks_are_reported_in_a_warm_start(call, quick, X):
    vae = quick(warm_start=True).fit(X)
    recorder = TaskRecorder()
    getattr(vae.set_callbacks(recorder), call)(X)
    n_epochs = 1 if call == "partial_fit" else 2
    assert len(recorder.begun) == len(recorder.ended) == n_epochs + 2
    assert recorder.scores[-1] == pytest.approx(vae.score(X), rel=1e-9)
    vae.set_callbacks().fit(X)
    assert len(recorder.begun) == n_epochs + 2


@pytest.mark.usefixtures("sklearn_callback")
def test_every_task_that_begins_ends_when_training_stops_by_itself(quick, X):
    recorder = TaskRecorder()
    vae = quick(max_epochs=9, n_iter_no_change=2, tol=100.0, hidden_layer_sizes=(8,))
    vae.set_callbacks(recorder).fit(X)
    assert vae.n_iter_ == 2
    assert sorted(map(str, recorder.begun)) == sorted(map(str, recorder.ended))


@pytest.mark.usefixtures("sklearn_callback")
def test_every_task_that_begins_ends_when_training_is_interrupted(quick, X):
    class Interrupter(Callback):
        def on_batch_end(self, net, training=False, **kwargs):
            if len(net.history) == 2:
                raise KeyboardInterrupt

    recorder = TaskRecorder()
    vae = quick(max_epochs=9, net_callbacks=[Interrupter()]).set_callbacks(recorder)
    with pytest.raises(KeyboardInterrupt):
        vae.fit(X)
    assert vae.n_iter_ == 2
    assert sorted(map(str, recorder.begun)) == sorted(map(str, recorder.ended))


@pytest.mark.usefixtures("sklearn_callback")
def test_both_stages_are_tasks_of_a_callback_of_scikit_learn(quick, X):
    recorder = TaskRecorder()
    vae = quick(density="after").set_callbacks(recorder).fit(X)
    assert sorted(map(str, recorder.begun)) == sorted(map(str, recorder.ended))
    assert sum(task[0] == "epoch" for task in recorder.begun) == len(vae.history_) == 4
    assert np.isfinite(recorder.scores).all()


@pytest.mark.usefixtures("sklearn_callback")
def test_callback_of_scikit_learn_stops_training(quick, X):
    recorder = TaskRecorder(stop_after=2)
    vae = quick(max_epochs=9).set_callbacks(recorder).fit(X)
    assert vae.n_iter_ == len(vae.history_) == 2
    assert vae.transform(X).shape == (200, 2)


def test_callbacks_work_inside_a_grid_search(quick, X, capsys, sklearn_callback):
    search = GridSearchCV(
        quick(hidden_layer_sizes=(8,)), {"n_components": [1, 2]}, cv=2
    )
    search.set_callbacks(sklearn_callback.ProgressBar()).fit(X)
    assert "VAETransformer" in capsys.readouterr().out
    assert search.best_estimator_.transform(X).shape[0] == len(X)


# sampling and coming back -------------------------------------------------------------


def test_transform_is_the_posterior_mean(fitted, X):
    mean, std = fitted.posterior(X)
    np.testing.assert_array_equal(fitted.transform(X), mean)
    assert mean.shape == std.shape == (200, 2)
    assert mean.dtype == std.dtype == np.float32
    assert (std > 0).all()


def test_fit_transform_equals_fit_and_transform(quick, X):
    np.testing.assert_array_equal(quick().fit_transform(X), quick().fit(X).transform(X))


def test_reconstruct_is_transform_and_back(fitted, X):
    expected = fitted.inverse_transform(fitted.transform(X))
    assert expected.dtype == X.dtype
    np.testing.assert_allclose(fitted.reconstruct(X), expected, rtol=1e-6, atol=1e-6)
    assert np.mean((expected - X) ** 2) < 0.5 * X.var()


def test_sample_is_reproducible_and_fresh_otherwise(fitted):
    a, b = (fitted.sample(5, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert a.shape == (5, 6)
    assert fitted.sample().shape == (1, 6)
    assert not np.array_equal(fitted.sample(5, random_state=4), a)
    assert not np.array_equal(fitted.sample(5), fitted.sample(5))
    state = np.random.RandomState(3)
    assert not np.array_equal(
        fitted.sample(5, random_state=state), fitted.sample(5, random_state=state)
    )


def test_samples_resemble_the_table():
    table = load("iris")
    vae = VAETransformer(2, random_state=0).fit(table)
    drawn = vae.sample(20_000, random_state=0)
    spread = table.std(axis=0)
    np.testing.assert_array_less(
        np.abs(drawn.mean(axis=0) - table.mean(axis=0)), 0.25 * spread
    )
    np.testing.assert_allclose(drawn.std(axis=0), spread, rtol=0.25)
    np.testing.assert_allclose(np.corrcoef(drawn.T), np.corrcoef(table.T), atol=0.2)
    means = vae.sample(20_000, random_state=0, mean=True)
    # a column may have hardly any noise: 3 % is six standard errors
    assert (means.std(axis=0) < 1.03 * drawn.std(axis=0)).all()


def test_samples_of_a_linear_model_have_its_covariance():
    table, covariance = make_factors(5000, 5, 2, random_state=0)
    vae = VAETransformer(2, hidden_layer_sizes=(), max_epochs=2, random_state=0).fit(
        table
    )
    drawn = vae.sample(50_000, random_state=0)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(np.cov(drawn.T) / scale, covariance / scale, atol=0.06)


# containers ---------------------------------------------------------------------------


def make_frame(X):
    frame = pd.DataFrame(X.copy(), columns=list("abcdef"))
    frame["b"] = np.rint(10 * frame["b"]).astype("int64")
    frame["c"] = frame["c"].astype("float32")
    frame["d"] = np.rint(frame["d"]).astype("Int16")
    frame["e"] = np.rint(20 + 5 * frame["e"]).astype("uint8")
    return frame


def test_pandas_comes_back_with_columns_and_types(quick, X):
    frame = make_frame(X)
    vae = quick(hidden_layer_sizes=()).fit(frame)
    assert list(vae.feature_names_in_) == list(frame.columns)
    for back in (
        vae.reconstruct(frame),
        vae.inverse_transform(vae.transform(frame)),
        vae.sample(7, random_state=0),
        vae.sample(7, random_state=0, mean=True),
    ):
        assert isinstance(back, pd.DataFrame)
        assert (back.dtypes == frame.dtypes).all()
        assert list(back.columns) == list(frame.columns)
    assert vae.reconstruct(frame).shape == frame.shape


def test_pyarrow_types_of_pandas_come_back(quick, X):
    frame = make_frame(X).convert_dtypes(dtype_backend="pyarrow")
    back = quick(hidden_layer_sizes=()).fit(frame).sample(7, random_state=0)
    assert (back.dtypes == frame.dtypes).all()


def test_polars_comes_back_with_columns_and_types(quick, X):
    frame = pl.from_pandas(make_frame(X))
    vae = quick(hidden_layer_sizes=()).fit(frame)
    for back in (vae.reconstruct(frame), vae.sample(7, random_state=0)):
        assert isinstance(back, pl.DataFrame)
        assert back.schema == frame.schema
    np.testing.assert_allclose(
        vae.score_samples(frame), vae.score_samples(frame.to_pandas()), rtol=1e-6
    )


def test_columns_with_integer_names_come_back(quick, X):
    frame = pd.DataFrame(X, columns=[3, 1, 4, 15, 9, 2])
    back = quick(hidden_layer_sizes=()).fit(frame).reconstruct(frame)
    assert list(back.columns) == list(frame.columns)
    assert not back.isna().any(axis=None)


def test_arrays_come_back_as_arrays_of_their_precision(quick, X):
    for dtype in (np.float32, np.float64):
        vae = quick(hidden_layer_sizes=()).fit(X.astype(dtype))
        for back in (vae.reconstruct(X.astype(dtype)), vae.sample(3)):
            assert type(back) is np.ndarray
            assert back.dtype == dtype
    whole = np.rint(10 * X).astype(int)
    assert quick(hidden_layer_sizes=()).fit(whole).reconstruct(whole).dtype == float


def test_precision_of_the_table_hardly_matters(quick, X):
    wide = quick().fit(X.astype(np.float32).astype(np.float64))
    np.testing.assert_allclose(
        wide.score_samples(X.astype(np.float32)),
        wide.score_samples(X.astype(np.float32).astype(np.float64)),
        rtol=1e-6,
    )


def test_set_output_and_feature_names(quick, X):
    vae = quick(hidden_layer_sizes=(8,)).fit(X)
    names = ["vaetransformer0", "vaetransformer1"]
    assert list(vae.get_feature_names_out()) == names
    plain = vae.transform(X)
    vae.set_output(transform="pandas")
    assert list(vae.transform(X).columns) == names
    np.testing.assert_array_equal(vae.transform(X), plain)
    np.testing.assert_array_equal(
        vae.inverse_transform(vae.transform(X)).shape, X.shape
    )
    vae.set_output(transform="polars")
    assert vae.transform(X).columns == names


def make_binary(n_samples=200):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((n_samples, 1))
    return z + 0.7 * rng.standard_normal((n_samples, 5)) > 0


def test_boolean_tables_are_bernoulli(quick):
    table = make_binary()
    vae = quick().fit(table)
    assert isinstance(vae.net_.module_.likelihood.single, Bernoulli)
    assert (vae.score_samples(table, "reconstruction") < 0).all()
    means = vae.reconstruct(table)
    assert ((means > 0) & (means < 1)).all()
    assert set(np.unique(vae.sample(50, random_state=0))) == {0, 1}
    independent = table.mean(axis=0)
    independent = np.where(table, independent, 1 - independent)
    assert vae.score(table) > np.log(independent).sum(axis=1).mean()
    as_numbers = quick(likelihood="bernoulli").fit(table.astype(float))
    np.testing.assert_array_equal(
        as_numbers.score_samples(table.astype(float)), vae.score_samples(table)
    )


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_boolean_frames_come_back_boolean(make, quick):
    frame = make({name: make_binary()[:, i] for i, name in enumerate("vwxyz")})
    vae = quick().fit(frame)
    assert isinstance(vae.net_.module_.likelihood.single, Bernoulli)
    for back in (vae.reconstruct(frame), vae.sample(9, random_state=0)):
        assert isinstance(back, make)
        assert list(back.dtypes) == list(frame.dtypes)
        assert list(back.columns) == list("vwxyz")


# tables of odd shape ------------------------------------------------------------------


def test_constant_columns_are_safe(quick, X):
    table = np.column_stack([X[:, :3], np.full(200, 7.0), np.zeros(200)])
    vae = quick().fit(table)
    assert np.isfinite(vae.score_samples(table)).all()
    np.testing.assert_allclose(vae.reconstruct(table)[:, 3:], table[:, 3:], atol=1e-2)


def test_far_away_columns_lose_no_digits(quick, X):
    far = quick().fit(X + 1e6).score(X + 1e6)
    assert far == pytest.approx(quick().fit(X).score(X), abs=0.05)


def test_two_rows_are_enough(X):
    vae = VAETransformer(1, max_epochs=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedComponentsWarning)
        vae.fit(X[:2])
    assert np.isfinite(vae.score_samples(X[:2])).all()


def test_more_features_than_rows_are_fine(quick):
    table = np.random.default_rng(0).standard_normal((30, 120))
    table += np.random.default_rng(1).standard_normal((30, 1)) * 3
    vae = quick().fit(table)
    assert np.isfinite(vae.score_samples(table, "evidence")).all()


def test_lists_and_noncontiguous_tables_are_accepted(quick, X):
    vae = quick(hidden_layer_sizes=())
    scores = vae.fit(X).score_samples(X)
    np.testing.assert_array_equal(vae.fit(X.tolist()).score_samples(X), scores)
    for table in (np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2]):
        # sums are rounded in another order
        np.testing.assert_allclose(
            vae.fit(table).score_samples(table), scores, rtol=0.01, atol=0.01
        )


# scikit-learn -------------------------------------------------------------------------


def test_clone_gives_an_equal_unfitted_estimator(quick, X):
    vae = quick(
        latent=GaussianLatent(n_mixture=3),
        likelihood=GaussianMixture(2),
        network=TorchNetwork(4),
        net_callbacks=[Recorder()],
    ).fit(X)
    twin = clone(vae)
    assert not hasattr(twin, "net_")
    assert twin.get_params()["latent__n_mixture"] == 3
    assert twin.get_params()["network__width"] == 4
    assert twin.latent is not vae.latent
    np.testing.assert_array_equal(twin.fit(X).score_samples(X), vae.score_samples(X))


def test_warm_start_accepts_parameters_of_the_same_meaning(quick, X):
    vae = quick(latent="gaussian", hidden_layer_sizes=8, warm_start=True).fit(X)
    vae.set_params(latent=GaussianLatent(), hidden_layer_sizes=(8,)).fit(X)
    vae.set_params(latent__prior="standard")
    with pytest.raises(ValueError, match=r"latent=Gaussian\(prior='standard'\) is not"):
        vae.fit(X)


def test_network_for_all_columns_alike_refuses_a_mixed_table(quick):
    class Outputs(MLP):
        has_outputs = True

    frame = pd.DataFrame({"a": np.arange(20.0), "b": ["x", "y"] * 10})
    with pytest.raises(ValueError, match="columns have different ones"):
        quick(network=Outputs()).fit(frame)


def test_warnings_point_at_the_line_of_the_user(quick):
    X = np.random.default_rng(0).normal(size=(60, 3))
    frame = pd.DataFrame({"a": ["x", "y"] * 30, "b": X[:, 0]})
    other = frame.replace({"a": {"x": "z"}})
    fitted = quick(1).fit(frame)
    calls = [
        lambda: fitted.transform(other),
        lambda: fitted.score(other),
        lambda: quick(3).fit_transform(X),
        lambda: make_pipeline(StandardScaler(), quick(3)).fit(X),
    ]
    for call in calls:
        with pytest.warns(UserWarning, match="categories|components") as caught:
            call()
        assert {Path(one.filename).name for one in caught} == {Path(__file__).name}


def test_grid_search_over_nested_parameters_and_members(quick, X):
    search = GridSearchCV(
        quick(latent=GaussianLatent(), hidden_layer_sizes=(8,)),
        {
            "latent__n_mixture": [1, 3],
            "likelihood": [Gaussian("feature"), GaussianMixture(2)],
        },
        cv=2,
        error_score="raise",
    ).fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert len(set(scores)) == 4
    assert search.best_score_ == max(scores)
    assert search.score(X) == search.best_estimator_.score(X)


def test_parameters_of_members_are_reached_by_their_names(quick, X):
    vae = quick(likelihood="student_t", hidden_layer_sizes=(8,))
    vae.set_params(latent__prior="standard", likelihood__df=3.0)
    assert vae.latent.prior == "standard"
    # in one call, whatever the order
    vae.set_params(objective__n_draws=2, objective="iwae")
    assert (type(vae.objective).__name__, vae.objective.n_draws) == ("IWAE", 2)
    # what is an instance already keeps its other parameters
    vae.set_params(latent__covariance="full")
    assert vae.latent.prior == "standard"
    search = GridSearchCV(vae, {"likelihood__df": [2.0, 30.0]}, cv=2).fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] != scores[1]
    pipeline = make_pipeline(StandardScaler(), VAETransformer())
    pipeline.set_params(vaetransformer__latent__n_mixture=3)
    assert pipeline[-1].latent.n_mixture == 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"likelihood__count__dispersion": "network"}, "network"),
        ({"likelihood__count": "poisson"}, "poisson"),
    ],
)
def test_parameters_of_wrapped_members_are_reached_by_their_names(given, expected):
    vae = VAETransformer(likelihood=ZeroInflated("negative_binomial"))
    vae.set_params(**given)
    assert vae.get_params()[next(iter(given))] == expected
    vae = VAETransformer(likelihood="transformed")
    vae.set_params(likelihood__base__n_mixture=3)
    assert vae.likelihood.base.n_mixture == 3


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("device__x", "device='auto' has no parameters of its own"),
        ("likelihood__df", "likelihood='auto' has no parameters.*skvae.likelihoods"),
        ("network__dropout", "network='auto' has no parameters.*hidden_layer_sizes"),
        ("latent__foo", r"'foo' for estimator Gaussian\(\)"),
    ],
)
def test_parameters_that_no_member_has_are_refused(key, advice):
    vae = VAETransformer()
    with pytest.raises(ValueError, match=advice):
        vae.set_params(objective__n_draws=3, **{key: 1})
    assert (vae.latent, vae.objective) == ("gaussian", "elbo")


def test_pipeline_transforms_scores_and_comes_back(X):
    table = 100 * X + 7
    pipeline = make_pipeline(
        StandardScaler(), VAETransformer(2, max_epochs=2, random_state=0)
    ).fit(table)
    assert pipeline.transform(table).shape == (200, 2)
    assert np.isfinite(pipeline.score(table))
    back = pipeline.inverse_transform(pipeline.transform(table))
    assert np.mean((back - table) ** 2) < 0.5 * table.var()


def test_fits_run_in_processes(quick, X):
    vae = quick(hidden_layer_sizes=(4,))
    expected = [clone(vae).set_params(random_state=s).fit(X).score(X) for s in (0, 1)]
    fits = joblib.Parallel(n_jobs=2, backend="loky")(
        joblib.delayed(clone(vae).set_params(random_state=s).fit)(X) for s in (0, 1)
    )
    np.testing.assert_allclose([v.score(X) for v in fits], expected, rtol=1e-6)


def test_fits_run_in_threads(quick, X):
    vae = quick(hidden_layer_sizes=(4,))
    expected = [clone(vae).set_params(random_state=s).fit(X).score(X) for s in (0, 1)]
    fits = joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(clone(vae).set_params(random_state=s).fit)(X) for s in (0, 1)
    )
    np.testing.assert_allclose([v.score(X) for v in fits], expected, rtol=1e-6)


def test_clusters_are_kept_apart():
    table, labels = make_blobs(300, 5, centers=3, random_state=0)
    z = VAETransformer(2, max_epochs=5, random_state=0).fit_transform(table)
    centres = np.array([z[labels == k].mean(axis=0) for k in range(3)])
    within = np.mean([z[labels == k].std(axis=0) for k in range(3)])
    distances = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    assert distances[np.triu_indices(3, 1)].min() > 3 * within
