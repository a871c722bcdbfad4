"""The detector's default score: the model's and the distance of a row, pooled."""

import pickle

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.special import expit
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from skvae import VAEOutlierDetector
from skvae._outliers._nearest import measure_nearness
from skvae._outliers._pooling import Pooling
from skvae.datasets import make_factors, make_mixed

QUICK = {
    "max_epochs": 5,
    "hidden_layer_sizes": (16,),
    "random_state": 0,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def table():
    X, _ = make_factors(700, 6, 2, random_state=0)
    return X[:400] * [1, 10, 0.1, 1, 1, 1], X[400:] * [1, 10, 0.1, 1, 1, 1]


@pytest.fixture(scope="module")
def detector(table):
    return VAEOutlierDetector(trim=None, **QUICK).fit(table[0])


def test_nearness_is_the_distance_from_two_neighbours(detector, table):
    X, new = table
    unit = (X - X.mean(axis=0)) / X.std(axis=0)
    other = (new - X.mean(axis=0)) / X.std(axis=0)
    index = NearestNeighbors(n_neighbors=2).fit(unit)
    for rows, (distances, _) in (
        (new, index.kneighbors(other)),
        # a row is not its own neighbour
        (X, index.kneighbors()),
    ):
        expected = -np.log(distances.mean(axis=1) + 1e-3)
        found = detector.score_samples(rows, "nearest")
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_pooled_is_the_mean_logarithm_of_p_values(detector, table):
    X, new = table
    p_values = []
    for method in ("tempered", "nearest"):
        known = np.sort(detector.score_samples(X, method))
        # the k-th of n sorted scores, the smallest of a share of k / n
        low, middle = known[int(np.ceil(0.1587 * 400)) - 1], known[199]
        scores = detector.score_samples(new, method)
        p_values.append(expit((scores - middle) / (middle - low)))
    expected = np.mean(np.log(p_values), axis=0)
    np.testing.assert_allclose(detector.score_samples(new), expected, rtol=1e-9)


def test_scores_far_away_are_finite_and_in_order(detector, table):
    rows = np.repeat(table[1][:1], 6, axis=0)
    rows[:, 2] += 10.0 ** np.arange(1, 13, 2)
    scores = detector.score_samples(rows)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) < 0).all()
    assert (detector.predict(rows) == -1).all()


def test_a_row_is_scored_by_itself(detector, table):
    scores = detector.score_samples(table[1])
    for rows in (slice(0, 1), slice(5, 9), slice(None, None, -1)):
        part = detector.score_samples(table[1][rows])
        np.testing.assert_allclose(part, scores[rows], rtol=2e-8)


def test_units_and_order_of_columns_do_not_matter_to_distances(detector, table):
    X, new = table
    order = np.random.default_rng(0).permutation(6)
    other = VAEOutlierDetector(trim=None, **QUICK).fit(7 * X[:, order] + 2)
    np.testing.assert_allclose(
        other.score_samples(7 * new[:, order] + 2, "nearest"),
        detector.score_samples(new, "nearest"),
        atol=1e-4,
    )


def test_weights_are_equal_rows(table):
    X, new = table
    weight = 1 + np.arange(400) % 3
    # the encoder's inputs are those of the whole table, so that moments agree, too
    one = VAEOutlierDetector(trim=None, **QUICK).fit(X, sample_weight=weight)
    other = VAEOutlierDetector(trim=None, **QUICK).fit(np.repeat(X, weight, axis=0))
    for rows in (X, new):
        np.testing.assert_allclose(
            one.score_samples(rows, "nearest"),
            other.score_samples(rows, "nearest"),
            atol=1e-4,
        )


def test_rows_left_out_of_training_are_no_neighbours(table):
    X = table[0].copy()
    X[:20] += 6 * X.std(axis=0)
    known = VAEOutlierDetector(**QUICK).fit(X)
    assert known.trimmed_[:20].all()
    near = known.score_samples(X, "nearest")
    assert near[:20].max() < near[20:].min()
    assert (known.predict(X[:20]) == -1).all()


@pytest.mark.parametrize("n_features", [30, 100])
def test_one_cell_far_off_in_many_columns_is_found(n_features):
    X, _ = make_factors(600, n_features, 5, random_state=0)
    detector = VAEOutlierDetector(**QUICK).fit(X[:400])
    rows, columns = X[400:440].copy(), np.arange(40) % n_features
    rows[np.arange(40), columns] += 12 * X.std(axis=0)[columns]
    assert (detector.predict(rows) == -1).mean() > 0.9
    assert (detector.predict(X[400:]) == -1).mean() < 0.06


def test_a_broken_combination_is_found_at_an_ordinary_distance():
    X = load_breast_cancer().data[np.random.default_rng(0).permutation(569)]
    model = VAEOutlierDetector(random_state=0, device="cpu", max_epochs=30).fit(X[:400])
    rows = X[400:][X[400:, 0] > 13]
    rows[:, 0] = 9.0  # a radius, beside the area of a larger one
    assert (model.predict(rows) == -1).mean() > 0.8


def test_another_value_of_a_constant_column_is_odd(table):
    X = np.column_stack([table[0], np.full(400, 3.0)])
    detector = VAEOutlierDetector(**QUICK).fit(X)
    rows = X[:50].copy()
    rows[:, 6] = 4.0
    assert (detector.predict(rows) == -1).all()
    np.testing.assert_allclose(
        detector.score_samples(X[:50], "nearest"),
        detector.score_samples(rows, "nearest"),
    )
    rows[:, 6] = np.nan
    assert (detector.predict(rows) == -1).mean() < 0.1


