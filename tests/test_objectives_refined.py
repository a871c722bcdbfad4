"""Variational EM: q is refined in every batch before p learns from it."""

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

from skvae import VAETransformer
from skvae._model._evidence import VAEOutput
from skvae._utils._seed import seeded
from skvae.latents import Categorical, Gaussian, Hierarchical
from skvae.networks import MLP
from skvae.objectives import ELBO

STANDARD = Gaussian(prior="standard")


def make_linear_output(raw, weights, noise):
    """Return the output of x = W z + noise, for raw outputs (n, 2, n_components).

    The draws are those of ``noise`` (n_draws, n, n_components).
    """
    zeros = torch.zeros_like(raw[:, 0])
    prior = Independent(Normal(zeros, torch.ones_like(zeros)), 1)

    def infer(raw):
        normal = Normal(raw[:, 0], raw[:, 1].exp())
        z = normal.loc + normal.scale * noise
        return VAEOutput(Independent(normal, 1), prior, Normal(z @ weights, 0.5), z)

    output = infer(raw)
    output.raw, output.infer = raw, infer
    return output


def make_case(n_draws=4, seed=0):
    """Return x, raw outputs, weights and antithetic noise, float64."""
    with seeded(seed):
        weights = torch.randn(2, 4, dtype=torch.float64)
        x = torch.randn(6, 2, dtype=torch.float64) @ weights
        noise = torch.randn(n_draws // 2, 6, 2, dtype=torch.float64)
        raw = 0.1 * torch.randn(6, 2, 2, dtype=torch.float64)
    return x, raw.requires_grad_(), weights.requires_grad_(), torch.cat([noise, -noise])


def test_enough_steps_of_e_find_the_exact_posterior():
    x, raw, weights, _ = make_case()
    with seeded(1):
        half = torch.randn(100, 1, 2, dtype=torch.float64)
    noise = torch.cat([half, -half])
    output = make_linear_output(raw, weights, noise / noise.std(dim=0))
    objective = ELBO(n_refine=300, refine_lr=0.05)
    found, _ = objective._refine(output, x, 1.0)
    # Bishop (2006), "Pattern recognition and machine learning", eqs. 12.41 and 12.42;
    # of the normals with independent components the best has the diagonal precision
    with torch.no_grad():
        precision = torch.eye(2) + weights @ weights.mT / 0.25
        mean = torch.linalg.solve(precision, weights @ x.mT / 0.25).mT
        scale = precision.diagonal().rsqrt()
    torch.testing.assert_close(found[:, 0], mean, atol=0.02, rtol=0.02)
    torch.testing.assert_close(
        found[:, 1].exp(), scale.expand(6, 2), rtol=0.05, atol=0.0
    )


def test_p_learns_at_the_refined_q_and_the_encoder_at_its_own():
    x, raw, weights, noise = make_case()
    output = make_linear_output(raw, weights, noise)
    objective = ELBO(n_refine=5)
    loss, terms = objective(output, x, beta=0.7)
    by_raw, by_weights = torch.autograd.grad(loss, [raw, weights])
    output = make_linear_output(raw, weights, noise)
    plain = 0.7 * output.log_ratio(drops_score=True) - output.log_likelihood(x)
    torch.testing.assert_close(by_raw, *torch.autograd.grad(plain.mean(), raw))
    output = make_linear_output(raw, weights, noise)
    refined, _ = objective._refine(output, x, 0.7)
    at, expected = ELBO()(make_linear_output(refined, weights, noise), x, beta=0.7)
    torch.testing.assert_close(by_weights, *torch.autograd.grad(at, weights))
    torch.testing.assert_close(loss, at)
    assert loss < plain.mean() - 0.1
    torch.testing.assert_close(terms, expected)


def test_steps_of_e_are_the_same_without_a_gradient():
    x, raw, weights, noise = make_case()
    objective = ELBO(n_refine=3)
    loss, _ = objective(make_linear_output(raw, weights, noise), x)
    with torch.no_grad():
        held_out, _ = objective(make_linear_output(raw, weights, noise), x)
    torch.testing.assert_close(held_out, loss.detach())
    assert not held_out.requires_grad


def test_rows_are_refined_by_themselves():
    x, raw, weights, noise = make_case()
    objective = ELBO(n_refine=4)
    found, gradient = objective._refine(make_linear_output(raw, weights, noise), x, 1)
    some = torch.tensor([4, 0])
    output = make_linear_output(raw[some], weights, noise[:, some])
    expected = objective._refine(output, x[some], 1)
    torch.testing.assert_close((found[some], gradient[some]), expected)


def test_rows_count_by_their_weights():
    x, raw, weights, noise = make_case()
    weight = torch.tensor([1, 3, 0, 2, 1, 0]).double()
    rows = torch.repeat_interleave(torch.arange(6), weight.long())
    objective = ELBO(n_refine=4)
    loss, _ = objective(make_linear_output(raw, weights, noise), x, weight)
    repeated = make_linear_output(raw[rows], weights, noise[:, rows])
    expected, _ = objective(repeated, x[rows])
    torch.testing.assert_close(loss, expected)
    found = torch.autograd.grad(loss, [raw, weights])
    torch.testing.assert_close(found, torch.autograd.grad(expected, [raw, weights]))


class Lopsided(MLP):
    """An encoder of two hidden units."""

    def make_encoder(self, n_inputs, n_copies=None):
        return MLP((2,)).make_encoder(n_inputs, n_copies)


def make_curve(n, seed):
    """Return rows of two factors, curved."""
    fixed, draw = np.random.default_rng(0), np.random.default_rng(seed)
    inner, outer = fixed.standard_normal((2, 20)), fixed.standard_normal((20, 10))
    z = draw.standard_normal((n, 2))
    return np.sin(1.5 * z @ inner) @ outer / 4 + 0.1 * draw.standard_normal((n, 10))


def fit_curve(n_refine, **params):
    return VAETransformer(
        2,
        likelihood="gaussian",
        latent=STANDARD,
        network=Lopsided((32,)),
        objective=ELBO(n_refine=n_refine),
        **{"max_epochs": 15, "lr": 0.01, "random_state": 0, **params},
    ).fit(make_curve(400, 1))


def test_a_model_of_refined_posteriors_does_not_adapt_to_a_weak_encoder():
    rows = make_curve(200, 2)
    plain, refined = (
        fit_curve(k).score_samples(rows, "refined").mean() for k in (0, 5)
    )
    assert refined > plain + 0.1


def test_held_out_loss_is_the_bound_of_refined_posteriors():
    vae = fit_curve(5, max_epochs=0)
    net, x = vae.net_, torch.as_tensor(vae.columns_.encode(make_curve(100, 2))).float()
    net.module_.eval()
    with torch.no_grad():
        # an encoder that is wrong for every row
        net.module_.encoder_head.bias += 1.0
        found, _ = net.criterion_(net.infer(x), x, torch.ones(len(x)))
        plain, _ = ELBO()(net.infer(x), x)
        net.module_.encoder_head.bias -= 1.0
        best, _ = ELBO()(net.infer(x), x)
    assert found < plain - 0.8 * (plain - best)


def test_free_bits_are_not_for_refined_posteriors(X):
    vae = VAETransformer(2, objective=ELBO(free_bits=0.1, n_refine=1))
    with pytest.raises(ValueError, match=r"free_bits=0.1, n_refine=1"):
        vae.fit(X)


@pytest.mark.parametrize(
    "latent", [Categorical(), Hierarchical()], ids=["categorical", "hierarchical"]
)
def test_posteriors_that_move_with_the_prior_are_refused(latent, X):
    vae = VAETransformer(2, latent=latent, objective=ELBO(n_refine=1))
    with pytest.raises(ValueError, match=r"n_refine.*posterior of latent"):
        vae.fit(X)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"latent": Gaussian(covariance="full"), "beta": 0.5, "kl_warmup": 0.5},
        {"latent": Gaussian(prior="vamp")},
        {"n_ensemble": 2},
        {"init": "random", "likelihood": "student_t"},
    ],
    ids=str,
)
def test_tables_with_missing_cells_and_weights_are_fitted(params, X):
    X = X[:80].copy()
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    X[0] = np.nan
    vae = VAETransformer(
        2, objective=ELBO(n_refine=2), hidden_layer_sizes=(8,), max_epochs=2
    )
    vae.set_params(random_state=0, **params)
    vae.fit(X, sample_weight=np.linspace(0, 2, len(X)))
    assert np.isfinite(vae.score(X))
    assert np.isfinite(vae.history_[-1]["valid_loss"])
