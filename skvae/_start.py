"""From standardised rows to where training starts, for every copy of the network.

The linear model that predicts held-out rows best is chosen among factor analysis and
probabilistic PCA in two units. It also sets the units in which the module works:
columns are centred at its mean and divided by the noise it leaves.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ._linear import (
    NOISE_FLOOR,
    Covariance,
    LinearModel,
    compute_mean,
    compute_variance,
    fit_factor_analysis,
    fit_ppca,
)

# a split never believes a column to be 10 times as precise as all rows do
_SPLIT_NOISE_SHARE = 1e-2
_MIN_LOG_RANGE = 0.02
# of a column of what likelihoods represent: constant ones must not divide by zero
_LEAST_VARIANCE = 1e-3
# rows represented at a time
_CHUNK_ROWS = 1024
# above so many columns the one split that judges is the first
_MAX_COLUMNS_TO_CROSS_VALIDATE = 500


@dataclass(frozen=True)
class Start:
    """Where one copy starts: a linear model and the tensors made of it.

    Attributes
    ----------
    shift, unit : ndarray (n_features,)
        The module sees ``(x - shift) / unit``.
    tensors : dict of str to Tensor
        Buffers of `VAEModule`.
    model : LinearModel or None
    """

    shift: np.ndarray
    unit: np.ndarray
    tensors: dict
    model: LinearModel | None = None


def _covariance(x, weight):
    return Covariance(x, weight).with_noise_in_constants(NOISE_FLOOR)


def _candidates(likelihood, column_scale):
    """Return the fits (covariance, n_components) -> LinearModel to choose from."""
    fixed = likelihood.fixed_noise
    if fixed is not None:
        return {"fixed": lambda c, q: fit_ppca(c, q, noise=fixed**2)}
    fits = {"ppca": fit_ppca}
    if likelihood.is_isotropic:
        return fits
    fits["factor_analysis"] = fit_factor_analysis
    relative = column_scale / column_scale.max()
    if relative.min() > 1e-3:
        fits["ppca_unscaled"] = lambda c, q: fit_ppca(c, q, relative)
    return fits


def _take(x, weight, rows):
    if len(rows) == len(x):
        return x, weight
    return x[rows], None if weight is None else weight[rows]


def _choose(fits, x, weight, splits, n_components):
    """Return the fit that predicts held-out rows best, its model, and the variances.

    The models of a split have at least a hundredth of the noise that the model of all
    rows finds: a column may be constant on a split and not on its held-out rows.
    """
    table = _covariance(*_take(x, weight, splits.table))
    whole = {name: fit(table, n_components) for name, fit in fits.items()}
    if len(fits) == 1 or not splits.valid:
        name = "factor_analysis" if "factor_analysis" in fits else next(iter(fits))
        return fits[name], whole[name], table.variance
    n_judges = len(splits.valid) if x.shape[1] <= _MAX_COLUMNS_TO_CROSS_VALIDATE else 1
    total = dict.fromkeys(fits, 0.0)
    for train, valid in list(zip(splits.train, splits.valid, strict=False))[:n_judges]:
        covariance = _covariance(*_take(x, weight, train))
        share = 1.0 if weight is None else weight[valid]
        for name, fit in fits.items():
            model = fit(covariance, n_components)
            model = model.with_least_noise(_SPLIT_NOISE_SHARE * whole[name].noise)
            total[name] += (share * model.score_samples(x[valid])).sum()
    best = max(total, key=total.get)
    return fits[best], whole[best], table.variance


def make_linear_starts(x, weight, splits, n_components, likelihood, column_scale):
    """Return the linear start of every copy.

    Parameters
    ----------
    x : ndarray (n_samples, n_features), float64
        Standardised rows, or those of X for a likelihood that is not scaled.
    weight : ndarray (n_samples,) or None
    splits : Splits
    n_components : int
    likelihood : Likelihood
    column_scale : ndarray (n_features,)
        What the columns were divided by.
    """
    if not likelihood.is_scaled:
        table = _take(x, weight, splits.table)
        start = _make_linked_start(*table, n_components, likelihood)
        return [start] * len(splits.train)
    n_used = min(n_components, x.shape[1] - 1)
    fits = _candidates(likelihood, column_scale)
    fit, whole, variance = _choose(fits, x, weight, splits, n_used)
    floor, _ = likelihood.get_least_variance()
    if floor is not None:
        whole = whole.with_least_noise(floor * variance)
    models = []
    for train in splits.train:
        if splits.n_copies is None or len(train) == len(splits.table):
            models.append(whole)
            continue
        model = fit(_covariance(*_take(x, weight, train)), n_used)
        models.append(model.with_least_noise(_SPLIT_NOISE_SHARE * whole.noise))
    return [_from_model(m, likelihood, n_components, variance) for m in models]


def _pad(array, n_components):
    """Return loadings with zeros for components beyond the linear model's."""
    missing = n_components - array.shape[0]
    return np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1))


def _log_range(likelihood, noise):
    """Return how far log scales may fall, for noise as a share of the variance."""
    _, floor = likelihood.get_least_variance()
    return np.maximum(0.5 * np.log(noise / floor), _MIN_LOG_RANGE)


