import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import norm
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
)
from sklearn.decomposition import FactorAnalysis
from sklearn.metrics import roc_auc_score
from skorch.callbacks import Callback

import skvae
from skvae import VAEOutlierDetector
from skvae._outliers._calibration import find_usual
from skvae._outliers._reservoir import Reservoir
from skvae._outliers._thresholds import find_rank, find_share
from skvae._outliers._trimming import choose_near, find_fence, measure_distances
from skvae.datasets import make_clusters, make_factors, make_mixed
from skvae.latents import Gaussian
from skvae.plots import FeatureScoresDisplay

pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.UnusedComponentsWarning",
)

QUICK = {
    "hidden_layer_sizes": (16,),
    "max_epochs": 5,
    "random_state": 0,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def table():
    X, _ = make_factors(900, 8, 3, random_state=0)
    return X[:500], X[500:]


@pytest.fixture(scope="module")
def detector(table):
    return VAEOutlierDetector(**QUICK).fit(table[0])


@pytest.fixture(scope="module")
def calibrated(table):
    return VAEOutlierDetector(contamination=0.1, **QUICK).fit(table[0])


def test_attributes_are_those_of_pyod(detector, table):
    X, _ = table
    scores = detector.decision_scores_
    np.testing.assert_allclose(scores, -detector.score_samples(X), rtol=1e-6)
    assert detector.threshold_ == -detector.offset_
    assert (detector.labels_ == (detector.predict(X) == -1)).all()
    assert not hasattr(VAEOutlierDetector(), "labels_")


def test_levels_of_rows_without_weight_are_scored_as_unknown():
    g = np.random.default_rng(0)
    X = pd.DataFrame({"w": g.choice(["a", "b", "x"], 120), "x": g.normal(size=120)})
    other = VAEOutlierDetector(**QUICK).fit(X[X["w"] != "b"])
    detector = VAEOutlierDetector(**QUICK)
    with pytest.warns(skvae.UnknownCategoriesWarning, match="lower the score"):
        detector.fit(X, sample_weight=X["w"] != "b")
    assert detector.columns_.kinds[0].levels == ["a", "x"]
    with pytest.warns(skvae.UnknownCategoriesWarning, match="lower the score"):
        expected = other.score_samples(X)
    np.testing.assert_array_equal(-detector.decision_scores_, expected)
    assert (detector.labels_[X["w"] == "b"] == 1).all()


def test_training_scores_are_of_all_rows_of_fit():
    X, _ = make_factors(120, 4, random_state=0)
    X[7, 2] += 30
    weight = np.arange(120) % 5 > 0
    detector = VAEOutlierDetector(**QUICK).fit(X, sample_weight=weight)
    scores = -detector.score_samples(X)
    np.testing.assert_allclose(detector.decision_scores_, scores, rtol=1e-6)
    assert detector.labels_[7] == 1
    stream = VAEOutlierDetector(**QUICK).partial_fit(X)
    with pytest.raises(AttributeError, match="stream has too many"):
        stream.decision_scores_  # noqa: B018


@pytest.mark.filterwarnings("ignore::skvae.UnknownCategoriesWarning")
def test_training_scores_know_levels_of_rows_without_weight():
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.standard_normal((100, 3)), columns=list("abc"))
    X["k"] = pd.Categorical(rng.choice(list("uv"), 100), categories=list("uvw"))
    X.loc[:9, "k"] = "w"
    weight = np.arange(100) >= 10
    detector = VAEOutlierDetector(2, **QUICK).fit(X, sample_weight=weight)
    scores = -detector.score_samples(X)
    np.testing.assert_allclose(detector.decision_scores_, scores, rtol=1e-6)
    assert (detector.labels_ == (detector.predict(X) == -1)).all()


def corrupt(X, size, seed):
    """Return rows with one cell moved by so many standard deviations, and which."""
    rng = np.random.default_rng(seed)
    X = X.copy()
    columns = rng.integers(X.shape[1], size=len(X))
    sign = rng.choice([-1, 1], size=len(X))
    X[np.arange(len(X)), columns] += sign * size * X.std(axis=0)[columns]
    return X, columns


# threshold and labels


def test_decision_function_is_score_above_threshold(detector, table):
    scores = detector.score_samples(table[1])
    decision = detector.decision_function(table[1])
    np.testing.assert_array_equal(decision, scores - detector.offset_)
    np.testing.assert_array_equal(detector.predict(table[1]) < 0, decision < 0)


def make_clean(name):
    """Return a table without outliers."""
    g = np.random.default_rng(1)
    z = g.standard_t(5, size=(700, 4)) if name == "tails" else g.normal(size=(700, 4))
    if name == "uniform":
        return g.uniform(size=(700, 5))
    if name == "alone":
        return z
    if name == "clusters":
        return make_clusters(700, random_state=0)[0]
    X = z[:, :2] @ g.normal(size=(2, 8)) + 0.3 * g.normal(size=(700, 8))
    return np.exp(0.3 * X) if name == "skewed" else X


CLEAN = ["factors", "alone", "uniform", "clusters", "tails", "skewed"]


