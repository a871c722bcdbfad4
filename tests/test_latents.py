import math
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from scipy.integrate import simpson
from sklearn.base import clone
from skorch.callbacks import Callback
from torch.distributions import (
    Independent,
    Laplace,
    MultivariateNormal,
    Normal,
    StudentT,
    kl_divergence,
)

from skvae import VAETransformer
from skvae._model._evidence import VAEOutput
from skvae._utils._seed import seeded
from skvae.latents import (
    LATENTS,
    Gaussian,
    Latent,
    MixturePrior,
    StandardPrior,
    VampPrior,
)
from skvae.objectives import OBJECTIVES

# a seeded average further than this from its expectation is a bug, not bad luck
N_STANDARD_ERRORS = 5

# tests of normal posteriors; others have files of their own
VARIANTS = [
    *(cls() for cls in LATENTS.values() if issubclass(cls, Gaussian)),
    Gaussian(prior="standard"),
    Gaussian(prior="mixture"),
    Gaussian(prior="mixture", n_mixture=2),
    Gaussian(prior="vamp", n_mixture=4),
    Gaussian(prior="standard", prior_scale=2.5),
    Gaussian(prior="standard", covariance="full"),
    Gaussian(prior="standard", covariance="full", prior_scale=0.3),
    Gaussian(prior="mixture", covariance="full"),
    Gaussian(prior="vamp", n_mixture=4, covariance="full"),
]
FULL = [latent for latent in VARIANTS if latent.covariance == "full"]
# whose prior starts as a normal distribution
ANCHORED = [latent for latent in VARIANTS if latent.prior != "vamp"]
# inputs of the toy encoder that pseudo-inputs are for
N_INPUTS = 3

over_variants = pytest.mark.parametrize("latent", VARIANTS, ids=repr)
over_full = pytest.mark.parametrize("latent", FULL, ids=repr)
over_anchored = pytest.mark.parametrize("latent", ANCHORED, ids=repr)


