"""The importance-weighted bound."""

import torch

from .. import _evidence
from ._base import Objective, average_rows


class IWAE(Objective):
    r"""The importance-weighted bound, tighter the more draws.

    .. math:: -E\Big[\log \frac1K \sum_{k=1}^K \frac{p(x, z_k)}{q(z_k|x)}\Big]

    Parameters
    ----------
    n_draws : int, default=5
        Draws of z per row and step, K. One is the ELBO.

    References
    ----------
    Burda, Grosse & Salakhutdinov (2016), "Importance weighted autoencoders", eq. 8.
    """

    is_closed = True
    uses_kl = False

    def __init__(self, n_draws=5):
        self.n_draws = n_draws

    def __call__(self, output, x, weight=None, beta=1.0):
        """Return the loss and its terms."""
        log_likelihood = output.log_likelihood(x)
        log_ratio = output.log_ratio()
        log_weights = log_likelihood - beta * log_ratio
        bound = average_rows(_evidence.log_evidence(log_weights), weight)
        terms = {
            "reconstruction": average_rows(log_likelihood.mean(dim=0), weight).detach(),
            "kl": average_rows(log_ratio.mean(dim=0), weight).detach(),
        }
        return -bound, terms

    def value(self, log_likelihood, kl, share, beta):
        """Return the loss."""
        log_weights = log_likelihood - beta * kl
        return -(share * _evidence.log_evidence(log_weights, dim=-2)).sum()

    def differentiate(self, log_likelihood, kl, share, beta):
        """Return the loss' derivatives by log_likelihood and kl."""
        log_weights = log_likelihood - beta * kl
        by_log_weights = torch.softmax(log_weights, dim=-2) * -share.unsqueeze(-2)
        return by_log_weights, -beta * by_log_weights
