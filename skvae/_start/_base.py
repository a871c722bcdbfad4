"""What all starts are made of."""

from dataclasses import dataclass

import numpy as np
import torch

from .._closed_form._linear import NOISE_FLOOR, LinearModel
from .._closed_form._mixtures import Clusters
from .._closed_form._moments import Covariance
from .._utils._missing import NEUTRAL, find_missing

_MIN_LOG_RANGE = 0.02
# of a column of what likelihoods represent: constant ones must not divide by zero
LEAST_VARIANCE = 1e-3
# rows represented at a time
_CHUNK_ROWS = 1024


@dataclass(frozen=True)
class Start:
    """Where one copy starts: a linear model and the tensors made of it.

    Attributes
    ----------
    shift, unit : ndarray (n_features,)
        The module sees ``(x - shift) / unit``.
    tensors : dict of str to Tensor
        Buffers of `VAEModule`.
    model : LinearModel, Clusters or None
    """

    shift: np.ndarray
    unit: np.ndarray
    tensors: dict
    model: LinearModel | Clusters | None = None


def make_covariance(x, weight):
    return Covariance(x, weight).with_noise_in_constants(NOISE_FLOOR)


def take(x, weight, rows):
    if len(rows) == len(x):
        return x, weight
    return x[rows], None if weight is None else weight[rows]


def pad(array, n_components):
    """Return loadings with zeros for components beyond the linear model's."""
    missing = n_components - array.shape[0]
    return np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1))


def get_log_range(likelihood, noise):
    """Return how far log scales may fall, for noise as a share of the variance."""
    _, floor = likelihood.get_least_variance()
    return np.maximum(0.5 * np.log(noise / floor), _MIN_LOG_RANGE)


def as_tensors(arrays):
    tensors = {k: torch.as_tensor(np.ascontiguousarray(v)) for k, v in arrays.items()}
    tensors["log_range"] = tensors["log_range"].float()
    return tensors


def represent(x, likelihood):
    """Return rows as the encoder sees them, ``(n_samples, n_inputs)``.

    What comes from missing cells is NaN.
    """
    if not likelihood.is_represented:
        return x
    n_features = x.shape[1]
    represented = np.empty((len(x), likelihood.count_inputs(n_features)), np.float32)
    columns = likelihood.get_input_columns(n_features)
    for begin in range(0, len(x), _CHUNK_ROWS):
        rows = torch.as_tensor(np.array(x[begin : begin + _CHUNK_ROWS], np.float64))
        missing = find_missing(rows)
        if missing is not None:
            rows = torch.where(missing, NEUTRAL, rows)
        inputs = likelihood.represent(rows)
        if missing is not None:
            hidden = missing if columns is None else missing[:, columns]
            inputs = inputs.masked_fill(hidden, torch.nan)
        represented[begin : begin + _CHUNK_ROWS] = inputs
    return represented


def stack(starts):
    """Return the buffers of all copies: stacked, or plain where there is one."""
    if len(starts) == 1:
        return starts[0].tensors
    names = starts[0].tensors
    return {name: torch.stack([s.tensors[name] for s in starts]) for name in names}
