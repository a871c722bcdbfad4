import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skvae._training._splits import make_splits, split_off

repeatable = settings(derandomize=True, deadline=None, max_examples=60)


def check_splits(splits, n_samples):
    """Check what holds for any splits of a table into training and held-out rows."""
    rows = np.arange(n_samples)
    np.testing.assert_array_equal(splits.table, rows)
    assert len(splits.train) >= len(splits.valid) >= 1
    for train, valid in zip(splits.train, splits.valid, strict=False):
        assert len(train) > 0
        assert len(valid) > 0
        # disjoint, and all rows together, each once
        np.testing.assert_array_equal(np.sort(np.append(train, valid)), rows)
    held_out = np.concatenate(splits.valid)
    assert len(np.unique(held_out)) == len(held_out)
    # batched side by side: the same number of held-out rows in all
    assert len({len(valid) for valid in splits.valid}) == 1
    assert splits.n_copies == (len(splits.train) if len(splits.train) > 1 else None)


@given(
    n_samples=st.integers(2, 5000),
    fraction=st.floats(0.001, 0.999),
    can_stack=st.booleans(),
    seed=st.integers(0, 10),
)
@repeatable
def test_splits_of_any_table_are_sound(n_samples, fraction, can_stack, seed):
    splits = make_splits(n_samples, fraction, np.random.default_rng(seed), can_stack)
    check_splits(splits, n_samples)
    assert len(splits.valid[0]) >= min(int(fraction * n_samples), n_samples - 1)
    if can_stack and n_samples <= 3000:
        assert len(splits.train) == len(splits.valid) + 1
        np.testing.assert_array_equal(splits.train[-1], np.arange(n_samples))
    else:
        assert len(splits.train) == len(splits.valid) == 1


@pytest.mark.parametrize("n_samples", range(2, 13))
@pytest.mark.parametrize("can_stack", [False, True])
def test_tiny_tables_are_split(n_samples, can_stack):
    splits = make_splits(n_samples, 0.1, np.random.default_rng(0), can_stack)
    check_splits(splits, n_samples)
    assert len(splits.valid[0]) == max(1, n_samples // 5)
    if can_stack:
        assert len(splits.valid) == min(5, n_samples // len(splits.valid[0]))


@pytest.mark.parametrize(
    ("n_features", "n_splits"), [(300, 5), (500, 3), (1000, 1), (10_000, 1)]
)
def test_wide_tables_have_fewer_networks_side_by_side(n_features, n_splits):
    generator = np.random.default_rng(0)
    splits = make_splits(100, 0.1, generator, can_stack=True, n_features=n_features)
    check_splits(splits, 100)
    assert len(splits.valid) == n_splits
    np.testing.assert_array_equal(splits.train[-1], np.arange(100))


def test_a_second_set_of_weights_is_too_large_for_the_widest_tables():
    rest = np.random.default_rng(0), True
    splits = make_splits(500, 0.1, *rest, n_features=20_000)
    check_splits(splits, 500)
    assert splits.n_copies is None
    assert len(splits.train[0]) + len(splits.valid[0]) == 500
    covering = make_splits(500, 0.1, *rest, covers=True, n_features=20_000)
    assert covering.n_copies is None
    assert len(covering.valid[0]) == 100


def test_small_tables_hold_out_several_parts_and_train_a_twin_on_all_rows():
    splits = make_splits(200, 0.1, np.random.default_rng(0), can_stack=True)
    n_splits = len(splits.valid)
    assert n_splits > 1
    assert splits.n_copies == n_splits + 1
    assert [len(valid) for valid in splits.valid] == [40] * n_splits
    assert [len(train) for train in splits.train] == [160] * n_splits + [200]


def test_large_tables_have_one_held_out_part():
    splits = make_splits(10_000, 0.1, np.random.default_rng(0), can_stack=True)
    assert splits.n_copies is None
    assert [len(valid) for valid in splits.valid] == [1000]
    assert [len(train) for train in splits.train] == [9000]


def test_without_a_fraction_nothing_is_held_out():
    splits = make_splits(50, None, np.random.default_rng(0), can_stack=True)
    assert splits.valid == []
    assert splits.n_copies is None
    np.testing.assert_array_equal(splits.train[0], np.arange(50))


def test_splits_depend_on_their_generator_alone():
    one, same, other = (
        make_splits(100, 0.1, np.random.default_rng(seed), can_stack=True)
        for seed in (0, 0, 1)
    )
    for a, b in zip(one.valid, same.valid, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(one.valid, other.valid, strict=True))


def test_validation_rows_given_apart_stand_behind_the_table():
    splits = split_off(10, 3)
    np.testing.assert_array_equal(splits.train[0], np.arange(10))
    np.testing.assert_array_equal(splits.valid[0], [10, 11, 12])
    np.testing.assert_array_equal(splits.table, np.arange(10))
    assert splits.n_copies is None
