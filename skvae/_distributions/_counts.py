"""Columns of counts."""

import torch
from scipy.stats import nbinom, poisson
from torch.distributions import constraints
from torch.nn.functional import softplus
from typing_extensions import override

from ._base import HALF_LOG_2PI, UncheckedDistribution, apply_numpy, stirling_error

# from this rate on Poisson counts are normal to all digits of a float
_NORMAL_FROM = 1e15


def draw_counts(rate):
    """Return Poisson counts, or normal ones for rates beyond the range of integers."""
    small = torch.poisson(rate.clamp(max=_NORMAL_FROM))
    if (rate < _NORMAL_FROM).all():
        return small
    large = (rate + rate.sqrt() * torch.randn_like(rate)).round()
    return torch.where(rate < _NORMAL_FROM, small, large)


class LogPoisson(UncheckedDistribution):
    """Poisson counts by their log rate: finite for the smallest rates."""

    support = constraints.nonnegative_integer

    def __init__(self, log_rate):
        self.log_rate = log_rate
        super().__init__(log_rate.shape)

    @property
    @override
    def mean(self):
        return self.log_rate.exp()

    variance = mean

    @override
    def log_prob(self, value):
        """Return the log-probability of every column, ``(..., n_features)``.

        The large terms of Stirling's formula for log x! cancel against x log λ. The
        others are -x (e^d - 1 - d), d = log(λ / x), and terms that hardly grow with x.
        """
        positive = value.clamp(min=1)
        log_value = positive.log()
        distance = self.log_rate - log_value
        deviance = positive * (torch.expm1(distance) - distance)
        rest = 0.5 * log_value + HALF_LOG_2PI + stirling_error(positive)
        return torch.where(value < 1, -self.log_rate.exp(), -deviance - rest)

    def _draw(self, shape):
        return draw_counts(self.mean.expand(shape))

    def draw_at(self, level):
        """Return the draws that uniform levels stand for, ``(..., n_features)``."""
        mean = self.mean.expand_as(level)
        x = apply_numpy(poisson.ppf, level, mean)
        return torch.where(x.isfinite(), x, mean.round())


class MeanNegativeBinomial(UncheckedDistribution):
    """Counts of mean μ and variance μ + μ² / θ: Poisson counts with a gamma rate."""

    support = constraints.nonnegative_integer

    def __init__(self, log_mean, log_dispersion):
        self.log_mean, self.log_dispersion = log_mean, log_dispersion
        super().__init__(log_mean.shape, log_dispersion.shape)

    @property
    @override
    def mean(self):
        return self.log_mean.exp().expand(self.batch_shape)

    @property
    @override
    def variance(self):
        mean = self.log_mean.exp()
        return mean + (2 * self.log_mean - self.log_dispersion).exp()

    def _draw(self, shape):
        theta = self.log_dispersion.exp().expand(shape).contiguous()
        noise = torch._standard_gamma(theta) / theta
        return draw_counts(self.log_mean.exp() * noise)

    def draw_at(self, level):
        """Return the draws that uniform levels stand for, ``(..., n_features)``."""
        mean = self.mean.expand_as(level)
        theta = self.log_dispersion.exp().expand_as(level)
        x = apply_numpy(nbinom.ppf, level, theta, theta / (theta + mean))
        return torch.where(x.isfinite(), x, mean.round())

    @override
    def log_prob(self, value):
        """Return the log-probability of every column, ``(..., n_features)``.

        All gamma functions are replaced by Stirling's formula. The two largest terms
        that are left cancel. They are subtracted in one way for large θ, near the
        Poisson distribution, and in another for small θ.
        """
        positive = value.clamp(min=1)
        log_value = positive.log()
        mean, theta = self.log_mean.exp(), self.log_dispersion.exp()
        total = theta + mean
        excess = (positive - mean) / total
        # log((x + θ) / (μ + θ)); log1p loses digits where it is far below 0
        is_far = excess < -0.5
        near = torch.log1p(torch.where(is_far, 0.0, excess))
        far = torch.log(positive + theta) - torch.log(total)
        ratio = torch.where(is_far, far, near)
        # x log(μ / x) + (x + θ) log((x + θ) / (μ + θ))
        distance = self.log_mean - log_value
        close = total * ((positive + theta) / total * ratio - excess)
        close = close - positive * (torch.expm1(distance) - distance)
        by_value = softplus(self.log_dispersion - log_value)
        by_mean = softplus(self.log_dispersion - self.log_mean)
        apart = positive * (by_value - by_mean) + theta * ratio
        log_prob = (
            # at the border the rounding errors of the two are about the same
            torch.where(theta > positive ** (2 / 3), close, apart)
            - 0.5 * (log_value + torch.log1p(positive / theta))
            - HALF_LOG_2PI
            - stirling_error(positive)
            + stirling_error(positive + theta)
            - stirling_error(theta)
        )
        zero = -theta * softplus(self.log_mean - self.log_dispersion)
        return torch.where(value < 1, zero, log_prob)
