"""Mixtures of normal distributions."""

import math

import torch
from torch.distributions import Categorical, Normal, constraints
from typing_extensions import override

from ._base import HALF_LOG_2PI, UncheckedDistribution, pick, without_autocast
from ._normals import CorrelatedNormal


class _MixtureLogProb(torch.autograd.Function):
    """log Σ_k softmax(logits)_k N(x; loc_k, exp(log_scale_k)²), with its gradient.

    With the responsibilities r_k and the standardised residuals e_k = (x - loc_k) /
    scale_k it is

        d/dlogits_k = r_k - w_k,  d/dloc_k = r_k e_k / scale_k,
        d/dlog_scale_k = r_k (e_k² - 1).

    Autograd's own gradient makes a recorded step of the default recipe 1.3 times as
    long (5,000 x 20 rows, hidden (64,), batches of 128, one thread).
    """

    @staticmethod
    def forward(ctx, x, logits, loc, log_scale):
        # x (..., d); the others (..., K, d)
        inverse_scale = torch.exp(-log_scale)
        residual = (x.unsqueeze(-2) - loc) * inverse_scale
        joint = torch.addcmul(logits - log_scale, residual, residual, value=-0.5)
        log_prob, share = _normalise(joint, dim=-2)
        log_normaliser, weights = _normalise(logits, dim=-2)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(share, weights, residual, inverse_scale)
        return log_prob - log_normaliser - HALF_LOG_2PI

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        share, weights, residual, inverse_scale = ctx.saved_tensors
        grad = grad.unsqueeze(-2)
        weighted = share * grad
        pull = weighted * residual
        grad_logits = weighted - weights * grad
        grad_loc = pull * inverse_scale
        grad_log_scale = pull * residual - weighted
        grad_x = -grad_loc.sum(dim=-2) if ctx.needs_input_grad[0] else None
        return grad_x, grad_logits, grad_loc, grad_log_scale


def _normalise(joint, dim):
    """Return log Σ exp along a dimension, and what every term contributes to it."""
    # where all terms are 0 their logarithms must not be subtracted from each other
    least = torch.finfo(joint.dtype).min
    highest = joint.amax(dim, keepdim=True).clamp(min=least)
    share = torch.exp(joint - highest)
    total = share.sum(dim, keepdim=True)
    return (total.log() + highest).squeeze(dim), share / total


class _DiagonalMixtureLogProb(torch.autograd.Function):
    """log Σ_k softmax(logits)_k N(z; loc_k, diag exp(log_scale_k)²), with its gradient.

    Rows come last in memory, so that the work of a component is one long loop.
    Autograd's own gradient makes a recorded step of the default recipe 1.14 times as
    long (as for `_MixtureLogProb`).
    """

    @staticmethod
    def forward(ctx, z, logits, loc, log_scale):
        # z (..., n, q); logits (..., K) and loc, log_scale (..., K, q), with a
        # dimension of 1 before the last where there are others
        ctx.shapes = logits.shape, loc.shape
        if loc.dim() > 2:
            logits = logits.squeeze(-2)
            loc, log_scale = loc.squeeze(-3), log_scale.squeeze(-3)
        ctx.small = logits.shape, loc.shape
        inverse_scale = torch.exp(-log_scale).unsqueeze(-1)  # (..., K, q, 1)
        rows_last = z.mT.contiguous().unsqueeze(-3)  # (..., 1, q, n)
        residual = (rows_last - loc.unsqueeze(-1)) * inverse_scale
        log_normaliser, weights = _normalise(logits, dim=-1)
        constant = logits - log_scale.sum(dim=-1) - log_normaliser.unsqueeze(-1)
        joint = -0.5 * residual.square().sum(dim=-2) + constant.unsqueeze(-1)
        log_prob, share = _normalise(joint, dim=-2)  # (..., n), (..., K, n)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(share, weights, residual, inverse_scale)
        return log_prob - HALF_LOG_2PI * z.shape[-1]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        share, weights, residual, inverse_scale = ctx.saved_tensors
        weighted = share * grad.unsqueeze(-2)  # (..., K, n)
        pull = weighted.unsqueeze(-2) * residual  # (..., K, q, n)
        by_loc = pull * inverse_scale
        grad_z = -by_loc.sum(dim=-3).mT if ctx.needs_input_grad[0] else None
        if not any(ctx.needs_input_grad[1:]):
            return grad_z, None, None, None
        count = weighted.sum(dim=-1)  # (..., K)
        grad_logits = count - weights * grad.sum(dim=-1, keepdim=True)
        grad_log_scale = (pull * residual).sum(dim=-1) - count.unsqueeze(-1)
        return (
            grad_z,
            grad_logits.sum_to_size(ctx.small[0]).view(ctx.shapes[0]),
            by_loc.sum(dim=-1).sum_to_size(ctx.small[1]).view(ctx.shapes[1]),
            grad_log_scale.sum_to_size(ctx.small[1]).view(ctx.shapes[1]),
        )


