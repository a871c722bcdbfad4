"""Rows whose distribution is known: the right likelihood is near it, others are not.

One normal factor, and columns that are independent given it: the true log p(x) of
held-out rows is an integral over one variable. In expectation
no model has a higher score than it, and what is missing is the price of learning.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logsumexp

from skvae import VAETransformer
from skvae.likelihoods import Binomial, Censored, HurdleLogNormal, VonMises

N_TRAIN, N_TEST, D = 500, 1000, 6
SLOPE = np.array([1.2, 0.9, -1.1, 0.7, 1.0, -0.8])
LOCATION = np.array([0.3, -0.5, 0.2, -0.2, 0.4, 0.0])
COMMON = {"n_components": 2, "max_epochs": 40, "random_state": 0}


@dataclass
class World:
    """Rows of a likelihood, their true density given z, and others to compare with.

    Parameters
    ----------
    likelihood : Likelihood
    draw : callable
        Rows, given a numpy Generator and η = location + slope z, (n, D).
    log_prob : callable
        True log-probabilities or log densities, given rows and such η.
    others : list of dict
        Constructor arguments of models that are compared; {} is the default.
    spread : callable
        Rows with noise where a density is compared with probabilities: a value of mass
        p becomes uniform on an interval of length 1, whose density is p.
    """

    likelihood: object
    draw: Callable
    log_prob: Callable
    others: list = field(default_factory=lambda: [{}])
    spread: Callable = lambda rng, x: x


def spread_integers(rng, x):
    return x + rng.uniform(-0.5, 0.5, x.shape)


WIDTH = np.array([0.3, 0.5, 0.8, 0.4, 1.0, 0.6])
LIMIT = np.array([1.0, 0.5, 2.0, 0.8, 1.5, 0.2])
CONCENTRATION = np.array([3.0, 8.0, 20.0, 5.0, 50.0, 2.0])
N_TRIALS = np.array([5, 12, 30, 12, 100, 8])


def compute_hurdle(x, eta):
    amount = stats.lognorm.logpdf(np.where(x > 0, x, 1.0), WIDTH, scale=np.exp(3 + eta))
    # logarithms of the probabilities of zero, and of an amount
    zero, some = -np.logaddexp(0, 1 + 2 * eta), -np.logaddexp(0, -1 - 2 * eta)
    return np.where(x > 0, some + amount, zero)


def compute_censored(x, eta):
    amount = stats.lognorm(WIDTH, scale=np.exp(eta))
    return np.where(x > LIMIT, amount.logpdf(x), amount.logcdf(LIMIT))


WORLDS = {
    "binomial": World(
        Binomial(N_TRIALS),
        lambda rng, eta: rng.binomial(N_TRIALS, expit(eta)).astype(float),
        lambda x, eta: stats.binom.logpmf(x, N_TRIALS, expit(eta)),
        [{}, {"likelihood": "poisson"}],
        spread_integers,
    ),
    "hurdle": World(
        HurdleLogNormal(),
        lambda rng, eta: (
            np.exp(3 + eta + WIDTH * rng.standard_normal(eta.shape))
            * (rng.random(eta.shape) < expit(1 + 2 * eta))
        ),
        compute_hurdle,
        spread=lambda rng, x: np.where(x > 0, x, -rng.random(x.shape)),
    ),
    "censored": World(
        Censored("log_normal", lower=LIMIT),
        lambda rng, eta: np.maximum(
            np.exp(eta + WIDTH * rng.standard_normal(eta.shape)), LIMIT
        ),
        compute_censored,
        spread=lambda rng, x: np.where(x > LIMIT, x, LIMIT - rng.random(x.shape)),
    ),
    "von mises": World(
        VonMises(),
        lambda rng, eta: rng.vonmises(eta + np.pi, CONCENTRATION),
        lambda x, eta: stats.vonmises.logpdf(x, CONCENTRATION, eta + np.pi),
    ),
}


def compute_truth(world, X):
    """Return log p(x) of every row, by quadrature over z."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    log_share = np.log(weights / weights.sum())
    found = [
        share + world.log_prob(X, LOCATION + SLOPE * z).sum(axis=1)
        for z, share in zip(nodes, log_share, strict=True)
    ]
    return logsumexp(found, axis=0)


@pytest.mark.parametrize("name", WORLDS)
def test_right_likelihood_is_near_the_truth_and_ahead_of_others(name):
    world, rng = WORLDS[name], np.random.default_rng(0)
    z = rng.standard_normal((N_TRAIN + N_TEST, 1))
    X = world.draw(rng, LOCATION + SLOPE * z)
    X, X_test = X[:N_TRAIN], X[N_TRAIN:]
    truth = compute_truth(world, X_test)
    vae = VAETransformer(likelihood=world.likelihood, **COMMON).fit(X)
    missing = truth - vae.score_samples(X_test, "evidence")
    # the mean of log p(x) / q(x) is a divergence, and has this standard error
    error = missing.std() / N_TEST**0.5
    assert -3 * error < missing.mean() < 0.3
    for parameters in world.others:
        rows = X, X_test
        if "likelihood" not in parameters:
            rows = (world.spread(rng, part) for part in rows)
        train, test = rows
        model = VAETransformer(**COMMON | parameters).fit(train)
        behind = (truth - model.score_samples(test, "evidence")).mean()
        assert behind > missing.mean() + 0.1
