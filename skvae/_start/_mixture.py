"""Where training starts at a mixture: for latents that are categories."""

from functools import partial

import numpy as np
import torch

from .._closed_form._linear import NOISE_FLOOR
from .._closed_form._mixtures import fit_clusters, iterate_em
from .._closed_form._moments import compute_moments
from .._utils._missing import fill_at_random
from ._base import (
    LEAST_VARIANCE,
    Start,
    get_log_range,
    make_tensors,
    read_some,
    refit_folds,
    represent,
    take_rows,
)
from ._linear import FOLD_NOISE_SHARE

# rows, and steps of EM, for clusters in a likelihood's own parameters
_MAX_LINKED_ROWS = 2000
_LINKED_TOL = 1e-2
_LINKED_STEPS = 30


def initialize_mixture(x, weight, splits, n_clusters, likelihood, seed):
    """Return where every fold starts with a one-hot z: at a mixture with one noise.

    With one diagonal covariance for all clusters, log-probabilities of clusters are
    linear in x. For links that are scaled, the module without corrections is then
    the mixture itself, and its posterior exact; others turn the clusters' moments into
    their own parameters by `Link.convert`. Rows ``(n_samples, n_features)`` are float64
    and standardised, or those of X for a link that is not scaled.
    """
    x = fill_at_random(x, seed)
    link = likelihood.link
    if not link.is_scaled:
        return _initialize_linked(x, weight, splits, n_clusters, likelihood, seed)
    table = take_rows(x, weight, splits.table)
    fixed = link.fixed_noise
    settings = {
        "noise": None if fixed is None else fixed**2,
        "is_isotropic": link.is_isotropic,
        "floor": link.get_least_noise(NOISE_FLOOR),
    }
    whole = fit_clusters(*table, n_clusters, seed, **settings)
    _, deviation = compute_moments(*table)
    variance = np.maximum(deviation**2, NOISE_FLOOR)
    settings["floor"] = np.maximum(settings["floor"], FOLD_NOISE_SHARE)
    refit = partial(
        fit_clusters, n_clusters=n_clusters, seed=seed, init=whole, **settings
    )
    models = refit_folds(whole, refit, x, weight, splits)
    return [_from_clusters(model, link, variance) for model in models]


def _from_clusters(model, link, variance):
    unit, centre = np.sqrt(model.noise), model.mean
    weight, bias = model.posterior(centre)
    tensors = make_tensors(
        len(bias),
        (model.means - centre) / unit,
        weight * unit[:, None],
        encoder_bias=bias,
        input_scale=unit,
        log_range=get_log_range(link, model.noise / variance),
    )
    return Start(centre, unit, tensors, model)


def _initialize_linked(x, weight, splits, n_clusters, likelihood, seed):
    """Return where folds start with a link that is not scaled.

    A mixture of normals is fitted to the inputs. From there EM continues with the
    likelihood itself: `Link.convert` takes the moments of every cluster as if they
    were those of the whole table.
    """
    x_table, weight_table = take_rows(x, weight, splits.table)
    r, weight_table = read_some(represent(x_table, likelihood.link), weight_table)
    r = r.astype(np.float64)
    mean, deviation = compute_moments(r, weight_table)
    variance = deviation**2
    # standardised rare values would be clusters of their own
    scale = np.sqrt(np.maximum(variance, max(variance.mean(), LEAST_VARIANCE)))
    whole = fit_clusters((r - mean) / scale, weight_table, n_clusters, seed)
    moments, starts = (mean, variance, scale), []
    for train in splits.train:
        rows, row_weight = take_rows(x, weight, train)
        model = _LinkedMixture(rows, row_weight, likelihood, moments, seed)
        tensors, n_features = model.fit(whole), x.shape[1]
        starts.append(Start(np.zeros(n_features), np.ones(n_features), tensors))
    return starts


