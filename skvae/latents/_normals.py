"""Families of normal posteriors, made from raw outputs."""

import torch
from torch.distributions import Independent, Normal
from typing_extensions import override

from .._distributions._normals import CorrelatedNormal

# scales of posteriors stay within a factor of exp(8) of where they start
MAX_LOG_RATIO = 8.0


def _bounded_exp(raw):
    return raw.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


class DiagonalNormals:
    """N(loc + scale a, diag (scale exp b)²) from raw outputs a and b."""

    def raw_shape(self, n_components):
        """Return the shape of the raw outputs for one row."""
        return (2, n_components)

    def posterior(self, raw, loc, scale):
        """Return q(z|x)."""
        raw_loc, raw_log_scale = raw.to(loc.dtype).unbind(dim=-2)
        scales = scale * _bounded_exp(raw_log_scale)
        normal = Normal(loc + scale * raw_loc, scales, validate_args=False)
        return Independent(normal, 1, validate_args=False)

    def get_loc_scale(self, posterior):
        """Return ``(loc, scale)`` for which raw outputs of zero give a posterior."""
        return posterior.mean, posterior.stddev


class FullNormals(DiagonalNormals):
    """N(loc + S a, L Lᵀ) with L = S T from raw outputs a and those of T.

    T is lower triangular, exp b on its diagonal. S is diagonal at
    the linear start, and lower triangular if it comes from `get_loc_scale`.
    """

    @override
    def raw_shape(self, n_components):
        return (n_components * (n_components + 3) // 2,)

    @override
    def posterior(self, raw, loc, scale):
        n = loc.shape[-1]
        sizes = n, n, n * (n - 1) // 2
        raw_loc, raw_log_scale, below = raw.to(loc.dtype).split(sizes, dim=-1)
        root = torch.diag_embed(_bounded_exp(raw_log_scale))
        rows, columns = torch.tril_indices(n, n, -1, device=raw.device)
        root[..., rows, columns] = below
        if scale.dim() > loc.dim():
            loc = loc + (scale @ raw_loc.unsqueeze(-1)).squeeze(-1)
            return CorrelatedNormal(loc, scale @ root)
        return CorrelatedNormal(loc + scale * raw_loc, scale.unsqueeze(-1) * root)

    @override
    def get_loc_scale(self, posterior):
        return posterior.loc, posterior.scale_tril


NORMALS = {"diagonal": DiagonalNormals(), "full": FullNormals()}
