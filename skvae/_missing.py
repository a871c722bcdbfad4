"""Missing cells: they are NaN, and what is known of a row is the rest of it.

Nothing here knows of networks or distributions.
"""

import numpy as np
import torch

# Stands for missing cells where a density is evaluated whose value there is discarded:
# inside the support of every law of real numbers, and cut to code 0 where numbers are
# codes.
NEUTRAL = 0.5


def find_missing(x):
    """Return which cells of rows are missing, or None where none is."""
    # a sum takes no memory; that of huge numbers of both signs may be NaN as well
    if not torch.isnan(x.sum()):
        return None
    missing = torch.isnan(x)
    return missing if missing.any() else None


def is_complete(x):
    """Return whether no cell of an array is missing."""
    if x.dtype.kind != "f":
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        # infinite sums of finite numbers are no NaN, unless both signs overflow
        return not np.isnan(x.sum()) or not np.isnan(x).any()


def fill_at_random(x, seed=0):
    """Return a copy whose missing cells hold observed values of their columns.

    Every column keeps its law, though not its relation to others; one of which nothing
    is observed has `NEUTRAL`. A table without missing cells is returned as it is.

    Parameters
    ----------
    x : ndarray (n, n_features)
    seed : int, default=0
    """
    if is_complete(x):
        return x
    filled, generator = np.array(x), np.random.default_rng(seed)
    for column in filled.T:
        missing = np.isnan(column)
        observed = column[~missing]
        if len(observed) == 0:
            observed = [NEUTRAL]
        column[missing] = generator.choice(observed, missing.sum())
    return filled
