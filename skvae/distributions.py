"""Distributions that torch lacks, or whose gradient it takes the long way round.

Nothing here knows of encoders, decoders or data sets.
"""

import copy
import math

import torch
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    Normal,
    Poisson,
    constraints,
    register_kl,
)
from torch.nn.functional import logsigmoid

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def detach(distribution):
    """Return a distribution with the same, constant parameters."""
    constant = copy.copy(distribution)
    for name, value in vars(distribution).items():
        if isinstance(value, torch.Tensor):
            setattr(constant, name, value.detach())
        elif isinstance(value, Distribution):
            setattr(constant, name, detach(value))
    return constant


def _without_autocast(tensor):
    """Return a context in which products keep the precision of their factors."""
    return torch.autocast(tensor.device.type, enabled=False)


class _MixtureLogProb(torch.autograd.Function):
    """log Σ_k softmax(logits)_k N(x; loc_k, exp(log_scale_k)²), in one node.

    Autograd would record some twenty nodes. The gradient is known: with the
    responsibilities r_k and the standardised residuals e_k = (x - loc_k) / scale_k,

        d/dlogits_k = r_k - w_k,  d/dloc_k = r_k e_k / scale_k,
        d/dlog_scale_k = r_k (e_k² - 1).
    """

    @staticmethod
    def forward(ctx, x, logits, loc, log_scale):
        # x (..., d); the others (..., K, d)
        inverse_scale = torch.exp(-log_scale)
        residual = (x.unsqueeze(-2) - loc) * inverse_scale
        log_weights = torch.log_softmax(logits, dim=-2)
        joint = torch.addcmul(log_weights - log_scale, residual, residual, value=-0.5)
        log_prob = torch.logsumexp(joint, dim=-2)
        if any(ctx.needs_input_grad):
            responsibility = torch.exp(joint - log_prob.unsqueeze(-2))
            ctx.save_for_backward(responsibility, residual, inverse_scale, log_weights)
        return log_prob - _HALF_LOG_2PI

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        responsibility, residual, inverse_scale, log_weights = ctx.saved_tensors
        grad = grad.unsqueeze(-2)
        weighted = responsibility * grad
        pull = weighted * residual
        grad_logits = weighted - grad * torch.exp(log_weights)
        grad_loc = pull * inverse_scale
        grad_log_scale = pull * residual - weighted
        grad_x = -grad_loc.sum(dim=-2) if ctx.needs_input_grad[0] else None
        return grad_x, grad_logits, grad_loc, grad_log_scale


class _DiagonalMixtureLogProb(torch.autograd.Function):
    """log Σ_k softmax(logits)_k N(z; loc_k, diag exp(log_scale_k)²), in one node."""

    @staticmethod
    def forward(ctx, z, logits, loc, log_scale):
        # z (..., q); logits (..., K); loc, log_scale (..., K, q)
        inverse_scale = torch.exp(-log_scale)
        residual = (z.unsqueeze(-2) - loc) * inverse_scale
        log_weights = torch.log_softmax(logits, dim=-1)
        joint = log_weights - log_scale.sum(dim=-1)
        joint = torch.add(joint, residual.square().sum(dim=-1), alpha=-0.5)
        log_prob = torch.logsumexp(joint, dim=-1)
        if any(ctx.needs_input_grad):
            responsibility = torch.exp(joint - log_prob.unsqueeze(-1))
            ctx.save_for_backward(responsibility, residual, inverse_scale, log_weights)
            ctx.shapes = logits.shape, loc.shape
        return log_prob - _HALF_LOG_2PI * z.shape[-1]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        responsibility, residual, inverse_scale, log_weights = ctx.saved_tensors
        weights_shape, loc_shape = ctx.shapes
        grad = grad.unsqueeze(-1)
        weighted = responsibility * grad
        pull = weighted.unsqueeze(-1) * residual
        by_loc = pull * inverse_scale
        grad_z = -by_loc.sum(dim=-2) if ctx.needs_input_grad[0] else None
        if not any(ctx.needs_input_grad[1:]):
            return grad_z, None, None, None
        grad_logits = weighted - grad * torch.exp(log_weights)
        grad_log_scale = pull * residual - weighted.unsqueeze(-1)
        return (
            grad_z,
            grad_logits.sum_to_size(weights_shape),
            by_loc.sum_to_size(loc_shape),
            grad_log_scale.sum_to_size(loc_shape),
        )


