"""Latents: a family of posteriors q(z|x), a prior p(z), and a point summary.

A latent never sees the data, only the raw outputs of an encoder.
"""

import math
import warnings

import numpy as np
import torch
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import nn
from torch.distributions import Independent, Normal

from ._checks import check_choice, check_count
from .distributions import DiagonalNormalMixture, NormalMixture

# a posterior more than exp(8) times as wide or narrow as its start is a failed one
_MAX_LOG_RATIO = 8.0
# share of the mixture prior that starts as N(0, I)
_STANDARD_SHARE = 0.05
# a component of the mixture prior starts from at least so many rows
_ROWS_PER_COMPONENT = 20


class StandardPrior(nn.Module):
    """N(0, I), without weights."""

    def __init__(self, n_components):
        super().__init__()
        loc = torch.zeros(n_components, dtype=torch.float32)
        self.register_buffer("loc", loc, persistent=False)
        self.register_buffer("scale", torch.ones_like(loc), persistent=False)

    def forward(self):
        """Return p(z)."""
        return Independent(Normal(self.loc, self.scale, validate_args=False), 1)


class MixturePrior(nn.Module):
    """Σ_k w_k N(m_k, diag s_k²) with learned weights, means and scales.

    The first component stays N(0, I), the prior of the linear start, and has all the
    weight until `start` is called; only its weight is learned. It limits what a row can
    lose that lies far from all others.
    """

    def __init__(self, n_components, n_mixture, n_copies=None):
        super().__init__()
        copies = () if n_copies is None else (n_copies, 1)
        logits = torch.full((*copies, n_mixture + 1), -30.0, dtype=torch.float32)
        logits[..., 0] = 0.0
        self.logits = nn.Parameter(logits)
        self.loc = nn.Parameter(
            torch.zeros(*copies, n_mixture, n_components, dtype=torch.float32)
        )
        self.log_scale = nn.Parameter(
            torch.zeros(*copies, n_mixture, n_components, dtype=torch.float32)
        )

    def forward(self):
        """Return p(z)."""
        pad = (0, 0, 1, 0)
        return DiagonalNormalMixture(
            self.logits,
            nn.functional.pad(self.loc, pad),
            nn.functional.pad(self.log_scale, pad),
        )

    @torch.no_grad()
    def start(self, z, random_state):
        """Fit all but the first component to posterior draws by EM.

        Parameters
        ----------
        z : Tensor (n_draws, n_components)
            Draws from the aggregate posterior of the linear start.
        random_state : int

        Returns
        -------
        dict of str to Tensor
            Values for `logits`, `loc` and `log_scale` of one copy; none from a single
            draw.
        """
        n_mixture, n_components = self.loc.shape[-2:]
        if len(z) < 2:
            return {}
        n_used = max(1, min(n_mixture, len(z) // _ROWS_PER_COMPONENT))
        mixture = GaussianMixture(
            n_used,
            covariance_type="diag",
            reg_covar=1e-3,
            max_iter=30,
            tol=1e-2,
            random_state=random_state,
        )
        with warnings.catch_warnings(), config_context(array_api_dispatch=False):
            # a start need not have converged
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(z.double().cpu().numpy())
        logits = torch.full((n_mixture + 1,), -30.0)
        logits[0] = math.log(_STANDARD_SHARE)
        logits[1 : n_used + 1] = torch.as_tensor(
            np.log(mixture.weights_) + math.log(1 - _STANDARD_SHARE)
        )
        loc = torch.zeros(n_mixture, n_components)
        log_scale = torch.zeros(n_mixture, n_components)
        loc[:n_used] = torch.as_tensor(mixture.means_)
        log_scale[:n_used] = torch.as_tensor(np.log(mixture.covariances_) / 2)
        return {"logits": logits, "loc": loc, "log_scale": log_scale}


class Latent(BaseEstimator):
    """Base of all latents: hyper-parameters, the posterior's family and the prior.

    Attributes
    ----------
    n_raw : int
        Raw encoder outputs per component.
    """

    n_raw = 0

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""

    def posterior(self, raw, loc, scale):
        """Return q(z|x).

        Parameters
        ----------
        raw : Tensor (..., n_raw, n_components)
            Zero is the linear start.
        loc, scale : Tensor (..., n_components)
            Mean and standard deviation of the linear start's posterior.
        """
        raise NotImplementedError

    def draw(self, posterior, noise=None, n_draws=1):
        """Return differentiable draws from a posterior, ``(n_draws, ...)``.

        Parameters
        ----------
        posterior : Distribution
        noise : Tensor broadcastable to (n_draws, ..., n_components), default=None
            Standard noise to be transformed; None draws it.
        n_draws : int, default=1
        """
        raise NotImplementedError

    def make_prior(self, n_components, n_copies=None):
        """Return a module that, called, returns p(z)."""
        raise NotImplementedError

    def start_prior(self, prior, z, seed):
        """Return values for the prior's weights that fit draws z, by name."""
        return {}

    def embed(self, posterior):
        """Return the point that `transform` returns, ``(..., n_components)``."""
        raise NotImplementedError

    def log_prior_per_component(self, prior, z):
        """Return the log density of the prior's marginals at z, component by component.

        Parameters
        ----------
        prior : Distribution
        z : Tensor (..., n_components)

        Returns
        -------
        Tensor (..., n_components)
        """
        raise NotImplementedError


class Gaussian(Latent):
    r"""Gaussian posterior with diagonal covariance.

    .. math:: q(z|x) = N(\mu(x), \operatorname{diag} \sigma^2(x)), \quad
              z = \mu(x) + \sigma(x) \odot \varepsilon

    Parameters
    ----------
    prior : {'auto', 'standard', 'mixture'}, default='auto'
        N(0, I), or a mixture of Gaussians learned with the rest and started by k-means
        and EM on the linear model's posterior. 'auto' is 'standard' for a linear model,
        'mixture' otherwise.
    n_mixture : int, default=32
        Components of the mixture beside N(0, I), which always stays one of them.

    References
    ----------
    Kingma & Welling (2014), "Auto-encoding variational Bayes", eq. 9; Dilokthanakul et
    al. (2016), "Deep unsupervised clustering with Gaussian mixture VAEs", for the
    prior.
    """

    n_raw = 2

    def __init__(self, prior="auto", n_mixture=32):
        self.prior = prior
        self.n_mixture = n_mixture

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""
        check_choice(self, "prior", ("auto", "standard", "mixture"))
        check_count(self, "n_mixture", 1)

    def posterior(self, raw, loc, scale):
        """Return q(z|x)."""
        raw_loc, raw_log_scale = raw.to(loc.dtype).unbind(dim=-2)
        raw_log_scale = raw_log_scale.clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO)
        normal = Normal(
            loc + scale * raw_loc, scale * raw_log_scale.exp(), validate_args=False
        )
        return Independent(normal, 1, validate_args=False)

    def draw(self, posterior, noise=None, n_draws=1):
        """Return differentiable draws (Kingma & Welling 2014, section 2.4)."""
        if noise is None:
            return posterior.rsample((n_draws,))
        normal = posterior.base_dist
        return normal.loc + normal.scale * noise

    def make_prior(self, n_components, n_copies=None):
        """Return a module that, called, returns p(z)."""
        if self.prior == "mixture":
            return MixturePrior(n_components, self.n_mixture, n_copies)
        return StandardPrior(n_components)

    def start_prior(self, prior, z, seed):
        """Return values for the prior's weights that fit draws z, by name."""
        return prior.start(z, seed) if self.prior == "mixture" else {}

    def embed(self, posterior):
        """Return the posterior mean."""
        return posterior.mean

    def log_prior_per_component(self, prior, z):
        """Return the log density of the prior's marginals at z, by component."""
        if isinstance(prior, Independent):
            return prior.base_dist.log_prob(z)
        # marginals of a mixture of diagonal normals: the same weights, in each
        # component
        logits = prior.logits.unsqueeze(-1).expand_as(prior.loc)
        return NormalMixture(logits, prior.loc, prior.log_scale).log_prob(z)


LATENTS = {"gaussian": Gaussian}
