"""What likelihoods of counts share: what the linear start sees, and what it becomes."""

import numpy as np
import torch
from torch.nn.functional import relu

from .._closed_form._moments import compute_mean
from .._columns._support import COUNTS
from ._base import Likelihood

# log rates beyond which counts have no meaning, where nothing has been learned
_DEFAULT_CEILING = 20.0


def bend(log_rate, ceiling):
    """Return log rates that rise logarithmically, the rates linearly, from a ceiling.

    exp turns an extrapolation that is off by 10 into a rate that is off by a factor of
    22,000. The gradient is nowhere zero.
    """
    lower = torch.minimum(log_rate, ceiling)
    return lower + torch.log1p(relu(log_rate - ceiling))


class CountLikelihood(Likelihood):
    """Base of the likelihoods of counts.

    Encoder and linear start see log(1 + x). By `adapt` every column has

    - ``_mean``, the mean, and ``_ratio``, E[x (x - 1)] / mean², which for Poisson
      counts with a random rate is E[rate²] / E[rate]²;
    - ``_slope``, by how much the mean of log(1 + x) rises with the log rate;
    - ``_ceiling``, logarithm of twice the largest count and 2.

    See Also
    --------
    ZeroInflated : Wraps a likelihood of this kind.
    """

    is_scaled = False
    support = COUNTS

    def conclude(self, summary):
        """Return the mean of every column, rounded to a count.

        Parameters
        ----------
        summary : Tensor (..., n_features)
        """
        return summary.round()

    def represent(self, x):
        """Return log(1 + x)."""
        return torch.log1p(x)

    def adapt(self, x, weight=None):
        """Learn moments of the columns.

        Parameters
        ----------
        x : ndarray (n, n_features)
        weight : ndarray (n,) or None
            Or (n, n_features), where cells count for more or less.
        """

        def compute_pairs(x):
            x = x.astype(np.float64)
            return x * (x - 1)

        def compute_rise(x):
            # dE[f(x)]/dlog λ = λ E[f(x + 1) - f(x)] = E[x (f(x) - f(x - 1))] (Chen
            # 1975) for every distribution of λ: for log(1 + x) it needs no model
            x = x.astype(np.float64)
            return np.where(x > 0, x * np.log1p(1 / np.maximum(x, 1)), 0.0)

        mean = compute_mean(x, weight)
        square = compute_mean(x, weight, compute_pairs)
        slope = compute_mean(x, weight, compute_rise)
        # of what never occurred: as often as once in twice as many rows
        self._mean = np.where(mean > 0, mean, 0.5 / (len(x) + 1))
        self._ratio = np.maximum(square / self._mean**2, 1.0)
        self._slope = np.maximum(slope, 1e-3)
        self._ceiling = np.log(2 * x.max(axis=0).astype(np.float64) + 2)

    def link_log_rate(self, scale, loadings):
        """Return slopes and biases of the log rate, as `link` does.

        By Stein's lemma cov(f(x), z) is E[df/dz], here the slope of the log rate times
        how the mean of log(1 + x) rises with it. The variance of the log rate is no
        more than overdispersion leaves room for, E[rate²] / E[rate]² being
        exp(Var log rate).
        """
        slope = scale * loadings / self._slope
        variance = (slope**2).sum(axis=0)
        limit = np.log(self._ratio)
        slope = slope * np.sqrt(np.minimum(1, limit / np.maximum(variance, 1e-12)))
        return slope, np.log(self._mean) - 0.5 * (slope**2).sum(axis=0)

    def get_ceiling(self, like):
        """Return the log rates, ``(n_features,)`` or (), from which rates bend."""
        ceiling = getattr(self, "_ceiling", _DEFAULT_CEILING)
        return torch.as_tensor(ceiling, dtype=like.dtype, device=like.device)
