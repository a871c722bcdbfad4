"""Columns of counts."""

import torch
from torch.distributions import Distribution, Poisson, constraints
from torch.nn.functional import logsigmoid, softplus

from ._base import HALF_LOG_2PI, stirling_error

# Poisson counts are normal, to all digits of a float, from here on
_NORMAL_FROM = 1e15


def log_poisson(value, log_rate):
    """Return log p of counts, ``(...)``.

    With Stirling's formula for log x!, whose large terms cancel against x log λ, what
    remains is -x (e^d - 1 - d), d = log(λ / x), and terms that hardly grow with x.
    """
    positive = value.clamp(min=1)
    log_value = positive.log()
    distance = log_rate - log_value
    deviance = positive * (torch.expm1(distance) - distance)
    rest = 0.5 * log_value + HALF_LOG_2PI + stirling_error(positive)
    return torch.where(value < 1, -log_rate.exp(), -deviance - rest)


def draw_counts(rate):
    """Return Poisson counts, as normal ones where those would leave the integers."""
    small = torch.poisson(rate.clamp(max=_NORMAL_FROM))
    if (rate < _NORMAL_FROM).all():
        return small
    large = (rate + rate.sqrt() * torch.randn_like(rate)).round()
    return torch.where(rate < _NORMAL_FROM, small, large)


class LogPoisson(Poisson):
    """Counts whose log rate is known: finite however small the rate.

    Parameters
    ----------
    log_rate : Tensor (..., n_features)
    """

    def __init__(self, log_rate, validate_args=False):
        self.log_rate = log_rate
        super().__init__(log_rate.exp(), validate_args=validate_args)

    def log_prob(self, value):
        """Return the log-probability of every column, ``(..., n_features)``."""
        return log_poisson(value, self.log_rate)

    def sample(self, sample_shape=()):
        """Draw one count of every column, ``sample_shape + (..., n_features)``."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.batch_shape
            return draw_counts(self.rate.expand(shape))


class MeanNegativeBinomial(Distribution):
    """Counts of mean μ and variance μ + μ² / θ: Poisson counts with a gamma rate.

    Parameters
    ----------
    log_mean, log_dispersion : Tensor (..., n_features)
        Of μ and θ.
    """

    support = constraints.nonnegative_integer
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, log_mean, log_dispersion, validate_args=False):
        self.log_mean, self.log_dispersion = log_mean, log_dispersion
        shape = torch.broadcast_shapes(log_mean.shape, log_dispersion.shape)
        super().__init__(shape, validate_args=validate_args)

    @property
    def mean(self):
        """Mean of every column, ``(..., n_features)``."""
        return self.log_mean.exp().expand(self.batch_shape)

    @property
    def variance(self):
        """Variance of every column, ``(..., n_features)``."""
        mean = self.log_mean.exp()
        return mean + (2 * self.log_mean - self.log_dispersion).exp()

    def sample(self, sample_shape=()):
        """Draw one count of every column, ``sample_shape + (..., n_features)``."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.batch_shape
            theta = self.log_dispersion.exp().expand(shape).contiguous()
            noise = torch._standard_gamma(theta) / theta
            return draw_counts(self.log_mean.exp() * noise)

    def log_prob(self, value):
        """Return the log-probability of every column, ``(..., n_features)``.

        With Stirling's formula for all gamma functions. Of what remains the two largest
        terms cancel, in one way where θ is large, near the Poisson law, and in another
        where it is small.
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
            # where rounding costs the two about the same
            torch.where(theta > positive ** (2 / 3), close, apart)
            - 0.5 * (log_value + torch.log1p(positive / theta))
            - HALF_LOG_2PI
            - stirling_error(positive)
            + stirling_error(positive + theta)
            - stirling_error(theta)
        )
        zero = -theta * softplus(self.log_mean - self.log_dispersion)
        return torch.where(value < 1, zero, log_prob)


class ZeroInflated(Distribution):
    """A law of counts, or with some probability a zero, in every column.

    Parameters
    ----------
    base : Distribution
        With one value a column, over non-negative numbers.
    logits : Tensor (..., n_features)
        Log-odds of the extra zeros.
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, base, logits, validate_args=False):
        self.base, self.logits = base, logits
        shape = torch.broadcast_shapes(base.batch_shape, logits.shape)
        super().__init__(shape, validate_args=validate_args)

    @property
    def support(self):
        """What the law of counts supports."""
        return self.base.support

    @property
    def mean(self):
        """Mean of every column, ``(..., n_features)``."""
        return torch.sigmoid(-self.logits) * self.base.mean

    @property
    def variance(self):
        """Variance of every column, ``(..., n_features)``."""
        kept, zero = torch.sigmoid(-self.logits), torch.sigmoid(self.logits)
        return kept * (self.base.variance + zero * self.base.mean**2)

    def sample(self, sample_shape=()):
        """Draw one count of every column, ``sample_shape + (..., n_features)``."""
        with torch.no_grad():
            x = self.base.sample(sample_shape)
            return torch.where(torch.rand_like(x) < torch.sigmoid(self.logits), 0.0, x)

    def log_prob(self, value):
        """Return the log-probability of every column, ``(..., n_features)``."""
        log_prob = self.base.log_prob(value)
        # π + (1 - π) p(0) is (1 - π) (exp(logit) + p(0))
        log_prob = torch.where(
            value == 0, torch.logaddexp(self.logits, log_prob), log_prob
        )
        return log_prob + logsigmoid(-self.logits)
