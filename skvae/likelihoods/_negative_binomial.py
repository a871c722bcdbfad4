"""Counts that vary more than Poisson counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from typing_extensions import override

from .._distributions._counts import MeanNegativeBinomial
from .._utils._checks import check_choice
from ._counts import CountLikelihood, CountLink
from ._link import stack_offsets

# log dispersion: beyond, counts are Poisson's in any table, or zero but for a few
_LOG_DISPERSION = -10.0, 16.0


class DispersedLink(CountLink):
    """The linear model of log(1 + x) as a model of the log mean, and log dispersion.

    What the variance of μ over z leaves of the overdispersion goes to θ:
    E[x (x - 1)] = E[μ²] (1 + 1 / θ).
    """

    n_offsets = 2

    @override
    def convert(self, mean: Any, scale: Any, loadings: Any, noise: Any) -> Any:
        slope, bias = super().convert(mean, scale, loadings, noise)
        left = self.ratio / np.exp((slope**2).sum(axis=0)) - 1
        log_dispersion = -np.log(np.clip(left, 1e-2, 1e2))
        return stack_offsets(slope, bias, log_dispersion)


class NegativeBinomial(CountLikelihood):
    r"""Counts of mean μ and variance μ + μ² / θ.

    .. math:: p(x|z) = \prod_j \frac{\Gamma(x_j + \theta_j)}{x_j!\, \Gamma(\theta_j)}
        \left(\frac{\theta_j}{\theta_j + \mu_j(z)}\right)^{\theta_j}
        \left(\frac{\mu_j(z)}{\theta_j + \mu_j(z)}\right)^{x_j}

    It is a Poisson distribution whose rate is μ times gamma noise of mean 1 and
    variance 1 / θ. The decoder gives log μ, bent as in `Poisson`.

    Parameters
    ----------
    dispersion : {'feature', 'network'}, default='feature'
        One learned θ per column, or one per column and row, given by the decoder.

    See Also
    --------
    Poisson : The limit of large θ.

    References
    ----------
    Lopez, Regier, Cole, Jordan & Yosef (2018), "Deep generative modeling for
    single-cell transcriptomics", Methods: θ is their inverse dispersion.

    Lawless (1987), "Negative binomial and mixed Poisson regression".
    """

    _unfitted_link = DispersedLink()

    def __init__(self, dispersion: float | str = "feature") -> None:
        self.dispersion = dispersion

    @override
    def check_parameters(self) -> None:
        check_choice(self, "dispersion", ("feature", "network"))

    @property
    @override
    def n_raw(self) -> int:
        return 2 if self.dispersion == "network" else 1

    @override
    def free_shape(self, n_features: int) -> tuple[int, ...]:
        return (0 if self.dispersion == "network" else 1, n_features)

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        change = raw[..., 1, :] if self.dispersion == "network" else free[..., 0, :]
        log_mean = self.bend(offset[..., 0, :] + raw[..., 0, :])
        log_dispersion = (offset[..., 1, :] + change).clamp(*_LOG_DISPERSION)
        return MeanNegativeBinomial(log_mean, log_dispersion)
