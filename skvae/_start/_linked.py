"""Where training starts at a linear model of what a likelihood represents."""

import numpy as np

from .._linear import NOISE_FLOOR, compute_mean, compute_variance, fit_factor_analysis
from ._base import (
    LEAST_VARIANCE,
    Start,
    as_tensors,
    get_log_range,
    make_covariance,
    pad,
    represent,
)


def make_linked_start(x, weight, n_components, likelihood, n_linear):
    """Return the start of a likelihood that is not scaled.

    A linear model of the standardised representation, which `Likelihood.link` reads as
    one of the likelihood's parameters. With `n_linear` 0 it explains nothing.
    """
    n_features = x.shape[1]
    r = represent(x, likelihood)
    mean = compute_mean(r, weight)
    variance = compute_variance(r, weight)
    scale = np.sqrt(np.maximum(variance, LEAST_VARIANCE))
    n_inputs = len(mean)
    n_used = min(n_linear, n_inputs - 1)
    centre = np.zeros(n_inputs)
    loadings, noise = np.zeros((0, n_inputs)), np.ones(n_inputs)
    encoder_weight, posterior_scale = np.zeros((n_inputs, 0)), np.ones(0)
    if n_used:
        covariance = make_covariance(r, weight).in_units(mean, scale)
        model = fit_factor_analysis(covariance, n_used)
        model = model.with_least_noise(likelihood.least_noise)
        centre, loadings, noise = model.mean, model.loadings, model.noise
        encoder_weight, posterior_scale = model.posterior()
        encoder_weight = encoder_weight / (scale * np.sqrt(noise))[:, None]
    decoder_weight, bias = likelihood.link(mean, scale, loadings, noise)
    log_range = np.ones(n_features)
    if n_inputs == n_features:
        share = noise * scale**2 / np.maximum(variance, NOISE_FLOOR)
        log_range = get_log_range(likelihood, np.minimum(share, 1.0))
    tensors = {
        "decoder_weight": pad(decoder_weight, n_components),
        "decoder_bias": bias[None],
        "encoder_centre": (mean + scale * centre)[None],
        "encoder_weight": pad(encoder_weight.T, n_components).T,
        "posterior_scale": np.append(posterior_scale, np.ones(n_components - n_used))[
            None
        ],
        "input_scale": (1 / np.maximum(scale, likelihood.least_scale))[None],
        "log_range": log_range[None],
    }
    return Start(np.zeros(n_features), np.ones(n_features), as_tensors(tensors))
