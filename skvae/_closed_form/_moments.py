"""Means and standard deviations of columns, of their observed cells alone.

Rows are taken a chunk at a time: what is mapped into memory is never there as a whole.
"""

import numpy as np

from .._utils._missing import has_missing, list_chunks


def compute_share(X, weight=None):
    """Return the share of observed cells of every column, ``(n_features,)``.

    Parameters
    ----------
    X : ndarray (n, n_features)
    weight : ndarray (n,) or None, default=None
        Of the rows.
    """
    if not has_missing(X):
        return np.ones(X.shape[1])
    share = _get_share(X, weight)
    lost = sum(share[rows] @ np.isnan(X[rows]) for rows in list_chunks(X))
    return np.clip(1 - lost, 0.0, 1.0)


def find_first(X, columns=None):
    """Return the first observed value of every column, float64; NaN where none is.

    Parameters
    ----------
    X : ndarray (n, n_features)
    columns : ndarray of int or of bool, or None, default=None
        Those to look at; None takes all.
    """
    columns = np.arange(X.shape[1])[slice(None) if columns is None else columns]
    first = X[0, columns].astype(np.float64)
    for rows in list_chunks(X):
        absent = np.flatnonzero(np.isnan(first))
        if len(absent) == 0:
            break
        part = X[rows][:, columns[absent]]
        first[absent] = part[(~np.isnan(part)).argmax(axis=0), np.arange(len(absent))]
    return first


def compute_moments(X, weight=None, columns=None):
    """Return mean and standard deviation of the observed cells of every column.

    Around the first value and in units of the largest distance from it: neither an
    offset of 1e6 standard deviations nor values of 1e200 lose digits.

    Parameters
    ----------
    X : ndarray (n, n_features)
        Every column has at least one observed cell.
    weight : ndarray (n,) or None, default=None
    columns : ndarray of int or None, default=None
        Those to look at; None takes all.

    Returns
    -------
    mean, deviation : ndarray (n_columns,)
    """
    share = _get_share(X, weight)
    first = find_first(X, columns)
    complete = not has_missing(X)

    def read(rows):
        part = X[rows] if columns is None else X[rows][:, columns]
        return part - first

    def average(compute):
        """Return the mean over the observed cells of a function of the distances."""
        if complete:
            return sum(share[rows] @ compute(read(rows)) for rows in chunks)
        total = weights = 0
        for rows in chunks:
            distance = read(rows)
            seen = ~np.isnan(distance)
            weights = weights + share[rows] @ seen
            total = total + share[rows] @ np.where(seen, compute(distance), 0.0)
        return total / weights

    chunks = list_chunks(X)
    with np.errstate(over="ignore"):
        reach = np.zeros(len(first))
        for rows in chunks:
            # fmax leaves NaN out, and is slower
            widest = np.maximum if complete else np.fmax
            reach = np.fmax(reach, widest.reduce(np.abs(read(rows)), axis=0))
    reach = np.where(reach > 0, reach, 1.0)
    mean = average(lambda distance: distance / reach)
    square = average(lambda distance: (distance / reach - mean) ** 2)
    return first + mean * reach, np.sqrt(square) * reach


def _get_share(X, weight):
    return np.full(len(X), 1 / len(X)) if weight is None else weight / weight.sum()
