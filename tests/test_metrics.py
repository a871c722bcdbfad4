"""Scores of drawn rows beside real ones, at tables whose scores are known."""

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.stats import ks_2samp, norm
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae.datasets import make_mixed
from skvae.metrics import (
    closest_record_share,
    column_shape_errors,
    distance_to_closest_record,
    pair_trend_errors,
    train_on_synthetic_scores,
    two_sample_auc,
)

REAL = make_mixed(n_samples=400, random_state=0)
OTHER = make_mixed(n_samples=400, random_state=1)
# as many in each part, so that errors of columns are known
LETTERS = pd.DataFrame({"letter": list("aabb"), "number": [1.0, 2, 3, 4]})


def shuffle(frame, seed=0):
    """Return a table whose columns are independent."""
    return frame.apply(np.random.default_rng(seed).permutation)


def judge(*tables):
    """Return the AUC of a judge that is fitted twice alone, to be fast."""
    return two_sample_auc(*tables, cv=2, random_state=0)


# what all scores read ---------------------------------------------------------------

COMPARE = {
    "shapes": column_shape_errors,
    "trends": pair_trend_errors,
    "auc": judge,
    "distance": distance_to_closest_record,
}


@pytest.mark.parametrize("name", COMPARE)
def test_equal_values_of_other_dtypes_and_order_have_equal_scores(name):
    generator = np.random.default_rng(0)
    real, drawn = (
        pd.DataFrame(
            {
                "count": generator.integers(0, 5, 60),
                "text": generator.choice(list("ab"), 60),
                "flag": generator.random(60) < 0.5,
                "real": generator.normal(size=60).astype(np.float32),
            }
        )
        for _ in range(2)
    )
    other = drawn.astype({"count": float, "text": "category", "real": float})
    other["flag"] = other["flag"].astype(object)
    # a float32 as its text reads
    other["real"] = [float(str(v)) for v in drawn["real"]]
    expected = COMPARE[name](real, drawn)
    np.testing.assert_array_equal(
        COMPARE[name](real, other[other.columns[::-1]]), expected
    )


@pytest.mark.parametrize("convert", [pl.from_pandas, pa.Table.from_pandas])
@pytest.mark.parametrize("name", COMPARE)
def test_frames_of_other_libraries_have_the_scores_of_pandas(name, convert):
    frames = [rows.iloc[:100] for rows in (REAL, OTHER)]
    expected = COMPARE[name](*frames)
    found = COMPARE[name](*(convert(frame) for frame in frames))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", COMPARE)
def test_lists_and_arrays_have_the_scores_of_data_frames(name):
    rows, others = [["a", 1.5], ["b", 2.5], ["a", 0.0]] * 4, [["a", 1.5]] * 10
    expected = COMPARE[name](pd.DataFrame(rows), pd.DataFrame(others))
    np.testing.assert_array_equal(COMPARE[name](rows, others), expected)
    arrays = (np.array(rows, dtype=object), np.array(others, dtype=object))
    np.testing.assert_array_equal(COMPARE[name](*arrays), expected)


def test_times_are_numbers_whatever_their_unit():
    begin = datetime(2024, 1, 1)
    real = pd.DataFrame({"t": [begin + timedelta(hours=h) for h in range(10)]})
    later = real + timedelta(hours=5)
    errors = column_shape_errors(real, later.astype("datetime64[s]"))
    assert errors["t"] == pytest.approx(0.5)


@pytest.mark.parametrize("name", COMPARE)
def test_tables_of_other_columns_are_refused(name):
    with pytest.raises(ValueError, match="'age' is not in all tables"):
        COMPARE[name](REAL, OTHER.drop(columns="age"))
    with pytest.raises(ValueError, match="'age' occurs twice"):
        COMPARE[name](REAL, pd.concat([OTHER, OTHER[["age"]]], axis=1))


@pytest.mark.parametrize("name", COMPARE)
def test_infinite_values_are_refused_by_the_name_of_the_column(name):
    infinite = OTHER.assign(income=np.inf)
    with pytest.raises(ValueError, match="'income' has infinite values"):
        COMPARE[name](REAL, infinite)


def test_tables_without_rows_and_unknown_columns_are_refused():
    with pytest.raises(ValueError, match="rows and columns"):
        column_shape_errors(REAL, OTHER.iloc[:0])
    with pytest.raises(ValueError, match="'weight'"):
        column_shape_errors(REAL, OTHER, categorical=["weight"])
    with pytest.raises(ValueError, match="1 dimensions"):
        column_shape_errors([1, 2], [1, 2])
    for wrong in ("region", 0):
        with pytest.raises(TypeError, match="list of column names"):
            column_shape_errors(REAL, OTHER, categorical=wrong)


