"""The log-normal distribution."""

import math

import torch
from torch.distributions import constraints
from typing_extensions import override

from ._monotone import TransformedColumns


class LogMap:
    """The logarithm as a map of positive columns, finite in both directions."""

    def to(self, like):
        """Return the map for tensors of a kind."""
        return self

    def select(self, column):
        """Return the map of one column."""
        return self

    def forward(self, x):
        """Return logarithms, and the logarithm of the slope there."""
        # what single precision rounds to zero has a logarithm all the same
        info = torch.finfo(x.dtype)
        log = x.clamp(info.tiny, info.max).log()
        return log, -log

    def inverse(self, t):
        """Return exp(t), positive and finite."""
        info = torch.finfo(t.dtype)
        # a margin for the rounding of the logarithm
        return t.clamp(math.log(info.tiny) + 0.01, math.log(info.max) - 0.01).exp()


class LogNormal(TransformedColumns):
    """Columns whose logarithms are normal, with moments in closed form."""

    support = constraints.positive

    def _compute_log_moments(self):
        """Return mean and variance of the logarithms."""
        unit = self.log_unit.exp()
        return self.base.loc * unit, (self.base.scale * unit).square()

    @property
    @override
    def mean(self):
        loc, variance = self._compute_log_moments()
        return self.map.inverse(loc + variance / 2)

    @property
    @override
    def variance(self):
        loc, variance = self._compute_log_moments()
        # log(exp(s) - 1), which would overflow: s + log(1 - exp(-s))
        log_excess = variance + torch.log(-torch.expm1(-variance))
        return self.map.inverse(log_excess + 2 * loc + variance)
