import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch.distributions import (
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from skvae import UnusedComponentsWarning, VAETransformer
from skvae._distributions._mixtures import DiagonalNormalMixture
from skvae._distributions._normals import CorrelatedNormal
from skvae._distributions._one_hot import OneHotCategoricals
from skvae._model._evidence import VAEOutput
from skvae._utils._seed import seeded
from skvae.latents import Gaussian, MixturePrior
from skvae.objectives import ELBO, IWAE, MMD, OBJECTIVES, TC, VAEGAN, _iwae, _mmd, _tc

# a seeded average further than this from its expectation is a bug, not bad luck
N_STANDARD_ERRORS = 5
IWAE_GRADIENTS = ["doubly_reparametrised", "standard"]

VARIANTS = [
    *(cls() for cls in OBJECTIVES.values()),
    ELBO(n_draws=4),
    ELBO(n_draws=2, free_bits=0.2),
    ELBO(free_bits=100.0),
    IWAE(n_draws=1),
    IWAE(gradient="standard"),
    TC(alpha=0.5, gamma=2.0, n_draws=3),
    TC(estimator="weighted"),
    MMD(kernel="rbf", n_draws=2),
    MMD(alpha=1.0, bandwidth=0.5),
    VAEGAN(gan_weight=0.0, n_draws=2),
]
# draws from the prior, of which there are as many as rows, differ from call to call
DRAWN = MMD, VAEGAN

over_variants = pytest.mark.parametrize("objective", VARIANTS, ids=repr)
over_row_wise = pytest.mark.parametrize(
    "objective", [o for o in VARIANTS if not isinstance(o, DRAWN)], ids=repr
)
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
    return x, VAEOutput(posterior, prior, decode(z), z, decode=decode)


def decode(z):
    decoded = torch.stack([z[..., 0], z[..., 1], z.prod(dim=-1)], dim=-1)
    return Normal(decoded, 0.8)


def take(output, draws, rows=slice(None)):
    """Return the output of some draws and rows alone."""
    posterior, likelihood = output.posterior.base_dist, output.likelihood
    return VAEOutput(
        Independent(Normal(posterior.loc[rows], posterior.scale[rows]), 1),
        output.prior,
        Normal(likelihood.loc[draws][:, rows], likelihood.scale[draws][:, rows]),
        output.z[draws][:, rows],
        decode=output.decode,
    )


@over_variants
@over_priors
def test_loss_is_a_scalar_and_terms_are_means_in_nats(objective, is_mixture):
    x, output = make_output(objective.n_draws, is_mixture)
    loss, terms = objective(output, x)
    assert loss.shape == ()
    assert loss.requires_grad
    assert list(terms) == ["reconstruction", "kl", *objective.extra_terms]
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


@over_row_wise
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
    with seeded(0):
        loss, terms = objective(output, x, weight=torch.full((6,), 2.5).double())
    with seeded(0):
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


@over_variants
@over_priors
def test_copies_count_by_their_weights_and_know_nothing_of_one_another(
    objective, is_mixture
):
    # the draws from the prior differ: MMD is compared by its parts
    is_drawn = isinstance(objective, DRAWN)
    x, output = make_output(objective.n_draws, is_mixture, n_samples=12)
    normal, likelihood = output.posterior.base_dist, output.likelihood
    weight = torch.rand(12, generator=torch.Generator().manual_seed(1)).double()

    def stack(value):
        return value.unflatten(-2, (2, 6))

    stacked = VAEOutput(
        Independent(Normal(stack(normal.loc), stack(normal.scale)), 1),
        output.prior,
        Normal(stack(likelihood.loc), stack(likelihood.scale)),
        stack(output.z),
        decode=decode,
    )
    objective = clone(objective)
    objective.prepare(100)
    for weights in (weight, torch.cat([weight[:6], torch.zeros(6).double()])):
        loss, terms = objective(stacked, stack(x), weights.unflatten(-1, (2, 6)), 0.7)
        parts = []
        for rows in (slice(0, 6), slice(6, 12)):
            share = weights[rows].sum() / weights.sum()
            if share > 0:
                one = take(output, slice(None), rows)
                parts.append((share, *objective(one, x[rows], weights[rows], 0.7)))
        for name in terms:
            if name in ("reconstruction", "kl") or not is_drawn:
                expected = sum(share * found[name] for share, _, found in parts)
                torch.testing.assert_close(terms[name], expected)
        assert torch.isfinite(loss)
        if not is_drawn:
            expected = sum(share * found for share, found, _ in parts)
            torch.testing.assert_close(loss, expected)


@over_variants
def test_rows_without_weight_do_not_count(objective):
    x, output = make_output(objective.n_draws, n_samples=8)
    weight = torch.tensor([1, 2, 1, 0, 3, 1, 0, 1]).double()
    rows = weight > 0
    kept = take(output, slice(None), rows)
    if isinstance(objective, MMD):
        y = torch.randn(objective.n_draws, 8, 2, dtype=torch.float64)
        share = weight / weight.sum()
        for n in (8, 6):
            # of the draws from the prior all count
            some = slice(None) if n == 8 else rows
            found = objective.compute_mmd(output.z[:, some], y, share[some])
            if n == 8:
                expected = found
        torch.testing.assert_close(found, expected)
        return
    if isinstance(objective, VAEGAN):
        # test_objectives_vaegan.py has rows beside draws of their own
        objective = clone(objective).set_params(gan_weight=0.0, feature_weight=0.0)
    loss, _ = objective(output, x, weight)
    expected, _ = objective(kept, x[rows], weight[rows])
    torch.testing.assert_close(loss, expected)


def test_beta_weighs_the_kl_alone():
    x, output = make_output(2)
    low, _ = ELBO(n_draws=2)(output, x, beta=1.0)
    high, terms = ELBO(n_draws=2)(output, x, beta=4.0)
    torch.testing.assert_close(high - low, 3 * terms["kl"])
    free, terms = IWAE(n_draws=1)(take(output, [0]), x, beta=0.0)
    torch.testing.assert_close(free.detach(), -terms["reconstruction"])


# free bits ----------------------------------------------------------------------------


def make_gaussian_output(locs, scales):
    """Return rows and an output whose KL of every component is known."""
    loc = torch.tensor(locs, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(scales, dtype=torch.float64, requires_grad=True)
    posterior = Independent(Normal(loc, scale), 1)
    zeros = torch.zeros(2, dtype=torch.float64)
    prior = Independent(Normal(zeros, torch.ones_like(zeros)), 1)
    with seeded(0):
        z = posterior.rsample((3,))
    return torch.zeros(len(loc), 2).double(), VAEOutput(
        posterior, prior, Normal(z, 1), z
    )


def test_kl_of_a_component_counts_at_least_its_free_bits():
    x, output = make_gaussian_output(
        [[2.0, 0.1], [-1.0, 0.0], [0.5, 0.2]], [[0.3, 0.9], [0.5, 1.0], [0.4, 1.1]]
    )
    loc, scale = (getattr(output.posterior.base_dist, n) for n in ("loc", "scale"))
    weight = torch.tensor([1.0, 2.0, 1.0]).double()
    kl = 0.5 * (loc**2 + scale**2 - 1) - scale.log()
    kl = (weight[:, None] * kl).sum(dim=0) / 4
    # the second is below, the first above
    assert kl[1] < 0.3 < kl[0]
    loss, terms = ELBO(n_draws=3, free_bits=0.3)(output, x, weight, beta=0.5)
    expected = 0.5 * (kl[0] + 0.3) - terms["reconstruction"]
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(terms["kl"], kl.sum().detach())


def test_free_bits_take_the_gradient_of_the_kl_away_and_nothing_else():
    x, output = make_gaussian_output(
        [[2.0, 0.1], [-1.0, 0.0]], [[0.3, 0.9], [0.5, 1.0]]
    )
    normal = output.posterior.base_dist

    def differentiate(objective, beta):
        loss, _ = objective(output, x, beta=beta)
        return torch.autograd.grad(loss, [normal.loc, normal.scale], retain_graph=True)

    free = differentiate(ELBO(n_draws=3, free_bits=0.3), 1.0)
    plain = differentiate(ELBO(n_draws=3), 1.0)
    without = differentiate(ELBO(n_draws=3), 0.0)
    for found, used, unused in zip(free, plain, without, strict=True):
        torch.testing.assert_close(found[:, 0], used[:, 0])
        torch.testing.assert_close(found[:, 1], unused[:, 1])


@over_priors
def test_few_free_bits_are_the_elbo(is_mixture):
    x, output = make_output(2, is_mixture)
    loss, _ = ELBO(n_draws=2, free_bits=1e-6)(output, x)
    expected, _ = ELBO(n_draws=2)(output, x)
    torch.testing.assert_close(loss, expected)


def test_free_bits_of_the_whole_latent_where_the_kl_is_no_sum():
    x, output = make_output(3, is_mixture=True)
    assert output.kl_per_component() is None
    _, terms = ELBO(n_draws=3)(output, x)
    below, above = (terms["kl"].item() * f / 2 for f in (0.9, 1.1))
    loss, _ = ELBO(n_draws=3, free_bits=below)(output, x)
    torch.testing.assert_close(loss, terms["kl"] - terms["reconstruction"])
    loss, _ = ELBO(n_draws=3, free_bits=above)(output, x)
    torch.testing.assert_close(loss, 2 * above - terms["reconstruction"])


def test_free_bits_keep_components_in_use():
    # noise alone: nothing is worth saying of a row
    X = np.random.default_rng(0).standard_normal((200, 4))
    params = {
        "latent": Gaussian(prior="standard"),
        "init": "random",
        "hidden_layer_sizes": (8,),
        "likelihood": "gaussian",
        "early_stopping": False,
        "batch_size": 25,
        "max_epochs": 15,
        "lr": 0.02,
        "random_state": 0,
    }
    kl = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedComponentsWarning)
        for free_bits in (0.0, 0.5):
            objective = ELBO(free_bits=free_bits)
            vae = VAETransformer(2, objective=objective, **params)
            kl[free_bits] = vae.fit(X).kl_per_component_
    assert kl[0.0].sum() < 0.3
    assert (kl[0.5] > 0.35).all()


# doubly reparametrised gradient -------------------------------------------------------


def draw_gradients(n_draws, gradient, n_repeats, beta=1.0):
    """Return gradients of the posterior's parameters, one a repetition.

    The model is z ~ N(0, 1), x ~ N(z, 0.5²) with a posterior that is not exact.
    """
    leaves = [
        torch.full((n_repeats, 1), value, dtype=torch.float64, requires_grad=True)
        for value in (0.9, 0.6)
    ]
    posterior = Independent(Normal(*leaves), 1)
    prior = Independent(Normal(torch.zeros(1).double(), torch.ones(1).double()), 1)
    with seeded(n_draws):
        z = posterior.rsample((n_draws,))
    output = VAEOutput(posterior, prior, Normal(z, 0.5), z)
    x = torch.full((n_repeats, 1), 1.5, dtype=torch.float64)
    weight = torch.ones(n_repeats).double()
    objective = IWAE(n_draws, gradient)
    loss, _ = objective(output, x, weight, beta)
    gradients = torch.autograd.grad(loss * n_repeats, leaves)
    return torch.cat(gradients, dim=-1)


@pytest.mark.parametrize("beta", [1.0, 0.5, 2.0])
@pytest.mark.parametrize("n_draws", [1, 2, 5])
def test_both_gradients_of_the_iwae_have_one_expectation(n_draws, beta):
    n = 50_000
    found = [draw_gradients(n_draws, g, n, beta) for g in IWAE_GRADIENTS]
    # the draws are the same, and so is part of the noise
    difference = found[0] - found[1]
    error = difference.std(dim=0) / n**0.5
    assert (difference.mean(dim=0).abs() < N_STANDARD_ERRORS * error).all()


@pytest.mark.parametrize("gradient", IWAE_GRADIENTS)
def test_draws_of_correlated_posteriors_are_weighed_too(gradient):
    x, leaf = torch.randn(4, 3), torch.full((4, 3), 0.7, requires_grad=True)
    noise, found = torch.randn(5, 4, 3), []
    prior = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)
    for posterior in (
        Independent(Normal(leaf, leaf), 1),
        CorrelatedNormal(leaf, torch.diag_embed(leaf)),
    ):
        z = leaf + leaf * noise
        output = VAEOutput(posterior, prior, Normal(z, 0.5), z)
        loss, _ = IWAE(5, gradient)(output, x)
        found += torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(*found)


