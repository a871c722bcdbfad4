"""Normal noise."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.distributions import Normal
from typing_extensions import override

from .._closed_form._linear import NOISE_FLOOR, fit_factor_analysis
from .._closed_form._moments import Covariance
from .._distributions._normals import LowRankNormal
from .._utils._checks import check_choice, check_count
from ._base import compute_residual, to_log_scale, to_raw_scale
from ._link import ScaledLink
from ._location_scale import LocationScale

if TYPE_CHECKING:
    from ._link import Link

# largest factor in units of the other noise: 99.9 % of a column's variance is shared
_MAX_FACTOR = 30.0
# smallest initial share of a column's other noise in its variance
_LEAST_OWN_SHARE = 0.05
# smallest initial squared length of a factor: at zero it has no gradient, and this one
# costs less than 0.001 nats
_LEAST_LENGTH = 0.05


class Gaussian(LocationScale):
    r"""Normal noise around the decoder's mean.

    .. math:: p(x|z) = \prod_j N(x_j; \mu_j(z), \sigma_j^2)

    With ``noise='low_rank'`` columns are correlated given z:

    .. math::
        p(x|z) = N\left(x; \mu(z), \operatorname{diag} \sigma^2(z) + U(z) U(z)^T\right)

    Parameters
    ----------
    noise : {'feature', 'shared', 'network', 'low_rank'} or float, default='feature'
        One learned standard deviation per column (factor analysis if the decoder is
        linear); one for all (probabilistic PCA); one per column and row, given by the
        decoder; that and `rank` factors, from the decoder too; or a known standard
        deviation in the units of the standardised columns (of X with
        ``standardize=False``).
    variance_floor : 'auto' or float, default='auto'
        Smallest noise variance as a share of the column's variance. 'auto' is that of
        scikit-learn's FactorAnalysis, 1e-12, where the noise does not depend on z, and
        1e-3 (or what the linear model found, if less) where it does.
    rank : int, default=2
        Columns of U(z), for 'low_rank'.

    Notes
    -----
    The raw outputs for U are in units of σ(z), and bent at 30 of them. At zero they
    have no gradient, since the density is even in U. Their initial values are a factor
    analysis of the residuals of the linear model, and small where that finds nothing.

    References
    ----------
    Kingma & Welling (2014), "Auto-encoding variational Bayes", appendix C.2; Bishop
    (2006), "Pattern recognition and machine learning", eqs. C.7 and C.14, the inverse
    and the determinant of the low-rank covariance.
    """

    _noise_names = ("feature", "shared", "network", "low_rank")
    _network_names = ("network", "low_rank")

    def __init__(
        self,
        noise: str = "feature",
        variance_floor: float | str = "auto",
        rank: int = 2,
    ) -> None:
        super().__init__(noise, variance_floor)
        self.rank = rank

    @override
    def check_parameters(self) -> None:
        check_choice(self, "noise", self._noise_names, positive=True)
        check_choice(self, "variance_floor", ("auto",), positive=True)
        check_count(self, "rank", 1)

    @property
    @override
    def n_raw(self) -> int:
        return super().n_raw + (self.rank if self.noise == "low_rank" else 0)

    @property
    @override
    def is_joint(self) -> bool:
        return self.noise == "low_rank"

    @property
    def link(self) -> Link:
        """The linear model, with the known noise if there is one."""
        if isinstance(self.noise, Real):
            return ScaledLink(None, NOISE_FLOOR, fixed_noise=float(self.noise))
        return super().link

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        loc = offset + raw[..., 0, :]
        if self.noise == "low_rank":
            log_scale = to_log_scale(raw[..., 1, :], log_range)
            factor = _MAX_FACTOR * torch.tanh(raw[..., 2:, :] / _MAX_FACTOR)
            return LowRankNormal(loc, log_scale, factor)
        if isinstance(self.noise, Real):
            scale = torch.ones_like(log_range)
        else:
            scale = self.get_scale(raw, free, log_range)
        return Normal(loc, scale, validate_args=False)

    @property
    def initialize(self) -> Any:
        """A method that fits factors, or None where there are none."""
        return self._initialize_factors if self.noise == "low_rank" else None

    def _initialize_factors(self, x, offset, log_range):
        # fitted to the correlations that the linear model leaves
        residual = compute_residual(x, offset)
        raw = residual.new_zeros(self.n_raw, residual.shape[-1])
        noise, factor = _fit_factors(residual.numpy(), self.rank)
        raw[1] = to_raw_scale(0.5 * torch.as_tensor(noise).log(), log_range)
        factor = torch.as_tensor(factor) / _MAX_FACTOR
        raw[2:] = _MAX_FACTOR * torch.atanh(factor)
        return raw, raw[:0]


def _fit_factors(residual, rank):
    """Return noise variances (d,), and factors (rank, d) in units of that noise."""
    n_features = residual.shape[1]
    noise, factor = np.ones(n_features), np.zeros((rank, n_features))
    n_used = min(rank, n_features - 1)
    if n_used and len(residual) > 2:
        # means and variances are those of the linear model
        scale = np.maximum(residual.std(axis=0), 1e-6)
        unit = Covariance(residual / scale).with_noise_in_constants(NOISE_FLOOR)
        model = fit_factor_analysis(unit, n_used)
        own = np.maximum(model.noise, _LEAST_OWN_SHARE)
        # no more than the variance of the column
        noise = own / (own + (model.loadings**2).sum(axis=0))
        factor[:n_used] = model.loadings / np.sqrt(own)
    length = (factor**2).sum(axis=1, keepdims=True)
    pattern = np.random.default_rng(0).standard_normal((rank, n_features))
    pattern *= np.sqrt(_LEAST_LENGTH / (pattern**2).sum(axis=1, keepdims=True))
    return noise, np.where(length < _LEAST_LENGTH, pattern, factor)