def test_columns_without_any_value_are_no_obstacle():
    real, drawn = (rows.assign(age=np.nan, region=None) for rows in (REAL, OTHER))
    assert column_shape_errors(real, drawn)[["age", "region"]].tolist() == [0, 0]
    assert np.isfinite(pair_trend_errors(real, drawn)).all()
    assert judge(real, drawn) == pytest.approx(0.5, abs=0.06)
    scores = train_on_synthetic_scores(
        REAL, OTHER, drawn, target="savings", random_state=0
    )
    assert scores["drawn"] > 0
    empty = pd.DataFrame({"x": [np.nan] * 8})
    assert judge(empty, empty) == 0.5


@pytest.mark.parametrize(
    ("unit", "origin"), [(2e307, -8e307), (1e-310, 0), (8.0, 1e16), (1024.0, 1.7e18)]
)
def test_values_at_the_bounds_of_floats_have_finite_scores(unit, origin):
    steps = np.random.default_rng(0).integers(0, 8, (2, 60, 2))
    real, drawn = (
        pd.DataFrame(part * unit + origin).assign(level=["a", "b"] * 30)
        for part in steps
    )
    simple = [pd.DataFrame(part).assign(level=["a", "b"] * 30) for part in steps]
    for compare in (pair_trend_errors, distance_to_closest_record):
        np.testing.assert_allclose(
            compare(real, drawn), compare(*simple), rtol=1e-6, atol=1e-9
        )


# columns ----------------------------------------------------------------------------


def test_errors_of_columns_are_zero_for_equal_and_one_for_disjoint_tables():
    assert (column_shape_errors(REAL, REAL) == 0).all()
    apart = pd.DataFrame({"letter": list("cd"), "number": [5.0, 6]})
    assert column_shape_errors(LETTERS, apart).to_list() == [1, 1]


def test_error_of_numbers_is_the_distance_of_shifted_normals():
    x = np.random.default_rng(0).normal(size=(20_000, 1))
    y = np.random.default_rng(1).normal(size=(20_000, 1)) + 0.5
    (error,) = column_shape_errors(x, y)
    assert error == pytest.approx(ks_2samp(x[:, 0], y[:, 0]).statistic, abs=1e-12)
    # sup |F - G| is at 1/4; the standard error is about 0.01
    assert error == pytest.approx(2 * norm.cdf(0.25) - 1, abs=0.02)


def test_error_of_levels_is_their_total_variation():
    drawn = pd.DataFrame({"letter": list("aaac"), "number": [1.0, 2, 3, 4]})
    assert column_shape_errors(LETTERS, drawn)["letter"] == 0.5


def test_share_of_missing_cells_is_an_error_of_columns():
    half = LETTERS.mask([[True, True], [False, False]] * 2)
    assert column_shape_errors(LETTERS, half)["letter"] == 0.5
    assert column_shape_errors(LETTERS, half)["number"] == 0.5
    assert (column_shape_errors(half, half) == 0).all()


def test_codes_are_numbers_unless_they_are_declared():
    real, drawn = np.array([[1], [2], [3]]), np.array([[2], [2], [2]])
    assert column_shape_errors(real, drawn)[0] == pytest.approx(1 / 3)
    assert column_shape_errors(real, drawn, categorical=[0])[0] == pytest.approx(2 / 3)


# pairs ------------------------------------------------------------------------------


def test_errors_of_pairs_are_zero_for_equal_tables():
    errors = pair_trend_errors(REAL, REAL)
    assert len(errors) == 7 * 6 / 2
    assert (errors == 0).all()


def test_error_of_two_numbers_is_half_the_difference_of_correlations():
    x = np.random.default_rng(0).normal(size=(50, 2))
    errors = pair_trend_errors(x @ [[1, 1], [0, 1]], x)
    found = [np.corrcoef(rows.T)[0, 1] for rows in (x @ [[1, 1], [0, 1]], x)]
    assert errors[0, 1] == pytest.approx(abs(found[0] - found[1]) / 2)
    opposite = pair_trend_errors([[0, 0], [1, 1]], [[0, 1], [1, 0]])
    assert opposite[0, 1] == pytest.approx(1)


def test_error_of_a_pair_with_levels_is_the_total_variation_of_the_table():
    turned = LETTERS.assign(letter=list("bbaa"))
    assert column_shape_errors(LETTERS, turned).max() == 0
    assert pair_trend_errors(LETTERS, turned)["letter", "number"] == 1
    mixed = LETTERS.assign(letter=list("abba"))
    assert pair_trend_errors(LETTERS, mixed)["letter", "number"] == 0.5


def test_numbers_beyond_the_real_range_are_in_the_outer_intervals():
    far = LETTERS.assign(number=[-9.0, 2, 3, 99])
    assert pair_trend_errors(LETTERS, far)["letter", "number"] == 0


