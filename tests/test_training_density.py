"""Density after a map, `density="after"`: z stays, and p(x|z) is learned around it."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from skvae import VAETransformer
from skvae.datasets import make_factors
from skvae.latents import Gaussian as GaussianLatent
from skvae.latents import Hierarchical
from skvae.likelihoods._autoregressive import AutoregressiveColumns

SETTINGS = {"density": "after", "device": "cpu", "random_state": 0}
QUICK = SETTINGS | {"max_epochs": 3, "hidden_layer_sizes": (16,)}


@pytest.fixture(scope="module")
def wine():
    return StandardScaler().fit_transform(load_wine().data)


def get_map(vae):
    """Return the model of the map inside a fitted estimator."""
    return vae._get_model().map


@pytest.mark.parametrize("seed", range(3))
def test_a_value_that_one_held_out_row_has_does_not_undo_training(seed):
    X, _ = make_factors(400, 6, random_state=0)
    spikes = np.zeros((400, 3))
    spikes[np.random.default_rng(seed).integers(400, size=3), range(3)] = 5.0
    settings = SETTINGS | {"n_components": 2, "max_epochs": 12, "random_state": seed}
    table = np.hstack([X, spikes])
    score = VAETransformer(**settings).fit(table).score(table)
    joint = VAETransformer(**settings | {"density": "joint"}).fit(table).score(table)
    assert score > joint - 1


def test_score_is_above_linear_models_and_the_map_at_least_pca():
    X = load_breast_cancer().data
    train, test = train_test_split(X, test_size=0.3, random_state=0)
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    vae, pca = VAETransformer(2, **SETTINGS).fit(train), PCA(2).fit(train)
    linear = max(pca.score(test), FactorAnalysis(2).fit(train).score(test))
    # columns depend on one another, given two numbers
    assert vae.score(test) > linear + 10
    error = ((test - vae.reconstruct(test)) ** 2).sum()
    expected = ((test - pca.inverse_transform(pca.transform(test))) ** 2).sum()
    assert error < expected


LATENTS = {
    "gaussian": "gaussian",
    "standard": GaussianLatent(prior="standard"),
    "vamp": GaussianLatent(prior="vamp", n_mixture=4),
    "full": GaussianLatent(covariance="full"),
    "hierarchical": Hierarchical((1, 1)),
    "top_down": Hierarchical((1, 1), inference="top_down"),
    "categorical": "categorical",
}


@pytest.mark.filterwarnings("ignore:.*components are unused:UserWarning")
@pytest.mark.parametrize("has_missing", [False, True], ids=["complete", "missing"])
@pytest.mark.parametrize("name", LATENTS)
def test_z_is_that_of_the_map(wine, name, has_missing):
    X = wine.copy()
    if has_missing:
        X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    vae = VAETransformer(2, **QUICK, latent=LATENTS[name]).fit(X)
    Z = vae.transform(X)
    unit = vae.net_.module_.z_unit.numpy()
    scale = unit if Z.shape[1] == len(unit) else 1.0
    expected = get_map(vae).embed(X) * scale
    np.testing.assert_allclose(Z, expected, rtol=1e-4, atol=1e-5)
    if name in ("gaussian", "standard", "vamp", "full"):
        # also of incomplete rows, whose scores have means of their own
        np.testing.assert_allclose(vae.posterior(X)[0], Z, rtol=1e-4, atol=1e-5)
    assert len(vae.validation_scores_) > 0
    assert np.isfinite(vae.score_samples(X)).all()


def test_training_moves_the_density_and_not_the_map(wine):
    fits = [
        VAETransformer(2, **QUICK | {"max_epochs": n}, early_stopping=False).fit(wine)
        for n in (0, 3)
    ]
    start = fits[0].net_.module_.linear_start
    module = fits[1].net_.module_
    names = dict(module.named_parameters())
    assert names
    assert not any(name.startswith("linear_start") for name in names)
    assert {n for n in module.state_dict() if n.startswith("linear_start.map.")}
    assert all(not p.requires_grad for p in module.linear_start.map.parameters())
    moved = (
        names["decoder_head.weight"]
        - dict(fits[0].net_.module_.named_parameters())["decoder_head.weight"]
    )
    assert moved.abs().max() > 0
    assert start.ratio.shape == module.linear_start.ratio.shape == (1, wine.shape[1])


def test_start_is_the_map_with_the_normal_distribution_of_what_it_leaves(wine):
    vae = VAETransformer(2, **QUICK | {"max_epochs": 0}).fit(wine)
    score, model = vae.score(wine), get_map(vae)
    Z = model.embed(wine)
    spread = model.compute_posterior(wine)[:, 1]
    W = model.decode(np.eye(2, dtype=np.float32)) - model.decode(np.zeros((1, 2)))
    left = wine - model.decode(Z)
    noise = left.T @ left / len(wine) + W.T @ np.diag((spread**2).mean(axis=0)) @ W
    mean = model.decode(np.zeros((1, 2)))[0]
    linear = multivariate_normal(mean, W.T @ W + noise).logpdf(wine).mean()
    diagonal = multivariate_normal(mean, W.T @ W + np.diag(np.diag(noise)))
    # the chain is shrunk by held-out rows, and the bound has a posterior of its own
    assert score > diagonal.logpdf(wine).mean() - 1
    assert score < linear + 2


def test_columns_that_are_no_numbers_start_at_the_map():
    frame = pd.DataFrame({"a": load_iris().data[:, 0], "b": load_iris().data[:, 1]})
    frame["count"] = np.random.default_rng(0).poisson(frame["a"])
    frame["flag"] = frame["a"] > 5.5
    frame["kind"] = np.where(frame["b"] > 3, "x", np.where(frame["a"] > 6, "y", "z"))
    likelihood = {"count": "negative_binomial"}
    settings = QUICK | {"likelihood": likelihood, "n_draws": 32}
    vae = VAETransformer(1, **settings).fit(frame)
    module = vae.net_.module_
    kept = [index is None for _, index in module.linear_start.sources]
    names = [type(m).__name__ for m in module.likelihood.members]
    assert dict(zip(names, kept, strict=True))["NegativeBinomial"]
    start = VAETransformer(1, **settings | {"max_epochs": 0}).fit(frame)
    alone = VAETransformer(1, **settings | {"max_epochs": 0, "density": None})
    cells = [np.asarray(v.score_features(frame)) for v in (start, alone.fit(frame))]
    np.testing.assert_allclose(cells[0][:, 2:], cells[1][:, 2:], rtol=1e-4, atol=1e-5)
    assert np.abs(cells[0][:, :2] - cells[1][:, :2]).max() > 0.1


def test_columns_depend_on_one_another_unless_a_dict_names_one():
    X = load_iris().data
    vae = VAETransformer(1, **QUICK).fit(X)
    assert isinstance(vae.net_.module_.likelihood, AutoregressiveColumns)
    vae = VAETransformer(1, **QUICK | {"likelihood": {0: "laplace"}}).fit(X)
    assert not vae.net_.module_.likelihood.is_joint
    images = load_digits().data[:100]
    settings = QUICK | {"image_shape": (1, 8, 8), "network": "mlp"}
    vae = VAETransformer(2, **settings).fit(images)
    assert not vae.net_.module_.likelihood.is_joint
    assert vae.reconstruct(images[:3]).shape == (3, 64)


def test_noise_is_that_of_held_out_rows():
    """Few rows, and a network that learns them by heart."""
    X = np.random.default_rng(0).standard_normal((60, 8))
    vae = VAETransformer(4, **SETTINGS, early_stopping=False, max_epochs=100).fit(X)
    assert vae.net_.module_.linear_start.widening == 1
    known = VAETransformer(4, **SETTINGS).fit(X)
    assert known.net_.module_.linear_start.widening > 1
    new = np.random.default_rng(1).standard_normal((500, 8))
    # a map of columns that have nothing in common is given up for the linear one
    assert known.score(new) > PCA(4).fit(X).score(new) - 0.05


def test_repeated_values_are_drawn_as_often():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(400)
    zero = np.where(rng.random(400) < 0.5, 0, np.round(np.exp(x + 3)))
    frame = pd.DataFrame({"x": x, "zero": zero.astype(int), "flag": x > 0})
    vae = VAETransformer(1, **SETTINGS | {"max_epochs": 10}).fit(frame)
    assert vae.net_.module_.linear_start.widening > 1
    drawn = vae.sample(1000, bounded=False, random_state=0)
    assert abs((drawn["zero"] == 0).mean() - (zero == 0).mean()) < 0.1


def test_density_of_all_rows_is_not_worse_than_that_of_held_out_rows(wine):
    """It was where it was regressed on decoded columns that contained the rows."""
    settings = SETTINGS | {"hidden_layer_sizes": (64, 64)}
    for n_components in (2, 5):
        vae = VAETransformer(n_components, **settings).fit(wine)
        assert vae.score(wine) > vae.best_validation_score_


def test_columns_of_few_values_do_not_follow_a_map_that_varies():
    """A spike that the map moves with z would have to be moved back exactly."""
    X = load_digits().data[:600]
    X = StandardScaler().fit_transform(X[:, X[:400].std(axis=0) > 0])
    train, test = X[:400], X[400:]
    vae = VAETransformer(5, **SETTINGS, max_epochs=30).fit(train)
    free = vae.net_.module_.free.detach()
    (_, own) = vae.net_.module_.likelihood.read_free(free)
    tilt = own.reshape(-1, train.shape[1])
    spike = (np.abs(train - np.median(train, axis=0)) < 1e-9).mean(axis=0)
    assert (tilt[:, spike > 0.8].min(dim=0).values < -0.5).all()
    # without, the linear map had the better density, and was kept
    found = [m.inverse_transform(m.transform(test)) for m in (vae, PCA(5).fit(train))]
    error, linear = (np.mean((test - part) ** 2) for part in found)
    assert error < 0.85 * linear


def test_column_with_one_value_that_differs_is_as_wide_as_it_varies():
    """What the map leaves of that one row says nothing about others."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 6)) @ rng.standard_normal((6, 6))
    X[:, 5] = 0.0
    X[7, 5] = 1.0
    X = StandardScaler().fit_transform(X)
    vae = VAETransformer(3, **SETTINGS, max_epochs=30).fit(X)
    unit = float(vae.net_.module_.linear_start.ratio.flatten()[5])
    assert unit > 0.9
    new = X[:50].copy()
    new[0, 5] *= -1000.0
    linear = FactorAnalysis(3).fit(X).score_samples(new)[0]
    assert vae.score_samples(new)[0] > 3 * linear


