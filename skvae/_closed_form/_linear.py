"""Closed-form linear-Gaussian models.

Both are x = mean + W z + noise with z ~ N(0, I): probabilistic PCA has one noise
variance, factor analysis one per column. All is float64 numpy on standardised columns;
nothing here knows about networks.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from ._moments import CHUNK_VALUES

# FactorAnalysis of scikit-learn stops at the same noise variance
NOISE_FLOOR = 1e-12
# steps of EM before the faster method takes over
_EM_STEPS = 20


@dataclass(frozen=True)
class LinearModel:
    """x = mean + W z + e, z ~ N(0, I), e ~ N(0, diag noise)."""

    mean: np.ndarray  # (n_features,)
    # (n_components, n_features), W' so that the covariance of z given x is diagonal
    loadings: np.ndarray
    noise: np.ndarray  # (n_features,), variances

    def posterior(self):
        """Return the exact posterior, with columns in units of the noise.

        For u = (x - mean) / sqrt(noise) it is N(u @ weight, diag scale²): the weight is
        ``(n_features, n_components)``, the scale ``(n_components,)``.
        """
        unit_loadings = self.loadings / np.sqrt(self.noise)
        precision = 1 + (unit_loadings**2).sum(axis=1)
        return (unit_loadings / precision[:, None]).T, precision**-0.5

    def with_least_noise(self, floor):
        """Return the model with noise variances of at least floor, rotated anew."""
        noise = np.maximum(self.noise, floor)
        if (noise == self.noise).all():
            return self
        return replace(self, loadings=rotate(self.loadings, noise), noise=noise)

    def score_samples(self, x):
        """Return log p(x), ``(n_samples,)`` nats; of the cells that are not NaN."""
        u = (x - self.mean) / np.sqrt(self.noise)
        weight, scale = self.posterior()
        z = u @ weight
        # |u|² - z' (I + W'W) z, the matrix inversion lemma with W'W diagonal
        distance = (u**2).sum(axis=1) - (z**2 / scale**2).sum(axis=1)
        log_det = np.log(self.noise).sum() - 2 * np.log(scale).sum()
        score = -0.5 * (distance + log_det + x.shape[1] * np.log(2 * np.pi))
        rows = np.flatnonzero(np.isnan(score))
        if len(rows) > 0:
            score[rows] = self._score_observed(x[rows])
        return score

    def _score_observed(self, x):
        """Return log p(observed cells) of rows with missing cells."""
        log_variance = np.log(2 * np.pi * self.noise)
        score = np.empty(len(x))
        for rows, observed, u, inner, z, _, log_det in self._infer_observed(x):
            distance = (u**2).sum(axis=1) - (inner * z).sum(axis=1)
            score[rows] = -0.5 * (distance + log_det + observed @ log_variance)
        return score

    def draw_missing(self, x, generator):
        """Return rows whose missing cells are draws given the observed ones."""
        drawn, root = np.empty_like(x), np.sqrt(self.noise)
        noise = generator.standard_normal((len(x), len(self.loadings)))
        error = generator.standard_normal(x.shape)
        for rows, observed, _, _, z, covariance, _ in self._infer_observed(x):
            spread = np.linalg.cholesky(covariance) @ noise[rows, :, None]
            mean = self.mean + (z + spread[:, :, 0]) @ self.loadings
            drawn[rows] = np.where(observed, x[rows], mean + root * error[rows])
        return drawn

    def _infer_observed(self, x):
        """Yield what the observed cells of some rows say of z, a chunk at a time.

        Yields
        ------
        rows : slice
        observed : ndarray of bool (n, n_features)
        u, inner : ndarray (n, n_features) and (n, n_components)
            Residuals in units of the noise, 0 where a cell is missing, and these times
            the loadings.
        z, covariance : ndarray
            Mean and covariance of the posterior of every row.
        log_det : ndarray (n,)
            Of the inverse of that covariance.
        """
        root = np.sqrt(self.noise)
        unit_loadings = (self.loadings / root).T
        size = max(1, CHUNK_VALUES // (len(root) + unit_loadings.shape[1] ** 2))
        for begin in range(0, len(x), size):
            rows = slice(begin, begin + size)
            observed = ~np.isnan(x[rows])
            patterns, index = find_patterns(observed)
            covariance, log_det = invert_precisions(unit_loadings, patterns)
            u = np.where(observed, (x[rows] - self.mean) / root, 0.0)
            inner, covariance = u @ unit_loadings, covariance[index]
            z = (covariance @ inner[:, :, None])[:, :, 0]
            yield rows, observed, u, inner, z, covariance, log_det[index]


def find_patterns(observed):
    """Return the distinct rows of a boolean table, and which of them each row is."""
    bits = np.packbits(observed, axis=1)
    # a row as one value of so many bytes: sorted at once, not column by column
    keys = np.ascontiguousarray(bits).view(f"V{bits.shape[1]}")[:, 0]
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    return observed[first], index


def invert_precisions(unit_loadings, patterns):
    """Return the covariance of z given the cells of every pattern.

    It is the inverse of P = I + W_o'W_o, with W_o the observed rows of W in units of
    the noise: ``(n_patterns, n_components, n_components)``. The logarithms of the
    determinants of P, ``(n_patterns,)``, are also returned.
    """
    n_features, n = unit_loadings.shape
    outer = unit_loadings[:, :, None] * unit_loadings[:, None, :]
    inner = patterns.astype(float) @ outer.reshape(n_features, n * n)
    precision = inner.reshape(len(patterns), n, n) + np.eye(n)
    return np.linalg.inv(precision), np.linalg.slogdet(precision)[1]


def _orient(loadings):
    """Fix the free sign of every component: its largest loading is positive."""
    rows = np.arange(len(loadings))
    sign = np.sign(loadings[rows, np.abs(loadings).argmax(axis=1)])
    return loadings * np.where(sign == 0, 1.0, sign)[:, None]


def rotate(loadings, noise):
    """Return loadings of the same W W' with a diagonal W'W / noise, falling."""
    root = np.sqrt(noise)
    _, values, vectors = np.linalg.svd(loadings / root, full_matrices=False)
    return _orient(values[:, None] * vectors) * root


def _from_whitened(covariance, noise, values, vectors):
    """Return the maximum-likelihood loadings given noise, rotated to a diagonal W'W."""
    gain = np.sqrt(np.maximum(values - 1, 0.0))
    loadings = _orient((vectors * gain).T) * np.sqrt(noise)
    return LinearModel(covariance.mean, loadings, noise)


