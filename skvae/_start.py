"""From standardised rows to where training starts, for every copy of the network.

The linear model that predicts held-out rows best is chosen among factor analysis and
probabilistic PCA in two units. Where z is one-hot it is a mixture instead. It also sets
the units in which the module works: columns are centred at its mean and divided by the
noise it leaves.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ._clusters import Clusters, fit_clusters
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
# rows, and steps of EM, for clusters in a likelihood's own parameters
_MAX_LINKED_ROWS = 2000
_LINKED_TOL = 1e-2
_LINKED_STEPS = 30
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
    model : LinearModel, Clusters or None
    """

    shift: np.ndarray
    unit: np.ndarray
    tensors: dict
    model: LinearModel | Clusters | None = None


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
            table = _take(x, weight, rows)
            member = likelihood.adapt_to_part(*table) if is_part else likelihood
            starts.append(_make_linked_start(*table, n_components, member, n_linear))
        return starts
    n_used = min(n_linear, x.shape[1] - 1)
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


def _make_linked_start(x, weight, n_components, likelihood, n_linear):
    """Return the start of a likelihood that is not scaled.

    A linear model of the standardised representation, which `Likelihood.link` reads as
    one of the likelihood's parameters. With `n_linear` 0 it explains nothing.
    """
    n_features = x.shape[1]
    r = _represent(x, likelihood)
    mean = compute_mean(r, weight)
    variance = compute_variance(r, weight)
    scale = np.sqrt(np.maximum(variance, _LEAST_VARIANCE))
    n_inputs = len(mean)
    n_used = min(n_linear, n_inputs - 1)
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


def make_mixture_starts(x, weight, splits, n_clusters, likelihood, seed):
    """Return the start of every copy for one-hot z: a mixture of one noise.

    With one diagonal covariance for all clusters, log-probabilities of clusters are
    linear in x. The module without corrections is then the mixture itself, and its
    posterior exact, for likelihoods that are scaled; others read the clusters' moments
    as their own parameters by `Likelihood.link`.

    Parameters
    ----------
    x : ndarray (n_samples, n_features), float64
        Standardised rows, or those of X for a likelihood that is not scaled.
    weight : ndarray (n_samples,) or None
    splits : Splits
    n_clusters : int
        Components of z.
    likelihood : Likelihood
    seed : int
    """
    if not likelihood.is_scaled:
        return _make_linked_mixtures(x, weight, splits, n_clusters, likelihood, seed)
    table = _take(x, weight, splits.table)
    fixed, (floor, _) = likelihood.fixed_noise, likelihood.get_least_variance()
    settings = {
        "noise": None if fixed is None else fixed**2,
        "is_isotropic": likelihood.is_isotropic,
        "floor": NOISE_FLOOR if floor is None else floor,
    }
    whole = fit_clusters(*table, n_clusters, seed, **settings)
    variance = np.maximum(compute_variance(*table), NOISE_FLOOR)
    settings["floor"] = max(settings["floor"], _SPLIT_NOISE_SHARE)
    starts = []
    for train in splits.train:
        model = whole
        if splits.n_copies is not None and len(train) < len(splits.table):
            part = _take(x, weight, train)
            model = fit_clusters(*part, n_clusters, seed, start=whole, **settings)
        starts.append(_from_clusters(model, likelihood, variance))
    return starts


def _from_clusters(model, likelihood, variance):
    unit, centre = np.sqrt(model.noise), model.mean
    weight, bias = model.posterior(centre)
    n_clusters, n_features = model.means.shape
    tensors = {
        "decoder_weight": (model.means - centre) / unit,
        "decoder_bias": np.zeros((1, n_features)),
        "encoder_centre": np.zeros((1, n_features)),
        "encoder_weight": weight * unit[:, None],
        "encoder_bias": bias[None],
        "posterior_scale": np.ones((1, n_clusters)),
        "input_scale": unit[None],
        "log_range": _log_range(likelihood, model.noise / variance)[None],
    }
    return Start(centre, unit, _as_tensors(tensors), model)


def _make_linked_mixtures(x, weight, splits, n_clusters, likelihood, seed):
    """Return the starts at a mixture of a likelihood that is not scaled.

    `Likelihood.link` reads the moments of every cluster as if they were those of the
    whole table, and EM goes on with the likelihood itself, from where the mixture of
    normals for the representation has led.
    """
    x_table, weight_table = _take(x, weight, splits.table)
    r = _represent(x_table, likelihood).astype(np.float64)
    mean, variance = compute_mean(r, weight_table), compute_variance(r, weight_table)
    # rare values would be clusters of their own, were they blown up
    scale = np.sqrt(np.maximum(variance, max(variance.mean(), _LEAST_VARIANCE)))
    whole = fit_clusters((r - mean) / scale, weight_table, n_clusters, seed)
    moments, starts = (mean, variance, scale), []
    for train in splits.train:
        rows, row_weight = _take(x, weight, train)
        model = _LinkedMixture(rows, row_weight, likelihood, moments, seed)
        tensors, n_features = model.fit(whole), x.shape[1]
        starts.append(Start(np.zeros(n_features), np.ones(n_features), tensors))
    return starts