def test_what_is_named_and_linear_models_have_one_stage():
    X = load_iris().data
    cases = {"likelihood": "student_t"}, {"hidden_layer_sizes": ()}, {"objective": "tc"}
    for params in cases:
        fits = [
            VAETransformer(2, **QUICK | params | {"density": density}).fit(X)
            for density in ("after", "joint")
        ]
        np.testing.assert_array_equal(*(vae.score_samples(X) for vae in fits))


def test_history_has_the_epochs_of_both_stages(wine):
    vae = VAETransformer(2, **QUICK).fit(wine)
    epochs = [row["epoch"] for row in vae.history_]
    assert epochs == list(range(1, len(epochs) + 1))
    stages = [row["stage"] for row in vae.history_]
    assert stages == sorted(stages, reverse=True)
    assert set(stages) == {"map", "density"}
    assert len(epochs) == len(vae.loss_curve_) == len(vae.validation_scores_)
    assert 3 < len(epochs) <= 6
    assert vae.n_iter_ == max(stages.count("map"), stages.count("density")) == 3


def test_pickles_and_copies_score_alike(wine):
    vae = VAETransformer(2, **QUICK).fit(wine)
    assert vae.net_.map_net_ is None
    for again in (pickle.loads(pickle.dumps(vae)), copy.deepcopy(vae)):
        np.testing.assert_array_equal(again.transform(wine), vae.transform(wine))
        np.testing.assert_array_equal(
            again.score_samples(wine), vae.score_samples(wine)
        )


