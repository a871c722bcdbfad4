"""Columns between 0 and 1, the ends included."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from typing_extensions import override

from .._closed_form._roots import match_normal_moments
from .._columns._support import UNIT_INTERVAL
from .._distributions._continuous_bernoulli import (
    ContinuousBernoulli as _ContinuousBernoulliDistribution,
)
from .._distributions._continuous_bernoulli import continuous_bernoulli_mean
from ._base import Likelihood
from ._link import Link

# of the linear model: logits of z = 0, and how far one standard deviation of z moves
_MAX_BIAS, _MAX_SLOPE = 300.0, 30.0


class ContinuousBernoulliLink(Link):
    """Affine logits with the moments of factor analysis.

    With z ~ N(0, I), a column's mean and its covariances with z are those of the linear
    model, as far as a distribution on [0, 1] can have them. By Stein's lemma Cov(x, z)
    = s E[m'(η)], m being the mean of x given its logit η = b + s·z.
    """

    @override
    def convert(self, mean: Any, scale: Any, loadings: Any, noise: Any) -> Any:
        loadings = loadings * scale
        length = np.sqrt((loadings**2).sum(axis=0))
        bias, slope = match_normal_moments(
            np.clip(mean, 5e-3, 1 - 5e-3), length, _compute_mean, _MAX_BIAS, _MAX_SLOPE
        )
        return loadings * (slope / np.maximum(length, 1e-12)), bias


class ContinuousBernoulli(Likelihood):
    r"""Columns in [0, 1], such as grey values, with one parameter each.

    .. math::
        p(x|z) = \prod_j C(\lambda_j(z))\, \lambda_j(z)^{x_j}
        (1 - \lambda_j(z))^{1 - x_j}, \quad
        C(\lambda) = \frac{2 \operatorname{artanh}(1 - 2 \lambda)}{1 - 2 \lambda}

    The density falls or rises exponentially from one end to the other, in the logit η
    of λ: :math:`\log p = \eta x - \log((e^\eta - 1) / \eta)`. Values at 0 and 1 are
    ordinary. Its spread is given by its mean, 0.29 for a mean of 1/2: columns of
    intermediate values with less noise than that are better off with `Beta` or
    `Gaussian`.

    References
    ----------
    Loaiza-Ganem & Cunningham (2019), "The continuous Bernoulli: fixing a pervasive
    error in variational autoencoders", eqs. 4-8.
    """

    link = ContinuousBernoulliLink()
    support = UNIT_INTERVAL

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        return _ContinuousBernoulliDistribution(offset + raw[..., 0, :])


def _compute_mean(logits):
    return continuous_bernoulli_mean(torch.as_tensor(logits)).numpy()
