"""A mixture of normals with one diagonal covariance: where one-hot latents start.

All is float64 numpy on standardised columns; nothing here knows of networks.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn import config_context
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

# rows, and values, that the mixture is fitted to
_MAX_ROWS = 4000
_MAX_VALUES = 20_000_000
# starts by k-means, and steps of EM that choose among them
_N_STARTS = 4
_SHORT_STEPS = 10
_STEPS = 100
_TOL = 1e-6
# rows that every cluster has beforehand, and rows of the total variance in the noise
_PSEUDO_ROWS, _TOTAL_ROWS = 1.0, 0.1


@dataclass(frozen=True)
class Clusters:
    """x = means[k] + e, k with probability weights[k], e ~ N(0, diag noise).

    Attributes
    ----------
    weights : ndarray (n_clusters,)
    means : ndarray (n_clusters, n_features)
    noise : ndarray (n_features,)
        Variances within clusters.
    """

    weights: np.ndarray
    means: np.ndarray
    noise: np.ndarray

    @property
    def mean(self):
        """Mean of all rows, ``(n_features,)``."""
        return self.weights @ self.means

    def posterior(self, centre):
        """Return the log-odds of the clusters, which are linear in x.

        Up to a constant a row, log p(k|x) is ``(x - centre) @ weight + bias``.

        Returns
        -------
        weight : ndarray (n_features, n_clusters)
        bias : ndarray (n_clusters,)
        """
        offsets = self.means - centre
        weight = (offsets / self.noise).T
        bias = np.log(self.weights) - 0.5 * (offsets**2 / self.noise).sum(axis=1)
        return weight, bias

    def _score_joint(self, x):
        """Return log p(x, k), ``(n_samples, n_clusters)``."""
        weight, bias = self.posterior(self.mean)
        u = x - self.mean
        log_det = np.log(2 * np.pi * self.noise).sum()
        distance = (u**2 / self.noise).sum(axis=1) + log_det
        return u @ weight + bias - 0.5 * distance[:, None]

    def share(self, x):
        """Return p(k|x) and log p(x)."""
        joint = self._score_joint(x)
        highest = joint.max(axis=1, keepdims=True)
        share = np.exp(joint - highest)
        total = share.sum(axis=1, keepdims=True)
        return share / total, (np.log(total) + highest)[:, 0]

    def score_samples(self, x):
        """Return log p(x), ``(n_samples,)`` nats."""
        return self.share(x)[1]


def fit_clusters(
    x,
    weight,
    n_clusters,
    seed,
    start=None,
    noise=None,
    is_isotropic=False,
    floor=0.0,
):
    """Fit the mixture by k-means and EM, to a sample of the rows.

    Parameters
    ----------
    x : ndarray (n_samples, n_features)
    weight : ndarray (n_samples,) or None
    n_clusters : int
        Those that the rows are too few for lie at the mean, with little weight.
    seed : int
    start : Clusters, default=None
        Go on from there instead.
    noise : float, default=None
        A known variance.
    is_isotropic : bool, default=False
        Whether all columns have one variance.
    floor : float, default=0.0
        Least variance within clusters, as a share of the column's.

    References
    ----------
    Dempster, Laird & Rubin (1977), "Maximum likelihood from incomplete data via the EM
    algorithm", section 4.3; Arthur & Vassilvitskii (2007), "k-means++", section 2.2.
    """
    generator = np.random.default_rng(seed)
    n_kept = max(min(_MAX_ROWS, _MAX_VALUES // x.shape[1]), 10 * n_clusters)
    if len(x) > n_kept:
        kept = np.sort(generator.choice(len(x), n_kept, replace=False))
        x, weight = x[kept], None if weight is None else weight[kept]
    x = np.asarray(x, dtype=np.float64)
    weight = np.ones(len(x)) if weight is None else weight / weight.mean()
    mean = weight @ x / weight.sum()
    total = np.maximum(weight @ (x - mean) ** 2 / weight.sum(), np.finfo(float).tiny)

    def make(share):
        """Return the mixture that maximises the likelihood given p(k|x)."""
        share = share * weight[:, None]
        size = share.sum(axis=0)
        pull = 1e-3
        means = (share.T @ x + pull * mean) / (size + pull)[:, None]
        squares = weight @ (x - mean) ** 2 - size @ (means - mean) ** 2
        count = weight.sum()
        variance = (np.maximum(squares, 0.0) + _TOTAL_ROWS * total) / (
            count + _TOTAL_ROWS
        )
        variance = np.maximum(variance, floor * total)
        if is_isotropic:
            variance = np.full_like(variance, variance.mean())
        if noise is not None:
            variance = np.full_like(variance, noise)
        size = size + _PSEUDO_ROWS
        return Clusters(size / size.sum(), means, variance)

    def climb(model, steps):
        best = -np.inf
        for _ in range(steps):
            share, log_prob = model.share(x)
            model, score = make(share), weight @ log_prob / weight.sum()
            if score < best + _TOL:
                break
            best = score
        return model, best

    if start is None:
        models = [
            climb(make(_assign(x, weight, n_clusters, generator)), _SHORT_STEPS)
            for _ in range(_N_STARTS)
        ]
        start = max(models, key=lambda found: found[1])[0]
    return climb(start, _STEPS)[0]


def _assign(x, weight, n_clusters, generator):
    """Return the clusters that k-means finds, as ones and zeros."""
    n_found = min(n_clusters, max(1, len(x) // 2))
    means = KMeans(n_found, n_init=1, random_state=int(generator.integers(2**31)))
    with warnings.catch_warnings(), config_context(array_api_dispatch=False):
        # fewer different rows than clusters
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = means.fit_predict(x, sample_weight=weight)
    return np.eye(n_clusters)[labels]
