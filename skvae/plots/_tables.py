"""Columns of the user's tables, as plots draw them: numbers, or levels."""

from dataclasses import dataclass

import numpy as np

from .._columns._containers import convert_lists, get_container, get_names
from ._labels import join_rare, read_levels, read_numbers, to_series

# levels that are drawn; the rarest of more are drawn as one
MOST_LEVELS = 10


@dataclass
class Column:
    """One column of several tables: numbers, or positions in levels, -1 unknown."""

    name: str
    parts: list
    levels: list | None = None

    def get_known(self, part):
        """Return the values of a table that are not missing."""
        values = self.parts[part]
        return values[values >= 0] if self.levels else values[~np.isnan(values)]


def read_names(X, n_columns=None):
    """Return the names of the columns of a table, ``x0, x1, ...`` without names."""
    names = get_names(X)
    if names is None:
        names = [f"x{j}" for j in range(n_columns or np.shape(X)[1])]
    return [str(name) for name in names]


def choose_columns(columns, names):
    """Return the numbers of columns given by name or number; all where None."""
    if columns is None:
        return list(range(len(names)))
    columns = [columns] if isinstance(columns, (str, int)) else columns
    found = []
    for column in columns:
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


def read_columns(tables, names, chosen=None):
    """Return columns of tables that have the same columns."""
    tables = [convert_lists(table) for table in tables]
    chosen = range(len(names)) if chosen is None else chosen
    return [_read([_take(t, int(j)) for t in tables], names[j]) for j in chosen]


def _take(table, number):
    container = get_container(table)
    if container == "pandas":
        return to_series(table.iloc[:, number])
    if container == "pyarrow":
        return to_series(table.column(number))
    if container == "polars":
        return to_series(table[:, number])
    if np.ma.isMaskedArray(table):
        return to_series(table[:, number])
    return to_series(np.asarray(table)[:, number])


def _read(parts, name):
    numbers = [read_numbers(part) for part in parts]
    if all(values is not None for values in numbers):
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


def _join(parts):
    """Return columns of different types one after the other, as objects."""
    import pandas as pd

    return pd.Series([value for part in parts for value in part.astype(object)])
