"""Gaussian posteriors and the choice of their priors."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.distributions import Independent, Normal
from typing_extensions import override

from .._distributions._mixtures import EqualMixture, NormalMixture
from .._distributions._normals import CorrelatedNormal
from .._utils._checks import check_choice, check_count, check_number
from ._base import Latent, clamp_log_ratio
from ._priors import MixturePrior, StandardPrior
from ._vamp import VampPrior

# limits within which squares and logarithms fit into single precision
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
        'standard' is N(0, I). 'mixture' is a learned mixture of Gaussians, from k-means
        and EM on the linear model's posterior on. 'vamp' is the mean of the posteriors
        of learned pseudo-inputs, which start at random training rows; the networks then
        start at random, too. 'auto' is 'standard' for a linear model, else 'mixture'.
    n_mixture : int, default=32
        Components of the mixture beside N(0, I), which always stays one of them; or the
        number of pseudo-inputs, which pass through the encoder at every step.
    covariance : {'diagonal', 'full'}, default='diagonal'
        Covariance of q(z|x). For rows with missing cells 'full' starts at the linear
        model's posterior, 'diagonal' at its best diagonal approximation.
    prior_scale : float, default=1.0
        Standard deviation of z under the standard prior, N(0, prior_scale² I). It sets
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
        self,
        prior: str = "auto",
        n_mixture: int = 32,
        covariance: str = "diagonal",
        prior_scale: float = 1.0,
    ) -> None:
        self.prior = prior
        self.n_mixture = n_mixture
        self.covariance = covariance
        self.prior_scale = prior_scale

    @override
    def check_parameters(self) -> None:
        check_choice(self, "prior", ("auto", "standard", "mixture", "vamp"))
        check_count(self, "n_mixture", 1)
        check_choice(self, "covariance", ("diagonal", "full"))
        check_number(self, "prior_scale", *_PRIOR_SCALES)
        if self.prior_scale != 1 and self.prior != "standard":
            raise ValueError(
                f"Gaussian(prior_scale={self.prior_scale!r}) is the scale of "
                f"prior='standard', but prior={self.prior!r}; leave it 1."
            )

    @property
    @override
    def initializes_prior(self) -> bool:
        return self.prior in ("mixture", "vamp")

    @property
    @override
    def is_anchored(self) -> bool:  # type: ignore[override]
        """Whether training starts at the linear model: not with ``prior='vamp'``.

        Under the mean of a few narrow posteriors most rows would be impossible.
        """
        return self.prior != "vamp"

    @property
    @override
    def needs_n_inputs(self) -> bool:  # type: ignore[override]
        return self.prior == "vamp"

    @property
    @override
    def takes_scale_tril(self) -> bool:  # type: ignore[override]
        return self.covariance == "full"

    @property
    @override
    def has_units(self) -> bool:
        return self.prior_scale == 1

    @property
    @override
    def unit(self) -> float:  # type: ignore[override]
        return self.prior_scale

    @override
    def raw_shape(self, n_components: int) -> tuple[int, ...]:
        if self.covariance == "diagonal":
            return (2, n_components)
        return (n_components * (n_components + 3) // 2,)

    @override
    def posterior(
        self, raw: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor
    ) -> torch.distributions.Distribution:
        raw = raw.to(loc.dtype)
        if self.covariance == "full":
            return _make_correlated(raw, loc, scale)
        raw_loc, raw_scale = raw.unbind(dim=-2)
        scales = scale * clamp_log_ratio(raw_scale).exp()
        normal = Normal(loc + scale * raw_loc, scales, validate_args=False)
        return Independent(normal, 1, validate_args=False)

    @override
    def keep_point(self, raw: torch.Tensor) -> torch.Tensor:
        if self.covariance == "full":
            n_components = math.isqrt(2 * raw.shape[-1] + 2) - 1
            loc, rest = raw.tensor_split([n_components], dim=-1)
            return torch.cat([torch.zeros_like(loc), rest], dim=-1)
        return raw * raw.new_tensor([[0.0], [1.0]])

    @override
    def get_loc_scale(self, posterior: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if self.covariance == "full":
            return posterior.loc, posterior.scale_tril
        return super().get_loc_scale(posterior)

    @override
    def make_prior(
        self,
        n_components: int,
        n_copies: int | None = None,
        n_inputs: Any = None,
    ) -> torch.nn.Module:
        if self.prior == "mixture":
            return MixturePrior(n_components, self.n_mixture, n_copies)
        if self.prior == "vamp":
            width = n_components if self.covariance == "full" else 1
            return VampPrior(n_inputs, self.n_mixture, n_copies, width)
        return StandardPrior(n_components, self.prior_scale)

    @override
    def initialize_prior(
        self, prior: Any, z: torch.Tensor, seed: int
    ) -> dict[str, torch.Tensor]:
        return prior.initialize(z, seed) if self.initializes_prior else {}

    @override
    def log_prior_per_component(self, prior: Any, z: torch.Tensor) -> torch.Tensor:
        if isinstance(prior, Independent):
            return super().log_prior_per_component(prior, z)
        if isinstance(prior, EqualMixture):
            return prior.log_prob_marginals(z)
        # marginals of a mixture of diagonal normals have the weights of the mixture
        logits = prior.logits.unsqueeze(-1).expand_as(prior.loc)
        return NormalMixture(logits, prior.loc, prior.log_scale).log_prob(z)


def _make_correlated(
    raw: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor
) -> torch.distributions.Distribution:
    """Return N(loc + S a, L Lᵀ) with L = S T from raw outputs a and those of T.

    T is lower triangular, exp b on its diagonal. S is diagonal at the linear start, and
    lower triangular if it comes from `get_loc_scale`.
    """
    n = loc.shape[-1]
    raw_loc, raw_scale, below = raw.split([n, n, n * (n - 1) // 2], dim=-1)
    root = torch.diag_embed(clamp_log_ratio(raw_scale).exp())
    rows, columns = torch.tril_indices(n, n, -1, device=raw.device)
    root[..., rows, columns] = below
    if scale.dim() > loc.dim():
        loc = loc + (scale @ raw_loc.unsqueeze(-1)).squeeze(-1)
        return CorrelatedNormal(loc, scale @ root)
    return CorrelatedNormal(loc + scale * raw_loc, scale.unsqueeze(-1) * root)
