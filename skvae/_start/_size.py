"""How many components a table needs: by the linear model's score of held-out rows.

Nothing here depends on the random numbers of a fit: a table and its weights have one
size, and a fit with that ``n_components`` is the same fit.
"""

from functools import partial

import numpy as np

from .._closed_form._incomplete import fit_incomplete
from .._closed_form._linear import NOISE_FLOOR, fit_factor_analysis
from .._closed_form._mixtures import fit_clusters
from .._closed_form._moments import compute_moments
from .._utils._missing import fill_at_random, has_missing
from ._base import LEAST_VARIANCE, compute_covariance, represent, take_rows

# sizes to choose from, each about one and a half times the one before
SIZES = 1, 2, 3, 5, 8, 12, 18, 27, 40, 60
# rows, and values, that the choice is made on; rows where cells are missing
_MAX_ROWS = 3000
_MAX_VALUES = 1_000_000
_MAX_INCOMPLETE_ROWS = 1000
# a third of the rows is held out; with many inputs once, with few three times
_N_FOLDS = 3
_MAX_INPUTS_FOR_FOLDS = 30
# beyond, factor analysis takes too long, and probabilistic PCA decides alone
_MAX_INPUTS_FOR_FACTORS = 70
# steps of a fit that is only compared with others
_N_STEPS = 30
# least noise of an input, as a share of its variance
_LEAST_NOISE = 1e-3
# farther off, in standard deviations, values are moved: a single row would decide
_MAX_DEVIATIONS = 5.0
# sizes without a better score after which larger ones are not tried
_PATIENCE = 2
# share of what components gain together that is not worth a larger size
_SMALL_GAIN = 0.05
# largest size for n rows, as a share of sqrt(n): networks overfit before linear models
_MOST_BY_ROOT = 0.6
# every category of a latent is decoded in every step
_MAX_CLUSTERS = 27
# score of a size that was not tried
_NOT_TRIED = -1e150