def test_constant_columns_have_the_correlation_zero():
    real = np.array([[0.0, 0], [1, 1], [2, 2]])
    constant = real * [1, 0]
    assert pair_trend_errors(real, constant)[0, 1] == pytest.approx(0.5)
    assert pair_trend_errors(constant, constant)[0, 1] == 0


def test_missing_cells_count_in_pairs_with_levels_alone():
    half = LETTERS.assign(number=[np.nan, 2, 3, 4])
    assert pair_trend_errors(LETTERS, half)["letter", "number"] == 0.25
    numbers = np.array([[0.0, 0], [1, 1], [2, 2]])
    holed = np.vstack([numbers, [[5, np.nan]]])
    assert pair_trend_errors(numbers, holed)[0, 1] == pytest.approx(0)


def test_one_column_has_no_pairs():
    with pytest.raises(ValueError, match="two columns"):
        pair_trend_errors(np.zeros((3, 1)), np.zeros((3, 1)))


def test_mean_errors_are_those_that_sdmetrics_had():
    drawn = shuffle(OTHER)
    # 1 - the mean similarities of sdmetrics 0.32, which needs pandas 2
    assert column_shape_errors(REAL, drawn).mean() == pytest.approx(0.0532142857)
    assert pair_trend_errors(REAL, drawn).mean() == pytest.approx(0.1706023599)


def test_every_error_is_that_of_sdmetrics():
    sdmetrics = pytest.importorskip("sdmetrics")
    from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity

    real, drawn = REAL, shuffle(OTHER)
    numbers = list(real.select_dtypes("number"))
    shapes, trends = column_shape_errors(real, drawn), pair_trend_errors(real, drawn)
    for name, error in shapes.items():
        kind = "KSComplement" if name in numbers else "TVComplement"
        metric = getattr(sdmetrics.single_column, kind)
        assert error == pytest.approx(
            1 - metric.compute(real[name], drawn[name]), abs=1e-6
        )
    for pair, error in trends.items():
        tables = real[list(pair)].copy(), drawn[list(pair)].copy()
        continuous = [name for name in pair if name in numbers]
        if len(continuous) == 2:
            similarity = CorrelationSimilarity.compute(*tables)
        else:
            similarity = ContingencySimilarity.compute(
                *tables, continuous_column_names=continuous
            )
        assert error == pytest.approx(1 - similarity, abs=1e-9)


# the judge --------------------------------------------------------------------------


def test_auc_of_two_normals_is_that_of_their_distance():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 2000, 1))
    auc = two_sample_auc(x, y + 1, estimator=LogisticRegression(), random_state=0)
    # the standard error is 0.008
    assert auc == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.025)


def test_auc_is_a_half_for_rows_of_the_same_source_and_one_for_disjoint_rows():
    assert judge(REAL, OTHER) == pytest.approx(0.5, abs=0.06)
    assert judge(REAL, OTHER.assign(age=OTHER["age"] + 1000)) > 0.99


def test_auc_sees_pairs_that_columns_do_not_show():
    assert column_shape_errors(REAL, shuffle(REAL)).max() == 0
    assert judge(REAL, shuffle(REAL)) > 0.7


def test_auc_of_copies_is_below_a_half():
    assert judge(REAL, REAL) < 0.4


def test_auc_does_not_depend_on_how_many_rows_are_drawn():
    x, y = np.random.default_rng(0).normal(size=(2, 2000, 1))
    judges = {"estimator": LogisticRegression(), "random_state": 0}
    found = [two_sample_auc(x, rows, **judges) for rows in (y + 1, y[:200] + 1)]
    assert found[0] == pytest.approx(found[1], abs=0.05)


def test_auc_takes_more_levels_than_trees_do():
    names = np.array([[f"name {i}"] for i in range(600)], dtype=object)
    auc = judge(names, names[::-1])
    assert 0 <= auc <= 0.6


def test_equal_seeds_have_equal_auc():
    assert judge(LETTERS, LETTERS) == judge(LETTERS, LETTERS)


def test_auc_needs_a_row_for_every_fold():
    with pytest.raises(ValueError, match="cv=5"):
        two_sample_auc(REAL, OTHER.iloc[:4])


# closest records --------------------------------------------------------------------


def test_distance_of_copies_is_zero_and_their_share_one():
    copies = REAL.sample(100, random_state=0)
    assert (distance_to_closest_record(REAL, copies) == 0).all()
    assert closest_record_share(REAL, OTHER, copies, random_state=0) == 1
    assert closest_record_share(OTHER, REAL, copies, random_state=0) == 0


