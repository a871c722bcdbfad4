"""Rows that are far from all others, before any model."""

import numpy as np

# half of Tukey's whiskers: leaving out a few more normal rows costs less than keeping
# a group of outliers
_WHISKER = 0.75


def measure_distances(array):
    """Return the root mean square of the standardised cells of every row.

    Parameters
    ----------
    array : ndarray (n_samples, n_features)
        Missing cells are NaN.

    Returns
    -------
    ndarray (n_samples,)
    """
    array = np.asarray(array, dtype=np.float64)
    observed = ~np.isnan(array)
    count = np.maximum(observed.sum(axis=0), 1)
    centred = array - np.where(observed, array, 0.0).sum(axis=0) / count
    centred[~observed] = 0.0
    # no sum of squares of large numbers overflows
    largest = np.abs(centred).max(axis=0)
    centred /= np.where(largest > 0, largest, 1.0)
    deviation = np.sqrt((centred**2).sum(axis=0) / count)
    # what is left in a constant column is rounding
    varies = largest > 1e-12 * np.abs(np.where(observed, array, 0.0)).max(axis=0)
    centred[:, ~varies] = 0.0
    squares = (centred / np.where(varies, deviation, 1.0)) ** 2
    return np.sqrt(squares.sum(axis=1) / np.maximum(observed.sum(axis=1), 1))


def find_fence(distances):
    """Return an upper fence, Q3 + 0.75 (Q3 - Q1); Tukey's is at 1.5."""
    low, high = np.percentile(distances, [25, 75])
    return high + _WHISKER * (high - low)