class NormalMixture(Distribution):
    """A mixture of normals for every column, independent across columns.

    ``torch.distributions.MixtureSameFamily`` is the same law; this one evaluates its
    density and the gradient of it several times as fast.

    Parameters
    ----------
    logits, loc, log_scale : Tensor (..., n_mixture, n_features)
        Unnormalised log-weights, means and log standard deviations.
    """

    support = constraints.real
    arg_constraints = {}  # noqa: RUF012  (torch's own convention)

    def __init__(self, logits, loc, log_scale, validate_args=False):
        self.logits, self.loc, self.log_scale = logits, loc, log_scale
        super().__init__(loc.shape[:-2] + loc.shape[-1:], validate_args=validate_args)

    @property
    def probs(self):
        """Weights, ``(..., n_mixture, n_features)``."""
        return torch.softmax(self.logits, dim=-2)

    @property
    def mean(self):
        """Mean of every column, ``(..., n_features)``."""
        return (self.probs * self.loc).sum(dim=-2)

    @property
    def variance(self):
        """Variance of every column, ``(..., n_features)``."""
        spread = (self.loc - self.mean.unsqueeze(-2)) ** 2
        return (self.probs * (torch.exp(2 * self.log_scale) + spread)).sum(dim=-2)

    def sample(self, sample_shape=()):
        """Draw one value of every column, ``sample_shape + (..., n_features)``."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.loc.shape
            # as many weights as lie, summed up, below a uniform number
            bounds = self.probs.cumsum(dim=-2)[..., :-1, :]
            level = torch.rand_like(self.loc.expand(shape)[..., :1, :])
            index = (bounds < level).sum(dim=-2, keepdim=True)
            loc = self.loc.expand(shape).gather(-2, index).squeeze(-2)
            log_scale = self.log_scale.expand(shape).gather(-2, index).squeeze(-2)
            return torch.normal(loc, log_scale.exp())

    def log_prob(self, value):
        """Return the log density of every column, ``(..., n_features)``."""
        return _MixtureLogProb.apply(value, self.logits, self.loc, self.log_scale)


# below, the functions of torch lose no digits; above, their asymptotic series are exact
_SERIES_FROM = 20.0


def _log_gamma_step(a):
    """Return log Γ(a + 1/2) - log Γ(a) - log(a) / 2 and its slope, large a included.

    The two logarithms cancel in all but their last digits for large a. The series is
    that of Tricomi & Erdélyi (1951), "The asymptotic expansion of a ratio of gamma
    functions", in powers of 1 / a.
    """
    near = a.clamp(max=_SERIES_FROM)
    value = torch.lgamma(near + 0.5) - torch.lgamma(near) - 0.5 * near.log()
    slope = torch.digamma(near + 0.5) - torch.digamma(near) - 0.5 / near
    inverse = 1 / a.clamp_min(_SERIES_FROM)
    square = inverse**2
    series = -1 / 8 + square * (1 / 192 + square * (-1 / 640 + square * 17 / 14336))
    series_slope = 1 / 8 + square * (
        -3 / 192 + square * (5 / 640 - square * 7 * 17 / 14336)
    )
    is_near = a < _SERIES_FROM
    return (
        torch.where(is_near, value, inverse * series),
        torch.where(is_near, slope, square * series_slope),
    )


def student_t_normaliser(df):
    """Return log f(0) of Student's t at scale 1, and its derivative by df."""
    value, slope = _log_gamma_step(df / 2)
    return value - _HALF_LOG_2PI, slope / 2


class _StudentTNormaliser(torch.autograd.Function):
    """`student_t_normaliser` for autograd."""

    @staticmethod
    def forward(ctx, df):
        value, slope = student_t_normaliser(df)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0]


