"""Normal scores: increasing maps of numbers to those of a normal distribution."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from .._closed_form._moments import compute_mean
from .._utils._lazy_rows import select_rows
from ._marginals import Quantiles
from ._observed import MAX_FEW

# rows that maps are learned from
_MAX_ROWS = 100_000
# knots of a map, and rows between two of them, at least
_MAX_KNOTS, _ROWS_APART = 1_000, 10
# distance of knots, as a share of the spread: steeper maps would make spikes
_LEAST_GAP = 1e-4
# levels that the spread is measured between
_LOW, _HIGH = 0.1, 0.9
# levels whose normal scores are 1 apart
_BELOW, _ABOVE = -1.0, 1.0


def find_normal_scores(v, share, n_pieces, least_gap):
    """Return knots, normal scores there, and slopes below, between and above them.

    `v` is a scaled column without missing values, `share` the weights of its rows, of
    sum 1. Knots are `least_gap` apart or more. They lie midway between
    different values, where the share of rows below is clear: a repeated value lies
    inside a piece, and has its slope.
    """
    values, index = np.unique(v, return_inverse=True)
    size = np.bincount(index, share)
    if len(values) < 2:
        return np.zeros(1), np.zeros(1), np.ones(2)
    below = np.cumsum(size)[:-1]
    middle = (values[:-1] + values[1:]) / 2
    levels = np.arange(1, n_pieces) / n_pieces
    chosen = np.searchsorted(below, levels).clip(0, len(below) - 1)
    kept, last = [], values[0]
    for i in np.unique(chosen):
        if middle[i] - last >= least_gap and values[-1] - middle[i] >= least_gap:
            kept.append(i)
            last = middle[i]
    kept = kept or [int(np.argmin(np.abs(middle)))]
    knots, scores = middle[kept], ndtri(below[kept].clip(1e-12, 1 - 1e-12))
    # the outermost values lie where single rows would: zeros of amounts, if there are
    # many, are far from other values
    least = (share[share > 0].min() / 2).clip(1e-12)
    ends = ndtri(np.array([least, 1 - least]))
    outer = np.array([values[0], values[-1]])
    rise = np.diff(np.concatenate([ends[:1], scores, ends[1:]]))
    run = np.diff(np.concatenate([outer[:1], knots, outer[1:]]))
    slopes = np.maximum(rise, 1e-6) / np.maximum(run, least_gap)
    # outside the rows a slope of at least 1 over their range, as for the powers
    slopes[[0, -1]] = np.maximum(slopes[[0, -1]], 1 / (outer[1] - outer[0]))
    # scores that agree with the slopes
    scores = scores[0] + np.concatenate([[0], np.cumsum(slopes[1:-1] * run[1:-1])])
    return knots, scores, slopes


def _measure(column, share, quantiles):
    """Return centre and spread of a column, which long tails do not stretch."""
    centre = share @ column
    low, high = quantiles.find_values(np.array([_LOW, _HIGH]))
    # most values may be equal
    scale = high - low if high > low else np.sqrt(share @ (column - centre) ** 2)
    return centre, scale


@dataclass
class ScoreMap:
    """The map of one column: straight lines between knots, and beyond them.

    Attributes
    ----------
    knots, scores : ndarray (n_knots,)
        Values of the column, and what they are mapped to.
    slopes : ndarray (n_knots + 1,)
        Below the first knot, between knots, and above the last.
    mean_log_slope : float
        Weighted mean over the rows at fit.
    quantiles : Quantiles
        Of the same rows.
    """

    knots: np.ndarray
    scores: np.ndarray
    slopes: np.ndarray
    mean_log_slope: float
    quantiles: Quantiles

    @classmethod
    def learn(cls, column, weight):
        """Return the map of a column, NaN where missing; None of few values."""
        known = ~np.isnan(column)
        column, share = column[known], weight[known] / weight[known].sum()
        if len(np.unique(column)) <= MAX_FEW:
            return None
        quantiles = Quantiles.learn(column, share)
        centre, scale = _measure(column, share, quantiles)
        # number of equal rows whose mean has the same variance
        n_pieces = int(np.clip(1 / (share @ share) // _ROWS_APART, 2, _MAX_KNOTS))
        knots, scores, slopes = find_normal_scores(
            (column - centre) / scale, share, n_pieces, _LEAST_GAP
        )
        found = cls(centre + scale * knots, scores, slopes / scale, 0.0, quantiles)
        found.mean_log_slope = float(share @ found.compute_log_slope(column))
        return found

    def apply(self, x):
        """Return the normal scores of values; NaN where they are missing."""
        piece = np.searchsorted(self.knots, x, side="right")
        knot = (piece - 1).clip(0)
        return self.scores[knot] + (x - self.knots[knot]) * self.slopes[piece]

    def invert(self, scores):
        """Return the values of normal scores."""
        piece = np.searchsorted(self.scores, scores, side="right")
        knot = (piece - 1).clip(0)
        return self.knots[knot] + (scores - self.scores[knot]) / self.slopes[piece]

    def find_levels(self, x, share):
        """Return the levels of values, see `Quantiles.find_levels`; no value jumps."""
        return ndtr(self.apply(x))

    def compute_log_slope(self, x):
        """Return the logarithms of the slope at values."""
        return np.log(self.slopes[np.searchsorted(self.knots, x, side="right")])

    @property
    def unit(self):
        """What a unit of the scores is in the middle of the column."""
        below, above = self.invert(np.array([_BELOW, _ABOVE]))
        return (above - below) / (_ABOVE - _BELOW)


@dataclass(frozen=True)
class NormalScores:
    """The maps of some columns of a table, or of none.

    Attributes
    ----------
    maps : dict
        A `ScoreMap` by the number of the column.
    """

    maps: dict

    @classmethod
    def learn(cls, array, weight, columns):
        """Return the maps of those of the columns that have many values."""
        step = -(-len(array) // _MAX_ROWS)
        if step > 1:
            array = select_rows(array, np.arange(0, len(array), step))
            weight = None if weight is None else weight[::step]
        weight = np.ones(len(array)) if weight is None else weight
        found = {}
        for column in columns:
            values = array[:, column].astype(np.float64)
            score_map = ScoreMap.learn(values, weight)
            if score_map is not None:
                found[int(column)] = score_map
        return cls(found)

    def select(self, kept):
        """Return the maps of the columns that are kept, (n_features,) bool."""
        places = np.cumsum(kept) - 1
        maps = self.maps.items()
        return NormalScores({int(places[j]): m for j, m in maps if kept[j]})

    def apply(self, X):
        """Return rows with normal scores, float64 if there are any."""
        if not self.maps:
            return X
        X = np.array(X, dtype=np.float64)
        for column, score_map in self.maps.items():
            X[..., column] = score_map.apply(X[..., column])
        return X

    def invert(self, X):
        """Return rows whose normal scores are given."""
        if not self.maps:
            return X
        X = np.array(X, dtype=np.float64)
        for column, score_map in self.maps.items():
            X[..., column] = score_map.invert(X[..., column])
        return X

    def compute_log_slopes(self, X):
        """Return the log-Jacobian of every cell, 0 where it is missing."""
        found = np.zeros(X.shape)
        for column, score_map in self.maps.items():
            values = X[..., column].astype(np.float64)
            slope = score_map.compute_log_slope(values)
            found[..., column] = np.where(np.isnan(values), 0.0, slope)
        return found

    def compute_moments(self, array, weight):
        """Return means and standard deviations of scores, in the order of the maps."""
        columns = list(self.maps)
        if not columns:
            return columns, [], []

        def read(part, power=1):
            scores = [m.apply(part[:, j].astype(float)) for j, m in self.maps.items()]
            return np.stack(scores, axis=1) ** power

        mean = compute_mean(array, weight, read)
        square = compute_mean(array, weight, lambda part: read(part, 2))
        return columns, mean, np.sqrt(np.maximum(square - mean**2, 0.0))
