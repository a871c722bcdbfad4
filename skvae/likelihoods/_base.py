"""What all likelihoods share: the base class, and how raw values become log scales."""

import copy

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch.nn.functional import celu

from .._columns._support import REALS
from .._utils._missing import fill_at_random
from .._utils._nested_parameters import instantiate_named

# exp(12): no column is 160,000 times as noisy as the linear model found it
MAX_LOG_SCALE = 12.0
# noise that depends on z and is smaller than this is repeated values, not noise
NARROW_FLOOR = 1e-3


def bound(raw, log_range):
    """Return log scales: raw where positive, bent above -log_range elsewhere."""
    return (log_range * celu(raw / log_range)).clamp(max=MAX_LOG_SCALE)


def unbound(log_scale, log_range):
    """Return the raw value that `bound` maps to log_scale."""
    ratio = (log_scale / log_range).clamp(-0.999, 0.0)
    return torch.where(log_scale < 0, log_range * torch.log1p(ratio), log_scale)


class Likelihood(BaseEstimator):
    """Base of all likelihoods: hyper-parameters, and the map from raw outputs.

    Calling a likelihood with ``(raw, free, start, log_range)`` returns a
    `torch.distributions.Distribution` whose last dimension is one row of the table and
    whose ``log_prob`` has one value a column.

    - ``raw`` (..., n_raw, n_features): what the decoder says, given z;
    - ``free`` (..., n_free, n_features): learned values that do not depend on z;
    - ``start`` (..., n_features): the location that the linear start predicts from z,
      ``(..., n_start, n_features)`` where it predicts several values a column;
    - ``log_range`` (..., n_features): how far a log scale may fall below 0.

    Zero everywhere in ``raw`` and ``free`` is the linear start itself.

    Attributes
    ----------
    n_raw : int
        Raw decoder outputs per column.
    n_start : int
        Values per column that the linear start predicts from z.
    is_scaled : bool
        Whether columns are centred and scaled, with the Jacobian in the score. Without,
        `link` says what the linear start is in the likelihood's own parameters.
    least_noise : float
        Share of a column's variance, as `represent` has it, that a linear start which
        is not scaled leaves to noise at least.
    least_scale : float
        What the encoder sees is divided by its standard deviation, or by this.
    support : Support
        The values that are accepted. Others are refused before training.
    fixed_noise : float or None
        A known standard deviation of the noise.
    is_isotropic : bool
        Whether all columns have one noise variance.
    is_joint : bool
        Whether columns depend on one another given z.
    """

    n_raw = 1
    n_start = 1
    is_scaled = True
    least_noise = 0.1
    least_scale = 0.0
    support = REALS
    fixed_noise = None
    is_isotropic = False
    is_joint = False

    @property
    def has_start(self):
        """Whether there is something better to start from than zeros."""
        mine, base = type(self), Likelihood
        return mine.start is not base.start or mine.start_free is not base.start_free

    def get_least_variance(self):
        """Return the least variance of the noise, as a share of the column's.

        The first is for the linear start, None where that has its own; the second for
        what the decoder gives.
        """
        return None, NARROW_FLOOR

    # parameters that may be names, and what those stand for
    named = {}  # noqa: RUF012

    def set_params(self, **params):
        """Set parameters; a name becomes an instance where parameters of it are set.

        Parameters
        ----------
        **params : dict

        Returns
        -------
        Likelihood
            The likelihood itself.
        """
        members = instantiate_named(self, params, self.named)
        return super().set_params(**params | members)

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""

    def raw_shape(self, n_features):
        """Return the shape of the raw outputs for one row."""
        return (self.n_raw, n_features)

    def start_shape(self, n_features):
        """Return the shape of what the linear start predicts for one row."""
        return (n_features,) if self.n_start == 1 else (self.n_start, n_features)

    def free_shape(self, n_features):
        """Return the shape of the learned values that do not depend on z."""
        return (0, n_features)

    def adapt(self, x, weight=None):
        """Learn from the training rows what shapes depend on, such as levels.

        Parameters
        ----------
        x : ndarray (n, n_features)
            In the units of X.
        weight : ndarray (n,) or None
        """

    def adapt_to_part(self, x, weight):
        """Return a copy that has learned from some of the rows, of the same shapes.

        Parameters
        ----------
        x : ndarray (n, n_features)
        weight : ndarray (n,)

        Returns
        -------
        Likelihood
            Whose `link` is that of those rows.
        """
        part = copy.copy(self)
        part.adapt(x, weight)
        return part

    @property
    def learns(self):
        """Whether `adapt` reads the rows."""
        return type(self).adapt is not Likelihood.adapt

    @property
    def is_represented(self):
        """Whether the encoder sees something else than the columns themselves."""
        return type(self).represent is not Likelihood.represent

    def count_inputs(self, n_features):
        """Return the number of values that `represent` makes of a row."""
        return n_features

    def get_input_columns(self, n_features):
        """Return which column each value that `represent` makes comes from.

        Returns
        -------
        ndarray of int (n_inputs,) or None
            None is one value a column, in their order.
        """
        return None

    def represent(self, x):
        """Return rows as the linear start and the encoder see them.

        Parameters
        ----------
        x : Tensor (..., n, n_features)

        Returns
        -------
        Tensor (..., n, n_inputs)
            Real numbers whose variances and covariances mean something.
        """
        return x

    def link(self, mean, scale, loadings, noise):
        """Return the linear start in the likelihood's own parameters.

        Only asked of what is not scaled.

        Parameters
        ----------
        mean, scale : ndarray (n_inputs,)
            Moments of the training rows as `represent` has them.
        loadings : ndarray (n_components, n_inputs)
            Of the linear model in those units; zero for random initial weights.
        noise : ndarray (n_inputs,)
            Share of the variance that it leaves to noise.

        Returns
        -------
        weight : ndarray (n_components, n_start * n_features)
        bias : ndarray (n_start * n_features,)
            ``start`` is ``z @ weight + bias``.
        """
        raise NotImplementedError

    def fit_start(self, x, predicted, log_range):
        """Return what raw outputs and free values start at, `start` and `start_free`.

        Parameters
        ----------
        x : Tensor (n, n_features)
            Missing cells are NaN.
        predicted : Tensor (n, *start_shape)
            What the linear start predicts.
        log_range : Tensor (n_features,)

        Returns
        -------
        raw : Tensor, of the shape that `raw_shape` says
        free : Tensor, of the shape that `free_shape` says
        """
        residual = torch.as_tensor(fill_at_random((x - predicted).numpy()))
        return self.start(residual, log_range), self.start_free(residual, log_range)

    def start(self, residual, log_range):
        """Fit raw outputs to what the linear start leaves over.

        Parameters
        ----------
        residual : Tensor (n, n_features)
        log_range : Tensor (n_features,)

        Returns
        -------
        Tensor (n_raw, n_features)
            Zeros unless the likelihood has something better.
        """
        return residual.new_zeros(self.n_raw, residual.shape[-1])

    def start_free(self, residual, log_range):
        """Fit the learned values that do not depend on z likewise.

        Parameters
        ----------
        residual : Tensor (n, n_features)
        log_range : Tensor (n_features,)

        Returns
        -------
        Tensor of the shape that `free_shape` says
            Zeros unless the likelihood has something better.
        """
        return residual.new_zeros(self.free_shape(residual.shape[-1]))

    def list_groups(self, n_features):
        """Return the likelihoods of groups of columns, and the numbers of those."""
        return [(self, np.arange(n_features))]

    def get_scaled(self, n_features):
        """Return which columns are centred and scaled, ``(n_features,)`` bool."""
        scaled = np.zeros(n_features, dtype=bool)
        for member, columns in self.list_groups(n_features):
            scaled[columns] = member.is_scaled
        return scaled

    def name_columns(self, n_features):
        """Return the likelihood of every column in words, a list of str."""
        names = [""] * n_features
        for member, columns in self.list_groups(n_features):
            for column in columns:
                names[column] = type(member).__name__
        return names

    def get_member(self, column):
        """Return the likelihood of one column."""
        return self

    def restrict(self, is_kept):
        """Return the likelihood of some of the columns alone.

        Parameters
        ----------
        is_kept : ndarray of bool (n_features,)
        """
        return self

    def count_summaries(self, n_features):
        """Return the number of values that `summarise` makes of a row."""
        return n_features

    def summarise(self, law):
        """Return what is averaged where p(x|z) of several z is, ``(..., n_values)``.

        Parameters
        ----------
        law : Distribution
            What calling this returned.
        """
        return law.mean

    def conclude(self, summary):
        """Return the value of every column that an average of summaries stands for.

        Parameters
        ----------
        summary : Tensor (..., n_values)

        Returns
        -------
        Tensor (..., n_features)
        """
        return summary
