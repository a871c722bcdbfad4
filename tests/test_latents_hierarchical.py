import numpy as np
import pytest
import torch
from scipy.integrate import simpson
from torch.distributions import Independent, Normal

from skvae import VAETransformer
from skvae._distributions._base import detach
from skvae._model._evidence import VAEOutput, make_noise
from skvae._model._module import VAEModule
from skvae._start import initialize_linear, initialize_random, stack_tensors
from skvae._training._splits import Splits
from skvae._utils._seed import seeded
from skvae.datasets import make_factors, make_spiral
from skvae.latents import Gaussian, Hierarchical
from skvae.likelihoods import Bernoulli, GaussianMixture
from skvae.likelihoods import Gaussian as GaussianNoise
from skvae.networks import MLP
from skvae.objectives import ELBO

# a seeded average further than this from its expectation is a bug, not bad luck
N_STANDARD_ERRORS = 5

VARIANTS = [
    Hierarchical((2, 1)),
    Hierarchical((2, 1), inference="bottom_up"),
    Hierarchical((1, 1, 1), decoder="all"),
    Hierarchical((1, 1, 1), inference="bottom_up", hidden_layer_sizes=()),
    Hierarchical((2, 1), decoder="all"),
]
over_variants = pytest.mark.parametrize("latent", VARIANTS, ids=repr)
quiet = pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def randomize(module, scale=0.5, seed=0):
    with torch.no_grad():
        for i, parameter in enumerate(module.parameters()):
            # single precision holds them too
            values = scale * draw(*parameter.shape, seed=seed + i)
            parameter.copy_(values.float())
    return module


def make_distributions(latent, n_samples=4, q=3, scale=0.5):
    """Return posterior and prior with networks away from where they start."""
    prior = randomize(latent.make_prior(q).double(), scale)
    raw = 0.5 * draw(n_samples, *latent.raw_shape(q), seed=90)
    loc = draw(n_samples, q, seed=91)
    spread = 0.3 + 0.6 * torch.rand(n_samples, q, dtype=torch.float64)
    return latent.posterior(raw, loc, spread, prior=prior), prior()


def make_module(
    latent, likelihood=None, q=3, n_copies=None, random=False, n_samples=40
):
    likelihood = GaussianNoise() if likelihood is None else likelihood
    X, _ = make_factors(n_samples, 6, n_components=2, random_state=0)
    x = (X - X.mean(axis=0)) / X.std(axis=0)
    if not likelihood.link.is_scaled:
        x = (x > 0).astype(float)
    rows = np.arange(n_samples)
    splits = Splits([rows] * (n_copies or 1), [], rows)
    if random:
        starts = initialize_random(x, None, splits, q, likelihood.link)
    else:
        n_linear = latent.count_linear_components(q)
        arguments = x, None, splits, q, likelihood.link, np.ones(6), n_linear
        starts = initialize_linear(*arguments)
    with seeded(0):
        module = VAEModule(
            MLP((8,)), latent, likelihood, stack_tensors(starts), n_copies, not random
        )
    scaled = [torch.as_tensor((x - s.shift) / s.unit) for s in starts]
    return module.double(), (torch.stack(scaled) if n_copies else scaled[0]), starts, x


# what holds for all of them -----------------------------------------------------------


@over_variants
def test_draws_have_the_density_that_log_prob_says(latent):
    # E_q[r(z)/q(z)] = 1 for any density r within the tails of q
    with seeded(0):
        for distribution in make_distributions(latent, scale=0.2):
            for z in (
                distribution.sample((20_000,)),
                distribution.transform(torch.randn(20_000, 1, 3)),
            ):
                with torch.no_grad():
                    flat = z.reshape(20_000, -1, 3)
                    loc, spread = flat.mean(dim=0), flat.std(dim=0)
                    other = Independent(Normal(loc, 0.6 * spread), 1)
                    log_ratio = other.log_prob(flat) - distribution.log_prob(z).view(
                        20_000, -1
                    )
                    ratio = log_ratio.exp()
                error = ratio.std(dim=0) / 20_000**0.5
                assert ((ratio.mean(dim=0) - 1).abs() < 5 * error + 1e-12).all()
                assert error.max() < 0.05


@pytest.mark.parametrize("inference", ["top_down", "bottom_up"])
def test_densities_integrate_to_one(inference):
    latent = Hierarchical((1, 1), inference=inference)
    grid = torch.linspace(-12, 12, 601, dtype=torch.float64)
    z = torch.cartesian_prod(grid, grid).view(601, 601, 1, 2)
    for distribution in make_distributions(latent, n_samples=1, q=2, scale=0.2):
        density = distribution.log_prob(z).exp().detach().reshape(601, 601).numpy()
        total = simpson(simpson(density, x=grid.numpy()), x=grid.numpy())
        assert total == pytest.approx(1, abs=1e-5)


