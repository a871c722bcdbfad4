import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import simpson
from torch.distributions import (
    Independent,
    MultivariateNormal,
    Normal,
    StudentT,
    kl_divergence,
)

from skvae._distributions._mixtures import DiagonalNormalMixture
from skvae._model._evidence import (
    VAEOutput,
    average,
    compute_error,
    compute_log_error,
    log_evidence,
    make_noise,
)
from skvae._utils._seed import seeded

# a seeded average further than this from its expectation is a bug, not bad luck
N_STANDARD_ERRORS = 5


def make_normal(loc, scale):
    return Independent(Normal(loc, scale), 1)


def decode(z):
    """Return p(x|z) of a curve in two dimensions."""
    loc = torch.cat([2 * torch.sin(1.5 * z), z**2 - 1], dim=-1)
    return Normal(loc, 0.5)


def make_output(n_draws, seed=0, x=None):
    """Return x and what a rough posterior says of it, one-dimensional z, float64."""
    if x is None:
        x = torch.tensor([[1.5, 0.3], [-1.0, 0.0], [0.0, -1.2]], dtype=torch.float64)
    loc = x[:, :1] / 2
    posterior = make_normal(loc, torch.full_like(loc, 0.8))
    prior = make_normal(torch.zeros(1).double(), torch.ones(1).double())
    with seeded(seed):
        z = posterior.rsample((n_draws,))
    return x, VAEOutput(posterior, prior, decode(z), z)


def test_elbo_is_the_mean_of_the_log_weights():
    x, output = make_output(7)
    log_weights = output.log_weights(x)
    assert log_weights.shape == (7, 3)
    bound = average(log_weights)
    torch.testing.assert_close(bound, log_weights.mean(dim=0), rtol=0, atol=0)
    parts = output.log_likelihood(x) - output.log_ratio()
    torch.testing.assert_close(bound, parts.mean(dim=0), rtol=0, atol=1e-12)


def test_log_weights_are_the_densities_of_the_paper():
    x, output = make_output(4)
    log_joint = decode(output.z).log_prob(x).sum(-1) + output.prior.log_prob(output.z)
    expected = log_joint - output.posterior.log_prob(output.z)
    torch.testing.assert_close(output.log_weights(x), expected, rtol=0, atol=1e-12)


def test_log_evidence_is_never_below_the_elbo():
    log_weights = torch.randn(9, 50, generator=torch.Generator().manual_seed(0))
    assert (log_evidence(log_weights) >= average(log_weights) - 1e-6).all()


def test_one_draw_makes_log_evidence_the_elbo():
    x, output = make_output(1)
    log_weights = output.log_weights(x)
    expected = average(log_weights)
    torch.testing.assert_close(log_evidence(log_weights), expected, rtol=0, atol=1e-12)


def test_log_evidence_is_the_log_of_the_mean_weight():
    log_weights = torch.tensor([[0.0, -1e4], [math.log(3), -1e4]], dtype=torch.float64)
    expected = torch.tensor([math.log(2), -1e4], dtype=torch.float64)
    torch.testing.assert_close(log_evidence(log_weights), expected, rtol=1e-12, atol=0)


def test_log_evidence_survives_weights_that_vanish():
    log_weights = torch.tensor([[-torch.inf], [0.0]])
    assert log_evidence(log_weights).item() == pytest.approx(-math.log(2))


def test_log_evidence_tightens_with_draws():
    # by Jensen's inequality the bound of all draws is at least the mean bound of parts,
    # for every row: in expectation more draws are tighter
    x, output = make_output(64)
    log_weights = output.log_weights(x)
    bounds = [
        log_evidence(log_weights.unflatten(0, (n_draws, -1))).mean(dim=0)
        for n_draws in (1, 2, 4, 16, 64)
    ]
    for fewer, more in itertools.pairwise(bounds):
        assert (more >= fewer - 1e-12).all()
    assert (bounds[-1] > bounds[0] + 0.1).all()


