"""The contract of all objectives, and means over rows."""

import torch
from sklearn.base import BaseEstimator

from .._utils._checks import check_count


def average_rows(values, weight):
    """Return the weighted mean over rows of (..., n)."""
    if weight is None:
        return values.mean()
    return (values * weight).sum() / weight.sum()


def share_rows(x, weight):
    """Return the weights of the rows as shares that sum to one, ``(..., n)``."""
    if weight is None:
        weight = x.new_ones(x.shape[:-1])
    return weight / weight.sum()


def share_within_folds(share):
    """Return the shares of rows in their own fold, and the shares of the folds.

    Rows of a fold without any weight get equal shares: 0 / 0 would spoil the others.

    Returns
    -------
    within : Tensor (..., n)
    folds : Tensor (...)
    """
    folds = share.sum(dim=-1)
    within = torch.where(folds.unsqueeze(-1) > 0, share, torch.ones_like(share))
    return within / within.sum(dim=-1, keepdim=True), folds


class Objective(BaseEstimator):
    """Base of all objectives."""

    n_draws = 1
    # whether the loss is a mean over rows; if not, each held-out row is scored with
    # noise of its own, the same at every call
    is_row_wise = True
    # whether the loss is a weighted mean over rows: a large batch may be in parts then
    is_additive = False
    # names of terms beside reconstruction and kl, lower being better
    extra_terms = ()
    # rows of the training table; None before `prepare`
    n_samples = None

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""
        check_count(self, "n_draws", 1)

    def __call__(self, output, x, weight=None, beta=1.0):
        """Return the loss and its terms.

        Parameters
        ----------
        output : VAEOutput
        x : Tensor (..., n, n_features)
        weight : Tensor (..., n) or None, default=None
        beta : float, default=1.0
            Weight of the KL.

        Returns
        -------
        loss : Tensor ()
            To be minimised.
        terms : dict of str to Tensor ()
            Named means in nats per row.
        """
        raise NotImplementedError

    def prepare(self, n_samples):
        """Store the number of training rows before training.

        Parameters
        ----------
        n_samples : int
            Sum of the weights, whose mean is one.
        """
        self.n_samples = n_samples