@pytest.mark.parametrize("name", CLEAN)
def test_auto_calls_about_one_in_a_hundred_clean_rows_outliers(name):
    X = make_clean(name)
    detector = VAEOutlierDetector(**QUICK).fit(X)
    assert detector.trimmed_.mean() > 0.01
    share = (detector.predict(X) < 0).mean()
    assert 0.004 < share <= (0.025 if name in ("tails", "skewed") else 0.02)
    p = detector.p_values(X)
    assert (p <= 0.1).mean() == pytest.approx(0.1, abs=0.05)
    # one held-out row may be lower, by a model that was not trained on it
    assert p.min() <= 2.5 / (1 + len(detector.calibration_scores_))


@pytest.mark.parametrize("share", [0.02, 0.1])
@pytest.mark.parametrize("name", ["factors", "alone", "tails"])
def test_auto_finds_groups_and_scattered_outliers(name, share):
    X, g = make_clean(name), np.random.default_rng(2)
    n, deviation = int(share * len(X)), X.std(axis=0)
    X[:n] += 4 * deviation * g.choice([-1, 1], size=X.shape[1])
    X[n : n + 5] += 8 * deviation * g.choice([-1, 1], size=(5, X.shape[1]))
    odd = VAEOutlierDetector(**QUICK).fit_predict(X) < 0
    assert odd[: n + 5].mean() > 0.95
    assert odd[n + 5 :].mean() < 0.03


def test_rows_far_below_are_beyond_a_fence_of_scores():
    distances = np.r_[0.0, np.arange(1, 101) / 100, 3.0, 4.0]
    # Q2 = 0.51, Q3 = 0.77
    usual = find_usual(-distances, np.ones(103))
    assert usual.sum() == 101 + (3.0 < 0.77 * (0.77 / 0.51) ** 3.5)
    # weights are those of so many equal rows
    weight = 1.0 + np.arange(103) % 2
    np.testing.assert_array_equal(
        np.repeat(find_usual(-distances, weight), weight.astype(int)),
        find_usual(-np.repeat(distances, weight.astype(int)), np.ones(154)),
    )
    # half of the rows have one score
    assert find_usual(np.r_[np.ones(70), np.zeros(33)], np.ones(103)).all()
    assert find_usual(np.r_[2.0, np.ones(89), np.zeros(13)], np.ones(103)).all()


def test_fit_predict_equals_predict_after_fit(table):
    detector = VAEOutlierDetector(**QUICK)
    labels = detector.fit_predict(table[0])
    np.testing.assert_array_equal(labels, detector.predict(table[0]))


def test_y_is_ignored(detector, table):
    labelled = clone(detector).fit(table[0], np.zeros(len(table[0])))
    np.testing.assert_array_equal(
        labelled.score_samples(table[1]), detector.score_samples(table[1])
    )


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("n_samples", [400, 3500])
def test_false_alarms_are_as_many_as_asked_for(share, n_samples):
    X, _, _ = make_clusters(n_samples + 2000, 6, random_state=1)
    X, new = X[:n_samples], X[n_samples:]
    detector = VAEOutlierDetector(contamination=share, **QUICK).fit(X)
    rate = (detector.predict(new) < 0).mean()
    n_calibration = len(detector.calibration_scores_)
    # the threshold rests on so many rows, the rate on 2,000; one more standard error
    # is what the threshold may be off, beside the noise, before it is moved
    error = np.sqrt(share * (1 - share))
    noise = 3 * error * np.sqrt(1 / n_calibration + 1 / len(new))
    assert abs(rate - share) < noise + error / np.sqrt(n_calibration)


def test_threshold_moves_where_the_model_has_learned_rows_by_heart():
    # as many columns as a quarter of the rows, and no stopping: models that agree so
    # little that rates scatter, and three tables are looked at
    in_sample, rates = [], []
    for seed in range(3):
        X = np.random.default_rng(seed).standard_normal((1080, 20))
        X, new = X[:80], X[80:]
        detector = VAEOutlierDetector(
            contamination=0.1,
            early_stopping=False,
            weight_decay=0.0,
            max_epochs=15,
            likelihood="gaussian",
            random_state=0,
            device="cpu",
        ).fit(X)
        scores = detector.score_samples(new)
        in_sample.append((scores < np.quantile(detector.score_samples(X), 0.1)).mean())
        rates.append((detector.predict(new) < 0).mean())
    assert min(in_sample) > 0.3
    assert np.mean(rates) < 0.2


def test_p_values_of_new_rows_are_uniform_or_larger(calibrated, table):
    _, new = table
    p = calibrated.p_values(new)
    for level in (0.05, 0.1, 0.3, 0.7):
        error = np.sqrt(level * (1 - level) * (1 / 500 + 1 / len(new)))
        assert (p <= level).mean() < level + 3 * error
        assert (p <= level).mean() > level - 4 * error
    assert p.min() >= 1 / 501


def test_p_values_count_rows_of_a_held_out_split(detector, table):
    held_out, new = table[1][:200], table[1][200:]
    reference, scores = detector.score_samples(held_out), detector.score_samples(new)
    expected = (1 + (reference <= scores[:, None]).sum(axis=1)) / 201
    np.testing.assert_allclose(detector.p_values(new, held_out), expected)


