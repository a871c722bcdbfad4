"""Where training starts at random weights."""

import numpy as np

from .._closed_form._linear import NOISE_FLOOR
from .._closed_form._moments import compute_moments
from ._base import Start, get_log_range, make_tensors, take_rows
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
    tensors = make_tensors(
        n_components,
        np.zeros((0, link.n_offsets * n_features)),
        np.zeros((n_features, 0)),
        input_scale=unit,
        log_range=get_log_range(link, unit**2 / variance),
    )
    start = Start(np.zeros(n_features), unit, tensors)
    return [start] * len(splits.train)