def choose_size(x, weight, link, column_scale):
    """Return the number of components that predicts held-out rows well.

    It is the smallest in `SIZES` whose score is below the best by no more than a
    standard error, that of the paired difference, or a twentieth of what the best gains
    over a single component. The linear model is the better of those that training may
    start at. Of n rows, no size above 0.6 sqrt(n) is tried. Rows ``(n_samples,
    n_features)`` and `column_scale` are those of `initialize_linear`.

    References
    ----------
    Tipping & Bishop (1999), "Probabilistic principal component analysis", eq. 8: all
    sizes come from one eigendecomposition. Hastie, Tibshirani & Friedman (2009), "The
    elements of statistical learning", section 7.10, for the rule.
    """
    r, weight = _take_inputs(x, weight, link)
    n_samples, n_inputs = r.shape
    by_rows = int(_MOST_BY_ROOT * np.sqrt(len(x)))
    largest = min(n_inputs - 1, n_samples // _N_FOLDS, by_rows)
    sizes = [size for size in SIZES if size <= largest]
    if len(sizes) < 2:
        return 1
    mean, deviation = compute_moments(r, weight)
    reach = _MAX_DEVIATIONS * deviation
    r = np.clip(r, mean - reach, mean + reach)
    if not link.is_scaled:
        r = (r - mean) / np.sqrt(np.maximum(deviation**2, LEAST_VARIANCE))
        deviation, column_scale = np.ones(n_inputs), np.ones(n_inputs)
    floor = _find_floor(link, x.shape[1]) * np.maximum(deviation**2, NOISE_FLOOR)
    if has_missing(r):
        score, n_folds = partial(_score_incomplete, link=link, floor=floor), 1
    else:
        score = partial(_score_complete, link=link, scale=column_scale, floor=floor)
        n_folds = _N_FOLDS if n_inputs <= _MAX_INPUTS_FOR_FOLDS else 1
    return _choose(*_score_folds(r, weight, score, sizes, n_folds), sizes)


def choose_clusters(x, weight, link):
    """Return the number of clusters that predicts held-out rows well, from 2 to 27.

    The rule is that of `choose_size`, for mixtures of normals with one noise.
    """
    r, weight = _take_inputs(x, weight, link)
    r = fill_at_random(r)
    mean, deviation = compute_moments(r, weight)
    r = (r - mean) / np.sqrt(np.maximum(deviation**2, LEAST_VARIANCE))
    largest = min(_MAX_CLUSTERS, len(r) // (2 * _N_FOLDS))
    sizes = [size for size in SIZES[1:] if size <= largest]
    if len(sizes) < 2:
        return 2

    def score(train, train_weight, *valid):
        def fit(size):
            return fit_clusters(train, train_weight, size, 0, floor=_LEAST_NOISE)

        return _climb(fit, *valid)

    return _choose(*_score_folds(r, weight, score, sizes, n_folds=1), sizes)


def _take_inputs(x, weight, link):
    """Return some of the rows as the linear model sees them, and their weights."""
    n_columns = link.count_inputs(x.shape[1])
    n_kept = min(_MAX_ROWS, max(_MAX_VALUES // n_columns, 100))
    if len(x) > n_kept:
        kept = np.random.default_rng(0).choice(len(x), n_kept, replace=False)
        x, weight = take_rows(x, weight, np.sort(kept))
    r = np.asarray(represent(x[:], link), dtype=np.float64)
    if len(r) > _MAX_INCOMPLETE_ROWS and has_missing(r):
        kept = np.random.default_rng(0).permutation(len(r))[:_MAX_INCOMPLETE_ROWS]
        r, weight = take_rows(r, weight, np.sort(kept))
    return r, weight


def _find_floor(link, n_features):
    """Return the least noise of every input, as a share of its variance."""
    least = [
        np.full(part.count_inputs(len(columns)), part.get_least_noise(0.0))
        for part, columns in link.list_groups(n_features)
    ]
    return np.maximum(np.concatenate(least), _LEAST_NOISE)


def _score_folds(r, weight, score, sizes, n_folds):
    """Return scores of held-out rows, ``(n_sizes, n_valid)``, and weights of these."""
    parts = np.array_split(np.random.default_rng(0).permutation(len(r)), _N_FOLDS)
    share = np.ones(len(r)) if weight is None else weight
    found = []
    for valid in parts[:n_folds]:
        train = np.setdiff1d(np.arange(len(r)), valid)
        rows, weights = take_rows(r, weight, train)
        # other values than that of a constant column would be next to impossible
        is_constant = (rows == rows[0]).all(axis=0)
        held_out = np.where(is_constant & ~np.isnan(r[valid]), rows[0], r[valid])
        found.append(score(rows, weights, held_out, share[valid], sizes))
    return np.concatenate(found, axis=1), share[np.concatenate(parts[:n_folds])]


def _choose(scores, weight, sizes):
    """Return the smallest size that is about as good as the best."""
    share = weight / weight.sum()
    loss = scores[(scores @ share).argmax()] - scores
    mean = loss @ share
    error = np.sqrt(((loss - mean[:, None]) ** 2) @ share * (share**2).sum())
    is_close = mean <= np.maximum(error, _SMALL_GAIN * mean[0])
    return sizes[int(np.flatnonzero(is_close)[0])]


def _climb(fit, valid, valid_weight, sizes):
    """Return scores of held-out rows, of sizes up to those that no longer improve."""
    scores = np.full((len(sizes), len(valid)), _NOT_TRIED)
    best, n_misses = -np.inf, 0
    for i, size in enumerate(sizes):
        scores[i] = fit(size).score_samples(valid)
        mean = np.average(scores[i], weights=valid_weight)
        n_misses = 0 if mean > best else n_misses + 1
        best = max(best, mean)
        if n_misses == _PATIENCE:
            break
    return scores


def _score_complete(train, weight, valid, valid_weight, sizes, *, link, scale, floor):
    """Return the scores of held-out rows by the better model of every size."""
    covariance = compute_covariance(train, weight)
    ones, fixed = np.ones(len(floor)), link.fixed_noise
    noise = None if fixed is None else fixed**2
    found = [_score_ppca(covariance, valid, sizes, ones, noise)]
    if fixed is None and not link.is_isotropic:
        relative = scale.max() / scale
        if (relative != 1).any() and relative.max() < 1e3:
            found.append(_score_ppca(covariance, valid, sizes, relative))
        if len(floor) <= _MAX_INPUTS_FOR_FACTORS:

            def fit(size):
                found = fit_factor_analysis(
                    covariance, size, _LEAST_NOISE, max_iter=_N_STEPS
                )
                return found.with_least_noise(floor)

            found.append(_climb(fit, valid, valid_weight, sizes))
    found = np.array(found)
    best = (found @ valid_weight).argmax(axis=0)
    return found[best, np.arange(len(sizes))]


def _score_ppca(covariance, valid, sizes, unit, noise=None):
    """Return the scores of probabilistic PCA of columns / unit, of all sizes."""
    values, vectors = covariance.top_eigenpairs(sizes[-1], unit)
    n_inputs = covariance.n_features
    total = (covariance.variance / unit**2).sum()
    rank = min(covariance.n_distinct, n_inputs)
    u = (valid - covariance.mean) / unit
    squares = (u @ vectors) ** 2
    # what components up to each size explain
    explained, inner = np.cumsum(values), np.cumsum(squares, axis=1)
    rest = (u**2).sum(axis=1)
    constant = n_inputs * np.log(2 * np.pi) + 2 * np.log(unit).sum()
    scores = []
    for size in sizes:
        variance = noise
        if noise is None:
            left = max(total - explained[size - 1], 0.0) / max(rank - size, 1)
            variance = max(left, _LEAST_NOISE * total / n_inputs)
        active = np.maximum(values[:size], variance)
        distance = (rest - inner[:, size - 1]) / variance + squares[:, :size] @ (
            1 / active
        )
        log_det = np.log(active).sum() + (n_inputs - size) * np.log(variance)
        scores.append(-0.5 * (distance + log_det + constant))
    return np.array(scores)


def _score_incomplete(train, weight, *valid, link, floor):
    """Return the scores of the observed cells of held-out rows."""
    fixed = link.fixed_noise
    settings = {
        "is_isotropic": link.is_isotropic,
        "noise": None if fixed is None else fixed**2,
        "n_iter": _N_STEPS,
    }

    def fit(size):
        model = fit_incomplete(train, weight, size, **settings)
        return model if fixed is not None else model.with_least_noise(floor)

    return _climb(fit, *valid)
