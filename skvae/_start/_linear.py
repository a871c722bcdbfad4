"""Where training starts at a linear model of standardised columns."""

import numpy as np

from .._closed_form._incomplete import fit_incomplete
from .._closed_form._linear import NOISE_FLOOR, fit_factor_analysis, fit_ppca
from .._closed_form._moments import compute_moments
from .._utils._missing import fill_at_random, is_complete
from ._base import (
    Start,
    as_tensors,
    get_log_range,
    make_covariance,
    pad,
    take,
)
from ._linked import make_linked_start

# a split never believes a column to be 10 times as precise as all rows do
_SPLIT_NOISE_SHARE = 1e-2
# above so many columns the one split that judges is the first
_MAX_COLUMNS_TO_CROSS_VALIDATE = 500


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


def _choose(fits, x, weight, splits, n_components, floor):
    """Return the fit that predicts held-out rows best, and what it found.

    The models of a split have at least a hundredth of the noise that the model of all
    rows finds: a column may be constant on a split and not on its held-out rows. None
    has less than the likelihood allows, a share of the variance or None.

    Returns
    -------
    fit : callable
    whole : LinearModel
        Of all rows.
    least, variance : ndarray (n_features,)
        Least noise of the models of splits, and variances.
    """
    table = make_covariance(*take(x, weight, splits.table))
    floor = 0.0 if floor is None else floor * table.variance
    whole = {
        name: fit(table, n_components).with_least_noise(floor)
        for name, fit in fits.items()
    }
    least = {
        name: np.maximum(_SPLIT_NOISE_SHARE * model.noise, floor)
        for name, model in whole.items()
    }
    if len(fits) == 1 or not splits.valid:
        name = "factor_analysis" if "factor_analysis" in fits else next(iter(fits))
        return fits[name], whole[name], least[name], table.variance
    n_judges = len(splits.valid) if x.shape[1] <= _MAX_COLUMNS_TO_CROSS_VALIDATE else 1
    total = dict.fromkeys(fits, 0.0)
    for train, valid in list(zip(splits.train, splits.valid, strict=False))[:n_judges]:
        covariance = make_covariance(*take(x, weight, train))
        share = 1.0 if weight is None else weight[valid]
        for name, fit in fits.items():
            model = fit(covariance, n_components)
            model = model.with_least_noise(least[name])
            total[name] += (share * model.score_samples(x[valid])).sum()
    best = max(total, key=total.get)
    return fits[best], whole[best], least[best], table.variance


def _fit_incomplete(x, weight, splits, n_components, likelihood):
    """Return the model of every copy of a table with holes, and the variances."""
    table = take(x, weight, splits.table)
    _, deviation = compute_moments(*table)
    variance = np.maximum(deviation**2, NOISE_FLOOR)
    fixed, (floor, _) = likelihood.fixed_noise, likelihood.get_least_variance()
    settings = {"is_isotropic": likelihood.is_isotropic, "noise": fixed}
    if fixed is not None:
        settings["noise"] = fixed**2
    if floor is not None:
        settings["floor"] = floor
    whole = fit_incomplete(*table, n_components, **settings)
    models = []
    for train in splits.train:
        model = whole
        if splits.n_copies is not None and len(train) < len(splits.table):
            part = take(x, weight, train)
            model = fit_incomplete(*part, n_components, **settings, start=whole)
            model = model.with_least_noise(_SPLIT_NOISE_SHARE * whole.noise)
        models.append(model)
    return models, variance


def make_linear_starts(
    x, weight, splits, n_components, likelihood, column_scale, n_linear=None
):
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
    n_linear : int, default=None
        Components that it may use, the first ones; None is all.
    """
    n_linear = n_components if n_linear is None else n_linear
    if not likelihood.is_scaled:
        starts = []
        for train in splits.train:
            is_part = splits.n_copies is not None and len(train) < len(splits.table)
            rows = train if is_part else splits.table
            table = take(x, weight, rows)
            member = likelihood
            if is_part:
                member = likelihood.adapt_to_part(fill_at_random(table[0]), table[1])
            starts.append(make_linked_start(*table, n_components, member, n_linear))
        return starts
    n_used = min(n_linear, x.shape[1] - 1)
    if has_missing(x):
        models, variance = _fit_incomplete(x, weight, splits, n_used, likelihood)
        return [_from_model(m, likelihood, n_components, variance) for m in models]
    fits = _candidates(likelihood, column_scale)
    floor, _ = likelihood.get_least_variance()
    fit, whole, least, variance = _choose(fits, x, weight, splits, n_used, floor)
    models = []
    for train in splits.train:
        if splits.n_copies is None or len(train) == len(splits.table):
            models.append(whole)
            continue
        model = fit(make_covariance(*take(x, weight, train)), n_used)
        models.append(model.with_least_noise(least))
    return [_from_model(m, likelihood, n_components, variance) for m in models]


def _from_model(model, likelihood, n_components, variance):
    unit = np.sqrt(model.noise)
    weight, scale = model.posterior()
    missing = n_components - len(scale)
    n_features = len(unit)
    tensors = {
        "decoder_weight": pad(model.loadings / unit, n_components),
        "decoder_bias": np.zeros((1, n_features)),
        "encoder_centre": np.zeros((1, n_features)),
        "encoder_weight": pad(weight.T, n_components).T,
        "posterior_scale": np.append(scale, np.ones(missing))[None],
        "input_noise": np.ones((1, n_features)),
        "input_scale": unit[None],
        "log_range": get_log_range(likelihood, model.noise / variance)[None],
    }
    return Start(model.mean, unit, as_tensors(tensors), model)
