"""Rows of tables, and of targets beside them: take and join them, in any library."""

import sys

import numpy as np
from scipy import sparse

from ._containers import convert_lists, get_container, get_names
from ._sparse import is_sparse_table


def describe_form(X):
    """Return what parts of a table have in common: container, and names or shape.

    Lists have the form of an array.
    """
    if is_sparse_table(X):
        return "sparse", tuple(X.shape[1:])
    container, names = get_container(X), get_names(X)
    if names is not None:
        return container, tuple(map(str, names))
    return container, np.shape(X)[1:]


def count_rows(X):
    """Return the number of rows of a table."""
    shape = getattr(X, "shape", None)
    return len(X) if shape is None or not len(shape) else shape[0]


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


def cast_rows(X, like):
    """Return rows, an array if need be, in the form and the dtypes of others."""
    if isinstance(like, (list, tuple)):
        return X.tolist() if isinstance(X, np.ndarray) else list(X)
    if sparse.issparse(like):
        return type(like)(X).asformat(like.format).astype(like.dtype)
    if _is_of("pandas", like):
        return X.astype(like.dtypes) if like.ndim == 2 else X
    if isinstance(like, np.ndarray):
        return np.asarray(X).astype(like.dtype)
    return sys.modules["pyarrow"].table(X) if hasattr(like, "column_names") else X


def join_rows(parts):
    """Return the rows of tables, or of targets, of one library one behind the other.

    Dtypes are those that hold all values: categories that only some parts have become
    those of all. Data frames of pandas are numbered anew.
    """
    first = parts[0]
    if isinstance(first, (list, tuple)):
        return [row for part in parts for row in part]
    if sparse.issparse(first):
        return type(first)(sparse.vstack(parts, format=first.format))
    if _is_of("pandas", first):
        return _join_frames(parts) if first.ndim == 2 else _join_series(parts)
    if _is_of("polars", first):
        is_table = hasattr(first, "columns")
        how = {"how": "vertical_relaxed"} if is_table else {}
        return sys.modules["polars"].concat(parts, **how)
    if _is_of("pyarrow", first):
        return _join_arrow(parts)
    if any(np.ma.isMaskedArray(part) for part in parts):
        return np.ma.concatenate(parts)
    parts = [np.asarray(part) for part in parts]
    joined, dtypes = np.concatenate(parts), {part.dtype for part in parts}
    # numpy joins to the order of bytes of the machine
    return joined.astype(*dtypes, copy=False) if len(dtypes) == 1 else joined


def _join_frames(frames):
    pd = sys.modules["pandas"]
    dtypes = list(frames[0].dtypes)
    if all(list(frame.dtypes) == dtypes for frame in frames):
        return pd.concat(frames, ignore_index=True)
    columns = (_join_series([f.iloc[:, j] for f in frames]) for j in range(len(dtypes)))
    # named afterwards, because names may occur twice
    joined = pd.DataFrame(dict(enumerate(columns)))
    return joined.set_axis(frames[0].columns, axis="columns")


def _join_series(columns):
    pd = sys.modules["pandas"]
    are_categories = all(isinstance(c.dtype, pd.CategoricalDtype) for c in columns)
    if are_categories and any(c.dtype != columns[0].dtype for c in columns):
        joined = pd.api.types.union_categoricals(columns, sort_categories=True)
        return pd.Series(joined, name=columns[0].name)
    return pd.concat(columns, ignore_index=True)


def _join_arrow(parts):
    pa = sys.modules["pyarrow"]
    if hasattr(parts[0], "column_names"):
        return pa.concat_tables(parts, promote_options="permissive")
    chunks = [c for part in parts for c in getattr(part, "chunks", [part])]
    return pa.chunked_array(chunks)


def _is_of(library, X):
    return type(X).__module__.split(".")[0] == library
