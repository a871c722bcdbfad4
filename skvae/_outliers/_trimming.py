"""Trimming: rows that are far from all others, found before any model is fitted."""

import numpy as np

from .._closed_form._moments import compute_moments
from .._utils._lazy_rows import LazyRows
from .._utils._missing import list_chunks

# half of Tukey's whiskers: losing a few more normal rows costs less than keeping a
# group of outliers
_WHISKER = 0.75
# cells of lazy rows that are standardised together
_CHUNK_VALUES = 2**20


def measure_distances(array, weight=None):
    """Return the root mean square of the standardised cells of every row.

    Cells of the table ``(n_samples, n_features)`` are NaN where they are missing; rows
    may have weights in means and deviations.
    """
    mean, deviation = compute_moments(array, weight)
    # a constant column has rounding errors only
    varies = deviation > 1e-12 * np.abs(mean)
    scale = np.where(varies, deviation, np.inf)
    if isinstance(array, np.ndarray):
        return _measure(array, mean, scale)
    chunks = list_chunks(array, _CHUNK_VALUES)
    return np.concatenate([_measure(array[rows], mean, scale) for rows in chunks])


def _measure(array, mean, scale):
    unit = (array - mean) / scale
    n_observed = (~np.isnan(unit)).sum(axis=1)
    return np.sqrt(np.nansum(unit**2, axis=1) / np.maximum(n_observed, 1))


def find_fence(distances, weight=None):
    """Return an upper fence, Q3 + 0.75 (Q3 - Q1); Tukey's is at 1.5.

    It is infinite where half of the rows have the same distance.
    """
    low, high = np.quantile(
        distances, [0.25, 0.75], weights=weight, method="inverted_cdf"
    )
    if high - low <= 1e-9 * high:
        return np.inf
    return high + _WHISKER * (high - low)


def choose_rows(data, likelihood, trim):
    """Return which rows of a `FitData` to train on, ``(n_samples,)`` bool."""
    from ..likelihoods._levels import LevelLikelihood

    if trim is None or not data.counted.any():
        return data.counted
    # a fitted likelihood is without columns that are constant
    varies = data.columns.varies if data.is_warm else slice(None)
    kinds = np.array(data.table.kinds, dtype=object)[varies]
    is_number = np.zeros(len(data.table.kinds), dtype=bool)
    is_number[varies] = [
        kind.likelihood == "auto" and not isinstance(member, LevelLikelihood)
        for kind, member in zip(kinds, likelihood.list_members(), strict=True)
    ]
    kept = data.counted.copy()
    kept[kept] = choose_near(*data.select(kept), is_number, trim)
    return kept


def choose_near(array, weight, is_number, trim):
    """Return which rows are not far from the others, ``(n_samples,)`` bool.

    `trim` is the share of the rows to leave out, or 'auto' for rows beyond the fence.
    Distances are those of the columns that are numbers; others hold codes. Rows without
    which a column would be constant, or would lack levels, are kept.
    """
    if not is_number.any():
        return np.ones(len(array), dtype=bool)
    is_lazy = isinstance(array, LazyRows)
    # the columns of a sparse table are of one kind
    numbers = array if is_lazy else array[:, is_number]
    distances = measure_distances(numbers, weight)
    if trim == "auto":
        near = distances <= find_fence(distances, weight)
    else:
        far = np.argsort(-distances, kind="stable")
        share = np.ones(len(array)) if weight is None else weight[far]
        near = np.ones(len(array), dtype=bool)
        near[far[np.cumsum(share) <= trim * share.sum() + 1e-9]] = False
    if not near.all():
        columns = array.iterate_columns() if is_lazy else array.T
        for column, counts in zip(columns, is_number, strict=True):
            near |= _find_lost(column, near, counts)
    return near


def _find_lost(column, near, is_number):
    """Return the rows without which a column would be constant, or lack levels."""
    column = np.asarray(column, dtype=np.float64)
    observed = ~np.isnan(column)
    left = column[near & observed]
    if is_number and (left != left[:1]).any():
        return np.zeros(len(column), dtype=bool)
    return observed & ~np.isin(column, left)
