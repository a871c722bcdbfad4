"""Columns of ordered categories."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.polynomial.hermite_e import hermegauss
from torch.nn.functional import softplus
from typing_extensions import override

from .._distributions._levels import OrdinalColumns
from ._levels import LevelLikelihood, LevelLink
from ._link import compute_logistic_slope, stack_offsets

# thresholds never meet: a category between two that did would be impossible
_LEAST_GAP = 1e-4


class OrdinalLink(LevelLink):
    """Factor analysis of the codes, read as a cumulative logistic model.

    Offsets are the location, the lowest threshold, and the raw gaps between thresholds.
    These are such that the mean of P(x <= k | z) over z is the column's frequency.
    """

    @override
    def convert(self, mean: Any, scale: Any, loadings: Any, noise: Any) -> Any:
        slope = compute_logistic_slope(loadings)
        spread = np.sqrt((slope**2).sum(axis=0))
        below = np.clip(self.shares.cumsum(axis=0)[:-1], 1e-9, 1 - 1e-9)
        thresholds = _solve_thresholds(below, spread)
        gaps = np.maximum(np.diff(thresholds, axis=0), 2 * _LEAST_GAP) - _LEAST_GAP
        # the inverse of softplus
        raw_gaps = gaps + np.log(-np.expm1(-gaps))
        return stack_offsets(slope, np.zeros(len(mean)), thresholds[0], *raw_gaps)


class Ordinal(LevelLikelihood):
    r"""Columns of ordered integer codes, such as grades.

    .. math:: P(x_j \le k | z) = \sigma(t_{jk} - \eta_j(z))

    A logistic variable around the decoder's location η falls between thresholds
    t_{j0} < t_{j1} < ..., which are learned for every column and do not depend on z. A
    location that is higher by a multiplies the odds of exceeding *any* k by exp(a). The
    mean is the expected code.

    Parameters
    ----------
    n_categories : int, sequence of int or None, default=None
        Numbers of categories, one for all columns or one for each: the codes are 0, 1,
        ... up to one less. None are the codes that `fit` sees; 1, 2 and 5 are three.

    See Also
    --------
    Categorical : Where the order of the codes means nothing.

    References
    ----------
    McCullagh (1980), "Regression models for ordinal data", section 2, the
    proportional-odds model.
    """

    _link_type = OrdinalLink

    @override
    def free_shape(self, n_features: int) -> tuple[int, ...]:
        return (self.n_levels - 1, n_features)

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        loc = offset[..., 0, :] + raw[..., 0, :]
        first = offset[..., 1, :] + free[..., 0, :]
        gaps = softplus(offset[..., 2:, :] + free[..., 1:, :]) + _LEAST_GAP
        highest = self.get_highest(raw)
        return OrdinalColumns(loc, first, gaps, highest, self._get_steps(raw))

    def _get_steps(self, like):
        """Return the distances of codes, ``(n_levels - 1, n_features)``, or None.

        They are needed where those of a column differ.
        """
        steps = [np.diff(codes) for codes in self.levels or ()]
        if all((column == column[:1]).all() for column in steps):
            return None
        padded = np.ones((self.n_levels - 1, len(steps)))
        for column, found in enumerate(steps):
            padded[: len(found), column] = found
        return torch.as_tensor(padded, dtype=like.dtype, device=like.device)


def _solve_thresholds(below, spread):
    """Return t with E σ(t - spread z) = below for z ~ N(0, 1), by Newton's method."""
    nodes, weights = hermegauss(40)
    weights = weights / weights.sum()
    # E σ(t - s z) is about σ(t / sqrt(1 + π s²/8)) (MacKay 1992, eq. 10)
    logit = np.log(below / (1 - below))
    t = logit * np.sqrt(1 + np.pi / 8 * spread**2)
    shift = nodes[:, None, None] * spread
    for _ in range(8):
        p = 1 / (1 + np.exp(np.clip(shift - t, -700, 700)))
        found = np.tensordot(weights, p, axes=1)
        slope = np.tensordot(weights, p * (1 - p), axes=1)
        # on the scale of the logits, where the curve is nearly straight
        found = np.clip(found, 1e-300, 1 - 1e-16)
        miss = np.log(found / (1 - found)) - logit
        t = t - np.clip(miss * found * (1 - found) / np.maximum(slope, 1e-300), -2, 2)
    return t
