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
    """Where the network of one fold starts: a model, and the tensors made of it."""

    # (n_features,): the module sees ``(x - shift) / unit``
    shift: np.ndarray
    unit: np.ndarray
    tensors: dict  # of `LinearStart`, by name
    model: LinearModel | Clusters | None = None  # that of rows, if in closed form


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


def refit_folds(whole, refit, x, weight, splits):
    """Return a model for every fold: that of all rows, or a fit to its own rows."""
    return [
        refit(*take_rows(x, weight, train)) if is_part(train, splits) else whole
        for train in splits.train
    ]


def get_log_range(link, noise):
    """Return how far log scales may fall, for noise as a share of the variance."""
    return np.maximum(0.5 * np.log(noise / link.noise_floor), _MIN_LOG_RANGE)


def make_tensors(
    n_components,
    decoder_weight,
    encoder_weight,
    *,
    decoder_bias=0.0,
    encoder_centre=0.0,
    encoder_bias=None,
    posterior_scale=1.0,
    input_noise=0.0,
    input_scale,
    log_range,
):
    """Return the tensors of `LinearStart`: float64, but for the range of log scales.

    The weights are ``(n_found, n_offsets)`` and ``(n_inputs, n_found)``. Components
    beyond these have weights of 0 and posterior scales of 1.
    """
    (n_found, n_offsets), n_inputs = decoder_weight.shape, len(encoder_weight)
    none, rest = (0, 0), (0, n_components - n_found)
    posterior_scale = np.broadcast_to(posterior_scale, (1, n_found))
    arrays = {
        "decoder_weight": np.pad(decoder_weight, [rest, none]),
        "decoder_bias": np.broadcast_to(decoder_bias, (1, n_offsets)),
        "encoder_centre": np.broadcast_to(encoder_centre, (1, n_inputs)),
        "encoder_weight": np.pad(encoder_weight, [none, rest]),
        "encoder_bias": None if encoder_bias is None else encoder_bias[None],
        "posterior_scale": np.pad(posterior_scale, [none, rest], constant_values=1.0),
        "input_noise": np.broadcast_to(input_noise, (1, n_inputs)),
        "input_scale": input_scale[None],
        "log_range": log_range[None].astype(np.float32),
    }
    return {
        # copies: torch warns about read-only arrays
        name: torch.as_tensor(np.array(value, order="C"))
        for name, value in arrays.items()
        if value is not None
    }


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
        represented[begin : begin + _CHUNK_ROWS] = inputs.numpy()
    return represented


def stack_tensors(starts):
    """Return the buffers of all folds: stacked, or plain where there is one."""
    if len(starts) == 1:
        return starts[0].tensors
    names = starts[0].tensors
    return {name: torch.stack([s.tensors[name] for s in starts]) for name in names}
