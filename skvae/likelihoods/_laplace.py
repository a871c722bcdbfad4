"""Laplace noise."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.distributions import Laplace as _LaplaceDistribution
from typing_extensions import override

from ._location_scale import LocationScale

_ROOT_2 = math.sqrt(2)
# of a scale that is fitted to constant residuals
_LEAST_SCALE = 1e-12


class Laplace(LocationScale):
    r"""Laplace noise around the decoder's median.

    .. math::
        p(x|z) = \prod_j \frac{1}{2 b_j} \exp\left(-\frac{|x_j - \mu_j(z)|}{b_j}\right)

    The loss of a row far out rises with its distance, not with its square, and the
    decoder learns medians. The learned scale is the standard deviation, √2 b.

    Parameters
    ----------
    noise : {'feature', 'shared', 'network'}, default='feature'
        One learned standard deviation per column; one for all; or one per column and
        row, given by the decoder.
    variance_floor : 'auto' or float, default='auto'
        Smallest noise variance as a share of the column's variance. 'auto' is 1e-12
        where the noise does not depend on z, and 1e-3 (or what the linear model found,
        if less) where it does.

    Notes
    -----
    The initial scale is that of maximum likelihood, the mean of ``|x - μ|``.

    References
    ----------
    Kotz, Kozubowski & Podgórski (2001), "The Laplace distribution and generalizations",
    eq. 2.1.1.
    """

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        scale = self.get_scale(raw, free, log_range) / _ROOT_2
        return _LaplaceDistribution(offset + raw[..., 0, :], scale, validate_args=False)

    @override
    def initialize(
        self, x: Any, offset: torch.Tensor, log_range: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self.initialize_noise(x, offset, log_range, _fit_scale)


def _fit_scale(residual):
    """Return the standard deviations of maximum likelihood, and no further values."""
    scale = _ROOT_2 * residual.abs().mean(dim=0).clamp_min(_LEAST_SCALE)
    return scale, residual[:0]