def draw_posterior_inputs(latent, n_samples=3, n_components=2, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return (
        0.5 * draw(n_samples, *latent.raw_shape(n_components)),
        draw(n_samples, n_components),
        (0.5 * draw(n_samples, n_components)).exp(),
    )


def make_encoder(latent, n_components=2, n_inputs=N_INPUTS, seed=7):
    """Return a linear encoder, (..., n_inputs) -> q(z|u)."""
    generator = torch.Generator().manual_seed(seed)
    shape = latent.raw_shape(n_components)
    weight = torch.randn(n_inputs, math.prod(shape), generator=generator).double()

    def encode(u):
        u = u.double()
        raw = (0.4 * u @ weight).unflatten(-1, shape)
        loc = u.new_zeros(*u.shape[:-1], n_components)
        return latent.posterior(raw, loc, loc.new_ones(n_components))

    return encode


def make_prior(latent, n_components=2):
    """Return the prior's module, whatever it has to be told."""
    inputs = {"n_inputs": N_INPUTS} if latent.needs_n_inputs else {}
    return latent.make_prior(n_components, **inputs).double()


def make_learned_prior(latent, n_components=2, seed=0):
    """Return what returns p(z), of weights, if any, away from where they start."""
    prior = make_prior(latent, n_components)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
    if latent.prior == "vamp":
        return partial(prior, make_encoder(latent, n_components))
    return prior


def make_output(posterior, prior, z):
    return VAEOutput(posterior, prior, likelihood=None, z=z)


@over_variants
def test_zero_raw_is_the_linear_posterior(latent):
    raw, loc, scale = draw_posterior_inputs(latent)
    posterior = latent.posterior(torch.zeros_like(raw), loc, scale)
    assert posterior.event_shape == (2,)
    torch.testing.assert_close(posterior.mean, loc, rtol=0, atol=1e-12)
    torch.testing.assert_close(posterior.stddev, scale, rtol=0, atol=1e-12)
    z = loc + 0.3
    expected = Normal(loc, scale).log_prob(z).sum(dim=-1)
    torch.testing.assert_close(posterior.log_prob(z), expected, rtol=0, atol=1e-12)


@over_variants
def test_posterior_is_finite_at_extreme_raw_values(latent):
    raw, loc, scale = draw_posterior_inputs(latent)
    raw = (1e3 * raw.sign()).requires_grad_()
    posterior = latent.posterior(raw, loc, scale)
    assert (posterior.stddev > 0).all()
    z = latent.draw(posterior, n_draws=2)
    log_prob = posterior.log_prob(z.detach()).sum() + z.sum()
    (gradient,) = torch.autograd.grad(log_prob, raw)
    assert torch.isfinite(gradient).all()


@over_variants
def test_draw_transforms_the_noise_it_is_given(latent):
    raw, loc, scale = draw_posterior_inputs(latent)
    posterior = latent.posterior(raw, loc, scale)
    noise = torch.tensor([[[0.0, 0.0]], [[1.0, -2.0]]], dtype=torch.float64)
    z = latent.draw(posterior, noise)
    assert z.shape == (2, 3, 2)
    if latent.covariance == "full":
        spread = (posterior.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)
    else:
        spread = posterior.stddev * noise
    torch.testing.assert_close(z, posterior.mean + spread)


@over_variants
def test_draws_meet_posterior_mean_and_scale(latent):
    posterior = latent.posterior(*draw_posterior_inputs(latent))
    with seeded(0):
        z = latent.draw(posterior, n_draws=20_000)
    assert z.shape == (20_000, 3, 2)
    unit = (z - posterior.mean) / posterior.stddev
    assert unit.mean(dim=0).abs().max() < N_STANDARD_ERRORS / 20_000**0.5
    # the variance of a squared standard normal is 2
    bound = N_STANDARD_ERRORS * (2 / 20_000) ** 0.5
    assert (unit**2 - 1).mean(dim=0).abs().max() < bound


@over_variants
def test_draws_carry_the_gradient(latent):
    raw, loc, scale = draw_posterior_inputs(latent)
    raw.requires_grad_()
    for noise in (None, torch.ones(1, 1, 2, dtype=torch.float64)):
        z = latent.draw(latent.posterior(raw, loc, scale), noise)
        (gradient,) = torch.autograd.grad(z.sum(), raw)
        assert (gradient != 0).all()


@over_variants
def test_embed_is_the_posterior_mean(latent):
    posterior = latent.posterior(*draw_posterior_inputs(latent))
    torch.testing.assert_close(latent.embed(posterior), posterior.mean)


@over_variants
def test_kl_is_positive_and_meets_its_monte_carlo_estimate(latent):
    posterior = latent.posterior(*draw_posterior_inputs(latent))
    prior = make_learned_prior(latent)()
    with seeded(0):
        z = latent.draw(posterior, n_draws=20_000)
        fresh = latent.draw(posterior, n_draws=20_000)
    kl = make_output(posterior, prior, z).kl().mean(dim=0)
    log_ratio = make_output(posterior, prior, fresh).log_ratio()
    error = log_ratio.std(dim=0) / 20_000**0.5
    assert (kl > 0).all()
    # two estimates differ by the noise of both
    difference = (kl - log_ratio.mean(dim=0)).abs()
    assert (difference < N_STANDARD_ERRORS * 2**0.5 * error).all()


@over_anchored
def test_kl_is_zero_at_the_prior_it_starts_from(latent):
    loc = torch.zeros(3, 2).double()
    scale = torch.full_like(loc, latent.unit)
    posterior = latent.posterior(torch.zeros(3, *latent.raw_shape(2)), loc, scale)
    prior = make_prior(latent)()
    with seeded(0):
        z = latent.draw(posterior, n_draws=50)
    kl = make_output(posterior, prior, z).kl()
    torch.testing.assert_close(kl, torch.zeros_like(kl), rtol=0, atol=1e-10)


@over_variants
def test_recentred_posterior_is_the_same_at_zero(latent):
    raw, loc, scale = draw_posterior_inputs(latent)
    posterior = latent.posterior(raw, loc, scale)
    again = latent.posterior(torch.zeros_like(raw), *latent.get_loc_scale(posterior))
    with seeded(0):
        z = latent.draw(posterior, n_draws=5)
    torch.testing.assert_close(again.log_prob(z), posterior.log_prob(z))
    # raw outputs move it in units of its own scale
    moved = latent.posterior(raw, *latent.get_loc_scale(posterior))
    assert not torch.allclose(moved.mean, posterior.mean)


@over_variants
def test_gradients_of_density_and_draws_equal_finite_differences(latent):
    raw, loc, scale = draw_posterior_inputs(latent)
    z, noise = loc + 0.3, torch.tensor([0.4, -1.2], dtype=torch.float64)
    prior = make_learned_prior(latent)()

    def measure(raw, z):
        posterior = latent.posterior(raw, loc, scale)
        drawn = latent.draw(posterior, noise.expand(2, 1, 2))
        return posterior.log_prob(z), drawn, prior.log_prob(drawn)

    inputs = raw.requires_grad_(), z.requires_grad_()
    assert torch.autograd.gradcheck(measure, inputs)


@over_full
def test_full_posterior_has_the_density_of_torch(latent):
    posterior = latent.posterior(*draw_posterior_inputs(latent, n_components=4))
    expected = MultivariateNormal(posterior.loc, scale_tril=posterior.scale_tril)
    with seeded(0):
        z = expected.sample((2, 5))
    torch.testing.assert_close(posterior.log_prob(z), expected.log_prob(z))
    torch.testing.assert_close(posterior.stddev, expected.stddev)
    covariance = posterior.scale_tril @ posterior.scale_tril.mT
    off = covariance - torch.diag_embed(posterior.variance)
    assert off.abs().amax(dim=(-2, -1)).min() > 0.01


@over_full
def test_kl_of_the_full_posterior_to_the_standard_prior_equals_torch(latent):
    posterior = latent.posterior(*draw_posterior_inputs(latent, n_components=4))
    prior = StandardPrior(4, latent.unit).double()()
    kl = make_output(posterior, prior, None).kl()
    ours = MultivariateNormal(posterior.loc, scale_tril=posterior.scale_tril)
    standard = MultivariateNormal(prior.mean, prior.variance.diag())
    torch.testing.assert_close(kl, kl_divergence(ours, standard)[None])


@over_full
def test_full_posterior_without_values_below_the_diagonal_is_the_diagonal_one(latent):
    diagonal = clone(latent).set_params(covariance="diagonal")
    raw, loc, scale = draw_posterior_inputs(diagonal)
    below = raw.new_zeros(len(raw), 1)
    posterior = latent.posterior(torch.cat([raw.flatten(1), below], 1), loc, scale)
    expected = diagonal.posterior(raw, loc, scale)
    with seeded(0):
        z = expected.sample((5,))
    torch.testing.assert_close(posterior.mean, expected.mean)
    torch.testing.assert_close(posterior.stddev, expected.stddev)
    torch.testing.assert_close(posterior.log_prob(z), expected.log_prob(z))


def test_kl_to_the_standard_prior_equals_torch():
    latent = Gaussian(prior="standard")
    posterior = latent.posterior(*draw_posterior_inputs(latent))
    kl = make_output(posterior, StandardPrior(2)(), None).kl()
    standard = Normal(torch.zeros(2).double(), 1.0)
    expected = kl_divergence(posterior.base_dist, standard).sum(dim=-1)
    torch.testing.assert_close(kl, expected[None], rtol=0, atol=1e-12)
    mean, variance = posterior.mean, posterior.variance
    by_hand = 0.5 * (mean**2 + variance - 1 - variance.log()).sum(dim=-1)
    torch.testing.assert_close(kl[0], by_hand, rtol=0, atol=1e-12)


def test_kl_to_the_mixture_prior_meets_quadrature():
    latent = Gaussian(prior="mixture", n_mixture=3)
    posterior = latent.posterior(*draw_posterior_inputs(latent, n_components=1))
    prior = make_learned_prior(latent, n_components=1)()
    grid = torch.linspace(-25, 25, 5001, dtype=torch.float64)[:, None, None]
    log_q, log_p = posterior.log_prob(grid), prior.log_prob(grid)
    integrand = (log_q.exp() * (log_q - log_p)).detach()
    exact = simpson(integrand.numpy(), x=grid.flatten().numpy(), axis=0)
    with seeded(0):
        z = latent.draw(posterior, n_draws=20_000)
    kl = make_output(posterior, prior, z).kl().detach()
    error = (kl.std(dim=0) / len(z) ** 0.5).numpy()
    assert (exact > 0).all()
    assert (np.abs(kl.mean(dim=0).numpy() - exact) < N_STANDARD_ERRORS * error).all()


@pytest.mark.parametrize("n_copies", [None, 3])
def test_mixture_prior_starts_as_the_standard_normal(n_copies):
    prior = MixturePrior(2, n_mixture=4, n_copies=n_copies)()
    shape = (5, 2) if n_copies is None else (n_copies, 5, 2)
    z = torch.linspace(-5, 5, math.prod(shape)).reshape(shape)
    expected = Normal(0.0, 1.0).log_prob(z).sum(dim=-1)
    torch.testing.assert_close(prior.log_prob(z), expected)


def test_copies_of_the_mixture_prior_differ_by_their_own_weights():
    stacked = MixturePrior(2, n_mixture=3, n_copies=2).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in stacked.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    z = torch.randn(5, 2, 4, 2, generator=generator, dtype=torch.float64)
    log_prob = stacked().log_prob(z)  # (n_draws, n_copies, n)
    assert log_prob.shape == (5, 2, 4)
    for copy in range(2):
        single = MixturePrior(2, n_mixture=3).double()
        with torch.no_grad():
            for name, parameter in single.named_parameters():
                value = getattr(stacked, name)[copy]
                parameter.copy_(value.reshape(parameter.shape))
        expected = single().log_prob(z[:, copy])
        torch.testing.assert_close(log_prob[:, copy], expected)


def test_standard_component_keeps_the_tails_of_the_mixture_prior():
    prior = make_learned_prior(Gaussian(prior="mixture"))()
    share = torch.log_softmax(prior.logits, -1)[0]
    z = torch.full((2,), 30.0, dtype=torch.float64)
    floor = share + Normal(0.0, 1.0).log_prob(z).sum()
    assert prior.log_prob(z) >= floor


def draw_clusters(n_samples, seed):
    generator = np.random.default_rng(seed)
    centres = np.array([[-1.2, 0.5], [0.8, 1.0], [0.5, -1.3]])
    chosen = generator.integers(3, size=n_samples)
    noise = 0.2 * generator.standard_normal((n_samples, 2))
    return torch.as_tensor(centres[chosen] + noise)


@pytest.mark.parametrize("n_mixture", [3, 16])
@pytest.mark.parametrize("n_samples", [25, 100, 600])
def test_started_prior_fits_clusters_better_than_the_standard_normal(
    n_mixture, n_samples
):
    latent = Gaussian(prior="mixture", n_mixture=n_mixture)
    prior = latent.make_prior(2)
    values = latent.initialize_prior(prior, draw_clusters(n_samples, 0), seed=0)
    assert set(values) == {name for name, _ in prior.named_parameters()}
    with torch.no_grad():
        for name, parameter in prior.named_parameters():
            assert values[name].shape == parameter.shape
            parameter.copy_(values[name])
    fresh = draw_clusters(500, 1).float()
    gain = prior().log_prob(fresh) - StandardPrior(2)().log_prob(fresh)
    # one component for 25 rows finds no cluster but may not cost more than a little
    assert gain.mean() > (0.5 if n_samples >= 100 else -0.1)


def test_start_of_the_prior_depends_on_the_seed_alone():
    prior = MixturePrior(2, n_mixture=5)
    z = draw_clusters(300, 0)
    before = z.clone()
    one, other = prior.initialize(z, 3), prior.initialize(z, 3)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)
    torch.testing.assert_close(z, before, rtol=0, atol=0)


