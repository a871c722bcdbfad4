"""Sparse tables: rows of a compressed matrix, dense only where they are taken.

Here is what is known of all cells from the stored values alone. Which likelihoods
accept such tables is in `_parameters/_sparse_tables.py`.
"""

from functools import cached_property

import numpy as np
from scipy import sparse
from sklearn.utils.sparsefuncs import min_max_axis
from typing_extensions import override

from .._utils._lazy_rows import LazyRows
from .._utils._missing import NEUTRAL, list_chunks
from ._containers import convert_numbers, get_container

# cells of columns that are dense together
_CHUNK_VALUES = 2**20


class SparseRows(LazyRows):
    """The rows of a compressed matrix; NaN among the stored values is missing.

    Parameters
    ----------
    matrix : csr_array (n_samples, n_columns)
        In canonical format: each cell is stored at most once, in the order of columns.
    """

    def __init__(self, matrix):
        self.matrix, self.data = matrix, matrix.data
        self.shape, self.dtype = matrix.shape, matrix.dtype

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
        X.data = convert_numbers(X.data)
        return cls(X)

    def __getstate__(self):
        """Return arrays alone: files then hold no class of scipy to be trusted."""
        matrix = self.matrix
        arrays = {name: getattr(matrix, name) for name in ("data", "indices", "indptr")}
        return arrays | {"shape": matrix.shape}

    def __setstate__(self, state):
        arrays = state["data"], state["indices"], state["indptr"]
        self.__init__(sparse.csr_array(arrays, shape=state["shape"]))

    @override
    def read(self, rows):
        return self.matrix[rows].toarray()

    @override
    def select(self, rows):
        return SparseRows(self.matrix[rows])

    @override
    def __getitem__(self, key):
        if isinstance(key, tuple) and isinstance(key[0], slice) and np.ndim(key[1]) < 1:
            return self._by_column[key[1]][key[0]]
        return super().__getitem__(key)

    @cached_property
    def _by_column(self):
        """The columns, as rows of the transposed matrix."""
        return SparseRows(self.matrix.T.tocsr())

    def iterate_columns(self):
        """Yield every column as an array, ``(n_samples,)``."""
        for columns in list_chunks(self._by_column, _CHUNK_VALUES):
            yield from self._by_column[columns]

    def list_values(self, columns=None):
        """Return the stored values, and one 0 for all that are not; of some columns."""
        matrix = self.matrix if columns is None else self.matrix[:, columns]
        zero = np.zeros(int(matrix.nnz < np.prod(matrix.shape)), dtype=self.dtype)
        return np.concatenate([matrix.data, zero])

    def find_cell(self, is_found, columns=None):
        """Return row and column of the first stored value of which a test is true."""
        cells = self.matrix.tocoo()
        found = is_found(cells.data)
        if columns is not None:
            found &= np.isin(cells.col, columns)
        place = found.argmax()
        return int(cells.row[place]), int(cells.col[place])

    @override
    def has_missing(self):
        return self.dtype.kind == "f" and bool(np.isnan(self.data).any())

    def find_range(self):
        """Return smallest and largest observed value of every column, float64."""
        low, high = min_max_axis(self.matrix, axis=0, ignore_nan=True)
        low, high = low.astype(np.float64), high.astype(np.float64)
        # as of no value
        low[np.isnan(low)], high[np.isnan(high)] = np.inf, -np.inf
        return low, high

    @override
    def fill_at_random(self, seed):
        generator, filled = np.random.default_rng(seed), self._by_column.matrix.copy()
        for column, cells in enumerate(self.iterate_columns()):
            stored = slice(*filled.indptr[column : column + 2])
            is_missing = np.isnan(filled.data[stored])
            if not is_missing.any():
                continue
            observed = cells[~np.isnan(cells)]
            observed = observed if len(observed) else [NEUTRAL]
            drawn = generator.choice(observed, is_missing.sum())
            filled.data[stored][is_missing] = drawn
        return SparseRows(filled.T.tocsr())

    def extend(self, other):
        """Return these rows, and behind them others, of an array or of this kind."""
        if not isinstance(other, SparseRows):
            other = SparseRows.from_matrix(other)
        return SparseRows(sparse.vstack([self.matrix, other.matrix], format="csr"))


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


def refuse_mixed_frame(X, owner):
    """Refuse a data frame in which only some columns are sparse."""
    if get_container(X) != "pandas":
        return
    is_sparse = [str(dtype).startswith("Sparse") for dtype in X.dtypes]
    if not any(is_sparse):
        return
    if all(is_sparse):
        # all are sparse, but for some what is not stored is not 0
        is_sparse = [dtype.fill_value != 0 for dtype in X.dtypes]
        others = "what is not stored in a sparse table is 0"
    else:
        others = f"column {X.columns[is_sparse.index(False)]!r} is dense"
    first, more = is_sparse.index(True), sum(is_sparse) - 1
    raise TypeError(
        f"Column {X.columns[first]!r} has the sparse dtype {X.dtypes.iloc[first]}"
        f"{f', as have {more} more,' if more else ','} but {others}; {owner} accepts "
        "data frames that are sparse with zeros in all columns, or in none. Make "
        "sparse columns dense with column.sparse.to_dense()."
    )


def open_sparse(X):
    """Return a sparse table as one of scipy, and the dtypes of a data frame or None."""
    if sparse.issparse(X):
        return X, None
    return X.sparse.to_coo(), [dtype.subtype for dtype in X.dtypes]
