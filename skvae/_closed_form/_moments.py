"""Moments of columns: shares, means, standard deviations and covariances.

Rows have weights, and missing cells are left out. Rows are read a chunk at a time: a
table may be in single precision or on a disk, and is never copied as a whole.
"""

from copy import copy

import numpy as np
from scipy.linalg import eigh
from scipy.sparse.linalg import LinearOperator, eigsh

from .._utils._lazy_rows import LazyRows, select_rows
from .._utils._missing import has_missing, list_chunks
from ._sparse_root import SparseRoot

# values held at a time where chunks of rows are multiplied
CHUNK_VALUES = 500_000
# up to so many columns a full eigendecomposition is faster than an iterative one
_DENSE_COLUMNS = 100
# multiplications spent on a covariance matrix; beyond, a subsample of rows is enough
_MAX_COVARIANCE_WORK = 1e11
_MAX_MATRIX_COLUMNS = 3000
# cells from which on centred rows of a lazy table are not held, if of the first rows
# no more than a share are stored
_MAX_ROOT_CELLS = 2**23
_FEW_ROWS, _MOST_STORED = 20, 0.3
# squared relative error of a variance that is known well enough
_SMALL_ERROR = 0.1


def compute_mean(x, weight=None, function=None):
    """Return the weighted mean of every column, ``(n_columns,)``.

    Weights are those of rows, ``(n,)``, or of cells, ``(n, n_features)``. The columns
    of `function(rows)` are averaged, or without one those of the rows. NaN are left
    out; the mean of a column without any number is 0.
    """
    weight = _scale_weights(len(x), weight)
    total = count = 0.0
    is_partial = False
    for rows in list_chunks(x):
        values = x[rows] if function is None else function(x[rows])
        # a sum is NaN where a value is: fast where none is
        part, size = _sum_columns(weight[rows], values), weight[rows].sum(axis=0)
        if np.isnan(part).any():
            observed, is_partial = ~np.isnan(values), True
            part = _sum_columns(weight[rows], np.where(observed, values, 0.0))
            size = _sum_columns(weight[rows], observed)
        total, count = total + part, count + size
    return total / np.where(count > 0, count, 1.0) if is_partial else total


def _scale_weights(n, weight):
    """Return weights of rows, or those of every column's cells, whose sum is 1."""
    if weight is None:
        return np.full(n, 1 / n)
    return weight / np.maximum(weight.sum(axis=0), np.finfo(float).tiny)


def _sum_columns(weight, values):
    with np.errstate(invalid="ignore"):
        return weight @ values if weight.ndim == 1 else (weight * values).sum(axis=0)


def find_variance_doubt(x):
    """Return how little rows say about the variances of columns, ``(n_columns,)``.

    The squared relative error of a variance is (kurtosis - 1) / n, of the cells that
    are known. The doubt is 0 up to a tenth, as in most columns of more than some twenty
    rows, and near 1 where one of many rows has all the variance.
    """
    x = x - compute_mean(x)
    variance = np.maximum(compute_mean(x, function=np.square), 1e-12)
    fourth = compute_mean(x, function=lambda rows: rows**4)
    count = np.maximum((~np.isnan(x)).sum(axis=0), 1)
    error = (fourth / variance**2 - 1) / count
    return ((error - _SMALL_ERROR) / (1 - _SMALL_ERROR)).clip(0.0, 1.0)


def compute_share(x, weight=None):
    """Return the weighted share of observed cells, ``(n_features,)``."""
    if not has_missing(x):
        return np.ones(x.shape[1])
    is_known = compute_mean(x, weight, lambda part: ~np.isnan(part)) > 0
    # of a column without missing cells exactly 1
    return np.where(is_known, 1 - compute_mean(x, weight, np.isnan), 0.0).clip(0, 1)


def find_first(x, columns=None):
    """Return the first observed value of columns, float64; NaN without any."""
    columns = np.arange(x.shape[1])[slice(None) if columns is None else columns]
    first = x[0, columns].astype(np.float64)
    for rows in list_chunks(x):
        absent = np.flatnonzero(np.isnan(first))
        if len(absent) == 0:
            break
        part = x[rows][:, columns[absent]]
        first[absent] = part[(~np.isnan(part)).argmax(axis=0), np.arange(len(absent))]
    return first


def compute_largest(x):
    """Return the largest value of every column, ``(n_columns,)`` float64."""
    largest = np.full(x.shape[1], -np.inf)
    for rows in list_chunks(x):
        largest = np.maximum(largest, x[rows].max(axis=0))
    return largest


