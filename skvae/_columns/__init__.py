"""Tables and float tensors, there and back: kinds of column, units, names, types.

A column of any kind is coded as one float, NaN where it is missing. numpy stops here;
nothing below knows of data frames.
"""

from ._checks import (
    check_exact,
    check_finite,
    check_names,
    check_observed,
    describe,
    refuse_times,
)
from ._containers import get_container, get_index, has_columns, open_table
from ._encoded import EncodedRows
from ._kinds import Boolean, Category, Integer, Kind, Number, OrderedCategory
from ._reading import read
from ._support import (
    BINARY,
    COUNTS,
    OPEN_UNIT_INTERVAL,
    POSITIVE_REALS,
    REALS,
    UNIT_INTERVAL,
    Support,
    check_support,
)
from ._table import ColumnTable

__all__ = [
    "BINARY",
    "COUNTS",
    "OPEN_UNIT_INTERVAL",
    "POSITIVE_REALS",
    "REALS",
    "UNIT_INTERVAL",
    "Boolean",
    "Category",
    "ColumnTable",
    "EncodedRows",
    "Integer",
    "Kind",
    "Number",
    "OrderedCategory",
    "Support",
    "check_exact",
    "check_finite",
    "check_names",
    "check_observed",
    "check_support",
    "describe",
    "get_container",
    "get_index",
    "has_columns",
    "open_table",
    "read",
    "refuse_times",
]
