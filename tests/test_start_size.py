"""n_components='auto': the size of the latent that the linear model asks for."""

import time

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback
from threadpoolctl import threadpool_limits

from skvae import VAETransformer
from skvae._closed_form._linear import LinearModel, fit_ppca
from skvae._start import choose_clusters, choose_size
from skvae._start._size import SIZES, _score_ppca, compute_covariance
from skvae.datasets import make_factors, make_mixed
from skvae.latents import Categorical, Hierarchical
from skvae.likelihoods import Gaussian, GaussianMixture

# two epochs of a small network
unused = pytest.mark.filterwarnings("ignore:.* components are unused")


def standardise(X):
    return (X - X.mean(axis=0)) / X.std(axis=0)


def choose(X, likelihood=None, weight=None):
    link = (likelihood or GaussianMixture()).link
    return choose_size(X, weight, link, np.ones(X.shape[1]))


@pytest.mark.parametrize(("n", "d", "q"), [(300, 8, 2), (600, 20, 3), (2000, 40, 8)])
def test_number_of_factors_is_found(n, d, q):
    X, _ = make_factors(n, d, q, random_state=0)
    assert choose(standardise(X)) == q
    # one noise for all columns needs components for the differences
    assert choose(standardise(X), Gaussian(noise="shared")) >= q


def test_number_of_factors_is_found_where_cells_are_missing():
    X, _ = make_factors(600, 12, 3, random_state=0)
    X = standardise(X)
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    assert choose(X) == 3


def test_independent_columns_have_one_component():
    X = np.random.default_rng(0).standard_normal((500, 10))
    assert choose(X) == 1


def test_a_single_row_far_away_does_not_decide():
    X, _ = make_factors(300, 10, 2, random_state=0)
    X = standardise(X)
    X[0, 3] = 1e6
    assert choose(standardise(X)) == 2


@pytest.mark.parametrize("shape", [(2, 1), (2, 5), (5, 2), (8, 100), (40, 3)])
def test_sizes_of_small_tables_are_possible(shape):
    X = np.random.default_rng(0).standard_normal(shape)
    assert 1 <= choose(X) < max(shape[1], 2)


def test_weights_count_as_repeated_rows():
    few, _ = make_factors(300, 15, 1, random_state=0)
    many, _ = make_factors(300, 15, 5, random_state=1)
    X = np.concatenate([standardise(few), standardise(many)])
    weight = np.repeat([1.0, 1e-6], 300)
    assert choose(X, weight=weight) == 1
    assert choose(X, weight=weight[::-1]) == 5


def test_scores_of_all_sizes_are_those_of_probabilistic_pca():
    X, _ = make_factors(200, 9, 3, random_state=0)
    train, valid = X[:150], X[150:]
    unit = np.linspace(0.5, 2.0, 9)
    covariance = compute_covariance(train, None)
    sizes = SIZES[:4]
    scores = _score_ppca(covariance, valid, sizes, unit)
    for size, found in zip(sizes, scores, strict=True):
        model = fit_ppca(covariance, size, 1 / unit)
        assert isinstance(model, LinearModel)
        np.testing.assert_allclose(found, model.score_samples(valid), rtol=1e-9)


def test_number_of_clusters_is_found():
    generator = np.random.default_rng(0)
    means = 3 * generator.standard_normal((3, 6))
    X = means[generator.integers(0, 3, 600)] + generator.standard_normal((600, 6))
    assert choose_clusters(standardise(X), None, GaussianMixture().link) == 3


@pytest.mark.parametrize("row", range(25))
def test_a_column_may_be_constant_where_a_fold_trains(row):
    X = np.random.default_rng(0).standard_normal((25, 5))
    X[:, 0] = 0.3 + (np.arange(25) == row)
    X, link = standardise(X), GaussianMixture().link
    assert choose_clusters(X, np.full(25, 0.7), link) in (2, 3)
    assert 1 <= choose_size(X, None, link, np.ones(5)) <= 4


def test_auto_is_the_fit_with_the_number_that_it_chose(X, quick):
    auto = quick("auto").fit(X)
    assert auto.n_components == "auto"
    assert auto.transform(X).shape == (len(X), auto.n_components_)
    same = quick(auto.n_components_).fit(X)
    assert same.n_components_ == auto.n_components_
    np.testing.assert_array_equal(auto.transform(X), same.transform(X))
    assert auto.score(X) == same.score(X)


@pytest.mark.parametrize("params", [{"init": "random"}, {"standardize": False}])
def test_auto_goes_with_other_parameters(X, quick, params):
    assert quick("auto", **params).fit(X).n_components_ >= 1


