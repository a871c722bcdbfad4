"""Missing values, which are NaN: to find them, and to fill them.

Arrays and tensors only; networks, distributions and tables are elsewhere.
"""

from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

# Replaces missing values where a density is evaluated and its value is discarded: it is
# inside the support of every continuous distribution, and truncates to code 0 where
# numbers are codes.
NEUTRAL = 0.5
# values loaded at a time: as many as stay in the cache of a processor
_CHUNK_VALUES = 32_768


def list_chunks(x, n_values=_CHUNK_VALUES):
    """Return slices of rows that are worked on at a time, of `n_values` cells or so.

    An array that is mapped from a file is then never in memory as a whole.
    """
    size = max(1, n_values // max(1, x.shape[1]))
    return [slice(begin, begin + size) for begin in range(0, len(x), size)]


# whether values are missing, or in which columns, where that is known without looking
_KNOWN = ContextVar("has_missing", default=None)


@contextmanager
def missing_cells_known(has_missing):
    """Tell `find_missing` whether values are missing, or in which columns.

    It then reads no value, so that a step that calls it can be recorded.
    """
    token = _KNOWN.set(has_missing)
    try:
        yield
    finally:
        _KNOWN.reset(token)


def find_missing(x):
    """Return a mask of the missing values of a tensor, or None if there are none."""
    known = _KNOWN.get()
    if known is not None:
        return x.isnan() if known else None
    # a sum takes no memory; it is NaN as well if values of both signs overflow
    if not x.sum().isnan():
        return None
    missing = x.isnan()
    return missing if missing.any() else None


def list_incomplete(missing):
    """Return the columns of a mask (..., n_features) in which any value is missing.

    Where a step is recorded no value may be read: then these are the known ones, or all
    columns.
    """
    known = _KNOWN.get()
    if known is not None:
        return list(range(missing.shape[-1]) if known is True else known)
    return missing.flatten(0, -2).any(dim=0).nonzero().flatten().tolist()


def find_incomplete_rows(missing, column):
    """Return the rows of a mask (n, n_features) whose value in a column is missing.

    None stands for all rows: also where no value may be read, and of a mask with other
    dimensions, whose tables miss values in other rows.
    """
    of_column = missing[..., column].flatten()
    if _KNOWN.get() is not None or len(of_column) != missing.shape[-2]:
        return None
    rows = of_column.nonzero().flatten()
    return rows if len(rows) < len(of_column) else None


def has_missing(x):
    """Return whether an array has missing values; see `find_missing` for tensors.

    Tables that are no arrays know it themselves, see `LazyRows`.
    """
    if not isinstance(x, np.ndarray):
        return x.has_missing()
    if x.dtype.kind != "f":
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        # the sum of finite values is not NaN, unless those of both signs overflow
        if not np.isnan(x.sum()):
            return False
    return any(np.isnan(x[rows]).any() for rows in list_chunks(x))


def fill_at_random(x, seed=0):
    """Return a copy with missing values replaced by observed values of their columns.

    Every column keeps its distribution, but not its relation to the others. A column
    without observed values gets `NEUTRAL`. A table without missing values is returned
    as it is.
    """
    if not has_missing(x):
        return x
    if not isinstance(x, np.ndarray):
        return x.fill_at_random(seed)
    filled, generator = np.array(x), np.random.default_rng(seed)
    for column in filled.T:
        missing = np.isnan(column)
        observed = column[~missing]
        if len(observed) == 0:
            observed = [NEUTRAL]
        column[missing] = generator.choice(observed, missing.sum())
    return filled
