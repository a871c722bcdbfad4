"""Normal scores: `standardize='quantile'` and the maps behind it."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest, norm

from skvae import VAEOutlierDetector, VAETransformer, load, save
from skvae._columns._normal_scores import NormalScores, ScoreMap
from skvae.export import to_onnx

SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}


def make_rows(n_samples=200, seed=0):
    """Return three dependent columns with long tails, one of them of whole numbers."""
    rng = np.random.default_rng(seed)
    X = np.exp(2 * rng.normal(size=(n_samples, 3)))
    X[:, 1] = X[:, 0] * np.exp(0.1 * rng.normal(size=n_samples))
    X[:, 2] = np.round(100 * X[:, 2])
    return X


@pytest.fixture(scope="module")
def X():
    return make_rows()


@pytest.fixture(scope="module")
def incomplete(X):
    X = X.copy()
    X[::5, 1] = np.nan
    return X


@pytest.fixture(scope="module")
def vae(incomplete):
    return VAETransformer(1, standardize="quantile", **SMALL).fit(incomplete)


# maps -------------------------------------------------------------------------------


def test_scores_are_those_of_a_normal_distribution():
    column = np.exp(3 * np.random.default_rng(0).normal(size=4000))
    scores = ScoreMap.learn(column, np.ones(4000)).apply(column)
    assert kstest(scores, norm.cdf).statistic < 0.03


def test_zeros_of_amounts_are_far_from_other_values():
    amount = np.exp(np.random.default_rng(0).normal(size=500))
    score_map = ScoreMap.learn(np.r_[np.zeros(200), amount], np.ones(700))
    zero, others = score_map.apply(np.zeros(1)), score_map.apply(amount)
    assert zero < -2.5
    assert np.quantile(others, 0.01) > -0.7


def test_maps_increase_and_are_inverted_beyond_the_rows_too():
    column = np.exp(3 * np.random.default_rng(0).normal(size=500))
    score_map = ScoreMap.learn(column, np.ones(500))
    x = np.linspace(-100, 2 * column.max(), 10_001)
    scores = score_map.apply(x)
    assert (np.diff(scores) > 0).all()
    np.testing.assert_allclose(score_map.invert(scores), x, rtol=1e-9, atol=1e-9)


def test_log_slopes_are_derivatives():
    column = np.exp(np.random.default_rng(0).normal(size=500))
    score_map = ScoreMap.learn(column, np.ones(500))
    # away from the knots
    middle = (score_map.knots[:-1] + score_map.knots[1:]) / 2
    step = 1e-6 * np.diff(score_map.knots)
    rise = score_map.apply(middle + step) - score_map.apply(middle - step)
    np.testing.assert_allclose(
        score_map.compute_log_slope(middle), np.log(rise / (2 * step)), rtol=1e-5
    )


def test_a_weight_is_a_number_of_equal_rows():
    column = np.exp(np.random.default_rng(0).normal(size=300))
    weight = np.random.default_rng(1).integers(1, 4, size=300)
    weighted = ScoreMap.learn(column, weight.astype(float))
    repeated = ScoreMap.learn(np.repeat(column, weight), np.ones(weight.sum()))
    x = np.quantile(column, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(weighted.apply(x), repeated.apply(x), atol=0.1)
    heavier = ScoreMap.learn(column, np.where(column > 1, 10.0, 1.0))
    assert heavier.apply(np.array([1.0]))[0] < -1


def test_columns_of_few_values_keep_theirs():
    X = np.column_stack([np.arange(200) % 32, np.arange(200)]).astype(float)
    assert list(NormalScores.learn(X, None, [0, 1]).maps) == [1]


def test_a_column_of_one_value_and_a_far_one_has_a_finite_map():
    column = np.r_[np.zeros(150), np.arange(50) * 1e-9, 1e12]
    score_map = ScoreMap.learn(column, np.ones(201))
    scores = score_map.apply(np.r_[column, -1e15, 1e15])
    assert np.isfinite(scores).all()
    assert np.isfinite(score_map.compute_log_slope(column)).all()


# estimators -------------------------------------------------------------------------


def test_scores_are_those_of_a_model_of_normal_scores(vae, incomplete):
    normal_scores = vae.columns_.normal_scores
    T = normal_scores.apply(incomplete)
    other = VAETransformer(1, **SMALL).fit(T)
    slopes = normal_scores.compute_log_slopes(incomplete)
    for method in ("elbo", "evidence", "reconstruction"):
        np.testing.assert_allclose(
            vae.score_samples(incomplete, method),
            other.score_samples(T, method) + slopes.sum(axis=1),
            rtol=1e-9,
        )
    np.testing.assert_allclose(
        vae.score_features(incomplete), other.score_features(T) + slopes, rtol=1e-9
    )
    np.testing.assert_array_equal(vae.transform(incomplete), other.transform(T))
    np.testing.assert_allclose(
        vae.reconstruct(incomplete), normal_scores.invert(other.reconstruct(T))
    )
    mean_slope = slopes.sum(axis=1).mean()
    assert vae.best_validation_score_ == pytest.approx(
        other.best_validation_score_ + mean_slope, rel=1e-5
    )


def test_the_density_integrates_to_one():
    X = make_rows()[:, :2]
    vae = VAETransformer(1, standardize="quantile", n_draws=64, **SMALL).fit(X)
    maps = vae.columns_.normal_scores.maps
    # even in the scores, where the density has no long tails
    u = np.linspace(-6, 6, 121)
    x, y = maps[0].invert(u), maps[1].invert(u)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    log_slope = np.add.outer(maps[0].compute_log_slope(x), maps[1].compute_log_slope(y))
    log_density = vae.score_samples(grid, "evidence").reshape(log_slope.shape)
    mass = np.trapezoid(np.trapezoid(np.exp(log_density - log_slope), u), u)
    assert mass == pytest.approx(1, abs=0.05)


def test_long_tails_have_a_higher_density(X):
    held_out = make_rows(400, seed=1)
    scores = [
        VAETransformer(1, standardize=standardize, **SMALL).fit(X).score(held_out)
        for standardize in (True, "quantile")
    ]
    assert scores[1] > scores[0] + 1


def test_draws_have_the_quantiles_of_the_table(vae, X):
    drawn = vae.sample(2000, random_state=0)
    levels = [0.1, 0.5, 0.9]
    ratio = np.quantile(drawn, levels, axis=0) / np.quantile(X, levels, axis=0)
    assert (np.abs(np.log(ratio)) < 0.5).all()
    np.testing.assert_array_equal(drawn[:, 2], np.round(drawn[:, 2]))


def test_given_values_and_gaps_are_in_the_units_of_x(vae, incomplete):
    drawn = vae.sample(20, given={0: 50.0}, random_state=0)
    np.testing.assert_array_equal(drawn[:, 0], 50.0)
    filled = vae.impute(incomplete)
    assert np.isfinite(filled).all()
    known = ~np.isnan(incomplete)
    np.testing.assert_array_equal(filled[known], incomplete[known])


def test_files_and_graphs_have_the_maps(vae, X, tmp_path):
    save(vae, tmp_path / "vae.skvae")
    other = load(tmp_path / "vae.skvae")
    np.testing.assert_array_equal(other.score_samples(X), vae.score_samples(X))
    onnxruntime = pytest.importorskip("onnxruntime")
    # beyond the rows of the fit, too
    rows = np.vstack([X[:20], 3 * X[:5]])
    whole = VAETransformer(1, standardize="quantile", **SMALL).fit(X)
    for method in ("transform", "score_samples", "reconstruct"):
        path = str(tmp_path / f"{method}.onnx")
        to_onnx(whole, path, method=method)
        session = onnxruntime.InferenceSession(path)
        found = session.run(None, {session.get_inputs()[0].name: rows})[0]
        expected = getattr(whole, method)(rows)
        np.testing.assert_allclose(
            found.reshape(expected.shape), expected, rtol=1e-5, atol=1e-5
        )


def test_tables_of_all_kinds_and_the_detector_take_normal_scores(X):
    frame = pd.DataFrame(
        {
            "amount": X[:, 0],
            "constant": 1.0,
            "colour": np.where(X[:, 1] > 1, "red", "blue"),
            "count": X[:, 2].astype(int),
        }
    )
    detector = VAEOutlierDetector(standardize="quantile", **SMALL).fit(frame)
    assert list(detector.columns_.normal_scores.maps) == [0, 2]
    drawn = detector.sample(50, random_state=0)
    assert list(drawn.dtypes) == list(frame.dtypes)
    assert np.isfinite(detector.explain(frame)).to_numpy().all()
    table = detector.columns_.to_frame()
    # a unit of the scores, in the middle of the column
    assert 0 < table.loc["amount", "unit"] < frame["amount"].std()
    assert frame["amount"].min() < table.loc["amount", "location"] < 3


def test_chunks_keep_the_maps_of_the_first(X):
    vae = VAETransformer(1, standardize="quantile", **SMALL).partial_fit(X[:100])
    before = vae.columns_.normal_scores.apply(X)
    vae.partial_fit(X[100:])
    np.testing.assert_array_equal(vae.columns_.normal_scores.apply(X), before)


def test_numbers_of_few_values_alone_have_no_maps():
    X = np.random.default_rng(0).integers(0, 5, size=(100, 2)).astype(float)
    vae = VAETransformer(1, standardize="quantile", **SMALL).fit(X)
    assert vae.columns_.normal_scores.maps == {}


def test_other_words_are_refused(X):
    with pytest.raises(ValueError, match="'standardize' parameter"):
        VAETransformer(1, standardize="rank").fit(X)
