"""The ELBO with a weight of its own for the total correlation of the latent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from typing_extensions import override

from .._utils._checks import check_choice, check_number
from ._base import KLObjective, average_rows, normalise_weights, split_folds

if TYPE_CHECKING:
    from .._model._evidence import VAEOutput

_ESTIMATORS = ("stratified", "weighted")
# densities of draws under posteriors that are held at a time
_CHUNK_VALUES = 4_000_000


class TC(KLObjective):
    r"""The ELBO with a weight of its own for the total correlation (beta-TCVAE).

    Averaged over the N rows of the table, with the aggregate posterior
    :math:`q(z) = \frac1N \sum_n q(z|x_n)`, the KL to the prior is a sum of three terms,
    and each gets its own weight:

    .. math:: -E[\log p(x|z)] + \beta\, \big(\alpha\, I_q(x; z)
              + \beta_{tc}\, KL(q(z) \| {\textstyle\prod_k} q(z_k))
              + \gamma\, E_{q(z)}[\log {\textstyle\prod_k} q(z_k) - \log p(z)]\big)

    mutual information, total correlation, and the divergence of the marginals from the
    prior: :math:`\sum_k KL(q(z_k) \| p(z_k))` if the prior is a product. With all
    weights 1 this is the ELBO. A large weight of the total correlation makes components
    independent of one another.

    Parameters
    ----------
    alpha : float, default=1.0
        Weight of the mutual information of row and latent.
    beta_tc : float, default=6.0
        Weight of the total correlation. The transformer's `beta` weights all three.
    gamma : float, default=1.0
        Weight of the divergence of the marginals from the prior.
    n_draws : int, default=1
        Draws of z per row and step.
    estimator : {'stratified', 'weighted'}, default='stratified'
        How a batch of M rows estimates q(z) at a draw of its row n. 'stratified' is
        unbiased: :math:`\frac1N q(z|x_n) + \frac{N-1}{N (M-1)} \sum_{m \neq n}
        q(z|x_m)`. 'weighted' is :math:`\frac1M \sum_m q(z|x_m)`, in which the row has
        too much weight. (The paper has a further factor 1/N, a constant in the loss.)

    Notes
    -----
    The loss is that of the ELBO, with the exact KL if it is known, plus
    :math:`(\alpha - 1)`, :math:`(\beta_{tc} - 1)` and :math:`(\gamma - 1)` times the
    estimates of the three terms. By Jensen's inequality log q(z) from a batch is lower
    on average than from the table, less so for larger batches.

    References
    ----------
    Chen, Li, Grosse & Duvenaud (2018), "Isolating sources of disentanglement in
    variational autoencoders", eq. 2 for the three terms, eq. 4 for the loss, appendix C
    for the estimators.
    """

    is_row_wise = False
    extra_terms = ("total_correlation",)

    def __init__(
        self,
        alpha: float = 1.0,
        beta_tc: float = 6.0,
        gamma: float = 1.0,
        n_draws: int = 1,
        estimator: str = "stratified",
    ) -> None:
        self.alpha = alpha
        self.beta_tc = beta_tc
        self.gamma = gamma
        self.n_draws = n_draws
        self.estimator = estimator

    @override
    def check_parameters(self) -> None:
        super().check_parameters()
        for name in ("alpha", "beta_tc", "gamma"):
            check_number(self, name, 0)
        check_choice(self, "estimator", _ESTIMATORS)

    @override
    def _compute_cost(
        self,
        output: VAEOutput,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        kl: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        split = self._split_kl(output, normalise_weights(x, weight))
        parts = [average_rows(part.mean(dim=0), weight) for part in split]
        weights = self.alpha, self.beta_tc, self.gamma
        cost = kl + sum(
            (w - 1) * part for w, part in zip(weights, parts, strict=True) if w != 1
        )
        return cost, {"total_correlation": parts[1]}

    def _split_kl(
        self, output: VAEOutput, share: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Return the three terms of every draw, ``(n_draws, ..., n)``."""
        z = output.z
        log_joint, log_marginals = self._estimate(output, share)
        return (
            output.posterior.log_prob(z) - log_joint,
            log_joint - log_marginals,
            log_marginals - output.prior.log_prob(z),
        )

    def _estimate(
        self, output: VAEOutput, share: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log q(z) and Σ log q(z_k) of every draw, ``(n_draws, ..., n)``."""
        within, _ = split_folds(share)
        # the rows of the draws first, those of the posteriors last:
        # (n, n_draws, ..., 1, n_components) and (n, 1, ..., n)
        z = output.z.movedim(-2, 0).unsqueeze(-2)
        log_shares = self._weigh_posteriors(within).log().movedim(-2, 0).unsqueeze(1)
        size = max(1, _CHUNK_VALUES // (z[0].numel() * share.shape[-1]))
        found = []
        for some, log_share in zip(z.split(size), log_shares.split(size), strict=True):
            log_prob = output.log_posterior_per_component(some)
            joint = torch.logsumexp(output.posterior.log_prob(some) + log_share, dim=-1)
            marginals = torch.logsumexp(log_prob + log_share.unsqueeze(-1), dim=-2)
            found.append(torch.stack([joint, marginals.sum(dim=-1)]))
        # (2, n, n_draws, ...) -> (2, n_draws, ..., n)
        joint, marginals = torch.cat(found, dim=1).movedim(1, -1).unbind()
        return joint, marginals

    def _weigh_posteriors(self, within: torch.Tensor) -> torch.Tensor:
        """Return the weight of q(z|x_m) in the estimate of q(z_n), ``(..., n, n)``."""
        n = within.shape[-1]
        # one line for each draw z_n
        others = within.unsqueeze(-2).expand(*within.shape, n)
        # without `prepare` the batch is the table
        if self.estimator == "weighted" or self.n_samples is None:
            return others
        own = (within * (n / max(self.n_samples, n))).unsqueeze(-1)
        rest = (1 - within).clamp_min(torch.finfo(within.dtype).tiny).unsqueeze(-1)
        is_own = torch.eye(n, dtype=torch.bool, device=within.device)
        return torch.where(is_own, own, (1 - own) / rest * others)
