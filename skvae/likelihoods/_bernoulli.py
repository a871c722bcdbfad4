"""Binary columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.distributions import Bernoulli as _BernoulliDistribution
from typing_extensions import override

from .._columns._support import BINARY
from ._base import Likelihood
from ._link import Link, compute_logistic_slope


class BernoulliLink(Link):
    """Factor analysis of zeros and ones, read as a logistic model."""

    # rare ones are not blown up: an image's margins would drown the rest
    least_scale = 0.5

    @override
    def convert(self, mean: Any, scale: Any, loadings: Any, noise: Any) -> Any:
        mean = np.clip(mean, 1e-3, 1 - 1e-3)
        slope = compute_logistic_slope(loadings)
        # E σ(b + s·z) is about σ(b / sqrt(1 + π s²/8)) (MacKay 1992, eq. 10)
        widening = np.sqrt(1 + np.pi / 8 * (slope**2).sum(axis=0))
        return slope, np.log(mean / (1 - mean)) * widening


class Bernoulli(Likelihood):
    r"""Binary columns, 0 or 1.

    .. math:: p(x|z) = \prod_j \pi_j(z)^{x_j} (1 - \pi_j(z))^{1 - x_j}

    References
    ----------
    Kingma & Welling (2014), "Auto-encoding variational Bayes", appendix C.1.
    """

    link = BernoulliLink()
    support = BINARY

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        return _BernoulliDistribution(
            logits=offset + raw[..., 0, :], validate_args=False
        )

    @override
    def conclude(self, summary: torch.Tensor) -> torch.Tensor:
        # the likelier value
        return (summary >= 0.5).to(summary)
