"""Join parts of one table: the rows of one below those of another."""

import numpy as np

from ._containers import get_container, get_names
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


def join_tables(parts):
    """Return parts of one table as one, in the container that they have.

    Categories that only some parts have become those of all.
    """
    container = "sparse" if is_sparse_table(parts[0]) else get_container(parts[0])
    return _JOIN[container](parts)


def _join_arrays(parts):
    if all(isinstance(part, list) for part in parts):
        return [row for part in parts for row in part]
    if any(np.ma.isMaskedArray(part) for part in parts):
        return np.ma.concatenate(parts)
    return np.concatenate([np.asarray(part) for part in parts])


def _join_sparse(parts):
    from scipy import sparse

    return sparse.vstack(parts, format="csr")


def _join_pandas(frames):
    import pandas as pd

    columns = [
        _join_columns([f.iloc[:, j] for f in frames]) for j in range(frames[0].shape[1])
    ]
    # named afterwards, because names may occur twice
    joined = pd.DataFrame(dict(enumerate(columns)))
    joined.columns = frames[0].columns
    return joined.set_axis(frames[0].index.append([f.index for f in frames[1:]]))


def _join_columns(columns):
    import pandas as pd

    are_categories = all(isinstance(c.dtype, pd.CategoricalDtype) for c in columns)
    if are_categories and any(c.dtype != columns[0].dtype for c in columns):
        joined = pd.api.types.union_categoricals(columns, sort_categories=True)
        return pd.Series(joined)
    return pd.concat(columns, ignore_index=True)


def _join_polars(frames):
    import polars as pl

    return pl.concat(frames, how="vertical_relaxed")


def _join_pyarrow(tables):
    import pyarrow as pa

    return pa.concat_tables(tables, promote_options="permissive")


_JOIN = {
    "array": _join_arrays,
    "sparse": _join_sparse,
    "pandas": _join_pandas,
    "polars": _join_polars,
    "pyarrow": _join_pyarrow,
}