class StudentT(Distribution):
    """Student's t, with digits that do not get lost for many degrees of freedom.

    Parameters
    ----------
    loc, scale, df : Tensor (...)
        Location, scale and degrees of freedom.
    """

    support = constraints.real
    arg_constraints = {}  # noqa: RUF012

    # a distance whose square is finite in single precision
    _FARTHEST = 1e18

    def __init__(self, loc, scale, df, validate_args=False):
        self.loc, self.scale, self.df = loc, scale, df
        shape = torch.broadcast_shapes(loc.shape, scale.shape, df.shape)
        super().__init__(shape, validate_args=validate_args)

    @property
    def mean(self):
        """Location; it is the mean if ``df > 1``."""
        return self.loc.expand(self.batch_shape)

    @property
    def variance(self):
        """Variance; infinite if ``df <= 2``."""
        ratio = torch.where(self.df > 2, self.df / (self.df - 2), torch.inf)
        return (self.scale**2 * ratio).expand(self.batch_shape)

    def sample(self, sample_shape=()):
        """Draw values, ``sample_shape + (...)``."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.batch_shape
            normal = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
            mean = torch._standard_gamma(self.df.to(self.loc) / 2.0 + normal * 0)
            mean = (2 * mean / self.df).clamp_min(torch.finfo(mean.dtype).tiny)
            return self.loc + self.scale * normal * mean.rsqrt()

    def log_prob(self, value):
        """Return the log density, ``(...)``."""
        e = ((value - self.loc) / self.scale).clamp(-self._FARTHEST, self._FARTHEST)
        tail = 0.5 * (self.df + 1) * torch.log1p(e**2 / self.df)
        return _StudentTNormaliser.apply(self.df) - self.scale.log() - tail


class LogNormal(Distribution):
    """exp of a normal, with moments and samples that stay finite and positive.

    Parameters
    ----------
    loc, log_scale : Tensor (...)
        Mean and log standard deviation of the logarithm.
    """

    support = constraints.positive
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, loc, log_scale, validate_args=False):
        self.loc, self.log_scale = loc, log_scale
        shape = torch.broadcast_shapes(loc.shape, log_scale.shape)
        super().__init__(shape, validate_args=validate_args)

    @property
    def scale(self):
        """Standard deviation of the logarithm."""
        return self.log_scale.exp()

    @staticmethod
    def _exp(log):
        info = torch.finfo(log.dtype)
        # a little inside, for the rounding of the logarithm
        return log.clamp(math.log(info.tiny) + 0.01, math.log(info.max) - 0.01).exp()

    @property
    def mean(self):
        """Mean, ``exp(loc + scale² / 2)``."""
        return self._exp(self.loc + self.scale**2 / 2)

    @property
    def variance(self):
        """Variance, ``(exp(scale²) - 1) exp(2 loc + scale²)``."""
        square = self.scale**2
        # log(exp(s) - 1), which would overflow: s + log(1 - exp(-s))
        log_excess = square + torch.log(-torch.expm1(-square))
        return self._exp(log_excess + 2 * self.loc + square)

    def sample(self, sample_shape=()):
        """Draw values, ``sample_shape + (...)``."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.batch_shape
            normal = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
            return self._exp(self.loc + self.scale * normal)

    def log_prob(self, value):
        """Return the log density, ``(...)``; what rounds to zero counts as tiny."""
        info = torch.finfo(value.dtype)
        log = value.clamp(info.tiny, info.max).log()
        e = (log - self.loc) * torch.exp(-self.log_scale)
        return -0.5 * e**2 - self.log_scale - _HALF_LOG_2PI - log


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
# logits below which that series is exact to double precision
_SERIES_TO = 1.0


