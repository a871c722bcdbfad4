"""Missing cells: they are NaN, and what is known of a row is the rest of it.

Nothing here knows of networks, distributions or tables.
"""

from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

# Stands for missing cells where a density is evaluated whose value there is discarded:
# inside the support of every law of real numbers, and cut to code 0 where numbers are
# codes.
NEUTRAL = 0.5
# values looked at at a time: as many as stay in a processor's own memory
_CHUNK_VALUES = 32_768


def list_chunks(x):
    """Return slices of rows that are worked on at a time.

    What is mapped into memory is then never there as a whole.
    """
    size = max(1, _CHUNK_VALUES // max(1, x.shape[1]))
    return [slice(begin, begin + size) for begin in range(0, len(x), size)]


# whether cells are missing where that is known without looking; None is not known
_KNOWN = ContextVar("has_missing", default=None)


@contextmanager
def missing_cells_known(has_missing):
    """Let `find_missing` take it as known whether cells are missing.

    It then reads no value: what it decides can be recorded.
    """
    token = _KNOWN.set(has_missing)
    try:
        yield
    finally:
        _KNOWN.reset(token)


def find_missing(x):
    """Return which cells of rows, a tensor, are missing, or None where none is."""
    known = _KNOWN.get()
    if known is not None:
        return x.isnan() if known else None
    # a sum takes no memory; that of huge numbers of both signs may be NaN as well
    if not x.sum().isnan():
        return None
    missing = x.isnan()
    return missing if missing.any() else None


def is_complete(x):
    """Return whether no cell of an array is missing."""
    if x.dtype.kind != "f":
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        # infinite sums of finite numbers are no NaN, unless both signs overflow
        if not np.isnan(x.sum()):
            return True
    return not any(np.isnan(x[rows]).any() for rows in list_chunks(x))


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
