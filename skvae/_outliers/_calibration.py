"""Calibration: scores of rows by models that were not trained on them.

Scores of training rows are too high, and so is a threshold found from them.
"""

from dataclasses import dataclass

import numpy as np

from .._utils._lazy_rows import select_rows
from ._thresholds import find_rank, find_share

# with fewer rows, none can be held out for a threshold
LEAST_ROWS = 10
# share of the rows below the threshold of 'auto', without those far below the others
_AUTO_SHARE = 0.01
# how far the fence of scores is beyond the upper quartile
_REACH = 3.5


@dataclass(frozen=True)
class RowScores:
    """Scores of some rows, their weights, and the scores that say how far they are."""

    scores: np.ndarray  # (n,)
    weight: np.ndarray  # (n,)
    judged: np.ndarray  # (n,)

    def select_usual(self):
        """Return those of rows that are not far below the others."""
        usual = find_usual(self.judged, self.weight)
        return RowScores(self.scores[usual], self.weight[usual], self.judged[usual])


def collect_scores(data, score, scores, weight):
    """Return scores of held-out rows and their weights, or None for both.

    They are the scores of the validation set; else those of every fold by its own
    model, and of the trimmed rows. There are none where these are too few. `score` maps
    rows to scores, by a given model or the one that is kept; `scores` and `weight` are
    those of all rows of positive weight, by the latter.
    """
    if data.is_chunk:
        return None, None
    if data.validation is not None:
        array = data.validation.array
        if len(array) < LEAST_ROWS:
            return None, None
        return score(array), np.ones(len(array))
    if not data.fold_models:
        return None, None
    kept = data.kept[data.counted]
    array, shares = data.get_kept()[0], weight[kept]
    valid_rows = np.concatenate([rows for _, rows in data.fold_models])
    found = [score(select_rows(array, r), model) for model, r in data.fold_models]
    # no model was trained on the trimmed rows; they count as the others do
    share = shares[valid_rows].sum() / shares.sum()
    return (
        np.concatenate([*found, scores[~kept]]),
        np.concatenate([shares[valid_rows], share * weight[~kept]]),
    )


def measure(data, score, array, weight):
    """Return `RowScores` of rows of a fit by a function, and held-out ones or None."""
    scores = score(array)
    held_out, held_out_weight = collect_scores(data, score, scores, weight)
    if held_out is not None:
        held_out = RowScores(held_out, held_out_weight, held_out)
    return RowScores(scores, weight, scores), held_out


def calibrate(found, held_out, contamination):
    """Return the threshold on `RowScores`, and the held-out ones that it goes by."""
    if contamination != "auto":
        return find_threshold(found, held_out, contamination), held_out
    # outliers are not among the rows that a share is of
    found, held_out = found.select_usual(), held_out and held_out.select_usual()
    threshold = find_threshold(found, held_out, _AUTO_SHARE)
    if threshold == -np.inf:
        # too few held-out rows for one in a hundred
        scores, weight = held_out.scores, held_out.weight
        threshold = find_rank(scores, weight, 1 / len(scores))
    return threshold, held_out


def find_usual(scores, weight):
    """Return which rows do not score far below the others, ``(n,)`` bool.

    They are those within a fence Q3 (Q3 / Q2)^3.5 of the distances from the best score:
    3.5 times as far beyond the upper quartile as that is beyond the median, in
    logarithms, so that the fence grows with the weight of the tail.
    """
    distances = scores.max() - scores
    middle, high = np.quantile(
        distances, [0.5, 0.75], weights=weight, method="inverted_cdf"
    )
    if high - middle <= 1e-9 * high or middle == 0:
        return np.ones(len(scores), dtype=bool)
    return distances <= high * (high / middle) ** _REACH


def find_threshold(found, held_out, share):
    """Return the threshold of a share of outliers, and check it on held-out scores.

    Both are `RowScores`, the second one or None. It is the quantile of the scores of
    the fit. Where the share of held-out scores below it is off by more than two
    standard errors, it is a rank among them instead.
    """
    threshold = find_share(found.scores, found.weight, share)
    if held_out is None:
        return threshold
    scores, weight = held_out.scores, held_out.weight
    total = weight.sum()
    difference = weight[scores < threshold].sum() / total - share
    n_rows = total**2 / (weight**2).sum()
    if abs(difference) > 2 * np.sqrt(share * (1 - share) / n_rows):
        return find_rank(scores, weight, share)
    return threshold
