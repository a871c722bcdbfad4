"""The continuous Bernoulli distribution."""

import math

import torch
from torch.distributions import constraints
from typing_extensions import override

from ._base import UncheckedDistribution

# B_2n / (2n (2n)!), with the Bernoulli numbers B: log(sinh(h) / h) at h = η / 2 in
# powers of η²
_LOG_SINHC = [
    b / (2 * n * math.factorial(2 * n))
    for n, b in enumerate(
        [
            1 / 6,
            -1 / 30,
            1 / 42,
            -1 / 30,
            5 / 66,
            -691 / 2730,
            7 / 6,
            -3617 / 510,
            43867 / 798,
            -174611 / 330,
        ],
        start=1,
    )
]
# that series is exact to double precision for logits up to here
_SERIES_TO = 1.0


def _sum_series(square, coefficients):
    total = torch.full_like(square, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * square + coefficient
    return total


def continuous_bernoulli_mean(logits):
    """Return 1 / (1 - exp(-η)) - 1 / η, the limit 1/2 at η = 0 included."""
    size = logits.abs()
    far = size.clamp_min(_SERIES_TO)
    # for logits -|η|: exact for small means
    mean_far = 1 / far - torch.exp(-far) / -torch.expm1(-far)
    near = size.clamp(max=_SERIES_TO)
    slopes = [2 * n * c for n, c in enumerate(_LOG_SINHC, 1)]
    mean_near = 0.5 - near * _sum_series(near**2, slopes)
    mean = torch.where(size > _SERIES_TO, mean_far, mean_near)
    return torch.where(logits > 0, 1 - mean, mean)


class ContinuousBernoulli(UncheckedDistribution):
    """The continuous Bernoulli distribution, exact near to and far from logits of 0.

    In torch's own a polynomial of low degree replaces the normaliser around 0, and
    digits are lost beside it and far from 0.
    """

    support = constraints.unit_interval

    def __init__(self, logits):
        self.logits = logits
        super().__init__(logits.shape)

    @property
    @override
    def mean(self):
        return continuous_bernoulli_mean(self.logits)

    @property
    @override
    def variance(self):
        """Variance, ``1 / η² - 1 / (4 sinh²(η / 2))``."""
        size = self.logits.abs()
        far = size.clamp_min(_SERIES_TO)
        # 1 / (4 sinh²(η / 2)) = exp(-η) / (1 - exp(-η))²
        of_far = 1 / far**2 - torch.exp(-far) / torch.expm1(-far) ** 2
        near = size.clamp(max=_SERIES_TO)
        curvatures = [2 * n * (2 * n - 1) * c for n, c in enumerate(_LOG_SINHC, 1)]
        of_near = _sum_series(near**2, curvatures)
        return torch.where(size > _SERIES_TO, of_far, of_near)

    def _draw(self, shape):
        u = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
        return self.draw_at(u)

    def draw_at(self, level):
        """Return the draws that uniform levels stand for, ``(..., n_features)``."""
        # for logits -|η|; below a millionth the distribution is uniform
        size = self.logits.abs().clamp_min(1e-6)
        x = -torch.log1p(level * torch.expm1(-size)) / size
        return torch.where(self.logits > 0, 1 - x, x).clamp(0.0, 1.0)

    @override
    def log_prob(self, value):
        """Return η x - log((exp(η) - 1) / η), the limit 0 at η = 0 included."""
        size = self.logits.abs()
        far = size.clamp_min(_SERIES_TO)
        # the distance from the end that the density favours: no large terms cancel
        distance = torch.where(self.logits > 0, 1 - value, value)
        log_far = -far * distance - torch.log(-torch.expm1(-far) / far)
        # without |η|, whose slope at 0 is not that of the density
        near = self.logits.clamp(-_SERIES_TO, _SERIES_TO)
        square = near.square()
        log_near = near * (value - 0.5) - square * _sum_series(square, _LOG_SINHC)
        return torch.where(size > _SERIES_TO, log_far, log_near)
