"""Small generators with a known truth, for examples and tests (numpy only)."""

import numpy as np


def make_factors(
    n_samples=500, n_features=10, n_components=3, noise=0.5, random_state=None
):
    """Draw rows from a factor-analysis model whose density is known.

    Parameters
    ----------
    n_samples, n_features, n_components : int
    noise : float, default=0.5
        Standard deviations of the noise spread around this, by a factor of 2.
    random_state : int or None, default=None

    Returns
    -------
    X : ndarray (n_samples, n_features)
    covariance : ndarray (n_features, n_features)
        Rows are N(0, covariance).

    Examples
    --------
    >>> from skvae.datasets import make_factors
    >>> X, covariance = make_factors(n_samples=100, n_features=4, random_state=0)
    >>> X.shape, covariance.shape
    ((100, 4), (4, 4))
    """
    generator = np.random.default_rng(random_state)
    loadings = generator.standard_normal((n_components, n_features))
    scale = noise * 2.0 ** generator.uniform(-1, 1, n_features)
    z = generator.standard_normal((n_samples, n_components))
    X = z @ loadings + scale * generator.standard_normal((n_samples, n_features))
    return X, loadings.T @ loadings + np.diag(scale**2)


def make_spiral(n_samples=500, noise=0.05, random_state=None):
    """Draw points around a spiral in three dimensions: one latent, no linear model.

    Parameters
    ----------
    n_samples : int
    noise : float, default=0.05
        Standard deviation of the noise in every column.
    random_state : int or None, default=None

    Returns
    -------
    X : ndarray (n_samples, 3)
    t : ndarray (n_samples,)
        Position along the spiral, in [0, 1].

    Examples
    --------
    >>> from skvae.datasets import make_spiral
    >>> X, t = make_spiral(n_samples=100, random_state=0)
    >>> X.shape, t.shape
    ((100, 3), (100,))
    """
    generator = np.random.default_rng(random_state)
    t = generator.uniform(0, 1, n_samples)
    angle = 3 * np.pi * t
    curve = np.column_stack([t * np.cos(angle), t * np.sin(angle), t])
    return curve + noise * generator.standard_normal((n_samples, 3)), t
