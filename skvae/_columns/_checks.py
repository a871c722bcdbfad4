"""Checks of values and names of columns, with messages that name the column."""

import numpy as np

from .._utils._missing import has_missing, list_chunks
from ._containers import get_names, to_floats
from ._sparse import SparseRows, list_values

# from here on not every integer is a float
_MAX_INTEGER = 2**53


def label_column(column, names=None):
    """Return the name of a column for messages, such as "column 'age'"."""
    if names is None:
        return f"column {column}"
    name = names[column]
    return f"column {str(name)!r}" if isinstance(name, str) else f"column {name}"


def capitalize(text):
    """Return a text with its first letter in upper case."""
    return text[0].upper() + text[1:]


def check_finite(X, names=None):
    """Refuse infinite values, naming column and value; NaN is a missing value."""
    if X.dtype.kind != "f":
        return
    with np.errstate(invalid="ignore", over="ignore"):
        if X.dtype.itemsize <= 8 and np.isfinite(list_values(X).sum()):
            return
    for rows in list_chunks(X):
        with np.errstate(over="ignore"):
            # more digits may be infinite in double precision
            bad = np.isinf(X[rows].astype(np.float64, copy=False))
        if bad.any():
            row, column = np.argwhere(bad)[0]
            row += rows.start
            # as text: a format would be that of a float
            value, label = str(X[row, column]), label_column(column, names)
            raise ValueError(
                f"Input X contains {value} in {label}, row {row}; only finite numbers "
                "and NaN, for missing, are accepted."
            )


def check_unique_names(X):
    """Refuse a data frame in which two columns have the same name."""
    names = [] if get_names(X) is None else list(get_names(X))
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"Column {name!r} occurs {names.count(name)} times, but names of columns "
            "must be unique; rename or drop all but one."
        )


def refuse_dtypes(X, argument="X"):
    """Refuse arrays of times, which are columns of data frames, and complex numbers."""
    dtype = getattr(X, "dtype", None)
    kind = getattr(dtype, "kind", None)
    if kind in ("M", "m"):
        raise TypeError(
            f"{argument} has dtype {dtype}, but arrays are of numbers. Pass a data "
            "frame, whose columns may be datetimes and durations."
        )
    if kind == "c":
        raise ValueError(
            f"Complex data not supported: {argument} has dtype {dtype}. Split it "
            "first, for example into real and imaginary parts."
        )


def check_exact_column(column, label):
    """Refuse a column of integers that double precision cannot hold."""
    is_inexact = np.abs(to_floats(column)) >= _MAX_INTEGER
    if not is_inexact.any():
        return
    row = int(is_inexact.argmax())
    value = column.iloc[row] if hasattr(column, "iloc") else column[row]
    raise ValueError(
        f"{capitalize(label)} has the value {int(value)}, but double precision cannot "
        f"distinguish integers from 2^53 = {_MAX_INTEGER} on. If it is an identifier, "
        "leave it out or make it a category; otherwise subtract an offset."
    )


def _is_inexact(values):
    return np.abs(values.astype(np.float64)) >= _MAX_INTEGER


def check_exact_integers(X, names=None):
    """Refuse arrays with integers that double precision cannot hold."""
    if X.dtype.kind not in "iu" or X.dtype.itemsize < 8:
        return
    if isinstance(X, SparseRows) and not _is_inexact(X.data).any():
        return
    for rows in list_chunks(X):
        is_inexact = _is_inexact(X[rows])
        if is_inexact.any():
            column = int(is_inexact.any(axis=0).argmax())
            check_exact_column(X[rows, column], label_column(column, names))


def check_observed(X, names=None):
    """Refuse columns without any observed value."""
    if not has_missing(X):
        return
    chunks = list_chunks(X)
    is_missing = np.all([np.isnan(X[rows]).all(axis=0) for rows in chunks], axis=0)
    if is_missing.any():
        column = int(is_missing.argmax())
        raise ValueError(
            f"Input X has no observed value in {label_column(column, names)}: all of "
            f"its {len(X)} values are missing (NaN). Leave it out."
        )
