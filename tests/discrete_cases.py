"""Discrete likelihoods and rows for them, for the tests of several modules."""

import numpy as np
from scipy.special import expit

from skvae.likelihoods import (
    Binomial,
    Categorical,
    DiscretizedLogistic,
    NegativeBinomial,
    Ordinal,
    Poisson,
    ZeroInflated,
)

DISCRETE = (
    Categorical,
    Ordinal,
    Poisson,
    NegativeBinomial,
    ZeroInflated,
    DiscretizedLogistic,
    Binomial,
)
COUNTS = {
    "poisson": Poisson(),
    "negative binomial": NegativeBinomial(),
    "negative binomial of the network": NegativeBinomial(dispersion="network"),
    "zero-inflated poisson": ZeroInflated(),
    "zero-inflated negative binomial": ZeroInflated(NegativeBinomial("network")),
}
LEVELS = {
    "categorical": Categorical(),
    "categorical of known sizes": Categorical(n_categories=5),
    "ordinal": Ordinal(),
    "ordinal of known sizes": Ordinal(n_categories=5),
}
# integers from 0 to 20
BOUNDED = {
    "discretized logistic": DiscretizedLogistic(high=20),
    "binomial": Binomial(20),
}
CASES = COUNTS | LEVELS | BOUNDED


def draw_rows(likelihood, n_samples, n_features, seed=0):
    """Return rows of a two-factor model in the support of a likelihood.

    Categories are three, four, three, ... in turn.
    """
    generator = np.random.default_rng(seed)
    loadings = 0.7 * generator.standard_normal((2, n_features))
    z = generator.standard_normal((n_samples, 2))
    u = z @ loadings + 0.5 * generator.standard_normal((n_samples, n_features))
    if isinstance(likelihood, (Categorical, Ordinal)):
        top = 2 + np.arange(n_features) % 2
        return np.clip(np.floor(1.5 + u), 0, top)
    if isinstance(likelihood, DiscretizedLogistic):
        return np.clip(np.round(8 + 4 * u), likelihood.low, likelihood.high)
    if isinstance(likelihood, Binomial):
        return generator.binomial(likelihood.n_trials, expit(u)).astype(float)
    return generator.poisson(np.exp(1 + u)).astype(float)


def adapt(likelihood, n_features, n_samples=200, seed=0):
    """Return a likelihood that has seen rows, and the rows."""
    x = draw_rows(likelihood, n_samples, n_features, seed)
    likelihood.adapt(x)
    return likelihood, x
