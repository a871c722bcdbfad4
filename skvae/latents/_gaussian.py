"""Gaussian posteriors, and the priors they are measured against."""

from torch.distributions import Independent

from .._distributions import EqualMixture, NormalMixture
from .._utils._checks import check_choice, check_count, check_number
from ._base import Latent
from ._normals import NORMALS
from ._priors import MixturePrior, StandardPrior
from ._vamp import VampPrior

# beyond, squares and logarithms leave single precision
_PRIOR_SCALES = 1e-30, 1e30


class Gaussian(Latent):
    r"""Gaussian posterior, with diagonal or full covariance.

    .. math:: q(z|x) = N(\mu(x), L(x) L(x)^\top), \quad
              z = \mu(x) + L(x)\, \varepsilon

    with a lower triangular L(x), or a diagonal one, :math:`L(x) = \operatorname{diag}
    \sigma(x)`.

    Parameters
    ----------
    prior : {'auto', 'standard', 'mixture', 'vamp'}, default='auto'
        'standard' is N(0, I). 'mixture' is a mixture of Gaussians learned with the
        rest and started by k-means and EM on the linear model's posterior. 'vamp' is
        the mean of the posteriors of learned pseudo-inputs, which start at random
        training rows; the networks then start at random, too. 'auto' is 'standard' for
        a linear model, 'mixture' otherwise.
    n_mixture : int, default=32
        Components of the mixture beside N(0, I), which always stays one of them; or
        pseudo-inputs. Each of these costs a pass through the encoder at every step;
        Tomczak & Welling take 500 for images.
    covariance : {'diagonal', 'full'}, default='diagonal'
        That of q(z|x). The linear start's is diagonal, but for rows with missing cells:
        'full' then starts at the linear model's own posterior, 'diagonal' at the best
        that it allows.
    prior_scale : float, default=1.0
        Standard deviation of z under the standard prior, N(0, prior_scale² I). It is
        the unit of z, and changes neither training nor scores.

    See Also
    --------
    MixturePrior, VampPrior, StandardPrior : The priors.

    References
    ----------
    Kingma & Welling (2014), "Auto-encoding variational Bayes", eq. 9; Kingma & Welling
    (2019), "An introduction to variational autoencoders", section 2.5.1, for the full
    covariance; Dilokthanakul et al. (2016), "Deep unsupervised clustering with Gaussian
    mixture VAEs", and Tomczak & Welling (2018), "VAE with a VampPrior", eq. 10, for the
    priors.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import VAETransformer
    >>> from skvae.latents import Gaussian
    >>> X = np.random.default_rng(0).standard_normal((100, 4))
    >>> latent = Gaussian(prior="standard", covariance="full")
    >>> vae = VAETransformer(2, latent=latent, max_epochs=1, random_state=0).fit(X)
    >>> vae.transform(X).shape
    (100, 2)
    """

    def __init__(
        self, prior="auto", n_mixture=32, covariance="diagonal", prior_scale=1.0
    ):
        self.prior = prior
        self.n_mixture = n_mixture
        self.covariance = covariance
        self.prior_scale = prior_scale

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""
        check_choice(self, "prior", ("auto", "standard", "mixture", "vamp"))
        check_count(self, "n_mixture", 1)
        check_choice(self, "covariance", tuple(NORMALS))
        check_number(self, "prior_scale", *_PRIOR_SCALES)
        if self.prior_scale != 1 and self.prior != "standard":
            raise ValueError(
                f"Gaussian(prior_scale={self.prior_scale!r}) is the scale of "
                f"prior='standard', but prior={self.prior!r}; leave it 1."
            )

    @property
    def _normals(self):
        return NORMALS[self.covariance]

    @property
    def has_start(self):
        """Whether the prior can be fitted to the rows before training."""
        return self.prior in ("mixture", "vamp")

    @property
    def is_anchored(self):
        """Whether training starts at the linear model.

        Under a mean of few of its narrow posteriors most rows would be impossible.
        """
        return self.prior != "vamp"

    @property
    def needs_inputs(self):
        """Whether the prior is made of what the encoder sees."""
        return self.prior == "vamp"

    @property
    def takes_root(self):
        """Whether posteriors start at one with the covariance of the linear model's."""
        return self.covariance == "full"

    @property
    def unit(self):
        """Standard deviation of z under the prior that training starts from."""
        return self.prior_scale

    def raw_shape(self, n_components):
        """Return the shape of the encoder's raw outputs for one row."""
        return self._normals.raw_shape(n_components)

    def posterior(self, raw, loc, scale):
        """Return q(z|x)."""
        return self._normals.posterior(raw, loc, scale)

    def recentre(self, posterior):
        """Return ``(loc, scale)`` with which raw outputs of zero are a posterior.

        Of a full covariance, scale is L, ``(..., n_components, n_components)``.
        """
        return self._normals.recentre(posterior)

    def draw(self, posterior, noise=None, n_draws=1):
        """Return differentiable draws (Kingma & Welling 2014, section 2.4)."""
        if noise is None:
            return posterior.rsample((n_draws,))
        return self._normals.transform(posterior, noise)

    def make_prior(self, n_components, n_copies=None, n_inputs=None):
        """Return a module that, called, returns p(z)."""
        if self.prior == "mixture":
            return MixturePrior(n_components, self.n_mixture, n_copies)
        if self.prior == "vamp":
            width = n_components if self.covariance == "full" else 1
            return VampPrior(n_inputs, self.n_mixture, n_copies, width)
        return StandardPrior(n_components, self.prior_scale)

    def start_prior(self, prior, z, seed):
        """Return values for the prior's weights that fit draws z, or inputs."""
        return prior.start(z, seed) if self.has_start else {}

    def embed(self, posterior):
        """Return the posterior mean."""
        return posterior.mean

    def log_prior_per_component(self, prior, z):
        """Return the log density of the prior's marginals at z, by component."""
        if isinstance(prior, Independent):
            return prior.base_dist.log_prob(z)
        if isinstance(prior, EqualMixture):
            return prior.log_prob_marginals(z)
        # marginals of a mixture of diagonal normals: the same weights, in each
        # component
        logits = prior.logits.unsqueeze(-1).expand_as(prior.loc)
        return NormalMixture(logits, prior.loc, prior.log_scale).log_prob(z)
