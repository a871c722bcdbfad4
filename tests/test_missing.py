"""Missing cells: rows count for what is observed of them."""

import numpy as np
import pytest
import torch
from covering import cover
from likelihood_cases import delete, make_rows
from scipy.stats import multivariate_normal
from sklearn.metrics import r2_score

from skvae import VAETransformer
from skvae._distributions._normals import LowRankNormal
from skvae._utils._missing import fill_at_random, find_missing, has_missing
from skvae.datasets import make_factors
from skvae.latents import LATENTS, Gaussian
from skvae.likelihoods import LIKELIHOODS
from skvae.likelihoods import Gaussian as GaussianNoise
from skvae.networks import MLP, NETWORKS
from skvae.objectives import OBJECTIVES

pytestmark = pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")

N, D, Q = 60, 6, 4


def fit(X, n_components=Q, **parameters):
    defaults = {"network": MLP((4,)), "max_epochs": 2, "n_draws": 4, "random_state": 0}
    return VAETransformer(n_components, **(defaults | parameters)).fit(X)


def fit_linear(X, n_components=2, **parameters):
    linear = {"hidden_layer_sizes": (), "max_epochs": 0, "random_state": 0}
    return VAETransformer(n_components, **(linear | parameters)).fit(X)


def get_moments(vae):
    """Return mean and covariance of a linear model in the units of X."""
    module, columns = vae.net_.module_, vae.columns_
    weight = module.linear_start.decoder_weight.numpy() * columns.unit
    covariance = weight.T @ weight + np.diag(vae.noise_variance_)
    return vae.inverse_transform(np.zeros((1, weight.shape[0])))[0], covariance


@pytest.fixture(scope="module")
def linear():
    X = delete(make_factors(400, D, 2, random_state=0)[0])
    X[:3] = [[np.nan] * D, [np.nan] * (D - 1) + [1.0], np.ones(D)]
    return fit_linear(X), X


# scores -------------------------------------------------------------------------------


def test_evidence_is_that_of_the_observed_cells(linear):
    vae, X = linear
    mean, covariance = get_moments(vae)
    found, error = vae.score_samples(X[:60], "evidence", n_draws=2000, return_std=True)
    for row, score, std in zip(X[:60], found, error, strict=True):
        o = ~np.isnan(row)
        exact = 0.0
        if o.any():
            normal = multivariate_normal(mean[o], covariance[np.ix_(o, o)])
            exact = normal.logpdf(row[o])
        assert abs(score - exact) < 5 * std + 1e-6