@pytest.mark.parametrize("was_warm", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("copies", [False, True], ids=["same", "pickled"])
def test_warm_start_trains_both_stages_further(wine, copies, was_warm):
    vae = VAETransformer(2, **QUICK | {"lr": 0.02}, warm_start=was_warm).fit(wine)
    before, n_iter, n_rows = vae.transform(wine), vae.n_iter_, len(vae.history_)
    unit = vae.net_.module_.z_unit.clone()
    if copies:
        vae = pickle.loads(pickle.dumps(vae))
    vae.set_params(early_stopping=False, warm_start=True).fit(wine)
    after = vae.transform(wine)
    assert vae.n_iter_ == n_iter + 3
    assert np.abs(after - before).max() > 1e-4
    np.testing.assert_allclose(
        get_map(vae).embed(wine) * unit.numpy(), after, rtol=1e-4
    )
    torch.testing.assert_close(vae.net_.module_.z_unit, unit)
    assert [row["epoch"] for row in vae.history_] == list(range(1, n_rows + 7))


def test_stream_trains_both_stages_on_every_chunk(wine):
    vae = VAETransformer(2, **QUICK)
    vae.partial_fit(wine[:90])
    first = vae.transform(wine)
    score = vae.score(wine)
    for _ in range(10):
        vae.partial_fit(wine[90:]).partial_fit(wine[:90])
    assert np.abs(vae.transform(wine) - first).max() > 1e-3
    assert vae.score(wine) > score
    assert vae.n_iter_ == 21


class Interrupt(Callback):
    """Press Ctrl-C in an epoch, counted over both stages."""

    def __init__(self, epoch):
        self.epoch, self.n_seen = epoch, 0

    def on_epoch_end(self, net, **kwargs):
        self.n_seen += 1
        if self.n_seen == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("epoch", [2, 5])
def test_interrupted_model_can_be_used_and_trained_further(wine, epoch):
    interrupt = Interrupt(epoch)
    # skorch copies callbacks that are passed as classes only
    vae = VAETransformer(
        2, **QUICK, warm_start=True, early_stopping=False, net_callbacks=[interrupt]
    )
    with pytest.raises(KeyboardInterrupt):
        vae.fit(wine)
    assert np.isfinite(vae.score_samples(wine)).all()
    assert vae.net_.module_.is_refined == (epoch > 3)
    vae.set_params(net_callbacks=None).fit(wine)
    assert vae.net_.module_.is_refined
    assert np.isfinite(vae.score_samples(wine)).all()


def test_draws_and_missing_cells_follow_the_dependence_of_columns():
    rng = np.random.default_rng(0)
    f = rng.standard_normal((400, 1))
    X = f + 0.3 * rng.standard_normal((400, 6))
    X[:, 5] = X[:, 4]
    vae = VAETransformer(1, **SETTINGS).fit(X)
    drawn = vae.sample(500, random_state=0, bounded=False)
    assert np.corrcoef(drawn[:, 4], drawn[:, 5])[0, 1] > 0.99
    gaps = X[:50].copy()
    gaps[:, 5] = np.nan
    found = vae.impute(gaps)[:, 5]
    assert np.sqrt(((found - X[:50, 5]) ** 2).mean()) < 0.1
    drawn = vae.sample(200, given={4: 1.5}, random_state=0)
    assert np.abs(drawn[:, 5] - 1.5).mean() < 0.1


def test_refined_posterior_may_leave_the_map(wine):
    vae = VAETransformer(2, **QUICK).fit(wine)
    refined, _ = vae.posterior(wine[:20], refine=True)
    assert np.abs(refined - vae.transform(wine[:20])).max() > 1e-3
    elbo, best = (vae.score_samples(wine[:20], m) for m in ("elbo", "refined"))
    assert (best > elbo - 0.05).all()


def test_weights_that_are_frozen_stay_frozen(wine):
    class Frozen(Callback):
        def on_train_begin(self, net, **kwargs):
            if not net.module_.is_refined:
                net.module_.encoder.requires_grad_(False)

    settings = QUICK | {"early_stopping": False, "warm_start": True}
    vae = VAETransformer(2, **settings, net_callbacks=[Frozen()]).fit(wine)
    module = vae.net_.module_.linear_start.map
    before = [p.clone() for p in module.encoder.parameters()]
    vae.set_params(net_callbacks=None).fit(wine)
    after = vae.net_.module_.linear_start.map.encoder.parameters()
    for one, two in zip(before, after, strict=True):
        assert torch.equal(one, two)


def test_conv_network_is_for_the_map(wine):
    X = load_digits().images[:120, None]
    vae = VAETransformer(2, **QUICK | {"max_epochs": 1}).set_params(
        image_shape=(1, 8, 8)
    )
    vae.fit(X)
    module = vae.net_.module_
    assert module.linear_start.map.network.needs_images
    assert not module.network.needs_images
    assert vae.reconstruct(X[:2]).shape == (2, 1, 8, 8)


def test_model_after_the_linear_map_is_trained_further():
    X = np.random.default_rng(0).standard_normal((400, 6))
    settings = SETTINGS | {"max_epochs": 30, "warm_start": True}
    vae = VAETransformer(2, **settings).fit(X)
    assert {row["stage"] for row in vae.fit(X).history_} == {"map", "density"}


def test_noise_of_held_out_rows_counts_by_their_weight():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 1)) + 0.5 * rng.standard_normal((400, 4))
    X[::10] += 200 * rng.standard_normal((40, 4))
    weight = np.where(np.arange(400) % 10 == 0, 1e-9, 1.0)
    settings = SETTINGS | {"max_epochs": 8}
    vae = VAETransformer(1, **settings).fit(X, sample_weight=weight)
    clean = weight == 1
    alone = VAETransformer(1, **settings).fit(X[clean])
    assert vae.score(X[clean]) > alone.score(X[clean]) - 0.3


