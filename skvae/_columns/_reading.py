"""Read a table: recognise the kind of each column, and code its values as floats.

A table of numbers alone is returned as it is, without a copy.
"""

import re
from decimal import Decimal
from numbers import Real

import numpy as np

from .._utils._warnings import UnknownCategoriesWarning, warn_user
from ._checks import (
    capitalize,
    find_inexact_integer,
    label_column,
    refuse_inexact_integer,
)
from ._containers import (
    get_container,
    get_names,
    is_polars_dtype,
    list_columns,
    list_plain_dtypes,
)
from ._kinds import Boolean, Category, Integer, Number, OrderedCategory

# the beginning of the name of a dtype, in lower case, and its kind; the first match
# counts
_KINDS = (
    (r"bool", Boolean),
    (r"u?int\d", Integer),
    (r"float|(long)?double|halffloat|decimal", Number),
    (r"category|categorical|enum|dictionary", Category),
    (r"((large_)?str(ing)?(_view)?|utf8)(\[|$)", Category),
)
# names that pandas' infer_dtype has for the values of an object column
_INFERRED = {
    "boolean": Boolean,
    "integer": Integer,
    "floating": Number,
    "mixed-integer-float": Number,
    "decimal": Number,
    "string": Category,
    "empty": None,
}
_TIMES = ("date", "time", "dur", "period")
# number of levels that a warning lists per column
_SHOWN_LEVELS = 3


def match_dtype(dtype):
    """Return the kind (a class) of columns of a dtype, or None if it is unclear."""
    name = str(dtype).lower()
    for pattern, kind in _KINDS:
        if re.match(pattern, name):
            is_ordered = kind is Category and getattr(dtype, "ordered", False)
            return OrderedCategory if is_ordered else kind
    return None


def find_kind(column, label, owner):
    """Return the kind (a class) of a column; None if it has no observed value.

    Parameters
    ----------
    column : Series or ndarray (n,)
    label : str
        Name of the column, for messages.
    owner : str
        Name of the estimator, for messages.

    Raises
    ------
    TypeError
        If its dtype or values are of no supported kind.
    """
    shown = str(column.dtype)
    dtype = shown.lower()
    name = capitalize(label)
    if dtype.startswith("null"):
        return None
    if dtype == "object" and not is_polars_dtype(column.dtype):
        return _find_kind_of_objects(column, name, owner)
    kind = match_dtype(column.dtype)
    if kind is None and dtype.startswith("sparse"):
        raise TypeError(
            f"{name} has the sparse dtype {shown}, but {owner} needs dense columns. "
            "Use column.sparse.to_dense(), or toarray() of a sparse matrix."
        )
    if kind is None:
        _refuse(name, f"dtype {shown}", dtype, owner)
    return kind


def _find_kind_of_objects(column, name, owner):
    from pandas.api.types import infer_dtype

    inferred = infer_dtype(column, skipna=True)
    if inferred not in _INFERRED:
        # infer_dtype does not skip NaT
        column = column[column.notna()]
        inferred = infer_dtype(column)
    if inferred in _INFERRED:
        return _INFERRED[inferred]
    if inferred.startswith("mixed"):
        types = column.map(_describe_type)
        if (types == "number").all():
            # decimals and floats
            return Number
        _refuse_mixed(column, types, name)
    _refuse(name, f"the value {column.iloc[0]!r} of type {inferred}", inferred, owner)


def _refuse(name, what, dtype, owner):
    """Raise for a column of no supported kind, with advice."""
    advice = "Encode it first, or leave it out."
    if dtype.startswith(_TIMES):
        advice = "Turn times into numbers first, such as days since a date."
    elif dtype.startswith("complex"):
        advice = "Split it first, for example into real and imaginary parts."
    elif dtype.startswith(("bytes", "binary", "large_binary")):
        advice = "Decode bytes to strings first."
    elif dtype.startswith("interval"):
        advice = "Make intervals categories first, with astype('category')."
    raise TypeError(
        f"{name} has {what}, but {owner} accepts numbers, booleans and categories. "
        f"{advice}"
    )


def _describe_type(value):
    """Return the type of a Python value; all types of numbers are 'number'."""
    if isinstance(value, (bool, np.bool_)):
        return "bool"
    if isinstance(value, str):
        return "str"
    return "number" if isinstance(value, (Real, Decimal)) else type(value).__name__


def _refuse_mixed(column, types, name):
    """Raise for a column of objects of several kinds, naming one of the values."""
    usual = types.mode().iloc[0]
    is_odd = ~types.isin(["bool", "str", "number"]) | (types != usual)
    odd = column[is_odd if is_odd.any() else ~is_odd].iloc[0]
    among = "" if _describe_type(odd) == usual else f" among values of type {usual}"
    raise TypeError(
        f"{name} has the value {odd!r} of type {type(odd).__name__}{among}; every "
        "argument must be a string, a number, a boolean or missing, and the values of "
        "a column must be of one kind. Convert the column first, for example with "
        "astype(str)."
    )