def _sum_series(square, coefficients):
    total = torch.full_like(square, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * square + coefficient
    return total


def continuous_bernoulli_log_prob(x, logits):
    """Return η x - log((exp(η) - 1) / η), the limit 0 at η = 0 included."""
    size = logits.abs()
    # the distance from the end that the density favours: no large terms cancel
    distance = torch.where(logits > 0, 1 - x, x)
    far = size.clamp_min(_SERIES_TO)
    log_far = torch.log(-torch.expm1(-far) / far)
    near = size.clamp(max=_SERIES_TO)
    log_near = _sum_series(near**2, _LOG_SINHC) * near**2 - near / 2
    normaliser = torch.where(size > _SERIES_TO, log_far, log_near)
    return -size * distance - normaliser


def continuous_bernoulli_mean(logits):
    """Return 1 / (1 - exp(-η)) - 1 / η, the limit 1/2 at η = 0 included."""
    size = logits.abs()
    far = size.clamp_min(_SERIES_TO)
    # of the law with logits -|η|: exact where the mean is small
    mean_far = 1 / far - torch.exp(-far) / -torch.expm1(-far)
    near = size.clamp(max=_SERIES_TO)
    slopes = [2 * n * c for n, c in enumerate(_LOG_SINHC, start=1)]
    mean_near = 0.5 - near * _sum_series(near**2, slopes)
    mean = torch.where(size > _SERIES_TO, mean_far, mean_near)
    return torch.where(logits > 0, 1 - mean, mean)


class _ContinuousBernoulliLogProb(torch.autograd.Function):
    """d/dη is x - E[x], d/dx is η."""

    @staticmethod
    def forward(ctx, x, logits):
        ctx.save_for_backward(x, logits)
        return continuous_bernoulli_log_prob(x, logits)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        x, logits = ctx.saved_tensors
        by_logits = grad * (x - continuous_bernoulli_mean(logits))
        by_x = (grad * logits).sum_to_size(x.shape)
        return by_x, by_logits.sum_to_size(logits.shape)


class ContinuousBernoulli(Distribution):
    """The continuous Bernoulli law, exact around and far from logits of 0.

    That of torch replaces its normaliser by a polynomial of low degree around 0, and
    loses digits beside it and far out.

    Parameters
    ----------
    logits : Tensor (...)
    """

    support = constraints.unit_interval
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, logits, validate_args=False):
        self.logits = logits
        super().__init__(logits.shape, validate_args=validate_args)

    @property
    def mean(self):
        """Mean, ``(...)``."""
        return continuous_bernoulli_mean(self.logits)

    @property
    def variance(self):
        """Variance, ``1 / η² - 1 / (4 sinh²(η / 2))``."""
        size = self.logits.abs()
        far = size.clamp_min(_SERIES_TO)
        # 1 / (4 sinh²(η / 2)) = exp(-η) / (1 - exp(-η))²
        of_far = 1 / far**2 - torch.exp(-far) / torch.expm1(-far) ** 2
        near = size.clamp(max=_SERIES_TO)
        curvatures = [
            2 * n * (2 * n - 1) * c for n, c in enumerate(_LOG_SINHC, start=1)
        ]
        of_near = _sum_series(near**2, curvatures)
        return torch.where(size > _SERIES_TO, of_far, of_near)

    def sample(self, sample_shape=()):
        """Draw values, ``sample_shape + (...)``, by the inverse of the distribution."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.batch_shape
            u = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
            # for logits -|η|; below a millionth the law is uniform
            size = self.logits.abs().clamp_min(1e-6)
            x = -torch.log1p(u * torch.expm1(-size)) / size
            return torch.where(self.logits > 0, 1 - x, x).clamp(0.0, 1.0)

    def log_prob(self, value):
        """Return the log density, ``(...)``."""
        return _ContinuousBernoulliLogProb.apply(value, self.logits)


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
    remainder = torch.lgamma(near) - (near - 0.5) * log_near + near - _HALF_LOG_2PI
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
    return remainder - divergence - log_x - log_rest + log_width - _HALF_LOG_2PI


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
        mean = self.mean
        return mean * torch.sigmoid(-self.logit) / (1 + self.log_precision.exp())

    def sample(self, sample_shape=()):
        """Draw values, ``sample_shape + (...)``."""
        with torch.no_grad():
            precision = self.log_precision.exp()
            info = torch.finfo(precision.dtype)
            # gamma variables of less shape are all but zero
            a = (precision * self.mean).clamp_min(1e-4)
            b = (precision * (1 - self.mean)).clamp_min(1e-4)
            shape = torch.Size(sample_shape) + self.batch_shape
            law = torch.distributions.Beta(a, b, validate_args=False)
            x = law.sample(sample_shape).expand(shape)
            return torch.nan_to_num(x, nan=0.5).clamp(info.tiny, 1 - info.eps / 2)

    def log_prob(self, value):
        """Return the log density, ``(...)``."""
        return _BetaLogProb.apply(value, self.logit, self.log_precision)


class LowRankNormal(Distribution):
    r"""A normal law of one vector, with a few factors shared by its columns.

    .. math:: x = \mu + \sigma \odot (\varepsilon + V^T f)

    with standard normal ε and f. Densities come from the matrix inversion lemma: no
    matrix is larger than (rank, rank). ``LowRankMultivariateNormal`` of torch is the
    same law, and fails in single precision where factors are large.

    Parameters
    ----------
    loc, log_scale : Tensor (..., n_features)
        Mean, and log σ.
    factor : Tensor (..., rank, n_features)
        V.
    """

    support = constraints.real_vector
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, loc, log_scale, factor, validate_args=False):
        self.loc, self.log_scale, self.factor = loc, log_scale, factor
        shape = torch.broadcast_shapes(
            loc.shape, log_scale.shape, factor[..., 0, :].shape
        )
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    @property
    def mean(self):
        """Mean, ``(..., n_features)``."""
        return self.loc.expand(self.batch_shape + self.event_shape)

    @property
    def variance(self):
        """Variance of every column, ``(..., n_features)``."""
        shared = self.factor.square().sum(dim=-2)
        return torch.exp(2 * self.log_scale) * (1 + shared)

    def sample(self, sample_shape=()):
        """Draw vectors, ``sample_shape + (..., n_features)``."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape
            own = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
            f = own.new_empty(*shape[:-1], 1, self.factor.shape[-2]).normal_()
            shared = (f @ self.factor).squeeze(-2)
            return self.loc + torch.exp(self.log_scale) * (own + shared)

    def log_prob(self, value):
        """Return the log density, ``(...)``.

        With e = (x - μ) / σ and M = I + V Vᵀ (Bishop 2006, eqs. C.7 and C.14):
        |e|² - (V e)ᵀ M⁻¹ (V e) is the distance, log |M| + 2 Σ log σ the determinant's.
        """
        e = (value - self.loc) * torch.exp(-self.log_scale)
        products = self.factor @ self.factor.mT
        rank = products.shape[-1]
        diagonal = products.diagonal(dim1=-2, dim2=-1)
        # rounding of large products must not make the matrix indefinite
        eps = 4 * rank * torch.finfo(e.dtype).eps
        ridge = 1 + eps * diagonal.sum(dim=-1, keepdim=True)
        matrix = products + torch.diag_embed(ridge.expand_as(diagonal))
        # without a look at errors, which an accelerator would have to wait for
        root = torch.linalg.cholesky_ex(matrix).L
        # e has the leading dimensions of the value too
        projected = (self.factor @ e.unsqueeze(-1)).squeeze(-1)
        *leading, _ = projected.shape
        root = root.expand(*leading, rank, rank)
        solved = torch.linalg.solve_triangular(
            root, projected.unsqueeze(-1), upper=False
        )
        distance = e.square().sum(dim=-1) - solved.square().sum(dim=(-2, -1))
        half_log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
        half_log_det = half_log_det + self.log_scale.sum(dim=-1)
        return -0.5 * distance - half_log_det - _HALF_LOG_2PI * value.shape[-1]

    def log_prob_by_column(self, value):
        """Return log p(x_j | x_1, ..., x_{j-1}), ``(..., n_features)``.

        The law of the factors given the columns so far, mean m and covariance P, moves
        on from column to column (the Kalman filter of a state that stays).
        """
        e = (value - self.loc) * torch.exp(-self.log_scale)
        factor = self.factor.expand(*e.shape[:-1], *self.factor.shape[-2:])
        rank, n_features = factor.shape[-2:]
        m = e.new_zeros(*e.shape[:-1], rank)
        p = torch.eye(rank, dtype=e.dtype, device=e.device).expand(*m.shape, rank)
        columns = []
        for j in range(n_features):
            v = factor[..., j]
            pv = (p @ v.unsqueeze(-1)).squeeze(-1)
            variance = 1 + (v * pv).sum(dim=-1)
            error = e[..., j] - (v * m).sum(dim=-1)
            columns.append(-0.5 * (error**2 / variance + variance.log()))
            gain = pv / variance.unsqueeze(-1)
            m = m + gain * error.unsqueeze(-1)
            p = p - gain.unsqueeze(-1) * pv.unsqueeze(-2)
        return torch.stack(columns, dim=-1) - self.log_scale - _HALF_LOG_2PI


