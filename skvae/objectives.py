"""Training losses: functions of (VAEOutput, x), to be minimised.

What they are made of stands in `_evidence.py`. `score` is the ELBO whatever was
trained.
"""

import torch
from sklearn.base import BaseEstimator

from . import _evidence
from ._checks import check_count


def _mean(values, weight):
    """Return the weighted mean over rows of (..., n)."""
    if weight is None:
        return values.mean()
    return (values * weight).sum() / weight.sum()


class Objective(BaseEstimator):
    """Base of all objectives.

    Calling one with ``(output, x, weight, beta)`` returns ``(loss, terms)``: a scalar
    to minimise, and a dict of named means in nats per row.
    """

    n_draws = 1
    # whether steps may do without autograd: `value` and `differentiate` are defined
    is_closed = False
    # whether the loss is β KL - reconstruction, and nothing has to be defined for it
    is_linear = False
    # whether the KL is taken as `VAEOutput.kl` has it, and not as the log ratio
    uses_kl = True

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""
        check_count(self, "n_draws", 1)

    def value(self, log_likelihood, kl, share, beta):
        """Return the loss, a tensor ().

        Parameters
        ----------
        log_likelihood : Tensor (..., n_draws, n)
        kl : Tensor (..., n_draws, n)
        share : Tensor (..., n)
            Weights of the rows, summing to one.
        beta : float
        """
        raise NotImplementedError

    def differentiate(self, log_likelihood, kl, share, beta):
        """Return the loss' derivatives by log_likelihood and kl, in their shapes."""
        raise NotImplementedError


class ELBO(Objective):
    r"""The evidence lower bound.

    .. math:: -E_{q(z|x)}[\log p(x|z)] + \beta\, KL(q(z|x) \| p(z))

    Parameters
    ----------
    n_draws : int, default=1
        Draws of z per row and step.

    References
    ----------
    Kingma & Welling (2014), "Auto-encoding variational Bayes", eq. 3; Higgins et al.
    (2017), "beta-VAE", eq. 4.
    """

    is_closed = True
    is_linear = True

    def __init__(self, n_draws=1):
        self.n_draws = n_draws

    def __call__(self, output, x, weight=None, beta=1.0):
        """Return the loss and its terms."""
        reconstruction = _mean(output.log_likelihood(x).mean(dim=0), weight)
        kl = _mean(output.kl().mean(dim=0), weight)
        loss = beta * kl - reconstruction
        return loss, {"reconstruction": reconstruction.detach(), "kl": kl.detach()}


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
        bound = _mean(_evidence.log_evidence(log_weights), weight)
        terms = {
            "reconstruction": _mean(log_likelihood.mean(dim=0), weight).detach(),
            "kl": _mean(log_ratio.mean(dim=0), weight).detach(),
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


OBJECTIVES = {"elbo": ELBO, "iwae": IWAE}
