"""Normal distributions of rows whose columns depend on one another."""

import torch
from torch.distributions import Independent, Normal, constraints, register_kl
from typing_extensions import override

from ._base import (
    HALF_LOG_2PI,
    UncheckedDistribution,
    broadcast_shapes,
    without_autocast,
)


class LowRankNormal(UncheckedDistribution):
    r"""A normal distribution of one vector, whose columns share a few factors.

    .. math:: x = \mu + \sigma \odot (\varepsilon + V^T f)

    with standard normal ε and f, and V the ``factor`` (..., rank, n_features). By the
    matrix inversion lemma no matrix is larger than (rank, rank).
    ``LowRankMultivariateNormal`` of torch is the same distribution, and fails in single
    precision for large factors.
    """

    support = constraints.real_vector

    def __init__(self, loc, log_scale, factor):
        self.loc, self.log_scale, self.factor = loc, log_scale, factor
        super().__init__(
            loc.shape, log_scale.shape, factor[..., 0, :].shape, event_dim=1
        )

    @property
    @override
    def mean(self):
        return self.loc.expand(self.batch_shape + self.event_shape)

    @property
    @override
    def variance(self):
        shared = self.factor.square().sum(dim=-2)
        return torch.exp(2 * self.log_scale) * (1 + shared)

    def _draw(self, shape):
        own = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        f = own.new_empty(*shape[:-1], 1, self.factor.shape[-2]).normal_()
        shared = (f @ self.factor).squeeze(-2)
        return self.loc + torch.exp(self.log_scale) * (own + shared)

    # missing cells are drawn given all observed ones
    completes_exactly = True

    def complete(self, value, missing, mean=False):
        """Return values with missing cells drawn, or their means, and the density.

        They are conditional on the observed cells, and the density, ``(...)``, is that
        of these. The factors given them have the precision M = I + V Vᵀ and the mean
        M⁻¹ V e.
        """
        e, factor, _ = self._observe(value, missing)
        rank = factor.shape[-2]
        identity = torch.eye(rank, dtype=e.dtype, device=e.device)
        root = torch.linalg.cholesky_ex(identity + factor @ factor.mT).L
        projected = factor @ e.unsqueeze(-1)
        root = root.expand(*projected.shape[:-2], rank, rank)
        f = torch.cholesky_solve(projected, root)
        own = torch.zeros_like(e)
        if not mean:
            # of covariance M⁻¹ = L⁻ᵀ L⁻¹
            spread = torch.linalg.solve_triangular(
                root.mT, torch.randn_like(f), upper=True
            )
            f, own = f + spread, torch.randn_like(e)
        found = (self.factor.mT @ f).squeeze(-1) + own
        found = self.loc + torch.exp(self.log_scale) * found
        return torch.where(missing, found, value), self.log_prob(value, missing)

    def _observe(self, value, missing):
        """Return residuals, factors and log σ, with zeros for missing cells.

        They give the distribution of the observed columns, a marginal.
        """
        e = (value - self.loc) * torch.exp(-self.log_scale)
        if missing is None:
            return e, self.factor, self.log_scale
        factor = self.factor.masked_fill(missing.unsqueeze(-2), 0.0)
        log_scale = self.log_scale.masked_fill(missing, 0.0)
        return e.masked_fill(missing, 0.0), factor, log_scale

    @override
    def log_prob(self, value, missing=None):
        """Return the log density of the columns that are not missing, ``(...)``.

        With e = (x - μ) / σ and M = I + V Vᵀ (Bishop 2006, eqs. C.7 and C.14):
        |e|² - (V e)ᵀ M⁻¹ (V e) is the distance, log |M| + 2 Σ log σ the determinant's.
        """
        e, factor, log_scale = self._observe(value, missing)
        products = factor @ factor.mT
        rank = products.shape[-1]
        diagonal = products.diagonal(dim1=-2, dim2=-1)
        # rounding of large products must not make the matrix indefinite
        eps = 4 * rank * torch.finfo(e.dtype).eps
        ridge = 1 + eps * diagonal.sum(dim=-1, keepdim=True)
        matrix = products + torch.diag_embed(ridge.expand_as(diagonal))
        # not `cholesky`, which waits for an accelerator to look for errors
        root = torch.linalg.cholesky_ex(matrix).L
        # e has the leading dimensions of the value too
        projected = factor @ e.unsqueeze(-1)
        root = root.expand(*projected.shape[:-1], rank)
        solved = torch.linalg.solve_triangular(root, projected, upper=False)
        distance = e.square().sum(dim=-1) - solved.square().sum(dim=(-2, -1))
        half_log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
        half_log_det = half_log_det + log_scale.sum(dim=-1)
        n_observed = value.shape[-1]
        if missing is not None:
            n_observed = (~missing).sum(dim=-1)
        return -0.5 * distance - half_log_det - HALF_LOG_2PI * n_observed

    def log_prob_by_column(self, value, missing=None):
        """Return log p(x_j | x_1, ..., x_{j-1}), ``(..., n_features)``.

        The factors given the columns so far have mean m and covariance P, which are
        updated column by column (the Kalman filter of a constant state).
        """
        e, factor, log_scale = self._observe(value, missing)
        factor = factor.expand(*e.shape[:-1], *factor.shape[-2:])
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
        log_prob = torch.stack(columns, dim=-1) - log_scale - HALF_LOG_2PI
        return log_prob if missing is None else log_prob.masked_fill(missing, 0.0)