class DiagonalNormalMixture(Distribution):
    """A mixture of normals with diagonal covariance over one vector.

    Parameters
    ----------
    logits : Tensor (..., n_mixture)
    loc, log_scale : Tensor (..., n_mixture, n_components)
    """

    support = constraints.real_vector
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, logits, loc, log_scale, validate_args=False):
        self.logits, self.loc, self.log_scale = logits, loc, log_scale
        super().__init__(logits.shape[:-1], loc.shape[-1:], validate_args=validate_args)

    def log_prob(self, value):
        """Return the log density, ``(...)``."""
        return _DiagonalMixtureLogProb.apply(
            value, self.logits, self.loc, self.log_scale
        )

    def sample(self, sample_shape=()):
        """Draw vectors, ``sample_shape + (..., n_components)``."""
        with torch.no_grad():
            chosen = Categorical(logits=self.logits).sample(sample_shape)
            index = chosen[..., None, None].expand(*chosen.shape, 1, self.loc.shape[-1])
            shape = torch.Size(sample_shape) + self.loc.shape
            loc = self.loc.expand(shape).gather(-2, index).squeeze(-2)
            log_scale = self.log_scale.expand(shape).gather(-2, index).squeeze(-2)
            return torch.normal(loc, log_scale.exp())


class CorrelatedNormal(Distribution):
    """N(loc, L Lᵀ), L lower triangular with a positive diagonal.

    ``torch.distributions.MultivariateNormal`` is the same law; this one solves one
    triangular system for all draws of a row, transforms noise that it is given, and
    knows its KL to independent normals.

    Parameters
    ----------
    loc : Tensor (..., n_components)
    scale_tril : Tensor (..., n_components, n_components)
        L; what stands above the diagonal has to be zero.
    """

    support = constraints.real_vector
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, loc, scale_tril, validate_args=False):
        self.loc, self.scale_tril = loc, scale_tril
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=validate_args)

    @property
    def mean(self):
        """Mean, ``(..., n_components)``."""
        return self.loc

    @property
    def variance(self):
        """Variances of the marginals, ``(..., n_components)``."""
        return self.scale_tril.square().sum(dim=-1)

    @property
    def log_scale(self):
        """Logarithm of the diagonal of L, ``(..., n_components)``."""
        return self.scale_tril.diagonal(dim1=-2, dim2=-1).log()

    def _map(self, function, value):
        """Apply a function of columns, (..., n_components, n_draws), to all draws."""
        value = value.expand(torch.broadcast_shapes(value.shape, self.loc.shape))
        columns = value.reshape(-1, *self.loc.shape).movedim(0, -1)
        with _without_autocast(value):
            mapped = function(columns)
        return mapped.movedim(-1, 0).reshape(value.shape)

    def transform(self, noise):
        """Return loc + L noise, differentiable, ``(..., n_components)``."""
        return self.loc + self._map(lambda columns: self.scale_tril @ columns, noise)

    def rsample(self, sample_shape=()):
        """Return differentiable draws, ``sample_shape + (..., n_components)``."""
        shape = torch.Size(sample_shape) + self.loc.shape
        return self.transform(torch.randn_like(self.loc.expand(shape)))

    def log_prob(self, value):
        """Return the log density, ``(...)``."""

        def whiten(columns):
            return torch.linalg.solve_triangular(self.scale_tril, columns, upper=False)

        square = self._map(whiten, value - self.loc).square().sum(dim=-1)
        constant = self.log_scale.sum(dim=-1) + _HALF_LOG_2PI * self.loc.shape[-1]
        return -0.5 * square - constant