def test_standard_prior_has_nothing_to_start():
    latent = Gaussian(prior="standard")
    prior = latent.make_prior(2)
    assert list(prior.parameters()) == []
    assert latent.initialize_prior(prior, draw_clusters(50, 0), seed=0) == {}


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("n_copies", [None, 2])
def test_vamp_prior_is_the_mean_of_the_posteriors_of_its_pseudo_inputs(
    covariance, n_copies
):
    latent = Gaussian("vamp", 5, covariance)
    prior = latent.make_prior(2, n_copies, n_inputs=N_INPUTS).double()
    encode = make_encoder(latent)
    leading = () if n_copies is None else (n_copies,)
    assert prior.pseudo_inputs.shape == (*leading, 5, N_INPUTS)
    with seeded(0):
        z = 2 * torch.randn(3, *leading, 4, 2, dtype=torch.float64)
    log_prob = prior(encode).log_prob(z)
    assert log_prob.shape == (3, *leading, 4)
    for copy in range(n_copies or 1):
        u = prior.pseudo_inputs if n_copies is None else prior.pseudo_inputs[copy]
        rows = z if n_copies is None else z[:, copy]
        density = sum(encode(v).log_prob(rows).exp() for v in u) / 5
        found = log_prob if n_copies is None else log_prob[:, copy]
        torch.testing.assert_close(found, density.log())


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_copies_of_the_vamp_prior_draw_from_their_own_pseudo_inputs(covariance):
    latent = Gaussian("vamp", 3, covariance)
    prior = latent.make_prior(2, n_copies=2, n_inputs=2).double()

    def encode(u):
        raw = u.new_zeros(*u.shape[:-1], *latent.raw_shape(2))
        return latent.posterior(raw, u, u.new_full((2,), 0.01))

    with torch.no_grad():
        centres = torch.tensor([[0.0, 0.0], [5.0, 5.0], [9.0, 0.0]]).double()
        prior.pseudo_inputs.copy_(torch.stack([centres, centres + 100]))
    with seeded(0):
        z = prior(encode).sample((400,))
    assert z.shape == (400, 2, 1, 2)
    for copy in range(2):
        distance = torch.cdist(z[:, copy, 0], centres + 100 * copy)
        assert distance.amin(dim=1).max() < 0.1
        assert (distance.argmin(dim=1).bincount(minlength=3) > 100).all()


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_vamp_prior_is_as_precise_in_single_precision(covariance):
    # narrow posteriors, and values far from zero: squares that cancel are large
    latent = Gaussian("vamp", 6, covariance)
    encode = make_encoder(latent)
    with seeded(0):
        u = torch.randn(6, N_INPUTS, dtype=torch.float64)
    posterior = encode(u)
    loc = posterior.mean + 3
    scale = torch.full_like(loc, 2e-3)
    raw = torch.zeros(6, *latent.raw_shape(2)).double()
    z = (loc + scale).float()
    found, expected = (
        VampPrior(N_INPUTS, 6)(
            lambda _, d=dtype: latent.posterior(raw.to(d), loc.to(d), scale.to(d))
        ).log_prob(z.to(dtype))
        for dtype in (torch.float32, torch.float64)
    )
    assert found.dtype == torch.float32
    # z itself is rounded to 1e-4 of the scale
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-2)