class _LinkedMixture:
    """EM for clusters whose parameters `Likelihood.link` reads from their moments.

    Parameters
    ----------
    x : ndarray (n_samples, n_features)
        Training rows.
    weight : ndarray (n_samples,) or None
    likelihood : Likelihood
    moments : tuple of ndarray (n_inputs,)
        Mean and variance of the represented table, and the units that clusters are
        found in.
    seed : int
    """

    def __init__(self, x, weight, likelihood, moments, seed):
        self.likelihood, self.moments = likelihood, moments
        self.n_kept = min(len(x), _MAX_LINKED_ROWS)
        kept = np.random.default_rng(seed).permutation(len(x))[: self.n_kept]
        self.x = np.asarray(x[kept], dtype=np.float64)
        weight = np.ones(len(x)) if weight is None else weight / weight.mean()
        self.weight = weight[kept]
        self.r = _represent(self.x, likelihood).astype(np.float64)

    def _link(self, share):
        """Return log-weights, started values and scales of clusters, given p(k|x)."""
        mean, variance, _ = self.moments
        share = share * self.weight[:, None]
        size = share.sum(axis=0)
        # one row of the whole table in each
        means = (share.T @ self.r + mean) / (size + 1)[:, None]
        squares = share.T @ self.r**2 + variance + mean**2
        within = squares / (size + 1)[:, None] - means**2
        scales = np.sqrt(np.maximum(within, _LEAST_VARIANCE))
        none, noise = np.zeros((0, len(mean))), np.ones(len(mean))
        # what a likelihood has learned of all rows is not that of a cluster
        parts = [
            self.likelihood.adapt_to_part(self.x, weight + 1 / len(self.x))
            for weight in share.T
        ]
        values = [
            part.link(m, s, none, noise)[1]
            for part, m, s in zip(parts, means, scales, strict=True)
        ]
        return np.log((size + 1) / (size + 1).sum()), np.array(values), scales

    @torch.no_grad()
    def _score_joint(self, log_weights, values):
        """Return log p(x, k), ``(n_samples, n_clusters)``."""
        likelihood, n_features = self.likelihood, self.x.shape[1]
        raw = torch.zeros(likelihood.n_raw, n_features, dtype=torch.float64)
        free = torch.zeros(likelihood.free_shape(n_features), dtype=torch.float64)
        ones = torch.ones(n_features, dtype=torch.float64)
        x, joint = torch.as_tensor(self.x), []
        for value in torch.as_tensor(values):
            if likelihood.n_start > 1:
                value = value.unflatten(-1, (-1, n_features))
            law = likelihood(raw, free, value, ones)
            log_prob = law.log_prob(x)
            joint.append(log_prob if law.event_shape else log_prob.sum(dim=-1))
        return torch.stack(joint, dim=-1).numpy() + log_weights

    def fit(self, start):
        """Return the buffers of the module that starts there.

        Parameters
        ----------
        start : Clusters
            Of the representation, in the units that clusters are found in.
        """
        mean, variance, scale = self.moments
        share, _ = start.share((self.r - mean) / scale)
        for _ in range(_LINKED_STEPS):
            log_weights, values, scales = self._link(share)
            joint = self._score_joint(log_weights, values)
            joint -= joint.max(axis=1, keepdims=True)
            before, share = share, np.exp(joint)
            share /= share.sum(axis=1, keepdims=True)
            if np.abs(share - before).max() < _LINKED_TOL:
                break
        # log-odds as a linear function of the representation: exactly so for
        # exponential families that are represented by their sufficient statistics
        u = (self.r - mean) / scale
        weight, bias = _regress(
            u, joint - joint.mean(axis=1, keepdims=True), self.weight
        )
        weights = np.exp(log_weights)
        centre, log_range = weights @ values, np.ones(self.x.shape[1])
        if len(mean) == len(log_range):
            noise = weights @ scales**2 / np.maximum(variance, NOISE_FLOOR)
            log_range = _log_range(self.likelihood, np.minimum(noise, 1.0))
        tensors = {
            "decoder_weight": values - centre,
            "decoder_bias": centre[None],
            "encoder_centre": mean[None],
            "encoder_weight": weight / scale[:, None],
            "encoder_bias": bias[None],
            "posterior_scale": np.ones((1, len(values))),
            "input_scale": 1 / np.sqrt(np.maximum(variance, _LEAST_VARIANCE))[None],
            "log_range": log_range[None],
        }
        return _as_tensors(tensors)


def _regress(u, y, weight, ridge=1e-3):
    """Return slopes and intercepts of the ridge regression of y on u."""
    share = weight / weight.sum()
    u_mean, y_mean = share @ u, share @ y
    u, y = u - u_mean, y - y_mean
    gram = (u * share[:, None]).T @ u + ridge * np.eye(u.shape[1])
    slope = np.linalg.solve(gram, (u * share[:, None]).T @ y)
    return slope, y_mean - u_mean @ slope


def make_random_starts(x, weight, splits, n_components, likelihood):
    """Return the start of every copy for random initial weights: N(0, I), no slope."""
    x, weight = _take(x, weight, splits.table)
    n_features = x.shape[1]
    if not likelihood.is_scaled:
        start = _make_linked_start(x, weight, n_components, likelihood, n_linear=0)
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
