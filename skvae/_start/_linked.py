"""Where training starts at a linear model of columns as links represent them.

`Link.represent` turns columns into inputs, such as logarithms; `Link.convert` turns the
linear model of the inputs into one of the likelihood's parameters.
"""

import numpy as np

from .._closed_form._incomplete import fit_incomplete
from .._closed_form._linear import NOISE_FLOOR, fit_factor_analysis
from .._closed_form._moments import compute_moments
from .._utils._missing import has_missing
from ._base import (
    LEAST_VARIANCE,
    Start,
    as_tensors,
    compute_covariance,
    get_log_range,
    pad_components,
    represent,
)


class _ColumnGroup:
    """Columns of one link, and which of the inputs are theirs."""

    def __init__(self, link, columns, begin):
        self.link, self.columns = link, columns
        n_inputs = link.count_inputs(len(columns))
        self.inputs = slice(begin, begin + n_inputs)
        least = NOISE_FLOOR if link.least_noise is None else link.least_noise
        self.least_noise = np.full(n_inputs, least)
        self.least_scale = np.full(n_inputs, link.least_scale)
        least = NOISE_FLOOR if link.is_scaled else LEAST_VARIANCE
        self.least_variance = np.full(n_inputs, least)

    def convert(self, mean, scale, loadings, noise):
        """Return slopes and biases of the offset, which is what z predicts."""
        i = self.inputs
        return self.link.convert(mean[i], scale[i], loadings[:, i], noise[i])

    def get_log_range(self, share):
        """Return how far log scales may fall, for noise as a share of the variance."""
        share = share[self.inputs]
        if len(share) != len(self.columns):
            return np.ones(len(self.columns))
        return get_log_range(self.link, np.minimum(share, 1.0))


def _list_groups(link, n_features):
    groups, begin = [], 0
    for part, columns in link.list_groups(n_features):
        groups.append(_ColumnGroup(part, columns, begin))
        begin = groups[-1].inputs.stop
    return groups


def _fit_factor_analysis(r, weight, n_used, mean, scale):
    """Return factor analysis of standardised inputs."""
    if not has_missing(r):
        covariance = compute_covariance(r, weight).in_units(mean, scale)
        return fit_factor_analysis(covariance, n_used)
    return fit_incomplete((r - mean) / scale, weight, n_used)


def initialize_linked(x, weight, n_components, link, n_linear):
    """Return where one fold starts, for columns that are not, or not all, scaled.

    It is factor analysis of the standardised inputs with `n_linear` components; with 0
    the columns are independent.
    """
    n_features = x.shape[1]
    groups = _list_groups(link, n_features)

    def gather(name):
        return np.concatenate([getattr(group, name) for group in groups])

    r = represent(x, link)
    mean, deviation = compute_moments(r, weight)
    variance = deviation**2
    scale = np.sqrt(np.maximum(variance, gather("least_variance")))
    n_inputs = len(mean)
    n_used = min(n_linear, n_inputs - 1)
    centre = np.zeros(n_inputs)
    loadings, noise = np.zeros((0, n_inputs)), np.ones(n_inputs)
    encoder_weight, posterior_scale = np.zeros((n_inputs, 0)), np.ones(0)
    if n_used:
        model = _fit_factor_analysis(r, weight, n_used, mean, scale)
        model = model.with_least_noise(gather("least_noise"))
        centre, loadings, noise = model.mean, model.loadings, model.noise
        encoder_weight, posterior_scale = model.posterior()
        encoder_weight = encoder_weight / (scale * np.sqrt(noise))[:, None]
    encoder_centre = mean + scale * centre
    input_scale = 1 / np.maximum(scale, gather("least_scale"))
    input_noise = noise * scale**2
    share = input_noise / np.maximum(variance, NOISE_FLOOR)
    shift, unit, log_range = np.zeros(n_features), np.ones(n_features), []
    for group in groups:
        log_range.append(group.get_log_range(share))
        if not group.link.is_scaled:
            continue
        # the module sees these columns in units of their noise
        i, columns = group.inputs, group.columns
        own = scale[i] * np.sqrt(noise[i])
        shift[columns], unit[columns] = encoder_centre[i], own
        encoder_centre[i] = 0.0
        encoder_weight[i] *= own[:, None]
        input_scale[i] *= own
        input_noise[i] = 1.0
    order = np.argsort(np.concatenate([group.columns for group in groups]))
    found = [group.convert(mean, scale, loadings, noise) for group in groups]
    decoder_weight = np.concatenate([weight for weight, _ in found], axis=1)
    bias = np.concatenate([bias for _, bias in found])
    tensors = {
        "decoder_weight": pad_components(decoder_weight, n_components),
        "decoder_bias": bias[None],
        "encoder_centre": encoder_centre[None],
        "encoder_weight": pad_components(encoder_weight.T, n_components).T,
        "posterior_scale": pad_components(posterior_scale, n_components, 1.0)[None],
        "input_noise": input_noise[None],
        "input_scale": input_scale[None],
        "log_range": np.concatenate(log_range)[order][None],
    }
    return Start(shift, unit, as_tensors(tensors))