def test_pseudo_inputs_start_at_rows():
    prior = VampPrior(2, 5)
    rows = draw_clusters(50, 0)
    values = prior.initialize(rows, 3)["pseudo_inputs"]
    assert values.shape == prior.pseudo_inputs.shape
    distance = torch.cdist(values, rows)
    assert distance.amin(dim=1).max() < 1e-6
    assert len(values.unique(dim=0)) == 5
    torch.testing.assert_close(values, prior.initialize(rows, 3)["pseudo_inputs"])
    assert not torch.equal(values, prior.initialize(rows, 4)["pseudo_inputs"])
    # fewer rows than pseudo-inputs
    few = prior.initialize(rows[:2], 3)["pseudo_inputs"]
    assert len(few.unique(dim=0)) == 2


@over_variants
def test_marginals_of_the_prior_integrate_to_one(latent):
    prior = make_learned_prior(latent)()
    grid = torch.linspace(-80, 80, 8001, dtype=torch.float64)
    log_density = latent.log_prior_per_component(prior, grid[:, None].expand(-1, 2))
    assert log_density.shape == (8001, 2)
    density = log_density.exp().detach().numpy()
    np.testing.assert_allclose(simpson(density, x=grid.numpy(), axis=0), 1, atol=1e-8)


@over_variants
def test_marginals_of_the_prior_are_integrals_of_its_density(latent):
    prior = make_learned_prior(latent)()
    grid = torch.linspace(-80, 80, 8001, dtype=torch.float64)
    z = torch.tensor([[-0.7, 1.1]], dtype=torch.float64)
    marginal = latent.log_prior_per_component(prior, z).detach()
    for k in range(2):
        points = z.repeat(len(grid), 1)
        points[:, 1 - k] = grid
        density = prior.log_prob(points).exp().detach().numpy()
        expected = np.log(simpson(density, x=grid.numpy()))
        assert marginal[0, k].item() == pytest.approx(expected, abs=1e-8)


