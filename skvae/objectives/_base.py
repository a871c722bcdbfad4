"""The contract of all objectives, and means over rows."""

from __future__ import annotations

import math
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


def draw_prior(output: VAEOutput, shape: tuple[int, ...] | None = None) -> torch.Tensor:
    """Return draws from the prior, ``(*shape, n_components)``.

    By default there are as many as of the posterior.
    """
    n_components = output.z.shape[-1]
    shape = tuple(output.z.shape[:-1]) if shape is None else shape
    batch: tuple[int, ...] = output.prior.batch_shape
    batch = (1,) * (len(shape) - len(batch)) + tuple(batch)
    # the prior of each fold is drawn from for its rows; a common one for all folds
    drawn = [n if k == 1 else 1 for n, k in zip(shape, batch, strict=True)]
    with torch.no_grad():
        y = output.prior.sample((math.prod(drawn),))
    # each dimension of z comes from two, one of which has size 1
    y = y.reshape(*drawn, *batch, n_components)
    order = [i for pair in enumerate(range(len(drawn), 2 * len(drawn))) for i in pair]
    return y.permute(*order, -1).reshape(*shape, n_components).to(output.z)


class Objective(SiteLinkMixin, BaseEstimator):
    """Base of all objectives."""

    n_draws = 1
    # names of terms beside reconstruction and kl, lower being better
    extra_terms: tuple[str, ...] = ()
    # whether networks of several folds can be trained side by side
    is_stackable = True
    # rows of the training table; None before `prepare`
    n_samples: int | None = None

    # overridden by an attribute, or by a property where it depends on parameters

    @property
    def is_row_wise(self) -> bool:
        """Whether the loss is a mean over rows.

        If not, each held-out row is scored with noise of its own, the same at every
        call.
        """
        return True

    @property
    def is_additive(self) -> bool:
        """Whether the loss is a weighted mean over rows: batches may be in parts."""
        return False

    @property
    def is_scored(self) -> bool:
        """Whether the loss of held-out rows chooses the weights that are kept."""
        return True

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