def test_gumbel_draws_have_the_standard_gradient():
    # log q of a relaxed draw is no density: weighed draws would have another mean
    logits = torch.randn(2, 1, 4, dtype=torch.float64, requires_grad=True)
    x, found = torch.randn(2, 4, dtype=torch.float64), []
    for gradient in IWAE_GRADIENTS:
        posterior = OneHotCategoricals(logits, temperature=0.5)
        with seeded(0):
            z = posterior.rsample((5,))
        prior = OneHotCategoricals(torch.zeros(1, 4).double())
        loss, _ = IWAE(5, gradient)(VAEOutput(posterior, prior, Normal(z, 0.5), z), x)
        found += torch.autograd.grad(loss, logits)
    torch.testing.assert_close(*found)


def test_gradient_without_weighing_the_draws_is_biased(monkeypatch):
    # what Roeder et al. (2017) proposed: the test above tells it from the right one
    monkeypatch.setattr(_iwae, "_weigh", lambda log_weights, *_, **__: log_weights**0)
    n = 50_000
    found = [draw_gradients(5, gradient, n) for gradient in IWAE_GRADIENTS]
    difference = found[0] - found[1]
    error = difference.std(dim=0) / n**0.5
    assert (difference.mean(dim=0).abs() > N_STANDARD_ERRORS * error).any()


