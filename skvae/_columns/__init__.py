"""Tables of the user to rows of floats and back: kinds of column, units, names, types.

A column of any kind is coded as one column of floats, NaN where values are missing.
Data frames are not used outside this folder, and torch is not used in it.
"""

from ._checks import check_unique_names
from ._conversion import check_type, convert_array
from ._dtypes import check_held, widen_kinds
from ._encoded import EncodedRows
from ._marginals import QuantileMapping
from ._rows import (
    cast_rows,
    count_rows,
    describe_form,
    join_rows,
    make_dense,
    take_rows,
)
from ._sparse import join_tables
from ._support import Support, check_support
from ._table import ColumnTable
from ._validation import (
    check_target,
    check_weight,
    leave_out_levels,
    read_input,
    read_latent,
    read_weight,
)
from ._wrappers import find_wrapper, make_array_like, make_table_like, unwrap, wrap

__all__ = [
    "ColumnTable",
    "EncodedRows",
    "QuantileMapping",
    "Support",
    "cast_rows",
    "check_held",
    "check_support",
    "check_target",
    "check_type",
    "check_unique_names",
    "check_weight",
    "convert_array",
    "count_rows",
    "describe_form",
    "find_wrapper",
    "join_rows",
    "join_tables",
    "leave_out_levels",
    "make_array_like",
    "make_dense",
    "make_table_like",
    "read_input",
    "read_latent",
    "read_weight",
    "take_rows",
    "unwrap",
    "widen_kinds",
    "wrap",
]