def test_p_values_without_anything_to_compare_with_are_refused(table):
    detector = VAEOutlierDetector(**QUICK).partial_fit(table[0])
    with pytest.raises(ValueError, match="X_calibration"):
        detector.p_values(table[1])


def test_p_values_of_the_default_are_of_rows_that_training_held_out(detector, table):
    # early stopping holds out 120 of them, and trimmed rows are added
    n_trimmed = detector.trimmed_.sum()
    assert 120 < len(detector.calibration_scores_) <= 120 + n_trimmed
    p = detector.p_values(table[1])
    for level in (0.05, 0.1, 0.3, 0.7):
        error = np.sqrt(level * (1 - level) * (1 / 120 + 1 / len(p)))
        assert (p <= level).mean() == pytest.approx(level, abs=3 * error)


# trimming


def test_distances_are_those_of_standardised_cells():
    X = np.random.default_rng(0).standard_normal((50, 4)) * [1, 10, 1e-3, 1e6]
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = np.sqrt((z**2).mean(axis=1))
    np.testing.assert_allclose(measure_distances(X), expected)
    with_constant = np.column_stack([X, np.full(50, 7.3)])
    np.testing.assert_allclose(
        measure_distances(with_constant), expected * np.sqrt(4 / 5)
    )


def test_distances_leave_missing_cells_out():
    X = np.random.default_rng(0).standard_normal((50, 2))
    X[:10, 1] = np.nan
    z = np.abs(X[:, 0] - X[:, 0].mean()) / X[:, 0].std()
    np.testing.assert_allclose(measure_distances(X)[:10], z[:10])


def test_fence_is_half_as_far_out_as_that_of_tukey():
    assert find_fence(np.arange(101.0)) == pytest.approx(75 + 0.75 * 50)


def test_clusters_of_outliers_do_not_become_normal():
    X, _ = make_factors(600, 6, 2, random_state=0)
    rng = np.random.default_rng(0)
    outliers = 4 * X.std(axis=0) + 0.05 * rng.standard_normal((30, 6))
    X = np.concatenate([X, outliers])
    is_outlier = np.arange(len(X)) >= 600
    trimmed = VAEOutlierDetector(**QUICK).fit(X)
    assert trimmed.trimmed_[is_outlier].all()
    # half of Tukey's whiskers
    assert trimmed.trimmed_[~is_outlier].mean() < 0.1
    assert roc_auc_score(is_outlier, -trimmed.score_samples(X)) > 0.99
    assert (trimmed.predict(X)[is_outlier] == -1).all()


def test_a_stream_with_a_constant_column_is_trimmed(table):
    X = np.hstack([table[0], np.full((len(table[0]), 1), 3.0)])
    detector = VAEOutlierDetector(**QUICK).partial_fit(X)
    scores = detector.partial_fit(X).score_samples(X)
    other = VAEOutlierDetector(**QUICK).partial_fit(table[0]).partial_fit(table[0])
    # the density of a constant is the same for all rows
    np.testing.assert_allclose(scores, other.score_samples(table[0]), atol=1e-5)
    difference = detector.score_samples(X, "elbo") - other.score_samples(
        X[:, :8], "elbo"
    )
    np.testing.assert_allclose(difference, difference[0], rtol=1e-5)


@pytest.mark.parametrize(("trim", "count"), [(None, 0), (0.0, 0), (0.1, 50)])
def test_trim_leaves_out_the_share_asked_for(table, trim, count):
    detector = VAEOutlierDetector(trim=trim, **QUICK).fit(table[0])
    assert detector.trimmed_.sum() == count
    if count:
        distances = measure_distances(table[0])
        assert distances[detector.trimmed_].min() > distances[~detector.trimmed_].max()


def test_tables_of_zeros_and_ones_have_no_fence():
    X = (np.random.default_rng(0).random((500, 3)) < 0.05).astype(float)
    detector = VAEOutlierDetector(**QUICK).fit(X)
    assert not detector.trimmed_.any()
    assert (detector.predict(X) < 0).mean() <= 0.01


def test_no_column_becomes_constant_by_trimming(table):
    rare = (np.random.default_rng(1).random(500) < 0.03).astype(float)
    X = np.column_stack([table[0][:, :5], rare])
    detector = VAEOutlierDetector(**QUICK).fit(X)
    assert not detector.trimmed_[rare == 1].any()
    assert detector.columns_.varies.all()


def test_levels_and_lone_cells_are_not_trimmed(table):
    X = table[0][:200].copy()
    X[0] *= 10
    codes = np.r_[3.0, np.arange(199) % 3]
    lone = np.r_[1.0, np.full(199, np.nan)]
    kept = choose_near(
        np.column_stack([X, codes, lone]), None, np.r_[[True] * 8, False, True], "auto"
    )
    assert kept[0]
    assert not choose_near(X, None, np.ones(8, dtype=bool), "auto")[0]


def test_rows_without_weight_move_no_fence(table):
    near = 0.01 * table[0][:300]
    X = np.concatenate([near, 10 + table[1][:100]])
    weight = np.repeat([0.0, 1.0], [300, 100])
    for contamination in ("auto", 0.1):
        detector = VAEOutlierDetector(contamination=contamination, **QUICK)
        detector.fit(X, sample_weight=weight)
        alone = clone(detector).fit(X[300:])
        np.testing.assert_array_equal(detector.trimmed_[300:], alone.trimmed_)
        assert not detector.trimmed_[:300].any()
        assert detector.offset_ == pytest.approx(alone.offset_)