def test_signal_beside_noise_grows_with_draws_for_the_doubly_reparametrised():
    def compute_ratio(n_draws, gradient):
        found = draw_gradients(n_draws, gradient, 20_000)
        return (found.mean(dim=0).abs() / found.std(dim=0)).numpy()

    doubly = [compute_ratio(k, "doubly_reparametrised") for k in (4, 16, 64)]
    standard = [compute_ratio(k, "standard") for k in (4, 16, 64)]
    # as √K and 1 / √K, so twice and half from one to the next
    for fewer, more in itertools.pairwise(doubly):
        assert (more > 1.5 * fewer).all()
    for fewer, more in itertools.pairwise(standard):
        assert (more < fewer / 1.4).all()


def test_gradient_of_decoder_and_prior_is_that_of_the_bound():
    gradients = {}
    for gradient in IWAE_GRADIENTS:
        x, output = make_output(4)
        loc = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        noise = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
        prior = Independent(Normal(loc, torch.ones_like(loc)), 1)
        likelihood = Normal(output.likelihood.loc, noise)
        output = VAEOutput(output.posterior, prior, likelihood, output.z)
        loss, _ = IWAE(4, gradient)(output, x)
        gradients[gradient] = torch.autograd.grad(loss, [loc, noise])
    torch.testing.assert_close(*gradients.values())


