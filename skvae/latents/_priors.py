"""Priors: modules that, called, return p(z)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from sklearn import config_context
from sklearn.mixture import GaussianMixture
from torch import nn
from torch.distributions import Independent, Normal
from typing_extensions import override

from .._distributions._mixtures import DiagonalNormalMixture

# initial weight of N(0, I) in the mixture prior
_STANDARD_SHARE = 0.05
# rows for each component that is fitted before training
_ROWS_PER_COMPONENT = 20


class _ShortMixture(GaussianMixture):
    """A mixture for initial values; it does not warn where EM has not converged.

    A filter of warnings would be that of all threads.
    """

    converged_ = property(lambda self: True, lambda self, value: None)


class StandardPrior(nn.Module):
    """N(0, scale² I), without weights.

    Parameters
    ----------
    n_components : int
        Size of the latent.
    scale : float, default=1.0
        Standard deviation.
    """

    loc: torch.Tensor

    def __init__(self, n_components: int, scale: float = 1.0) -> None:
        super().__init__()
        # a number, so that a copy of the module in float64 has all of its digits
        self.scale = scale
        loc = torch.zeros(n_components, dtype=torch.float32)
        self.register_buffer("loc", loc, persistent=False)

    @override
    def forward(self) -> torch.distributions.Distribution:
        scale = torch.full_like(self.loc, self.scale)
        return Independent(Normal(self.loc, scale, validate_args=False), 1)


class MixturePrior(nn.Module):
    """Σ_k w_k N(m_k, diag s_k²) with learned weights, means and scales.

    The first component stays N(0, I), the prior of the linear start; only its weight is
    learned. It bounds the loss of rows far from all others. Until the values of
    `initialize` are set it has all the weight.

    Parameters
    ----------
    n_components : int
        Size of the latent.
    n_mixture : int
        Number of components beside N(0, I).
    n_copies : int or None, default=None
        Number of folds trained side by side.
    """

    def __init__(
        self, n_components: int, n_mixture: int, n_copies: int | None = None
    ) -> None:
        super().__init__()
        copies = () if n_copies is None else (n_copies, 1)
        logits = torch.full((*copies, n_mixture + 1), -30.0, dtype=torch.float32)
        logits[..., 0] = 0.0
        self.logits = nn.Parameter(logits)
        zeros = torch.zeros(*copies, n_mixture, n_components, dtype=torch.float32)
        self.loc, self.log_scale = nn.Parameter(zeros), nn.Parameter(zeros.clone())

    @override
    def forward(self) -> torch.distributions.Distribution:
        pad = (0, 0, 1, 0)
        return DiagonalNormalMixture(
            self.logits,
            nn.functional.pad(self.loc, pad),
            nn.functional.pad(self.log_scale, pad),
        )

    @torch.no_grad()
    def initialize(self, z: torch.Tensor, random_state: int) -> dict[str, torch.Tensor]:
        """Fit all but the first component to posterior draws by EM.

        From draws (n_draws, n_components) from the aggregate posterior of the linear
        start, it returns values for `logits`, `loc` and `log_scale` of one fold by
        name; none for a single draw.
        """
        n_mixture, n_components = self.loc.shape[-2:]
        if len(z) < 2:
            return {}
        n_used = max(1, min(n_mixture, len(z) // _ROWS_PER_COMPONENT))
        settings: dict[str, Any] = {"reg_covar": 1e-3, "max_iter": 30, "tol": 1e-2}
        settings |= {"covariance_type": "diag", "random_state": random_state}
        mixture = _ShortMixture(n_used, **settings)
        with config_context(array_api_dispatch=False):
            mixture.fit(z.double().cpu().numpy())
        logits = torch.full((n_mixture + 1,), -30.0)
        logits[0] = math.log(_STANDARD_SHARE)
        log_weights = np.log(mixture.weights_) + math.log(1 - _STANDARD_SHARE)
        logits[1 : n_used + 1] = torch.as_tensor(log_weights)
        loc, log_scale = torch.zeros(2, n_mixture, n_components)
        loc[:n_used] = torch.as_tensor(mixture.means_)
        log_scale[:n_used] = torch.as_tensor(np.log(mixture.covariances_) / 2)
        return {"logits": logits, "loc": loc, "log_scale": log_scale}