class NormalMixture(UncheckedDistribution):
    """A mixture of normals for every column, independent across columns.

    ``torch.distributions.MixtureSameFamily`` is the same distribution; this one
    evaluates its density and gradient several times as fast. Parameters are
    (..., n_mixture, n_features), the logits unnormalised. The last ``n_atoms``
    components are for repeated values: their density is that of a normal, and draws
    from them are equal to the mean.
    """

    def __init__(self, logits, loc, log_scale, n_atoms=0):
        self.logits, self.loc, self.log_scale = logits, loc, log_scale
        self.n_atoms = n_atoms
        super().__init__(loc.shape[:-2] + loc.shape[-1:])

    @property
    def probs(self):
        """Weights, ``(..., n_mixture, n_features)``."""
        return torch.softmax(self.logits, dim=-2)

    @property
    @override
    def mean(self):
        return (self.probs * self.loc).sum(dim=-2)

    @property
    @override
    def variance(self):
        spread = (self.loc - self.mean.unsqueeze(-2)) ** 2
        return (self.probs * (torch.exp(2 * self.log_scale) + spread)).sum(dim=-2)

    def _draw(self, shape):
        # the number of cumulated weights below a uniform draw
        bounds = self.probs.cumsum(dim=-2)[..., :-1, :]
        level = torch.rand_like(self.loc[..., 0, :].expand(shape)).unsqueeze(-2)
        index = (bounds < level).sum(dim=-2)
        loc, log_scale = pick(self.loc, index), pick(self.log_scale, index)
        is_atom = index >= self.loc.shape[-2] - self.n_atoms
        return torch.where(is_atom, loc, torch.normal(loc, log_scale.exp()))

    @override
    def log_prob(self, value):
        return _MixtureLogProb.apply(value, self.logits, self.loc, self.log_scale)


class DiagonalNormalMixture(UncheckedDistribution):
    """A mixture of normals with diagonal covariance over one vector.

    ``logits`` are (..., n_mixture), the others (..., n_mixture, n_components).
    """

    support = constraints.real_vector

    def __init__(self, logits, loc, log_scale):
        self.logits, self.loc, self.log_scale = logits, loc, log_scale
        super().__init__(logits.shape[:-1] + loc.shape[-1:], event_dim=1)

    @override
    def log_prob(self, value):
        weights = self.logits, self.loc, self.log_scale
        is_by_row = self.loc.dim() > 2 and self.loc.shape[-3] > 1
        if value.dim() > 1 and not is_by_row:
            return _DiagonalMixtureLogProb.apply(value, *weights)
        # every mixture has one row
        if is_by_row:
            logits, loc, log_scale = weights
            weights = logits.unsqueeze(-2), loc.unsqueeze(-3), log_scale.unsqueeze(-3)
        value = value.unsqueeze(-2)
        return _DiagonalMixtureLogProb.apply(value, *weights).squeeze(-1)

    @override
    def sample(self, sample_shape=()):
        with torch.no_grad():
            chosen = Categorical(logits=self.logits, validate_args=False)
            index = chosen.sample(sample_shape).unsqueeze(-1)
            index = index.expand(*index.shape[:-1], self.loc.shape[-1])
            loc, log_scale = pick(self.loc, index), pick(self.log_scale, index)
            return torch.normal(loc, log_scale.exp())


class EqualMixture(UncheckedDistribution):
    """(1/K) Σ_k p_k(z), of K normal distributions that all rows share.

    Densities of all rows under all components are matrix products: with K of several
    hundreds, differences of every row from every mean would not fit into memory.
    Components, independent or a `CorrelatedNormal`, have the batch shape (K,); or
    (..., K), and the mixture has (..., 1).
    """

    support = constraints.real_vector

    def __init__(self, components):
        self.components = components
        *leading, self.n_mixture = components.batch_shape
        shape = [*leading, 1] if leading else []
        super().__init__((*shape, *components.event_shape), event_dim=1)

    @override
    def log_prob(self, value):
        """Return the log density, ``(..., n)`` of values (..., n, n_components)."""
        if isinstance(self.components, CorrelatedNormal):
            joint = self._compare_correlated(value)
        else:
            joint = self._compare_independent(value)
        constant = HALF_LOG_2PI * value.shape[-1] + math.log(self.n_mixture)
        return torch.logsumexp(joint, dim=-1) - constant

    def _compare_independent(self, value):
        """Return all components' log densities, constants apart, ``(..., n, K)``.

        -½ Σ_d (z_d - m_d)² / s_d² = z² · (-½ / s²) + z · (m / s²) + a constant. The
        terms that cancel can be a million times as large as the difference.
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
        with without_autocast(value):
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

    def _draw(self, shape):
        components, n_mixture = self.components, self.n_mixture
        loc = components.mean
        index = torch.randint(n_mixture, shape[:-1], device=loc.device)
        first = torch.arange(0, self.batch_shape.numel() * n_mixture, n_mixture)
        index += first.reshape(self.batch_shape).to(loc.device)
        loc = loc.flatten(0, -2)[index]
        if isinstance(components, CorrelatedNormal):
            root = components.scale_tril.flatten(0, -3)[index]
            return CorrelatedNormal(loc, root).rsample()
        return torch.normal(loc, components.stddev.flatten(0, -2)[index])