@pytest.mark.parametrize("trim", ["auto", 0.1])
def test_weights_trim_as_so_many_equal_rows(table, trim):
    X = table[0][:60]
    weight = np.random.default_rng(0).integers(1, 4, len(X))
    is_number = np.ones(8, dtype=bool)
    kept = choose_near(X, weight.astype(float), is_number, trim)
    many = choose_near(np.repeat(X, weight, axis=0), None, is_number, trim)
    share = np.add.reduceat(many, np.r_[0, np.cumsum(weight)[:-1]]) / weight
    # the last of those beyond a share may be left out in part
    assert (np.abs(share - kept) > 0).sum() <= (trim != "auto")
    assert not kept.all()


# thresholds of weights, levels, streams and warm starts


@pytest.mark.parametrize("contamination", ["auto", 0.05, 0.3])
def test_weights_count_in_thresholds_as_so_many_equal_rows(table, contamination):
    X = table[0][:200]
    weight = np.ones(200)
    weight[:20] = 20
    detector = VAEOutlierDetector(
        contamination=contamination,
        trim=None,
        # the start alone, in which nothing is random
        latent=Gaussian(prior="standard"),
        max_epochs=0,
        random_state=0,
        device="cpu",
    )
    many = np.repeat(X, weight.astype(int), axis=0)
    weighted = clone(detector).fit(X, sample_weight=weight, X_val=table[1])
    repeated = clone(detector).fit(many, X_val=table[1])
    assert weighted.offset_ == pytest.approx(repeated.offset_, abs=1e-3)


def test_thresholds_by_shares_and_ranks():
    scores, ones = np.arange(10.0)[::-1], np.ones(10)
    # half way, where no rounding changes the side
    assert find_share(scores, ones, 0.3) == 2.5
    assert find_share(scores, np.where(scores < 1, 11.0, 1.0), 0.5) == 0.5
    lowest = find_share(scores, ones, 0.01)
    assert -1e-8 < lowest < 0
    # k = floor(0.3 * 11) = 3: above the second smallest, below the third
    assert find_rank(scores, ones, 0.3) == 1.5
    assert find_rank(scores, ones, 0.05) == -np.inf
    # below the smallest, of which there are more than k
    assert 0 < 1 - find_rank(scores.clip(1, 3), ones, 0.1) < 1e-8
    assert find_rank(scores.clip(1, 3), ones, 0.05) == -np.inf
    # equal but for rounding
    assert find_share(np.r_[1 + 1e-13, 1.0, 1.0, 2.0], ones[:4], 0.5) == 1.5


@pytest.mark.parametrize("contamination", ["auto", 0.05])
def test_a_table_of_few_different_rows_has_a_threshold(contamination, table):
    X = np.repeat(table[0][:5], 10, axis=0)
    detector = VAEOutlierDetector(contamination=contamination, **QUICK).fit(X)
    assert np.isfinite(detector.offset_)
    assert (detector.predict(X[::10] + 100) == -1).all()


def test_rare_levels_do_not_disturb_the_threshold(table):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(table[0][:200, :3], columns=["x", "y", "z"])
    frame["text"] = rng.choice(["b", "c", "d"], 200)
    frame.loc[0, "text"] = "a"
    frame["code"] = rng.integers(0, 3, 200).astype(float)
    frame.loc[1, "code"] = 3.0
    frame["lone"] = np.nan
    frame.loc[2, "lone"] = 1.0
    detector = VAEOutlierDetector(
        contamination=0.1, likelihood={"code": "categorical"}, **QUICK
    ).fit(frame)
    assert 0.02 < (detector.predict(frame) < 0).mean() < 0.25
    declared = frame.astype({"text": "category"})
    again = clone(detector).fit(declared)
    np.testing.assert_allclose(again.offset_, detector.offset_)


def test_every_row_is_held_out_once(calibrated, table):
    assert len(calibrated.calibration_scores_) >= len(table[0]) - 4
    in_sample = calibrated.score_samples(table[0])
    assert calibrated.calibration_scores_.mean() < in_sample.mean()


def test_a_fifth_of_a_large_table_is_held_out():
    X, _ = make_factors(4000, 4, 2, random_state=0)
    detector = VAEOutlierDetector(contamination=0.1, trim=None, **QUICK).fit(X)
    assert len(detector.calibration_scores_) == 800


def test_warm_starts_have_no_rows_that_nobody_has_learned(table):
    detector = VAEOutlierDetector(contamination=0.1, warm_start=True, **QUICK)
    detector.fit(table[0])
    assert detector.calibration_scores_ is not None
    detector.fit(table[0])
    assert detector.calibration_scores_ is None
    assert (detector.predict(table[0]) < 0).mean() == pytest.approx(0.1, abs=0.002)


def test_few_validation_rows_are_no_calibration(table):
    detector = VAEOutlierDetector(contamination=0.1, **QUICK)
    detector.fit(table[0], X_val=table[1][:5])
    assert detector.calibration_scores_ is None


