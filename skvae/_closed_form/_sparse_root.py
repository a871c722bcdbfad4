"""The root of a covariance whose rows are zero but for a few cells."""

from copy import copy

import numpy as np
from scipy import sparse


class SparseRoot:
    """R = diag(r) (S - 1 m') diag(1 / c), with S sparse: R'R is a covariance.

    The rows of S that are centred would be dense.

    Parameters
    ----------
    parts : iterable of ndarray (n, n_columns)
        The rows of S, in turn.
    mean : ndarray (n_columns,)
        m.
    row_factors : ndarray (n_samples,)
        r, roots of weights whose sum is one.
    """

    def __init__(self, parts, mean, row_factors):
        rows = sparse.vstack([sparse.csr_array(part) for part in parts], format="csr")
        self.rows, self.mean, self.row_factors = rows, mean, row_factors
        self.scale = np.ones(len(mean))

    def __truediv__(self, scale):
        """Return the root for columns divided by their scale."""
        other = copy(self)
        other.scale = self.scale * scale
        return other

    def compute_variance(self):
        """Return the diagonal of R'R, 0 in constant columns."""
        rows, columns, share = self.rows, self.rows.indices, self.row_factors**2
        n_samples, n_columns = rows.shape
        stored = np.repeat(share, np.diff(rows.indptr))
        # of the cells that are stored, and of all zeros
        squares = (rows.data - self.mean[columns]) ** 2
        variance = np.bincount(columns, stored * squares, n_columns)
        n_stored = np.bincount(columns, minlength=n_columns)
        left = 1 - np.bincount(columns, stored, n_columns)
        left = np.where(n_stored < n_samples, left.clip(0), 0.0)
        return (variance + left * self.mean**2) / self.scale**2

    def multiply(self, v):
        """Return R'R v."""
        v, r = v / self.scale, self.row_factors
        u = r**2 * (self.rows @ v - self.mean @ v)
        return (self.rows.T @ u - self.mean * u.sum()) / self.scale
