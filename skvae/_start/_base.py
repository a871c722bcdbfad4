"""The record of where training starts, and what all kinds of it share."""

from dataclasses import dataclass

import numpy as np
import torch

from .._closed_form._linear import NOISE_FLOOR, LinearModel
from .._closed_form._mixtures import Clusters
from .._closed_form._moments import Covariance
from .._utils._missing import NEUTRAL, find_missing

# least distance, of log scales, from the noise to its floor
_MIN_LOG_RANGE = 0.02
# least variance of an input of the encoder: constant ones must not divide by zero
LEAST_VARIANCE = 1e-3
# inputs of the encoder up to which they are kept in double precision
_MAX_DOUBLE_CELLS = 2**22
# rows that links represent at a time
_CHUNK_ROWS = 1024


@dataclass(frozen=True)
class Start:
    """Where the network of one fold starts: a model, and the tensors made of it.

    Attributes
    ----------
    shift, unit : ndarray (n_features,)
        The module sees ``(x - shift) / unit``.
    tensors : dict of str to Tensor
        Buffers of `VAEModule`.
    model : LinearModel, Clusters or None
        None where it has no density of the rows in closed form.
    """

    shift: np.ndarray
    unit: np.ndarray
    tensors: dict
    model: LinearModel | Clusters | None = None


def compute_covariance(x, weight):
    """Return the covariance of rows; constant columns have a little noise."""
    return Covariance(x, weight).with_noise_in_constants(NOISE_FLOOR)


def take_rows(x, weight, rows):
    """Return some rows and their weights; no copy of all of them."""
    if len(rows) == len(x):
        return x, weight
    return x[rows], None if weight is None else weight[rows]


def is_part(train, splits):
    """Whether the training rows of a fold are not all rows of the table."""
    return len(splits.train) > 1 and len(train) < len(splits.table)


def pad_components(array, n_components, value=0.0):
    """Return an array, components first, with those beyond the linear model's."""
    missing = n_components - len(array)
    padding = [(0, missing)] + [(0, 0)] * (array.ndim - 1)
    return np.pad(array, padding, constant_values=value)


def get_log_range(link, noise):
    """Return how far log scales may fall, for noise as a share of the variance."""
    return np.maximum(0.5 * np.log(noise / link.noise_floor), _MIN_LOG_RANGE)


def as_tensors(arrays):
    """Return buffers of the module: float64, but for the range of log scales."""
    tensors = {k: torch.as_tensor(np.ascontiguousarray(v)) for k, v in arrays.items()}
    tensors["log_range"] = tensors["log_range"].float()
    return tensors


def represent(x, link):
    """Return rows as the encoder sees them, ``(n_samples, n_inputs)``.

    What comes from missing cells is NaN.
    """
    if not link.is_represented:
        return x
    n_features = x.shape[1]
    shape = len(x), link.count_inputs(n_features)
    # noise may be a millionth of a column
    dtype = np.float64 if shape[0] * shape[1] <= _MAX_DOUBLE_CELLS else np.float32
    represented = np.empty(shape, dtype)
    columns = link.get_input_columns(n_features)
    for begin in range(0, len(x), _CHUNK_ROWS):
        rows = torch.as_tensor(np.array(x[begin : begin + _CHUNK_ROWS], np.float64))
        missing = find_missing(rows)
        if missing is not None:
            rows = torch.where(missing, NEUTRAL, rows)
        inputs = link.represent(rows)
        if missing is not None:
            hidden = missing if columns is None else missing[:, columns]
            inputs = inputs.masked_fill(hidden, torch.nan)
        represented[begin : begin + _CHUNK_ROWS] = inputs
    return represented


def stack_tensors(starts):
    """Return the buffers of all folds: stacked, or plain where there is one."""
    if len(starts) == 1:
        return starts[0].tensors
    names = starts[0].tensors
    return {name: torch.stack([s.tensors[name] for s in starts]) for name in names}