def test_distance_adds_standard_deviations_and_unequal_levels():
    train = pd.DataFrame({"x": [-1.0, 1, -1, 1], "level": list("aabb")})
    drawn = pd.DataFrame({"x": [1.0, 4, np.nan], "level": ["a", "c", "a"]})
    # the last one is missing, and its x is the mean
    expected = [0, np.sqrt(3**2 + 1), np.sqrt(1 + 1)]
    np.testing.assert_allclose(distance_to_closest_record(train, drawn), expected)


def test_columns_that_are_constant_have_the_deviation_one():
    # of which rounding makes a mean that is another number
    train = pd.DataFrame({"x": [0.1] * 3})
    drawn = pd.DataFrame({"x": [0.1, 0.3]})
    np.testing.assert_allclose(distance_to_closest_record(train, drawn), [0, 0.2])


def test_distance_does_not_depend_on_units():
    scaled = [rows.assign(income=rows["income"] * 1000) for rows in (REAL, OTHER)]
    np.testing.assert_allclose(
        distance_to_closest_record(*scaled), distance_to_closest_record(REAL, OTHER)
    )


def test_share_is_a_half_for_rows_of_the_same_source():
    drawn = make_mixed(n_samples=1000, random_state=2)
    share = closest_record_share(REAL, OTHER, drawn, random_state=0)
    # three standard errors, twice as wide because rows share neighbours
    assert share == pytest.approx(0.5, abs=0.09)


def test_share_takes_as_many_training_as_held_out_rows():
    drawn = make_mixed(n_samples=1000, random_state=2)
    share = closest_record_share(REAL, OTHER.iloc[:100], drawn, random_state=0)
    assert share == pytest.approx(0.5, abs=0.15)
    # half of the drawn rows are copies of the rows that are kept
    copies = closest_record_share(REAL, OTHER.iloc[:200], REAL, random_state=0)
    assert 0.65 < copies < 0.85


def test_ties_are_half_a_row():
    letters = [["a"], ["b"]]
    assert closest_record_share(letters, letters, [["a"], ["c"]]) == 0.5


# prediction -------------------------------------------------------------------------


def test_drawn_rows_that_are_the_training_rows_score_alike():
    scores = train_on_synthetic_scores(REAL, OTHER, REAL, "savings", random_state=0)
    assert scores["drawn"] == scores["real"]


def test_rows_without_associations_predict_nothing():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(3, 400, 1))
    train, test, drawn = (np.hstack([rows, 2 * rows]) for rows in x)
    linear = LinearRegression()
    scores = train_on_synthetic_scores(train, test, drawn, 1, estimator=linear)
    assert scores == pytest.approx({"drawn": 1, "real": 1})
    drawn[:, 1] = generator.permutation(drawn[:, 1])
    scores = train_on_synthetic_scores(train, test, drawn, 1, estimator=linear)
    assert scores["drawn"] < 0.1


def test_target_of_levels_is_classified_and_scored_as_told():
    scores = train_on_synthetic_scores(
        REAL, OTHER, shuffle(REAL), "region", scoring="balanced_accuracy"
    )
    chance = 1 / REAL["region"].nunique()
    assert scores["drawn"] < chance + 0.1 < scores["real"]


def test_numbers_are_classes_where_they_are_declared():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(3, 200, 2))
    tables = [np.column_stack([rows, rows[:, 0] > 0]) for rows in x]
    scores = train_on_synthetic_scores(
        *tables,
        2,
        estimator=make_pipeline(StandardScaler(), LogisticRegression()),
        scoring="roc_auc",
        categorical=[2],
    )
    assert min(scores.values()) > 0.99


def test_rows_without_a_target_are_left_out():
    holed = REAL.assign(savings=REAL["savings"].where(REAL.index % 2 == 0))
    kept = REAL[REAL.index % 2 == 0]
    found = [
        train_on_synthetic_scores(rows, OTHER, rows, "savings", random_state=0)
        for rows in (holed, kept)
    ]
    assert found[0] == found[1]


def test_targets_that_cannot_be_learned_are_refused():
    with pytest.raises(ValueError, match="target='weight'"):
        train_on_synthetic_scores(REAL, OTHER, OTHER, "weight")
    north = OTHER.assign(region="north")
    with pytest.raises(ValueError, match="fewer than two levels of 'region'"):
        train_on_synthetic_scores(REAL, OTHER, north, "region")
    with pytest.raises(ValueError, match=r"No row of test .*'age'"):
        train_on_synthetic_scores(REAL, OTHER.assign(age=np.nan), OTHER, "age")
    with pytest.raises(ValueError, match="no column but the target"):
        train_on_synthetic_scores(*[REAL[["age"]]] * 3, "age")


def test_levels_of_any_type_are_predicted():
    days = REAL.assign(day=[date(2020, 1, 1 + v) for v in REAL["owns_home"]])
    found = train_on_synthetic_scores(days, days, days, "day", random_state=0)
    assert found["drawn"] > 0.99
