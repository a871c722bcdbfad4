"""The evidence lower bound."""

from ._base import Objective, average_rows


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
        reconstruction = average_rows(output.log_likelihood(x).mean(dim=0), weight)
        kl = average_rows(output.kl().mean(dim=0), weight)
        loss = beta * kl - reconstruction
        return loss, {"reconstruction": reconstruction.detach(), "kl": kl.detach()}
