"""Poisson counts."""

from __future__ import annotations

import torch

from .._distributions._counts import LogPoisson
from ._counts import CountLikelihood


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

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        return LogPoisson(self.bend(offset + raw[..., 0, :]))
