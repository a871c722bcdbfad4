"""The ELBO with a kernel distance of the aggregate posterior: InfoVAE and WAE-MMD."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from typing_extensions import override

from .._utils._checks import check_choice, check_number
from ._base import KLObjective, draw_prior, normalise_weights, split_folds

if TYPE_CHECKING:
    from .._model._evidence import VAEOutput

_KERNELS = ("inverse_multiquadratic", "rbf")


class MMD(KLObjective):
    r"""The ELBO with a part of the KL replaced by a kernel distance (InfoVAE).

    .. math:: -E[\log p(x|z)] + \beta\, \big((1 - \alpha)\, KL(q(z|x) \| p(z))
              + (\alpha + \lambda - 1)\, MMD(q(z), p(z))\big)

    The KL draws the posterior of each row to the prior; the maximum mean discrepancy
    draws that of all rows together, :math:`q(z) = E_x[q(z|x)]`:

    .. math:: MMD(q, p) = E[k(z, z')] - 2\, E[k(z, y)] + E[k(y, y')], \qquad
              z, z' \sim q, \quad y, y' \sim p.

    The more of the KL is replaced, the more information about its row z may carry.

    Parameters
    ----------
    alpha : float, default=0.5
        α, from 0 to 1: share of the KL that is removed. 1 is the Wasserstein
        auto-encoder, whose posteriors may narrow to points.
    penalty : float, default=10.0
        λ, at least ``1 - alpha``. With ``alpha=0, penalty=1`` the loss is the ELBO's.
    kernel : {'inverse_multiquadratic', 'rbf'}, default='inverse_multiquadratic'
        :math:`k(z, y) = 2 h^2 / (2 h^2 + |z - y|^2)`, whose long tails reach remote
        rows, or :math:`\exp(-|z - y|^2 / 2 h^2)`.
    bandwidth : float, default=1.0
        :math:`h / \sqrt q` with q the number of components: two draws from N(0, I) are
        :math:`\sqrt{2q}` apart.
    n_draws : int, default=1
        Draws of z per row and step.

    Notes
    -----
    The estimate is the unbiased one, from a batch and as many draws from the prior; it
    can be negative. Its gradient does not reach the weights of a prior, nor an encoder
    whose draws are not a differentiable function of its outputs.

    References
    ----------
    Zhao, Song & Ermon (2019), "InfoVAE: Balancing learning and inference in variational
    autoencoders", eq. 6; Tolstikhin et al. (2018), "Wasserstein auto-encoders", eq. 4
    and algorithm 2; Gretton et al. (2012), "A kernel two-sample test", eq. 3.
    """

    is_row_wise = False
    extra_terms = ("mmd",)

    def __init__(
        self,
        alpha: float = 0.5,
        penalty: float = 10.0,
        kernel: str = "inverse_multiquadratic",
        bandwidth: float = 1.0,
        n_draws: int = 1,
    ) -> None:
        self.alpha = alpha
        self.penalty = penalty
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.n_draws = n_draws

    @override
    def check_parameters(self) -> None:
        super().check_parameters()
        check_number(self, "alpha", 0, 1)
        check_number(self, "penalty", 1 - self.alpha)
        check_choice(self, "kernel", _KERNELS)
        check_number(self, "bandwidth", 0, is_open=True)

    @override
    def _compute_cost(
        self,
        output: VAEOutput,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        kl: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        within, folds = split_folds(normalise_weights(x, weight))
        y = draw_prior(output)
        # in units of z, so that the width of the kernel does not depend on them
        z, y = output.z / output.unit, y / output.unit
        mmd = (folds * self.compute_mmd(z, y, within).mean(dim=0)).sum()
        cost = (1 - self.alpha) * kl + (self.alpha + self.penalty - 1) * mmd
        return cost, {"mmd": mmd}

    def compute_mmd(
        self, z: torch.Tensor, y: torch.Tensor, share: torch.Tensor
    ) -> torch.Tensor:
        """Return the unbiased estimate of MMD(q, p), ``(...)``.

        From draws z of q, one for each row, and y of p, both (..., n, n_components);
        ``share`` are weights of the rows that sum to one, broadcastable to (..., n).
        """
        n = y.shape[-2]
        if n < 2:
            # a single row carries no information about q(z)
            return z.sum(dim=(-1, -2)) * 0.0
        pairs = share.unsqueeze(-1) * share.unsqueeze(-2)
        pairs = pairs - torch.diag_embed(pairs.diagonal(dim1=-2, dim2=-1))
        # not 0 if one row has all the weight
        total = pairs.sum(dim=(-1, -2)).clamp_min(torch.finfo(z.dtype).tiny)
        within = (pairs * self._compare(z, z)).sum(dim=(-1, -2)) / total
        across = (share * self._compare(z, y).mean(dim=-1)).sum(dim=-1)
        kernel = self._compare(y, y)
        own = kernel.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
        prior = (kernel.sum(dim=(-1, -2)) - own) / (n * (n - 1))
        return within - 2 * across + prior

    def _compare(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the kernel of all pairs, ``(..., n, m)``."""
        width = 2 * self.bandwidth**2 * a.shape[-1]
        square = a.square().sum(dim=-1).unsqueeze(-1) - 2 * a @ b.mT
        square = (square + b.square().sum(dim=-1).unsqueeze(-2)).clamp_min(0.0)
        if self.kernel == "rbf":
            return torch.exp(-square / width)
        return width / (width + square)
