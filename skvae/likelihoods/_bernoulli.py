"""Binary columns."""

import numpy as np
import torch
from torch.distributions import Bernoulli as _BernoulliDistribution

from .._columns._support import BINARY
from ._base import Likelihood

# softplus is the identity to double precision from here on
_LINEAR_FROM = 40.0
_sigmoid = torch.ops.aten.sigmoid.out
_softplus = torch.ops.aten.softplus.out


class Bernoulli(Likelihood):
    r"""Binary columns, 0 or 1.

    .. math:: p(x|z) = \prod_j \pi_j(z)^{x_j} (1 - \pi_j(z))^{1 - x_j}

    References
    ----------
    Kingma & Welling (2014), "Auto-encoding variational Bayes", appendix C.1.
    """

    is_scaled = False
    # rare ones are not blown up: an image's margins would drown the rest
    least_scale = 0.5
    support = BINARY

    def __call__(self, raw, free, start, log_range):
        """Return p(x|z)."""
        return _BernoulliDistribution(
            logits=start + raw[..., 0, :], validate_args=False
        )

    def link(self, mean, scale, loadings, noise):
        """Return factor analysis read as a logistic model.

        A loading w of the standardised column is a correlation with a factor. If it
        were that of a normal variable which the column cuts in two, the logistic slope
        would be 1.7 w / sqrt(1 - Σ w²), the classical relation of factor analysis and
        item response theory (Lord & Novick 1968, chapter 16). Zeros and ones correlate
        less: the start is a little short of them.
        """
        mean = np.clip(mean, 1e-3, 1 - 1e-3)
        explained = np.minimum((loadings**2).sum(axis=0), 0.9)
        slope = 1.7 * loadings / np.sqrt(1 - explained)
        # E σ(b + s·z) is about σ(b / sqrt(1 + π s²/8)) (MacKay 1992, eq. 10)
        widening = np.sqrt(1 + np.pi / 8 * (slope**2).sum(axis=0))
        return slope, np.log(mean / (1 - mean)) * widening

    def conclude(self, summary):
        """Return the likelier value of every column, for its probability of 1.

        Parameters
        ----------
        summary : Tensor (..., n_features)
        """
        return (summary >= 0.5).to(summary)