@unused
def test_auto_takes_mixed_tables_with_missing_cells(quick):
    frame = make_mixed(300, missing=0.1, random_state=0)
    model = quick("auto").fit(frame)
    assert 1 <= model.n_components_ < 12
    assert model.transform(frame).shape == (300, model.n_components_)


@unused
def test_auto_takes_categories_alone(quick):
    generator = np.random.default_rng(0)
    group = generator.integers(0, 2, 300)
    levels = {
        f"c{j}": np.where(generator.random(300) < 0.8, group, 1 - group)
        for j in range(6)
    }
    frame = pd.DataFrame(levels).replace({0: "a", 1: "b"}).astype("category")
    assert quick("auto").fit(frame).n_components_ <= 2


@unused
def test_one_column_and_constant_columns_have_one_component(X, quick):
    assert quick("auto").fit(X[:, :1]).n_components_ == 1
    assert quick("auto").fit(np.ones((20, 3))).n_components_ == 1


@unused
@pytest.mark.parametrize(
    ("latent", "n"),
    [(Hierarchical(sizes=(3, 1)), 4), (Categorical(n_categories=4), 4)],
)
def test_hyper_parameters_of_a_latent_decide(X, quick, latent, n):
    assert quick("auto", latent=latent).fit(X).n_components_ == n


@unused
def test_lowest_layer_of_a_hierarchy_is_as_wide_as_the_linear_model(X, quick):
    n_linear = quick("auto").fit(X).n_components_
    model = quick("auto", latent="hierarchical").fit(X)
    latent = model.net_.module_.latent
    assert latent.split(model.n_components_)[0] == n_linear


def test_categories_of_a_latent_are_chosen(X, quick):
    model = quick("auto", latent="categorical").fit(X)
    assert 2 <= model.n_components_ <= 27
    np.testing.assert_allclose(model.transform(X).sum(axis=1), 1, rtol=1e-5)


def test_first_chunk_decides(X, quick):
    model = quick("auto").partial_fit(X[:100])
    n_components = model.n_components_
    assert n_components == quick("auto").fit(X[:100]).n_components_
    assert model.partial_fit(X[100:]).n_components_ == n_components


def test_warm_start_keeps_the_size(X, quick):
    model = quick("auto", warm_start=True).fit(X)
    n_components = model.n_components_
    noise = np.random.default_rng(0).standard_normal(X.shape)
    assert model.fit(noise).n_components_ == n_components
    with pytest.raises(ValueError, match="n_components=1 is not the 'auto'"):
        model.set_params(n_components=1).fit(X)


def test_rows_of_weight_zero_have_no_part_in_the_size(X, quick):
    weight = np.r_[np.ones(120), np.zeros(80)]
    found = quick("auto").fit(X, sample_weight=weight).n_components_
    assert found == quick("auto").fit(X[:120]).n_components_


def test_other_words_are_refused(X, quick):
    with pytest.raises(ValueError, match=r"n_components.*'auto'"):
        quick("many").fit(X)


def test_size_is_chosen_in_a_tenth_of_a_fit():
    X, _ = make_factors(500, 30, 3, random_state=0)
    X = standardise(X)
    with threadpool_limits(1):
        begin = time.process_time()
        choose(X)
        chosen = time.process_time()
        VAETransformer(3, random_state=0, device="cpu").fit(X)
    # a fit takes at least ten epochs; three times the share, because machines are busy
    assert chosen - begin < 0.3 * (time.process_time() - chosen)


class Scores(Callback):
    """Replace the held-out score of every epoch."""

    def __init__(self, scores):
        self.scores = scores

    def on_batch_end(self, net, training=False, **kwargs):
        epoch = len(net.history)
        if not training:
            net.history.record_batch("valid_loss", -self.scores[epoch - 1])


def fit_with_scores(X, scores, **params):
    model = VAETransformer(
        1,
        hidden_layer_sizes=(4,),
        max_epochs=len(scores),
        n_iter_no_change=len(scores),
        batch_size=200,
        net_callbacks=[Scores(scores)],
        density="joint",
        random_state=0,
        **params,
    )
    return clone(model).fit(X)


def test_training_that_still_improves_at_its_end_warns(X):
    rising = np.linspace(0, 10, 50)
    with pytest.warns(ConvergenceWarning, match="max_epochs=50 ended a training"):
        fit_with_scores(X, rising)
    # without a warning: flat at the end, short, or one of several fits
    fit_with_scores(X, np.minimum(rising, 5))
    fit_with_scores(X, rising[:20])
    fit_with_scores(X, rising, warm_start=True)
    fit_with_scores(X, rising, early_stopping=False)
