"""Columns of the user's tables, as plots draw them: numbers, or levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from .._columns._containers import convert_lists, get_container, get_names
from .._columns._conversion import convert_array
from .._columns._wrappers import unwrap
from ._labels import join_rare, read_levels, read_numbers, to_series

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from pandas import Series

    from ._typing import Columns

# levels that are drawn; the rarest of more are drawn as one
MOST_LEVELS = 10


@dataclass
class Column:
    """One column of several tables: numbers, or positions in levels, -1 unknown."""

    name: str
    parts: list[NDArray[Any]]
    levels: list[Any] | None = None

    def get_known(self, part: int) -> NDArray[Any]:
        """Return the values of a table that are not missing."""
        values = self.parts[part]
        return values[values >= 0] if self.levels else values[~np.isnan(values)]


def read_names(X: Any, n_columns: int | None = None) -> list[str]:
    """Return the names of the columns of a table, ``x0, x1, ...`` without names."""
    names = get_names(unwrap(X))
    if names is None:
        names = [f"x{j}" for j in range(n_columns or np.shape(X)[1])]
    return [str(name) for name in names]


def choose_columns(columns: Columns | None, names: Sequence[str]) -> list[int]:
    """Return the numbers of columns given by name or number; all where None."""
    if columns is None:
        return list(range(len(names)))
    asked: Iterable[Any] = [columns] if isinstance(columns, (str, int)) else columns
    found = []
    for column in asked:
        is_number = isinstance(column, (int, np.integer)) and not isinstance(
            column, bool
        )
        if str(column) in names:
            found.append(names.index(str(column)))
        elif is_number and 0 <= column < len(names):
            found.append(int(column))
        else:
            raise ValueError(
                f"columns has {column!r}; names of columns, or numbers from 0 to "
                f"{len(names) - 1}, are accepted."
            )
    return found


def take_first(table: Any, n_rows: int) -> Any:
    """Return the first rows, dense where the table is sparse."""
    if sparse.issparse(table):
        return sparse.csr_array(table)[:n_rows].toarray()
    return table[:n_rows]


def read_columns(
    tables: Sequence[Any], names: Sequence[str], chosen: Iterable[int] | None = None
) -> list[Column]:
    """Return columns of tables that have the same columns."""
    tables = [
        # in columns, of which one is dense at a time
        sparse.csc_array(table)
        if sparse.issparse(table)
        else convert_lists(convert_array(unwrap(table), "X"))
        for table in tables
    ]
    chosen = range(len(names)) if chosen is None else chosen
    return [_read([_take(t, int(j)) for t in tables], names[j]) for j in chosen]


def _take(table: Any, number: int) -> Series:
    if sparse.issparse(table):
        return to_series(table[:, [number]].toarray()[:, 0])
    container = get_container(table)
    if container == "pandas":
        return to_series(table.iloc[:, number])
    if container == "pyarrow":
        return to_series(table.column(number))
    if container == "polars":
        return to_series(table[:, number])
    return to_series(np.asarray(table)[:, number])


def _read(parts: list[Series], name: str) -> Column:
    numbers = [n for part in parts if (n := read_numbers(part)) is not None]
    if len(numbers) == len(parts):
        return Column(name, numbers)
    import pandas as pd

    dtypes = {part.dtype for part in parts}
    joined = pd.concat(parts) if len(dtypes) == 1 else _join(parts)
    codes, levels = read_levels(joined)
    if not levels:
        # nothing is known of it
        return Column(name, [np.full(len(part), np.nan) for part in parts])
    codes, levels = join_rare(codes, levels, MOST_LEVELS)
    ends = np.cumsum([len(part) for part in parts])[:-1]
    return Column(name, np.split(codes, ends), levels)


def _join(parts: list[Series]) -> Series:
    """Return columns of different types one after the other, as objects."""
    import pandas as pd

    return pd.Series([value for part in parts for value in part.astype(object)])
