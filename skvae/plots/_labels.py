"""Labels of rows: classes, or numbers."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from ._style import shorten

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pandas import Series

    from ._typing import Floats

# integers with more distinct values are numbers, not classes
_MOST_INTEGERS = 12
# classes that are told apart; the rarest of more are drawn as one
_MOST_CLASSES = 20


@dataclass
class Labels:
    """One value per row: numbers in `values`, or positions in `levels`, -1 unknown."""

    name: str | None
    values: NDArray[Any] | None = None
    codes: NDArray[Any] | None = None
    levels: list[Any] | None = None

    def list_groups(self) -> list[tuple[str, NDArray[np.intp]]]:
        """Return pairs of the text of a level and its rows, unknown rows last."""
        if self.codes is None or self.levels is None:
            return []
        groups = [
            (shorten(level) or "(empty)", np.flatnonzero(self.codes == code))
            for code, level in enumerate(self.levels)
        ]
        groups.append(("missing", np.flatnonzero(self.codes < 0)))
        return [(text, rows) for text, rows in groups if len(rows)]


def read_labels(y: Any, n_rows: int, most: int = _MOST_CLASSES) -> Labels | None:
    """Return the labels of rows, or None without any.

    Booleans, strings, categories and integers with few distinct values are classes.
    """
    if y is None:
        return None
    series = to_series(y)
    if len(series) != n_rows:
        raise ValueError(f"y has {len(series)} values, but X has {n_rows} rows.")
    name = None if series.name is None else shorten(series.name)
    values = read_numbers(series)
    if values is not None and not _are_classes(values):
        return Labels(name, values=values)
    codes, levels = read_levels(series)
    codes, levels = join_rare(codes, levels, most)
    return Labels(name, codes=codes, levels=levels)


def join_rare(
    codes: NDArray[Any], levels: list[Any], most: int
) -> tuple[NDArray[Any], list[Any]]:
    """Return codes and at most as many levels: the rarest of more become one."""
    if len(levels) <= most:
        return codes, levels
    counts = np.bincount(codes[codes >= 0], minlength=len(levels))
    kept = np.sort(np.argsort(-counts, kind="stable")[: most - 1])
    place = np.full(len(levels) + 1, most - 1)
    place[kept], place[-1] = np.arange(most - 1), -1
    other = f"{len(levels) - most + 1} others"
    return place[codes], [*(levels[k] for k in kept), other]


def to_series(y: Any) -> Series:
    """Return one column as a Series of pandas."""
    import pandas as pd

    if isinstance(y, pd.DataFrame) and y.shape[1] == 1:
        y = y.iloc[:, 0]
    if isinstance(y, pd.Series):
        return y.reset_index(drop=True)
    name = getattr(y, "name", None)
    if hasattr(y, "to_pylist"):
        # of pyarrow
        return pd.Series(y.to_pylist(), name=name)
    if hasattr(y, "to_list"):
        # of polars
        return pd.Series(y.to_list(), name=name)
    if isinstance(y, np.ma.MaskedArray):
        y = np.where(np.ma.getmaskarray(y), np.array(None), y.data)
    array = np.asarray(y)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"y has shape {array.shape}; pass one value per row.")
    series = pd.Series(array, name=name).infer_objects()
    known = series.dropna() if series.dtype == object else ()
    if len(known) and all(_is_number(v) for v in known):
        return series.astype(float)
    return series


def read_numbers(series: Series) -> Floats | None:
    """Return a column as float64 with NaN, or None where it holds no numbers."""
    import pandas as pd

    kinds = pd.api.types
    if kinds.is_datetime64_any_dtype(series):
        # years, with their fractions
        return (series.dt.year + (series.dt.day_of_year - 1) / 366).to_numpy(float)
    if not kinds.is_numeric_dtype(series) or kinds.is_bool_dtype(series):
        return None
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def read_levels(series: Series) -> tuple[NDArray[Any], list[Any]]:
    """Return positions of values among the sorted levels, and the levels."""
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.cat.remove_unused_categories()
        codes, levels = series.cat.codes.to_numpy(np.int64), series.cat.categories
        return codes, [_to_plain(level) for level in levels]
    codes, levels = pd.factorize(series)
    levels = [_to_plain(level) for level in levels]
    try:
        order = sorted(range(len(levels)), key=levels.__getitem__)
    except TypeError:
        order = sorted(range(len(levels)), key=lambda k: str(levels[k]))
    place = np.empty(len(levels) + 1, dtype=np.int64)
    place[order], place[-1] = np.arange(len(levels)), -1
    return place[codes], [levels[k] for k in order]


def _are_classes(values: NDArray[Any]) -> bool:
    values = values[~np.isnan(values)]
    distinct = np.unique(values)
    return len(distinct) <= _MOST_INTEGERS and bool(
        (distinct == distinct.round()).all()
    )


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def _to_plain(level: Any) -> Any:
    level = level.item() if isinstance(level, np.generic) else level
    is_whole = isinstance(level, float) and level.is_integer()
    return int(level) if is_whole else level