class CorrelatedNormal(UncheckedDistribution):
    """N(loc, L Lᵀ), with ``scale_tril`` L lower triangular, of positive diagonal.

    ``torch.distributions.MultivariateNormal`` is the same distribution; this one solves
    one triangular system for all draws of a row, maps given noise to draws, and has an
    exact KL to independent normals.
    """

    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc, scale_tril):
        self.loc, self.scale_tril = loc, scale_tril
        super().__init__(loc.shape, event_dim=1)

    @property
    @override
    def mean(self):
        return self.loc

    @property
    @override
    def variance(self):
        return self.scale_tril.square().sum(dim=-1)

    @property
    def log_scale(self):
        """Logarithm of the diagonal of L, ``(..., n_components)``."""
        return self.scale_tril.diagonal(dim1=-2, dim2=-1).log()

    def _map(self, function, value):
        """Apply a function of columns, (..., n_components, n_draws), to all draws."""
        value = value.expand(broadcast_shapes(value.shape, self.loc.shape))
        columns = value.reshape(-1, *self.loc.shape).movedim(0, -1)
        with without_autocast(value):
            mapped = function(columns)
        return mapped.movedim(-1, 0).reshape(value.shape)

    def log_prob_by_component(self, value):
        """Return the log density of every marginal, ``(..., n_components)``."""
        return Normal(self.loc, self.stddev, validate_args=False).log_prob(value)

    def transform(self, noise):
        """Return loc + L noise, differentiable, ``(..., n_components)``."""
        return self.loc + self._map(lambda columns: self.scale_tril @ columns, noise)

    @override
    def rsample(self, sample_shape=()):
        shape = torch.Size(sample_shape) + self.loc.shape
        return self.transform(torch.randn_like(self.loc.expand(shape)))

    @override
    def log_prob(self, value):
        def whiten(columns):
            return torch.linalg.solve_triangular(self.scale_tril, columns, upper=False)

        square = self._map(whiten, value - self.loc).square().sum(dim=-1)
        constant = self.log_scale.sum(dim=-1) + HALF_LOG_2PI * self.loc.shape[-1]
        return -0.5 * square - constant


@register_kl(CorrelatedNormal, Independent)
def _kl_correlated_independent(p, q):
    """½ [Σ_i (Σ_j L_ij² + (μ_i - m_i)²) / s_i² - d] - Σ_i log L_ii + Σ_i log s_i."""
    normal = q.base_dist
    if not isinstance(normal, Normal) or q.event_shape != p.event_shape:
        raise NotImplementedError
    spread = (p.variance + (p.loc - normal.loc).square()) / normal.scale.square()
    return (0.5 * (spread - 1) - p.log_scale + normal.scale.log()).sum(dim=-1)
