"""The values that numbers have at fit: their decimals, range and repeated values."""

from dataclasses import dataclass, replace

import numpy as np

from .._utils._lazy_rows import select_rows
from .._utils._missing import list_chunks
from ._containers import get_precision
from ._kinds import Integer, Number
from ._sparse import SparseRows, list_values

# more decimals than these are not counted: the column is continuous
_MAX_DECIMALS = 6
# rows that are looked at first: most continuous columns need no more
_FIRST_ROWS = 256
# values this close to a repeated one, as a share of the range, are that value
_CLOSE = 1e-6
# least share of the rows that have a repeated value, and the most such values
REPEATED_SHARE = 0.05
MAX_REPEATED = 8
# a column with no more values than these has few: all of them repeat
MAX_FEW = 32
# rows on which repeated values are looked for
_MAX_ROWS = 10_000


@dataclass
class ObservedValues:
    """Which values drawn and imputed numbers may have: those like the values at fit.

    Booleans and categories have levels instead, and are not changed.
    """

    # (n_features,): NaN for continuous columns, and those that are not numbers
    decimals: np.ndarray
    low: np.ndarray  # (n_features,), the range; infinite where there is none
    high: np.ndarray
    # repeated values of continuous columns, by the number of the column
    repeated: dict

    @classmethod
    def learn(cls, array, kinds):
        """Return those of a table ``(n_samples, n_features)``; NaN are left out."""
        kinds_of_number = [isinstance(kind, (Number, Integer)) for kind in kinds]
        is_number = np.array(kinds_of_number, dtype=bool)
        low, high = find_range(array)
        low, high = np.where(is_number, low, -np.inf), np.where(is_number, high, np.inf)
        numbers = np.flatnonzero(is_number)
        decimals = np.full(len(kinds), np.nan)
        singles = [get_precision(kind.dtype) == np.float32 for kind in kinds]
        is_single = np.array(singles, dtype=bool)
        for part, precision in ((is_single, np.float32), (~is_single, array.dtype)):
            columns = np.flatnonzero(is_number & part)
            reach = np.maximum(np.abs(low), np.abs(high))[columns]
            decimals[columns] = _count_decimals(array, columns, reach, precision)
        continuous = numbers[np.isnan(decimals[numbers])]
        repeated = {
            int(column): values
            for column, values in _iterate_repeated(array, continuous)
            if len(values)
        }
        return cls(decimals, low, high, repeated)

    def extend(self, array):
        """Return a copy whose ranges contain the values of more rows."""
        low, high = find_range(array)
        return replace(self, low=np.fmin(self.low, low), high=np.fmax(self.high, high))

    def are_near(self, array, farthest):
        """Return whether rows are so near that no distance needs to be measured."""
        if array.dtype.kind != "f" or not array.size:
            return False
        values = list_values(array)
        with np.errstate(invalid="ignore"):
            low, high = (
                np.fmin.reduce(values, axis=None),
                np.fmax.reduce(values, axis=None),
            )
        largest = max(-float(low), float(high))
        # no width is less than the larger end of a range that is not a single zero
        return largest <= farthest * self._least_width

    @property
    def _least_width(self):
        """Half of the least unit that `measure_distance` divides by."""
        ends = np.maximum(np.abs(self.low), np.abs(self.high))
        ends = ends[np.isfinite(ends) & (ends > 0)]
        return 0.5 * min(1.0, ends.min(initial=1.0))

    def measure_distance(self, values):
        """Return how far values ``(..., n_features)`` lie beyond the range at fit.

        In units of the range, or of its larger end; 0 within it, and where a value is
        missing or is not a number.
        """
        is_number = np.isfinite(self.low)
        low, high = (np.where(is_number, end, 0.0) for end in (self.low, self.high))
        with np.errstate(over="ignore"):
            width = np.maximum.reduce([high - low, np.abs(low), np.abs(high)])
            width = np.where(width > 0, width, 1.0)
            beyond = np.fmax(low - values, values - high) / width
        return np.where(is_number, np.fmax(beyond, 0.0), 0.0)

    def restrict(self, X):
        """Return rows, ``(n, n_features)`` float64, with values like those at fit.

        Numbers are rounded to as many decimals and moved into the range.
        """
        X = np.clip(X, self.low, self.high)
        for decimals in np.unique(self.decimals[~np.isnan(self.decimals)]):
            columns = self.decimals == decimals
            # no negative zeros
            X[:, columns] = np.round(X[:, columns], int(decimals)) + 0.0
        for column, values in self.repeated.items():
            # drawn in single precision
            width = _CLOSE * (self.high[column] - self.low[column])
            for value in values:
                X[np.abs(X[:, column] - value) <= width, column] = value
        return X


