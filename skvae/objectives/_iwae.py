"""The importance-weighted bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from typing_extensions import override

from .._model import _evidence
from .._utils._checks import check_choice
from ._base import Objective, average_rows

if TYPE_CHECKING:
    from .._model._evidence import VAEOutput

_GRADIENTS = ("doubly_reparametrised", "standard")


class IWAE(Objective):
    r"""The importance-weighted bound, which more draws make tighter.

    .. math:: -E\Big[\log \frac1K \sum_{k=1}^K w_k\Big], \qquad
              w_k = \frac{p(x, z_k)}{q(z_k|x)}

    With more draws the plain gradient for the encoder gets lost in its noise: it falls
    as 1/K, the noise as 1/√K. Without the score function of q,

    .. math:: \nabla_\phi = E\Big[\sum_k \tilde w_k^2\,
              \frac{\partial \log w_k}{\partial z_k}
              \frac{\partial z_k}{\partial \phi}\Big],
              \qquad \tilde w_k = \frac{w_k}{\sum_l w_l}

    has the same mean, and a noise that vanishes with it.

    Parameters
    ----------
    n_draws : int, default=5
        Draws of z per row and step, K. One is the ELBO.
    gradient : {'doubly_reparametrised', 'standard'}, default='doubly_reparametrised'
        Gradient for the encoder: the formula above, or the derivative of the bound.
        Draws that are not a differentiable function of the encoder's outputs, or that
        have no density, such as those of Gumbel-softmax, always use the standard one.

    Notes
    -----
    With a weight β of the KL, :math:`\log w = \log p(x|z) - \beta \log q(z|x)/p(z)`,
    and the factor :math:`\tilde w^2` becomes
    :math:`\tilde w\,(1 - \beta + \beta\, \tilde w)`, by the same argument.

    References
    ----------
    Burda, Grosse & Salakhutdinov (2016), "Importance weighted autoencoders", eq. 8;
    Tucker et al. (2019), "Doubly reparameterized gradient estimators for Monte Carlo
    objectives", eq. 8; Rainforth et al. (2018), "Tighter variational bounds are not
    necessarily better", theorem 1, for the plain gradient.
    """

    is_additive = True

    def __init__(
        self, n_draws: int = 5, gradient: str = "doubly_reparametrised"
    ) -> None:
        self.n_draws = n_draws
        self.gradient = gradient

    @override
    def check_parameters(self) -> None:
        super().check_parameters()
        check_choice(self, "gradient", _GRADIENTS)

    @override
    def __call__(
        self,
        output: VAEOutput,
        x: torch.Tensor,
        weight: torch.Tensor | None = None,
        beta: float = 1.0,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the loss and its terms.

        A hook weights the gradient of ``output.z``: an output is for one call.
        """
        z = output.z
        # the two gradients have the same mean if log q is the density of the draws
        is_weighed = (
            self.gradient == "doubly_reparametrised"
            and z.requires_grad
            and output.posterior.has_rsample
            and not getattr(output.posterior, "is_relaxed", False)
        )
        log_likelihood = output.log_likelihood(x)
        log_ratio = output.log_ratio(drops_score=is_weighed)
        log_weights = log_likelihood - beta * log_ratio
        if is_weighed:
            factor = _weigh(log_weights.detach(), beta).unsqueeze(-1)
            z.register_hook(lambda grad: grad * factor)
        if output.log_share is None:
            bound = _evidence.log_evidence(log_weights)
        else:
            bound = output.log_evidence_and_elbo(x, beta)
        bound = average_rows(bound, weight)
        terms = {"reconstruction": log_likelihood.detach(), "kl": log_ratio.detach()}
        terms = {k: average_rows(output.average(v), weight) for k, v in terms.items()}
        return -bound, terms


def _weigh(log_weights: torch.Tensor, beta: float) -> torch.Tensor:
    """Return the factor of each draw's gradient, beside its weight in the bound."""
    return 1 - beta * (1 - torch.softmax(log_weights, dim=0))
