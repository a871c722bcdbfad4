"""Mixtures of normals with diagonal covariances, fitted by EM.

`fit_clusters` finds clusters of rows, for one-hot latents; `fit_columns` finds a
mixture for every column. All is float64 numpy on standardised columns.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn import config_context
from sklearn.cluster import KMeans

from .._utils._missing import list_chunks
from ._moments import compute_mean

# rows, and values, that clusters are fitted to
_MAX_ROWS = 4000
_MAX_VALUES = 20_000_000
# runs of k-means, and steps of EM that choose among them
_N_RUNS = 4
_SHORT_STEPS = 10
_STEPS = 100
_TOL = 1e-6
# rows that every cluster has beforehand, and rows of the total variance in the noise
_PSEUDO_ROWS, _TOTAL_ROWS = 1.0, 0.1
# values held at a time, and steps of EM, for mixtures of columns
_COLUMN_VALUES, _COLUMN_STEPS = 262_144, 30
# rows that the number of components around constant values is found from, and the
# least gain of one, in nats: one that rounding cannot make, and in all rows together
# twice what a parameter that means nothing gains, half a nat, for mean and scale
_FEW_ROWS, _LEAST_GAIN, _LEAST_TOTAL = 500, 0.01, 2.0


def iterate_em(
    share, maximize, score_joint, n_steps, axis=-1, weight=None, tol=None, share_tol=0.0
):
    """Alternate M-steps and E-steps of a mixture (Dempster, Laird & Rubin 1977).

    They begin at `share`, p(k|x) with k along `axis`. `maximize` turns it into a model,
    and `score_joint` a model into log p(x, k), which is overwritten. EM stops where the
    weighted mean of log p(x) rises by less than `tol`, or no p(k|x) changes by more
    than `share_tol`. Return the last model, p(k|x) under it and, with a tol, this mean.
    """
    score = -np.inf
    for _ in range(n_steps):
        before, model = share, maximize(share)
        share, highest, total = normalize(score_joint(model), axis)
        if share_tol and np.abs(share - before).max() < share_tol:
            break
        if tol is not None:
            log_prob = (np.log(total) + highest).squeeze(axis)
            last, score = score, np.average(log_prob, weights=weight)
            if score < last + tol:
                break
    return model, share, score


def normalize(joint, axis=-1):
    """Turn log p(x, k) into p(k|x); log p(x) is highest + log total."""
    highest = joint.max(axis=axis, keepdims=True)
    joint -= highest
    share = np.exp(joint, out=joint)
    total = share.sum(axis=axis, keepdims=True)
    share /= total
    return share, highest, total


@dataclass(frozen=True)
class Clusters:
    """x = means[k] + e, k with probability weights[k], e ~ N(0, diag noise)."""

    weights: np.ndarray  # (n_clusters,)
    means: np.ndarray  # (n_clusters, n_features)
    noise: np.ndarray  # (n_features,), variances within clusters

    @property
    def mean(self):
        """Mean of all rows, ``(n_features,)``."""
        return self.weights @ self.means

    def posterior(self, centre):
        """Return the log-odds of the clusters, which are linear in x.

        Up to a constant a row, log p(k|x) is ``(x - centre) @ weight + bias``, with a
        weight ``(n_features, n_clusters)``.
        """
        offsets = self.means - centre
        weight = (offsets / self.noise).T
        bias = np.log(self.weights) - 0.5 * (offsets**2 / self.noise).sum(axis=1)
        return weight, bias

    def score_joint(self, x):
        """Return log p(x, k), ``(n_samples, n_clusters)``."""
        weight, bias = self.posterior(self.mean)
        u = x - self.mean
        log_det = np.log(2 * np.pi * self.noise).sum()
        distance = (u**2 / self.noise).sum(axis=1) + log_det
        return u @ weight + bias - 0.5 * distance[:, None]

    def share(self, x):
        """Return p(k|x) and log p(x)."""
        share, highest, total = normalize(self.score_joint(x))
        return share, (np.log(total) + highest)[:, 0]

    def score_samples(self, x):
        """Return log p(x), ``(n_samples,)`` nats."""
        return self.share(x)[1]


def fit_clusters(
    x,
    weight,
    n_clusters,
    seed,
    init=None,
    noise=None,
    is_isotropic=False,
    floor=0.0,
):
    """Fit `Clusters` by k-means and EM, to a sample of the rows.

    If the rows are too few for all clusters, the rest lie at the mean, with little
    weight. `init` takes the place of k-means, `noise` is a known variance, and with
    `is_isotropic` all columns have one. `floor` is the least variance within clusters,
    as a share of the column's.

    References
    ----------
    Arthur & Vassilvitskii (2007), "k-means++", section 2.2.
    """
    generator = np.random.default_rng(seed)
    n_kept = max(min(_MAX_ROWS, _MAX_VALUES // x.shape[1]), 10 * n_clusters)
    if len(x) > n_kept:
        kept = np.sort(generator.choice(len(x), n_kept, replace=False))
        x, weight = x[kept], None if weight is None else weight[kept]
    x = np.asarray(x, dtype=np.float64)
    weight = np.ones(len(x)) if weight is None else weight / weight.mean()
    count, mean = weight.sum(), compute_mean(x, weight)
    total = compute_mean(x, weight, lambda part: (part - mean) ** 2)
    # no less than rounding makes of a constant column
    limits = np.finfo(float)
    total = np.maximum(total, limits.tiny + (limits.eps * mean) ** 2)

    def maximize(share):
        share = share * weight[:, None]
        size = share.sum(axis=0)
        pull = 1e-3
        means = (share.T @ x + pull * mean) / (size + pull)[:, None]
        squares = np.maximum(count * total - size @ (means - mean) ** 2, 0.0)
        variance = (squares + _TOTAL_ROWS * total) / (count + _TOTAL_ROWS)
        variance = np.maximum(variance, floor * total)
        if is_isotropic:
            variance = np.full_like(variance, variance.mean())
        if noise is not None:
            variance = np.full_like(variance, noise)
        size = size + _PSEUDO_ROWS
        return Clusters(size / size.sum(), means, variance)

    def climb(share, n_steps):
        score = partial(Clusters.score_joint, x=x)
        return iterate_em(share, maximize, score, n_steps, weight=weight, tol=_TOL)

    if init is not None:
        share, _ = init.share(x)
    else:
        found = [
            climb(_assign(x, weight, n_clusters, generator), _SHORT_STEPS)
            for _ in range(_N_RUNS)
        ]
        _, share, _ = max(found, key=lambda result: result[2])
    _, share, _ = climb(share, _STEPS)
    return maximize(share)


def _assign(x, weight, n_clusters, generator):
    """Return the clusters that k-means finds, as ones and zeros."""
    # as k-means computes distances, no more than there are different rows
    n_different = len(np.unique(x.astype(np.float32), axis=0))
    n_found = min(n_clusters, max(1, len(x) // 2), n_different)
    means = KMeans(n_found, n_init=1, random_state=int(generator.integers(2**31)))
    with config_context(array_api_dispatch=False):
        labels = means.fit_predict(x, sample_weight=weight)
    return np.eye(n_clusters)[labels]


def fit_columns(x, n_components, least, linear_share, values, most_constant):
    """Fit a mixture of two or more normals to every column by EM.

    The last component has mean 0 and variance 1 or more: where x is what a linear model
    leaves of `values`, in units of its noise, it is that model, or one with more noise.
    Beforehand it has `linear_share` of the rows; others have one row, and standard
    deviations of at least exp(least), ``(n_features,)``.

    The first components of a column, as many as give the rows the highest density and
    no more than `most_constant`, are around constant values instead: their means are
    among `values`, and not in x. It is a mixture of linear regressions (Quandt & Ramsey
    1978) whose slopes are 0 or 1.

    Return log-weights, means and log standard deviations, each ``(n_components,
    n_features)``, and the number of constant components, ``(n_features,)``.
    """
    n_features = x.shape[1]
    model = np.empty((3, n_components, n_features))
    n_constant = np.zeros(n_features, dtype=np.int64)

    def fit(rows, columns, n):
        tables = x[rows][:, columns], values[rows][:, columns]
        return _fit_columns(*tables, n_components, least[columns], linear_share, n)

    few = slice(None, None, -(-len(x) // _FEW_ROWS))
    for part in list_chunks(x.T, _COLUMN_VALUES // n_components):
        columns = np.arange(n_features)[part]
        if most_constant:
            choices = np.arange(most_constant + 1)
            scores = [fit(few, columns, n)[1] for n in choices]
            scores -= (_LEAST_GAIN + _LEAST_TOTAL / len(x[few])) * choices[:, None]
            n_constant[columns] = np.argmax(scores, axis=0)
        for n in np.unique(n_constant[columns]):
            chosen = columns[n_constant[columns] == n]
            model[..., chosen], _ = fit(slice(None), chosen, n)
    return *model, n_constant


def _fit_columns(x, values, k, least, linear_share, n_constant):
    """Return the mixtures with so many constant components, and mean log densities."""
    n, n_features = x.shape
    pseudo_rows = np.ones((k, 1))
    pseudo_rows[-1] = linear_share * n
    least = np.concatenate([np.tile(least, (k - 1, 1)), np.zeros((1, n_features))])
    spread = np.maximum(x.std(axis=0), 1e-6)
    n_others = k - 1 - n_constant
    levels = [int(n * (2 * i + 1) / (2 * n_others)) for i in range(n_others)]
    starts = _find_dense(values, n_constant), np.sort(x, axis=0)[levels]
    loc = np.concatenate([*starts, np.zeros((1, n_features))])
    log_scale = np.maximum(np.log(spread / k), least)
    log_scale[:n_constant] = least[:n_constant]
    model = np.full_like(loc, -np.log(k)), loc, log_scale
    is_constant = np.arange(k) < n_constant
    table = np.where(is_constant[:, None, None], values, x)
    # two more of all components, rows last but one: (k, n, n_features)
    joint, squares = np.empty((2, k, *x.shape))

    def score_joint(model):
        """Return log p(x, k) but for a constant."""
        log_weights, loc, log_scale = model
        np.subtract(table, loc[:, None], out=joint)
        np.multiply(joint, np.exp(-log_scale)[:, None], out=joint)
        np.multiply(joint, joint, out=joint)
        np.multiply(joint, -0.5, out=joint)
        return np.add(joint, (log_weights - log_scale)[:, None], out=joint)

    def maximize(share):
        size = share.sum(axis=1) + 1e-6
        loc = np.einsum("knd,knd->kd", share, table) / size
        loc[-1] = 0.0
        np.subtract(table, loc[:, None], out=squares)
        np.multiply(squares, squares, out=squares)
        # one more row of the column's variance keeps a component alive
        variance = np.einsum("knd,knd->kd", share, squares) + spread**2
        log_scale = np.maximum(np.log(variance / (size + 1)) / 2, least)
        weights = size + pseudo_rows
        return np.log(weights / weights.sum(axis=0)), loc, log_scale

    share, _, _ = normalize(score_joint(model), axis=0)
    model, _, _ = iterate_em(share, maximize, score_joint, _COLUMN_STEPS, axis=0)
    _, highest, total = normalize(score_joint(model), axis=0)
    return np.array(model), (np.log(total) + highest)[0].mean(axis=0)


def _find_dense(values, n_found):
    """Return centres of the shortest intervals with a tenth of the rows, and apart."""
    n_rows = min(max(1, len(values) // 10), len(values) - 1)
    order, found = np.sort(values, axis=0), np.empty((n_found, values.shape[1]))
    low, high = order[: len(values) - n_rows], order[n_rows:]
    length = high - low
    for i in range(n_found):
        shortest = length.argmin(axis=0)[None]
        bottom, top = (
            np.take_along_axis(bounds, shortest, axis=0) for bounds in (low, high)
        )
        found[i] = (bottom + top) / 2
        length = np.where((low <= top) & (high >= bottom), np.inf, length)
    return found