def test_draws_without_gradient_have_the_standard_one():
    gradients = {}
    for gradient in IWAE_GRADIENTS:
        x, output = make_output(4)
        normal = output.posterior.base_dist
        z = output.z.detach()
        output = VAEOutput(output.posterior, output.prior, Normal(x, 1.0), z)
        loss, _ = IWAE(4, gradient)(output, x)
        gradients[gradient] = torch.autograd.grad(loss, [normal.loc, normal.scale])
    torch.testing.assert_close(*gradients.values())


# total correlation --------------------------------------------------------------------


def make_table(n_samples=40, seed=0):
    """Return posteriors of all rows of a table with correlated means."""
    generator = torch.Generator().manual_seed(seed)
    loc = torch.randn(n_samples, 2, generator=generator, dtype=torch.float64)
    loc[:, 1] = 0.9 * loc[:, 0] + 0.4 * loc[:, 1]
    scale = 0.2 + torch.rand(n_samples, 2, generator=generator, dtype=torch.float64)
    return loc, scale


def make_table_output(loc, scale, z):
    zeros = torch.zeros(2, dtype=torch.float64)
    prior = Independent(Normal(zeros, torch.ones_like(zeros)), 1)
    posterior = Independent(Normal(loc, scale), 1)
    return VAEOutput(posterior, prior, Normal(z, 1.0), z)


