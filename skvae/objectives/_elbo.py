"""The evidence lower bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from typing_extensions import override

from .._utils._checks import check_number
from ._base import KLObjective, normalise_weights

if TYPE_CHECKING:
    from .._model._evidence import VAEOutput


class ELBO(KLObjective):
    r"""The evidence lower bound.

    .. math:: -E_{q(z|x)}[\log p(x|z)] + \beta\, KL(q(z|x) \| p(z))

    With free bits λ a KL of a component below λ costs as much as λ,

    .. math:: -E_{q(z|x)}[\log p(x|z)]
              + \beta \sum_k \max(\lambda, \overline{KL}(q(z_k|x) \| p(z_k))),

    where the bar is the mean over the rows of a batch. This keeps components in use
    that training would switch off early.

    Parameters
    ----------
    n_draws : int, default=1
        Draws of z per row and step.
    free_bits : float, default=0.0
        λ, nats per component. If the KL is not a sum over components, as with a mixture
        prior, the KL of the whole latent, again a mean over the batch, is free up to
        ``n_components * free_bits``.

    References
    ----------
    Kingma & Welling (2014), "Auto-encoding variational Bayes", eq. 3; Higgins et al.
    (2017), "beta-VAE", eq. 4; Kingma et al. (2016), "Improving variational inference
    with inverse autoregressive flow", eq. 15 and appendix C.8, for free bits.
    """

    def __init__(self, n_draws: int = 1, free_bits: float = 0.0) -> None:
        self.n_draws = n_draws
        self.free_bits = free_bits

    @override
    def check_parameters(self) -> None:
        super().check_parameters()
        check_number(self, "free_bits", 0)

    @override
    @property
    def is_additive(self) -> bool:  # type: ignore[override]
        """Whether the loss is a weighted mean over rows: not with free bits."""
        return not self.free_bits

    @override
    def _compute_cost(
        self,
        output: VAEOutput,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        kl: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if not self.free_bits:
            return kl, {}
        # in each fold no less than is free
        share = normalise_weights(x, weight)
        total = share.sum(dim=-1)  # of the folds, (...)
        kl = output.kl_per_component()
        if kl is None:
            kl = (share * output.average(output.kl())).sum(dim=-1)
            least = self.free_bits * output.z.shape[-1] * total
        else:
            # (..., n_components)
            kl = (share.unsqueeze(-1) * kl.mean(dim=0)).sum(dim=-2)
            least = self.free_bits * total.unsqueeze(-1)
        return torch.maximum(kl, least).sum(), {}
