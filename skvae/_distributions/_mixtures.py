"""Mixtures of normal distributions."""

import math

import torch
from torch import nn
from torch.distributions import Categorical, Normal, constraints
from typing_extensions import override

from ._base import (
    HALF_LOG_2PI,
    UncheckedDistribution,
    broadcast_shapes,
    pick,
    without_autocast,
)
from ._normals import CorrelatedNormal


def _choose(probs, level):
    """Return components: the number of cumulated weights below a level."""
    bounds = probs.cumsum(dim=-2)[..., :-1, :]
    return (bounds < level.unsqueeze(-2)).sum(dim=-2)


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

    def list_components(self):
        """Return weights, means and standard deviations, one component at a time."""
        parts = self.probs, self.loc, self.log_scale.exp()
        return list(zip(*(part.unbind(dim=-2) for part in parts), strict=True))

    def _draw(self, shape):
        # in the order of the shape, wherever the parameters are in memory
        settings = {"dtype": self.loc.dtype, "device": self.loc.device}
        index = _choose(self.probs, torch.rand(shape, **settings))
        loc, log_scale = pick(self.loc, index), pick(self.log_scale, index)
        draw = loc + log_scale.exp() * torch.randn(shape, **settings)
        return self._keep_atoms(index, loc, draw)

    def _keep_atoms(self, index, loc, draw):
        """Return draws of components, and the mean for those that are atoms."""
        if not self.n_atoms:
            return draw
        return torch.where(index >= self.loc.shape[-2] - self.n_atoms, loc, draw)

    def draw_at(self, level):
        """Return the draws that uniform levels stand for, ``(..., n_features)``."""
        probs = self.probs
        index = _choose(probs, level)
        loc, log_scale = pick(self.loc, index), pick(self.log_scale, index)
        # where the level is between the two bounds of its component, again uniform
        share = pick(probs, index)
        below = pick(probs.cumsum(dim=-2), index) - share
        rest = (level - below) / share.clamp_min(torch.finfo(level.dtype).tiny)
        eps = torch.finfo(level.dtype).eps
        normal = torch.special.ndtri(rest.clamp(eps, 1 - eps))
        return self._keep_atoms(index, loc, loc + log_scale.exp() * normal)

    def tilt(self, precision, mean, plain_share):
        """Return the mixture times exp(-precision (x - mean)² / 2), and log ∫ of that.

        A share of what is returned is the mixture as it was. Arguments are (...,
        n_features). Repeated values stay what they are, with other weights.
        """
        log_probs = self.logits.log_softmax(dim=-2)
        parts = log_probs, self.loc, self.log_scale, self.n_atoms
        return _tilt(*parts, precision, mean, plain_share)

    @override
    def log_prob(self, value):
        residual = (value.unsqueeze(-2) - self.loc) * torch.exp(-self.log_scale)
        joint = self.logits - self.log_scale - 0.5 * residual.square()
        log_normaliser = self.logits.logsumexp(dim=-2)
        return joint.logsumexp(dim=-2) - log_normaliser - HALF_LOG_2PI


def _tilt(log_probs, loc, log_scale, n_atoms, precision, mean, plain_share):
    """Return what `NormalMixture.tilt` does."""
    root, mean = precision.sqrt().unsqueeze(-2), mean.unsqueeze(-2)
    ratio = (root * torch.exp(log_scale)).square()
    if n_atoms:
        ratio = nn.functional.pad(ratio[..., :-n_atoms, :], (0, 0, 0, n_atoms))
    log_share, share = torch.log1p(ratio), 1 / (1 + ratio)
    shift = mean - loc
    # a root of 0 times anything, before it is squared: nothing overflows
    tilted = log_probs - 0.5 * (log_share + share * (root * shift).square())
    log_total = tilted.logsumexp(dim=-2, keepdim=True)
    tilted = tilted + (math.log(1 - plain_share) - log_total)
    moved = loc + (1 - share) * shift
    narrowed = log_scale - 0.5 * log_share
    n_free = loc.shape[-2] - n_atoms

    def join(plain, twisted):
        plain = plain.expand(twisted.shape)
        if not n_atoms:
            return torch.cat([plain, twisted], dim=-2)
        # atoms stay last
        pairs = zip(
            *(p.tensor_split([n_free], -2) for p in (plain, twisted)), strict=True
        )
        return torch.cat([part for pair in pairs for part in pair], dim=-2)

    parts = (
        (log_probs + math.log(plain_share), tilted),
        (loc, moved),
        (log_scale, narrowed),
    )
    mixture = NormalMixture(*(join(*pair) for pair in parts), 2 * n_atoms)
    return mixture, log_total.squeeze(-2)


