"""Tables of the user to rows of floats and back: kinds of column, units, names, types.

A column of any kind is coded as one column of floats, NaN where values are missing.
Data frames are not used outside this folder, and torch is not used in it.
"""

from ._checks import (
    check_exact_integers,
    check_finite,
    check_observed,
    check_unique_names,
    label_column,
    refuse_times,
)
from ._containers import convert_lists, get_container, get_index, has_typed_columns
from ._encoded import EncodedRows
from ._kinds import Boolean, Category, Integer, Kind, Number, OrderedCategory
from ._reading import read_table
from ._support import Support, check_support
from ._table import ColumnTable
from ._validation import InputTable, read_input, read_weight

__all__ = [
    "Boolean",
    "Category",
    "ColumnTable",
    "EncodedRows",
    "InputTable",
    "Integer",
    "Kind",
    "Number",
    "OrderedCategory",
    "Support",
    "check_exact_integers",
    "check_finite",
    "check_observed",
    "check_support",
    "check_unique_names",
    "convert_lists",
    "get_container",
    "get_index",
    "has_typed_columns",
    "label_column",
    "read_input",
    "read_table",
    "read_weight",
    "refuse_times",
]
