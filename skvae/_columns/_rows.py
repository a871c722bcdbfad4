"""Rows of tables, and of targets beside them: take some, and join them, in any library.

Both keep the container, names and dtypes; data frames of pandas are numbered anew.
"""

import sys

import numpy as np
from scipy import sparse

from ._containers import convert_lists


def take_rows(X, rows):
    """Return the rows with the numbers ``rows`` of a table, or of a target."""
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    if isinstance(X, (list, tuple)):
        return [X[row] for row in rows]
    return X.take(rows) if _is_of("pyarrow", X) else X[rows]


def make_dense(X):
    """Return a sparse matrix as an array, and sparse columns of pandas as dense ones.

    Lists become arrays. Arrays have the columns one after the other, as data frames
    have them: sums of the same numbers then end in the same digits.
    """
    if sparse.issparse(X):
        return X.toarray(order="F")
    X = convert_lists(X)
    if isinstance(X, np.ndarray):
        return np.asfortranarray(X) if X.ndim == 2 else X
    if not hasattr(X, "iloc"):
        return X
    dtypes = dict(enumerate(X.dtypes))
    found = [j for j, dtype in dtypes.items() if str(dtype).startswith("Sparse")]
    return X.astype({X.columns[j]: dtypes[j].subtype for j in found}) if found else X


def join_rows(parts):
    """Return the rows of tables, or of targets, one behind the other.

    They get the container and the dtypes of the first one, behind which may be arrays
    if it is a list or a sparse matrix, and dense data frames.
    """
    first = parts[0]
    if isinstance(first, (list, tuple)):
        parts = [p.tolist() if isinstance(p, np.ndarray) else list(p) for p in parts]
        return [row for part in parts for row in part]
    if sparse.issparse(first):
        parts = [sparse.csr_array(part) for part in parts]
        kind = type(first)
        return kind(sparse.vstack(parts, format=first.format, dtype=first.dtype))
    if _is_of("pandas", first):
        if first.ndim == 2:
            parts = [first, *(part.astype(first.dtypes) for part in parts[1:])]
        return sys.modules["pandas"].concat(parts, ignore_index=True)
    if _is_of("polars", first):
        return sys.modules["polars"].concat(parts)
    if _is_of("pyarrow", first):
        return _join_arrow(parts)
    # numpy joins to the order of bytes of the machine
    joined = np.concatenate([np.asarray(part).astype(first.dtype) for part in parts])
    return joined.astype(first.dtype, copy=False)


def _join_arrow(parts):
    pa = sys.modules["pyarrow"]
    if hasattr(parts[0], "column_names"):
        return pa.concat_tables([pa.table(part) for part in parts])
    chunks = [c for part in parts for c in getattr(part, "chunks", [part])]
    return pa.chunked_array(chunks)


def _is_of(library, X):
    return type(X).__module__.split(".")[0] == library