@register_kl(CorrelatedNormal, Independent)
def _kl_correlated_independent(p, q):
    """½ [Σ_i (Σ_j L_ij² + (μ_i - m_i)²) / s_i² - d] - Σ_i log L_ii + Σ_i log s_i."""
    normal = q.base_dist
    if not isinstance(normal, Normal) or q.event_shape != p.event_shape:
        raise NotImplementedError
    spread = (p.variance + (p.loc - normal.loc).square()) / normal.scale.square()
    return (0.5 * (spread - 1) - p.log_scale + normal.scale.log()).sum(dim=-1)


class EqualMixture(Distribution):
    """(1/K) Σ_k p_k(z), of K normal laws that all rows share.

    Densities of all rows under all components are matrix products: with K of several
    hundreds, differences of every row from every mean would not fit into memory.

    Parameters
    ----------
    components : Independent of Normal, or CorrelatedNormal
        Batch shape (K,); or (..., K), and the mixture has the batch shape (..., 1).
    """

    support = constraints.real_vector
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, components, validate_args=False):
        self.components = components
        *leading, self.n_mixture = components.batch_shape
        shape = torch.Size([*leading, 1] if leading else [])
        super().__init__(shape, components.event_shape, validate_args=validate_args)

    def log_prob(self, value):
        """Return the log density, ``(..., n)`` of values (..., n, n_components)."""
        if isinstance(self.components, CorrelatedNormal):
            joint = self._compare_correlated(value)
        else:
            joint = self._compare_independent(value)
        constant = _HALF_LOG_2PI * value.shape[-1] + math.log(self.n_mixture)
        return torch.logsumexp(joint, dim=-1) - constant

    def _compare_independent(self, value):
        """Return all components' log densities, constants apart, ``(..., n, K)``.

        -½ Σ_d (z_d - m_d)² / s_d² = z² · (-½ / s²) + z · (m / s²) + a constant. What
        cancels there can be a million times as large as what is left.
        """
        normal = self.components.base_dist
        dtype = torch.result_type(value, normal.loc)
        precise = torch.float32 if value.device.type == "mps" else torch.float64
        value, loc = value.to(precise), normal.loc.to(precise)
        scale = normal.scale.to(precise)
        precision = scale**-2
        weight = torch.cat([-0.5 * precision, loc * precision], dim=-1)
        constant = (0.5 * loc.square() * precision + scale.log()).sum(dim=-1)
        both = torch.cat([value.square(), value], dim=-1)
        return (both @ weight.mT - self._as_row(constant)).to(dtype)

    def _compare_correlated(self, value):
        """Return the same with e = L⁻¹ z - L⁻¹ m, which is no larger than (n, K, d)."""
        components, n_components = self.components, value.shape[-1]
        dtype = torch.result_type(value, components.loc)
        root, loc = components.scale_tril.to(dtype), components.loc.to(dtype)
        unit = torch.eye(n_components, dtype=dtype, device=root.device)
        with _without_autocast(value):
            inverse = torch.linalg.solve_triangular(root, unit, upper=False)
            centre = (inverse @ loc.unsqueeze(-1)).flatten(-3)
            residual = value.to(dtype) @ inverse.flatten(-3, -2).mT
        residual = residual - self._as_row(centre)
        square = residual.unflatten(-1, (-1, n_components)).square().sum(dim=-1)
        return -0.5 * square - self._as_row(components.log_scale.sum(dim=-1))

    def _as_row(self, values):
        """Return values (..., K) so that they meet rows, (..., n, K)."""
        return values.unsqueeze(-2) if self.batch_shape else values

    def log_prob_marginals(self, value):
        """Return the log density of every marginal, ``(..., n, n_components)``."""
        loc, scale = self.components.mean, self.components.stddev
        columns = []
        # all at once would be (..., n, n_components, K)
        for k, column in enumerate(value.unbind(dim=-1)):
            normal = Normal(*(self._as_row(p[..., k]) for p in (loc, scale)))
            columns.append(normal.log_prob(column.unsqueeze(-1)).logsumexp(dim=-1))
        return torch.stack(columns, dim=-1) - math.log(self.n_mixture)

    def sample(self, sample_shape=()):
        """Draw vectors, ``sample_shape + (..., n_components)``."""
        components, n_mixture = self.components, self.n_mixture
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.batch_shape
            loc = components.mean
            index = torch.randint(n_mixture, shape, device=loc.device)
            first = torch.arange(0, self.batch_shape.numel() * n_mixture, n_mixture)
            index += first.reshape(self.batch_shape).to(loc.device)
            loc = loc.flatten(0, -2)[index]
            if isinstance(components, CorrelatedNormal):
                root = components.scale_tril.flatten(0, -3)[index]
                return CorrelatedNormal(loc, root).rsample()
            return torch.normal(loc, components.stddev.flatten(0, -2)[index])


