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
        Standardised rows, or binary ones for a likelihood that is not scaled.
    weight : ndarray (n_samples,) or None
    splits : Splits
    n_components : int
    likelihood : Likelihood
    column_scale : ndarray (n_features,)
        What the columns were divided by.
    """
    if not likelihood.is_scaled:
        return _make_binary_starts(x, weight, splits, n_components)
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


def _make_binary_starts(x, weight, splits, n_components):
    """Return starts for 0/1 columns: factor analysis read as a logistic model.

    A loading w of the standardised column is a correlation with a factor; the logistic
    slope that gives the same correlation is 1.7 w / sqrt(1 - Σ w²), the classical
    relation of factor analysis and item response theory (Lord & Novick 1968, eq. 16.9).
    """
    x, weight = _take(x, weight, splits.table)
    mean = np.clip(compute_mean(x, weight), 1e-3, 1 - 1e-3)
    scale = np.sqrt(mean * (1 - mean))
    n_used = min(n_components, x.shape[1] - 1)
    covariance = _covariance(x, weight).in_units(mean, scale)
    model = fit_factor_analysis(covariance, n_used)
    model = model.with_least_noise(0.1)
    posterior_weight, posterior_scale = model.posterior()
    explained = np.minimum((model.loadings**2).sum(axis=0), 0.9)
    slope = 1.7 * model.loadings / np.sqrt(1 - explained)
    # E σ(b + s·z) is about σ(b / sqrt(1 + π s²/8)) (MacKay 1992, eq. 10)
    widening = np.sqrt(1 + np.pi / 8 * (slope**2).sum(axis=0))
    tensors = {
        "decoder_weight": _pad(slope, n_components),
        "decoder_bias": (np.log(mean / (1 - mean)) * widening)[None],
        "encoder_centre": (mean + scale * model.mean)[None],
        "encoder_weight": _pad(
            (posterior_weight / (scale * np.sqrt(model.noise))[:, None]).T, n_components
        ).T,
        "posterior_scale": np.append(posterior_scale, np.ones(n_components - n_used))[
            None
        ],
        "input_scale": (1 / scale)[None],
        "log_range": np.ones((1, x.shape[1])),
    }
    n_features = x.shape[1]
    start = Start(np.zeros(n_features), np.ones(n_features), _as_tensors(tensors))
    return [start] * len(splits.train)


def make_random_starts(x, weight, splits, n_components, likelihood):
    """Return the start of every copy for random initial weights: N(0, I), no slope."""
    x, weight = _take(x, weight, splits.table)
    n_features = x.shape[1]
    centre, scale = np.zeros(n_features), np.ones(n_features)
    if not likelihood.is_scaled:
        centre = compute_mean(x, weight)
        scale = np.sqrt(np.clip(centre * (1 - centre), 1e-3, None))
    fixed = likelihood.fixed_noise
    unit = np.ones(n_features) if fixed is None else np.full(n_features, fixed)
    variance = np.ones(n_features)
    if likelihood.is_scaled:
        variance = np.maximum(compute_variance(x, weight), NOISE_FLOOR)
    tensors = {
        "decoder_weight": np.zeros((n_components, n_features)),
        "decoder_bias": np.zeros((1, n_features)),
        "encoder_centre": centre[None],
        "encoder_weight": np.zeros((n_features, n_components)),
        "posterior_scale": np.ones((1, n_components)),
        "input_scale": (unit / scale)[None],
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
