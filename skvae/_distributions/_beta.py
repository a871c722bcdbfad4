"""The beta distribution."""

import torch
from scipy.special import betaincinv
from torch.distributions import constraints
from torch.nn.functional import logsigmoid
from typing_extensions import override

from ._base import HALF_LOG_2PI, UncheckedDistribution, apply_numpy, stirling_error

# largest size of the mean's logit
MAX_LOGIT = 30.0


class _OpenUnitInterval(constraints.Constraint):
    """Numbers above 0 and below 1."""

    def check(self, value):
        return (value > 0) & (value < 1)


def _draw_log_gamma(log_shape, shape):
    """Draw logarithms of gamma variables, which do not underflow for small shapes."""
    a = log_shape.exp().expand(shape).contiguous()
    # of shape a + 1, times U^(1 / a) (Marsaglia & Tsang 2000, section 6)
    draw, least = torch._standard_gamma(a + 1).log(), torch.finfo(a.dtype).tiny
    return draw + torch.rand_like(a).clamp_min(least).log() / a.clamp_min(least)


class Beta(UncheckedDistribution):
    """Beta(μφ, (1 - μ)φ), by the logit of its mean μ and its log precision, log φ.

    Exact where the precision is so large that log-gamma functions cancel. The mean
    stays within logits of 30.
    """

    support = _OpenUnitInterval()

    def __init__(self, logit, log_precision):
        self.logit, self.log_precision = logit, log_precision
        super().__init__(logit.shape, log_precision.shape)

    @property
    def _bounded_logit(self):
        return self.logit.clamp(-MAX_LOGIT, MAX_LOGIT)

    @property
    @override
    def mean(self):
        return torch.sigmoid(self._bounded_logit).expand(self.batch_shape)

    @property
    @override
    def variance(self):
        rest = torch.sigmoid(-self._bounded_logit)
        return self.mean * rest / (1 + self.log_precision.exp())

    def _draw(self, shape):
        ends = self._bounded_logit, -self._bounded_logit
        log_shapes = (self.log_precision + logsigmoid(end) for end in ends)
        up, down = (_draw_log_gamma(log_shape, shape) for log_shape in log_shapes)
        info = torch.finfo(up.dtype)
        return torch.sigmoid(up - down).clamp(info.tiny, 1 - info.eps / 2)

    def draw_at(self, level):
        """Return the draws that uniform levels stand for, ``(..., n_features)``."""
        precision = self.log_precision.exp().expand_as(level)
        mean = torch.sigmoid(self._bounded_logit).expand_as(level)
        x = apply_numpy(betaincinv, mean * precision, (1 - mean) * precision, level)
        info = torch.finfo(x.dtype)
        x = torch.where(x.isnan(), mean, x)
        return x.clamp(info.tiny, 1 - info.eps / 2)

    @override
    def log_prob(self, value):
        """Return the log density, ``(...)``; values are constants to autograd.

        log p = -φ KL(μ || x) - log x (1 - x) + log(φ μ (1 - μ) / 2π) / 2 - R(μφ)
        - R((1 - μ)φ) + R(φ), R being the error of Stirling's formula: the large terms
        of log-gamma functions, which would cancel, do not occur.
        """
        info = torch.finfo(value.dtype)
        # values that round to 0 or 1 count as the next ones inside
        x = value.detach().clamp(info.tiny, 1 - info.eps / 2)
        logit, precision = self._bounded_logit, self.log_precision.exp()
        mean, rest = torch.sigmoid(logit), torch.sigmoid(-logit)
        log_mean, log_rest = logsigmoid(logit), logsigmoid(-logit)
        log_x, log_1mx = x.log(), torch.log1p(-x)
        # where x is near the mean, the first orders of the two logarithms cancel
        step = x - mean
        is_near = step.abs() < 0.5 * torch.minimum(mean, rest)
        step = torch.where(is_near, step, 0.0)
        up = torch.where(is_near, torch.log1p(step / mean), log_x - log_mean)
        down = torch.where(is_near, torch.log1p(-step / rest), log_1mx - log_rest)
        # μ d(up)/dμ + (1 - μ) d(down)/dμ = 0: both are constants to autograd, whose
        # rounding errors times φ would exceed the slope
        divergence = mean * up.detach() + rest * down.detach()
        error = (
            stirling_error(precision)
            - stirling_error(precision * mean)
            - stirling_error(precision * rest)
        )
        log_width = 0.5 * (self.log_precision + log_mean + log_rest)
        large = precision * divergence
        return error + large - log_x - log_1mx + log_width - HALF_LOG_2PI