def _is_all_missing(column):
    if is_polars_dtype(column.dtype):
        is_float = column.dtype.is_float()
        column = column.fill_nan(None) if is_float else column
        return column.null_count() == len(column)
    if isinstance(column, np.ndarray):
        return bool((column != column).all())
    return bool(column.isna().all())


def read_table(X, kinds, owner, names=None):
    """Return the values of a table as numbers, and the kinds of its columns.

    Parameters
    ----------
    X : data frame or ndarray (n, n_features)
        An array has numbers, booleans or objects.
    kinds : list of Kind or None
        Kinds at fit; None learns them.
    owner : str
        Name of the estimator, for messages.
    names : sequence or None, default=None
        Names of the columns, for messages, if X has none.

    Returns
    -------
    values : ndarray (n, n_features), float64, or X
        Codes, NaN where a value is missing; X itself if it has only numbers.
    kinds : list of Kind
        One per column: those learned, or those given.

    Raises
    ------
    TypeError
        If a column is of no supported kind, or of another kind than at fit.
    ValueError
        If an integer is too large for double precision.

    Warns
    -----
    UnknownCategoriesWarning
        Once, if there are levels that the kinds do not have. They count as missing.
    """
    given = get_names(X)
    names = names if given is None else given
    dtypes = list_plain_dtypes(X)
    has_codes = any(isinstance(known, Category) for known in kinds or [])
    if dtypes is not None and not has_codes:
        _check_wide_integers(X, dtypes, names)
        if kinds is None:
            # one instance for all columns of a dtype
            learned = {dtype: match_dtype(dtype)(dtype) for dtype in set(dtypes)}
            kinds = [learned[dtype] for dtype in dtypes]
        return X, kinds
    columns = list_columns(X)
    labels = [label_column(j, names) for j in range(len(columns))]
    both = zip(columns, labels, strict=True)
    found = [find_kind(column, label, owner) for column, label in both]
    if kinds is not None:
        found = list(map(_check_kind, kinds, found, columns, labels))
    return _code_columns(columns, found, kinds, names, len(X))


def _check_kind(known, kind, column, label):
    """Return the kind (a class) of a column, None if all its values are missing.

    Raises
    ------
    TypeError
        If the kind at fit, `known`, does not accept it.
    """
    if kind is None or known.accepts(kind):
        return kind
    if _is_all_missing(column):
        return None
    raise TypeError(
        f"{capitalize(label)} was {known.name} at fit and is {kind.name} now (dtype "
        f"{column.dtype}); convert it to dtype {known.dtype} first."
    )


def _check_wide_integers(X, dtypes, names):
    """Refuse integers of data frames that double precision cannot hold.

    Arrays are left to `check_exact_integers`.
    """
    if get_container(X) == "array":
        return
    is_wide = {
        dtype: str(dtype).lower() in ("int64", "uint64") for dtype in set(dtypes)
    }
    for j, dtype in enumerate(dtypes):
        if is_wide[dtype]:
            values = np.asarray(X.iloc[:, j] if hasattr(X, "iloc") else X[:, j])
            row = find_inexact_integer(values)
            if row is not None:
                refuse_inexact_integer(values[row], label_column(j, names))


def _code_columns(columns, found, kinds, names, n_samples):
    """Return codes and kinds, given the columns and the classes of their kinds."""
    values = np.empty((n_samples, len(columns)))
    learned, unknown_levels = [], {}
    for j, (column, kind) in enumerate(zip(columns, found, strict=True)):
        if kinds is None:
            # a column without values is refused later, by `check_observed`
            known = Number(column.dtype) if kind is None else kind.learn(column)
            learned.append(known)
        else:
            known = kinds[j]
        if kind is None:
            values[:, j] = np.nan
            continue
        values[:, j], unknown = known.to_codes(column)
        if unknown:
            unknown_levels[j] = unknown
        if kind is Integer and not isinstance(known, Category):
            row = find_inexact_integer(values[:, j])
            if row is not None:
                is_polars = is_polars_dtype(column.dtype)
                value = column[row] if is_polars else column.iloc[row]
                refuse_inexact_integer(value, label_column(j, names))
    if unknown_levels:
        _warn_of_levels(unknown_levels, names)
    return values, learned if kinds is None else kinds


def _warn_of_levels(unknown_levels, names):
    parts = []
    for column, levels in unknown_levels.items():
        shown = ", ".join(repr(level) for level in levels[:_SHOWN_LEVELS])
        more = len(levels) - _SHOWN_LEVELS
        rest = f" and {more} more" if more > 0 else ""
        parts.append(f"{label_column(column, names)} ({shown}{rest})")
    warn_user(
        f"X has categories that fit has not seen, in {'; '.join(parts)}. They are "
        "treated as missing.",
        UnknownCategoriesWarning,
    )
