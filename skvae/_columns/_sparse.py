"""Sparse tables: rows of a compressed matrix, dense only where they are taken.

Here is what is known of all cells from the stored values alone. Which likelihoods
accept such tables is in `_sparse_support.py`.
"""

from functools import cached_property

import numpy as np
from scipy import sparse
from typing_extensions import override

from .._utils._lazy_rows import LazyRows
from .._utils._missing import NEUTRAL
from ._containers import convert_numbers, get_container


class SparseRows(LazyRows):
    """The rows of a matrix in compressed form; NaN among the stored values is missing.

    Parameters
    ----------
    data : ndarray (n_stored,)
        The stored values, row by row, some of which may be 0.
    indices : ndarray of int (n_stored,)
        The column of each; no two of a row are equal.
    indptr : ndarray of int (n_samples + 1,)
        Where every row begins among them.
    n_columns : int
    """

    def __init__(self, data, indices, indptr, n_columns):
        self.data, self.indices, self.indptr = data, indices, indptr
        self.shape, self.dtype = (len(indptr) - 1, n_columns), data.dtype

    @classmethod
    def from_matrix(cls, X):
        """Return those of a matrix or array of scipy, of any format, or of an array.

        The arrays of a compressed matrix are shared, not copied.
        """
        X = sparse.csr_array(X)
        if not X.has_canonical_format:
            # values of the same cell are added up, in a copy
            X = X.copy()
            X.sum_duplicates()
        return cls(convert_numbers(X.data), X.indices, X.indptr, X.shape[1])

    def __getstate__(self):
        """Return the state without what is computed from it."""
        names = "data", "indices", "indptr", "shape", "dtype"
        return {name: vars(self)[name] for name in names}

    @override
    def read(self, rows):
        if isinstance(rows, slice):
            n = rows.stop - rows.start
            ends = self.indptr[rows.start : rows.stop + 1]
            stored = slice(ends[0], ends[-1])
            n_stored = np.diff(ends)
        else:
            n = len(rows)
            stored, n_stored = self._locate(rows)
        found = np.zeros((n, self.shape[1]), dtype=self.dtype)
        place = np.repeat(np.arange(n) * self.shape[1], n_stored)
        found.reshape(-1)[place + self.indices[stored]] = self.data[stored]
        return found

    def _locate(self, rows):
        """Return the places of the stored values of rows, and their numbers."""
        begins = self.indptr[:-1][rows].astype(np.int64)
        n_stored = self.indptr[1:][rows] - begins
        skipped = begins - (np.cumsum(n_stored) - n_stored)
        return np.repeat(skipped, n_stored) + np.arange(n_stored.sum()), n_stored

    @override
    def select(self, rows):
        stored, n_stored = self._locate(rows)
        indptr = np.append(0, np.cumsum(n_stored))
        indices = self.indices[stored]
        return SparseRows(self.data[stored], indices, indptr, self.shape[1])

    @override
    def __getitem__(self, key):
        if isinstance(key, tuple) and isinstance(key[0], slice) and np.ndim(key[1]) < 1:
            return self._take_column(key[1])[key[0]]
        return super().__getitem__(key)

    @cached_property
    def _by_column(self):
        """The stored values sorted by column, their rows, and where columns begin."""
        rows = np.repeat(np.arange(len(self)), np.diff(self.indptr))
        order = np.argsort(self.indices, kind="stable")
        ends = np.searchsorted(self.indices[order], np.arange(self.shape[1] + 1))
        return self.data[order], rows[order], ends

    def _take_column(self, column):
        values, rows, ends = self._by_column
        stored = slice(ends[column], ends[column + 1])
        found = np.zeros(len(self), dtype=self.dtype)
        found[rows[stored]] = values[stored]
        return found

    def iterate_columns(self):
        """Yield every column as an array, ``(n_samples,)``."""
        for column in range(self.shape[1]):
            yield self._take_column(column)

    def list_values(self, columns=None):
        """Return the stored values, and one 0 for all that are not; of some columns."""
        data, n_cells = self.data, self.size
        if columns is not None:
            is_chosen = np.zeros(self.shape[1], dtype=bool)
            is_chosen[columns] = True
            data = data[is_chosen[self.indices]]
            n_cells = len(self) * len(columns)
        zero = np.zeros(int(len(data) < n_cells), dtype=self.dtype)
        return np.concatenate([data, zero])

    def find_cell(self, is_found, columns=None):
        """Return row and column of the first stored value of which a test is true."""
        found = is_found(self.data)
        if columns is not None:
            found &= np.isin(self.indices, columns)
        place = int(found.argmax())
        row = int(np.searchsorted(self.indptr, place, side="right")) - 1
        return row, int(self.indices[place])

    @override
    def has_missing(self):
        return self.dtype.kind == "f" and bool(np.isnan(self.data).any())

    def find_range(self):
        """Return smallest and largest observed value of every column, float64."""
        low, high = np.full(self.shape[1], np.inf), np.full(self.shape[1], -np.inf)
        n_stored = np.bincount(self.indices, minlength=self.shape[1])
        low[n_stored < len(self)] = high[n_stored < len(self)] = 0.0
        values = self.data.astype(np.float64)
        np.fmin.at(low, self.indices, values)
        np.fmax.at(high, self.indices, values)
        return low, high

    @override
    def fill_at_random(self, seed):
        generator, filled = np.random.default_rng(seed), self.data.copy()
        is_missing = np.isnan(self.data)
        # the place of every value, in the order of columns
        order = np.argsort(self.indices, kind="stable")
        for column in np.unique(self.indices[is_missing]):
            cells = self._take_column(column)
            observed = cells[~np.isnan(cells)]
            observed = observed if len(observed) else [NEUTRAL]
            stored = order[self._by_column[2][column] : self._by_column[2][column + 1]]
            places = stored[is_missing[stored]]
            filled[places] = generator.choice(observed, len(places))
        return SparseRows(filled, self.indices, self.indptr, self.shape[1])

    def extend(self, other):
        """Return these rows, and behind them others, of an array or of this kind."""
        if not isinstance(other, SparseRows):
            other = SparseRows.from_matrix(other)
        return SparseRows(
            np.concatenate([self.data, other.data]),
            np.concatenate([self.indices, other.indices]),
            np.concatenate([self.indptr, self.indptr[-1] + other.indptr[1:]]),
            self.shape[1],
        )


def join_tables(first, second):
    """Return the rows of two tables, one behind the other; sparse if one of them is."""
    if isinstance(first, SparseRows):
        return first.extend(second)
    if isinstance(second, SparseRows):
        return SparseRows.from_matrix(first).extend(second)
    return np.concatenate([first, second])


def list_values(array, columns=None):
    """Return an array of the values in a table, be each of them there once or often."""
    if isinstance(array, SparseRows):
        return array.list_values(columns)
    return array if columns is None else array[:, columns]


def is_sparse_table(X):
    """Return whether X is sparse: of scipy, or a data frame of sparse columns alone."""
    return sparse.issparse(X) or _is_sparse_frame(X)


def _is_sparse_frame(X):
    if get_container(X) != "pandas" or not len(X.columns):
        return False
    # by pandas' default for floats what is not stored is missing, not 0
    return all(str(d).startswith("Sparse") and d.fill_value == 0 for d in X.dtypes)


def open_sparse(X):
    """Return a sparse table as one of scipy, and the dtypes of a data frame or None."""
    if sparse.issparse(X):
        return X, None
    return X.sparse.to_coo(), [dtype.subtype for dtype in X.dtypes]