@over_variants
def test_prior_draws_have_the_density_of_the_prior(latent):
    # E_p[q(z)/p(z)] = 1 for any density q within p's tails
    prior = make_learned_prior(latent)()
    with seeded(0):
        z = prior.sample((20_000,))
    other = Independent(Normal(torch.zeros(2).double(), 0.8), 1)
    ratio = (other.log_prob(z) - prior.log_prob(z)).exp().detach()
    error = ratio.std() / len(z) ** 0.5
    assert abs(ratio.mean() - 1) < N_STANDARD_ERRORS * error


@over_variants
def test_densities_keep_their_precision_under_autocast(latent):
    raw, loc, scale = (p.float() for p in draw_posterior_inputs(latent))
    posterior = latent.posterior(raw, loc, scale)
    prior = make_learned_prior(latent)()
    noise = torch.tensor([[[0.3, -1.0]]])
    expected = latent.draw(posterior, noise)
    with torch.autocast("cpu", torch.bfloat16):
        z = latent.draw(posterior, noise)
        log_prob = posterior.log_prob(z), prior.log_prob(z)
    torch.testing.assert_close(z, expected)
    assert log_prob[0].dtype == torch.float32
    torch.testing.assert_close(
        log_prob, (posterior.log_prob(expected), prior.log_prob(expected))
    )


