"""Student's t distribution."""

import torch
from scipy.special import stdtrit
from typing_extensions import override

from ._base import HALF_LOG_2PI, UncheckedDistribution, apply_numpy

# below, torch's functions lose no digits; above, the asymptotic series is exact
_SERIES_FROM = 20.0


def _log_normaliser(df):
    """Return log f(0) of Student's t at scale 1, large ``df`` included.

    With a = df / 2 it is log Γ(a + 1/2) - log Γ(a) - log(a) / 2 - log(2π) / 2. The
    first two cancel for large a, where the series of Tricomi & Erdélyi (1951), "The
    asymptotic expansion of a ratio of gamma functions", replaces them.
    """
    a = df / 2
    near, inverse = a.clamp(max=_SERIES_FROM), 1 / a.clamp_min(_SERIES_FROM)
    exact = torch.lgamma(near + 0.5) - torch.lgamma(near) - 0.5 * near.log()
    square = inverse**2
    series = -1 / 8 + square * (1 / 192 + square * (-1 / 640 + square * 17 / 14336))
    return torch.where(a < _SERIES_FROM, exact, inverse * series) - HALF_LOG_2PI


class StudentT(UncheckedDistribution):
    """Student's t, exact for many degrees of freedom too."""

    # a distance whose square is finite in single precision
    _FARTHEST = 1e18

    def __init__(self, loc, scale, df):
        self.loc, self.scale, self.df = loc, scale, df
        super().__init__(loc.shape, scale.shape, df.shape)

    @property
    @override
    def mean(self):
        """Location; it is the mean if ``df > 1``."""
        return self.loc.expand(self.batch_shape)

    @property
    @override
    def variance(self):
        """Variance; infinite if ``df <= 2``."""
        ratio = torch.where(self.df > 2, self.df / (self.df - 2), torch.inf)
        return (self.scale**2 * ratio).expand(self.batch_shape)

    def _draw(self, shape):
        normal = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        mean = torch._standard_gamma(self.df.to(self.loc) / 2.0 + normal * 0)
        mean = (2 * mean / self.df).clamp_min(torch.finfo(mean.dtype).tiny)
        return self.loc + self.scale * normal * mean.rsqrt()

    def draw_at(self, level):
        """Return the draws that uniform levels stand for, ``(..., n_features)``."""
        unit = apply_numpy(stdtrit, self.df.to(level).expand_as(level), level)
        return self.loc + self.scale * unit

    @override
    def log_prob(self, value):
        e = ((value - self.loc) / self.scale).clamp(-self._FARTHEST, self._FARTHEST)
        tail = 0.5 * (self.df + 1) * torch.log1p(e**2 / self.df)
        return _log_normaliser(self.df) - self.scale.log() - tail