def _log_between(below, above, width, is_lowest, is_highest):
    """Return log(σ(above) - σ(below)), with open ends at the lowest and highest.

    σ(a) - σ(b) = σ(a) σ(-b) (1 - exp(-(a - b))): three factors, none of which loses
    digits, where the difference itself is 0 in floating point as soon as a and b are
    far from 0 or close to each other.
    """
    up = torch.where(is_highest, 0.0, logsigmoid(above))
    down = torch.where(is_lowest, 0.0, logsigmoid(-below))
    between = torch.where(is_lowest | is_highest, 0.0, (-torch.expm1(-width)).log())
    return up + down + between


def _pick(values, index):
    """Return values (..., K, d) at index (..., d) of the last dimension but one."""
    shape = torch.broadcast_shapes(values.shape[:-2] + values.shape[-1:], index.shape)
    values = values.expand(*shape[:-1], *values.shape[-2:])
    return values.gather(-2, index.expand(shape).unsqueeze(-2)).squeeze(-2)


class CategoricalColumns(Distribution):
    """One of some categories in every column, coded 0, 1, ...

    Parameters
    ----------
    logits : Tensor (..., n_categories, n_features)
    highest : Tensor (n_features,)
        Highest code of every column: there are none of the categories beyond.
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, logits, highest, validate_args=False):
        codes = torch.arange(logits.shape[-2], device=logits.device).unsqueeze(-1)
        self.logits = logits.masked_fill(codes > highest, -1e30)
        self.highest = highest
        shape = logits.shape[:-2] + logits.shape[-1:]
        super().__init__(shape, validate_args=validate_args)

    @property
    def support(self):
        """Codes from 0 to the highest."""
        return constraints.integer_interval(0, self.highest)

    @property
    def probs(self):
        """Probability of every category, ``(..., n_categories, n_features)``."""
        return torch.softmax(self.logits, dim=-2)

    @property
    def mean(self):
        """The likeliest code: codes are names, and names have no mean."""
        return self.logits.argmax(dim=-2).to(self.logits)

    @property
    def variance(self):
        """Variance of the indicators of all categories together, 1 - Σ p²."""
        return 1 - self.probs.square().sum(dim=-2)

    def sample(self, sample_shape=()):
        """Draw one code of every column, ``sample_shape + (..., n_features)``."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.logits.shape
            logits = self.logits.expand(shape)
            # the largest logit after Gumbel noise, -log of an exponential draw
            noise = torch.empty_like(logits, memory_format=torch.contiguous_format)
            return (logits - noise.exponential_().log()).argmax(dim=-2).to(logits)

    def log_prob(self, value):
        """Return the log-probability of every column, ``(..., n_features)``."""
        index = value.long().clamp(0, self.logits.shape[-2] - 1)
        return _pick(self.logits, index) - self.logits.logsumexp(dim=-2)


class OrdinalColumns(Distribution):
    """Ordered categories: a logistic variable between thresholds, in every column.

    P(x <= k) = σ(t_k - loc).

    Parameters
    ----------
    loc : Tensor (..., n_features)
    first : Tensor broadcastable to (..., n_features)
        Lowest threshold.
    gaps : Tensor (..., n_categories - 2, n_features)
        Distances of the others, each from the one below; positive.
    highest : Tensor (n_features,)
        Highest code of every column.
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, loc, first, gaps, highest, validate_args=False):
        self.loc, self.highest = loc, highest
        first = first.unsqueeze(-2)
        # one more, never asked for: a column of two categories has no gap
        self.gaps = torch.cat([torch.ones_like(first), gaps], dim=-2)
        self.thresholds = torch.cat([first, first + gaps.cumsum(dim=-2)], dim=-2)
        super().__init__(loc.shape, validate_args=validate_args)

    @property
    def support(self):
        """Codes from 0 to the highest."""
        return constraints.integer_interval(0, self.highest)

    @property
    def _exceeding(self):
        """P(x > k) for all k but the last, ``(..., n_categories - 1, n_features)``."""
        n = self.thresholds.shape[-2]
        codes = torch.arange(n, device=self.loc.device).unsqueeze(-1)
        beyond = torch.sigmoid(self.loc.unsqueeze(-2) - self.thresholds)
        return torch.where(codes >= self.highest, 0.0, beyond)

    @property
    def mean(self):
        """Expected code, ``(..., n_features)``."""
        return self._exceeding.sum(dim=-2)

    @property
    def variance(self):
        """Variance of the code, ``(..., n_features)``."""
        exceeding = self._exceeding
        odd = 2 * torch.arange(exceeding.shape[-2], device=self.loc.device) + 1
        square = (odd.unsqueeze(-1) * exceeding).sum(dim=-2)
        return (square - exceeding.sum(dim=-2) ** 2).clamp_min(0.0)

    def sample(self, sample_shape=()):
        """Draw one code of every column, ``sample_shape + (..., n_features)``."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.loc.shape
            level = torch.rand_like(self.loc.expand(shape)).unsqueeze(-2)
            return (level < self._exceeding).sum(dim=-2).to(self.loc)

    def log_prob(self, value):
        """Return the log-probability of every column, ``(..., n_features)``."""
        n = self.thresholds.shape[-2]
        index = value.long()
        upper, lower = index.clamp(0, n - 1), (index - 1).clamp(0, n - 1)
        above = _pick(self.thresholds, upper) - self.loc
        below = _pick(self.thresholds, lower) - self.loc
        width = _pick(self.gaps, upper)
        return _log_between(below, above, width, value <= 0, value >= self.highest)


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
        return value * self.log_rate - self.rate - torch.lgamma(value + 1)