class ShiftedMixture(NormalMixture):
    """A mixture whose parameters are in single precision, around a location in double.

    Component means are ``origin`` (..., n_features) plus the shifts ``(...,
    n_mixture - 1, n_features)``, and the origin itself for the last component. The
    difference of a value from the origin is taken in double precision.
    """

    def __init__(self, logits, origin, shift, log_scale):
        self.origin, self.shift = origin, shift
        shape = broadcast_shapes(origin.shape, shift[..., 0, :].shape)
        self.logits, self.log_scale, self.n_atoms = logits, log_scale, 0
        UncheckedDistribution.__init__(self, shape)

    @property
    def loc(self):
        """Means, ``(..., n_mixture, n_features)``."""
        origin = self.origin.unsqueeze(-2)
        return torch.cat([origin + self.shift, origin], dim=-2)

    @override
    def log_prob(self, value):
        residual = (value - self.origin).to(self.shift.dtype).unsqueeze(-2)
        shape = broadcast_shapes(residual.shape, self.shift[..., :1, :].shape)
        residual = residual.expand(shape)
        unit = torch.cat([residual - self.shift, residual], dim=-2)
        joint = unit * torch.exp(-self.log_scale)
        joint = self.logits - self.log_scale - 0.5 * joint.square()
        found = joint.logsumexp(dim=-2) - self.logits.logsumexp(dim=-2)
        # sums over columns and draws have the digits of double precision
        return found.to(value.dtype) - HALF_LOG_2PI