def fit_ppca(covariance, n_components, column_scale=1.0, noise=None):
    """Fit probabilistic PCA to a `Covariance` (Tipping & Bishop 1999, eqs. 7-8).

    The noise has one variance in the units columns * column_scale: `noise`, or, if
    None, an estimate. There are at most n_features - 1 components.
    """
    scale = np.broadcast_to(1 / np.asarray(column_scale), covariance.variance.shape)
    values, vectors = covariance.top_eigenpairs(n_components, scale)
    if noise is None:
        total = (covariance.variance / scale**2).sum()
        # as scikit-learn's PCA: the mean of as many eigenvalues as there can be
        rank = min(covariance.n_distinct, covariance.n_features)
        rest = max(total - values.sum(), 0.0)
        noise = max(
            rest / max(rank - n_components, 1), NOISE_FLOOR * total / len(scale)
        )
    return _from_whitened(covariance, noise * scale**2, values / noise, vectors)


def fit_factor_analysis(covariance, n_components, floor=NOISE_FLOOR, max_iter=200):
    """Fit factor analysis by maximum likelihood in the noise variances alone.

    Given the noise the best loadings are known, so what is left is a smooth function of
    n_features logarithms (Jöreskog 1967, eqs. 13-16), minimised by L-BFGS with bounds.
    """
    variance = covariance.variance

    def objective(log_noise):
        scale = np.exp(log_noise / 2)
        values, vectors = covariance.top_eigenpairs(n_components, scale)
        active = np.maximum(values, 1.0)
        diagonal = variance / scale**2
        squares = vectors**2
        loss = (
            np.log(active).sum()
            + (values / active - values).sum()
            + diagonal.sum()
            + log_noise.sum()
        )
        # diag(C⁻¹ - C⁻¹ S C⁻¹) * noise, C the model's covariance in units of the noise
        kept = squares @ (1 / active - values / active**2)
        left = (1 - squares.sum(axis=1)) - (diagonal - squares @ values)
        return loss / 2, (kept + left) / 2

    def update(noise):
        values, vectors = covariance.top_eigenpairs(n_components, np.sqrt(noise))
        model = _from_whitened(covariance, noise, values, vectors)
        explained = (model.loadings**2).sum(axis=0)
        return np.clip(variance - explained, floor * variance, variance)

    # Where columns depend on one another, or rows are fewer than columns, there are
    # several optima. EM from noise alone leads to the one that FactorAnalysis finds.
    noise = variance
    for _ in range(_EM_STEPS):
        noise = update(noise)
    upper = np.log(variance)
    result = minimize(
        objective,
        np.log(noise),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(upper + np.log(floor), upper, strict=True)),
        options={"maxiter": max_iter, "ftol": 1e-9, "gtol": 1e-6},
    )
    noise = np.exp(result.x)
    values, vectors = covariance.top_eigenpairs(n_components, np.sqrt(noise))
    return _from_whitened(covariance, noise, values, vectors)
