"""Where training starts at a linear model of columns as links represent them.

`Link.represent` turns columns into inputs, such as logarithms; `Link.convert` turns the
linear model of the inputs into one of the likelihood's parameters.
"""

import numpy as np

from .._closed_form._incomplete import fit_incomplete
from .._closed_form._linear import NOISE_FLOOR, fit_factor_analysis, fit_ppca
from .._closed_form._moments import compute_moments
from .._utils._missing import has_missing
from ._base import (
    LEAST_VARIANCE,
    Start,
    compute_covariance,
    get_log_range,
    make_tensors,
    read_some,
    represent,
)


def _fit_inputs(r, weight, n_used, mean, scale, is_isotropic):
    """Return factor analysis of standardised inputs, or probabilistic PCA."""
    if not has_missing(r):
        covariance = compute_covariance(r, weight).in_units(mean, scale)
        fit = fit_ppca if is_isotropic else fit_factor_analysis
        return fit(covariance, n_used)
    r, weight = read_some(r, weight)
    r = (r - mean) / scale
    return fit_incomplete(r, weight, n_used, is_isotropic=is_isotropic)


def initialize_linked(x, weight, n_components, link, n_linear):
    """Return where one fold starts, for columns that are not, or not all, scaled.

    It is factor analysis of the standardised inputs with `n_linear` components; with 0
    the columns are independent.
    """
    n_features = x.shape[1]
    groups = link.list_groups(n_features)
    sizes = [part.count_inputs(len(columns)) for part, columns in groups]
    ends = np.cumsum(sizes)
    inputs = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]

    def gather(get):
        """Return a property of the links for every input."""
        pairs = zip(groups, sizes, strict=True)
        return np.concatenate([np.full(n, get(part)) for (part, _), n in pairs])

    r = represent(x, link)
    mean, deviation = compute_moments(r, weight)
    variance = deviation**2
    least = gather(lambda part: NOISE_FLOOR if part.is_scaled else LEAST_VARIANCE)
    scale = np.sqrt(np.maximum(variance, least))
    n_inputs = len(mean)
    n_used = min(n_linear, n_inputs - 1)
    centre = np.zeros(n_inputs)
    loadings, noise = np.zeros((0, n_inputs)), np.ones(n_inputs)
    encoder_weight, posterior_scale = np.zeros((n_inputs, 0)), np.ones(0)
    if n_used:
        is_isotropic = any(part.is_isotropic for part, _ in groups)
        model = _fit_inputs(r, weight, n_used, mean, scale, is_isotropic)
        model = model.with_least_noise(
            gather(lambda part: part.get_least_noise(NOISE_FLOOR))
        )
        centre, loadings, noise = model.mean, model.loadings, model.noise
        encoder_weight, posterior_scale = model.posterior()
        encoder_weight = encoder_weight / (scale * np.sqrt(noise))[:, None]
    encoder_centre = mean + scale * centre
    input_scale = 1 / np.maximum(scale, gather(lambda part: part.least_scale))
    input_noise = noise * scale**2
    share = np.minimum(input_noise / np.maximum(variance, NOISE_FLOOR), 1.0)
    shift, unit, log_range = np.zeros(n_features), np.ones(n_features), []
    slopes, biases = [], []
    for (part, columns), i in zip(groups, inputs, strict=True):
        slope, bias = part.convert(mean[i], scale[i], loadings[:, i], noise[i])
        slopes.append(slope)
        biases.append(bias)
        # where a column has several inputs, the first ones are the numbers with noise
        own = share[i][: len(columns)]
        has_own = len(own) == len(columns)
        log_range.append(get_log_range(part, own) if has_own else np.ones(len(columns)))
        if not part.is_scaled:
            continue
        # the module sees these columns in units of their noise
        own = scale[i] * np.sqrt(noise[i])
        shift[columns], unit[columns] = encoder_centre[i], own
        encoder_centre[i] = 0.0
        encoder_weight[i] *= own[:, None]
        input_scale[i] *= own
        input_noise[i] = 1.0
    order = np.argsort(np.concatenate([columns for _, columns in groups]))
    tensors = make_tensors(
        n_components,
        np.concatenate(slopes, axis=1),
        encoder_weight,
        decoder_bias=np.concatenate(biases),
        encoder_centre=encoder_centre,
        posterior_scale=posterior_scale,
        input_noise=input_noise,
        input_scale=input_scale,
        log_range=np.concatenate(log_range)[order],
    )
    return Start(shift, unit, tensors)