@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
def test_a_constant_table_has_scores():
    detector = VAEOutlierDetector(**QUICK).fit(np.ones((40, 3)))
    scores = detector.score_samples([[1.0, 1, 1], [1, 1, 2]])
    assert np.isfinite(scores).all()
    assert scores[1] < scores[0] - 5


@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
@pytest.mark.parametrize("n_varying", [0, 6])
def test_sparse_tables_have_the_scores_of_dense_ones(n_varying):
    X = np.random.default_rng(0).poisson(0.5, (90, 8)).astype(float)
    X[:, n_varying:] = 1
    detector = VAEOutlierDetector(likelihood="poisson", **QUICK).fit(csr_array(X))
    dense = VAEOutlierDetector(likelihood="poisson", **QUICK).fit(X)
    X[3, 7] = 2
    for method in ("nearest", "pooled"):
        np.testing.assert_allclose(
            detector.score_samples(csr_array(X), method),
            dense.score_samples(X, method),
            rtol=1e-4,
        )
    assert detector.offset_ == pytest.approx(dense.offset_, rel=1e-4)


def test_mixed_tables_with_missing_values(table):
    X = make_mixed(500, random_state=0)
    detector = VAEOutlierDetector(**QUICK).fit(X)
    for method in ("nearest", "pooled"):
        assert np.isfinite(detector.score_samples(X, method)).all()
    # without any observed cell, a row is the expected one
    nothing = X[:1].mask(np.ones((1, X.shape[1]), dtype=bool))
    assert np.isfinite(detector.score_samples(nothing)).all()
    assert detector.predict(nothing) == 1


def test_standard_errors_are_those_of_the_model_weighed(detector, table):
    scores, error = detector.score_samples(table[1], return_std=True)
    many = [
        detector.score_samples(table[1], n_draws=n) for n in (200, 201, 202, 203, 204)
    ]
    assert (error > 0).all()
    assert (np.abs(scores - np.mean(many, axis=0)) < 5 * error + 1e-3).all()
    with pytest.raises(ValueError, match="return_std=True is not for method='nearest'"):
        detector.score_samples(table[1], "nearest", return_std=True)
    with pytest.raises(ValueError, match="n_draws=5 is not for method='nearest'"):
        detector.score_samples(table[1], "nearest", n_draws=5)


def test_weights_are_derivatives():
    g = np.random.default_rng(0)
    pooling = Pooling.of(g.normal(size=(200, 2)) * [3, 0.1])
    scores, step = g.normal(size=(20, 2)) * [9, 0.3], 1e-6
    for column in (0, 1):
        change = step * (np.arange(2) == column)
        slope = (pooling.pool(scores + change) - pooling.pool(scores - change)) / 2e-6
        np.testing.assert_allclose(pooling.weigh(scores)[:, column], slope, rtol=1e-4)


def test_equal_scores_have_a_spread():
    scores = np.array([[0.0, 1.0]] * 90 + [[-5.0, 1.0]] * 10)
    pooled = Pooling.of(scores).pool(np.array([[0.0, 1.0], [-5.0, 1.0], [-5.0, 0.5]]))
    assert np.isfinite(pooled).all()
    assert (np.diff(pooled) < 0).all()


def test_equal_rows_have_no_distance(table):
    equal = np.repeat(table[0][:3], 20, axis=0)
    scores = VAEOutlierDetector(**QUICK).fit(equal).score_samples(equal, "nearest")
    np.testing.assert_allclose(scores, -np.log(1e-3), rtol=1e-12)


def test_a_single_known_row_is_enough():
    known, u = torch.zeros(2, 3).double(), torch.ones(1, 3).double()
    np.testing.assert_allclose(measure_nearness(u, known), [-np.log(3**0.5 + 1e-3)])
    nothing = measure_nearness(u[:, :0], known[:, :0])
    np.testing.assert_array_equal(nothing, [0.0])


def test_a_pickle_has_the_same_scores(detector, table):
    other = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(
        other.score_samples(table[1]), detector.score_samples(table[1])
    )


def test_an_ensemble_has_the_distances_of_its_first_member(table):
    several = VAEOutlierDetector(n_ensemble=2, trim=None, **QUICK).fit(table[0])
    assert np.isfinite(several.score_samples(table[1])).all()
    assert (several.predict(table[0]) == -1).mean() == pytest.approx(0.01, abs=0.006)


def test_a_fit_without_what_is_pooled_says_so(detector, table):
    earlier = pickle.loads(pickle.dumps(detector))
    earlier._pooled = None
    with pytest.raises(ValueError, match="fit again, or pass method='tempered'"):
        earlier.score_samples(table[1])
    assert np.isfinite(earlier.score_samples(table[1], "tempered")).all()


def test_clusters_of_digits_are_seen():
    X, y = load_digits(return_X_y=True)
    normal = X[y != 8]
    train, test = normal[::2], np.concatenate([normal[1::2], X[y == 8]])
    is_odd = np.arange(len(test)) >= len(normal[1::2])
    model = VAEOutlierDetector(trim=None, random_state=0, device="cpu", max_epochs=15)
    model.fit(train)
    auroc = {
        method: roc_auc_score(is_odd, -model.score_samples(test, method))
        for method in ("tempered", "nearest", "pooled")
    }
    assert auroc["pooled"] > auroc["tempered"]
    assert auroc["pooled"] > 0.85