# Stirling's series has all digits from here on
_STIRLING_FROM = 16.0


def _stirling_error(t):
    """Return log Γ(t) - [(t - 1/2) log t - t + log(2π) / 2]."""
    small, large = t.clamp(max=_STIRLING_FROM), t.clamp(min=_STIRLING_FROM)
    exact = torch.lgamma(small) - (small - 0.5) * small.log() + small - _HALF_LOG_2PI
    r = 1 / large**2
    series = (1 / 12 - r * (1 / 360 - r * (1 / 1260 - r / 1680))) / large
    return torch.where(t < _STIRLING_FROM, exact, series)


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
            return torch.poisson(self.log_mean.exp() * noise)

    def log_prob(self, value):
        """Return the log-probability of every column, ``(..., n_features)``.

        With Stirling's formula for log Γ(x + θ) - log Γ(θ), which for large θ is a
        small difference of large numbers, what remains is the Poisson law and terms
        that vanish as θ grows.
        """
        mean, theta = self.log_mean.exp(), self.log_dispersion.exp()
        excess = (value - mean) / (theta + mean)
        # log((x + θ) / (μ + θ)); log1p loses digits where it is far below 0
        is_far = excess < -0.5
        near = torch.log1p(torch.where(is_far, 0.0, excess))
        far = torch.log(value + theta) - torch.log(theta + mean)
        ratio = torch.where(is_far, far, near)
        return (
            value * self.log_mean
            - value
            - torch.lgamma(value + 1)
            + (value + theta) * ratio
            - 0.5 * torch.log1p(value / theta)
            + _stirling_error(value + theta)
            - _stirling_error(theta)
        )


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


class DiscretizedLogistic(Distribution):
    """A logistic variable rounded to integers between two bounds, in every column.

    Parameters
    ----------
    loc, log_scale : Tensor (..., n_features)
    low, high : int
        What lies beyond counts to the bound itself.
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, loc, log_scale, low, high, validate_args=False):
        self.loc, self.log_scale, self.low, self.high = loc, log_scale, low, high
        shape = torch.broadcast_shapes(loc.shape, log_scale.shape)
        super().__init__(shape, validate_args=validate_args)

    @property
    def support(self):
        """Integers between the bounds."""
        return constraints.integer_interval(self.low, self.high)

    def _sum_tails(self):
        """Return Σ P(x >= k) and Σ (2 (k - low) - 1) P(x >= k) over all k above low.

        One level at a time: a tensor with all of them may be too large.
        """
        rate = torch.exp(-self.log_scale)
        first, second = (self.loc.new_zeros(self.batch_shape) for _ in range(2))
        for k in range(self.low + 1, self.high + 1):
            tail = torch.sigmoid((self.loc - (k - 0.5)) * rate)
            first = first + tail
            second = second + (2 * (k - self.low) - 1) * tail
        return first, second

    @property
    def mean(self):
        """Mean of the integers, ``(..., n_features)``."""
        first, _ = self._sum_tails()
        return self.low + first

    @property
    def variance(self):
        """Variance of the integers, ``(..., n_features)``."""
        first, second = self._sum_tails()
        return (second - first**2).clamp_min(0.0)

    def sample(self, sample_shape=()):
        """Draw one value of every column, ``sample_shape + (..., n_features)``."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.batch_shape
            level = torch.rand_like(self.loc.expand(shape))
            x = self.loc + self.log_scale.exp() * torch.logit(level, eps=1e-7)
            return x.round().clamp(self.low, self.high)

    def log_prob(self, value):
        """Return the log-probability of every column, ``(..., n_features)``."""
        rate = torch.exp(-self.log_scale)
        residual = value - self.loc
        return _log_between(
            (residual - 0.5) * rate,
            (residual + 0.5) * rate,
            rate,
            value <= self.low,
            value >= self.high,
        )