def compute_moments(x, weight=None, columns=None):
    """Return mean and standard deviation of the observed cells of all or some columns.

    They are computed around the first value and in units of the largest distance from
    it: neither an offset of 1e6 standard deviations nor values of 1e200 lose digits. A
    column without an observed cell has 0 and 1.
    """
    chosen = slice(None) if columns is None else columns
    is_known = compute_share(x, weight)[chosen] > 0
    first = np.where(is_known, find_first(x, columns), 0.0)

    def read(part):
        return (part if columns is None else part[:, columns]) - first

    reach = np.zeros(len(first))
    with np.errstate(over="ignore"):
        for rows in list_chunks(x):
            distance = np.abs(read(x[rows]))
            widest = distance.max(axis=0)
            if np.isnan(widest).any():
                # fmax leaves NaN out, and is slower
                widest = np.fmax.reduce(distance, axis=0)
            reach = np.fmax(reach, widest)
    reach = np.where(reach > 0, reach, 1.0)
    mean = compute_mean(x, weight, lambda part: read(part) / reach)
    square = compute_mean(x, weight, lambda part: (read(part) / reach - mean) ** 2)
    deviation = np.where(is_known, np.sqrt(square) * reach, 1.0)
    return first + mean * reach, deviation


def _is_sparse(x):
    """Return whether rows are many and zero for the most part, and no array."""
    is_large = isinstance(x, LazyRows) and x.size > _MAX_ROOT_CELLS
    return is_large and np.mean(x[:_FEW_ROWS] != 0) < _MOST_STORED


def _count_distinct(x):
    lazy = isinstance(x, LazyRows)
    return x.count_distinct() if lazy else len(np.unique(x, axis=0))


class Covariance:
    """Weighted mean and covariance of a table; of a wide one only its products."""

    def __init__(self, x, weight=None):
        products = min(x.shape[1], 100 if x.shape[1] > _MAX_MATRIX_COLUMNS else np.inf)
        n_kept = int(_MAX_COVARIANCE_WORK / (x.shape[1] * products))
        if n_kept < len(x):
            kept = np.random.default_rng(0).choice(len(x), n_kept, replace=False)
            kept.sort()
            x = select_rows(x, kept)
            weight = None if weight is None else weight[kept]
        n_samples, n_features = x.shape
        self.n_features = n_features
        # repeated rows add nothing to the rank, be they weighted or written out
        is_tall = n_samples > 10 * n_features
        self.n_distinct = n_samples if is_tall else _count_distinct(x)
        # about the first row: the mean of a constant column is then exact
        first = x[0].astype(np.float64)
        self.mean = first + compute_mean(x, weight, lambda part: part - first)
        root = np.sqrt(_scale_weights(n_samples, weight))[:, None]
        chunks = list_chunks(x, CHUNK_VALUES)
        if n_features > _MAX_MATRIX_COLUMNS and _is_sparse(x):
            parts = (x[rows].astype(np.float64) for rows in chunks)
            self.matrix, self.root = None, SparseRoot(parts, self.mean, root[:, 0])
            self.variance = self.root.compute_variance()
            return
        self._set_products((x[rows] - self.mean) * root[rows] for rows in chunks)

    @classmethod
    def from_root(cls, root):
        """Return the covariance root' root of columns whose means are 0."""
        covariance = cls.__new__(cls)
        covariance.n_distinct, covariance.n_features = root.shape
        covariance.mean = np.zeros(covariance.n_features)
        covariance._set_products([root])
        return covariance

    def _set_products(self, roots):
        if self.n_features <= _MAX_MATRIX_COLUMNS:
            self.matrix, self.root = sum(root.T @ root for root in roots), None
            self.variance = self.matrix.diagonal().copy()
        else:
            self.matrix, self.root = None, np.concatenate(list(roots))
            self.variance = (self.root**2).sum(axis=0)

    def in_units(self, shift, scale):
        """Return the covariance of (x - shift) / scale."""
        other = copy(self)
        other.mean = (self.mean - shift) / scale
        other.variance = self.variance / scale**2
        if self.matrix is not None:
            other.matrix = self.matrix / np.outer(scale, scale)
        else:
            other.root = self.root / scale
        return other

    def with_noise_in_constants(self, floor):
        """Return self, with variance floor · max(1, mean²) in constant columns."""
        least = floor * np.maximum(self.mean**2, 1.0)
        missing = np.where(self.variance > 0, 0.0, least)
        self.variance = self.variance + missing
        if self.matrix is not None:
            self.matrix[np.diag_indices(self.n_features)] += missing
        return self

    def top_eigenpairs(self, n_pairs, scale):
        """Return the largest eigenpairs of the covariance of columns / scale."""
        n = self.n_features
        if n_pairs == 0:
            return np.zeros(0), np.zeros((n, 0))
        if n <= _DENSE_COLUMNS:
            values, vectors = eigh(self.matrix / np.outer(scale, scale))
            order = slice(None, -n_pairs - 1, -1)
            return values[order], vectors[:, order]

        def product(v):
            v, root = v / scale, self.root
            if root is None:
                found = self.matrix @ v
            elif isinstance(root, SparseRoot):
                found = root.multiply(v)
            else:
                found = root.T @ (root @ v)
            return found / scale

        operator = LinearOperator((n, n), matvec=product, dtype=float)
        # a drawn start: ones may be an eigenvector of 0, columns that sum to a constant
        v0 = np.random.default_rng(0).standard_normal(n)
        values, vectors = eigsh(operator, k=n_pairs, v0=v0, tol=1e-9)
        return values[::-1], vectors[:, ::-1]
