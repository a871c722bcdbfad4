"""Generators: what they say of their rows holds."""

import numpy as np
import pandas as pd
import pytest

from skvae.datasets import make_factors, make_mixed


@pytest.fixture(scope="module")
def table():
    return make_mixed(20_000, random_state=0)


def assert_share(found, expected, n_samples):
    error = np.sqrt(expected * (1 - expected) / n_samples)
    assert abs(found - expected) < 4 * error


def test_mixed_table_has_all_kinds_of_column(table):
    kinds = {name: dtype.kind for name, dtype in table.dtypes.items()}
    assert [kinds[name] for name in ("age", "income")] == ["f", "f"]
    assert [kinds[name] for name in ("visits", "savings")] == ["i", "i"]
    assert kinds["owns_home"] == "b"
    assert pd.api.types.is_string_dtype(table["region"])
    assert table["education"].cat.ordered
    assert not table.isna().any().any()


def test_mixed_numbers_have_the_moments_of_their_formulas(table):
    age, log_income = table["age"], np.log(table["income"])
    n = len(table)
    for values, mean, variance in (
        (age, 45, 10**2 + 8**2),
        (log_income, 10.3, 0.2**2 + 0.5**2 + 0.3**2),
    ):
        assert abs(values.mean() - mean) < 4 * np.sqrt(variance / n)
        assert abs(values.var() / variance - 1) < 4 * np.sqrt(2 / n)
    expected = 10 * 0.2 / np.sqrt(164 * 0.38)
    assert abs(np.corrcoef(age, log_income)[0, 1] - expected) < 4 / np.sqrt(n)


def test_mixed_counts_have_a_log_normal_rate(table):
    visits = table["visits"]
    assert visits.mean() == pytest.approx(np.exp(1 + 0.5**2 / 2), rel=0.03)
    # E[x(x - 1)] is the second moment of the rate
    assert (visits * (visits - 1)).mean() == pytest.approx(np.exp(2.5), rel=0.1)


def test_mixed_shares_are_those_of_their_formulas(table):
    n = len(table)
    assert_share((table["savings"] == 0).mean(), 0.5, n)
    assert_share(table["owns_home"].mean(), 0.5, n)
    levels = table["region"].value_counts()
    # symmetric in w
    assert abs(levels["north"] - levels["south"]) < 4 * np.sqrt(n)
    grades = table["education"].value_counts(normalize=True)
    # w + e / 2 has the variance 5 / 4
    assert_share(grades["school"], 0.2957, n)
    assert_share(grades["degree"], 0.2371, n)


def test_savings_follow_income_given_that_there_are_any(table):
    saves = table[table["savings"] > 0]
    logs = np.log(saves[["income", "savings"]])
    assert logs.corr().iloc[0, 1] > 0.3
    assert (table.loc[table["savings"] > 0, "savings"] > 50).all()


def test_missing_values_hide_those_of_the_same_table():
    whole = make_mixed(2000, random_state=1)
    incomplete = make_mixed(2000, missing=0.3, random_state=1)
    assert (
        str(incomplete["visits"].dtype) == str(incomplete["savings"].dtype) == "Int64"
    )
    assert str(incomplete["owns_home"].dtype) == "boolean"
    for name in whole:
        seen = incomplete[name].notna()
        assert (incomplete.loc[seen, name] == whole.loc[seen, name]).all()
        assert_share(seen.mean(), 0.7, 2000)
    # columns lose cells independently
    gone = incomplete.isna().sum(axis=1)
    assert abs(gone.var() / (7 * 0.3 * 0.7) - 1) < 4 * np.sqrt(2 / 2000)


def test_mixed_tables_depend_on_their_seed_alone():
    pd.testing.assert_frame_equal(
        make_mixed(50, missing=0.2, random_state=3),
        make_mixed(50, missing=0.2, random_state=3),
    )
    assert not make_mixed(50, random_state=3).equals(make_mixed(50, random_state=4))


@pytest.mark.parametrize("missing", [-0.1, 1.0, np.nan])
def test_shares_of_missing_values_are_probabilities_below_one(missing):
    with pytest.raises(ValueError, match="missing"):
        make_mixed(missing=missing)


def test_random_state_none_follows_numpys_global_generator():
    before = np.random.get_state()  # noqa: NPY002
    try:
        found = []
        for _ in range(2):
            np.random.seed(0)  # noqa: NPY002
            found.append([make_factors(9)[0], make_factors(9)[0]])
        np.testing.assert_array_equal(*found)
        assert not np.array_equal(*found[0])
    finally:
        np.random.set_state(before)  # noqa: NPY002
