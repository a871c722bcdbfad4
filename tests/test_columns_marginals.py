"""Distributions of single columns, and draws that are moved to them."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ecdf, ks_2samp, norm, spearmanr

from skvae import VAETransformer
from skvae._columns._kinds import Number
from skvae._columns._marginals import Marginals, Quantiles

QUICK = {"max_epochs": 3, "hidden_layer_sizes": (8,), "random_state": 0}


@pytest.fixture(scope="module")
def table():
    """Return a spike, a skewed column that depends on it, a group and a few values."""
    generator = np.random.default_rng(0)
    n = 600
    hours = np.where(generator.random(n) < 0.4, 40, generator.integers(1, 90, n))
    return pd.DataFrame(
        {
            "hours": hours,
            "pay": hours * generator.lognormal(2.0, 1.0, n),
            "group": generator.choice(["x", "y"], n),
            "rank": generator.integers(0, 5, n),
        }
    )


def test_levels_and_values_are_inverse_to_each_other():
    x = np.random.default_rng(0).standard_normal(5000)
    quantiles = Quantiles.learn(x)
    level = np.linspace(0.01, 0.99, 50)
    values = quantiles.find_values(level)
    np.testing.assert_allclose(quantiles.find_levels(values, 0.5), level, atol=1e-9)
    # a standard normal, but for the error of 5,000 draws
    np.testing.assert_allclose(norm.cdf(values), level, atol=0.025)


def test_repeated_values_are_jumps():
    quantiles = Quantiles.learn(np.array([1.0, 2.0, 2.0, 2.0, 5.0]))
    np.testing.assert_allclose(quantiles.find_levels(np.array([2.0]), 0.0), 0.3)
    np.testing.assert_allclose(quantiles.find_levels(np.array([2.0]), 1.0), 0.7)
    np.testing.assert_allclose(quantiles.find_values([0.3, 0.5, 0.7]), 2.0)
    np.testing.assert_allclose(quantiles.find_values([0.8]), 3.5)
    np.testing.assert_allclose(
        quantiles.find_levels(np.array([0.0, 9.0]), 0.5), [0.1, 0.9]
    )


def test_weights_are_repeated_rows():
    column, weight = np.array([3.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])
    quantiles = Quantiles.learn(column, weight)
    np.testing.assert_allclose(quantiles.values, [1.0, 2.0, 3.0])
    np.testing.assert_allclose(quantiles.low, np.array([1.0, 3.5, 5.5]) / 6)


def test_frequent_values_of_long_columns_stay_exact():
    generator = np.random.default_rng(0)
    x = generator.standard_normal(20_000)
    x[:3000] = 0.125
    quantiles = Quantiles.learn(x)
    assert len(quantiles.values) <= 1000
    jump = quantiles.find_levels(np.array([0.125]), np.array([1.0]))
    jump -= quantiles.find_levels(np.array([0.125]), np.array([0.0]))
    np.testing.assert_allclose(jump, 0.15, atol=1e-4)


def test_distance_is_that_of_kolmogorov_and_smirnov():
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal(400), generator.standard_normal(300) + 0.5
    a[:100], b[:40] = 0.0, 0.0
    found = Quantiles.learn(a).measure_distance(Quantiles.learn(b))
    # steps are interpolated here
    assert abs(found - ks_2samp(a, b).statistic) < 0.01


def test_shifted_draws_are_moved_and_others_are_not():
    generator = np.random.default_rng(0)
    array = generator.standard_normal((500, 2))
    marginals = Marginals.learn(array, None, [Number(), Number()])
    shift = np.array([0.5, 0.0])
    drawn = generator.standard_normal((2000, 2)) + shift
    mapping = marginals.compare(drawn)
    assert list(mapping.pairs) == [0]
    more = generator.standard_normal((2000, 2)) + shift
    found = mapping.apply(more, generator)
    np.testing.assert_array_equal(found[:, 1], more[:, 1])
    assert ks_2samp(found[:, 0], array[:, 0]).pvalue > 0.01
    # ranks stay, but for those beyond the ends
    assert spearmanr(found[:, 0], more[:, 0])[0] > 0.9999


def test_draws_have_the_distributions_of_their_columns(table):
    model = VAETransformer(2, **QUICK).fit(table)
    drawn = model.sample(4000, random_state=0)
    raw = model.sample(4000, random_state=0, bounded=False)
    for name in ("hours", "pay"):
        distance = ks_2samp(drawn[name], table[name]).statistic
        # that of samples of one distribution
        assert distance < 1.7 * np.sqrt(1 / 4000 + 1 / 600)
    assert ks_2samp(raw["pay"], table["pay"]).statistic > distance
    share = (table["hours"] == 40).mean()
    assert abs((drawn["hours"] == 40).mean() - share) < 0.04
    # ranks, and so dependences, stay
    before, after = (spearmanr(d["hours"], d["pay"])[0] for d in (raw, drawn))
    assert abs(before - after) < 0.05


def test_what_is_not_moved(table):
    model = VAETransformer(2, **QUICK).fit(table)
    marginals = model.columns_.marginals
    assert set(marginals.quantiles) == {0, 1}
    holes = table.astype({"hours": float})
    holes.loc[3, "hours"] = np.nan
    assert set(VAETransformer(2, **QUICK).fit(holes).columns_.marginals.quantiles) == {
        1
    }
    assert not VAETransformer(1, **QUICK).fit(table[:40]).columns_.marginals.quantiles


def test_given_cells_stay(table):
    model = VAETransformer(2, **QUICK).fit(table)
    drawn = model.sample(50, given={"hours": 17, "group": "x"}, random_state=0)
    assert set(drawn["hours"]) == {17}
    assert drawn["pay"].between(table["pay"].min(), table["pay"].max()).all()


def test_equal_seeds_give_equal_draws_before_and_after_others(table):
    model = VAETransformer(2, **QUICK).fit(table)
    first = model.sample(20, random_state=3)
    model.sample(100, random_state=1)
    pd.testing.assert_frame_equal(model.sample(20, random_state=3), first)


def test_rows_of_further_batches_leave_no_distribution(table):
    model = VAETransformer(2, **QUICK)
    model.partial_fit(table[:300])
    assert model.columns_.marginals.quantiles
    model.partial_fit(table[300:])
    assert model.columns_.marginals is None
    assert len(model.sample(5, random_state=0)) == 5


def test_interpolated_distribution_is_that_of_the_sample():
    x = np.random.default_rng(0).gamma(2.0, size=300)
    quantiles = Quantiles.learn(x)
    exact = ecdf(x).cdf.evaluate(x)
    np.testing.assert_allclose(quantiles.find_levels(x, 0.5), exact, atol=1 / 300)
