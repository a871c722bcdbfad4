import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma

from skvae._closed_form._roots import bisect


def test_roots_are_those_of_scipy():
    target = np.array([-3.0, 0.0, 1.5])
    low, high = np.full(3, 1e-3), np.full(3, 50.0)
    found = bisect(lambda x: digamma(x) < target, low, high, 50)
    expected = [brentq(lambda x, t=t: digamma(x) - t, 1e-3, 50) for t in target]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_error_is_bounded_by_the_number_of_halvings():
    target = np.linspace(-0.9, 0.9, 50)
    for n_halvings in (1, 5, 20):
        found = bisect(lambda x: x < target, -np.ones(50), np.ones(50), n_halvings)
        assert (np.abs(found - target) <= 2 / 2 ** (n_halvings + 1)).all()


def test_roots_outside_are_moved_to_the_nearer_end():
    target = np.array([-5.0, 5.0])
    found = bisect(lambda x: x < target, -np.ones(2), np.ones(2), 40)
    np.testing.assert_allclose(found, [-1, 1])
