"""What all objectives share."""

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


def share_within_copies(share):
    """Return the shares of rows in their own copy, ``(..., n)``, and those of copies.

    Rows of a copy without any weight get equal ones, lest 0 / 0 spoils the others.

    Returns
    -------
    within : Tensor (..., n)
    copies : Tensor (...)
    """
    copies = share.sum(dim=-1)
    within = torch.where(copies.unsqueeze(-1) > 0, share, torch.ones_like(share))
    return within / within.sum(dim=-1, keepdim=True), copies


class Objective(BaseEstimator):
    """Base of all objectives.

    Calling one with ``(output, x, weight, beta)`` returns ``(loss, terms)``: a scalar
    to minimise, and a dict of named means in nats per row.
    """

    n_draws = 1
    # whether the loss is a mean over rows: where it is not, held-out rows are judged
    # with noise of their own each, the same at every call
    is_row_wise = True
    # names of terms beside reconstruction and kl, lower being better
    extra_terms = ()
    # rows of the training table; None before `prepare`
    n_samples = None

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""
        check_count(self, "n_draws", 1)

    def prepare(self, n_samples):
        """Learn, before training, how many rows will train.

        Parameters
        ----------
        n_samples : int
            Counted by their weights, whose mean is one.
        """
        self.n_samples = n_samples
