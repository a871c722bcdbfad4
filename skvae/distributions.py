"""Distributions that torch lacks, or whose gradient it takes the long way round.

Nothing here knows of encoders, decoders or data sets.
"""

import copy
import math

import torch
from torch.distributions import Categorical, Distribution, constraints

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
