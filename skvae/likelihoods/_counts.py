"""What likelihoods of counts share: their link, and how large rates may become."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import relu
from typing_extensions import override

from .._closed_form._moments import compute_largest, compute_mean
from .._columns._support import COUNTS
from ._base import Likelihood
from ._link import Link

if TYPE_CHECKING:
    from .._columns._support import Support

# log rate from which rates bend if no rows have been seen
_DEFAULT_CEILING = 20.0


class CountLink(Link):
    """The linear model of log(1 + x) as a model of the log rate.

    The mean of the rate over z is that of the column. ``ratio`` is E[x (x - 1)] /
    mean², which for Poisson counts with a random rate is E[rate²] / E[rate]²; ``slope``
    is by how much the mean of log(1 + x) rises with the log rate; ``ceiling`` is the
    logarithm of twice the largest count and 2.
    """

    def __init__(
        self,
        mean: Any = None,
        ratio: Any = None,
        slope: Any = None,
        ceiling: float = _DEFAULT_CEILING,
    ) -> None:
        self.mean, self.ratio, self.slope = mean, ratio, slope
        self.ceiling = ceiling

    @override
    def represent(self, x: Any) -> Any:
        return torch.log1p(x)

    @override
    def convert(self, mean: Any, scale: Any, loadings: Any, noise: Any) -> Any:
        # By Stein's lemma cov(f(x), z) is E[df/dz], here the slope of the log rate
        # times how the mean of log(1 + x) rises with it. The variance of the log rate
        # is at most what overdispersion allows, E[rate²] / E[rate]² being
        # exp(Var log rate).
        slope = scale * loadings / self.slope
        variance = (slope**2).sum(axis=0)
        limit = np.log(self.ratio)
        slope = slope * np.sqrt(np.minimum(1, limit / np.maximum(variance, 1e-12)))
        return slope, np.log(self.mean) - 0.5 * (slope**2).sum(axis=0)

    @override
    def refit(self, x: Any, weight: Any) -> Link:
        # weights may be (n, n_features), where cells count for more or less
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
        # counts that never occurred: once in twice as many rows
        mean = np.where(mean > 0, mean, 0.5 / (len(x) + 1))
        ratio, slope = np.maximum(square / mean**2, 1.0), np.maximum(slope, 1e-3)
        ceiling = np.log(2 * compute_largest(x) + 2)
        return type(self)(mean, ratio, slope, ceiling)


class CountLikelihood(Likelihood):
    """Base of the likelihoods of counts.

    Encoder and linear model see log(1 + x).

    See Also
    --------
    ZeroInflated : Wraps a likelihood of this kind.
    """

    _unfitted_link = CountLink()
    _link: Any

    @property
    def support(self) -> Support:
        """The counts that are accepted, a `Support`."""
        return COUNTS

    @property
    @override
    def link(self) -> Any:
        return getattr(self, "_link", self._unfitted_link)

    @override
    def adapt(self, x: Any, weight: Any = None) -> None:
        self._link = self.link.refit(x, weight)

    @override
    def select(self, column: int) -> Likelihood:
        part = copy.copy(self)
        if hasattr(self, "_link"):
            part._link = copy.copy(self._link)
            part._link.ceiling = self._link.ceiling[[column]]
        return part

    @override
    def conclude(self, summary: torch.Tensor) -> torch.Tensor:
        return summary.round()

    def bend(self, log_rate):
        """Return log rates that rise logarithmically, the rates linearly, at the end.

        exp turns an extrapolation that is off by 10 into a rate that is off by a factor
        of 22,000. The gradient is nowhere zero.
        """
        ceiling = torch.as_tensor(
            self.link.ceiling, dtype=log_rate.dtype, device=log_rate.device
        )
        lower = torch.minimum(log_rate, ceiling)
        return lower + torch.log1p(relu(log_rate - ceiling))
