"""Thresholds and p-values: where a score stands among those of weighted rows."""

import numpy as np

# scores that differ by so little, relatively, are the same
_ROUNDING = 1e-9


def _group(scores, weight):
    """Return increasing scores, those that are equal but for rounding as one."""
    order = np.argsort(scores, kind="stable")
    scores = scores[order]
    with np.errstate(invalid="ignore"):
        is_new = np.diff(scores) > _ROUNDING * np.maximum(1.0, np.abs(scores[1:]))
    begins = np.flatnonzero(np.r_[True, is_new])
    return scores[begins], np.add.reduceat(weight[order], begins)


def _find_below(scores, rank):
    """Return a threshold that so many of increasing scores are below.

    It is half way to the next, so that no rounding takes a score to the other side.
    """
    upper = scores[rank]
    lower = scores[rank - 1] if rank else -np.inf
    margin = _ROUNDING * max(1.0, abs(upper))
    return float((lower + upper) / 2 if np.isfinite(lower) else upper - margin)


def find_share(scores, weight, share):
    """Return a threshold that a share of the weight lies below, as nearly as can be."""
    scores, weight = _group(scores, weight)
    below = np.cumsum(weight) - weight
    return _find_below(scores, np.argmin(np.abs(below - share * weight.sum())))


def find_rank(scores, weight, share):
    """Return a threshold below which a new score lies with probability <= share.

    Just below the k-th smallest of n scores, k = floor(share (n + 1)): if the new score
    is one more of the same kind, it is below that with probability k / (n + 1). Minus
    infinity where k is 0.
    """
    total = share * (weight.sum() + weight.mean())
    scores, weight = _group(scores, weight)
    rank = np.searchsorted(np.cumsum(weight), total + 1e-9, side="right")
    return _find_below(scores, rank - 1) if rank else -np.inf


def compute_p_values(scores, reference, weight):
    """Return the share of the weight of a reference that scores as low, or lower.

    The new row counts as one more of the reference, of the mean weight.
    """
    order = np.argsort(reference)
    reached = np.concatenate([[0.0], np.cumsum(weight[order])])
    rank = np.searchsorted(reference[order], scores, side="right")
    return (reached[rank] + weight.mean()) / (reached[-1] + weight.mean())
