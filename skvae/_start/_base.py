"""The record of where training starts, and what all kinds of it share."""

from dataclasses import dataclass

import numpy as np
import torch
from typing_extensions import override

from .._closed_form._linear import NOISE_FLOOR, LinearModel
from .._closed_form._mixtures import Clusters
from .._closed_form._moments import Covariance
from .._utils._lazy_rows import LazyRows, select_rows
from .._utils._missing import NEUTRAL, fill_at_random, find_missing

# least distance, of log scales, from the noise to its floor
_MIN_LOG_RANGE = 0.02
# least variance of an input of the encoder: constant ones must not divide by zero
LEAST_VARIANCE = 1e-3
# inputs of the encoder up to which they are kept in double precision
_MAX_DOUBLE_CELLS = 2**22
# cells of lazy rows that are in memory together where no chunk of them is enough
_MAX_READ_CELLS = 2**23
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
    return select_rows(x, rows), None if weight is None else weight[rows]


def read_some(x, weight):
    """Return lazy rows as an array, of very many a sample, and their weights."""
    if not isinstance(x, LazyRows):
        return x, weight
    n_kept = max(_MAX_READ_CELLS // x.shape[1], 1)
    if len(x) <= n_kept:
        return x[:], weight
    kept = np.random.default_rng(0).choice(len(x), n_kept, replace=False)
    kept.sort()
    return x[kept], None if weight is None else weight[kept]


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

    What comes from missing cells is NaN. Lazy rows stay so.
    """
    if not link.is_represented:
        return x
    if isinstance(x, LazyRows):
        return RepresentedRows(x, link)
    n_features = x.shape[1]
    shape = len(x), link.count_inputs(n_features)
    represented = np.empty(shape, _choose_dtype(shape))
    columns = link.get_input_columns(n_features)
    for begin in range(0, len(x), _CHUNK_ROWS):
        rows = slice(begin, begin + _CHUNK_ROWS)
        represented[rows] = _represent_chunk(x[rows], link, columns).numpy()
    return represented


def _choose_dtype(shape):
    # noise may be a millionth of a column
    return np.float64 if shape[0] * shape[1] <= _MAX_DOUBLE_CELLS else np.float32


def _represent_chunk(x, link, columns):
    """Return the inputs of a few rows; `columns` are those that they come from."""
    rows = torch.as_tensor(np.array(x, np.float64))
    missing = find_missing(rows)
    if missing is not None:
        rows = torch.where(missing, NEUTRAL, rows)
    inputs = link.represent(rows)
    if missing is not None:
        hidden = missing if columns is None else missing[:, columns]
        inputs = inputs.masked_fill(hidden, torch.nan)
    return inputs


class RepresentedRows(LazyRows):
    """Lazy rows as the encoder sees them."""

    def __init__(self, x, link, dtype=None):
        self.x, self.link = x, link
        self.columns = link.get_input_columns(x.shape[1])
        self.shape = len(x), link.count_inputs(x.shape[1])
        # all of them, though some may be selected
        self.dtype = np.dtype(_choose_dtype(self.shape) if dtype is None else dtype)

    @override
    def read(self, rows):
        inputs = _represent_chunk(self.x[rows], self.link, self.columns)
        return inputs.numpy().astype(self.dtype, copy=False)

    @override
    def select(self, rows):
        return RepresentedRows(self.x.select(rows), self.link, self.dtype)

    @override
    def has_missing(self):
        return self.x.has_missing()

    @override
    def fill_at_random(self, seed):
        filled = fill_at_random(self.x, seed)
        return RepresentedRows(filled, self.link, self.dtype)


def stack_tensors(starts):
    """Return the buffers of all folds: stacked, or plain where there is one."""
    if len(starts) == 1:
        return starts[0].tensors
    names = starts[0].tensors
    return {name: torch.stack([s.tensors[name] for s in starts]) for name in names}