def test_log_evidence_meets_quadrature():
    x, output = make_output(50_000)
    grid = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
    z = grid[:, None, None]
    log_joint = decode(z).log_prob(x).sum(-1) + output.prior.log_prob(z)
    exact = np.log(simpson(log_joint.exp().numpy(), x=grid.numpy(), axis=0))
    log_weights = output.log_weights(x)
    weights = (log_weights - torch.as_tensor(exact)).exp()
    error = (weights.std(dim=0) / len(weights) ** 0.5).numpy()
    assert (error < 0.02).all()
    difference = log_evidence(log_weights).numpy() - exact
    assert (np.abs(difference) < N_STANDARD_ERRORS * error).all()
    assert (average(log_weights).numpy() < exact).all()


def test_gap_between_log_evidence_and_elbo_is_the_kl_to_the_true_posterior():
    x, output = make_output(50_000)
    grid = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
    z = grid[:, None, None]
    log_joint = decode(z).log_prob(x).sum(-1) + output.prior.log_prob(z)
    log_p = np.log(simpson(log_joint.exp().numpy(), x=grid.numpy(), axis=0))
    log_q = output.posterior.log_prob(z)
    integrand = log_q.exp() * (log_q - log_joint + torch.as_tensor(log_p))
    gap = simpson(integrand.numpy(), x=grid.numpy(), axis=0)
    log_weights = output.log_weights(x)
    error = (log_weights.std(dim=0) / len(log_weights) ** 0.5).numpy()
    difference = log_p - average(log_weights).numpy() - gap
    assert (np.abs(difference) < N_STANDARD_ERRORS * error).all()


def test_elbo_equals_log_evidence_for_exact_posterior():
    # x = 2 z + N(0, 0.5²): p(z|x) is Gaussian, all weights are p(x)
    x = torch.tensor([[0.3], [-2.0]], dtype=torch.float64)
    variance = 1 / (1 + 4 / 0.25)
    posterior = make_normal(variance * 8 * x, torch.full_like(x, variance**0.5))
    prior = make_normal(torch.zeros(1).double(), torch.ones(1).double())
    with seeded(0):
        z = posterior.rsample((3,))
    log_weights = VAEOutput(posterior, prior, Normal(2 * z, 0.5), z).log_weights(x)
    expected = (-0.5 * (x**2 / 4.25 + math.log(2 * math.pi * 4.25))).squeeze(-1)
    for bound in (average(log_weights), log_evidence(log_weights)):
        torch.testing.assert_close(bound, expected, rtol=0, atol=1e-12)


def make_standard_mixture():
    """Return N(0, I) as a mixture, whose KL torch does not know."""
    zeros = torch.zeros(3, 2, dtype=torch.float64)
    return DiagonalNormalMixture(torch.zeros(3, dtype=torch.float64), zeros, zeros)


def test_kl_is_exact_where_it_is_known_and_sampled_elsewhere():
    posterior = make_normal(torch.ones(4, 2).double(), torch.full((4, 2), 0.5).double())
    prior = make_normal(torch.zeros(2).double(), torch.ones(2).double())
    with seeded(0):
        z = posterior.rsample((6,))
    exact = VAEOutput(posterior, prior, None, z).kl()
    assert exact.shape == (1, 4)
    torch.testing.assert_close(exact[0], kl_divergence(posterior, prior))
    output = VAEOutput(posterior, make_standard_mixture(), None, z)
    assert output.kl().shape == (6, 4)
    torch.testing.assert_close(output.kl(), output.log_ratio())


