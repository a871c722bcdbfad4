"""Ensembles: the mean density of members, what it is made of, and what it refuses."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch_network import TorchNetwork

from skvae import UnusedComponentsWarning, VAEOutlierDetector, VAETransformer
from skvae._training._splits import make_splits
from skvae._utils._random_state import make_generator
from skvae._utils._seed import draw_seed, seeded
from skvae.datasets import make_mixed

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{UnusedComponentsWarning.__module__}.{UnusedComponentsWarning.__name__}"
)
SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 3, "random_state": 0}
# ways to an ensemble: side by side, on few rows held out, or in turn
WAYS = {
    "after": {},
    "joint": {"density": "joint"},
    "map": {"density": None},
    "mixture": {"latent": "categorical"},
    "hierarchical": {"latent": "hierarchical"},
    "last epoch": {"early_stopping": False},
    "linear": {"hidden_layer_sizes": ()},
    "torch": {"network": TorchNetwork(4), "density": "joint"},
}


def make(n_ensemble=3, n_components=2, **params):
    return VAETransformer(
        n_components, n_ensemble=n_ensemble, **{**SMALL, "density": "joint", **params}
    )


def list_members(vae):
    """Return the models of the members, the one whose z is kept first."""
    return vae._get_model().models


@pytest.fixture(scope="module")
def ensemble(X):
    return make().fit(X)


@pytest.fixture(scope="module")
def holed(X):
    holed = X[:40].copy()
    holed[np.random.default_rng(0).random(holed.shape) < 0.3] = np.nan
    return holed


@pytest.mark.parametrize("way", WAYS)
def test_scores_are_those_of_the_mean_density(way, X):
    vae = make(**{"density": "after", **WAYS[way]}).fit(X)
    members = list_members(vae)
    assert len(members) == 3
    for method in ("elbo", "evidence"):
        parts = np.array([member.score(X, method) for member in members])
        expected = logsumexp(parts, axis=0) - np.log(3)
        np.testing.assert_allclose(vae.score_samples(X, method), expected)
        # Jensen's inequality, row by row
        assert (vae.score_samples(X, method) >= parts.mean(axis=0) - 1e-9).all()
    assert (vae.score_samples(X, "evidence") >= vae.score_samples(X) - 1e-9).all()
    parts = vae.score_samples(X, "reconstruction") - vae.score_samples(X, "kl")
    np.testing.assert_allclose(parts, vae.score_samples(X))
    cells = vae.score_features(X).sum(axis=1)
    np.testing.assert_allclose(cells, vae.score_samples(X, "reconstruction"))


@pytest.mark.parametrize("way", [w for w in WAYS if w not in ("linear", "mixture")])
def test_members_differ(way, X):
    vae = make(init="random", **{"density": "after", **WAYS[way]}).fit(X)
    scores = [member.score(X, "elbo") for member in list_members(vae)]
    for i in range(3):
        for j in range(i):
            assert np.abs(scores[i] - scores[j]).max() > 1e-3


def test_refined_scores_are_never_below_the_elbo(ensemble, X):
    refined = ensemble.score_samples(X[:20], "refined")
    assert (refined >= ensemble.score_samples(X[:20]) - 1e-9).all()


def test_elbo_is_a_lower_bound_of_the_log_density(ensemble, X):
    evidence, std = ensemble.score_samples(
        X[:20], "evidence", n_draws=4000, return_std=True
    )
    assert (ensemble.score_samples(X[:20], n_draws=4000) < evidence + 4 * std).all()


def test_standard_errors_are_those_of_repeated_draws(ensemble, X):
    _, std = ensemble.score_samples(X[:50], "elbo", n_draws=30, return_std=True)
    exact = ensemble.score_samples(X[:50], "elbo", n_draws=20_000)
    error = ensemble.score_samples(X[:50], "elbo", n_draws=30) - exact
    assert 0.1 < np.sqrt(np.mean(error**2) / np.mean(std**2)) < 2


def test_scores_of_a_row_do_not_depend_on_its_batch(ensemble, X, holed):
    for rows in (X[:6], holed[:6]):
        one_by_one = np.concatenate([ensemble.score_samples(row[None]) for row in rows])
        scores = ensemble.score_samples(rows)
        # z, of double precision, may be rounded to the next number of single precision
        np.testing.assert_allclose(scores, one_by_one, rtol=2e-8)
        filled = np.concatenate([ensemble.impute(row[None]) for row in rows])
        np.testing.assert_allclose(ensemble.impute(rows), filled, rtol=1e-6)


def test_equal_seeds_give_equal_ensembles(ensemble, X):
    again = make().fit(X)
    np.testing.assert_array_equal(again.score_samples(X), ensemble.score_samples(X))
    np.testing.assert_array_equal(again.transform(X), ensemble.transform(X))
    other = make(random_state=1).fit(X)
    assert (other.score_samples(X) != ensemble.score_samples(X)).any()


def test_latent_is_that_of_one_member(ensemble, X):
    first = list_members(ensemble)[0]
    assert first.module is ensemble.net_.module_
    z = ensemble.transform(X)
    assert z.shape == (200, 2)
    np.testing.assert_array_equal(z, first.embed(X))
    np.testing.assert_array_equal(ensemble.posterior(X)[0], z)
    np.testing.assert_array_equal(ensemble.inverse_transform(z), first.decode(z))
    np.testing.assert_array_equal(ensemble.reconstruct(X), first.reconstruct(X))


def test_in_turn_the_latent_is_that_of_the_best_held_out_score(X):
    vae = make(**WAYS["torch"]).fit(X)
    best = dict(vae.net_.callbacks_)["best_weights"].best_loss_
    assert vae.best_validation_score_ == -best
    assert vae.n_iter_ == 3


def test_rows_are_drawn_from_all_members(ensemble, X):
    rows = ensemble.sample(20_000, random_state=0, bounded=False)
    members = [m.draw(20_000, False) for m in list_members(ensemble)]
    expected = np.mean([m.mean(axis=0) for m in members], axis=0)
    np.testing.assert_allclose(rows.mean(axis=0), expected, atol=0.05)
    again = ensemble.sample(20_000, random_state=0, bounded=False)
    np.testing.assert_array_equal(rows, again)
    assert ensemble.sample(7, mean=True, random_state=0).shape == (7, 6)


def test_rows_are_drawn_given_columns(ensemble, X):
    rows = ensemble.sample(50, given={0: X[0, 0], 3: 0.5}, random_state=0)
    assert rows.shape == (50, 6)
    np.testing.assert_array_equal(rows[:, [0, 3]], [[X[0, 0], 0.5]] * 50)


def test_members_fill_cells_by_the_density_of_the_others(ensemble, holed):
    holed = holed[np.isnan(holed).any(axis=1)]
    filled = ensemble.impute(holed, n_draws=200, bounded=False)
    members = list_members(ensemble)
    share = np.array([m.score(holed, "evidence") for m in members])
    share = np.exp(share - logsumexp(share, axis=0))
    with seeded(draw_seed(make_generator(0))):
        found = np.array([m.impute(holed, 200, False) for m in members])
    expected = (share[..., None] * found).sum(axis=0)
    np.testing.assert_allclose(filled, expected)
    known = ~np.isnan(holed)
    np.testing.assert_array_equal(filled[known], holed[known])
    first = ensemble.impute(holed, random_state=0)
    np.testing.assert_array_equal(first, ensemble.impute(holed, random_state=0))
    assert not np.isnan(first).any()


def test_complete_rows_are_left_as_they_are(ensemble, X):
    np.testing.assert_array_equal(ensemble.impute(X[:5]), X[:5])


def test_tables_of_several_kinds():
    table = make_mixed(300, missing=0.1, random_state=0)
    vae = make(density="after").fit(table)
    filled = vae.impute(table)
    assert isinstance(filled, pd.DataFrame)
    assert not filled.isna().any().any()
    pd.testing.assert_series_equal(filled.dtypes, vae.impute(table.iloc[:9]).dtypes)
    for name in table:
        if isinstance(table[name].dtype, pd.CategoricalDtype):
            assert filled[name].isin(table[name].cat.categories).all()
    assert list(vae.sample(5, random_state=0).columns) == list(table.columns)
    assert vae.score_features(table).shape == table.shape


def test_columns_that_are_all_constant():
    X = np.ones((30, 3))
    vae = make().fit(X)
    np.testing.assert_allclose(vae.score_samples(X, "kl"), 0.0, atol=1e-12)
    np.testing.assert_allclose(vae.sample(2, random_state=0), 1.0)


def test_copies_keep_all_members(ensemble, X, tmp_path):
    expected = ensemble.score_samples(X)
    restored = pickle.loads(pickle.dumps(ensemble))
    np.testing.assert_array_equal(restored.score_samples(X), expected)
    joblib.dump(ensemble, tmp_path / "vae.joblib")
    restored = joblib.load(tmp_path / "vae.joblib")
    np.testing.assert_array_equal(restored.score_samples(X), expected)
    assert len(list_members(restored)) == 3


def test_parameter_is_cloned_and_searched(X):
    assert clone(make(4)).get_params()["n_ensemble"] == 4
    search = GridSearchCV(make(), {"n_ensemble": [1, 3]}, cv=2, n_jobs=2).fit(X)
    assert search.best_params_ == {"n_ensemble": 3}


def test_one_member_is_the_model_without_an_ensemble(X):
    alone = VAETransformer(2, **SMALL).fit(X)
    np.testing.assert_array_equal(
        make(1, density="after").fit(X).score_samples(X), alone.score_samples(X)
    )
    assert not alone.net_.module_others_


def test_a_later_fit_forgets_the_members(X):
    vae = make().fit(X)
    vae.set_params(n_ensemble=1)
    assert not vae.fit(X).net_.module_others_
    vae = make().fit(X).set_params(n_ensemble=1)
    vae.partial_fit(X)
    assert not vae.net_.module_others_
    assert np.isfinite(vae.score_samples(X)).all()


@pytest.mark.parametrize("value", [0, -1, 2.0, 1.5, "3", None, True])
def test_numbers_of_members_that_are_none_are_refused(value, X):
    with pytest.raises(ValueError, match="'n_ensemble' parameter"):
        make(value).fit(X)


def test_training_further_is_refused(ensemble, X):
    with pytest.raises(ValueError, match="n_ensemble=3 is not for warm_start=True"):
        make(warm_start=True).fit(X)
    with pytest.raises(ValueError, match="n_ensemble=3 is not for partial_fit"):
        make().partial_fit(X)
    before = ensemble.score_samples(X)
    with pytest.raises(ValueError, match="use n_ensemble=1"):
        ensemble.partial_fit(X)
    np.testing.assert_array_equal(ensemble.score_samples(X), before)


def test_validation_set_is_held_out_from_all_members(X):
    vae = make().fit(X[:150], X_val=X[150:])
    assert len(list_members(vae)) == 3
    assert len(vae.validation_scores_) > 0


def test_weights_of_rows_reach_all_members(X):
    weight = np.repeat([1.0, 0.0], [150, 50])
    vae = make().fit(X, sample_weight=weight)
    assert np.isfinite(vae.score_samples(X)).all()


def test_own_callbacks_see_every_training(X):
    from skorch.callbacks import Callback

    class Count(Callback):
        n = 0

        def on_train_begin(self, net, **kwargs):
            Count.n += 1

    make(net_callbacks=[Count()]).fit(X)
    assert Count.n == 1
    make(net_callbacks=[Count()], **WAYS["torch"]).fit(X)
    assert Count.n == 4


@pytest.mark.parametrize("way", ["joint", "torch"])
def test_interrupts_lose_nothing(way, X):
    from skorch.callbacks import Callback

    class Stop(Callback):
        n_begun = 0

        def on_train_begin(self, net, **kwargs):
            self.n_begun += 1

        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2 and (way == "joint" or self.n_begun == 2):
                raise KeyboardInterrupt

    vae = make(net_callbacks=[Stop()], **WAYS[way])
    with pytest.raises(KeyboardInterrupt):
        vae.fit(X)
    # in turn, the third is not begun
    assert len(list_members(vae)) == (3 if way == "joint" else 2)
    assert np.isfinite(vae.score_samples(X)).all()


def test_tables_too_large_side_by_side_are_trained_in_turn(X, monkeypatch):
    from skvae._training import _plan

    monkeypatch.setattr(_plan, "_MAX_STACKED_BYTES", 0)
    vae = make().fit(X)
    assert len(list_members(vae)) == 3
    assert np.isfinite(vae.score_samples(X)).all()
    detector = VAEOutlierDetector(contamination=0.1, trim=None, n_ensemble=2, **SMALL)
    assert len(detector.fit(X).calibration_scores_) == 200


@pytest.mark.usefixtures("sklearn_callback")
@pytest.mark.parametrize("way", ["joint", "after", "torch"])
def test_callbacks_of_scikit_learn_see_one_training(way, X):
    class Recorder:
        names = ()
        setup = teardown = on_fit_task_begin = lambda self, estimator, context: None

        def on_fit_task_end(self, estimator, context, **kwargs):
            self.names += (context.task_name,)

    recorder = Recorder()
    vae = make(**{"density": "after", **WAYS[way]}).set_callbacks(recorder)
    vae.fit(X)
    assert recorder.names.count("epoch") == (6 if way == "after" else 3)


def test_large_tables_hold_out_other_rows_for_every_member():
    generator = np.random.default_rng(0)
    splits = make_splits(4000, 0.1, generator, can_stack=True, n_members=3)
    assert [len(rows) for rows in splits.train] == [3600] * 3
    assert len(np.unique(np.concatenate(splits.valid))) == 1200
    # a share that is too large for parts without common rows
    splits = make_splits(4000, 0.4, generator, can_stack=True, n_members=3)
    for train, valid in zip(splits.train, splits.valid, strict=True):
        assert len(valid) == 1600
        np.testing.assert_array_equal(np.sort(np.append(train, valid)), range(4000))


def test_small_tables_train_all_members_on_all_rows():
    generator = np.random.default_rng(0)
    splits = make_splits(500, 0.1, generator, can_stack=True, n_members=3)
    assert [len(rows) for rows in splits.train[-3:]] == [500] * 3
    assert len(splits.valid) == len(splits.train) - 3


@pytest.mark.parametrize("way", ["joint", "linear"])
@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_thresholds_are_those_of_ensembles(way, contamination, X):
    params = SMALL | {k: v for k, v in WAYS[way].items() if k != "density"}
    detector = VAEOutlierDetector(
        contamination=contamination, trim=None, n_ensemble=3, **params
    ).fit(X)
    members = list_members(detector)
    parts = np.array([m.score(X, "tempered") for m in members])
    expected = logsumexp(parts, axis=0) - np.log(3)
    np.testing.assert_allclose(detector.score_samples(X, "tempered"), expected)
    if contamination == 0.1 and way == "joint":
        assert len(detector.calibration_scores_) == 200
    assert 0 < detector.p_values(X).min() <= 1
    assert detector.explain(X[:2]).shape == (2, 6)
    assert (detector.score_samples(X, "regret") <= 1e-9).all()


def test_held_out_rows_are_scored_by_ensembles(X, monkeypatch):
    from skvae._outliers import _pooled

    found = []

    def keep(data, *args):
        found.extend(data.fold_models)
        return collect(data, *args)

    collect = _pooled.collect_scores
    monkeypatch.setattr(_pooled, "collect_scores", keep)
    VAEOutlierDetector(contamination=0.1, trim=None, n_ensemble=2, **SMALL).fit(X)
    assert [len(model.models) for model, _ in found] == [2] * 5
    rows = np.concatenate([rows for _, rows in found])
    np.testing.assert_array_equal(np.sort(rows), np.arange(200))


def test_pickled_members_are_on_a_device_that_is_there(ensemble):
    state = pickle.loads(pickle.dumps(ensemble))
    devices = {p.device for m in state.net_.module_others_ for p in m.parameters()}
    assert devices == {torch.device(ensemble.device_)}