@over_variants
def test_prior_is_finite_far_from_everything(latent):
    prior = make_learned_prior(latent)()
    z = torch.tensor([[1e8, -1e8]], requires_grad=True)
    log_prob = prior.log_prob(z)
    (gradient,) = torch.autograd.grad(log_prob.sum(), z)
    assert torch.isfinite(log_prob).all()
    assert torch.isfinite(gradient).all()


# two epochs from random weights are not enough for a VampPrior
@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
@pytest.mark.parametrize("latent", VARIANTS[3:], ids=repr)
def test_estimator_scores_draws_and_pickles_with_every_variant(latent, X, quick):
    vae = quick(latent=latent, hidden_layer_sizes=(8,)).fit(X)
    mean, std = vae.posterior(X)
    assert (std > 0).all()
    np.testing.assert_allclose(vae.transform(X), mean)
    scores = vae.score_samples(X)
    single = np.concatenate([vae.score_samples(X[i : i + 1]) for i in range(3)])
    # z, of double precision, may be rounded to the next number of single precision
    np.testing.assert_allclose(single, scores[:3], rtol=2e-8, atol=2e-8)
    assert (vae.score_samples(X, "evidence") >= scores - 1e-9).all()
    assert (vae.score_samples(X[:5], "refined") >= scores[:5] - 1e-9).all()
    assert vae.kl_per_component_.shape == (2,)
    assert vae.sample(4, random_state=0).shape == (4, X.shape[1])
    copy = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(copy.score_samples(X), scores)


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_prior_scale_is_the_unit_of_the_latent_and_nothing_else(
    covariance, objective, X, quick
):
    # a power of two is exact in any precision
    one, other = (
        quick(
            latent=Gaussian("standard", covariance=covariance, prior_scale=s),
            objective=objective,
        ).fit(X)
        for s in (1.0, 4.0)
    )
    # log q and log p are larger by log 4 each, and sums in float32 round otherwise
    atol = 0 if objective == "elbo" else 1e-6
    Z = one.transform(X)
    np.testing.assert_allclose(other.transform(X), 4 * Z, rtol=1e-5, atol=atol)
    atol = 1e-4 if objective == "elbo" else 1e-3
    np.testing.assert_allclose(
        other.score_samples(X), one.score_samples(X), rtol=0, atol=atol
    )
    np.testing.assert_allclose(
        other.inverse_transform(4 * Z), one.inverse_transform(Z), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize(
    ("name", "latent"),
    [
        ("prior", Gaussian(prior="unknown")),
        ("n_mixture", Gaussian(prior="mixture", n_mixture=0)),
        ("n_mixture", Gaussian(prior="mixture", n_mixture=2.5)),
        ("n_mixture", Gaussian(prior="vamp", n_mixture=0)),
        ("covariance", Gaussian(covariance="banded")),
        ("covariance", Gaussian(covariance=2)),
        ("prior_scale", Gaussian(prior="standard", prior_scale=0.0)),
        ("prior_scale", Gaussian(prior="standard", prior_scale=float("inf"))),
        ("prior_scale", Gaussian(prior="standard", prior_scale="1")),
        ("prior_scale", Gaussian(prior="standard", prior_scale=1e-300)),
        ("prior_scale", Gaussian(prior="standard", prior_scale=1e300)),
        ("prior_scale", Gaussian(prior="mixture", prior_scale=2.0)),
        ("prior_scale", Gaussian(prior_scale=2.0)),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(name, latent):
    X = np.random.default_rng(0).standard_normal((30, 3))
    with pytest.raises((ValueError, TypeError), match=name):
        VAETransformer(1, latent=latent, max_epochs=0).fit(X)


@over_variants
def test_parameters_survive_clone(latent):
    copy = clone(latent)
    assert copy is not latent
    assert copy.get_params() == latent.get_params()
    assert repr(copy) == repr(latent)


# latents of one's own -----------------------------------------------------------------


def independent(distribution):
    return Independent(distribution, 1, validate_args=False)


class Own(Latent):
    """The least that a latent must define."""

    def posterior(self, raw, loc, scale):
        loc = loc + scale * raw[..., 0, :]
        scale = scale * raw[..., 1, :].exp()
        return independent(self.make(loc, scale))

    def make(self, loc, scale):
        return Normal(loc, scale, validate_args=False)


class OwnLaplace(Own):
    def make(self, loc, scale):
        return Laplace(loc, scale, validate_args=False)


class Undefined(Latent):
    """Without a posterior."""


class WithoutQuantiles(Own):
    def make(self, loc, scale):
        return StudentT(torch.full_like(loc, 5.0), loc, scale, validate_args=False)


class WithoutEvent(Own):
    def posterior(self, raw, loc, scale):
        return self.make(loc, scale * raw[..., 1, :].exp())


class WithoutDtype(Own):
    def make(self, loc, scale):
        return super().make(loc @ torch.ones(2, 2), scale)


class Centre(torch.nn.Module):
    def __init__(self, n_components):
        super().__init__()
        self.loc = torch.nn.Parameter(torch.zeros(n_components))

    def forward(self):
        scale = torch.ones_like(self.loc)
        return independent(Normal(self.loc, scale, validate_args=False))


class SharedPrior(Own):
    def make_prior(self, n_components, n_copies=None):
        return Centre(n_components)


class UnstackedPrior(SharedPrior):
    is_stackable = False


@pytest.mark.parametrize("latent", [Own(), OwnLaplace(), UnstackedPrior()], ids=repr)
def test_latent_of_ones_own_needs_a_posterior_alone(latent, X, quick):
    vae = quick(latent=latent).fit(X)
    elbo = vae.score_samples(X)
    np.testing.assert_allclose(vae.score_samples(X[5:6]), elbo[5:6], atol=1e-9)
    assert (vae.score_samples(X, "evidence") >= elbo - 1e-9).all()
    assert vae.transform(X).shape == (len(X), 2)
    assert np.isfinite(vae.kl_per_component_).all()


@pytest.mark.parametrize(
    ("latent", "error", "message"),
    [
        (Undefined(), NotImplementedError, "Undefined must define posterior"),
        (WithoutQuantiles(), TypeError, "StudentT, which has no icdf"),
        (WithoutEvent(), ValueError, r"WithoutEvent.*Independent\(..., 1\)"),
        (WithoutDtype(), RuntimeError, "dtype"),
        (SharedPrior(), ValueError, "SharedPrior.*'loc'.*is_stackable = False"),
    ],
    ids=repr,
)
def test_latent_that_cannot_be_scored_is_refused_before_training(
    latent, error, message, X, quick
):
    epochs = []

    class Count(Callback):
        def on_epoch_begin(self, net, **kwargs):
            epochs.append(1)

    with pytest.raises(error, match=message) as caught:
        quick(latent=latent, net_callbacks=[Count()]).fit(X)
    assert not epochs
    text = " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert f"{type(latent).__name__}()" in text


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_default_draw_follows_the_quantiles_of_the_noise(dtype):
    loc, scale = torch.tensor([0.5, -1.0], dtype=dtype), torch.tensor(0.3, dtype=dtype)
    noise = torch.tensor([[-9.0, -1.0], [0.0, 0.3], [2.0, 9.0]], dtype=dtype)
    posterior = OwnLaplace().posterior(torch.zeros(2, 2, dtype=dtype), loc, scale)
    z = OwnLaplace().draw(posterior, noise)
    assert z.dtype == dtype
    assert torch.isfinite(z).all()
    inner = noise.abs() < 5
    found, expected = posterior.base_dist.cdf(z), torch.special.ndtr(noise)
    torch.testing.assert_close(found[inner], expected[inner])
