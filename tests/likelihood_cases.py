"""Rows for any likelihood by its name, for the tests of several modules."""

import numpy as np
from discrete_cases import DISCRETE, draw_rows
from scipy.special import expit

from skvae.likelihoods import LIKELIHOODS

VALUES = {
    "bernoulli": lambda u: (u > 0).astype(float),
    "log_normal": np.exp,
    "continuous_bernoulli": expit,
    "beta": expit,
    "hurdle_log_normal": lambda u: np.exp(u) * (u > -0.5),
    "censored": lambda u: np.maximum(u, 0.0),
    "von_mises": np.arctan,
}


def make_rows(name, n_samples, n_features):
    """Return rows in the support of a likelihood; the first two columns correlate."""
    likelihood = LIKELIHOODS[name]()
    if isinstance(likelihood, DISCRETE):
        return draw_rows(likelihood, n_samples, n_features)
    u = np.random.default_rng(0).standard_normal((n_samples, n_features))
    u[:, 1] += u[:, 0]
    return VALUES.get(name, lambda u: u)(u)


def delete(X, share=0.3, seed=0):
    """Return a copy in which a share of the cells is missing at random."""
    X = np.array(X, dtype=float)
    X[np.random.default_rng(seed).random(X.shape) < share] = np.nan
    return X
