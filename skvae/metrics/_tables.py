"""Read tables that are to be compared: the same columns, of numbers or of levels.

Differences of dtype end here: everything else in this folder compares values.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from .._utils._typing import Table

Columns: TypeAlias = Iterable[Hashable] | None


def read_tables(*tables: Table, categorical: Columns = None) -> list[pd.DataFrame]:
    """Return data frames with the same columns, in the order of the first table.

    Numbers and times are float64, NaN if missing. All other columns, and those in
    `categorical`, have categories, the same in all tables.
    """
    frames = [_make_frame(table) for table in tables]
    names = list(frames[0].columns)
    for frame in frames:
        _check_names(names, frame)
    if isinstance(categorical, str) or not isinstance(categorical, Iterable | None):
        raise TypeError(
            f"categorical={categorical!r} must be a list of column names or None."
        )
    declared = set(categorical or ())
    if not declared <= set(names):
        unknown = sorted(map(repr, declared - set(names)))
        raise ValueError(f"categorical has {', '.join(unknown)}: no such column.")
    read: list[dict[Hashable, Any]] = [{} for _ in frames]
    for name in names:
        columns = [frame[name] for frame in frames]
        is_number = name not in declared and all(map(_holds_numbers, columns))
        converted = _read_numbers(columns) if is_number else _read_levels(columns)
        for values, column in zip(read, converted, strict=True):
            values[name] = column
    return [pd.DataFrame(values) for values in read]


def list_levels(frame: pd.DataFrame) -> list[Hashable]:
    """Return the names of the columns that have levels, of a frame read here."""
    return [
        name for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)
    ]


def measure_spread(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of numbers, the latter 1 for a constant."""
    least, most = values.min(), values.max()
    # halves, since the range of float64 itself is beyond the range of float64; rounding
    # would give a constant a deviation of its own
    width = most / 2 - least / 2
    if not width:
        return float(least), 1.0
    shares = (values / 2 - least / 2) / width
    return float(least + 2 * width * shares.mean()), float(2 * width * shares.std())


def standardize(values: np.ndarray, center: float, scale: float) -> np.ndarray:
    """Return numbers in units of `measure_spread`."""
    return (values / 2 - center / 2) / (scale / 2)


def _make_frame(table: Any) -> pd.DataFrame:
    """Return a table as a data frame of pandas."""
    if isinstance(table, pd.DataFrame):
        frame = table
    elif hasattr(table, "to_pandas"):
        frame = table.to_pandas()
    else:
        array = np.asarray(table)
        if array.dtype.kind in "US" and not isinstance(table, np.ndarray):
            # numpy turns numbers beside text into text
            array = np.asarray(table, dtype=object)
        if array.ndim != 2:
            raise ValueError(
                f"Expected a table, got {type(table).__name__} with {array.ndim} "
                "dimensions."
            )
        frame = pd.DataFrame(array)
    if not frame.shape[0] or not frame.shape[1]:
        raise ValueError(f"Expected rows and columns, got the shape {frame.shape}.")
    return frame


def _check_names(names: Sequence[Hashable], frame: pd.DataFrame) -> None:
    """Raise an error unless a table has the columns of the first one, each once."""
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"Column {twice!r} occurs twice.")
    differing = set(names) ^ set(frame.columns)
    if differing:
        name = min(differing, key=str)
        raise ValueError(f"Column {name!r} is not in all tables.")


def _holds_numbers(column: pd.Series) -> bool:
    """Return whether all cells that are not missing are numbers or times."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(dtype):
        return False
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        return all(
            isinstance(v, (Real, Decimal)) and not isinstance(v, (bool, np.bool_))
            for v in column[column.notna()]
        )
    return pd.api.types.is_numeric_dtype(dtype) or dtype.kind in "mM"


def _read_numbers(columns: list[pd.Series]) -> list[np.ndarray]:
    """Return numbers as float64, all of the precision of the least precise column."""
    kinds = [getattr(column.dtype, "kind", "O") for column in columns]
    sizes = [
        column.dtype.itemsize
        for column, kind in zip(columns, kinds, strict=True)
        if kind == "f" and column.dtype.itemsize < 8
    ]
    precision = np.dtype(f"f{min(sizes, default=8)}")
    # numbers beyond the range of a narrow type are infinite, and refused below
    with np.errstate(over="ignore"):
        read = [_make_floats(c).astype(precision).astype(np.float64) for c in columns]
    if any(np.isinf(values).any() for values in read):
        raise ValueError(f"Column {columns[0].name!r} has infinite values.")
    return read


def _make_floats(column: pd.Series) -> Any:
    """Return numbers as float64; times in seconds since 1970, and spans in seconds."""
    if column.dtype.kind == "O":
        return np.array([np.nan if pd.isna(v) else float(v) for v in column])
    if column.dtype.kind == "M":
        column = column - pd.Timestamp(0, tz=getattr(column.dt, "tz", None))
    if column.dtype.kind == "m":
        return (column / pd.Timedelta(1, "s")).to_numpy(np.float64, na_value=np.nan)
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _read_levels(columns: list[pd.Series]) -> list[pd.Categorical]:
    """Return columns of the same categories: the levels that occur in any of them."""
    values = np.concatenate([column.astype(object).to_numpy() for column in columns])
    codes, levels = pd.factorize(values)
    categories = pd.Index(levels, dtype=object)
    ends = np.cumsum([len(column) for column in columns])[:-1]
    return [
        pd.Categorical.from_codes(part, categories=categories)
        for part in np.split(codes, ends)
    ]
