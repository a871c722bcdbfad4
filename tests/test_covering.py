"""Chosen combinations have everything in them that they are chosen for."""

import itertools

import pytest
from covering import cover

FACTORS = "ab", "cde", "fghijkl", "mnop", "qr", "st"


@pytest.mark.parametrize("strength", [1, 2, 3, 4, 6])
def test_values_of_as_many_factors_as_asked_for_meet(strength):
    rows = cover(*FACTORS, strength=strength)
    product = list(itertools.product(*FACTORS))
    assert rows == [row for row in product if row in set(rows)]
    for factors in itertools.combinations(FACTORS, strength):
        places = [FACTORS.index(factor) for factor in factors]
        met = {tuple(row[i] for i in places) for row in rows}
        assert met == set(itertools.product(*factors))
    assert (rows == product) == (strength == len(FACTORS))


def test_combinations_are_the_same_every_time():
    assert cover(*FACTORS, strength=3) == cover(*FACTORS, strength=3)


def test_combinations_are_not_many_more_than_must_be():
    assert len(cover(*FACTORS, strength=2)) <= 1.25 * 7 * 4
    assert len(cover(*FACTORS, strength=3)) <= 1.25 * 7 * 4 * 3
