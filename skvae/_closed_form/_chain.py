"""Linear regressions of every column on those before it: a normal distribution."""

from dataclasses import dataclass

import numpy as np

# shares of the way from the covariance to its diagonal
_SHRINKAGE = 0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0
_N_FOLDS = 5
# added to correlations: columns that repeat others leave no noise
_RIDGE = 1e-4


@dataclass(frozen=True)
class Chain:
    """Regressions of targets on the codes before them.

    Attributes
    ----------
    slope : ndarray (n_codes, n_targets)
    scale : ndarray (n_targets,)
        Standard deviation of what they leave.
    predicted : ndarray (n_samples, n_targets)
        Of rows by regressions that have not seen them.
    shrinkage : float
        That was chosen.
    """

    slope: np.ndarray
    scale: np.ndarray
    predicted: np.ndarray
    shrinkage: float


def fit_chain(codes, targets):
    """Return the regressions of some codes on all codes before them.

    Codes (n_samples, n_codes) have mean zero, and ``targets`` are the numbers of those
    that are regressed. The covariance is shrunk towards its diagonal (Ledoit & Wolf
    2004, eq. 2) by the share that predicts held-out rows best; a share of one leaves
    targets as they are. By the Cholesky factor C of the covariance, the codes are
    C e with uncorrelated e: x_j = Σ_i<j b_ij x_i + c_jj e_j.
    """
    n_samples = len(codes)
    n_folds = min(_N_FOLDS, n_samples)
    fold = np.random.default_rng(0).permutation(n_samples) % n_folds
    scores = np.zeros(len(_SHRINKAGE))
    predicted = np.zeros((len(_SHRINKAGE), n_samples, len(targets)))
    for i in range(n_folds if n_folds > 1 else 0):
        train, valid = codes[fold != i], codes[fold == i]
        unit, correlation = _correlate(train)
        for k, share in enumerate(_SHRINKAGE):
            slope, scale = _regress(unit, correlation, share, targets)
            found = valid @ slope
            predicted[k, fold == i] = found
            residual = (valid[:, targets] - found) / scale
            scores[k] -= (0.5 * residual**2 + np.log(scale)).sum()
    # of equal scores the simplest
    best = len(scores) - 1 - int(np.argmax(scores[::-1]))
    slope, scale = _regress(*_correlate(codes), _SHRINKAGE[best], targets)
    return Chain(slope, scale, predicted[best], _SHRINKAGE[best])


def _correlate(codes):
    """Return root mean squares, and products in units of these, a matrix."""
    unit = np.sqrt(np.maximum((codes**2).mean(axis=0), 1e-12))
    scaled = codes / unit
    return unit, scaled.T @ scaled / len(codes)


def _regress(unit, correlation, share, targets):
    """Return slopes (n_codes, n_targets) and scales of the regressions."""
    n_codes = len(unit)
    matrix = (1 - share) * correlation + (share + _RIDGE) * np.eye(n_codes)
    root = np.linalg.cholesky(matrix)
    diagonal = root.diagonal()
    # x = C e: the rows of diag(c) C⁻¹ have ones on the diagonal, and minus the slopes
    inverse = np.linalg.inv(root).T * diagonal
    slope = (np.eye(n_codes) - inverse)[:, targets]
    slope = slope / unit[:, None] * unit[targets]
    return slope, diagonal[targets] * unit[targets]
