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
