"""The contract of all latents."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.base import BaseEstimator
from torch.distributions import Independent, Normal

from .._utils._site import SiteLinkMixin
from ._priors import StandardPrior

# scales of posteriors stay within a factor of exp(8) of where they start
_MAX_LOG_RATIO = 8.0


def clamp_log_ratio(raw: torch.Tensor) -> torch.Tensor:
    """Return logarithms of the factors by which raw outputs change scales."""
    return raw.clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO)


class Latent(SiteLinkMixin, BaseEstimator):
    """Base of all latents: hyper-parameters, the family of posteriors and the prior.

    Attributes
    ----------
    n_raw : int
        Raw encoder outputs per component, such as one of the location and one of the
        scale.
    keep_point : callable or None
        A method ``keep_point(raw)`` that returns raw outputs with which `embed` finds a
        row where zeros let it; those of the spread may stay. With None, z and p(x|z)
        are trained together.
    is_anchored : bool
        Whether raw outputs correct the posterior of the linear start. Otherwise
        training starts at random weights.
    is_stackable : bool
        Whether networks of several folds can be trained side by side, see
        `networks.Linear`.
    posterior_takes_prior : bool
        Whether `posterior` takes the prior's module as well, ``prior=``.
    needs_n_inputs : bool
        Whether `make_prior` takes the number of the encoder's inputs as well,
        ``n_inputs=``.
    takes_scale_tril : bool
        Whether `posterior` takes a lower triangular root of the covariance as scale
        for rows with missing cells.
    unit : float
        Standard deviation of z under the prior that training starts from. The linear
        start and the decoder's network see z in units of it.
    """

    n_raw = 2
    keep_point: Any = None
    is_anchored = True
    is_stackable = True
    posterior_takes_prior = False
    needs_n_inputs = False
    takes_scale_tril = False
    unit = 1.0

    @property
    def is_annealed(self) -> bool:
        """Whether `anneal` changes anything in the course of training."""
        return type(self).anneal is not Latent.anneal

    @property
    def initializes_prior(self) -> bool:
        """Whether `initialize_prior` fits the prior before training."""
        return type(self).initialize_prior is not Latent.initialize_prior

    def check_parameters(self) -> None:
        """Refuse hyper-parameters out of range, by name."""

    @property
    def has_units(self) -> bool:
        """Whether `embed` returns z itself, in units that may be chosen."""
        return False

    def check_components(self, n_components: int) -> None:
        """Refuse a number of components that the hyper-parameters do not allow."""

    def count_linear_components(self, n_components: int) -> int:
        """Return how many of the first components the linear start may have."""
        return n_components

    def count_components(self, n_linear: int | None) -> int | None:
        """Return the number of components where ``n_components="auto"``.

        A linear model needs ``n_linear`` for the table, or None if that is not known;
        None is then returned unless the hyper-parameters alone give the number.
        """
        return n_linear

    def count_clusters(self, n_components: int) -> int:
        """Return the number of clusters of rows that z stands for, or 0.

        If it is not 0 and the latent is not anchored, training starts at a mixture: z
        is one-hot, and ``loc`` are log-probabilities.
        """
        return 0

    def count_embedded(self, n_components: int) -> int:
        """Return the width of what `embed` returns."""
        return n_components

    def raw_shape(self, n_components: int) -> tuple[int, ...]:
        """Return the shape of the encoder's raw outputs for one row."""
        return (self.n_raw, n_components)

    def posterior(
        self, raw: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor
    ) -> torch.distributions.Distribution:
        """Return q(z|x) for raw outputs ``(..., *raw_shape)``.

        Zero gives the posterior of the linear start, of which loc and scale, both
        (..., n_components), are mean and standard deviation; or they are what
        `get_loc_scale` returned.
        """
        raise NotImplementedError(f"{type(self).__name__} must define posterior.")

    def get_loc_scale(self, posterior: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``(loc, scale)`` for which raw outputs of zero give a posterior."""
        return posterior.mean, posterior.stddev

    def enumerate(
        self, n_components: int, in_training: bool = False
    ) -> torch.Tensor | None:
        """Return all values of z, ``(n_values, n_components)``, or None.

        If there are few of them, scores are exact sums, not averages over draws. A
        training step, ``in_training``, may draw nevertheless.
        """
        return None

    def anneal(self, prior: Any, progress: float) -> None:
        """Set what changes in a prior's module as training goes on, progress 0 to 1."""

    def draw(
        self, posterior: Any, noise: torch.Tensor | None = None, n_draws: int = 1
    ) -> torch.Tensor:
        """Return differentiable draws from a posterior, ``(n_draws, ...)``.

        ``noise`` are standard normal numbers, broadcastable to (n_draws, ...,
        n_components), that all rows share; None draws new ones. A posterior of this
        package has ``transform``. One of torch is drawn from by ``rsample``, or by the
        quantiles of the noise.
        """
        if noise is None:
            return posterior.rsample((n_draws,))
        if hasattr(posterior, "transform"):
            return posterior.transform(noise)
        base = posterior.base_dist if isinstance(posterior, Independent) else posterior
        if isinstance(base, Normal):
            return base.loc + base.scale * noise
        # not 0 or 1, whose quantiles are infinite
        eps = torch.finfo(noise.dtype).eps
        try:
            return base.icdf(torch.special.ndtr(noise).clamp(eps, 1 - eps))
        except NotImplementedError:
            raise TypeError(
                f"{type(self).__name__}: the posterior is a {type(base).__name__}, "
                "which has no icdf that makes draws of normal noise; define "
                "draw(posterior, noise=None, n_draws=1)."
            ) from None

    def draw_initial(
        self, loc: torch.Tensor, scale: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        """Return draws from the posterior that training starts at.

        All are (n, n_components).
        """
        return loc + scale * noise

    def make_prior(
        self, n_components: int, n_copies: int | None = None
    ) -> torch.nn.Module:
        """Return a module that, called, returns p(z): by default N(0, I)."""
        return StandardPrior(n_components)

    def initialize_prior(
        self, prior: Any, z: torch.Tensor, seed: int
    ) -> dict[str, torch.Tensor]:
        """Return values for the prior's weights that fit the linear start, by name.

        z (n, n_components) are draws from the posteriors of the linear start; for a
        prior that ``needs_encoder``, rows as the encoder sees them, (n, n_inputs).
        """
        return {}

    def embed(self, posterior: Any) -> torch.Tensor:
        """Return the point that `transform` returns, ``(..., n_embedded)``."""
        return posterior.mean

    def point_estimate(self, posterior: Any) -> torch.Tensor:
        """Return the point that `reconstruct` decodes, ``(..., n_components)``."""
        return self.embed(posterior)

    def invert_embedding(self, embedded: torch.Tensor, prior: Any) -> torch.Tensor:
        """Return z for a point as `embed` returns it, ``(..., n_components)``.

        ``prior`` is what `make_prior` returned.
        """
        return embedded

    def make_decoder_input(self, z: torch.Tensor) -> torch.Tensor:
        """Return z as the decoder sees it, in units of `unit`, of the same shape."""
        return z if self.unit == 1 else z / self.unit

    def log_prior_per_component(self, prior: Any, z: torch.Tensor) -> torch.Tensor:
        """Return the log density of the prior's marginals, ``(..., n_components)``.

        Only `log_ratio_per_component` of this class needs it.
        """
        if isinstance(prior, Independent):
            return prior.base_dist.log_prob(z)
        raise TypeError(
            f"{type(self).__name__}: the prior is a {type(prior).__name__}, not an "
            "Independent; define log_prior_per_component(prior, z)."
        )

    def log_ratio_per_component(
        self, posterior: Any, prior: Any, z: torch.Tensor
    ) -> torch.Tensor:
        """Return log q(z_k|x) - log p(z_k), ``(n_draws, ..., n_components)``.

        The densities are those of the marginals. Those of a posterior that is not an
        Independent are taken to be normal.
        """
        if isinstance(posterior, Independent):
            marginal = posterior.base_dist
        else:
            marginal = Normal(posterior.mean, posterior.stddev, validate_args=False)
        return marginal.log_prob(z) - self.log_prior_per_component(prior, z)