@pytest.mark.parametrize("column", [0, 2])
def test_column_with_few_cells_is_fitted(column):
    X = np.random.default_rng(0).standard_normal((9000, 3))
    known = X[:3, column].copy()
    X[:, column] = np.nan
    X[[0, 4000, 8999], column] = known
    vae = VAETransformer(1, **QUICK | {"max_epochs": 1}).fit(X)
    assert np.isfinite(vae.score_samples(X[:50])).all()


def test_streams_and_warm_starts_have_callbacks_of_scikit_learn(wine, sklearn_callback):
    vae = VAETransformer(2, **QUICK).set_callbacks(sklearn_callback.ProgressBar())
    vae.partial_fit(wine)
    pickle.dumps(vae.net_)
    vae.partial_fit(wine)
    assert np.isfinite(vae.score(wine))


def test_automatic_density_may_be_named_for_some_columns(wine):
    likelihood = {0: "gaussian_mixture", 3: "gaussian_mixture"}
    vae = VAETransformer(2, **QUICK, likelihood=likelihood).fit(wine)
    kept = [index is None for _, index in vae.net_.module_.linear_start.sources]
    assert sorted(kept) == [False, True]
    assert np.isfinite(vae.score_samples(wine)).all()


def test_interrupted_map_of_a_table_with_constant_columns_is_trained_further(wine):
    frame = pd.DataFrame(wine[:, :3], columns=list("abc"))
    frame["same"], frame["kind"] = 1.0, np.where(wine[:, 0] > 0, "x", "y")
    settings = QUICK | {"warm_start": True, "early_stopping": False}
    vae = VAETransformer(2, **settings, net_callbacks=[Interrupt(2)])
    with pytest.raises(KeyboardInterrupt):
        vae.fit(frame)
    vae.set_params(net_callbacks=None).fit(frame)
    assert vae.net_.module_.is_refined
    assert np.isfinite(vae.score_samples(frame)).all()
    with pytest.raises(ValueError, match="density='joint'"):
        vae.set_params(density="joint").fit(frame)