class BackgroundMixture(UncheckedDistribution):
    r"""A mixture of normals, and beside it a wide normal around 0.

    .. math:: p(x) = (1 - w) \sum_k w_k N(x; \mu_k, \sigma_k^2) + w N(x; 0, r^2)

    ``mixture`` is a `NormalMixture`; ``log_weight`` and ``log_reach``, (...,
    n_features), are the logarithms of w, below 1 and often 0, and of r.
    """

    def __init__(self, mixture, log_weight, log_reach):
        self.mixture = mixture
        self.log_weight, self.log_reach = log_weight, log_reach
        super().__init__(broadcast_shapes(mixture.batch_shape, log_reach.shape))

    @property
    def weight(self):
        """Weight of the wide normal, ``(..., n_features)``."""
        return self.log_weight.exp()

    @property
    @override
    def mean(self):
        return (1 - self.weight) * self.mixture.mean

    @property
    @override
    def variance(self):
        mean, wide = self.mixture.mean, torch.exp(2 * self.log_reach)
        inside = self.mixture.variance + self.weight * mean.square()
        return (1 - self.weight) * inside + self.weight * wide

    def tilt(self, precision, mean, plain_share):
        """Do what `NormalMixture.tilt` does with the mixture of all normals."""
        inside, wide = self.mixture, self.log_reach.unsqueeze(-2)
        logits = inside.logits.log_softmax(dim=-2)
        logits = logits + torch.log1p(-self.weight).unsqueeze(-2)
        # components of repeated values stay last
        parts = (
            (self.log_weight.unsqueeze(-2), logits),
            (torch.zeros_like(wide), inside.loc),
            (wide, inside.log_scale),
        )
        shape = broadcast_shapes(*(part.shape[:-2] for pair in parts for part in pair))

        def join(*pair):
            return torch.cat([p.expand(*shape, *p.shape[-2:]) for p in pair], dim=-2)

        joined = *(join(*pair) for pair in parts), inside.n_atoms
        return _tilt(*joined, precision, mean, plain_share)

    def list_components(self):
        """Return weights, means and standard deviations, one component at a time."""
        zero = torch.zeros_like(self.log_reach)
        inside = self.mixture.list_components()
        inside = [(w * (1 - self.weight), *rest) for w, *rest in inside]
        return [*inside, (self.weight, zero, self.log_reach.exp())]

    def _draw(self, shape):
        inside = self.mixture._draw(shape)
        is_wide = torch.rand_like(inside) < self.weight
        wide = torch.randn_like(inside) * self.log_reach.to(inside).exp()
        return torch.where(is_wide, wide, inside)

    def draw_at(self, level):
        """Return the draws that uniform levels stand for, ``(..., n_features)``."""
        limits, weight = torch.finfo(level.dtype), self.weight.to(level)
        rest = ((level - weight) / (1 - weight)).clamp(0, 1 - limits.eps)
        share = level / weight.clamp_min(limits.tiny)
        normal = torch.special.ndtri(share.clamp(limits.eps, 1 - limits.eps))
        wide = normal * self.log_reach.to(level).exp()
        return torch.where(level < weight, wide, self.mixture.draw_at(rest))

    @override
    def log_prob(self, value):
        unit = value * torch.exp(-self.log_reach)
        wide = self.log_weight - self.log_reach - HALF_LOG_2PI
        inside = torch.log1p(-self.weight) + self.mixture.log_prob(value)
        return torch.logaddexp(inside, wide - 0.5 * unit.square())


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
        logits, loc, log_scale = self.logits, self.loc, self.log_scale
        # every mixture has one row
        is_single = value.dim() == 1 or (loc.dim() > 2 and loc.shape[-3] > 1)
        if is_single:
            value = value.unsqueeze(-2)
        elif loc.dim() > 2:
            logits = logits.squeeze(-2)
            loc, log_scale = loc.squeeze(-3), log_scale.squeeze(-3)
        if value.dtype == torch.float64 and not is_single and loc.dim() == 2:
            return self._multiply(value)
        # rows last in memory, so that the work of a component is one long loop
        rows = value.mT.contiguous().unsqueeze(-3)  # (..., 1, n_components, n)
        inverse_scale = torch.exp(-log_scale).unsqueeze(-1)
        residual = (rows - loc.unsqueeze(-1)) * inverse_scale
        constant = logits.log_softmax(dim=-1) - log_scale.sum(dim=-1)
        joint = constant.unsqueeze(-1) - 0.5 * residual.square().sum(dim=-2)
        log_prob = joint.logsumexp(dim=-2) - HALF_LOG_2PI * value.shape[-1]
        return log_prob.squeeze(-1) if is_single else log_prob

    def _multiply(self, value):
        """Return the log density in double precision, by a product of matrices.

        -½ Σ_d (z_d - m_d)² / s_d² = z² · (-½ / s²) + z · (m / s²) + a constant: where
        means are thousands of scales apart, double precision has digits left.
        """
        logits, loc, log_scale = (
            part.to(value.dtype) for part in (self.logits, self.loc, self.log_scale)
        )
        precision = torch.exp(-2 * log_scale)
        weight = torch.cat([-0.5 * precision, loc * precision], dim=-1)
        constant = logits.log_softmax(dim=-1) - log_scale.sum(dim=-1)
        constant = constant - 0.5 * (loc.square() * precision).sum(dim=-1)
        both = torch.cat([value.square(), value], dim=-1)
        joint = both @ weight.mT + constant
        return joint.logsumexp(dim=-1) - HALF_LOG_2PI * value.shape[-1]

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
