"""The log-normal distribution."""

import math

import torch
from torch.distributions import constraints
from typing_extensions import override

from ._base import HALF_LOG_2PI, UncheckedDistribution


class LogNormal(UncheckedDistribution):
    """exp of N(loc, exp(log_scale)²), with finite and positive moments and samples."""

    support = constraints.positive

    def __init__(self, loc, log_scale):
        self.loc, self.log_scale = loc, log_scale
        super().__init__(loc.shape, log_scale.shape)

    @property
    def scale(self):
        """Standard deviation of the logarithm."""
        return self.log_scale.exp()

    @staticmethod
    def _exp(log):
        info = torch.finfo(log.dtype)
        # a margin for the rounding of the logarithm
        return log.clamp(math.log(info.tiny) + 0.01, math.log(info.max) - 0.01).exp()

    @property
    @override
    def mean(self):
        return self._exp(self.loc + self.scale**2 / 2)

    @property
    @override
    def variance(self):
        square = self.scale**2
        # log(exp(s) - 1), which would overflow: s + log(1 - exp(-s))
        log_excess = square + torch.log(-torch.expm1(-square))
        return self._exp(log_excess + 2 * self.loc + square)

    def _draw(self, shape):
        normal = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self._exp(self.loc + self.scale * normal)

    @override
    def log_prob(self, value):
        """Return the log density, ``(...)``; values that round to 0 count as tiny."""
        info = torch.finfo(value.dtype)
        log = value.clamp(info.tiny, info.max).log()
        e = (log - self.loc) * torch.exp(-self.log_scale)
        return -0.5 * e**2 - self.log_scale - HALF_LOG_2PI - log