def test_sampled_kl_has_no_gradient_noise_where_the_posterior_is_exact():
    loc = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    scale = torch.ones(4, 2, dtype=torch.float64, requires_grad=True)
    posterior = make_normal(loc, scale)
    with seeded(0):
        z = posterior.rsample((5,))
    kl = VAEOutput(posterior, make_standard_mixture(), None, z).kl()
    for gradient in torch.autograd.grad(kl.sum(), [loc, scale]):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_gradient_of_the_sampled_kl_is_unbiased():
    n_draws = 20_000
    loc = torch.tensor([0.8, -0.3], dtype=torch.float64)
    scale = torch.tensor([0.5, 1.4], dtype=torch.float64)
    # one leaf a draw shows the spread of the gradients
    locs = loc.expand(n_draws, 1, 2).clone().requires_grad_()
    scales = scale.expand(n_draws, 1, 2).clone().requires_grad_()
    posterior = make_normal(locs, scales)
    with seeded(0):
        z = posterior.rsample()
    kl = VAEOutput(posterior, make_standard_mixture(), None, z).kl()
    gradients = torch.autograd.grad(kl.sum(), [locs, scales])
    for gradient, exact in zip(gradients, [loc, scale - 1 / scale], strict=True):
        error = gradient.std(dim=0)[0] / n_draws**0.5
        difference = gradient.mean(dim=0)[0] - exact
        assert (difference.abs() < N_STANDARD_ERRORS * error + 1e-12).all()


NOISE_SHAPES = [
    (1, 3),
    (2, 1),
    (2, 5),
    (3, 1),
    (3, 2),
    (4, 1),
    (5, 2),
    (6, 2),
    (9, 4),
    (10, 4),
    (32, 2),
    (32, 16),
    (33, 16),
    (34, 16),
    (32, 200),
    (512, 200),
]


@pytest.mark.parametrize(("n_draws", "n_components"), NOISE_SHAPES)
@pytest.mark.parametrize("seed", [0, 1])
def test_noise_has_the_moments_it_promises(n_draws, n_components, seed):
    noise = make_noise(n_draws, n_components, np.random.default_rng(seed))
    assert noise.shape == (n_draws, n_components)
    assert noise.dtype == torch.float64
    assert torch.isfinite(noise).all()
    if n_draws == 1:
        return
    zero = torch.zeros(n_components, dtype=torch.float64)
    torch.testing.assert_close(noise.mean(dim=0), zero, rtol=0, atol=1e-10)
    covariance = noise.mT @ noise / n_draws
    unit = torch.ones_like(zero)
    torch.testing.assert_close(covariance.diagonal(), unit, rtol=0, atol=1e-10)
    if n_draws > 2 * n_components:
        torch.testing.assert_close(covariance, torch.diag(unit), rtol=0, atol=1e-8)
    if n_draws % 2 == 0:
        half = n_draws // 2
        torch.testing.assert_close(noise[:half], -noise[half:], rtol=0, atol=1e-10)


