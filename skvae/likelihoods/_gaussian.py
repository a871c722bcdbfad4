"""Normal noise."""

import math
from numbers import Real

import torch
from torch.distributions import Normal

from .._checks import check_choice
from .._linear import NOISE_FLOOR
from ._base import (
    NARROW_FLOOR,
    BoundPass,
    Likelihood,
    LikelihoodPass,
    bound,
)

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Gaussian(Likelihood):
    r"""Normal noise around the decoder's mean.

    .. math:: p(x|z) = \prod_j N(x_j; \mu_j(z), \sigma_j^2)

    Parameters
    ----------
    noise : {'feature', 'shared', 'network'} or float, default='feature'
        One learned standard deviation per column (factor analysis if the decoder is
        linear); one for all (probabilistic PCA); one per column and row, given by the
        decoder; or a known standard deviation in the units of the standardised columns
        (of X with ``standardize=False``).
    variance_floor : 'auto' or float, default='auto'
        Smallest noise variance as a share of the column's variance. 'auto' is that of
        scikit-learn's FactorAnalysis, 1e-12, where the noise does not depend on z, and
        1e-3 (or what the linear start found, if less) where it does.

    References
    ----------
    Kingma & Welling (2014), "Auto-encoding variational Bayes", appendix C.2.
    """

    def __init__(self, noise="feature", variance_floor="auto"):
        self.noise = noise
        self.variance_floor = variance_floor

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""
        check_choice(self, "noise", ("feature", "shared", "network"), positive=True)
        check_choice(self, "variance_floor", ("auto",), positive=True)

    @property
    def n_raw(self):
        """Raw decoder outputs per column."""
        return 2 if self.noise == "network" else 1

    @property
    def fixed_noise(self):
        """The known standard deviation, or None."""
        return float(self.noise) if isinstance(self.noise, Real) else None

    @property
    def is_isotropic(self):
        """Whether all columns have one noise variance."""
        return self.noise == "shared"

    def get_least_variance(self):
        """Return the least variances of the linear start and of the decoder."""
        if self.fixed_noise is not None:
            return None, NOISE_FLOOR
        if self.variance_floor == "auto":
            return None, NARROW_FLOOR if self.noise == "network" else NOISE_FLOOR
        return self.variance_floor, self.variance_floor

    def free_shape(self, n_features):
        """Return the shape of the learned values that do not depend on z."""
        return {"feature": (1, n_features), "shared": (1, 1)}.get(
            self.noise, (0, n_features)
        )

    def __call__(self, raw, free, start, log_range):
        """Return p(x|z)."""
        loc = start + raw[..., 0, :]
        if self.noise == "network":
            scale = bound(raw[..., 1, :], log_range).exp()
        elif self.fixed_noise is None:
            scale = bound(free[..., 0, :], log_range).exp()
        else:
            scale = torch.ones_like(log_range)
        return Normal(loc, scale, validate_args=False)

    def make_pass(self, program):
        """Return the pass for steps without autograd."""
        if self.fixed_noise is not None:
            return FixedGaussianPass(program)
        return GaussianPass(program, self.noise == "network")


class FixedGaussianPass(LikelihoodPass):
    """With e = x - loc: log p = -e²/2 and d/dloc = e."""

    def forward(self, x, raw, free, predicted, log_range):
        program = self.program
        self.residual, square = program.empty(*x.shape), program.empty(*x.shape)
        program.subtract(x, raw, self.residual)
        if predicted is not None:
            program.subtract(self.residual, predicted, self.residual)
        program.multiply(self.residual, self.residual, square)
        log_prob = program.sum(square, -1, program.empty(*x.shape[:-1]))
        program.multiply(log_prob, -0.5, log_prob)
        return program.subtract(log_prob, x.shape[-1] * _HALF_LOG_2PI, log_prob)

    def backward(self, weight):
        grad = self.program.empty(*self.residual.shape)
        self.program.multiply(self.residual, weight.unsqueeze(-1), grad)
        return grad, grad


class GaussianPass(LikelihoodPass):
    """With e = (x - loc) / scale: d/dloc = e / scale, d/dlog_scale = e² - 1.

    Parameters
    ----------
    program : Program
    is_network : bool
        Whether the decoder gives the scales.
    """

    def __init__(self, program, is_network):
        super().__init__(program)
        self.is_network, self.bound = is_network, BoundPass(program)

    def forward(self, x, raw, free, predicted, log_range):
        program, n_features = self.program, x.shape[-1]
        self.raw, self.free = raw, free
        if self.is_network:
            loc, raw_scale = raw.split(n_features, dim=-1)
            log_scale = program.empty(*x.shape)
        else:
            loc, raw_scale = raw, free.detach()[..., 0, :]
            log_scale = program.empty(*log_range.shape)
        self.bound.forward(raw_scale, log_range, log_scale)
        self.rate = program.negative(log_scale, program.empty(*log_scale.shape))
        program.exp(self.rate, self.rate)
        residual = program.subtract(x, loc, program.empty(*x.shape))
        if predicted is not None:
            program.subtract(residual, predicted, residual)
        self.residual = program.multiply(residual, self.rate, residual)
        self.square = program.empty(*x.shape)
        program.multiply(residual, residual, self.square)
        log_prob = program.sum(self.square, -1, program.empty(*x.shape[:-1]))
        program.multiply(log_prob, -0.5, log_prob)
        total = program.sum(log_scale, -1, program.empty(*log_scale.shape[:-1]))
        program.subtract(log_prob, total, log_prob)
        return program.subtract(log_prob, n_features * _HALF_LOG_2PI, log_prob)

    def backward(self, weight):
        program, n_features = self.program, self.residual.shape[-1]
        column = weight.unsqueeze(-1)
        weighted = program.empty(*self.residual.shape)
        program.multiply(self.residual, column, weighted)
        if self.is_network:
            grad = program.empty(*self.raw.shape)
            by_loc, by_raw = grad.split(n_features, dim=-1)
            program.subtract(self.square, 1.0, self.square)
            program.multiply(self.square, column, self.square)
            self.bound.backward(self.square, by_raw)
            program.multiply(weighted, self.rate, by_loc)
            return grad, by_loc
        program.multiply(weighted, self.rate, weighted)
        # Σ weight (e² - 1), one value a column
        by_scale = program.empty(*self.rate.shape)
        program.matmul(weight.unsqueeze(-2), self.square, by_scale)
        total = program.sum(weight, -1, program.empty(*weight.shape[:-1]))
        program.subtract(by_scale, total[..., None, None], by_scale)
        target = self.free.grad[..., 0, :]
        if target.shape[-1] == 1:
            by_raw = self.bound.backward(by_scale, program.empty(*by_scale.shape))
            program.sum(by_raw, -1, target.squeeze(-1))
        else:
            self.bound.backward(by_scale, target)
        return weighted, weighted