@over_variants
def test_top_down_conditional_weighs_by_precision(latent):
    posterior, prior = make_distributions(latent)
    z = draw(4, 3, seed=5)
    if latent.inference == "bottom_up":
        return
    above = z[:, -1:]
    i = len(posterior.sizes) - 2
    loc, scale = posterior.conditionals[i](above)
    prior_loc, prior_scale = prior.conditionals[i](above)
    hat_loc, hat_scale = posterior.conditionals[i].get_loc_scale()
    # the estimate from below: the recentred posterior without its N(0, I)
    precision = hat_scale**-2 - 1
    estimate = hat_loc * hat_scale**-2 / precision
    total = precision + prior_scale**-2
    expected = (estimate * precision + prior_loc * prior_scale**-2) / total
    torch.testing.assert_close(loc, expected)
    torch.testing.assert_close(scale, total**-0.5)


@over_variants
def test_zero_raw_with_untrained_networks_is_the_linear_posterior(latent):
    n = latent.count_linear_components(3)
    prior = latent.make_prior(3).double()
    loc, scale = draw(4, 3), torch.full((4, 3), 0.4).double()
    loc[:, n:], scale[:, n:] = 0.0, 1.0
    posterior = latent.posterior(
        torch.zeros(4, *latent.raw_shape(3)), loc, scale, prior
    )
    torch.testing.assert_close(posterior.mean, loc)
    # where nothing is left of the prior's precision, a hundredth has to be
    torch.testing.assert_close(posterior.stddev, scale, rtol=0, atol=6e-3)
    torch.testing.assert_close(posterior.stddev[:, :n], scale[:, :n])


@pytest.mark.parametrize("inference", ["top_down", "bottom_up"])
def test_layers_that_do_not_depend_on_one_another_are_a_flat_gaussian(inference):
    latent, flat = Hierarchical((2, 1), inference=inference), Gaussian("standard")
    prior, standard = latent.make_prior(3).double(), flat.make_prior(3).double()
    loc, scale = draw(4, 3), 0.2 + 0.5 * torch.rand(4, 3).double()
    loc[:, 2:], scale[:, 2:] = 0.0, 1.0
    raw = torch.zeros(4, *latent.raw_shape(3))
    one = latent.posterior(raw, loc, scale, prior)
    other = flat.posterior(torch.zeros(4, 2, 3), loc, scale)
    noise = draw(50, 1, 3, seed=3)
    z = latent.draw(one, noise)
    torch.testing.assert_close(z, flat.draw(other, noise))
    torch.testing.assert_close(one.log_prob(z), other.log_prob(z))
    torch.testing.assert_close(prior().log_prob(z), standard().log_prob(z))
    ratio = latent.log_ratio_per_component(one, prior(), z)
    expected = flat.log_ratio_per_component(other, standard(), z)
    torch.testing.assert_close(ratio, expected)


@over_variants
def test_posterior_is_finite_at_extreme_raw_values(latent):
    prior = randomize(latent.make_prior(3).double())
    raw = (1e3 * draw(4, *latent.raw_shape(3)).sign()).requires_grad_()
    loc, scale = 1e6 * draw(4, 3), torch.full((4, 3), 0.5).double()
    posterior = latent.posterior(raw, loc, scale, prior)
    with seeded(0):
        z = latent.draw(posterior, n_draws=2)
    log_prob = posterior.log_prob(z.detach()).sum() + z.sum()
    (gradient,) = torch.autograd.grad(log_prob, raw)
    assert torch.isfinite(gradient).all()
    assert (posterior.stddev > 0).all()


@over_variants
def test_recentred_posterior_is_itself(latent):
    prior = randomize(latent.make_prior(3).double())
    raw = 0.5 * draw(4, *latent.raw_shape(3), seed=1)
    loc, scale = draw(4, 3), torch.full((4, 3), 0.6).double()
    posterior = latent.posterior(raw, loc, scale, prior)
    again = latent.posterior(
        torch.zeros_like(raw), *latent.get_loc_scale(posterior), prior
    )
    noise = draw(5, 1, 3, seed=2)
    torch.testing.assert_close(again.transform(noise), posterior.transform(noise))


@over_variants
def test_detached_distribution_is_the_same_without_gradients_but_by_z(latent):
    posterior, _ = make_distributions(latent)
    raw = torch.zeros(4, *latent.raw_shape(3)).requires_grad_()
    prior = randomize(latent.make_prior(3).double())
    posterior = latent.posterior(raw, draw(4, 3), torch.full((4, 3), 0.6), prior)
    z = draw(4, 3, seed=7).requires_grad_()
    constant = detach(posterior).log_prob(z)
    torch.testing.assert_close(constant, posterior.log_prob(z))
    weights = [raw, *prior.parameters()]
    grads = torch.autograd.grad(constant.sum(), [z, *weights], allow_unused=True)
    assert grads[0].any()
    assert all(g is None for g in grads[1:])


