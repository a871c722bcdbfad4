"""The map alone, `density=None`: beside PCA, in its units, columns of all kinds."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import trustworthiness
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer
from skvae._training._map import balance_columns, compute_error
from skvae.datasets import make_spiral
from skvae.likelihoods import Gaussian

SETTINGS = {"density": None, "device": "cpu", "random_state": 0}


def split(load):
    train, test = train_test_split(load().data, test_size=0.3, random_state=0)
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test)


def compute_r2(X, found, mean):
    return 1 - ((X - found) ** 2).sum() / ((X - mean) ** 2).sum()


@pytest.mark.parametrize(
    ("load", "q"),
    [(load_iris, 2), (load_wine, 2), (load_wine, 5)],
    ids=["iris-2", "wine-2", "wine-5"],
)
def test_held_out_rows_are_reconstructed_and_placed_as_well_as_by_pca(load, q):
    train, test = split(load)
    pca = PCA(q).fit(train)
    vae = VAETransformer(q, **SETTINGS).fit(train)
    mean = train.mean(axis=0)
    r2 = compute_r2(test, vae.reconstruct(test), mean)
    expected = compute_r2(test, pca.inverse_transform(pca.transform(test)), mean)
    assert r2 >= expected - 0.005
    trust = trustworthiness(test, vae.transform(test))
    assert trust >= trustworthiness(test, pca.transform(test)) - 0.01


def test_curved_rows_are_reconstructed_much_better_than_by_pca():
    X, _ = make_spiral(600, random_state=0)
    train, test = X[:400], X[400:]
    pca, vae = PCA(1).fit(train), VAETransformer(1, **SETTINGS).fit(train)
    r2 = compute_r2(test, vae.reconstruct(test), train.mean(axis=0))
    found = pca.inverse_transform(pca.transform(test))
    assert r2 > compute_r2(test, found, train.mean(axis=0)) + 0.2


def test_linear_map_has_the_components_and_the_units_of_pca():
    X = StandardScaler().fit_transform(load_breast_cancer().data)
    vae = VAETransformer(3, hidden_layer_sizes=(), max_epochs=0, **SETTINGS).fit(X)
    pca = PCA(3).fit(X)
    found, expected = vae.transform(X), pca.transform(X)
    # the posterior mean of probabilistic PCA is shrunk: Tipping & Bishop (1999), eq. 27
    shrink = 1 - pca.noise_variance_ / pca.explained_variance_
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, signs * shrink * expected, rtol=5e-3, atol=1e-2)


def test_methods_agree_on_the_units_of_z():
    X = load_wine().data
    vae = VAETransformer(2, max_epochs=5, **SETTINGS).fit(X)
    Z = vae.transform(X)
    mean, std = vae.posterior(X)
    np.testing.assert_allclose(mean, Z, rtol=1e-6)
    np.testing.assert_allclose(vae.inverse_transform(Z), vae.reconstruct(X), rtol=1e-4)
    unit = vae.net_.module_.z_unit.numpy()
    assert (unit != 1).all()
    assert (std > 0).all()
    refined, _ = vae.posterior(X[:20], refine=True)
    assert np.abs(refined - mean[:20]).max() < 3 * std.max()
    # a step in z moves the standardised columns by as much, on average over rows
    step = np.array([0.02, 0.0], dtype=np.float32)
    moved = vae.inverse_transform(Z + step) - vae.inverse_transform(Z - step)
    length = np.linalg.norm(moved / X.std(axis=0), axis=1) / 0.04
    assert np.sqrt((length**2).mean()) == pytest.approx(1, rel=0.05)


def test_units_survive_copies_and_further_training():
    X = load_wine().data
    vae = VAETransformer(2, max_epochs=2, warm_start=True, **SETTINGS).fit(X)
    again = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(again.transform(X), vae.transform(X))
    unit = vae.net_.module_.z_unit.clone()
    torch.testing.assert_close(vae.fit(X).net_.module_.z_unit, unit)
    stream = clone(vae).partial_fit(X[:100])
    first = stream.net_.module_.z_unit.clone()
    torch.testing.assert_close(stream.partial_fit(X[100:]).net_.module_.z_unit, first)


def test_named_likelihood_is_trained_as_named():
    X = load_iris().data
    fits = [
        VAETransformer(
            2, likelihood="gaussian", max_epochs=3, **SETTINGS | {"density": density}
        ).fit(X)
        for density in (None, "joint")
    ]
    scores = [vae.score_samples(X) for vae in fits]
    np.testing.assert_array_equal(*scores)


def test_score_is_that_of_one_normal_noise_for_all_columns():
    X = StandardScaler().fit_transform(load_iris().data)
    vae = VAETransformer(2, max_epochs=3, **SETTINGS).fit(X)
    np.testing.assert_allclose(
        vae.noise_variance_, vae.noise_variance_.mean(), rtol=1e-3
    )
    reconstruction = vae.score_samples(X, "reconstruction")
    assert np.isfinite(reconstruction).all()
    np.testing.assert_allclose(
        reconstruction - vae.score_samples(X, "kl"), vae.score_samples(X), atol=1e-9
    )


def make_two_factors(n_samples=600):
    """Many numbers of one factor, little noise; three levels of another factor."""
    rng = np.random.default_rng(0)
    f, g = rng.standard_normal((2, n_samples))
    frame = pd.DataFrame(
        {
            f"x{j}": f * (1 + 0.1 * j) + 0.1 * rng.standard_normal(n_samples)
            for j in range(8)
        }
    )
    for j in range(3):
        noisy = g + 0.3 * rng.standard_normal(n_samples)
        frame[f"level{j}"] = np.array(["a", "b", "c"])[np.digitize(noisy, [-0.5, 0.5])]
    return frame, g


def test_numbers_do_not_drown_categories():
    frame, g = make_two_factors()
    vae = VAETransformer(2, **SETTINGS).fit(frame)
    Z = StandardScaler().fit_transform(vae.transform(frame))
    # the categories' factor is one of the two
    model = LogisticRegression().fit(Z, g > 0)
    assert model.score(Z, g > 0) > 0.85


def test_categories_do_not_drown_numbers():
    frame, _ = make_two_factors()
    vae = VAETransformer(2, **SETTINGS).fit(frame)
    numbers = [c for c in frame if c.startswith("x")]
    X, found = frame[numbers], vae.reconstruct(frame)[numbers]
    assert compute_r2(X.to_numpy(), found.to_numpy(), X.mean().to_numpy()) > 0.9


def test_weight_of_a_column_is_the_ratio_of_what_ignoring_it_costs():
    frame, _ = make_two_factors()
    vae = VAETransformer(2, max_epochs=1, **SETTINGS).fit(frame)
    module = vae.net_.module_
    module.column_weight = None
    balance_columns(module)
    weight = module.column_weight.numpy()
    assert (weight[:8] == 1).all()
    scale = module.linear_start.input_scale[0, :8].numpy()
    share = frame["level0"].value_counts(normalize=True)
    entropy = -(share * np.log(share)).sum()
    # half the variance of a number in units of its noise; three levels count twice
    assert weight[8] == pytest.approx(0.5 * (scale**-2).mean() * 2 / entropy, rel=1e-5)


def test_error_of_held_out_rows_leaves_out_missing_cells():
    X = load_iris().data
    X[::3, 1] = np.nan
    vae = VAETransformer(2, max_epochs=1, **SETTINGS).fit(X)
    module = vae.net_.module_.eval()
    x = torch.as_tensor(vae.columns_.encode(X[:30]), dtype=torch.float32)
    with torch.no_grad():
        error = compute_error(module, x)
        mean = module.decode(module.encode(x).mean).mean
    expected = 0.5 * torch.nan_to_num((x - mean) ** 2, nan=0.0).sum(dim=-1)
    torch.testing.assert_close(error, expected)


def test_corruption_is_for_training_steps_alone():
    X = load_iris().data
    vae = VAETransformer(2, max_epochs=1, **SETTINGS).fit(X)
    module = vae.net_.module_
    x = torch.as_tensor(vae.columns_.encode(X), dtype=torch.float32)
    noise = torch.zeros(1, 2)
    assert module.corruption > 0
    first, second = (module.eval()(x, noise).posterior.mean for _ in range(2))
    assert torch.equal(first, second)
    first, second = (module.train()(x, noise).posterior.mean for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
@pytest.mark.parametrize(
    "changes",
    [
        {"likelihood": Gaussian(noise="network")},
        {"latent": "hierarchical"},
        {"latent": "categorical"},
        {"init": "random"},
        {"objective": "iwae"},
        {"early_stopping": False},
        {"network": "conv", "image_shape": (1, 2, 2)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_map_works_with_other_members(changes):
    X = load_iris().data
    settings = {"n_components": 2, "max_epochs": 2} | SETTINGS | changes
    vae = VAETransformer(**settings).fit(X)
    Z = vae.transform(X)
    assert np.isfinite(Z).all()
    np.testing.assert_allclose(
        np.reshape(vae.inverse_transform(Z), X.shape),
        np.reshape(vae.reconstruct(X), X.shape),
        rtol=1e-3,
        atol=1e-3 if settings.get("latent") != "hierarchical" else 5,
    )


def test_other_densities_are_refused():
    with pytest.raises(ValueError, match="The 'density' parameter"):
        VAETransformer(density="map").fit(load_iris().data)
