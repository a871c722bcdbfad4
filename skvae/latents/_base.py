"""What all latents share."""

from sklearn.base import BaseEstimator
from torch.distributions import Normal


class Latent(BaseEstimator):
    """Base of all latents: hyper-parameters, the posterior's family and the prior.

    Attributes
    ----------
    n_raw : int
        Raw encoder outputs per component.
    is_anchored : bool
        Whether raw outputs are corrections to the linear start's posterior. Without,
        training starts at random weights.
    is_stackable : bool
        Whether several copies can be trained side by side, see `networks.Linear`.
    shares_prior : bool
        Whether `posterior` is handed the prior's module as well, ``prior=``.
    needs_inputs : bool
        Whether `make_prior` is handed the number of the encoder's inputs as well,
        ``n_inputs=``.
    takes_root : bool
        Whether `posterior` is handed a lower triangular root of the covariance as scale
        where cells of rows are missing.
    unit : float
        Standard deviation of z under the prior that training starts from. The linear
        start and the decoder's network see z in units of it.
    """

    n_raw = 0
    is_anchored = True
    is_stackable = True
    shares_prior = False
    needs_inputs = False
    takes_root = False
    unit = 1.0

    @property
    def is_annealed(self):
        """Whether something changes in the course of training."""
        return type(self).anneal is not Latent.anneal

    @property
    def has_start(self):
        """Whether the prior can be fitted to draws before training."""
        return type(self).start_prior is not Latent.start_prior

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""

    def check_components(self, n_components):
        """Refuse a number of components that the hyper-parameters do not allow."""

    def count_linear(self, n_components):
        """Return how many components the linear start may have, the first ones."""
        return n_components

    def count_clusters(self, n_components):
        """Return how many clusters of rows z stands for, 0 where it does not.

        Where it does, and is not anchored, training starts at a mixture: z is one-hot,
        and ``loc`` are log-probabilities.
        """
        return 0

    def count_embedded(self, n_components):
        """Return the width of what `embed` returns."""
        return n_components

    def raw_shape(self, n_components):
        """Return the shape of the encoder's raw outputs for one row."""
        return (self.n_raw, n_components)

    def posterior(self, raw, loc, scale):
        """Return q(z|x).

        Parameters
        ----------
        raw : Tensor (..., *raw_shape)
            Zero is the linear start.
        loc, scale : Tensor (..., n_components)
            Mean and standard deviation of the linear start's posterior, or what
            `recentre` returned.
        """
        raise NotImplementedError

    def recentre(self, posterior):
        """Return ``(loc, scale)`` with which raw outputs of zero are a posterior."""
        return posterior.mean, posterior.stddev

    def enumerate(self, n_components, in_training=False):
        """Return all values of z, ``(n_values, n_components)``, or None.

        Where there are few of them scores are exact sums, not averages over draws.

        Parameters
        ----------
        n_components : int
        in_training : bool, default=False
            Whether it is for a training step, which may draw nevertheless.
        """
        return None

    def anneal(self, prior, progress):
        """Set what changes in the course of training.

        Parameters
        ----------
        prior : Module
            What `make_prior` returned.
        progress : float
            Share of the epochs that are over.
        """

    def draw(self, posterior, noise=None, n_draws=1):
        """Return differentiable draws from a posterior, ``(n_draws, ...)``.

        Parameters
        ----------
        posterior : Distribution
        noise : Tensor broadcastable to (n_draws, ..., n_components), default=None
            Standard noise, for the posterior's ``transform``; None draws it.
        n_draws : int, default=1
        """
        if noise is None:
            return posterior.rsample((n_draws,))
        return posterior.transform(noise)

    def draw_start(self, loc, scale, noise):
        """Return draws from the posterior that training starts at.

        Parameters
        ----------
        loc, scale, noise : Tensor (n, n_components)
        """
        return loc + scale * noise

    def make_prior(self, n_components, n_copies=None):
        """Return a module that, called, returns p(z)."""
        raise NotImplementedError

    def start_prior(self, prior, z, seed):
        """Return values for the prior's weights that fit the linear start, by name.

        Parameters
        ----------
        prior : Module
            What `make_prior` returned.
        z : Tensor (n, n_components)
            Draws from the posteriors of the linear start. For a prior that
            ``needs_encoder`` what the encoder sees of the rows, (n, n_inputs).
        seed : int
        """
        return {}

    def embed(self, posterior):
        """Return the point that `transform` returns, ``(..., n_embedded)``."""
        raise NotImplementedError

    def locate(self, posterior):
        """Return the point that `reconstruct` decodes, ``(..., n_components)``."""
        return self.embed(posterior)

    def extend(self, embedded, prior):
        """Return z for a point as `embed` returns it, ``(..., n_components)``.

        Parameters
        ----------
        embedded : Tensor (..., n_embedded)
        prior : Module
            What `make_prior` returned.
        """
        return embedded

    def show(self, z):
        """Return what the decoder sees of z, of the same shape."""
        return z if self.unit == 1 else z / self.unit

    def log_prior_per_component(self, prior, z):
        """Return the log density of the prior's marginals at z, component by component.

        Asked for by `log_ratio_per_component`, as it stands.

        Parameters
        ----------
        prior : Distribution
        z : Tensor (..., n_components)

        Returns
        -------
        Tensor (..., n_components)
        """
        raise NotImplementedError

    def log_ratio_per_component(self, posterior, prior, z):
        """Return log q(z_k|x) - log p(z_k) of the marginals, component by component.

        As it stands, of normal ones.

        Parameters
        ----------
        posterior, prior : Distribution
        z : Tensor (n_draws, ..., n_components)

        Returns
        -------
        Tensor (n_draws, ..., n_components)
        """
        marginal = Normal(posterior.mean, posterior.stddev, validate_args=False)
        return marginal.log_prob(z) - self.log_prior_per_component(prior, z)