@over_variants
def test_components_sum_to_the_log_ratio_and_the_kl_is_positive(latent):
    posterior, prior = make_distributions(latent)
    with seeded(0):
        z = posterior.sample((20_000,))
    with torch.no_grad():
        output = VAEOutput(posterior, prior, None, z)
        parts = latent.log_ratio_per_component(posterior, prior, z)
        torch.testing.assert_close(parts.sum(dim=-1), output.log_ratio())
        kl = output.kl()
        error = kl.std(dim=0) / 20_000**0.5
        assert (kl.mean(dim=0) > -N_STANDARD_ERRORS * error).all()


# the module ---------------------------------------------------------------------------


@over_variants
@pytest.mark.parametrize(
    "likelihood", [GaussianNoise(), GaussianMixture(), Bernoulli()], ids=repr
)
def test_module_without_corrections_is_the_linear_model(latent, likelihood):
    module, rows, (start,), x = make_module(latent, likelihood)
    noise = make_noise(4, 3, np.random.default_rng(0))
    log_weights = module(rows, noise=noise).log_weights(rows)
    n_linear = latent.count_linear_components(3)
    flat = initialize_linear(
        x,
        None,
        Splits([np.arange(40)], [], np.arange(40)),
        n_linear,
        likelihood.link,
        np.ones(6),
    )[0]
    with seeded(0):
        linear = VAEModule(
            MLP((8,)), Gaussian("standard"), likelihood, flat.tensors
        ).double()
    expected = linear(rows, noise=noise[:, :n_linear]).log_weights(rows)
    is_padded = len(latent.sizes) > 2 and latent.inference == "top_down"
    # the middle layer's posterior has a hundredth of precision of its own
    atol = 0.1 if is_padded else 1e-9
    torch.testing.assert_close(log_weights, expected, rtol=0, atol=atol)
    if likelihood.link.is_scaled:
        truth = start.model.score_samples(x) + np.log(start.unit).sum()
        mean = log_weights.mean(dim=0).detach().numpy()
        np.testing.assert_allclose(mean, truth, atol=1e-4 if is_padded else 1e-9)


@pytest.mark.parametrize("inference", ["top_down", "bottom_up"])
@pytest.mark.parametrize("decoder", ["all", "bottom"])
def test_elbo_is_below_the_evidence_by_quadrature(inference, decoder):
    latent = Hierarchical((1, 1), inference=inference, decoder=decoder)
    module, rows, *_ = make_module(latent, q=2)
    # rows that the posterior is close enough to for importance weights (an effective
    # sample of more than half the draws), and layers that do depend
    rows = rows[[2, 5, 20]]
    randomize(module, 0.02)
    randomize(module.prior, 0.2)
    grid = torch.linspace(-9, 9, 361, dtype=torch.float64)
    z = torch.cartesian_prod(grid, grid).view(-1, 1, 2)
    with torch.no_grad():
        log_joint = module.decode(z).log_prob(rows).sum(-1) + module.prior().log_prob(z)
        highest = log_joint.amax(dim=0)
        density = (log_joint - highest).exp().view(361, 361, 3).numpy()
        inner = simpson(density, x=grid.numpy(), axis=0)
        evidence = np.log(simpson(inner, x=grid.numpy(), axis=0)) + highest.numpy()
        output = module(rows, n_draws=20_000)
        log_weights = output.log_weights(rows)
        error = log_weights.std(dim=0) / 20_000**0.5
        elbo, estimate = output.elbo(rows).numpy(), output.log_evidence(rows).numpy()
        assert (elbo <= evidence + 5 * error.numpy()).all()
        assert (estimate >= elbo).all()
        # E_q[p(x, z) / q(z|x)] = p(x)
        ratio = (log_weights - torch.as_tensor(evidence)).exp()
        error = ratio.std(dim=0) / 20_000**0.5
        assert (error < 0.01).all()
        assert ((ratio.mean(dim=0) - 1).abs() < N_STANDARD_ERRORS * error).all()


def test_decoder_of_the_bottom_sees_nothing_else():
    module, *_ = make_module(Hierarchical((2, 1), decoder="bottom"))
    randomize(module)
    z = draw(4, 3)
    other = z.clone()
    other[:, 2] += 1
    torch.testing.assert_close(module.decode(z).mean, module.decode(other).mean)
    module.latent.decoder = "all"
    assert not torch.allclose(module.decode(z).mean, module.decode(other).mean)


