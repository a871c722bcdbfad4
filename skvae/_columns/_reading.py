"""Read a table: recognise the kind of each column, and code its values as floats.

A table of numbers alone is returned as it is, without a copy.
"""

import re
from decimal import Decimal
from numbers import Real

import numpy as np

from .._utils._warnings import (
    UnknownCategoriesWarning,
    UnlikelyLevelsWarning,
    warn_user,
)
from ._checks import capitalize, check_exact_column, label_column
from ._containers import (
    factorize,
    get_container,
    get_names,
    is_ordered_dictionary,
    list_plain_dtypes,
    name_dtype,
    take_column,
)
from ._kinds import Boolean, Category, Integer, Number, OrderedCategory
from ._sparse import refuse_mixed_frame
from ._times import Duration, Time

# how names of dtypes begin, in lower case, and their kind; the first match counts
_KINDS = (
    (r"bool", Boolean),
    (r"u?int\d", Integer),
    (r"float|(long)?double|halffloat|decimal", Number),
    (r"category|categorical|enum|dictionary", Category),
    (r"datetime|timestamp|date(32|64)?(\[|$)", Time),
    (r"timedelta|duration", Duration),
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
# dtypes whose levels the user has declared
_DECLARED = ("category", "categorical", "enum", "dictionary")
# rows, and levels among as many, from which on a column looks like an identifier
_LEAST_ROWS, _IDENTIFIER_SHARE = 20, 0.95
# number of levels that a warning lists per column
_SHOWN_LEVELS = 3


def match_dtype(dtype):
    """Return the kind (a class) of columns of a dtype, or None if it is unclear."""
    name = name_dtype(dtype)
    for pattern, kind in _KINDS:
        if re.match(pattern, name):
            is_ordered = getattr(dtype, "ordered", False) or is_ordered_dictionary(
                dtype
            )
            return OrderedCategory if kind is Category and is_ordered else kind
    return None


def find_kind(column, label, owner):
    """Return the kind (a class) of a column; None if it has no observed value.

    Raise a TypeError if its dtype or values are of no supported kind.
    """
    dtype = str(column.dtype)
    if dtype.lower().startswith("null"):
        return None
    # that of polars is called Object
    if dtype == "object":
        return _find_kind_of_objects(column, label, owner)
    kind = match_dtype(column.dtype)
    if kind is None:
        _refuse(label, f"dtype {dtype}", dtype.lower(), owner)
    return kind


def _find_kind_of_objects(column, label, owner):
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
        _refuse_mixed(column, types, label)
    _refuse(label, f"the value {column.iloc[0]!r} of type {inferred}", inferred, owner)


def _refuse(label, what, dtype, owner):
    """Raise for a column of no supported kind, with advice."""
    advice = "Encode it first, or leave it out."
    if dtype.startswith("period"):
        advice = "Turn it into datetimes first, with .dt.to_timestamp()."
    elif dtype == "time" or dtype.startswith(("time32", "time64")):
        advice = (
            "Turn it into hours, for likelihood=VonMises(period=24), or, with its "
            "date, into datetimes first."
        )
    elif dtype.startswith(_TIMES):
        advice = "Turn it into datetimes first, for example with pandas.to_datetime."
    elif dtype.startswith("complex"):
        advice = "Split it first, for example into real and imaginary parts."
    elif dtype.startswith(("bytes", "binary", "large_binary")):
        advice = "Decode bytes to strings first."
    elif dtype.startswith("interval"):
        advice = "Make intervals categories first, with astype('category')."
    raise TypeError(
        f"{capitalize(label)} has {what}, but {owner} accepts numbers, booleans, "
        f"categories, datetimes and durations. {advice}"
    )


def _describe_type(value):
    """Return the type of a Python value; all types of numbers are 'number'."""
    if isinstance(value, (Real, Decimal)) and not isinstance(value, bool):
        return "number"
    return "str" if isinstance(value, str) else type(value).__name__


def _refuse_mixed(column, types, label):
    """Raise for a column of objects of several kinds, naming one of the values."""
    usual = types.mode().iloc[0]
    is_odd = ~types.isin(["bool", "str", "number"]) | (types != usual)
    odd = column[is_odd if is_odd.any() else ~is_odd].iloc[0]
    among = "" if _describe_type(odd) == usual else f" among values of type {usual}"
    raise TypeError(
        f"{capitalize(label)} has the value {odd!r} of type {type(odd).__name__}"
        f"{among}; every argument must be a string, a number, a boolean or missing, "
        "and the values of a column must be of one kind. Convert the column first, for "
        "example with astype(str)."
    )


def read_table(X, kinds, owner, names=None, unknown=None):
    """Return the values of a table as numbers, and the kinds of its columns.

    X is a data frame, or an array of numbers, booleans or objects. If it has only
    numbers, the values are X itself, otherwise float64 codes, NaN where a value is
    missing. `kinds` are those at fit, one per column; None learns them. `owner` is the
    estimator's name, for messages, and `names` those of the columns, if X has none.
    `unknown`, a mask ``(n_samples, n_features)`` or None, becomes True where a level is
    one that the kinds do not have.

    Raises
    ------
    TypeError
        If a column is of no supported kind, or of another kind than at fit.
    ValueError
        If an integer is too large for double precision.

    Warns
    -----
    UnknownCategoriesWarning
        Once, if there are levels that the kinds do not have. Their cells are NaN.
    """
    given = get_names(X)
    names = names if given is None else given
    dtypes = list_plain_dtypes(X)
    if dtypes is not None and not any(kind.is_coded for kind in kinds or ()):
        _check_plain_integers(X, dtypes, names)
        if kinds is None:
            # one instance for all columns of a dtype
            learned = {dtype: match_dtype(dtype)(dtype) for dtype in set(dtypes)}
            kinds = [learned[dtype] for dtype in dtypes]
        return X, kinds
    refuse_mixed_frame(X, owner)
    columns = [take_column(X, j) for j in range(X.shape[1])]
    labels = [label_column(j, names) for j in range(X.shape[1])]
    found = [find_kind(columns[j], label, owner) for j, label in enumerate(labels)]
    if kinds is None:
        # a column without values is refused later, by `check_observed`
        both = zip(found, columns, strict=True)
        kinds = [(kind or Number).learn(column) for kind, column in both]
    else:
        found = list(map(_check_kind, kinds, found, columns, labels))
    values = np.full(X.shape, np.nan)
    unknown_levels = {}
    for j, (column, label) in enumerate(zip(columns, labels, strict=True)):
        if found[j] is None:
            continue
        values[:, j], others = kinds[j].to_codes(column)
        if others:
            unknown_levels[label] = others
            if unknown is not None:
                unknown[:, j] = np.isnan(values[:, j]) & (factorize(column)[0] >= 0)
        if found[j] is Integer and not isinstance(kinds[j], Category):
            check_exact_column(column, label)
        if isinstance(kinds[j], Time):
            kinds[j].check_exact(values[:, j], label)
    if unknown_levels:
        _warn_of_levels(unknown_levels, unknown is not None)
    return values, kinds


def _check_kind(known, kind, column, label):
    """Return the kind (a class) of a column, None if all its values are missing.

    Raise a TypeError if the kind at fit, `known`, does not accept it.
    """
    if kind is None:
        return None
    is_accepted = known.accepts(kind)
    conflict = known.find_conflict(column.dtype) if is_accepted else None
    if is_accepted and conflict is None:
        return kind
    codes, _ = kind.learn(column).to_codes(column)
    if np.isnan(codes).all():
        return None
    if conflict is not None:
        raise TypeError(f"{capitalize(label)} {conflict}")
    raise TypeError(
        f"{capitalize(label)} was {known.name} at fit and is {kind.name} now (dtype "
        f"{column.dtype}); convert it to dtype {known.dtype} first."
    )


def _check_plain_integers(X, dtypes, names):
    """Refuse integers of data frames that double precision cannot hold.

    Arrays are left to `check_exact_integers`.
    """
    if get_container(X) == "array":
        return
    wide = {dtype for dtype in set(dtypes) if name_dtype(dtype) in ("int64", "uint64")}
    for j, dtype in enumerate(dtypes):
        if dtype in wide:
            check_exact_column(take_column(X, j), label_column(j, names))


def _warn_of_levels(unknown_levels, is_odd):
    parts = []
    for label, levels in unknown_levels.items():
        shown = ", ".join(repr(level) for level in levels[:_SHOWN_LEVELS])
        more = len(levels) - _SHOWN_LEVELS
        parts.append(f"{label} ({shown}{f' and {more} more' if more > 0 else ''})")
    effect = "lower the score of their rows" if is_odd else "are treated as missing"
    warn_user(
        f"X has categories that fit has not seen, in {'; '.join(parts)}. They "
        f"{effect}.",
        UnknownCategoriesWarning,
    )


def warn_of_unlikely_levels(array, kinds, names=None):
    """Warn of columns whose levels may be numbers or identifiers, once for each kind.

    `array` are the codes of a table at fit, NaN where a value is missing.
    """
    numbers, identifiers = [], []
    for j, kind in enumerate(kinds):
        if not isinstance(kind, Category):
            continue
        is_declared = str(kind.dtype).lower().startswith(_DECLARED)
        codes = array[:, j][~np.isnan(array[:, j])]
        n_levels = len(np.unique(codes))
        label = label_column(j, names)
        if not is_declared and all(map(_looks_like_number, kind.levels)):
            numbers.append(f"{label} (such as {kind.levels[0]!r})")
        elif len(codes) >= _LEAST_ROWS and n_levels >= _IDENTIFIER_SHARE * len(codes):
            identifiers.append(f"{label} ({n_levels} levels in {len(codes)} rows)")
    if numbers:
        warn_user(
            f"All levels look like numbers in {'; '.join(numbers)}, but strings are "
            "categories without an order. Use astype(float) if they are numbers, or "
            "astype('category') if they are levels.",
            UnlikelyLevelsWarning,
        )
    if identifiers:
        warn_user(
            f"Nearly every row has a level of its own in {'; '.join(identifiers)}. "
            "Nothing can be learned about an identifier: leave it out, for example "
            "with drop(columns=...).",
            UnlikelyLevelsWarning,
        )


def _looks_like_number(level):
    """Return whether a level is a string that is a number, such as "1.5"."""
    if not isinstance(level, str):
        return False
    try:
        return np.isfinite(float(level))
    except ValueError:
        return False
