"""Distributions of single columns of a table, and the mapping of draws to them.

A model never matches the distribution of every column exactly. Quantile mapping
replaces a quantile of the draws by that of the table at the same level. The mapping is
monotone and fixed once the model is fitted: a drawn row depends on its own draw alone.
"""

from dataclasses import dataclass

import numpy as np

from .._utils._lazy_rows import select_rows
from ._kinds import Integer, Number
from ._observed import MAX_FEW
from ._sparse import SparseRows

# columns of the widest table whose draws are compared, and rows that are looked at
_MAX_COLUMNS, _MAX_ROWS = 100, 32_768
# rows that determine a distribution, at least; those that the model draws for each, and
# cells: the time of a draw grows with the square of the columns
_MIN_ROWS, _DRAWS_PER_ROW, _MIN_DRAWS, _MAX_CELLS = 50, 2, 2_000, 650_000
# points of a quantile function: evenly spaced, and the most frequent values
_MAX_POINTS, _MAX_REPEATED = 500, 500
# values this close, as a share of the range, are equal: draws are of single precision
_CLOSE = 1e-6
# of the Kolmogorov-Smirnov distance, in units of its error: five of a thousand samples
# of the same distribution are farther
_FAR = 1.73


@dataclass
class Quantiles:
    """A distribution function, linear between points, with jumps at repeated values.

    Attributes
    ----------
    values : ndarray (n_points,)
        Strictly increasing.
    low, high : ndarray (n_points,)
        Levels before and after the jump at a value.
    """

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def learn(cls, column, weight=None):
        """Return the distribution of a sample without missing values."""
        order = np.argsort(column, kind="stable")
        column = column[order]
        share = np.ones(len(column)) if weight is None else weight[order]
        after = np.cumsum(share)
        # every row at the middle of its share
        level = (after - share / 2) / after[-1]
        first = np.flatnonzero(np.r_[True, column[1:] != column[:-1]])
        last = np.r_[first[1:], len(column)] - 1
        values, low, high = column[first], level[first], level[last]
        if len(values) > _MAX_POINTS + _MAX_REPEATED:
            kept = np.zeros(len(values), dtype=bool)
            kept[np.argsort(low - high, kind="stable")[:_MAX_REPEATED]] = True
            steps = np.linspace(0, 1, _MAX_POINTS)
            kept[np.searchsorted(high, steps).clip(max=len(values) - 1)] = True
            values, low, high = values[kept], low[kept], high[kept]
        return cls(values, low, high)

    def snap(self, x):
        """Return numbers of which those that are nearly equal are equal."""
        step = _CLOSE * (self.values[-1] - self.values[0])
        return np.round(x / step) * step if step > 0 else x

    def find_levels(self, x, share):
        """Return levels of values; within a jump, at its `share` from 0 to 1."""
        right = np.searchsorted(self.values, x)
        at = right.clip(max=len(self.values) - 1)
        is_point = self.values[at] == x
        # the points that a value lies between; beyond them the first or the last twice
        before = (right - 1).clip(min=0)
        first, last = self.values[before], self.values[at]
        width = np.where(last > first, last - first, 1.0)
        part = (x.clip(first, last) - first) / width
        between = self.high[before] + part * (self.low[at] - self.high[before])
        jump = self.low[at] + share * (self.high[at] - self.low[at])
        return np.where(is_point, jump, between)

    def find_values(self, level):
        """Return the values at levels."""
        levels = np.stack([self.low, self.high], axis=-1).ravel()
        return np.interp(level, levels, np.repeat(self.values, 2))

    def measure_distance(self, other):
        """Return the Kolmogorov-Smirnov distance of two distributions."""
        points = np.union1d(self.values, other.values)
        return max(
            np.abs(
                self.find_levels(points, share) - other.find_levels(points, share)
            ).max()
            for share in (0.0, 1.0)
        )


@dataclass
class Marginals:
    """Distributions of those columns of a table that are complete numbers.

    Attributes
    ----------
    quantiles : dict
        A `Quantiles` by the number of the column.
    n_samples : int
        Rows that were looked at.
    n_features : int
    """

    quantiles: dict
    n_samples: int
    n_features: int

    @classmethod
    def learn(cls, array, weight, kinds):
        """Return those of a table ``(n_samples, n_features)``, NaN where missing."""
        n_samples = min(len(array), _MAX_ROWS)
        if (
            isinstance(array, SparseRows)
            or len(kinds) > _MAX_COLUMNS
            or n_samples < _MIN_ROWS
        ):
            return cls({}, n_samples, len(kinds))
        if n_samples < len(array):
            chosen = np.random.default_rng(0).choice(
                len(array), n_samples, replace=False
            )
            chosen.sort()
            array = select_rows(array, chosen)
            weight = None if weight is None else weight[chosen]
        found = {}
        for j, kind in enumerate(kinds):
            if not isinstance(kind, (Number, Integer)):
                continue
            column = array[:, j].astype(np.float64)
            # where cells are missing, the table need not have the right distribution
            if np.isnan(column).any():
                continue
            quantiles = Quantiles.learn(column, weight)
            # few values have probabilities of their own, and rules that a shift breaks
            if len(quantiles.values) > MAX_FEW:
                found[j] = quantiles
        return cls(found, n_samples, len(kinds))

    @property
    def n_draws(self):
        """Number of draws of a model that are to be compared."""
        most = np.clip(_MAX_CELLS // self.n_features, _MIN_DRAWS, _MAX_ROWS)
        return int(np.clip(_DRAWS_PER_ROW * self.n_samples, _MIN_DRAWS, most))

    def compare(self, drawn):
        """Return the `QuantileMapping` for draws of a model, ``(n, n_features)``."""
        pairs = {}
        least = _FAR * np.sqrt(1 / self.n_samples + 1 / len(drawn))
        for column, table in self.quantiles.items():
            model = Quantiles.learn(table.snap(drawn[:, column]))
            if model.measure_distance(table) > least:
                pairs[column] = model, table
        return QuantileMapping(pairs)


class QuantileMapping:
    """A monotone map of single columns, from a model's quantiles to those of a table.

    Parameters
    ----------
    pairs : dict
        The `Quantiles` of the model and of the table, by the number of the column.
        Columns that agree as well as samples of a table do are not in it.
    """

    def __init__(self, pairs):
        self.pairs = pairs

    def apply(self, X, generator):
        """Return draws ``(n, n_features)`` with the quantiles of the table."""
        if not self.pairs:
            return X
        X = np.array(X)
        for column, (model, table) in self.pairs.items():
            x, share = table.snap(X[:, column]), generator.random(len(X))
            X[:, column] = table.find_values(model.find_levels(x, share))
        return X