@over_priors
@pytest.mark.parametrize("estimator", ["stratified", "weighted"])
def test_total_correlation_with_weights_of_one_is_the_elbo(is_mixture, estimator):
    x, output = make_output(3, is_mixture)
    objective = TC(beta_tc=1.0, n_draws=3, estimator=estimator)
    objective.prepare(50)
    weight = torch.linspace(0.5, 2, 6).double()
    loss, terms = objective(output, x, weight, beta=0.7)
    expected, expected_terms = ELBO(3)(output, x, weight, beta=0.7)
    torch.testing.assert_close(loss, expected)
    for name in expected_terms:
        torch.testing.assert_close(terms[name], expected_terms[name])
    # the three parts are the KL, draw by draw, however q(z) is estimated
    parts = objective._split_kl(output, weight / weight.sum())
    torch.testing.assert_close(sum(parts), output.log_ratio())


def test_a_batch_of_all_rows_knows_the_aggregate_posterior():
    loc, scale = make_table()
    with seeded(0):
        z = Normal(loc, scale).sample((4,))
    mixture = torch.distributions.Categorical(torch.ones(40).double())
    joint = MixtureSameFamily(mixture, Independent(Normal(loc, scale), 1))
    marginals = [
        MixtureSameFamily(mixture, Normal(loc[:, k], scale[:, k])) for k in range(2)
    ]
    log_joint = joint.log_prob(z)
    log_marginals = sum(m.log_prob(z[..., k]) for k, m in enumerate(marginals))
    objective = TC(n_draws=4)
    objective.prepare(40)
    output = make_table_output(loc, scale, z)
    _, terms = objective(output, torch.zeros(40, 2).double())
    expected = (log_joint - log_marginals).mean()
    torch.testing.assert_close(terms["total_correlation"], expected)
    found = objective._split_kl(output, torch.full((40,), 1 / 40).double())
    log_prior = output.prior.log_prob(z)
    log_posterior = output.posterior.log_prob(z)
    torch.testing.assert_close(found[0], log_posterior - log_joint)
    torch.testing.assert_close(found[2], log_marginals - log_prior)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_stratified_estimate_of_the_aggregate_posterior_is_unbiased(is_weighted):
    loc, scale = make_table()
    weight = torch.ones(40).double()
    if is_weighted:
        # equal in a batch: its rows stand for the table
        weight[:] = 3.0
    with seeded(0):
        z = Normal(loc, scale).sample()
        batches = [torch.randperm(40)[:10] for _ in range(1500)]
    exact = (
        Independent(Normal(loc, scale), 1).log_prob(z.unsqueeze(1)).exp().mean(dim=1)
    )
    objective = TC()
    objective.prepare(40)
    found = torch.full((len(batches), 40), torch.nan, dtype=torch.float64)
    for i, rows in enumerate(batches):
        output = make_table_output(loc[rows], scale[rows], z[rows].unsqueeze(0))
        share = weight[rows] / weight[rows].sum()
        found[i, rows] = objective._estimate(output, share)[0][0].exp()
    mean = found.nanmean(dim=0)
    count = found.isfinite().sum(dim=0)
    error = ((found - mean) ** 2).nanmean(dim=0).sqrt() / count.sqrt()
    assert ((mean - exact).abs() < N_STANDARD_ERRORS * error).all()
    # where the row itself counts for as much as another, the estimate is too high
    high = TC(estimator="weighted")
    output = make_table_output(loc[:10], scale[:10], z[:10].unsqueeze(0))
    share = torch.full((10,), 0.1).double()
    ratio = high._estimate(output, share)[0] - objective._estimate(output, share)[0]
    assert ratio.mean() > 0