def test_posterior_is_that_of_the_observed_cells(linear):
    vae, X = linear
    mean, _ = get_moments(vae)
    weight = vae.net_.module_.linear_start.decoder_weight.numpy() * vae.columns_.unit
    loc, scale = vae.posterior(X[:30])
    for row, m, s in zip(X[:30], loc, scale, strict=True):
        o = ~np.isnan(row)
        noise = vae.noise_variance_[o]
        precision = np.eye(2) + (weight[:, o] / noise) @ weight[:, o].T
        exact = np.linalg.solve(precision, (weight[:, o] / noise) @ (row - mean)[o])
        np.testing.assert_allclose(m, exact, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(s, precision.diagonal() ** -0.5, rtol=1e-5)


def test_full_covariance_starts_at_the_posterior_of_the_observed_cells(linear):
    _, X = linear
    latent = Gaussian(prior="standard", covariance="full")
    vae = fit_linear(X, latent=latent)
    mean, covariance = get_moments(vae)
    weight = vae.net_.module_.linear_start.decoder_weight.numpy() * vae.columns_.unit
    _, scale = vae.posterior(X[:30])
    elbo = vae.score_samples(X[:30])
    for row, s, bound in zip(X[:30], scale, elbo, strict=True):
        o = ~np.isnan(row)
        part = weight[:, o]
        precision = np.eye(2) + (part / vae.noise_variance_[o]) @ part.T
        exact = np.linalg.inv(precision).diagonal() ** 0.5
        np.testing.assert_allclose(s, exact, rtol=1e-5)
        exact = 0.0
        if o.any():
            normal = multivariate_normal(mean[o], covariance[np.ix_(o, o)])
            exact = normal.logpdf(row[o])
        assert bound == pytest.approx(exact, abs=1e-5)


def test_row_without_cells_has_the_prior_and_no_score():
    X = delete(make_rows("gaussian", N, D))
    X[0] = np.nan
    vae = fit(X, latent=Gaussian(prior="standard"), max_epochs=30)
    loc, scale = vae.posterior(X[:1])
    np.testing.assert_array_equal(loc, np.zeros((1, Q)))
    unit = vae.net_.module_.z_unit.numpy()
    np.testing.assert_array_equal(scale, unit[None])
    for method in ("elbo", "evidence", "reconstruction", "kl"):
        assert vae.score_samples(X[:1], method)[0] == pytest.approx(0.0, abs=1e-12)


def test_complete_rows_score_as_without_missing_ones(linear):
    vae, X = linear
    complete = X[~np.isnan(X).any(axis=1)]
    both = vae.score_samples(X)[~np.isnan(X).any(axis=1)]
    np.testing.assert_allclose(vae.score_samples(complete), both, atol=1e-10)


def test_missing_cells_score_nothing_and_rows_add_up(linear):
    vae, X = linear
    by_cell = vae.score_features(X)
    assert (by_cell[np.isnan(X)] == 0).all()
    np.testing.assert_allclose(
        by_cell.sum(axis=1), vae.score_samples(X, "reconstruction"), atol=1e-9
    )


def test_units_count_where_a_column_is_observed():
    X = delete(make_factors(300, 4, 2, random_state=0)[0])
    scaled = X * [1, 1, 10, 1]
    before = fit_linear(X).score_samples(X)
    after = fit_linear(scaled).score_samples(scaled)
    expected = np.where(np.isnan(X[:, 2]), 0.0, np.log(10))
    np.testing.assert_allclose(before - after, expected, atol=1e-6)


def test_constant_column_counts_where_it_is_observed():
    X = delete(make_factors(300, 4, 2, random_state=0)[0])
    constant = np.where(np.arange(300) % 2, 3.0, np.nan)[:, None]
    vae = fit_linear(np.hstack([X, constant]))
    with_value, without = (
        np.hstack([X[:9], np.full((9, 1), value)]) for value in (3.0, np.nan)
    )
    gain = vae.score_samples(with_value) - vae.score_samples(without)
    np.testing.assert_allclose(gain, gain[0])
    assert gain[0] > 5
    assert (vae.impute(without)[:, 4] == 3).all()


def test_model_of_complete_rows_reads_missing_cells():
    X, _ = make_factors(300, D, 2, random_state=0)
    vae = VAETransformer(2, max_epochs=5, random_state=0).fit(X)
    incomplete = delete(X, 0.5)
    assert np.isfinite(vae.transform(incomplete)).all()
    assert (
        vae.score_samples(incomplete, "evidence")
        >= vae.score_samples(incomplete) - 1e-9
    ).all()
    assert (
        r2_score(X[np.isnan(incomplete)], vae.impute(incomplete)[np.isnan(incomplete)])
        > 0.2
    )


def test_low_rank_normal_marginalises():
    generator = torch.Generator().manual_seed(0)
    loc, log_scale = (torch.randn(5, generator=generator).double() for _ in range(2))
    factor = torch.randn(2, 5, generator=generator).double()
    normal = LowRankNormal(loc, log_scale, factor)
    x = torch.randn(3, 5, generator=generator).double()
    missing = torch.tensor([[1, 0, 0, 1, 0], [0] * 5, [1] * 5]).bool()
    s = log_scale.exp()
    covariance = torch.diag(s**2) + (factor * s).T @ (factor * s)
    exact = []
    for row, m in zip(x, missing, strict=True):
        if m.all():
            exact.append(0.0)
            continue
        part = covariance[~m][:, ~m]
        exact.append(multivariate_normal(loc[~m], part).logpdf(row[~m]))
    np.testing.assert_allclose(normal.log_prob(x, missing), exact, atol=1e-10)
    by_column = normal.log_prob_by_column(x, missing)
    np.testing.assert_allclose(by_column.sum(dim=-1), exact, atol=1e-10)
    assert (by_column[missing] == 0).all()


# members ------------------------------------------------------------------------------


# Cells are missing for the likelihood, for the start and for its encoder: one latent
# for each likelihood. Pairs of the two are in `test_combinations.py`.
@pytest.mark.parametrize(
    ("likelihood", "latent"), cover(LIKELIHOODS, LATENTS, strength=1)
)
def test_all_members_take_missing_cells(likelihood, latent):
    complete = make_rows(likelihood, N, D)
    X = delete(complete)
    X[0] = complete[0]
    # batches of 'auto' are as many for these few rows as for a thousand
    vae = fit(X, likelihood=likelihood, latent=latent, batch_size=8)
    assert np.isfinite(vae.loss_curve_).all()
    elbo, evidence, refined = (
        vae.score_samples(X[:20], m) for m in ("elbo", "evidence", "refined")
    )
    assert (evidence >= elbo - 1e-9).all()
    assert (refined >= elbo - 1e-9).all()
    np.testing.assert_allclose(
        vae.score_features(X[:20]).sum(axis=1),
        vae.score_samples(X[:20], "reconstruction"),
        atol=1e-8,
    )
    X = X[:20]
    for filled in (vae.impute(X), vae.impute(X, random_state=0)):
        observed = ~np.isnan(X)
        np.testing.assert_array_equal(filled[observed], X[observed])
        vae.score_samples(filled)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("init", ["linear", "random"])
def test_all_objectives_take_missing_cells(objective, init):
    X = delete(make_rows("gaussian", N, D))
    noise = GaussianNoise(noise="low_rank")
    vae = fit(X, likelihood=noise, objective=objective, init=init)
    assert np.isfinite(vae.loss_curve_).all()
    assert np.isfinite(vae.score(X))


@pytest.mark.parametrize(
    "latent", [Gaussian(prior="vamp", n_mixture=3), Gaussian(covariance="full")]
)
def test_other_gaussian_latents_take_missing_cells(latent):
    X = delete(make_rows("gaussian", N, D))
    assert np.isfinite(fit(X, latent=latent).score(X))


@pytest.mark.parametrize("network", NETWORKS)
def test_all_networks_take_missing_cells(network):
    X, image_shape = delete(make_rows("gaussian", N, D)), None
    if NETWORKS[network].needs_images:
        image_shape = (1, 2, 3)
        X = X.reshape(N, *image_shape)
    vae = fit(X, network=network, image_shape=image_shape, likelihood="gaussian")
    assert vae.impute(X).shape == X.shape
    assert np.isfinite(vae.impute(X)).all()


def test_weights_stand_for_repeated_rows_with_holes():
    X = delete(make_factors(200, 5, 2, random_state=0)[0])
    weight = 1.0 + np.arange(200) % 3
    repeated = np.repeat(X, weight.astype(int), axis=0)
    parameters = {"early_stopping": False, "likelihood": "gaussian"}
    one = VAETransformer(
        2, hidden_layer_sizes=(), max_epochs=0, random_state=0, **parameters
    )
    weighted = one.fit(X, sample_weight=weight).score_samples(X)
    np.testing.assert_allclose(weighted, one.fit(repeated).score_samples(X), atol=1e-3)


def test_streams_may_have_holes_after_a_complete_first_chunk():
    X = make_rows("gaussian", N, D)
    vae = VAETransformer(2, random_state=0).partial_fit(X).partial_fit(delete(X))
    assert np.isfinite(vae.loss_curve_).all()
    assert np.isfinite(vae.score(delete(X)))


def test_loaders_take_missing_cells():
    X = delete(make_rows("gaussian", N, D))
    params = {"iterator_train__num_workers": 0}
    vae = VAETransformer(2, max_epochs=2, net_params=params, random_state=0).fit(X)
    assert np.isfinite(vae.loss_curve_).all()


def test_streams_take_missing_cells():
    X = delete(make_rows("gaussian", N, D))
    vae = VAETransformer(2, random_state=0)
    for part in np.array_split(X, 3):
        vae.partial_fit(part)
    assert np.isfinite(vae.score(X))


def test_validation_scores_are_those_of_held_out_rows():
    X = delete(make_factors(300, 5, 2, random_state=0)[0])
    train, valid = X[:200], X[200:]
    vae = VAETransformer(2, max_epochs=3, random_state=0).fit(train, X_val=valid)
    assert vae.best_validation_score_ == pytest.approx(vae.score(valid), abs=0.3)


# filling ------------------------------------------------------------------------------


def test_impute_gives_the_conditional_mean_of_a_linear_model(linear):
    vae, X = linear
    mean, covariance = get_moments(vae)
    filled = vae.impute(X[:40], n_draws=5000)
    for row, found in zip(X[:40], filled, strict=True):
        o = ~np.isnan(row)
        np.testing.assert_array_equal(found[o], row[o])
        exact = mean[~o] + covariance[np.ix_(~o, o)] @ np.linalg.solve(
            covariance[np.ix_(o, o)], (row - mean)[o]
        )
        np.testing.assert_allclose(found[~o], exact, atol=0.1)


def test_many_components_do_not_spoil_what_is_filled():
    # all of z goes together where half of the cells are missing
    X, _ = make_factors(500, 12, 3, random_state=0)
    incomplete = delete(X, 0.5)
    vae = fit_linear(incomplete, 11)
    mean, covariance = get_moments(vae)
    filled = vae.impute(incomplete)
    for row, found in zip(incomplete[:40], filled, strict=False):
        o = ~np.isnan(row)
        exact = mean[~o] + covariance[np.ix_(~o, o)] @ np.linalg.solve(
            covariance[np.ix_(o, o)], (row - mean)[o]
        )
        rest = covariance[np.ix_(~o, ~o)].diagonal()
        assert (np.abs(found[~o] - exact) < 0.5 * np.sqrt(rest)).all()


def test_draws_have_the_conditional_law(linear):
    vae, X = linear
    row = X[3:4].copy()
    row[0, :3], row[0, 3:] = np.nan, [0.5, -1.0, 1.0]
    mean, covariance = get_moments(vae)
    gain = covariance[:3, 3:] @ np.linalg.inv(covariance[3:, 3:])
    drawn = vae.impute(np.repeat(row, 4000, axis=0), random_state=0)[:, :3]
    rest = covariance[:3, :3] - gain @ covariance[3:, :3]
    error = np.sqrt(rest.diagonal() / 4000)
    exact = mean[:3] + gain @ (row[0, 3:] - mean[3:])
    assert (np.abs(drawn.mean(axis=0) - exact) < 5 * error + 0.02).all()
    np.testing.assert_allclose(np.cov(drawn.T), rest, atol=0.15)


def test_draws_depend_on_their_seed_alone(linear):
    vae, X = linear
    first, again = (vae.impute(X, random_state=1) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (vae.impute(X, random_state=2) != first).any()
    np.testing.assert_array_equal(vae.impute(X), vae.impute(X))


@pytest.mark.parametrize("n_draws", [0, -1, 1.5, "many", True])
def test_impute_refuses_numbers_of_draws(linear, n_draws):
    vae, X = linear
    with pytest.raises(ValueError, match="n_draws"):
        vae.impute(X, n_draws=n_draws)


# conditional draws --------------------------------------------------------------------


def test_given_values_are_kept_and_the_rest_follows_them(linear):
    vae, _ = linear
    mean, covariance = get_moments(vae)
    drawn = vae.sample(20_000, given={1: 1.5, 4: 0.0}, random_state=0)
    assert (drawn[:, [1, 4]] == [1.5, 0.0]).all()
    rest, known = [0, 2, 3, 5], [1, 4]
    gain = covariance[np.ix_(rest, known)] @ np.linalg.inv(
        covariance[np.ix_(known, known)]
    )
    exact = mean[rest] + gain @ (np.array([1.5, 0.0]) - mean[known])
    spread = covariance[np.ix_(rest, rest)] - gain @ covariance[np.ix_(known, rest)]
    # draws of z are resampled: fewer count than there are
    error = np.sqrt(spread.diagonal() / 5000)
    assert (np.abs(drawn[:, rest].mean(axis=0) - exact) < 5 * error).all()
    np.testing.assert_allclose(np.cov(drawn[:, rest].T), spread, atol=0.15)


def test_given_refuses_what_is_no_column(linear):
    vae, _ = linear
    with pytest.raises(ValueError, match="no such column"):
        vae.sample(3, given={99: 1.0})
    with pytest.raises(TypeError, match="dict"):
        vae.sample(3, given=[1.0])
    with pytest.raises(ValueError, match="number"):
        vae.sample(3, given={0: "a"})


# pieces -------------------------------------------------------------------------------


def test_fill_at_random_keeps_columns_and_what_is_observed():
    X = delete(make_rows("gaussian", N, D))
    filled = fill_at_random(X)
    assert not np.isnan(filled).any()
    np.testing.assert_array_equal(filled[~np.isnan(X)], X[~np.isnan(X)])
    for column, found in zip(X.T, filled.T, strict=True):
        assert set(found) <= set(column[~np.isnan(column)])
    complete = make_rows("gaussian", N, D)
    assert fill_at_random(complete) is complete


def test_missing_is_found_where_sums_overflow():
    huge = np.array([[1e308, 1e308], [-1e308, -1e308]])
    assert not has_missing(huge)
    assert has_missing(np.where(huge > 0, huge, np.nan))
    assert not has_missing(np.ones((2, 2), dtype=int))
    assert find_missing(torch.ones(2, 2)) is None
