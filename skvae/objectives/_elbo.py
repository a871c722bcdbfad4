"""The evidence lower bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from typing_extensions import override

from .._utils._checks import check_count, check_number
from ._base import KLObjective, normalise_weights

if TYPE_CHECKING:
    from .._model._evidence import VAEOutput


# Adam's decay rates where there are few steps; a gradient that is small beside one nat
# makes a small step: q is nearly exact
_MOMENTUM, _MEMORY, _DAMPING = 0.5, 0.9, 1.0


class ELBO(KLObjective):
    r"""The evidence lower bound.

    .. math:: -E_{q(z|x)}[\log p(x|z)] + \beta\, KL(q(z|x) \| p(z))

    With free bits λ a KL of a component below λ costs as much as λ,

    .. math:: -E_{q(z|x)}[\log p(x|z)]
              + \beta \sum_k \max(\lambda, \overline{KL}(q(z_k|x) \| p(z_k))),

    where the bar is the mean over the rows of a batch. This keeps components in use
    that training would switch off early.

    With ``n_refine=K`` training is variational EM. For every batch, the E step improves
    :math:`\lambda`, mean and scale of q for each row, by K steps of gradient ascent
    from the encoder's output on; the M step follows the gradient of p at the refined q,
    and the encoder that of the bound at its own q:

    .. math:: \lambda_0 = \mathrm{encoder}_\phi(x), \quad
              \lambda_{k+1} = \lambda_k
              + \alpha\, \nabla_\lambda \mathrm{ELBO}(x; \theta, \lambda_k), \quad
              \Delta\theta \propto \nabla_\theta \mathrm{ELBO}(x; \theta, \lambda_K),
              \quad
              \Delta\phi \propto \nabla_\phi \mathrm{ELBO}(x; \theta, \lambda_0).

    The model then does not adapt to the errors of the encoder.

    Parameters
    ----------
    n_draws : int, default=1
        Draws of z per row and step.
    free_bits : float, default=0.0
        λ, nats per component. If the KL is not a sum over components, as with a mixture
        prior, the KL of the whole latent, again a mean over the batch, is free up to
        ``n_components * free_bits``.
    n_refine : int, default=0
        K, steps of the refinement of q per batch; 0 uses the encoder's q. Training has
        a single stage, as with ``density="joint"``, and takes about K + 1 times as
        long. Not for categorical and hierarchical latents, whose posteriors move with
        the prior.
    refine_lr : float, default=0.3
        Longest of these steps, about, in standard deviations of the linear model's
        posterior. They are Adam's, with the gradient of Roeder et al. (2017), whose
        noise vanishes as q becomes exact.

    Notes
    -----
    With ``n_refine`` the terms in ``history_``, and the loss of held-out rows by which
    weights are chosen, are those of the refined q. `score_samples` remains the ELBO of
    the encoder's q, which may be far lower; the ELBO of the refined q is
    ``score_samples(X, method="refined")``. No gradient passes through the refinement
    itself, as it does in semi-amortised inference (Kim et al. 2018, algorithm 1).

    References
    ----------
    Kingma & Welling (2014), "Auto-encoding variational Bayes", eq. 3; Higgins et al.
    (2017), "beta-VAE", eq. 4; Kingma et al. (2016), "Improving variational inference
    with inverse autoregressive flow", eq. 15 and appendix C.8, for free bits; Krishnan,
    Liang & Hoffman (2018), "On the challenges of learning with inference networks on
    sparse, high-dimensional data", algorithm 1, for the refinement; Roeder, Wu &
    Duvenaud (2017), "Sticking the landing", eq. 8, for its gradient.
    """

    def __init__(
        self,
        n_draws: int = 1,
        free_bits: float = 0.0,
        n_refine: int = 0,
        refine_lr: float = 0.3,
    ) -> None:
        self.n_draws = n_draws
        self.free_bits = free_bits
        self.n_refine = n_refine
        self.refine_lr = refine_lr

    @override
    def check_parameters(self) -> None:
        super().check_parameters()
        check_number(self, "free_bits", 0)
        check_count(self, "n_refine", 0)
        check_number(self, "refine_lr", 0, is_open=True)
        if self.n_refine and self.free_bits:
            raise ValueError(
                f"ELBO(free_bits={self.free_bits!r}, n_refine={self.n_refine!r}): free "
                "bits are for the encoder's q, which is then not the one that p learns "
                "from; set one of the two to 0."
            )

    @override
    @property
    def is_row_wise(self) -> bool:
        """Whether held-out rows share their noise: q must not be fitted to it."""
        return not self.n_refine

    @override
    @property
    def is_additive(self) -> bool:
        """Whether the loss is a weighted mean over rows: not with free bits."""
        return not self.free_bits

    @override
    def __call__(
        self,
        output: VAEOutput,
        x: torch.Tensor,
        weight: torch.Tensor | None = None,
        beta: float = 1.0,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if not self.n_refine or output.infer is None or output.raw is None:
            return super().__call__(output, x, weight, beta)
        raw, gradient = self._refine(output, x, beta)
        loss, terms = super().__call__(output.infer(raw), x, weight, beta)
        # zero, with the gradient of the encoder's own bound
        share = normalise_weights(x, weight)
        by_row = (output.raw * gradient).flatten(x.dim() - 1).sum(dim=-1)
        pull = (share * by_row).sum()
        return loss + (pull - pull.detach()), terms

    def _refine(
        self, output: VAEOutput, x: torch.Tensor, beta: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return refined raw outputs, and the gradient of the loss at the encoder's.

        Both are of every row by itself.
        """
        assert output.raw is not None
        assert output.infer is not None
        raw = output.raw.detach()
        first = second = torch.zeros_like(raw)
        gradients = []
        for step in range(1, self.n_refine + 1):
            with torch.enable_grad():
                if step == 1 and output.z.requires_grad:
                    # the pass that is there already
                    trial, found = output.raw, output
                else:
                    # draws are new at every step: q would otherwise be fitted to them
                    trial = raw.requires_grad_()
                    found = output.infer(trial)
                # with the score function of q the noise of a draw or two would move q
                # further than a few steps
                log_ratio = found.log_ratio(drops_score=True)
                loss = found.average(beta * log_ratio - found.log_likelihood(x)).sum()
                (gradient,) = torch.autograd.grad(loss, trial)
            gradients.append(gradient)
            first = _MOMENTUM * first + (1 - _MOMENTUM) * gradient
            second = _MEMORY * second + (1 - _MEMORY) * gradient**2
            size = (second / (1 - _MEMORY**step)).sqrt() + _DAMPING
            change = first / (1 - _MOMENTUM**step) / size
            raw = (raw - self.refine_lr * change).detach()
        return raw, gradients[0]

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