@pytest.mark.filterwarnings("ignore:.*components are unused:UserWarning")
def test_prior_stays_that_of_the_map_where_posteriors_depend_on_it(wine):
    settings = QUICK | {"latent": Hierarchical((2, 1))}
    vae = VAETransformer(3, **settings)
    for _ in range(3):
        vae.partial_fit(wine)
    module = vae.net_.module_
    assert module.prior is module.linear_start.map.prior
    assert not any("prior" in name for name, _ in module.named_parameters())


class ShiftedLatent(GaussianLatent):
    """A latent of a user's own, with a posterior that ignores the linear start."""

    is_anchored = False

    def posterior(self, raw, loc, scale):
        return super().posterior(raw, torch.zeros_like(loc), torch.ones_like(scale))

    def keep_point(self, raw):
        return torch.zeros_like(raw)


def test_latents_of_ones_own_have_one_stage_without_keep_point(wine, monkeypatch):
    monkeypatch.delattr(GaussianLatent, "keep_point")
    monkeypatch.delattr(ShiftedLatent, "keep_point")
    vae = VAETransformer(2, **QUICK, latent=ShiftedLatent(prior="standard")).fit(wine)
    assert not vae.net_.module_.is_refined


def test_named_callbacks_are_there_when_a_fitted_model_gets_a_chunk(wine):
    params = {"callbacks__mine__epoch": 99}
    vae = VAETransformer(
        2, **QUICK, net_callbacks=[("mine", Interrupt(99))], net_params=params
    ).fit(wine)
    assert np.isfinite(vae.partial_fit(wine).score(wine))


def test_double_precision_leaves_the_map_where_it_is(wine):
    vae = VAETransformer(2, **QUICK, early_stopping=False).fit(wine)
    start = vae.net_.module_.linear_start
    precise = start.make_precise(...)
    ours = {id(module) for module in start.map.modules()}
    assert not ours & {id(module) for module in precise.map.modules()}


def test_clone_and_repr(wine):
    vae = clone(VAETransformer(2, **QUICK))
    assert vae.density == "after"
    with pytest.raises(ValueError, match="density"):
        VAETransformer(density="before").fit(wine)