def test_total_correlation_takes_rows_in_chunks(monkeypatch):
    x, output = make_output(3)
    expected, _ = TC(n_draws=3)(output, x)
    monkeypatch.setattr(_tc, "_CHUNK_VALUES", 70)
    loss, _ = TC(n_draws=3)(output, x)
    torch.testing.assert_close(loss, expected)


def test_components_without_densities_are_refused_with_the_way_out():
    loc = torch.zeros(4, 2).double()
    posterior = MultivariateNormal(loc, torch.eye(2).double())
    output = VAEOutput(posterior, posterior, Normal(loc[None], 1.0), loc[None])
    with pytest.raises(TypeError, match=r"MultivariateNormal.*no densities"):
        TC()(output, loc)


def test_a_large_weight_takes_total_correlation_away(X):
    params = {"hidden_layer_sizes": (8,), "max_epochs": 8, "random_state": 0}
    params |= {"early_stopping": False, "lr": 0.02}
    found = {}
    for beta_tc in (0.0, 30.0):
        vae = VAETransformer(2, objective=TC(beta_tc=beta_tc), **params).fit(X)
        found[beta_tc] = vae.history_[-1]["train_total_correlation"]
    assert found[30.0] < found[0.0] - 0.05


# maximum mean discrepancy -------------------------------------------------------------


def test_mmd_meets_its_closed_form_for_normal_laws():
    # E exp(-|d|²/2h²) for d ~ N(m, v I) is (h²/(h²+v))^(q/2) exp(-|m|²/2(h²+v))
    n, q, bandwidth = 100, 3, 0.8
    m, s = torch.tensor([0.5, -0.3, 0.0]).double(), 0.6
    square = bandwidth**2 * q

    def expect(mean, variance):
        factor = (square / (square + variance)) ** (q / 2)
        return factor * math.exp(-(mean**2).sum() / (2 * (square + variance)))

    exact = expect(0 * m, 2 * s**2) - 2 * expect(m, s**2 + 1) + expect(0 * m, 2)
    with seeded(0):
        z = m + s * torch.randn(200, n, q, dtype=torch.float64)
        y = torch.randn(200, n, q, dtype=torch.float64)
        weight = 0.5 + torch.rand(n, dtype=torch.float64)
    objective = MMD(kernel="rbf", bandwidth=bandwidth)
    for share in (torch.full((n,), 1 / n).double(), weight / weight.sum()):
        found = objective.compute_mmd(z, y, share)
        assert found.shape == (200,)
        error = found.std() / 200**0.5
        assert error < 0.05 * exact
        assert abs(found.mean() - exact) < N_STANDARD_ERRORS * error


@pytest.mark.parametrize("kernel", ["rbf", "inverse_multiquadratic"])
def test_mmd_is_the_average_over_pairs(kernel):
    with seeded(0):
        z, y = torch.randn(2, 5, 2, dtype=torch.float64)
    square = 2 * 0.7**2 * 2

    def compare(a, b):
        distance = ((a - b) ** 2).sum()
        if kernel == "rbf":
            return torch.exp(-distance / square)
        return square / (square + distance)

    pairs = list(itertools.permutations(range(5), 2))
    expected = (
        sum(compare(z[i], z[j]) + compare(y[i], y[j]) for i, j in pairs) / 20
        - 2 * sum(compare(a, b) for a in z for b in y) / 25
    )
    found = MMD(kernel=kernel, bandwidth=0.7).compute_mmd(z, y, torch.full((5,), 0.2))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_mmd_of_equal_laws_is_zero_on_average():
    with seeded(0):
        z, y = torch.randn(2, 2000, 30, 2, dtype=torch.float64)
    found = MMD().compute_mmd(z, y, torch.full((30,), 1 / 30).double())
    assert found.mean().abs() < N_STANDARD_ERRORS * found.std() / 2000**0.5
    assert (found < 0).any()


