"""The ELBO, the log-evidence and their terms: every formula once.

With draws z ~ q(z|x) and w = p(x|z) p(z) / q(z|x):

    log p(x) = ELBO + KL(q(z|x) || p(z|x)),
    ELBO = E[log w] = E[log p(x|z)] - KL(q(z|x) || p(z)) <= E[log mean w] <= log p(x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.distributions import Distribution, Independent, kl_divergence

from .._distributions._base import detach
from .._utils._device import isolated
from .._utils._missing import NEUTRAL, find_missing

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True)
class VAEOutput:
    """Result of a pass of a batch through the module.

    Attributes
    ----------
    posterior, prior : Distribution
        q(z|x), batch shape (..., n), and p(z).
    likelihood : Distribution
        p(x|z), (n_draws, ..., n, n_features). Either columns are independent, and
        ``log_prob`` has a value for each; or a row is one event, and ``log_prob`` and
        ``log_prob_by_column`` take a mask of the missing cells, if there are any;
        ``complete`` fills these.
    z : Tensor (n_draws, ..., n, n_components)
    log_share : Tensor (n_draws, ..., n) or None
        Log-weights of draws in averages, if z takes all its values; else None.
    unit : float
        Unit of z: the standard deviation of the prior before training.
    column_weight : Tensor (..., n_features) or None
        Weights of columns in training, None for equal ones.
    raw : Tensor (..., n, *raw_shape) or None
        The encoder's raw outputs, of which the posterior is made.
    infer : callable or None
        ``infer(raw)`` returns the output for other raw outputs, with new draws.
    decode : callable or None
        ``decode(z)`` returns p(x|z) for any z.
    """

    posterior: Distribution
    prior: Distribution
    likelihood: Distribution
    z: torch.Tensor
    log_share: torch.Tensor | None = None
    unit: float = 1.0
    column_weight: torch.Tensor | None = None
    raw: torch.Tensor | None = None
    infer: Callable[[torch.Tensor], VAEOutput] | None = None
    decode: Callable[[torch.Tensor], Distribution] | None = None

    def average(self, values):
        """Return the mean over draws, (n_draws, ..., n) to ``(..., n)``."""
        return average(values, self.log_share)

    def elbo(self, x):
        """Return the evidence lower bound, ``(..., n)``."""
        return self.average(self.log_weights(x))

    def log_evidence(self, x):
        """Return `log_evidence` of a row, ``(..., n)``; exact if z takes all values."""
        return log_evidence(self.log_weights(x), self.log_share)

    def log_evidence_and_elbo(self, x, beta=1.0):
        """Return the log-evidence as a function of p, with the ELBO's gradient by q.

        For z that takes all its values. log p(x) does not depend on q, and would leave
        the encoder untrained, as more and more draws do, whose gradient vanishes
        (Rainforth et al. 2018, "Tighter variational bounds are not necessarily better",
        theorem 1). With the gradient of the ELBO q still approaches p(z|x). ``beta`` is
        the weight of log q(z|x) - log p(z).
        """
        log_likelihood, log_prior = self.log_likelihood(x), self.prior.log_prob(self.z)
        log_q = self.posterior.log_prob(self.z)
        log_ratio = log_q.detach() - log_prior
        bound = log_likelihood - beta * log_ratio + self.log_share.detach()
        by_q = log_likelihood.detach() - beta * (log_q - log_prior.detach())
        elbo = self.average(by_q)
        return torch.logsumexp(bound, dim=0) + elbo - elbo.detach()

    def log_likelihood(self, x):
        """Return log p(x|z) of the observed cells, ``(n_draws, ..., n)``."""
        if self.likelihood.event_shape:
            return self.likelihood.log_prob(*_fill_missing(x))
        by_column = self.log_likelihood_by_column(x)
        if self.column_weight is not None:
            by_column = by_column * self.column_weight
        return by_column.sum(dim=-1)

    def log_likelihood_by_column(self, x):
        """Return log p(x|z) of every column, ``(n_draws, ..., n, n_features)``.

        It is 0 in missing cells. If columns depend on each other given z, each value
        is conditional on the columns before it.
        """
        x, *missing = _fill_missing(x)
        if self.likelihood.event_shape:
            return self.likelihood.log_prob_by_column(x, *missing)
        log_prob = self.likelihood.log_prob(x)
        return log_prob.masked_fill(*missing, 0.0) if missing else log_prob

    def complete(self, x, mean=False):
        """Return the cells of rows, and log p(x|z) of the observed ones.

        Cells ``(n_draws, ..., n, n_features)`` are None where columns are independent
        given z. Missing ones are such that averages, over draws weighed by p(x|z), are
        averages given the observed cells: draws, or with ``mean`` their means.
        """
        likelihood = self.likelihood
        if not likelihood.event_shape:
            return None, self.log_likelihood(x)
        x, *missing = _fill_missing(x)
        if not missing:
            log_likelihood = likelihood.log_prob(x)
            return x.expand(*log_likelihood.shape, -1), log_likelihood
        mean = mean and likelihood.completes_exactly
        return likelihood.complete(x, *missing, mean=mean)

    def log_ratio(self, drops_score=False):
        """Return log q(z|x) - log p(z), ``(n_draws, ..., n)``.

        ``drops_score`` leaves out the score function of q in the gradient. Its mean is
        zero, and without it the gradient has no noise if q is exact (Roeder et al.
        2017, "Sticking the landing", eq. 8).
        """
        posterior = detach(self.posterior) if drops_score else self.posterior
        return posterior.log_prob(self.z) - self.prior.log_prob(self.z)

    def kl(self):
        """Return KL(q(z|x) || p(z)), ``(1, ..., n)``.

        Without a closed form it is `log_ratio` of every draw, ``(n_draws, ..., n)``.
        """
        try:
            return kl_divergence(self.posterior, self.prior).unsqueeze(0)
        except NotImplementedError:
            return self.log_ratio(drops_score=True)

    def kl_per_component(self):
        """Return the exact KL of every component, ``(1, ..., n, n_components)``.

        None if there is no closed form, or if the KL is not the sum over components.
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

        z (..., n, n_components) is any point, also the draws of other rows. Dependent
        components have their marginals, layers are conditional on the layer before, and
        the categories of a variable are one component. Without densities of components
        TypeError is raised.
        """
        components = _get_components(self.posterior)
        if components is not None:
            return components.log_prob(z)
        if not hasattr(self.posterior, "log_prob_by_component"):
            raise TypeError(
                f"The posterior is a {type(self.posterior).__name__}, whose components "
                "have no densities of their own; use a latent that has them, such as "
                "latent='gaussian'."
            )
        return self.posterior.log_prob_by_component(z)

    def log_weights(self, x):
        """Return log p(x|z) + log p(z) - log q(z|x), ``(n_draws, ..., n)``."""
        return self.log_likelihood(x) - self.log_ratio()


def _get_components(distribution):
    """Return the distribution of independent components, or None."""
    is_product = isinstance(distribution, Independent)
    if not is_product or distribution.reinterpreted_batch_ndims != 1:
        return None
    return distribution.base_dist


def _fill_missing(x):
    """Return x with its missing cells filled, and where they are if there are any."""
    missing = find_missing(x)
    return (x,) if missing is None else (torch.where(missing, NEUTRAL, x), missing)


def average(values, log_share=None):
    """Return the mean over draws (dim 0), weighted by exp(log_share) if not one."""
    if log_share is None or len(values) == 1:
        return values.mean(dim=0)
    share = log_share.exp()
    # a value of minus infinity with probability zero adds nothing
    return (share * torch.where(share > 0, values, 0.0)).sum(dim=0)


def log_evidence(log_weights, log_share=None, dim=0):
    """Return log (1/K) Σ w, Burda et al. (2016), eq. 8, over the draws."""
    if log_share is None:
        return torch.logsumexp(log_weights, dim=dim) - math.log(log_weights.shape[dim])
    return torch.logsumexp(log_weights + log_share, dim=dim)


def compute_error(values, noise):
    """Return the standard error of the mean over draws (dim 0).

    For values at draws of `make_noise`, whose matched moments have no error. Values of
    antithetic draws are averaged, and if there are twice as many draws as moments, the
    part that is linear in the matched moments is removed by regression, as with control
    variates; with fewer draws the error is too large rather than too small.
    """
    n_draws, n_components = noise.shape
    noise = noise.to(values)
    if n_draws % 2 == 0 and n_draws > 2:
        values = 0.5 * (values[: n_draws // 2] + values[n_draws // 2 :])
        noise = noise[: n_draws // 2]
        moments = []
    else:
        moments = [noise]
    if n_draws >= 2 * n_components:
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
    # residuals of influential draws are too small (MacKinnon & White 1985, HC2)
    left = (1 - basis.square().sum(dim=1, keepdim=True)).clamp_min(1e-9)
    return (residual.square() / left).sum(dim=0).sqrt() / n


def compute_log_error(log_weights, noise):
    """Return the standard error of `log_evidence`, by the delta method.

    To first order it is the error of the mean weight, divided by that mean.
    """
    n_draws = len(log_weights)
    return compute_error(n_draws * torch.softmax(log_weights, dim=0), noise)


@isolated()
def make_noise(n_draws, n_components, generator):
    """Return the noise that all rows share, ``(n_draws, n_components)`` float64.

    Two or more draws are moment-matched: they have mean 0 and unit variances, unit
    covariance if ``n_draws >= 2 * n_components``, and are antithetic if n_draws is
    even. Averages of quadratic functions, and so the scores of a linear model and the
    KL of Gaussians, are then exact.
    """
    noise = torch.as_tensor(generator.standard_normal((n_draws, n_components)))
    if n_draws == 1:
        return noise
    half = n_draws // 2
    if n_draws % 2 == 0:
        noise[half:] = -noise[:half]
    noise = noise - noise.mean(dim=0)
    covariance = noise.mT @ noise / n_draws
    if n_draws >= 2 * n_components:
        root = torch.linalg.cholesky(covariance)
        return torch.linalg.solve_triangular(root, noise.mT, upper=False).mT
    return noise / covariance.diagonal().sqrt()