@over_variants
def test_stacked_copies_are_separate_modules(latent):
    module, rows, *_ = make_module(latent, n_copies=2)
    randomize(module, 0.2)
    noise = make_noise(3, 3, np.random.default_rng(0))
    output = module(rows, noise=noise)
    for i in range(2):
        single = module.select(i).double()
        expected = single(rows[i], noise=noise)
        torch.testing.assert_close(
            output.log_weights(rows)[:, i], expected.log_weights(rows[i])
        )
    loss, _ = ELBO(2)(module(rows, n_draws=2), rows)
    for grad in torch.autograd.grad(loss, list(module.parameters())):
        assert torch.isfinite(grad).all()
        assert grad.flatten(1).any(dim=1).all()


@over_variants
@pytest.mark.parametrize("random", [False, True])
def test_every_parameter_gets_a_gradient(latent, random):
    module, rows, *_ = make_module(latent, random=random)
    randomize(module, 0.2)
    loss, _ = ELBO()(module(rows), rows)
    loss.backward()
    for name, parameter in module.named_parameters():
        if parameter.numel():
            assert parameter.grad.any(), name


@over_variants
def test_shared_noise_makes_a_row_depend_on_itself_alone(latent):
    module, rows, *_ = make_module(latent)
    randomize(module, 0.2)
    noise = make_noise(4, 3, np.random.default_rng(0))
    whole = module(rows, noise=noise).log_weights(rows)
    part = module(rows[5:6], noise=noise).log_weights(rows[5:6])
    torch.testing.assert_close(part, whole[:, 5:6], rtol=0, atol=1e-10)


# the estimator ------------------------------------------------------------------------


@quiet
@pytest.mark.parametrize("inference", ["top_down", "bottom_up"])
@pytest.mark.parametrize("embedding", ["all", "bottom", "top"])
def test_transform_returns_the_layers_asked_for(inference, embedding):
    X, _ = make_spiral(200, random_state=0)
    latent = Hierarchical(
        (2, 1), inference=inference, decoder="all", embedding=embedding
    )
    vae = VAETransformer(
        3, latent=latent, hidden_layer_sizes=(8,), max_epochs=2, random_state=0
    ).fit(X)
    Z = vae.transform(X)
    width = {"all": 3, "bottom": 2, "top": 1}[embedding]
    assert Z.shape == (200, width)
    assert len(vae.get_feature_names_out()) == width
    mean, std = vae.posterior(X)
    assert mean.shape == std.shape == (200, 3)
    part = {"all": mean, "bottom": mean[:, :2], "top": mean[:, 2:]}[embedding]
    np.testing.assert_allclose(Z, part, atol=1e-6)
    back, rebuilt = vae.inverse_transform(Z), vae.reconstruct(X)
    assert back.shape == rebuilt.shape == X.shape
    vae.net_.module_.latent.embedding = "all"
    np.testing.assert_allclose(vae.inverse_transform(mean), rebuilt, atol=1e-4)
    if embedding != "all":
        vae.net_.module_.latent.embedding = embedding
        with pytest.raises(ValueError, match=f"n_components=3, {width} in transform"):
            vae.inverse_transform(mean)


def test_layers_gain_over_a_flat_standard_latent():
    X, _ = make_spiral(1700, random_state=0)
    common = {"n_components": 2, "max_epochs": 30, "random_state": 0, "lr": 0.01}
    common |= {"likelihood": "gaussian", "hidden_layer_sizes": (32,)}
    common["early_stopping"] = False
    scores = {}
    for name, latent in {
        "flat": Gaussian("standard"),
        "layers": Hierarchical((1, 1), decoder="all"),
    }.items():
        vae = VAETransformer(latent=latent, **common).fit(X[:1200])
        scores[name] = vae.score(X[1200:])
    assert scores["layers"] > scores["flat"] + 0.1


def test_default_sizes_are_two_layers_the_upper_half_as_wide():
    splits = [Hierarchical().split(n) for n in range(1, 8)]
    assert splits == [(1,), (1, 1), (2, 1), (3, 1), (3, 2), (4, 2), (5, 2)]


@pytest.mark.parametrize(
    ("latent", "n_components", "words"),
    [
        (Hierarchical((2, 1)), 4, r"sizes=\(2, 1\).*n_components=4"),
        (Hierarchical((3,)), 3, r"sizes=\(3,\)"),
        (Hierarchical((2, 0)), 2, r"sizes=\(2, 0\)"),
        (Hierarchical(3), 3, "sizes=3"),
        (Hierarchical(hidden_layer_sizes=(0,)), 2, "hidden_layer_sizes"),
        (Hierarchical(inference="both"), 2, "inference='both'"),
        (Hierarchical(decoder="top"), 2, "decoder='top'"),
        (Hierarchical(embedding="middle"), 2, "embedding='middle'"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(latent, n_components, words):
    X = np.random.default_rng(0).standard_normal((30, 3))
    with pytest.raises((ValueError, TypeError), match=words):
        VAETransformer(n_components, latent=latent, max_epochs=0).fit(X)