@over_priors
def test_infovae_is_the_elbo_without_mmd(is_mixture):
    x, output = make_output(2, is_mixture)
    loss, _ = MMD(alpha=0.0, penalty=1.0, n_draws=2)(output, x, beta=0.7)
    expected, _ = ELBO(2)(output, x, beta=0.7)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_terms_of_infovae_add_up(beta):
    x, output = make_output(2)
    loss, terms = MMD(alpha=0.3, penalty=5.0, n_draws=2)(output, x, beta=beta)
    expected = 0.7 * terms["kl"] + 4.3 * terms["mmd"]
    torch.testing.assert_close(loss, beta * expected - terms["reconstruction"])


@pytest.mark.parametrize("n_copies", [None, 3])
@pytest.mark.parametrize("prior", ["standard", "mixture"])
def test_mmd_draws_from_the_prior_of_every_copy(n_copies, prior):
    prior = Gaussian(prior=prior, n_mixture=2).make_prior(2, n_copies)
    copies = () if n_copies is None else (n_copies,)
    if isinstance(prior, MixturePrior) and n_copies:
        with torch.no_grad():
            prior.logits[..., 1] = 30.0
            prior.loc[..., 0, :] = 100 * torch.arange(3.0)[:, None, None]
    z = torch.zeros(2, *copies, 400, 2)
    with seeded(0):
        y = _mmd.draw_prior(VAEOutput(None, prior(), None, z))
    assert y.shape == z.shape
    assert y.dtype == z.dtype
    # but for a few that rounding makes equal
    assert len(y.unique()) > 0.99 * y.numel()
    mean = y.mean(dim=(0, -2))
    expected = torch.zeros(*copies, 2)
    if isinstance(prior, MixturePrior) and n_copies:
        expected = expected + 100 * torch.arange(3.0)[:, None]
    assert (mean - expected).abs().max() < N_STANDARD_ERRORS / 800**0.5


def test_a_row_alone_has_no_mmd():
    x, output = make_output(2, n_samples=1)
    loss, terms = MMD(n_draws=2)(output, x)
    assert terms["mmd"] == 0
    assert torch.isfinite(loss)


# in an estimator ----------------------------------------------------------------------

ELSEWHERE = [
    ELBO(free_bits=0.1),
    ELBO(n_refine=2),
    IWAE(3, "standard"),
    TC(n_draws=2),
    TC(alpha=0.5, gamma=2.0, estimator="weighted"),
    MMD(n_draws=2),
    MMD(alpha=1.0, kernel="rbf"),
    VAEGAN(n_draws=2),
    VAEGAN(elbo_weight=0.0, hidden_layer_sizes=(8,)),
]


