"""Columns of which only the side is known beyond a limit."""

import math

import torch
from torch.distributions import Laplace
from typing_extensions import override

from ._base import UncheckedDistribution
from ._column_chain import draw_at

_LOG_2 = math.log(2)
_ROUNDING = 2.0**-23


def widen(lower):
    """Return limits that are a little higher.

    Values at a limit that were rounded to single precision are still at it.
    """
    return lower * (1 + _ROUNDING * (2 * (lower > 0) - 1))


def compute_log_ndtr(x):
    """Return log Φ(x) of normal numbers, and its gradient, without overflow.

    The gradient of torch's own is a difference of two squares, NaN in single precision
    where they are large.
    """
    below, above = -math.sqrt(0.5) * x.clamp(max=0.0), math.sqrt(0.5) * x.clamp(min=0.0)
    log_below = (0.5 * torch.special.erfcx(below)).log() - below.square()
    tail = 0.5 * torch.special.erfcx(above) * torch.exp(-above.square())
    return torch.where(x < 0, log_below, torch.log1p(-tail))


def log_cdf(distribution, value):
    """Return log P(x <= value) of a normal or a Laplace distribution."""
    distance = (value - distribution.loc) / distribution.scale
    if not isinstance(distribution, Laplace):
        return compute_log_ndtr(distance)
    below = distance.clamp(max=0.0)
    above = torch.log1p(-0.5 * torch.exp(-distance.clamp(min=0.0)))
    return torch.where(distance < 0, below - _LOG_2, above)


def log_survival(distribution, value):
    """Return log P(x > value); both distributions are symmetric."""
    return log_cdf(distribution, 2 * distribution.loc - value)


class Censored(UncheckedDistribution):
    r"""Columns x with limits: at them there is all the probability beyond.

    .. math::
        p(x) = \begin{cases} P(y \le L) & x \le L \\ p_y(x) & L < x < U \\
        P(y \ge U) & x \ge U \end{cases}

    Mean and variance are those of y, which has no limits; draws are those of x.

    Parameters
    ----------
    whole : Distribution
        That of y.
    base, ends : Distribution, tuple of Tensor (..., n_features)
        The distribution of an increasing function of y, and the values of that function
        at the limits.
    limits : tuple of Tensor (n_features,)
        Lower and upper ones; infinite where there are none.
    """

    def __init__(self, whole, base, ends, limits, support):
        self.whole, self.base, self.support = whole, base, support
        (self.low_end, self.high_end), (self.lower, self.upper) = ends, limits
        super().__init__(whole.batch_shape, self.lower.shape)

    @property
    @override
    def mean(self):
        return self.whole.mean

    @property
    @override
    def variance(self):
        return self.whole.variance

    def _restrict(self, x):
        return torch.minimum(torch.maximum(x, self.lower), self.upper)

    @override
    def sample(self, sample_shape=()):
        with torch.no_grad():
            return self._restrict(self.whole.sample(sample_shape))

    def draw_at(self, level):
        """Return the draws that uniform levels stand for, ``(..., n_features)``."""
        return self._restrict(draw_at(self.whole, level))

    @override
    def log_prob(self, value):
        is_low, is_high = value <= widen(self.lower), value >= -widen(-self.upper)
        # any value between the limits, or the only one
        inside = torch.where(
            is_low, self.lower, torch.where(is_high, self.upper, value)
        )
        found = self.whole.log_prob(inside)
        found = torch.where(is_low, log_cdf(self.base, self.low_end), found)
        return torch.where(is_high, log_survival(self.base, self.high_end), found)