def _from_model(model, likelihood, n_components, variance):
    unit = np.sqrt(model.noise)
    weight, scale = model.posterior()
    missing = n_components - len(scale)
    n_features = len(unit)
    tensors = {
        "decoder_weight": _pad(model.loadings / unit, n_components),
        "decoder_bias": np.zeros((1, n_features)),
        "encoder_centre": np.zeros((1, n_features)),
        "encoder_weight": _pad(weight.T, n_components).T,
        "posterior_scale": np.append(scale, np.ones(missing))[None],
        "input_scale": unit[None],
        "log_range": _log_range(likelihood, model.noise / variance)[None],
    }
    return Start(model.mean, unit, _as_tensors(tensors), model)


def _as_tensors(arrays):
    tensors = {k: torch.as_tensor(np.ascontiguousarray(v)) for k, v in arrays.items()}
    tensors["log_range"] = tensors["log_range"].float()
    return tensors


def _represent(x, likelihood):
    """Return rows as the encoder sees them, ``(n_samples, n_inputs)``."""
    if not likelihood.is_represented:
        return x
    n_inputs = likelihood.count_inputs(x.shape[1])
    represented = np.empty((len(x), n_inputs), dtype=np.float32)
    for begin in range(0, len(x), _CHUNK_ROWS):
        rows = torch.as_tensor(np.array(x[begin : begin + _CHUNK_ROWS], np.float64))
        represented[begin : begin + _CHUNK_ROWS] = likelihood.represent(rows)
    return represented


def _make_linked_start(x, weight, n_components, likelihood, is_linear=True):
    """Return the start of a likelihood that is not scaled.

    A linear model of the standardised representation, which `Likelihood.link` reads as
    one of the likelihood's parameters. Without `is_linear` it explains nothing.
    """
    n_features = x.shape[1]
    r = _represent(x, likelihood)
    mean = compute_mean(r, weight)
    variance = compute_variance(r, weight)
    scale = np.sqrt(np.maximum(variance, _LEAST_VARIANCE))
    n_inputs = len(mean)
    n_used = min(n_components, n_inputs - 1) if is_linear else 0
    centre = np.zeros(n_inputs)
    loadings, noise = np.zeros((0, n_inputs)), np.ones(n_inputs)
    encoder_weight, posterior_scale = np.zeros((n_inputs, 0)), np.ones(0)
    if n_used:
        covariance = _covariance(r, weight).in_units(mean, scale)
        model = fit_factor_analysis(covariance, n_used)
        model = model.with_least_noise(likelihood.least_noise)
        centre, loadings, noise = model.mean, model.loadings, model.noise
        encoder_weight, posterior_scale = model.posterior()
        encoder_weight = encoder_weight / (scale * np.sqrt(noise))[:, None]
    decoder_weight, bias = likelihood.link(mean, scale, loadings, noise)
    log_range = np.ones(n_features)
    if n_inputs == n_features:
        share = noise * scale**2 / np.maximum(variance, NOISE_FLOOR)
        log_range = _log_range(likelihood, np.minimum(share, 1.0))
    tensors = {
        "decoder_weight": _pad(decoder_weight, n_components),
        "decoder_bias": bias[None],
        "encoder_centre": (mean + scale * centre)[None],
        "encoder_weight": _pad(encoder_weight.T, n_components).T,
        "posterior_scale": np.append(posterior_scale, np.ones(n_components - n_used))[
            None
        ],
        "input_scale": (1 / np.maximum(scale, likelihood.least_scale))[None],
        "log_range": log_range[None],
    }
    return Start(np.zeros(n_features), np.ones(n_features), _as_tensors(tensors))


def make_random_starts(x, weight, splits, n_components, likelihood):
    """Return the start of every copy for random initial weights: N(0, I), no slope."""
    x, weight = _take(x, weight, splits.table)
    n_features = x.shape[1]
    if not likelihood.is_scaled:
        start = _make_linked_start(x, weight, n_components, likelihood, is_linear=False)
        return [start] * len(splits.train)
    fixed = likelihood.fixed_noise
    unit = np.ones(n_features) if fixed is None else np.full(n_features, fixed)
    variance = np.maximum(compute_variance(x, weight), NOISE_FLOOR)
    n_start = likelihood.n_start * n_features
    tensors = {
        "decoder_weight": np.zeros((n_components, n_start)),
        "decoder_bias": np.zeros((1, n_start)),
        "encoder_centre": np.zeros((1, n_features)),
        "encoder_weight": np.zeros((n_features, n_components)),
        "posterior_scale": np.ones((1, n_components)),
        "input_scale": unit[None],
        "log_range": _log_range(likelihood, unit**2 / variance)[None],
    }
    start = Start(np.zeros(n_features), unit, _as_tensors(tensors))
    return [start] * len(splits.train)


def stack(starts):
    """Return the buffers of all copies: stacked, or plain where there is one."""
    if len(starts) == 1:
        return starts[0].tensors
    names = starts[0].tensors
    return {name: torch.stack([s.tensors[name] for s in starts]) for name in names}
