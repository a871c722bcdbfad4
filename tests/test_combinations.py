"""Every member works with every other."""

import numpy as np
import pytest
from covering import cover
from likelihood_cases import make_rows

from skvae import VAETransformer
from skvae.latents import LATENTS, Categorical, Gaussian, Hierarchical
from skvae.likelihoods import LIKELIHOODS
from skvae.likelihoods import Gaussian as GaussianNoise
from skvae.networks import MLP, NETWORKS
from skvae.objectives import ELBO, IWAE, OBJECTIVES

pytestmark = pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")

N, D, Q = 40, 6, 4
# real numbers as values of a likelihood
# all members, and what registered ones do otherwise
LATENT_CASES = [
    *(cls() for cls in LATENTS.values()),
    Gaussian(prior="vamp", n_mixture=3, covariance="full"),
    Categorical(2, gradient="gumbel", prior="uniform", embedding="onehot"),
    Hierarchical((2, 1, 1), inference="bottom_up", decoder="all"),
]
OBJECTIVE_CASES = [
    *(cls() for cls in OBJECTIVES.values()),
    ELBO(n_draws=2, free_bits=0.1),
    IWAE(3, gradient="standard"),
]


def fit(X, **parameters):
    defaults = {"network": MLP((4,)), "max_epochs": 2, "n_draws": 4, "random_state": 0}
    # batches of 'auto' are as many for these few rows as for a thousand
    defaults["batch_size"] = 8
    return VAETransformer(Q, **(defaults | parameters)).fit(X)


def assert_scores_are_finite(vae, X):
    assert vae.n_iter_ == 2
    assert np.isfinite(vae.loss_curve_).all()
    elbo, evidence = (vae.score_samples(X, m) for m in ("elbo", "evidence"))
    assert elbo.shape == (len(X),)
    assert np.isfinite(elbo).all()
    assert (evidence >= elbo - 1e-9).all()


# All pairs of members, not all threes: what joins a likelihood, a latent and an
# objective is the sum of its log densities over columns, one number a row and draw.
# `test_training_step.py` has the fours of those whose steps know more of one another.
@pytest.mark.parametrize(
    ("likelihood", "latent", "objective"),
    cover(LIKELIHOODS, LATENTS, OBJECTIVES, strength=2),
)
def test_all_members_train_and_score(likelihood, latent, objective):
    X = make_rows(likelihood, N, D)
    vae = fit(X, likelihood=likelihood, latent=latent, objective=objective)
    assert_scores_are_finite(vae, X)


@pytest.mark.parametrize(
    ("latent", "objective", "init"),
    cover(LATENT_CASES, OBJECTIVE_CASES, ["linear", "random"], strength=2),
    ids=repr,
)
def test_variants_of_latents_and_objectives_train_and_score(latent, objective, init):
    X = make_rows("gaussian", N, D)
    noise = GaussianNoise(noise="low_rank")
    vae = fit(X, likelihood=noise, latent=latent, objective=objective, init=init)
    assert_scores_are_finite(vae, X)


# what members do one after the other: pairs of them are in the test of training above
@pytest.mark.parametrize(
    ("likelihood", "latent"), cover(LIKELIHOODS, LATENT_CASES, strength=1), ids=repr
)
def test_all_methods_work_with_all_members(likelihood, latent):
    X = make_rows(likelihood, N, D)
    vae = fit(X, likelihood=likelihood, latent=latent, network="mlp")
    elbo, refined = (vae.score_samples(X[:9], m) for m in ("elbo", "refined"))
    assert (refined >= elbo).all()
    Z = vae.transform(X)
    assert Z.shape == (N, len(vae.get_feature_names_out()))
    for values in (Z, vae.inverse_transform(Z), vae.reconstruct(X), vae.sample(9)):
        assert np.isfinite(values).all()
    np.testing.assert_allclose(
        vae.score_features(X).sum(axis=1),
        vae.score_samples(X, "reconstruction"),
        rtol=1e-9,
        atol=1e-9,
    )
    assert vae.kl_per_component_.shape == (Q,)
    again = vae.score_samples(X[::-1][:5])
    np.testing.assert_allclose(again, vae.score_samples(X)[::-1][:5], atol=1e-9)


@pytest.mark.parametrize(
    ("members", "network"),
    cover(cover(LATENTS, OBJECTIVES, strength=1), NETWORKS, strength=2),
)
def test_all_networks_train_and_score(members, network):
    X, (latent, objective) = make_rows("gaussian", N, D), members
    image_shape = (1, 2, 3) if NETWORKS[network].needs_images else None
    vae = fit(
        X, latent=latent, objective=objective, network=network, image_shape=image_shape
    )
    assert_scores_are_finite(vae, X)


# codes, angles and amounts are no pixels, for the encoder sees several values of each;
# columns one after the other are refused for images
NO_IMAGES = {"categorical", "von_mises", "hurdle_log_normal", "autoregressive"}


@pytest.mark.parametrize(
    ("likelihood", "latent"),
    cover([name for name in LIKELIHOODS if name not in NO_IMAGES], LATENTS, strength=1),
)
def test_images_of_all_members(likelihood, latent):
    X = make_rows(likelihood, N, D)
    vae = fit(
        X.reshape(N, 1, 2, 3),
        likelihood=likelihood,
        latent=latent,
        network="conv",
        image_shape=(1, 2, 3),
    )
    assert_scores_are_finite(vae, X)
    assert vae.reconstruct(X[:3].reshape(3, 1, 2, 3)).shape == (3, 1, 2, 3)
