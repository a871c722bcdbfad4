"""Where training starts at random weights."""

import numpy as np

from .._closed_form._linear import NOISE_FLOOR
from .._closed_form._moments import compute_moments
from ._base import Start, as_tensors, get_log_range, take_rows
from ._linked import initialize_linked


def initialize_random(x, weight, splits, n_components, link):
    """Return where every fold starts with random weights: no column depends on z."""
    x, weight = take_rows(x, weight, splits.table)
    n_features = x.shape[1]
    if not link.is_scaled:
        start = initialize_linked(x, weight, n_components, link, n_linear=0)
        return [start] * len(splits.train)
    fixed = link.fixed_noise
    unit = np.ones(n_features) if fixed is None else np.full(n_features, fixed)
    _, deviation = compute_moments(x, weight)
    variance = np.maximum(deviation**2, NOISE_FLOOR)
    n_offsets = link.n_offsets * n_features
    tensors = {
        "decoder_weight": np.zeros((n_components, n_offsets)),
        "decoder_bias": np.zeros((1, n_offsets)),
        "encoder_centre": np.zeros((1, n_features)),
        "encoder_weight": np.zeros((n_features, n_components)),
        "posterior_scale": np.ones((1, n_components)),
        "input_noise": np.zeros((1, n_features)),
        "input_scale": unit[None],
        "log_range": get_log_range(link, unit**2 / variance)[None],
    }
    start = Start(np.zeros(n_features), unit, as_tensors(tensors))
    return [start] * len(splits.train)