def find_range(array):
    """Return smallest and largest observed value of every column, float64."""
    if isinstance(array, SparseRows):
        return array.find_range()
    low, high = np.full(array.shape[1], np.inf), np.full(array.shape[1], -np.inf)
    for rows in list_chunks(array):
        part = array[rows]
        low = np.fmin(low, np.fmin.reduce(part, axis=0))
        high = np.fmax(high, np.fmax.reduce(part, axis=0))
    return low, high


def count_decimals(values):
    """Return how many decimals the values ``(n,)`` have, None if more than six."""
    low, high = find_range(values[:, None])
    reach = np.maximum(np.abs(low), np.abs(high))
    (found,) = _count_decimals(values[:, None], np.arange(1), reach, values.dtype)
    return None if np.isnan(found) else int(found)


def _count_decimals(array, columns, reach, precision):
    """Return how many decimals the values of columns have, NaN if more than six.

    It is the fewest to which every value can be rounded, and still be the same number
    in a precision, a dtype. Values up to `reach` can always be rounded to the last
    digits of the precision: a column that needs these is continuous.
    """
    if array.dtype.kind in "biu":
        return np.zeros(len(columns))
    found = np.full(len(columns), np.nan)
    open_ = np.arange(len(columns))
    if isinstance(array, SparseRows) and _are_integers(array.data):
        found[:], open_ = 0, open_[:0]
    for decimals in range(_MAX_DECIMALS + 1):
        for rows in [slice(_FIRST_ROWS), *list_chunks(array)]:
            if len(open_) == 0:
                break
            part = array[rows][:, columns[open_]].astype(precision, copy=False)
            with np.errstate(over="ignore", invalid="ignore"):
                rounded = np.round(part.astype(np.float64), decimals).astype(precision)
            is_same = ((rounded == part) | np.isnan(part)).all(axis=0)
            open_ = open_[is_same]
        found[open_] = decimals
        open_ = np.flatnonzero(np.isnan(found))
    resolution = 10 * np.finfo(precision).eps * reach
    found[10.0 ** -np.nan_to_num(found) < resolution] = np.nan
    return found


def _are_integers(values):
    return bool(((values == np.round(values)) | np.isnan(values)).all())


def find_repeated(array, columns):
    """Return which columns have values that repeat, ``(n_columns,)`` bool."""
    found = [len(values) > 0 for _, values in _iterate_repeated(array, columns)]
    return np.array(found, dtype=bool)


def have_few_values(array, columns):
    """Return which columns have few different values, ``(n_columns,)`` bool."""
    found = []
    for _, values in _iterate_sorted(array, columns):
        n_values = 1 + np.count_nonzero(values[1:] != values[:-1])
        found.append(n_values <= MAX_FEW)
    return np.array(found, dtype=bool)


def _iterate_sorted(array, columns):
    """Yield the number and the sorted values of columns, on some rows of many."""
    step = max(1, len(array) // _MAX_ROWS)
    array = select_rows(array, slice(None, None, step))
    for column in columns:
        values = array[:, column].astype(np.float64)
        yield column, np.sort(values[~np.isnan(values)])


def _iterate_repeated(array, columns):
    """Yield the number and the repeated values of columns, most frequent first."""
    for column, values in _iterate_sorted(array, columns):
        least = max(2, int(np.ceil(REPEATED_SHARE * len(values))))
        # equal values lie side by side
        if (
            len(values) < least
            or not (values[least - 1 :] == values[: 1 - least]).any()
        ):
            yield column, values[:0]
            continue
        values, counts = np.unique(values, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:MAX_REPEATED]
        yield column, values[order[counts[order] >= least]]
