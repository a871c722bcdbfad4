"""Gaussian posteriors."""

from torch.distributions import Independent, Normal

from .._checks import check_choice, check_count
from ..distributions import NormalMixture
from ._base import Latent
from ._gaussian_pass import MAX_LOG_RATIO, GaussianPass, StandardGaussianPass
from ._priors import MixturePrior, StandardPrior


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

    @property
    def has_start(self):
        """Whether the prior can be fitted to draws before training."""
        return self.prior == "mixture"

    def posterior(self, raw, loc, scale):
        """Return q(z|x)."""
        raw_loc, raw_log_scale = raw.to(loc.dtype).unbind(dim=-2)
        raw_log_scale = raw_log_scale.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
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

    def make_pass(self, program, prior, is_exact):
        """Return the pass for steps without autograd."""
        if isinstance(prior, StandardPrior) and is_exact:
            return StandardGaussianPass(program)
        return GaussianPass(program, prior.make_pass(program), is_exact)

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