def test_noise_depends_on_its_generator_alone():
    one, same, other = (
        make_noise(8, 3, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    torch.testing.assert_close(one, same, rtol=0, atol=0)
    assert not torch.allclose(one, other)


def test_single_noise_vectors_are_standard_normal():
    generator = np.random.default_rng(0)
    draws = torch.cat([make_noise(1, 4, generator) for _ in range(5000)])
    assert draws.mean(dim=0).abs().max() < N_STANDARD_ERRORS / 5000**0.5
    bound = N_STANDARD_ERRORS * (2 / 5000) ** 0.5
    assert (draws**2 - 1).mean(dim=0).abs().max() < bound


# what an estimate is uncertain by -----------------------------------------------------

# estimate and its error
ESTIMATES = {
    "elbo": (average, compute_error),
    "evidence": (log_evidence, compute_log_error),
}


def score_block(noise):
    """Return log-weights of three rows at a block of shared noise, (n_draws, 3)."""
    x = torch.tensor([[1.5, 0.3], [-1.0, 0.0], [0.0, -1.2]], dtype=torch.float64)
    loc = x[:, :1] / 2
    posterior = make_normal(loc, torch.full_like(loc, 0.8))
    prior = make_normal(torch.zeros(1).double(), torch.ones(1).double())
    z = loc + 0.8 * noise.unsqueeze(1)
    return VAEOutput(posterior, prior, decode(z), z).log_weights(x)


@pytest.mark.parametrize(
    ("name", "n_draws"),
    [
        ("evidence", 64),
        ("evidence", 65),
        ("evidence", 500),
        ("elbo", 301),
        ("elbo", 500),
    ],
)
def test_standard_error_is_the_spread_over_independent_blocks(name, n_draws):
    estimate, measure = ESTIMATES[name]
    generator = np.random.default_rng(0)
    found, errors = [], []
    for _ in range(600):
        noise = make_noise(n_draws, 1, generator)
        log_weights = score_block(noise)
        found.append(estimate(log_weights))
        errors.append(measure(log_weights, noise))
    spread = torch.stack(found).std(dim=0)
    error = torch.stack(errors).square().mean(dim=0).sqrt()
    # the spread of 600 has an error of 3 %, and more where few draws decide it
    assert (error / spread - 1).abs().max() < 0.25


def test_standard_error_of_what_the_block_makes_exact_is_zero():
    noise = make_noise(64, 3, np.random.default_rng(0))
    slope = torch.tensor([1.0, -2.0, 0.5]).double()
    values = (noise @ slope + (noise @ slope) ** 2 + 3).unsqueeze(1)
    assert compute_error(values, noise) < 1e-12
    assert (values.mean() - 3 - slope @ slope).abs() < 1e-12


@pytest.mark.parametrize("shape", [(2, 1), (2, 4), (3, 1), (4, 6), (33, 16), (32, 16)])
def test_standard_error_is_defined_for_few_draws_and_many_components(shape):
    noise = make_noise(*shape, np.random.default_rng(0))
    values = torch.stack([noise.sin().sum(dim=1), noise.exp().sum(dim=1)], dim=1)
    for measure in (compute_error, compute_log_error):
        error = measure(values, noise)
        assert error.shape == (2,)
        assert torch.isfinite(error).all()
        assert (error >= 0).all()


def test_log_error_is_the_relative_error_of_the_mean_weight():
    noise = make_noise(101, 1, np.random.default_rng(0))
    log_weights = 0.01 * noise**3
    weights = log_weights.exp()
    expected = compute_error(weights, noise) / weights.mean()
    torch.testing.assert_close(compute_log_error(log_weights, noise), expected)


# parts of a posterior -----------------------------------------------------------------


def test_kl_per_component_sums_to_the_kl_where_both_are_products():
    posterior = make_normal(torch.ones(4, 2).double(), torch.full((4, 2), 0.5).double())
    prior = make_normal(torch.zeros(2).double(), torch.ones(2).double())
    output = VAEOutput(posterior, prior, None, None)
    parts = output.kl_per_component()
    assert parts.shape == (1, 4, 2)
    torch.testing.assert_close(parts.sum(dim=-1), output.kl())
    mixture = VAEOutput(posterior, make_standard_mixture(), None, None)
    assert mixture.kl_per_component() is None
    # torch does not know this one
    tailed = Independent(StudentT(torch.full((2,), 3.0).double()), 1)
    assert VAEOutput(posterior, tailed, None, None).kl_per_component() is None
    joint = MultivariateNormal(torch.zeros(4, 2).double(), torch.eye(2).double())
    assert VAEOutput(joint, prior, None, None).kl_per_component() is None


def test_log_posterior_per_component_takes_draws_of_other_rows():
    loc = torch.tensor([[0.0, 1.0], [2.0, 3.0], [-1.0, 0.5]]).double()
    posterior = make_normal(loc, torch.full_like(loc, 0.5))
    output = VAEOutput(posterior, None, None, None)
    z = torch.randn(5, 1, 2, dtype=torch.float64)
    found = output.log_posterior_per_component(z)
    assert found.shape == (5, 3, 2)
    torch.testing.assert_close(found.sum(dim=-1), posterior.log_prob(z))


def test_landing_log_ratio_is_for_any_posterior():
    loc = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    root = torch.eye(2, dtype=torch.float64).requires_grad_()
    posterior = MultivariateNormal(loc, scale_tril=root)
    prior = MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    with seeded(0):
        z = posterior.rsample((4,))
    output = VAEOutput(posterior, prior, None, z)
    ratio = output.log_ratio(drops_score=True)
    torch.testing.assert_close(ratio, output.log_ratio())
    # q is the prior: nothing pulls
    for gradient in torch.autograd.grad(ratio.sum(), [loc, root]):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))
