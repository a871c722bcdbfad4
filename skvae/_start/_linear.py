"""Where training starts at a linear model of standardised columns."""

import numpy as np

from .._closed_form._incomplete import fit_incomplete
from .._closed_form._linear import NOISE_FLOOR, fit_factor_analysis, fit_ppca
from .._closed_form._moments import compute_moments
from .._utils._missing import fill_at_random, has_missing
from ._base import (
    Start,
    compute_covariance,
    get_log_range,
    is_part,
    make_tensors,
    refit_folds,
    take_rows,
)
from ._linked import initialize_linked

# least noise of the model of a fold, as a share of that of the model of all rows
FOLD_NOISE_SHARE = 1e-2
# with more columns the kind of model is chosen by the held-out rows of one fold
_MAX_COLUMNS_TO_CROSS_VALIDATE = 500


def _list_kinds(link, column_scale):
    """Return the fits (covariance, n_components) -> LinearModel to choose from."""
    fixed = link.fixed_noise
    if fixed is not None:
        return {"fixed": lambda c, q: fit_ppca(c, q, noise=fixed**2)}
    kinds = {"ppca": fit_ppca}
    if link.is_isotropic:
        return kinds
    kinds["factor_analysis"] = fit_factor_analysis
    relative = column_scale / column_scale.max()
    if relative.min() > 1e-3:
        kinds["ppca_unscaled"] = lambda c, q: fit_ppca(c, q, relative)
    return kinds


def _fit_complete(x, weight, splits, n_components, link, column_scale):
    """Return the model of all rows, a fit to those of a fold, and variances.

    Of several fits it is the one that predicts held-out rows best. The model of a fold
    has at least a hundredth of the noise that the model of all rows has: a column may
    be constant in the training rows of a fold and not in its held-out rows.
    """
    kinds = _list_kinds(link, column_scale)
    covariance = compute_covariance(*take_rows(x, weight, splits.table))
    floor = link.get_least_noise(0.0) * covariance.variance
    whole, least = {}, {}
    for name, fit in kinds.items():
        whole[name] = fit(covariance, n_components).with_least_noise(floor)
        least[name] = np.maximum(FOLD_NOISE_SHARE * whole[name].noise, floor)
    best = "factor_analysis" if "factor_analysis" in kinds else next(iter(kinds))
    if len(kinds) > 1 and splits.valid:
        is_wide = x.shape[1] > _MAX_COLUMNS_TO_CROSS_VALIDATE
        total = dict.fromkeys(kinds, 0.0)
        for fold, valid in enumerate(splits.valid[:1] if is_wide else splits.valid):
            part = compute_covariance(*take_rows(x, weight, splits.train[fold]))
            share = 1.0 if weight is None else weight[valid]
            for name, fit in kinds.items():
                model = fit(part, n_components).with_least_noise(least[name])
                total[name] += (share * model.score_samples(x[valid])).sum()
        best = max(total, key=total.get)

    def refit(x, weight):
        model = kinds[best](compute_covariance(x, weight), n_components)
        return model.with_least_noise(least[best])

    return whole[best], refit, covariance.variance


def _fit_incomplete(x, weight, splits, n_components, link):
    """Return what `_fit_complete` does, for a table with missing cells."""
    table = take_rows(x, weight, splits.table)
    _, deviation = compute_moments(*table)
    settings = {"is_isotropic": link.is_isotropic}
    if link.fixed_noise is not None:
        settings["noise"] = link.fixed_noise**2
    if link.least_noise is not None:
        settings["floor"] = link.least_noise
    whole = fit_incomplete(*table, n_components, **settings)

    def refit(x, weight):
        model = fit_incomplete(x, weight, n_components, **settings, init=whole)
        return model.with_least_noise(FOLD_NOISE_SHARE * whole.noise)

    return whole, refit, np.maximum(deviation**2, NOISE_FLOOR)


def _initialize_linked(x, weight, splits, n_components, link, n_linear):
    starts = []
    for train in splits.train:
        rows, fitted = take_rows(x, weight, splits.table), link
        if is_part(train, splits):
            rows = take_rows(x, weight, train)
            fitted = link.refit(fill_at_random(rows[0]), rows[1])
        starts.append(initialize_linked(*rows, n_components, fitted, n_linear))
    return starts


def initialize_linear(
    x, weight, splits, n_components, link, column_scale, n_linear=None
):
    """Return where every fold starts: at a linear model.

    Rows ``(n_samples, n_features)`` are float64 and standardised, or those of X for a
    link that is not scaled. Columns were divided by `column_scale`, ``(n_features,)``.
    The linear model has the first `n_linear` components; None is all.
    """
    n_linear = n_components if n_linear is None else n_linear
    if not link.is_scaled:
        return _initialize_linked(x, weight, splits, n_components, link, n_linear)
    arguments = x, weight, splits, min(n_linear, x.shape[1] - 1), link
    if not has_missing(x):
        whole, refit, variance = _fit_complete(*arguments, column_scale)
    else:
        whole, refit, variance = _fit_incomplete(*arguments)
    models = refit_folds(whole, refit, x, weight, splits)
    return [_from_model(m, link, n_components, variance) for m in models]


def _from_model(model, link, n_components, variance):
    unit = np.sqrt(model.noise)
    weight, scale = model.posterior()
    tensors = make_tensors(
        n_components,
        model.loadings / unit,
        weight,
        posterior_scale=scale,
        input_noise=1.0,
        input_scale=unit,
        log_range=get_log_range(link, model.noise / variance),
    )
    return Start(model.mean, unit, tensors, model)
