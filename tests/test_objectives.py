import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch.distributions import Independent, Normal

from skvae import VAETransformer
from skvae._evidence import VAEOutput
from skvae._seed import seeded
from skvae.distributions import DiagonalNormalMixture
from skvae.objectives import ELBO, IWAE, OBJECTIVES

# a seeded average further than this from its expectation is a bug, not bad luck
N_STANDARD_ERRORS = 5

VARIANTS = [*(cls() for cls in OBJECTIVES.values()), ELBO(n_draws=4), IWAE(n_draws=1)]

over_variants = pytest.mark.parametrize("objective", VARIANTS, ids=repr)
over_priors = pytest.mark.parametrize("is_mixture", [False, True])


def make_output(n_draws, is_mixture=False, n_samples=6, seed=0):
    """Return rows (n, 3) and what a rough model of them says, float64."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n_samples, 3, generator=generator, dtype=torch.float64)
    loc = (0.4 * x[:, :2]).requires_grad_()
    scale = torch.full_like(loc, 0.7).requires_grad_()
    posterior = Independent(Normal(loc, scale), 1)
    zeros = torch.zeros(2, dtype=torch.float64)
    prior = Independent(Normal(zeros, torch.ones_like(zeros)), 1)
    if is_mixture:
        # torch knows no KL to it: it is sampled
        zeros = zeros.expand(2, 2)
        prior = DiagonalNormalMixture(torch.zeros(2).double(), zeros, zeros)
    with seeded(seed):
        z = posterior.rsample((n_draws,))
    decoded = torch.stack([z[..., 0], z[..., 1], z.prod(dim=-1)], dim=-1)
    return x, VAEOutput(posterior, prior, Normal(decoded, 0.8), z)


def take(output, draws, rows=slice(None)):
    """Return the output of some draws and rows alone."""
    posterior, likelihood = output.posterior.base_dist, output.likelihood
    return VAEOutput(
        Independent(Normal(posterior.loc[rows], posterior.scale[rows]), 1),
        output.prior,
        Normal(likelihood.loc[draws][:, rows], likelihood.scale[draws][:, rows]),
        output.z[draws][:, rows],
    )


@over_variants
@over_priors
def test_loss_is_a_scalar_and_terms_are_means_in_nats(objective, is_mixture):
    x, output = make_output(objective.n_draws, is_mixture)
    loss, terms = objective(output, x)
    assert loss.shape == ()
    assert loss.requires_grad
    assert set(terms) == {"reconstruction", "kl"}
    expected = output.log_likelihood(x).mean()
    torch.testing.assert_close(terms["reconstruction"], expected.detach())
    for term in terms.values():
        assert term.shape == ()
        assert not term.requires_grad


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 4.0])
@over_priors
def test_terms_of_the_elbo_add_up(beta, is_mixture):
    x, output = make_output(3, is_mixture)
    loss, terms = ELBO(n_draws=3)(output, x, beta=beta)
    torch.testing.assert_close(loss, beta * terms["kl"] - terms["reconstruction"])
    torch.testing.assert_close(terms["kl"], output.kl().mean().detach())


def test_elbo_is_the_negative_mean_log_weight_where_the_kl_is_sampled():
    x, output = make_output(3, is_mixture=True)
    loss, _ = ELBO(n_draws=3)(output, x)
    torch.testing.assert_close(loss, -output.log_weights(x).mean())


def test_iwae_of_one_draw_is_the_elbo_with_a_sampled_kl():
    x, output = make_output(1, is_mixture=True)
    one, terms = IWAE(n_draws=1)(output, x)
    other, expected = ELBO()(output, x)
    torch.testing.assert_close(one, other)
    for name in terms:
        torch.testing.assert_close(terms[name], expected[name])


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_iwae_of_one_draw_is_the_elbo_in_expectation(beta):
    x, output = make_output(4000)
    objective = IWAE(n_draws=1)
    losses = torch.stack(
        [objective(take(output, [i]), x, beta=beta)[0] for i in range(1000)]
    )
    expected, _ = ELBO(n_draws=4000)(output, x, beta=beta)
    error = losses.std() / len(losses) ** 0.5
    # the mean of the 4000 draws has half the error of the 1000
    assert (losses.mean() - expected).abs() < N_STANDARD_ERRORS * 1.5 * error


@over_priors
def test_importance_weighted_bound_tightens_with_draws(is_mixture):
    # the bound of all draws against the mean bound of their parts, by Jensen never less
    x, output = make_output(16, is_mixture)
    losses = []
    for n_draws in (1, 2, 4, 16):
        objective = IWAE(n_draws)
        parts = [
            objective(take(output, slice(begin, begin + n_draws)), x)[0]
            for begin in range(0, 16, n_draws)
        ]
        losses.append(torch.stack(parts).mean().item())
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.1


@over_variants
@over_priors
def test_integer_weights_are_repeated_rows(objective, is_mixture):
    x, output = make_output(objective.n_draws, is_mixture)
    times = torch.tensor([1, 3, 0, 2, 1, 1])
    rows = torch.repeat_interleave(torch.arange(6), times)
    loss, terms = objective(output, x, weight=times.double(), beta=0.7)
    repeated = take(output, slice(None), rows)
    expected, expected_terms = objective(repeated, x[rows], beta=0.7)
    torch.testing.assert_close(loss, expected)
    for name in terms:
        torch.testing.assert_close(terms[name], expected_terms[name])


@over_variants
def test_equal_weights_are_no_weights(objective):
    x, output = make_output(objective.n_draws)
    loss, terms = objective(output, x, weight=torch.full((6,), 2.5).double())
    expected, expected_terms = objective(output, x)
    torch.testing.assert_close(loss, expected)
    for name in terms:
        torch.testing.assert_close(terms[name], expected_terms[name])


@over_variants
@over_priors
def test_loss_reaches_posterior_and_likelihood(objective, is_mixture):
    x, output = make_output(objective.n_draws, is_mixture)
    loss, _ = objective(output, x)
    normal = output.posterior.base_dist
    for gradient in torch.autograd.grad(loss, [normal.loc, normal.scale]):
        assert torch.isfinite(gradient).all()
        assert (gradient != 0).all()


def test_beta_weighs_the_kl_alone():
    x, output = make_output(2)
    low, _ = ELBO(n_draws=2)(output, x, beta=1.0)
    high, terms = ELBO(n_draws=2)(output, x, beta=4.0)
    torch.testing.assert_close(high - low, 3 * terms["kl"])
    free, terms = IWAE(n_draws=1)(take(output, [0]), x, beta=0.0)
    torch.testing.assert_close(free.detach(), -terms["reconstruction"])


@pytest.mark.parametrize("objective", [ELBO(0), IWAE(-1), ELBO(2.5)], ids=repr)
def test_parameters_out_of_range_are_refused_by_name(objective):
    X = np.random.default_rng(0).standard_normal((30, 3))
    with pytest.raises((ValueError, TypeError), match="n_draws"):
        VAETransformer(1, objective=objective, max_epochs=0).fit(X)


@over_variants
def test_parameters_survive_clone(objective):
    copy = clone(objective)
    assert copy is not objective
    assert copy.get_params() == objective.get_params()
    assert copy.n_draws == objective.n_draws