@pytest.mark.parametrize("objective", ELSEWHERE, ids=repr)
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"kl_warmup": 0.5, "beta": 0.5},
        {"hidden_layer_sizes": ()},
        {"latent": Gaussian(prior="standard"), "init": "random"},
    ],
    ids=str,
)
def test_objectives_train_and_leave_the_score_what_it_is(objective, params, X):
    X = X[:60]
    weight = np.linspace(0.5, 2, len(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedComponentsWarning)
        small = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
        vae = VAETransformer(2, objective=objective, **(small | params))
        vae.fit(X, sample_weight=weight)
    for name in ("reconstruction", "kl", *objective.extra_terms):
        assert np.isfinite(vae.history_[-1][f"train_{name}"])
        assert np.isfinite(vae.history_[-1][f"valid_{name}"])
    elbo = vae.score_samples(X, "reconstruction") - vae.score_samples(X, "kl")
    np.testing.assert_allclose(vae.score_samples(X), elbo, rtol=1e-9, atol=1e-9)
    assert vae.score(X) == pytest.approx(elbo.mean())


@pytest.mark.parametrize("objective", [TC(), MMD()], ids=repr)
def test_rows_are_judged_the_same_at_every_call(objective, X):
    judged = []

    class Judge(Callback):
        def on_epoch_end(self, net, dataset_valid=None, **kwargs):
            judged.append([net.compute_valid_loss(dataset_valid) for _ in range(2)])
            judged[-1].append(net.history[-1]["valid_loss"])

    params = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
    params["net_callbacks"] = [Judge()]
    vae = VAETransformer(2, objective=objective, **params).fit(X)
    # like the objective's n_samples, rows of the training part
    assert vae.net_.criterion_.objective.n_samples < len(X)
    assert objective.n_samples is None
    for one, other, recorded in judged:
        assert one == other
        assert recorded == pytest.approx(one, rel=1e-6)


def test_training_goes_on_with_the_rows_that_it_is_given(X):
    vae = VAETransformer(2, objective="tc", hidden_layer_sizes=(8,), random_state=0)
    vae.partial_fit(X[:100])
    assert vae.net_.criterion_.objective.n_samples == 100
    vae.partial_fit(X[100:150])
    assert vae.net_.criterion_.objective.n_samples == 50
    assert np.isfinite(vae.score(X))


def test_parameters_can_be_searched(X):
    vae = VAETransformer(
        2, objective=TC(), hidden_layer_sizes=(), max_epochs=1, random_state=0
    )
    search = GridSearchCV(vae, {"objective__beta_tc": [1.0, 4.0]}, cv=2).fit(X)
    assert search.best_params_["objective__beta_tc"] in (1.0, 4.0)


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("n_draws", ELBO(0)),
        ("n_draws", IWAE(-1)),
        ("n_draws", ELBO(2.5)),
        ("n_draws", TC(n_draws=0)),
        ("n_draws", MMD(n_draws=0)),
        ("free_bits", ELBO(free_bits=-0.1)),
        ("free_bits", ELBO(free_bits=math.inf)),
        ("free_bits", ELBO(free_bits="0.1")),
        ("n_refine", ELBO(n_refine=-1)),
        ("refine_lr", ELBO(refine_lr=0.0)),
        ("gradient", IWAE(gradient="double")),
        ("alpha", TC(alpha=-1)),
        ("beta_tc", TC(beta_tc=math.nan)),
        ("gamma", TC(gamma=None)),
        ("estimator", TC(estimator="mws")),
        ("alpha", MMD(alpha=1.5)),
        ("penalty", MMD(alpha=0.5, penalty=0.4)),
        ("kernel", MMD(kernel="linear")),
        ("bandwidth", MMD(bandwidth=0.0)),
        ("gan_weight", VAEGAN(gan_weight=-1.0)),
        ("elbo_weight=0, gan_weight=0", VAEGAN(elbo_weight=0, gan_weight=0)),
        ("penalty", VAEGAN(penalty=math.nan)),
        ("discriminator_lr", VAEGAN(discriminator_lr=0.0)),
        ("hidden_layer_sizes", VAEGAN(hidden_layer_sizes=())),
    ],
    ids=repr,
)
def test_parameters_out_of_range_are_refused_by_name(name, objective):
    X = np.random.default_rng(0).standard_normal((30, 3))
    with pytest.raises((ValueError, TypeError), match=name):
        VAETransformer(1, objective=objective, max_epochs=0).fit(X)


@over_variants
def test_parameters_survive_clone(objective):
    copy = clone(objective)
    assert copy is not objective
    assert copy.get_params() == objective.get_params()
    assert copy.n_draws == objective.n_draws
