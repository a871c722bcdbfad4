"""Roots of monotone functions, for links that invert a moment."""

import numpy as np


def bisect(is_below, low, high, n_halvings):
    """Return where rising functions cross their targets, each by bisection.

    `is_below` takes an array of arguments and returns whether the function of each is
    still below its target. Roots lie between the arrays low and high; where one does
    not, the nearer end is approached. The distance from a root is at most (high - low)
    / 2 ** (n_halvings + 1).
    """
    for _ in range(n_halvings):
        middle = (low + high) / 2
        is_low = is_below(middle)
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    return (low + high) / 2


def match_normal_moments(
    mean, covariance, compute_mean, max_bias, max_slope, n_halvings=26, n_nodes=20
):
    """Return b and s with E[m(b + s ε)] = mean and E[m(b + s ε) ε] = covariance.

    m rises, ε ~ N(0, 1), and all are arrays (n_columns,). The first rises with b, the
    second with s: bisection within bisection, for b within ±max_bias and s from 0 to
    max_slope.

    Parameters
    ----------
    compute_mean : callable
        m of an array (n_columns, n_nodes).
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(n_nodes)
    weights = weights / weights.sum()

    def compute_means(bias, slope):
        return compute_mean(bias[:, None] + slope[:, None] * nodes)

    def find_bias(slope):
        def is_below(bias):
            return compute_means(bias, slope) @ weights < mean

        limit = np.full_like(mean, max_bias)
        return bisect(is_below, -limit, limit, n_halvings)

    def is_below(slope):
        found = compute_means(find_bias(slope), slope) @ (weights * nodes)
        return found < covariance

    slope = np.zeros_like(mean)
    if covariance.any():
        slope = bisect(is_below, slope, np.full_like(mean, max_slope), n_halvings)
    return find_bias(slope), slope
