"""What values may not be: infinite, all missing, integers beyond double precision."""

import numpy as np

from .._utils._missing import is_complete, list_chunks
from ._containers import get_names

# from here on floats are two apart
_MAX_INTEGER = 2**53


def describe(column, names=None):
    """Return how messages call a column."""
    if names is None:
        return f"column {column}"
    name = names[column]
    return f"column {str(name)!r}" if isinstance(name, str) else f"column {name}"


def begin_with(text):
    """Return a text as the beginning of a sentence."""
    return text[0].upper() + text[1:]


def check_finite(X, names=None):
    """Refuse infinite values, naming column and value; NaN is a missing cell.

    Raises
    ------
    ValueError
    """
    if X.dtype.kind != "f":
        return
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(X.sum()):
            return
    for rows in list_chunks(X):
        bad = np.isinf(X[rows])
        if bad.any():
            row, column = np.argwhere(bad)[0]
            row += rows.start
            raise ValueError(
                f"Input X contains {X[row, column]} in {describe(column, names)}, row "
                f"{row}; only finite numbers and NaN, for missing, are accepted."
            )


def check_names(X):
    """Refuse a data frame two of whose columns have one name.

    Raises
    ------
    ValueError
    """
    names = [] if get_names(X) is None else list(get_names(X))
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"Column {name!r} comes {names.count(name)} times, but names of columns "
            "must differ; rename or drop all but one."
        )


def refuse_times(X, owner):
    """Refuse arrays of times, which numpy would turn into numbers of a hidden unit.

    Raises
    ------
    TypeError
    """
    dtype = getattr(X, "dtype", None)
    if getattr(dtype, "kind", None) in ("M", "m"):
        raise TypeError(
            f"X has dtype {dtype}, but {owner} accepts numbers, booleans and "
            "categories. Turn times into numbers first, such as days since a date."
        )


def find_inexact(values):
    """Return where the first integer is that floats do not hold, or None.

    Parameters
    ----------
    values : ndarray
        Of integers, or of floats that were ones.

    Returns
    -------
    int or None
        Position in the flattened array.
    """
    if values.size == 0 or (values.dtype.kind in "iu" and values.dtype.itemsize < 8):
        return None
    # -2^63 has no absolute value of its type
    bad = (values >= _MAX_INTEGER) | (values <= -_MAX_INTEGER)
    return int(bad.argmax()) if bad.any() else None


def refuse_integer(value, label):
    """Refuse an integer that is too large.

    Raises
    ------
    ValueError
    """
    raise ValueError(
        f"{begin_with(label)} has the value {int(value)}, but integers from 2^53 = "
        f"{_MAX_INTEGER} on are not told apart in double precision. If it is an "
        "identifier, leave it out or make it a category; otherwise subtract an offset."
    )


def check_exact(X, names=None):
    """Refuse arrays of integers so large that floats cannot tell them apart.

    Raises
    ------
    ValueError
    """
    if X.dtype.kind not in "iu" or X.dtype.itemsize < 8:
        return
    for rows in list_chunks(X):
        position = find_inexact(X[rows])
        if position is not None:
            row, column = np.unravel_index(position, X[rows].shape)
            refuse_integer(X[rows][row, column], describe(column, names))


def check_observed(X, names=None):
    """Refuse columns without any observed value.

    Raises
    ------
    ValueError
    """
    if is_complete(X):
        return
    seen = np.any([(~np.isnan(X[rows])).any(axis=0) for rows in list_chunks(X)], axis=0)
    if not seen.all():
        column = int(np.flatnonzero(~seen)[0])
        raise ValueError(
            f"Input X has no observed value in {describe(column, names)}: all of its "
            f"{len(X)} cells are missing (NaN). Leave it out."
        )
