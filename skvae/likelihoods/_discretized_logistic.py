"""Integers between two bounds, such as pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from typing_extensions import override

from .._columns import Support
from .._distributions._levels import (
    DiscretizedLogistic as _DiscretizedLogisticDistribution,
)
from .._utils._checks import is_integer
from ._base import Likelihood
from ._link import Link, stack_offsets

# bounds of log scales, in units of X: one integer has all probability, or all have one
_LOG_SCALE = -2.7, 10.0
# 16-bit pixels: mean and variance are sums over all integers
_WIDEST = 2**16
_LOGISTIC_PER_NORMAL = math.sqrt(3) / math.pi
# rounding to integers is noise of this standard deviation
_ROUNDING = math.sqrt(1 / 12)


class LogisticLink(Link):
    """The linear model itself, with logistic noise of the same variance."""

    # location and log scale
    n_offsets = 2

    @override
    def convert(self, mean: Any, scale: Any, loadings: Any, noise: Any) -> Any:
        deviation = np.maximum(scale * np.sqrt(noise), _ROUNDING)
        log_scale = np.log(_LOGISTIC_PER_NORMAL * deviation)
        return stack_offsets(scale * loadings, mean, log_scale)


class DiscretizedLogistic(Likelihood):
    r"""Integers from `low` to `high`, such as the pixels of 8-bit images.

    .. math:: P(x|z) = \prod_j \left[ \sigma\left(\frac{x_j + 1/2 - \mu_j(z)}{s_j(z)}
        \right) - \sigma\left(\frac{x_j - 1/2 - \mu_j(z)}{s_j(z)}\right) \right]

    A logistic variable is rounded to an integer; at `low` and `high` the intervals are
    open, and have all the mass beyond. These are probabilities: unlike the density of a
    normal distribution they are never above 1, however small s is.

    Parameters
    ----------
    low, high : int, default=0, 255
        Bounds of the integers, at most 65,536 apart.

    References
    ----------
    Salimans, Karpathy, Chen & Kingma (2017), "PixelCNN++", eqs. 1-2, with one
    component.

    Kingma et al. (2016), "Improving variational inference with inverse autoregressive
    flow": the same likelihood.
    """

    n_raw = 2
    link = LogisticLink()

    def __init__(self, low: int = 0, high: int = 255) -> None:
        self.low = low
        self.high = high

    @property
    def support(self) -> Support:
        """The integers that are accepted, a `Support`."""
        return Support(
            f"integers from {self.low} to {self.high}",
            self.low,
            self.high,
            is_integer=True,
            alternatives=("continuous_bernoulli",),
        )

    @override
    def check_parameters(self) -> None:
        for name in ("low", "high"):
            value = getattr(self, name)
            if not is_integer(value):
                raise TypeError(
                    f"DiscretizedLogistic({name}={value!r}) is not an integer; the "
                    "bounds are integers."
                )
        if not 0 < self.high - self.low <= _WIDEST:
            raise ValueError(
                f"DiscretizedLogistic(low={self.low!r}, high={self.high!r}) is out of "
                f"range; low must be below high, by {_WIDEST} at most, for means are "
                "sums over all integers between."
            )

    @override
    def conclude(self, summary: torch.Tensor) -> torch.Tensor:
        return summary.round()

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        # corrections of the location are in units of the noise of the linear model
        loc = offset[..., 0, :] + raw[..., 0, :] * offset[..., 1, :].exp()
        log_scale = (offset[..., 1, :] + raw[..., 1, :]).clamp(*_LOG_SCALE)
        return _DiscretizedLogisticDistribution(
            loc, log_scale, int(self.low), int(self.high)
        )
