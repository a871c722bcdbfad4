"""Whether the dtypes of columns at fit hold the values of other rows."""

import numpy as np

from ._checks import capitalize, label_column
from ._containers import get_container, to_objects
from ._observed import find_range
from ._reading import find_kind
from ._times import Time


def check_held(columns, table):
    """Refuse an `InputTable` with a value that would not be returned as it is."""
    for column, row in _iterate_lost(columns, table):
        _refuse(columns, table, column, row, "fit on a column of a type that does")


def widen_kinds(columns, table):
    """Return kinds for a further chunk of rows, an `InputTable`.

    A column gets the dtype that it has there if its own cannot hold the values.
    """
    kinds = list(columns.kinds)
    for column, row in _iterate_lost(columns, table):
        kinds[column] = _find_wider(columns, table, column)
        if kinds[column] is None:
            _refuse(
                columns, table, column, row, "convert the column before the first fit"
            )
    return kinds


def _iterate_lost(columns, table):
    """Yield the number of every column with a value that it cannot hold, and a row."""
    if columns.container == "array" and columns.dtype.kind == "f":
        return
    values = _get_values(table)
    for j, kind in enumerate(columns.kinds):
        # a column without observed cells may have any dtype
        if np.isnan(values[:, j]).all():
            continue
        cells = values[:, j] if table.is_sparse else table.take_column(j)
        is_lost = kind.find_lost(values[:, j], cells)
        if is_lost.any():
            yield j, int(is_lost.argmax())


def _get_values(table):
    """Return rows of numbers; the ends of their ranges if the table is sparse."""
    return np.array(find_range(table.array)) if table.is_sparse else table.array


def _find_wider(columns, table, column):
    """Return the kind of a column in a table; None if it cannot hold earlier values."""
    known = columns.kinds[column]
    is_alike = get_container(table.given) == columns.container
    is_fixed = columns.container == "array" and columns.dtype != object
    ends = np.array([columns.observed.low[column], columns.observed.high[column]])
    if isinstance(known, Time) or table.is_sparse or is_fixed or not is_alike:
        return None
    if not np.isfinite(ends).all():
        return None
    cells = table.take_column(column)
    kind = find_kind(cells, label_column(column, table.names), "partial_fit")
    wider = kind.learn(cells)
    return None if wider.find_lost(ends, ends).any() else wider


def _refuse(columns, table, column, row, advice):
    value = _get_values(table)[row, column]
    if not table.is_sparse:
        value = to_objects(table.take_column(column))[row]
    raise ValueError(
        f"{capitalize(label_column(column, table.names))} has the value {value!r}, "
        f"which {columns.kinds[column].describe_dtype()} at fit cannot hold; {advice}, "
        "or convert the value."
    )