def test_small_chunks_of_a_stream_do_not_move_the_threshold(table):
    X, new = table
    detector = VAEOutlierDetector(contamination=0.1, **QUICK)
    for chunk in np.array_split(X, 3):
        detector.partial_fit(chunk)
    before = (detector.predict(new) < 0).mean()
    assert before == pytest.approx(0.1, abs=0.05)
    detector.partial_fit(X[:3])
    assert (detector.predict(new) < 0).mean() == pytest.approx(before, abs=0.03)


def test_a_reservoir_keeps_rows_by_their_weight():
    reservoir = Reservoir(200)
    for begin in range(0, 4000, 400):
        rows = np.arange(begin, begin + 400.0)[:, None]
        reservoir = reservoir.extend(rows, np.where(rows[:, 0] % 2 == 0, 3.0, 1.0))
    kept = reservoir.rows[:, 0]
    assert len(np.unique(kept)) == 200
    # three in four are even, to three standard errors, and all chunks are there
    assert (kept % 2 == 0).mean() == pytest.approx(0.75, abs=3 * np.sqrt(0.19 / 200))
    assert len(np.unique(kept // 400)) == 10


class Interruption(Callback):
    """Ctrl-C after the first epoch."""

    def on_epoch_end(self, net, **kwargs):
        raise KeyboardInterrupt


def test_an_interrupt_in_training_keeps_what_it_reached(table):
    detector = VAEOutlierDetector(
        contamination=0.1, net_callbacks=[Interruption()], **QUICK
    )
    with pytest.raises(KeyboardInterrupt):
        detector.fit(table[0])
    assert detector.n_iter_ == 1
    assert detector.trimmed_.shape == (500,)
    assert (detector.predict(table[0]) < 0).mean() == pytest.approx(0.1, abs=0.05)


def test_an_interrupt_of_the_threshold_leaves_the_earlier_fit(table, monkeypatch):
    detector = VAEOutlierDetector(**QUICK).fit(table[0])
    before = detector.decision_function(table[1])

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("skvae._outliers._detector.calibrate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        detector.fit(1000 * table[0][:50])
    monkeypatch.undo()
    np.testing.assert_array_equal(detector.decision_function(table[1]), before)
    assert detector.trimmed_.shape == (500,)


def test_callbacks_see_one_fit(table):
    class Counter(Callback):
        begins = 0

        def on_train_begin(self, net, **kwargs):
            Counter.begins += 1

    detector = VAEOutlierDetector(contamination=0.1, net_callbacks=[Counter()], **QUICK)
    detector.fit(table[0])
    assert Counter.begins == 1


def test_fold_models_have_the_noise_of_the_model_that_is_kept(table):
    X = np.column_stack([table[0], table[0] @ np.ones(8)])
    seen = []

    class Watched(VAEOutlierDetector):
        def _conclude(self, data):
            super()._conclude(data)
            seen.extend(model.columns.unit for model, _ in data.fold_models)

    settings = QUICK | {"likelihood": skvae.likelihoods.Gaussian(variance_floor=0.25)}
    detector = Watched(contamination=0.1, trim=None, **settings).fit(X)
    assert len(seen) == 5
    # a quarter of the variance, at least, of a column that others explain
    least = 0.5 * X.std(axis=0)[-1]
    for unit in (*seen, detector.columns_.unit):
        assert unit[-1] > 0.9 * least


# scores


def test_tempered_lies_between_elbo_and_reconstruction(detector, table):
    X = table[1][:60]
    elbo, reconstruction, kl = (
        detector.score_samples(X, method) for method in ("elbo", "reconstruction", "kl")
    )
    tempered = detector.score_samples(X, "tempered")
    np.testing.assert_allclose(tempered, reconstruction - kl / 2)
    np.testing.assert_allclose(tempered, (elbo + reconstruction) / 2)
    many, error = detector.score_samples(X, "tempered", n_draws=2000, return_std=True)
    _, coarse = detector.score_samples(X, "tempered", return_std=True)
    assert (np.abs(tempered - many) < 5 * np.hypot(error, coarse)).all()


def test_regret_is_the_gap_between_elbo_and_refined(detector, table):
    X = table[1][:20]
    regret = detector.score_samples(X, "regret")
    expected = detector.score_samples(X, "elbo") - detector.score_samples(X, "refined")
    np.testing.assert_allclose(regret, expected)
    assert (regret <= 0).all()


@pytest.mark.parametrize(
    "method", ["tempered", "elbo", "evidence", "reconstruction", "refined", "regret"]
)
def test_score_method_is_what_score_samples_returns(table, method):
    X, new = table[0][:100], table[1][:10]
    detector = VAEOutlierDetector(score_method=method, **QUICK).fit(X)
    np.testing.assert_array_equal(
        detector.score_samples(new), detector.score_samples(new, method)
    )
    # what training keeps sets the threshold
    assert (detector.predict(X) < 0).mean() < 0.2


def test_score_is_the_elbo_whatever_decides(detector, table):
    expected = detector.score_samples(table[1], "elbo").mean()
    assert detector.score(table[1]) == pytest.approx(expected)


def test_a_score_of_the_model_depends_on_the_units_by_its_jacobian(table):
    X, new = table
    one, other = (
        VAEOutlierDetector(**QUICK).fit(factor * X).score_samples(factor * new, "elbo")
        for factor in (1, 10)
    )
    np.testing.assert_allclose(one - other, 8 * np.log(10), rtol=1e-3)


# explanations


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine, load_diabetes])
def test_explanation_names_the_corrupted_column_of_real_tables(load):
    X = load().data
    train, test = X[::2], X[1::2]
    detector = VAEOutlierDetector(random_state=0, device="cpu").fit(train)
    rows, columns = corrupt(test[:100], 6, seed=0)
    found = detector.explain(rows).argmin(axis=1)
    assert (found == columns).mean() >= 0.9


def test_picture_names_the_corrupted_column(detector, table):
    plt = pytest.importorskip("matplotlib.pyplot")
    rows, columns = corrupt(table[1][:20], 6, seed=1)
    hits = 0
    for row, column in zip(rows, columns, strict=True):
        _, ax = plt.subplots()
        display = FeatureScoresDisplay.from_estimator(
            detector, row[None], n_features=3, ax=ax
        )
        label = display.ax_.get_yticklabels()[0].get_text()
        hits += label == f"x{column} = {row[column]:.3g}"
        lengths = [bar.get_width() for bar in display.bars_]
        np.testing.assert_allclose(lengths, display.scores[display.order_])
        plt.close(display.figure_)
    assert hits >= 0.9 * len(rows)


def test_picture_is_of_one_row(detector, table):
    with pytest.raises(ValueError, match="a plot explains one row"):
        FeatureScoresDisplay.from_estimator(detector, table[0])


def test_picture_of_scores_is_that_of_the_estimator(detector, table):
    plt = pytest.importorskip("matplotlib.pyplot")
    row = table[1][:1]
    drawn = FeatureScoresDisplay.from_estimator(detector, row)
    scores = detector.explain(row)[0]
    again = FeatureScoresDisplay.from_scores(
        list(scores), row[0], score_name=drawn.score_name, name="One row"
    )
    for display in drawn, again:
        display.labels = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert again.labels == drawn.labels
    np.testing.assert_array_equal(again.order_, drawn.order_)
    assert again.ax_.get_xlabel() == drawn.ax_.get_xlabel()
    assert again.ax_.get_title() == "One row"
    assert again.plot(name="Other").ax_.get_title() == "Other"
    plt.close("all")


def test_picture_of_scores_of_other_models():
    plt = pytest.importorskip("matplotlib.pyplot")
    display = FeatureScoresDisplay.from_scores(
        [0.5, -3, 2], feature_names=["a", "b", "c"], n_features=2
    )
    labels = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert labels == ["b", "a"]
    assert display.ax_.get_xlabel() == "score (lower is less usual)"
    display = FeatureScoresDisplay.from_scores(pd.Series([1.0, -1.0]), ["u", 7])
    labels = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert labels == ["x1 = 7", "x0 = u"]
    plt.close("all")
    for scores, params, message in (
        (np.zeros((2, 3)), {}, r"scores has shape \(2, 3\)"),
        ([], {}, r"scores has shape \(0,\)"),
        ([1, 2], {"values": [1]}, "values has 1 entries, but scores has 2"),
        ([1, 2], {"feature_names": "abc"}, "feature_names has 3 entries"),
    ):
        with pytest.raises(ValueError, match=message):
            FeatureScoresDisplay.from_scores(scores, **params)


def test_missing_matplotlib_is_named_with_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    display = FeatureScoresDisplay(np.zeros(2), [1, 2], ["a", "b"])
    with pytest.raises(ImportError, match=r"pip install skvae\[plots\]"):
        display.plot()
    with pytest.raises(ValueError, match=r"n_features=0\.5"):
        display.plot(n_features=0.5)


def test_explanation_is_the_conditional_density_of_factor_analysis(table):
    X, new = table
    detector = VAEOutlierDetector(
        3,
        trim=None,
        hidden_layer_sizes=(),
        likelihood="gaussian",
        latent=Gaussian(prior="standard", covariance="full"),
        max_epochs=0,
        random_state=0,
        device="cpu",
    ).fit(X)
    oracle = FactorAnalysis(3, tol=1e-8, max_iter=5000, svd_method="lapack").fit(X)
    # x_j given the others is normal with precision P_jj, mean by the rest of P
    precision = np.linalg.inv(oracle.get_covariance())
    residual = (new - oracle.mean_) @ precision / np.diag(precision)
    expected = norm.logpdf(residual, scale=np.diag(precision) ** -0.5)
    found = detector.explain(new) + detector.usual_scores_
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_usual_cells_have_explanations_about_zero(detector, table):
    assert (np.abs(np.median(detector.explain(table[1]), axis=0)) < 0.2).all()


def test_score_features_sum_to_reconstruction(detector, table):
    np.testing.assert_allclose(
        detector.score_features(table[1]).sum(axis=1),
        detector.score_samples(table[1], "reconstruction"),
    )


# tables of all kinds


@pytest.fixture(scope="module")
def mixed():
    return make_mixed(400, missing=0.1, random_state=0)


def test_mixed_tables_with_missing_values_have_scores_and_explanations(mixed):
    detector = VAEOutlierDetector(contamination=0.1, **QUICK).fit(mixed)
    assert np.isfinite(detector.score_samples(mixed)).all()
    explained = detector.explain(mixed)
    assert explained.shape == mixed.shape
    assert list(explained.columns) == list(mixed.columns)
    assert (explained.to_numpy()[mixed.isna()] == 0).all()
    assert (detector.predict(mixed) < 0).sum() == pytest.approx(40, abs=8)


def test_numbers_are_mixtures_and_categories_are_not(mixed):
    detector = VAEOutlierDetector(**QUICK).fit(mixed)
    names = detector.columns_.to_frame()["likelihood"].astype(str)
    assert names.str.contains("GaussianMixture").any()
    assert names.str.contains("Categorical|Bernoulli").any()
    assert detector.likelihood == "auto"
    assert detector.n_components == "auto"


@pytest.fixture(scope="module", params=["auto", 0.1])
def of_levels(request):
    g = np.random.default_rng(0)
    city, code = g.choice(["Lyon", "Nice", "Paris"], 300), g.choice([3, 5, 9], 300)
    X = pd.DataFrame(g.normal(size=(300, 8)), columns=list("abcdefgh")).assign(
        city=city,
        declared=pd.Categorical(city, categories=["Lyon", "Nice", "Oslo", "Paris"]),
        code=code,
    )
    settings = QUICK | {"likelihood": {"code": "categorical"}}
    return VAEOutlierDetector(contamination=request.param, **settings).fit(X), X


@pytest.mark.parametrize(
    ("column", "level"), [("city", "Oslo"), ("declared", "Oslo"), ("code", 4)]
)
@pytest.mark.filterwarnings("ignore::skvae.UnknownCategoriesWarning")
def test_a_level_never_seen_is_odd_and_explained(column, level, of_levels):
    detector, X = of_levels
    rows = X[
        (detector.predict(X) > 0) & (detector.explain(X).to_numpy().min(axis=1) > -2)
    ]
    odd = rows.copy()
    odd[column] = level
    odd["declared"] = odd["declared"].astype(X["declared"].dtype)
    assert len(odd) > 100
    assert (detector.predict(odd) == -1).all()
    assert (detector.explain(odd).idxmin(axis=1) == column).all()
    assert (detector.p_values(odd, X) < 0.15).all()
    features = detector.score_features(odd)
    np.testing.assert_allclose(
        features.sum(axis=1), detector.score_samples(odd, "reconstruction")
    )
    both = odd.assign(city="Rome", code=7)
    assert (detector.score_samples(both) < detector.score_samples(odd)).all()
    assert np.isfinite(detector.score_samples(both)).all()


def test_levels_never_seen_are_warned_of_once(of_levels):
    detector, X = of_levels
    odd = X[:3].assign(city="Rome")
    with pytest.warns(skvae.UnknownCategoriesWarning, match=r"'Rome'.*lower") as caught:
        detector.predict(odd)
    assert len(caught) == 1
    with pytest.raises(ValueError, match=r"Column 'code' has the value 4\.5"):
        detector.predict(X[:3].assign(code=4.5))


def test_levels_of_later_chunks_are_seen():
    levels = pd.CategoricalDtype(["a", "b", "c"])
    g = np.random.default_rng(0)
    X = pd.DataFrame(
        {"x": g.normal(size=400), "k": pd.Series(["a", "b"] * 200, dtype=levels)}
    )
    detector = VAEOutlierDetector(**QUICK).partial_fit(X)
    other = X.assign(k=pd.Series(["c"] * 400, dtype=levels))
    assert (detector.predict(other) == -1).all()
    for _ in range(3):
        detector.partial_fit(pd.concat([X[:200], other[:200]]))
    assert (detector.predict(other[:200]) == 1).mean() > 0.5


def test_data_frames_of_pandas_and_polars_score_alike(table):
    polars = pytest.importorskip("polars")
    names = [f"column {j}" for j in range(8)]
    frame = pd.DataFrame(table[0], columns=names)
    one = VAEOutlierDetector(contamination=0.1, **QUICK).fit(frame)
    other = VAEOutlierDetector(contamination=0.1, **QUICK).fit(
        polars.from_pandas(frame)
    )
    np.testing.assert_allclose(
        one.decision_function(frame),
        other.decision_function(polars.from_pandas(frame)),
    )


def test_half_as_many_components_as_columns(detector):
    assert detector.net_.module_.n_components == 4
    assert detector.n_components == "auto"


def test_weights_of_zero_leave_rows_out_of_everything(table):
    X = table[0]
    weight = np.ones(len(X))
    weight[:100] = 0
    weighted = VAEOutlierDetector(contamination=0.1, **QUICK)
    weighted.fit(X, sample_weight=weight)
    assert len(weighted.calibration_scores_) == 400
    assert 0.05 < (weighted.predict(X[100:]) < 0).mean() < 0.15


def test_rows_of_a_validation_set_calibrate(table):
    X, new = table
    detector = VAEOutlierDetector(contamination=0.1, **QUICK).fit(X, X_val=new)
    np.testing.assert_array_equal(
        detector.calibration_scores_, detector.score_samples(new)
    )


def test_stacks_of_images_have_explanations_by_pixel():
    X = load_digits().images[:100, None, ::2, ::2]
    detector = VAEOutlierDetector(4, image_shape=(1, 4, 4), **QUICK).fit(X)
    assert detector.explain(X[:2]).shape == (2, 16)
    assert set(detector.predict(X)) <= {-1, 1}


# what goes wrong


@pytest.mark.parametrize("contamination", [0.0, 0.6, -0.1, "some", None])
def test_contamination_out_of_range_is_refused(table, contamination):
    detector = VAEOutlierDetector(contamination=contamination)
    with pytest.raises(ValueError, match="contamination"):
        detector.fit(table[0])


@pytest.mark.parametrize(
    "given", [{"score_method": "likelihood"}, {"trim": 0.5}, {"n_components": 0}]
)
def test_other_parameters_out_of_range_are_refused(table, given):
    with pytest.raises(ValueError, match=next(iter(given))):
        VAEOutlierDetector(**given).fit(table[0])


def test_unknown_methods_and_errors_that_there_are_not_are_refused(detector, table):
    with pytest.raises(ValueError, match="method='density' is not known"):
        detector.score_samples(table[1], "density")
    with pytest.raises(ValueError, match="return_std=True is not for"):
        detector.score_samples(table[1], "regret", return_std=True)
    with pytest.raises(ValueError, match="n_draws"):
        detector.score_samples(table[1], "regret", n_draws=5)


@pytest.mark.parametrize("n_samples", [0, 1])
def test_too_few_rows_are_refused(table, n_samples):
    with pytest.raises(ValueError, match="minimum of"):
        VAEOutlierDetector(contamination=0.1).fit(table[0][:n_samples])


@pytest.mark.parametrize("n_samples", [2, 3, 5, 10])
def test_few_rows_are_enough(table, n_samples):
    detector = VAEOutlierDetector(contamination=0.2, **QUICK)
    labels = detector.fit_predict(table[0][:n_samples])
    assert set(labels) <= {-1, 1}


def test_a_failed_fit_leaves_the_earlier_one(table):
    detector = VAEOutlierDetector(**QUICK).fit(table[0])
    before = detector.decision_function(table[1])
    with pytest.raises(ValueError, match="contains inf"):
        detector.fit(np.where(table[0] > 0, np.inf, table[0]))
    np.testing.assert_array_equal(detector.decision_function(table[1]), before)


def test_streams_have_a_threshold(table):
    detector = VAEOutlierDetector(**QUICK)
    for chunk in np.array_split(table[0], 3):
        detector.partial_fit(chunk)
    assert (detector.predict(table[0]) < 0).mean() == pytest.approx(0.01, abs=0.002)
    assert (detector.predict(table[1]) < 0).mean() < 0.05


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_scores_of_cells_are_frames_with_names_and_index(library):
    X = np.random.default_rng(0).normal(size=(60, 3))
    frame = pd.DataFrame(X, columns=["", "b", "c"], index=[f"r{i}" for i in range(60)])
    if library == "polars":
        frame = pl.DataFrame(X, schema=["", "b", "c"])
    detector = VAEOutlierDetector(**QUICK).fit(frame)
    for method in ("score_features", "explain"):
        cells = getattr(detector, method)(frame[:3])
        assert type(cells) is type(frame)
        assert list(cells.columns) == list(frame.columns)
        plain = getattr(VAEOutlierDetector(**QUICK).fit(X), method)(X[:3])
        assert isinstance(plain, np.ndarray)
        np.testing.assert_allclose(cells.to_numpy(), plain)
    if library == "pandas":
        assert list(cells.index) == ["r0", "r1", "r2"]


@pytest.mark.parametrize(("n_rows", "n_components"), [(3, 1), (25, 6), (200, 20)])
def test_few_rows_have_few_components(n_rows, n_components):
    X = np.random.default_rng(1).normal(size=(n_rows, 40))
    detector = VAEOutlierDetector(max_epochs=1, random_state=0).fit(X)
    assert detector.n_components_ == n_components


def test_rows_far_away_are_outliers_of_fewer_rows_than_columns():
    X, far = np.random.default_rng(1).normal(size=(2, 25, 40))
    detector = VAEOutlierDetector(max_epochs=3, random_state=0).fit(X)
    assert (detector.predict(X) == -1).mean() < 0.1
    assert (detector.predict(3 * far) == -1).all()


def test_the_method_at_fit_is_that_of_the_threshold():
    X = make_factors(150, random_state=0)[0][:, :3]
    detector = VAEOutlierDetector(1, contamination=0.1, **QUICK).fit(X)
    scores, flags = detector.score_samples(X), detector.predict(X)
    detector.set_params(score_method="evidence")
    np.testing.assert_array_equal(detector.score_samples(X), scores)
    np.testing.assert_array_equal(detector.predict(X), flags)
    detector.fit(X)
    assert not np.allclose(detector.score_samples(X), scores)
    assert (detector.predict(X) == -1).mean() == pytest.approx(0.1, abs=0.02)
