"""The contract of all objectives, and means over rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from sklearn.base import BaseEstimator
from typing_extensions import override

from .._utils._checks import check_count
from .._utils._site import SiteLinkMixin

if TYPE_CHECKING:
    from .._model._evidence import VAEOutput


def average_rows(values: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Return the weighted mean over rows of (..., n)."""
    if weight is None:
        return values.mean()
    return (values * weight).sum() / weight.sum()


def normalise_weights(x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Return weights of the rows that sum to one, ``(..., n)``."""
    if weight is None:
        weight = x.new_ones(x.shape[:-1])
    return weight / weight.sum()


def split_folds(share: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the shares of rows in their own fold, and those of the folds, ``(...)``.

    Rows of a fold without any weight get equal shares: 0 / 0 would spoil the others.
    """
    folds = share.sum(dim=-1)
    within = torch.where(folds.unsqueeze(-1) > 0, share, torch.ones_like(share))
    return within / within.sum(dim=-1, keepdim=True), folds


class Objective(SiteLinkMixin, BaseEstimator):
    """Base of all objectives."""

    n_draws = 1
    # whether the loss is a mean over rows; if not, each held-out row is scored with
    # noise of its own, the same at every call
    is_row_wise = True
    # whether the loss is a weighted mean over rows: a large batch may be in parts then
    is_additive = False
    # names of terms beside reconstruction and kl, lower being better
    extra_terms: tuple[str, ...] = ()
    # whether networks of several folds can be trained side by side
    is_stackable = True
    # whether the loss of held-out rows chooses the weights that are kept
    is_scored = True
    # rows of the training table; None before `prepare`
    n_samples: int | None = None

    def check_parameters(self) -> None:
        """Refuse hyper-parameters out of range, by name."""
        check_count(self, "n_draws", 1)

    def __call__(
        self,
        output: VAEOutput,
        x: torch.Tensor,
        weight: torch.Tensor | None = None,
        beta: float = 1.0,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the loss, to be minimised, and named means in nats per row.

        Parameters
        ----------
        output : VAEOutput
        x : Tensor (..., n, n_features)
        weight : Tensor (..., n) or None, default=None
        beta : float, default=1.0
            Weight of the KL.
        """
        raise NotImplementedError

    def prepare(self, n_samples: int) -> None:
        """Store the number of training rows before training."""
        self.n_samples = n_samples

    def start(self, output: VAEOutput, x: torch.Tensor) -> None:
        """Make networks of the objective's own, for rows x of the training table."""

    def learn(
        self, output: VAEOutput, x: torch.Tensor, weight: torch.Tensor | None = None
    ) -> None:
        """Train these networks, in every training step before the loss is computed."""

    def diagnose(self, output: VAEOutput, x: torch.Tensor) -> str | None:
        """Return what is wrong with a trained model, for a warning; None if nothing."""
        return None


class KLObjective(Objective):
    """Base of objectives that add a cost to the reconstruction, the KL or more."""

    @override
    def __call__(
        self,
        output: VAEOutput,
        x: torch.Tensor,
        weight: torch.Tensor | None = None,
        beta: float = 1.0,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        reconstruction = average_rows(output.average(output.log_likelihood(x)), weight)
        kl = average_rows(output.average(output.kl()), weight)
        cost, extra = self._compute_cost(output, x, weight, kl)
        terms = {"reconstruction": reconstruction, "kl": kl, **extra}
        terms = {name: term.detach() for name, term in terms.items()}
        return beta * cost - reconstruction, terms

    def _compute_cost(
        self,
        output: VAEOutput,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        kl: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return what beta multiplies, and further terms by name."""
        raise NotImplementedError
