"""Draws and imputations with values like those at fit: decimals, range, repeats."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skvae import VAEOutlierDetector
from skvae._columns._kinds import Category, Integer, Number
from skvae._columns._observed import ObservedValues, count_decimals, find_repeated

N = 200


@pytest.fixture(scope="module")
def table():
    """Columns with decimals of several kinds, continuous ones, and missing values."""
    generator = np.random.default_rng(0)
    z = generator.standard_normal(N)
    noise = generator.standard_normal((N, 6))
    amount = np.where(z + noise[:, 4] > 0, np.exp(z), 0.0)
    X = pd.DataFrame(
        {
            "cents": np.round(10 + 3 * z + noise[:, 0], 2),
            "halves": np.round(2 * (z + noise[:, 1])) / 2,
            "single": np.round(z + noise[:, 2], 1).astype(np.float32),
            "count": generator.poisson(np.exp(z)),
            "amount": amount,
            "smooth": z + noise[:, 3],
            "group": np.where(z + noise[:, 5] > 0, "a", "b"),
        }
    )
    X.loc[generator.random(N) < 0.2, ["cents", "smooth"]] = np.nan
    return X


def is_rounded(values, decimals):
    return np.isclose(np.round(values, decimals), values, rtol=0, atol=1e-9).all()


def check_like(rows, X):
    """Check that rows have decimals, range and zeros of the table."""
    for name in X.columns.drop("group"):
        assert rows[name].min() >= X[name].min(), name
        assert rows[name].max() <= X[name].max(), name
        assert rows[name].dtype == X[name].dtype, name
    assert is_rounded(rows["cents"], 2)
    assert not is_rounded(rows["cents"], 1)
    assert is_rounded(rows["halves"], 1)
    single = rows["single"].to_numpy()
    np.testing.assert_array_equal(np.round(single, 1), single)
    assert not is_rounded(rows["smooth"], 6)


@pytest.mark.parametrize("decimals", range(7))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", [1, 1000])
def test_decimals_are_the_fewest_that_give_every_value(decimals, dtype, size):
    values = np.random.default_rng(0).uniform(-size, size, 500)
    values[400:] = np.nan
    values = np.round(values, decimals).astype(dtype)
    # single precision has seven digits, the last of which do not count
    is_known = dtype == np.float64 or 10.0**-decimals > 1.2e-6 * size
    assert count_decimals(values) == (decimals if is_known else None)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scale", [1e-8, 1, 1e3, 1e9])
def test_continuous_columns_have_no_decimals(dtype, scale):
    values = np.random.default_rng(0).standard_normal(500) * scale
    assert count_decimals(values.astype(dtype)) is None


def test_a_late_value_counts():
    values = np.zeros(5000)
    values[4999] = 0.125
    assert count_decimals(values) == 3
    values[4998] = np.pi
    assert count_decimals(values) is None


def test_repeated_values_are_those_of_every_twentieth_row():
    array = np.random.default_rng(0).standard_normal((1000, 3))
    array[:60, 1] = 0.0
    array[:40, 2] = 0.0
    np.testing.assert_array_equal(
        find_repeated(array, np.arange(3)), [False, True, False]
    )


def test_values_are_learned_and_restricted():
    array = np.array([[0.25, 1, 3, 0], [0.5, 2, np.nan, 1], [0.75, 2, 9, 1]] * 30)
    smooth = np.random.default_rng(0).standard_normal(90)
    smooth[:45] = 1 / 3
    array = np.column_stack([array, smooth])
    kinds = [Number(), Integer(), Number(), Category(levels=["a", "b"]), Number()]
    observed = ObservedValues.learn(array, kinds)
    np.testing.assert_array_equal(observed.decimals, [2, 0, 0, np.nan, np.nan])
    np.testing.assert_array_equal(observed.low[:4], [0.25, 1, 3, -np.inf])
    np.testing.assert_array_equal(observed.high[:4], [0.75, 2, 9, np.inf])
    X = np.array([[0.333, -1.2, 10.0, 0.4, 0.33333334], [0.1, 1.6, 3.4, 7.0, 0.5]])
    before = X.copy()
    expected = [[0.33, 1, 9, 0.4, 1 / 3], [0.25, 2, 3, 7.0, 0.5]]
    np.testing.assert_array_equal(observed.restrict(X), expected)
    np.testing.assert_array_equal(X, before)
    more = observed.extend(np.array([[-1.0, 5, np.nan, 0, 0]]))
    np.testing.assert_array_equal(more.low[:3], [-1, 1, 3])
    np.testing.assert_array_equal(more.high[:3], [0.75, 5, 9])


def test_zero_has_no_sign():
    observed = ObservedValues.learn(np.array([[-1.0], [1.0]]), [Number()])
    assert not np.signbit(observed.restrict(np.array([[-0.2]]))).any()


def test_draws_are_like_the_table(table, quick):
    model = quick().fit(table)
    rows = model.sample(500, random_state=0)
    check_like(rows, table)
    # atoms of floats, to the last digit
    share = (rows["amount"] == 0).mean()
    assert abs(share - (table["amount"] == 0).mean()) < 0.1
    free = model.sample(500, random_state=0, bounded=False)
    assert not is_rounded(free["cents"], 2)
    assert free["smooth"].max() > table["smooth"].max()
    # the same draws before rounding
    is_inside = free["smooth"].between(table["smooth"].min(), table["smooth"].max())
    np.testing.assert_array_equal(rows["smooth"][is_inside], free["smooth"][is_inside])


def test_means_are_not_rounded(table, quick):
    model = quick().fit(table)
    means = model.sample(50, mean=True, random_state=0)
    assert not is_rounded(means["cents"], 2)
    assert not is_rounded(model.reconstruct(table)["cents"], 2)
    assert not is_rounded(model.inverse_transform(model.transform(table))["cents"], 2)


@pytest.mark.parametrize("seed", [None, 0])
def test_imputed_values_are_like_the_table(table, quick, seed):
    model = quick().fit(table)
    filled = model.impute(table, n_draws=20, random_state=seed)
    check_like(filled, table)
    observed = table.notna()
    pd.testing.assert_frame_equal(filled[observed], table[observed])
    free = model.impute(table, n_draws=20, random_state=seed, bounded=False)
    assert not is_rounded(free["cents"], 2)


def test_observed_values_outside_the_range_are_kept(table, quick):
    model = quick().fit(table)
    rows = table[:5].copy()
    rows["halves"] = 1000.25
    rows["smooth"] = np.nan
    filled = model.impute(rows, n_draws=20)
    assert (filled["halves"] == 1000.25).all()
    assert filled["smooth"].between(table["smooth"].min(), table["smooth"].max()).all()


@pytest.mark.filterwarnings("ignore:.*is rare in the model")
def test_given_values_are_kept(table, quick):
    model = quick().fit(table)
    rows = model.sample(20, given={"cents": 99.123, "count": 500}, random_state=0)
    assert (rows["cents"] == 99.123).all()
    assert (rows["count"] == 500).all()
    assert is_rounded(rows["halves"], 1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_arrays_have_decimals_as_well(quick, dtype):
    X = np.round(np.random.default_rng(0).standard_normal((N, 3)), 1).astype(dtype)
    model = quick(1).fit(X)
    rows = model.sample(100, random_state=0)
    assert rows.dtype == dtype
    np.testing.assert_array_equal(np.round(rows, 1), rows)
    assert rows.min() >= X.min()
    assert model.sample(100, random_state=0, bounded=False).max() > rows.max()


def test_integer_arrays_give_whole_numbers_of_their_range(quick):
    X = np.random.default_rng(0).poisson(2.0, (N, 4))
    rows = quick(1).fit(X).sample(100, random_state=0)
    assert rows.dtype == np.float64
    np.testing.assert_array_equal(rows, np.rint(rows))
    assert rows.min() >= 0
    assert rows.max() <= X.max()


def test_polars_and_nullable_columns_are_rounded(quick, table):
    numbers = table[["cents", "halves", "count"]].astype({"count": "Int64"})
    for X in (numbers, pl.from_pandas(numbers)):
        rows = quick(1).fit(X).sample(50, random_state=0)
        assert is_rounded(np.asarray(rows["cents"], dtype=float), 2)
        assert is_rounded(np.asarray(rows["halves"], dtype=float), 1)
        assert rows["count"].min() >= 0


def test_rows_of_weight_zero_do_not_count(quick):
    X = np.round(np.random.default_rng(0).standard_normal((N, 2)), 1)
    X[:3] = 1 / 3, 50.0
    weight = np.ones(N)
    weight[:3] = 0
    rows = quick(1).fit(X, sample_weight=weight).sample(100, random_state=0)
    np.testing.assert_array_equal(np.round(rows, 1), rows)
    assert rows.max() <= X[3:].max()


def test_range_grows_with_chunks_and_decimals_do_not(quick):
    X = np.round(np.random.default_rng(0).standard_normal((N, 2)), 1)
    model = quick(1).partial_fit(X)
    high = model.columns_.observed.high
    model.partial_fit(3 * X + 0.01)
    assert (model.columns_.observed.high > high).all()
    np.testing.assert_array_equal(model.columns_.observed.decimals, [1, 1])


def test_columns_show_them_and_pickles_keep_them(table, quick):
    model = quick().fit(table)
    frame = model.columns_.to_frame()
    assert frame["decimals"].tolist() == [2, 1, 1, 0, pd.NA, pd.NA, pd.NA]
    assert frame.loc["count", "low"] == 0
    assert frame.loc["cents", "high"] == table["cents"].max()
    assert frame.loc["group", ["low", "high"]].isna().all()
    again = pickle.loads(pickle.dumps(model))
    rows, same = (m.sample(20, random_state=0) for m in (model, again))
    pd.testing.assert_frame_equal(rows, same)


def test_floats_with_repeated_values_have_atoms_beside_other_kinds(table, quick):
    def count_atoms(X):
        members = quick().fit(X).net_.module_.likelihood.list_members()
        return [getattr(member, "n_atoms", None) for member in members]

    # columns of few values have an atom for each
    assert count_atoms(table) == [0, 32, 8, 32, 8, 0, None]
    # a table of numbers alone has one likelihood
    assert set(count_atoms(table.drop(columns="group"))) == {0}


def test_atoms_beside_values_on_no_grid_have_the_least_variance(table, quick):
    model = quick().fit(table)
    members = model.net_.module_.likelihood.list_members()
    members = dict(zip(table, members, strict=True))
    # single and amount; halves and count
    np.testing.assert_allclose(members["amount"]._floor[1], 1e-3)
    # a normal beside atoms for all values is a step wide, and they are narrower
    wide = 0.5**2 / table["halves"].var(ddof=0)
    np.testing.assert_allclose(members["halves"]._floor[0], min(wide, 0.5))
    ratio = np.exp(2 * members["halves"]._widening[0])
    np.testing.assert_allclose(ratio, wide / min(wide, 0.5) / (2 * np.pi))


def test_scores_on_a_grid_are_no_higher_than_probabilities(quick):
    # two columns are equal, and a third is one of a few integers
    generator = np.random.default_rng(0)
    count = generator.integers(1, 5, 300)
    X = pd.DataFrame({"a": count, "b": count, "c": generator.permutation(count)})
    X["group"] = np.where(count > 2, "x", "y")
    model = quick(2, max_epochs=30).fit(X)
    scores = np.asarray(model.score_features(X))[:, :3]
    # the floor may be undercut by two hundredths of a nat
    assert scores.max() < 0.03


def test_constant_columns_and_images_stay_as_they_are(quick):
    X = np.random.default_rng(0).standard_normal((N, 3))
    X[:, 1] = 7.5
    assert (quick(1).fit(X).sample(5, random_state=0)[:, 1] == 7.5).all()
    images = np.random.default_rng(0).integers(10, 50, (N, 1, 4, 4)).astype(np.uint8)
    model = quick(1, network="mlp", image_shape=(1, 4, 4)).fit(images)
    drawn = model.sample(20, random_state=0)
    assert drawn.dtype == np.uint8
    assert drawn.min() >= 10
    assert drawn.max() <= 49


def test_detector_draws_bounded_rows(X):
    detector = VAEOutlierDetector(
        hidden_layer_sizes=(8,), max_epochs=1, random_state=0
    ).fit(np.round(X, 1))
    rows = detector.sample(20, random_state=0)
    np.testing.assert_array_equal(np.round(rows, 1), rows)
