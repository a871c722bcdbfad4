"""Thresholds and p-values from the scores of weighted rows."""

import numpy as np

# relative difference below which scores are equal
_ROUNDING = 1e-9


def _group(scores, weight):
    """Return the distinct scores in increasing order, and their weights."""
    order = np.argsort(scores, kind="stable")
    scores = scores[order]
    with np.errstate(invalid="ignore"):
        is_new = np.diff(scores) > _ROUNDING * np.maximum(1.0, np.abs(scores[1:]))
    begins = np.flatnonzero(np.r_[True, is_new])
    return scores[begins], np.add.reduceat(weight[order], begins)


def _find_below(scores, rank):
    """Return a threshold with `rank` of the increasing scores below it.

    It is half way between two scores, so that rounding moves no score across it.
    """
    upper = scores[rank]
    lower = scores[rank - 1] if rank else -np.inf
    margin = _ROUNDING * max(1.0, abs(upper))
    return float((lower + upper) / 2 if np.isfinite(lower) else upper - margin)


def find_share(scores, weight, share):
    """Return a threshold with a share of the weight below it, as near as possible."""
    scores, weight = _group(scores, weight)
    below = np.cumsum(weight) - weight
    return _find_below(scores, np.argmin(np.abs(below - share * weight.sum())))


def find_rank(scores, weight, share):
    """Return a threshold below which a new score lies with probability <= share.

    It is just below the k-th smallest of n scores, k = floor(share (n + 1)): a new
    score from the same distribution is below it with probability k / (n + 1), or less
    where scores are equal. It is minus infinity where k is 0.
    """
    total = share * (weight.sum() + weight.mean()) + 1e-9
    if total < weight.mean():
        return -np.inf
    scores, weight = _group(scores, weight)
    rank = np.searchsorted(np.cumsum(weight), total, side="right")
    # the smallest may be equal scores of more weight, with k among them
    return _find_below(scores, max(rank - 1, 0))


def compute_p_values(scores, reference, weight):
    """Return the share of the reference's weight with scores as low, or lower.

    The new row counts as one more reference row, of the mean weight.
    """
    order = np.argsort(reference)
    reached = np.concatenate([[0.0], np.cumsum(weight[order])])
    rank = np.searchsorted(reference[order], scores, side="right")
    return (reached[rank] + weight.mean()) / (reached[-1] + weight.mean())
