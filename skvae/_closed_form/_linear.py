"""Closed-form linear-Gaussian models: where training starts.

Both are x = mean + W z + noise with z ~ N(0, I): probabilistic PCA has one noise
variance, factor analysis one per column. All is float64 numpy on standardised columns;
nothing here knows of networks.
"""

from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator, eigsh

# FactorAnalysis of scikit-learn stops at the same noise variance
NOISE_FLOOR = 1e-12
# up to so many columns a full eigendecomposition is quicker than an iterative one
_DENSE_COLUMNS = 100
# multiplications spent on a covariance matrix; beyond, a subsample of rows is enough
_MAX_COVARIANCE_WORK = 1e11
_MAX_MATRIX_COLUMNS = 3000
# values held at a time
_CHUNK_VALUES = 500_000
# those that stay in a processor's own memory
_CACHED_VALUES = 32_768
# steps of EM before the quicker method takes over
_EM_STEPS = 20


@dataclass(frozen=True)
class LinearModel:
    """x = mean + W z + e, z ~ N(0, I), e ~ N(0, diag noise).

    Attributes
    ----------
    mean : ndarray (n_features,)
    loadings : ndarray (n_components, n_features)
        W transposed, rotated so that the posterior covariance is diagonal.
    noise : ndarray (n_features,)
        Noise variances.
    """

    mean: np.ndarray
    loadings: np.ndarray
    noise: np.ndarray

    def posterior(self):
        """Return the exact posterior in units of the noise.

        For u = (x - mean) / sqrt(noise) it is N(u @ weight, diag scale²).

        Returns
        -------
        weight : ndarray (n_features, n_components)
        scale : ndarray (n_components,)
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
            score[rows] = self._condition(x[rows])[1]
        return score

    def posterior_mean(self, x):
        """Return E[z | cells that are not NaN], ``(n_samples, n_components)``."""
        weight, _ = self.posterior()
        z = ((x - self.mean) / np.sqrt(self.noise)) @ weight
        rows = np.flatnonzero(np.isnan(x).any(axis=1))
        if len(rows) > 0:
            z[rows] = self._condition(x[rows])[0]
        return z

    def fill(self, x):
        """Return E[x | observed cells]: a copy whose NaN are what the others imply."""
        filled = np.array(x, dtype=float)
        rows = np.flatnonzero(np.isnan(filled).any(axis=1))
        if len(rows) > 0:
            part = filled[rows]
            expected = self.mean + self._condition(part)[0] @ self.loadings
            filled[rows] = np.where(np.isnan(part), expected, part)
        return filled

    def _condition(self, x):
        """Return E[z | observed cells] and log p(observed cells) of rows with NaN."""
        root = np.sqrt(self.noise)
        unit_loadings = (self.loadings / root).T
        n_features, n_components = unit_loadings.shape
        z, score = np.empty((len(x), n_components)), np.empty(len(x))
        log_variance = np.log(2 * np.pi * self.noise)
        size = max(1, _CHUNK_VALUES // (n_features + n_components**2))
        for begin in range(0, len(x), size):
            rows = slice(begin, begin + size)
            observed = ~np.isnan(x[rows])
            patterns, index = find_patterns(observed)
            covariance, log_det = invert_precisions(unit_loadings, patterns)
            u = np.where(observed, (x[rows] - self.mean) / root, 0.0)
            inner = u @ unit_loadings
            z[rows] = (covariance[index] @ inner[:, :, None])[:, :, 0]
            distance = (u**2).sum(axis=1) - (inner * z[rows]).sum(axis=1)
            score[rows] = -0.5 * (distance + log_det[index] + observed @ log_variance)
        return z, score


def find_patterns(observed):
    """Return the distinct rows of a boolean table and which of them each row is.

    Returns
    -------
    patterns : ndarray (n_patterns, n_features), bool
    index : ndarray (n_samples,)
    """
    bits = np.packbits(observed, axis=1)
    # a row as one value of so many bytes: sorted at once, not column by column
    keys = np.ascontiguousarray(bits).view(f"V{bits.shape[1]}")[:, 0]
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    return observed[first], index


def invert_precisions(unit_loadings, patterns):
    """Return the covariance of z given the cells of every pattern.

    Parameters
    ----------
    unit_loadings : ndarray (n_features, n_components)
        W in units of the noise.
    patterns : ndarray (n_patterns, n_features), bool

    Returns
    -------
    covariance : ndarray (n_patterns, n_components, n_components)
        Inverse of P = I + W_o'W_o, W_o the rows of W that are observed.
    log_det : ndarray (n_patterns,)
        Logarithm of the determinant of P.
    """
    n_features, n = unit_loadings.shape
    outer = unit_loadings[:, :, None] * unit_loadings[:, None, :]
    inner = patterns.astype(float) @ outer.reshape(n_features, n * n)
    precision = inner.reshape(len(patterns), n, n) + np.eye(n)
    return np.linalg.inv(precision), np.linalg.slogdet(precision)[1]


def _iterate_roots(x, weight, mean, n_values=_CHUNK_VALUES):
    """Yield (x - mean) sqrt(weight) by chunks of rows; mean is filled in first."""
    n_samples, n_features = x.shape
    weight = np.ones(n_samples) if weight is None else weight
    weight = weight / weight.sum()
    size = max(1, n_values // n_features)
    chunks = [slice(begin, begin + size) for begin in range(0, n_samples, size)]
    # about the first row: the mean of a constant column is then exact
    first = x[0].astype(np.float64)
    mean[:] = first + sum(weight[rows] @ (x[rows] - first) for rows in chunks)
    for rows in chunks:
        yield (x[rows] - mean) * np.sqrt(weight[rows])[:, None]


def compute_mean(x, weight=None):
    """Return the weighted mean of every column, ``(n_features,)``."""
    weight = np.ones(len(x)) if weight is None else weight
    size = max(1, _CACHED_VALUES // x.shape[1])
    slices = [slice(begin, begin + size) for begin in range(0, len(x), size)]
    return sum(weight[rows] @ x[rows] for rows in slices) / weight.sum()


def compute_variance(x, weight=None):
    """Return the weighted variance of every column, ``(n_features,)``."""
    roots = _iterate_roots(x, weight, np.zeros(x.shape[1]), _CACHED_VALUES)
    return sum(np.einsum("ij,ij->j", root, root) for root in roots)


class Covariance:
    """Weighted mean and covariance of a table; of a wide one only its products.

    Parameters
    ----------
    x : ndarray (n_samples, n_features)
        Read a chunk of rows at a time: it may be in single precision or on a disk.
    weight : ndarray (n_samples,), default=None
    """

    def __init__(self, x, weight=None):
        products = min(x.shape[1], 100 if x.shape[1] > _MAX_MATRIX_COLUMNS else np.inf)
        n_kept = int(_MAX_COVARIANCE_WORK / (x.shape[1] * products))
        if n_kept < len(x):
            kept = np.random.default_rng(0).choice(len(x), n_kept, replace=False)
            kept.sort()
            x, weight = x[kept], None if weight is None else weight[kept]
        n_samples, n_features = x.shape
        self.n_features = n_features
        # repeated rows add nothing to the rank, be they weighted or written out
        is_tall = n_samples > 10 * n_features
        self.n_distinct = n_samples if is_tall else len(np.unique(x, axis=0))
        self.mean = np.zeros(n_features)
        self._set_products(_iterate_roots(x, weight, self.mean))

    @classmethod
    def from_root(cls, root):
        """Return the covariance root' root of columns whose means are 0."""
        covariance = cls.__new__(cls)
        covariance.n_distinct, covariance.n_features = root.shape
        covariance.mean = np.zeros(covariance.n_features)
        covariance._set_products([root])
        return covariance

    def _set_products(self, roots):
        if self.n_features <= _MAX_MATRIX_COLUMNS:
            self.matrix, self.root = sum(root.T @ root for root in roots), None
            self.variance = self.matrix.diagonal().copy()
        else:
            self.matrix, self.root = None, np.concatenate(list(roots))
            self.variance = (self.root**2).sum(axis=0)

    def in_units(self, shift, scale):
        """Return the covariance of (x - shift) / scale."""
        other = copy(self)
        other.mean = (self.mean - shift) / scale
        other.variance = self.variance / scale**2
        if self.matrix is not None:
            other.matrix = self.matrix / np.outer(scale, scale)
        else:
            other.root = self.root / scale
        return other

    def with_noise_in_constants(self, floor):
        """Return self, with variance floor · max(1, mean²) in constant columns."""
        least = floor * np.maximum(self.mean**2, 1.0)
        missing = np.where(self.variance > 0, 0.0, least)
        self.variance = self.variance + missing
        if self.matrix is not None:
            self.matrix[np.diag_indices(self.n_features)] += missing
        return self

    def top_eigenpairs(self, n_pairs, scale):
        """Return the largest eigenpairs of the covariance of columns / scale."""
        n = self.n_features
        if n_pairs == 0:
            return np.zeros(0), np.zeros((n, 0))
        if n <= _DENSE_COLUMNS:
            values, vectors = eigh(self.matrix / np.outer(scale, scale))
            order = slice(None, -n_pairs - 1, -1)
            return values[order], vectors[:, order]
        if self.matrix is not None:

            def product(v):
                return (self.matrix @ (v / scale)) / scale
        else:

            def product(v):
                return (self.root.T @ (self.root @ (v / scale))) / scale

        operator = LinearOperator((n, n), matvec=product, dtype=float)
        # a drawn start: ones may be an eigenvector of 0, columns that sum to a constant
        v0 = np.random.default_rng(0).standard_normal(n)
        values, vectors = eigsh(operator, k=n_pairs, v0=v0, tol=1e-9)
        return values[::-1], vectors[:, ::-1]


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
    """Fit probabilistic PCA (Tipping & Bishop 1999, eqs. 7-8).

    Parameters
    ----------
    covariance : Covariance
    n_components : int
        At most n_features - 1.
    column_scale : float or ndarray (n_features,), default=1.0
        The noise has one variance in the units columns * column_scale.
    noise : float, default=None
        A known noise variance; None estimates it.
    """
    scale = np.broadcast_to(
        1 / np.asarray(column_scale, float), covariance.variance.shape
    )
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
    start = variance
    for _ in range(_EM_STEPS):
        start = update(start)
    upper = np.log(variance)
    result = minimize(
        objective,
        np.log(start),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(upper + np.log(floor), upper, strict=True)),
        options={"maxiter": max_iter, "ftol": 1e-9, "gtol": 1e-6},
    )
    noise = np.exp(result.x)
    values, vectors = covariance.top_eigenpairs(n_components, np.sqrt(noise))
    return _from_whitened(covariance, noise, values, vectors)
