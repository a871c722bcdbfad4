"""The beta law."""

import torch
from torch.distributions import Distribution, constraints
from torch.nn.functional import logsigmoid

from ._base import HALF_LOG_2PI
from ._continuous_bernoulli import _sum_series

# the mean of a beta law stays this far from the ends, in logits
MAX_LOGIT = 30.0
# below, torch's functions; above, Stirling's series is exact to double precision
_STIRLING_FROM = 10.0
# log Γ(a) - (a - 1/2) log a + a - log(2π) / 2 in odd powers of 1 / a
_STIRLING = [1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156]


def _stirling(a):
    """Return R(a) = log Γ(a) - (a - 1/2) log a + a - log(2π) / 2, and a (log a - ψ(a)).

    Both are small for large a, where log Γ is not: (0, 1/2) is the limit.
    """
    near, inverse = a.clamp(max=_STIRLING_FROM), 1 / a.clamp_min(_STIRLING_FROM)
    log_near = near.log()
    remainder = torch.lgamma(near) - (near - 0.5) * log_near + near - HALF_LOG_2PI
    slope = near * (log_near - torch.digamma(near))
    series = inverse * _sum_series(inverse**2, _STIRLING)
    powers = [(2 * n + 1) * c for n, c in enumerate(_STIRLING)]
    slope_series = 0.5 + inverse * _sum_series(inverse**2, powers)
    is_near = a < _STIRLING_FROM
    return (
        torch.where(is_near, remainder, series),
        torch.where(is_near, slope, slope_series),
    )


def _read_beta(x, logit, log_precision):
    """Return what density and gradients of a beta law are made of."""
    info = torch.finfo(x.dtype)
    # what rounds to an end counts as the value next to it
    x = x.clamp(info.tiny, 1 - info.eps / 2)
    logit = logit.clamp(-MAX_LOGIT, MAX_LOGIT)
    mean, rest = torch.sigmoid(logit), torch.sigmoid(-logit)
    precision = log_precision.exp()
    log_x, log_rest = x.log(), torch.log1p(-x)
    # φ KL(μ || x): where x is near the mean, its logarithms' first orders cancel
    step = x - mean
    is_near = step.abs() < 0.5 * torch.minimum(mean, rest)
    step = torch.where(is_near, step, torch.zeros_like(step))
    log_mean = torch.nn.functional.logsigmoid(logit)
    log_one_less = torch.nn.functional.logsigmoid(-logit)
    up = torch.where(is_near, torch.log1p(step / mean), log_x - log_mean)
    down = torch.where(is_near, torch.log1p(-step / rest), log_rest - log_one_less)
    divergence = -precision * (mean * up + rest * down)
    return mean, rest, precision, log_x, log_rest, up, down, divergence


def beta_log_prob(x, logit, log_precision):
    """Return the log density of a beta law by the logit of its mean and log φ.

    log p = -φ KL(μ || x) - log x (1 - x) + log(φ μ (1 - μ) / 2π) / 2 - R(μφ)
    - R((1 - μ)φ) + R(φ), R being the remainder of Stirling's formula: large terms, of
    which there are none here for large φ, would cancel.
    """
    found = _read_beta(x, logit, log_precision)
    mean, rest, precision, log_x, log_rest, _, _, divergence = found
    remainder = (
        _stirling(precision)[0]
        - _stirling(precision * mean)[0]
        - _stirling(precision * rest)[0]
    )
    log_width = 0.5 * (log_precision + mean.log() + rest.log())
    return remainder - divergence - log_x - log_rest + log_width - HALF_LOG_2PI


def beta_gradients(x, logit, log_precision):
    """Return the derivatives of `beta_log_prob` by logit and log_precision.

    With h(a) = a (log a - ψ(a)): φ μ (1 - μ) (logit x - logit μ) + (1 - μ) h(μφ)
    - μ h((1 - μ)φ), and -φ KL(μ || x) + h(μφ) + h((1 - μ)φ) - h(φ).
    """
    found = _read_beta(x, logit, log_precision)
    mean, rest, precision, _, _, up, down, divergence = found
    by_mean = _stirling(precision * mean)[1]
    by_rest = _stirling(precision * rest)[1]
    by_logit = precision * mean * rest * (up - down) + rest * by_mean - mean * by_rest
    by_logit = by_logit * (logit.abs() <= MAX_LOGIT)
    by_log_precision = by_mean + by_rest - _stirling(precision)[1] - divergence
    return by_logit, by_log_precision


class _BetaLogProb(torch.autograd.Function):
    """`beta_log_prob` for autograd; x is a constant."""

    @staticmethod
    def forward(ctx, x, logit, log_precision):
        ctx.save_for_backward(x, logit, log_precision)
        return beta_log_prob(x, logit, log_precision)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        _, logit, log_precision = ctx.saved_tensors
        by_logit, by_log_precision = beta_gradients(*ctx.saved_tensors)
        return (
            None,
            (grad * by_logit).sum_to_size(logit.shape),
            (grad * by_log_precision).sum_to_size(log_precision.shape),
        )


class _OpenUnitInterval(constraints.Constraint):
    """Numbers above 0 and below 1."""

    def check(self, value):
        return (value > 0) & (value < 1)


def _draw_log_gamma(log_shape, shape):
    """Draw logarithms of gamma variables, of which those of small shape underflow."""
    a = log_shape.exp().expand(shape).contiguous()
    # of shape a + 1, times U^(1 / a) (Marsaglia & Tsang 2000, section 6)
    draw, least = torch._standard_gamma(a + 1).log(), torch.finfo(a.dtype).tiny
    return draw + torch.rand_like(a).clamp_min(least).log() / a.clamp_min(least)


class Beta(Distribution):
    """The beta law by the logit of its mean and the logarithm of its precision.

    Exact where the precision is so large that log-gamma functions cancel.

    Parameters
    ----------
    logit, log_precision : Tensor (...)
        Of the mean μ, which stays within logits of 30, and φ: the law is
        Beta(μφ, (1 - μ)φ).
    """

    support = _OpenUnitInterval()
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, logit, log_precision, validate_args=False):
        self.logit, self.log_precision = logit, log_precision
        shape = torch.broadcast_shapes(logit.shape, log_precision.shape)
        super().__init__(shape, validate_args=validate_args)

    @property
    def mean(self):
        """Mean, ``(...)``."""
        logit = self.logit.clamp(-MAX_LOGIT, MAX_LOGIT)
        return torch.sigmoid(logit).expand(self.batch_shape)

    @property
    def variance(self):
        """Variance, ``μ (1 - μ) / (1 + φ)``."""
        rest = torch.sigmoid(-self.logit.clamp(-MAX_LOGIT, MAX_LOGIT))
        return self.mean * rest / (1 + self.log_precision.exp())

    def sample(self, sample_shape=()):
        """Draw values, ``sample_shape + (...)``."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.batch_shape
            logit = self.logit.clamp(-MAX_LOGIT, MAX_LOGIT)
            odds = _draw_log_gamma(
                self.log_precision + logsigmoid(logit), shape
            ) - _draw_log_gamma(self.log_precision + logsigmoid(-logit), shape)
            info = torch.finfo(odds.dtype)
            return torch.sigmoid(odds).clamp(info.tiny, 1 - info.eps / 2)

    def log_prob(self, value):
        """Return the log density, ``(...)``."""
        return _BetaLogProb.apply(value, self.logit, self.log_precision)
