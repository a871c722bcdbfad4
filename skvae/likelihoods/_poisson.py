"""Poisson counts."""

from .._distributions import LogPoisson, log_poisson
from ._counts import CountLikelihood, bend


class Poisson(CountLikelihood):
    r"""Counts whose variance is their mean.

    .. math:: p(x|z) = \prod_j \frac{\lambda_j(z)^{x_j} e^{-\lambda_j(z)}}{x_j!}

    The decoder gives the logarithm of the rate. From twice the largest count of the
    training rows on, the rate rises linearly with it, not exponentially.

    See Also
    --------
    NegativeBinomial : Where counts vary more than that.

    References
    ----------
    McCullagh & Nelder (1989), "Generalized linear models", chapter 6.

    Collins, Dasgupta & Schapire (2002), "A generalization of principal components
    analysis to the exponential family": the linear model.
    """

    def __call__(self, raw, free, start, log_range):
        """Return p(x|z)."""
        return LogPoisson(bend(start + raw[..., 0, :], self.get_ceiling(raw)))

    def link(self, mean, scale, loadings, noise):
        """Return the linear model of log(1 + x) as a model of the log rate.

        The mean of the rate over z is that of the column.
        """
        return self.link_log_rate(scale, loadings)


def _write_log_prob(x, log_rate):
    """Put log p in the place of the log rate."""
    log_rate.copy_(log_poisson(x, log_rate))
