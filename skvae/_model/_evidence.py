"""The bound and what it is made of: the one place where its formulas stand.

With draws z ~ q(z|x) and w = p(x|z) p(z) / q(z|x):

    log p(x) = ELBO + KL(q(z|x) || p(z|x)),
    ELBO = E[log w] = E[log p(x|z)] - KL(q(z|x) || p(z)) <= E[log mean w] <= log p(x).
"""

import math
from dataclasses import dataclass

import torch
from torch.distributions import Distribution, Independent, kl_divergence

from .._distributions import detach
from .._utils._missing import NEUTRAL, find_missing


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
        p(x|z), (n_draws, ..., n, n_features). Columns are independent, one value each
        from ``log_prob``; or one event, with a ``log_prob_by_column``, and both are
        handed a mask of the missing cells, if there are any.
    z : Tensor (n_draws, ..., n, n_components)
    log_share : Tensor (n_draws, ..., n) or None
        Logarithm of what every draw counts for, where z goes through all its values;
        None for equal shares.
    unit : float
        Of z: the standard deviation of the prior that training starts from.
    """

    posterior: Distribution
    prior: Distribution
    likelihood: Distribution
    z: torch.Tensor
    log_share: torch.Tensor | None = None
    unit: float = 1.0

    def average(self, values):
        """Return the mean over draws, (n_draws, ..., n) to ``(..., n)``.

        A single draw may stand for all: ``(1, ..., n)``.
        """
        return average(values, self.log_share)

    def elbo(self, x):
        """Return the evidence lower bound, ``(..., n)``."""
        return self.average(self.log_weights(x))

    def log_evidence(self, x):
        """Return log (1/K) Σ w, ``(..., n)``, Burda et al. (2016), eq. 8.

        Where z goes through all its values it is log p(x) itself.
        """
        return log_evidence(self.log_weights(x), self.log_share)

    def log_evidence_and_elbo(self, x, beta=1.0):
        """Return the log-evidence as a function of p, with the ELBO's gradient by q.

        For z that goes through all its values. log p(x) does not depend on q, and would
        leave the encoder untrained: as with ever more draws, whose gradient vanishes
        (Rainforth et al. 2018, "Tighter variational bounds are not necessarily better",
        theorem 1). Here q goes on to approach p(z|x).

        Parameters
        ----------
        x : Tensor (..., n, n_features)
        beta : float, default=1.0
            Weight of log q(z|x) - log p(z).
        """
        log_likelihood, log_prior = self.log_likelihood(x), self.prior.log_prob(self.z)
        log_q = self.posterior.log_prob(self.z)
        log_ratio = log_q.detach() - log_prior
        bound = log_likelihood - beta * log_ratio + self.log_share.detach()
        by_q = log_likelihood.detach() - beta * (log_q - log_prior.detach())
        elbo = self.average(by_q)
        return torch.logsumexp(bound, dim=0) + elbo - elbo.detach()

    def log_likelihood(self, x):
        """Return log p(x|z), ``(n_draws, ..., n)``: of the cells that are observed.

        Parameters
        ----------
        x : Tensor (..., n, n_features)
            Missing cells are NaN.
        """
        missing = find_missing(x)
        if self.likelihood.event_shape:
            if missing is None:
                return self.likelihood.log_prob(x)
            x = torch.where(missing, NEUTRAL, x)
            return self.likelihood.log_prob(x, missing)
        return self._log_prob(x, missing).sum(dim=-1)

    def _log_prob(self, x, missing):
        """Return log p(x_j|z) of independent columns; 0 where they are missing."""
        if missing is None:
            return self.likelihood.log_prob(x)
        log_prob = self.likelihood.log_prob(torch.where(missing, NEUTRAL, x))
        return log_prob.masked_fill(missing, 0.0)

    def log_likelihood_by_column(self, x):
        """Return log p(x|z) of every column, ``(n_draws, ..., n, n_features)``.

        It is 0 of missing cells. Where columns depend on one another given z, that of
        each given those before it.
        """
        missing = find_missing(x)
        if not self.likelihood.event_shape:
            return self._log_prob(x, missing)
        if missing is None:
            return self.likelihood.log_prob_by_column(x)
        x = torch.where(missing, NEUTRAL, x)
        return self.likelihood.log_prob_by_column(x, missing)

    def log_ratio(self, is_landing=False):
        """Return log q(z|x) - log p(z), ``(n_draws, ..., n)``.

        Parameters
        ----------
        is_landing : bool, default=False
            Leave the score function of q out of the gradient, whose mean is zero:
            without it there is no noise where q is exact (Roeder et al. 2017, "Sticking
            the landing", eq. 8).
        """
        posterior = detach(self.posterior) if is_landing else self.posterior
        return posterior.log_prob(self.z) - self.prior.log_prob(self.z)

    def kl(self):
        """Return KL(q(z|x) || p(z)): exact, ``(1, ..., n)``, where it is known.

        Otherwise log q(z|x) - log p(z), one value a draw, with the gradient of
        ``log_ratio(is_landing=True)``.
        """
        try:
            return kl_divergence(self.posterior, self.prior).unsqueeze(0)
        except NotImplementedError:
            return self.log_ratio(is_landing=True)

    def kl_per_component(self):
        """Return the exact KL of every component, ``(1, ..., n, n_components)``.

        None where it is not known, or where the whole is not their sum.
        """
        parts = _get_components(self.posterior), _get_components(self.prior)
        if any(part is None for part in parts):
            return None
        try:
            return kl_divergence(*parts).unsqueeze(0)
        except NotImplementedError:
            return None

    def log_posterior_per_component(self, z):
        """Return log q(z_k|x) of every component, ``(..., n, n_components)``.

        Parameters
        ----------
        z : Tensor broadcastable to (..., n, n_components)
            Any point: the draws of other rows too.

        Components that depend on one another have their marginals, layers theirs given
        the layer before, and categories count as one component a variable.

        Raises
        ------
        TypeError
            If the posterior does not say.
        """
        components = _get_components(self.posterior)
        if components is not None:
            return components.log_prob(z)
        if not hasattr(self.posterior, "log_prob_by_component"):
            raise TypeError(
                f"The posterior is a {type(self.posterior).__name__}, whose components "
                "have no densities of their own; what is asked for needs a latent that "
                "has them, such as latent='gaussian'."
            )
        return self.posterior.log_prob_by_component(z)

    def log_weights(self, x):
        """Return log p(x|z) + log p(z) - log q(z|x), ``(n_draws, ..., n)``."""
        return self.log_likelihood(x) - self.log_ratio()


def _get_components(distribution):
    """Return what a distribution over vectors is the product of, or None."""
    is_product = isinstance(distribution, Independent)
    if not is_product or distribution.reinterpreted_batch_ndims != 1:
        return None
    return distribution.base_dist


def average(values, log_share=None):
    """Return the mean over draws (dim 0), each counting for exp(log_share)."""
    if log_share is None or len(values) == 1:
        return values.mean(dim=0)
    share = log_share.exp()
    # minus infinity that never occurs is no term
    return (share * torch.where(share > 0, values, 0.0)).sum(dim=0)


def elbo(log_weights):
    """Return the evidence lower bound, the mean over draws (dim 0)."""
    return average(log_weights)


def log_evidence(log_weights, log_share=None, dim=0):
    """Return log (1/K) Σ w, Burda et al. (2016), eq. 8, over the draws."""
    if log_share is None:
        return torch.logsumexp(log_weights, dim=dim) - math.log(log_weights.shape[dim])
    return torch.logsumexp(log_weights + log_share, dim=dim)


def compute_error(values, noise):
    """Return the standard error of the mean over draws (dim 0).

    For values at a block of `make_noise`: what its moment matching makes exact is no
    error. Values of antithetic draws are averaged, and the part that is linear in the
    matched moments is taken out by regression, as control variates are, if there are
    twice as many draws as moments; with fewer the error is too large rather than small.

    Parameters
    ----------
    values : Tensor (n_draws, n)
        From two draws on.
    noise : Tensor (n_draws, n_components)
    """
    n_draws, n_components = noise.shape
    noise = noise.to(values)
    if n_draws % 2 == 0 and n_draws > 2:
        values = 0.5 * (values[: n_draws // 2] + values[n_draws // 2 :])
        noise = noise[: n_draws // 2]
        moments = []
    else:
        moments = [noise]
    if n_draws > 2 * n_components:
        row, column = torch.triu_indices(n_components, n_components)
        moments.append(noise[:, row] * noise[:, column])
    else:
        moments.append(noise**2)
    moments = torch.cat([torch.ones_like(noise[:, :1]), *moments], dim=1)
    n, rank = moments.shape
    if n < 2 * rank:
        moments = moments[:, :1]
    basis, _ = torch.linalg.qr(moments)
    residual = values - basis @ (basis.mT @ values)
    # a fit is too close to the draws that decide it (MacKinnon & White 1985, HC2)
    free = (1 - basis.square().sum(dim=1, keepdim=True)).clamp_min(1e-9)
    return (residual.square() / free).sum(dim=0).sqrt() / n


def compute_log_error(log_weights, noise):
    """Return the standard error of `log_evidence`: that of a mean, by its logarithm.

    To first order (the delta method) it is the error of the mean weight, divided by
    that mean.
    """
    n_draws = len(log_weights)
    return compute_error(n_draws * torch.softmax(log_weights, dim=0), noise)


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