class _LinkedMixture:
    """EM for clusters whose parameters `Link.convert` finds from their moments.

    The moments are mean and variance of the inputs, and the units that clusters are
    found in, each ``(n_inputs,)``.
    """

    def __init__(self, x, weight, likelihood, moments, seed):
        self.likelihood, self.moments = likelihood, moments
        kept = np.random.default_rng(seed).permutation(len(x))[:_MAX_LINKED_ROWS]
        self.x = np.asarray(x[kept], dtype=np.float64)
        weight = np.ones(len(x)) if weight is None else weight / weight.mean()
        self.weight = weight[kept]
        self.r = represent(self.x, likelihood.link).astype(np.float64)

    def _link(self, share):
        """Return log-weights, offsets and scales of clusters, given p(k|x)."""
        mean, variance, _ = self.moments
        share = share * self.weight[:, None]
        size = share.sum(axis=0)
        # every cluster has the moments of the whole table for one more row
        means = (share.T @ self.r + mean) / (size + 1)[:, None]
        squares = share.T @ self.r**2 + variance + mean**2
        within = squares / (size + 1)[:, None] - means**2
        scales = np.sqrt(np.maximum(within, LEAST_VARIANCE))
        none, noise = np.zeros((0, len(mean))), np.ones(len(mean))
        # what a link has learned from all rows is fitted to the cluster
        links = [
            self.likelihood.link.refit(self.x, weight + 1 / len(self.x))
            for weight in share.T
        ]
        values = [
            link.convert(m, s, none, noise)[1]
            for link, m, s in zip(links, means, scales, strict=True)
        ]
        return np.log((size + 1) / (size + 1).sum()), np.array(values), scales

    @torch.no_grad()
    def _score_joint(self, model):
        """Return log p(x, k), ``(n_samples, n_clusters)``."""
        log_weights, values, _ = model
        likelihood, n_features = self.likelihood, self.x.shape[1]
        raw = torch.zeros(likelihood.n_raw, n_features, dtype=torch.float64)
        free = torch.zeros(likelihood.free_shape(n_features), dtype=torch.float64)
        ones = torch.ones(n_features, dtype=torch.float64)
        x, joint = torch.as_tensor(self.x), []
        for value in torch.as_tensor(values):
            value = value.unflatten(-1, likelihood.link.offset_shape(n_features))
            distribution = likelihood(raw, free, value, ones)
            log_prob = distribution.log_prob(x)
            joint.append(log_prob if distribution.event_shape else log_prob.sum(dim=-1))
        return torch.stack(joint, dim=-1).numpy() + log_weights

    def fit(self, clusters):
        """Return the tensors to which EM leads from clusters of the inputs."""
        mean, variance, scale = self.moments
        u = (self.r - mean) / scale
        share, _ = clusters.share(u)
        model, _, _ = iterate_em(
            share, self._link, self._score_joint, _LINKED_STEPS, share_tol=_LINKED_TOL
        )
        log_weights, values, scales = model
        # log-odds as a linear function of the representation: exactly so for
        # exponential families that are represented by their sufficient statistics
        joint = self._score_joint(model)
        log_odds = joint - joint.mean(axis=1, keepdims=True)
        weight, bias = _regress(u, log_odds, self.weight)
        weights = np.exp(log_weights)
        centre, log_range = weights @ values, np.ones(self.x.shape[1])
        if len(mean) == len(log_range):
            noise = weights @ scales**2 / np.maximum(variance, NOISE_FLOOR)
            log_range = get_log_range(self.likelihood.link, np.minimum(noise, 1.0))
        return make_tensors(
            len(values),
            values - centre,
            weight / scale[:, None],
            decoder_bias=centre,
            encoder_centre=mean,
            encoder_bias=bias,
            input_scale=1 / np.sqrt(np.maximum(variance, LEAST_VARIANCE)),
            log_range=log_range,
        )


def _regress(u, y, weight, ridge=1e-3):
    """Return slopes and intercepts of the ridge regression of y on u."""
    share = weight / weight.sum()
    u_mean, y_mean = share @ u, share @ y
    u, y = u - u_mean, y - y_mean
    gram = (u * share[:, None]).T @ u + ridge * np.eye(u.shape[1])
    slope = np.linalg.solve(gram, (u * share[:, None]).T @ y)
    return slope, y_mean - u_mean @ slope
