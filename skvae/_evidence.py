"""The bound and what it is made of: the one place where its formulas stand.

With draws z ~ q(z|x) and w = p(x|z) p(z) / q(z|x):

    log p(x) = ELBO + KL(q(z|x) || p(z|x)),
    ELBO = E[log w] = E[log p(x|z)] - KL(q(z|x) || p(z)) <= E[log mean w] <= log p(x).
"""

import math
from dataclasses import dataclass

import torch
from torch.distributions import Distribution, Independent, kl_divergence


@dataclass(slots=True)
class VAEOutput:
    """What one pass through the module says of a batch.

    Attributes
    ----------
    posterior : Distribution
        q(z|x), batch shape (..., n).
    prior : Distribution
        p(z).
    likelihood : Distribution
        p(x|z), one value a column, (n_draws, ..., n, n_features).
    z : Tensor (n_draws, ..., n, n_components)
    """

    posterior: Distribution
    prior: Distribution
    likelihood: Distribution
    z: torch.Tensor

    def log_likelihood(self, x):
        """Return log p(x|z), ``(n_draws, ..., n)``."""
        return self.likelihood.log_prob(x).sum(dim=-1)

    def log_ratio(self):
        """Return log q(z|x) - log p(z), ``(n_draws, ..., n)``."""
        return self.posterior.log_prob(self.z) - self.prior.log_prob(self.z)

    def kl(self):
        """Return KL(q(z|x) || p(z)): exact, ``(1, ..., n)``, where it is known.

        Otherwise log q(z|x) - log p(z), one value a draw, whose gradient leaves out the
        score function of q: its mean is zero, and without it there is no noise where q
        is exact (Roeder et al. 2017, "Sticking the landing", eq. 8).
        """
        try:
            return kl_divergence(self.posterior, self.prior).unsqueeze(0)
        except NotImplementedError:
            log_posterior = _detach(self.posterior).log_prob(self.z)
            return log_posterior - self.prior.log_prob(self.z)

    def log_weights(self, x):
        """Return log p(x|z) + log p(z) - log q(z|x), ``(n_draws, ..., n)``."""
        return self.log_likelihood(x) - self.log_ratio()


def _detach(distribution):
    """Return an independent distribution with the same, constant parameters."""
    base = distribution.base_dist
    constants = {name: getattr(base, name).detach() for name in base.arg_constraints}
    base = type(base)(**constants, validate_args=False)
    n_dims = distribution.reinterpreted_batch_ndims
    return Independent(base, n_dims, validate_args=False)


def elbo(log_weights):
    """Return the evidence lower bound, the mean over draws (dim 0)."""
    return log_weights.mean(dim=0)


def log_evidence(log_weights, dim=0):
    """Return log (1/K) Σ w, Burda et al. (2016), eq. 8, over the draws."""
    return torch.logsumexp(log_weights, dim=dim) - math.log(log_weights.shape[dim])


def make_noise(n_draws, n_components, generator):
    """Draw the block of noise vectors that all rows share.

    From two draws on they are moment-matched: mean 0 and unit variances, from
    ``n_draws > 2 * n_components`` on with unit covariance, and antithetic where
    n_draws is even. Averages of quadratic functions, and so the scores of a linear
    model and the KL of Gaussians, are then exact.

    Returns
    -------
    Tensor (n_draws, n_components), float64
    """
    noise = torch.as_tensor(generator.standard_normal((n_draws, n_components)))
    if n_draws == 1:
        return noise
    half = n_draws // 2
    if n_draws % 2 == 0:
        noise[half:] = -noise[:half]
    noise = noise - noise.mean(dim=0)
    covariance = noise.mT @ noise / n_draws
    if n_draws > 2 * n_components:
        root = torch.linalg.cholesky(covariance)
        return torch.linalg.solve_triangular(root, noise.mT, upper=False).mT
    return noise / covariance.diagonal().sqrt()
