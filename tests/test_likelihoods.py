import numpy as np
import pytest
import torch
from covering import cover
from scipy.integrate import simpson
from sklearn.base import clone
from torch.distributions import Normal, constraints

from skvae import VAETransformer
from skvae._utils._seed import seeded
from skvae.likelihoods import (
    LIKELIHOODS,
    Bernoulli,
    Gaussian,
    GaussianMixture,
    Laplace,
    Likelihood,
    StudentT,
)

# a seeded average further than this from its expectation is a bug, not bad luck
N_STANDARD_ERRORS = 5

# the others have tests in files of their own
VARIANTS = [
    *(LIKELIHOODS[name]() for name in ("gaussian", "gaussian_mixture", "bernoulli")),
    Gaussian(noise="shared"),
    Gaussian(noise="network"),
    Gaussian(noise=0.5),
    GaussianMixture(n_mixture=2),
    GaussianMixture(n_mixture=5),
]
SCALED = [likelihood for likelihood in VARIANTS if likelihood.link.is_scaled]
MIXTURES = [GaussianMixture(n_mixture) for n_mixture in (2, 3, 5)]

over_variants = pytest.mark.parametrize("likelihood", VARIANTS, ids=repr)
over_scaled = pytest.mark.parametrize("likelihood", SCALED, ids=repr)
over_mixtures = pytest.mark.parametrize("likelihood", MIXTURES, ids=repr)


def draw_inputs(likelihood, n_samples=3, n_features=4, seed=0):
    """Return raw, free, start and log_range as a module hands them over, float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return (
        draw(n_samples, likelihood.n_raw, n_features),
        draw(1, *likelihood.free_shape(n_features)),
        draw(n_samples, n_features),
        draw(1, n_features).abs() + 0.02,
    )


def get_scales(distribution):
    """Return all scales, those of mixture components one by one."""
    # the background is wider than any of them
    distribution = getattr(distribution, "mixture", distribution)
    if hasattr(distribution, "log_scale"):
        return distribution.log_scale.exp()
    return distribution.scale


@over_variants
def test_log_prob_has_one_value_a_column(likelihood):
    raw, free, start, log_range = draw_inputs(likelihood)
    distribution = likelihood(raw, free, start, log_range)
    x = torch.zeros(3, 4, dtype=torch.float64)
    assert distribution.log_prob(x).shape == (3, 4)
    assert distribution.mean.shape == (3, 4)
    assert distribution.variance.shape == (3, 4)
    assert distribution.sample().shape == (3, 4)


@over_variants
@pytest.mark.parametrize("leading", [(6,), (6, 2)])
def test_leading_dimensions_are_free(likelihood, leading):
    raw, free, start, log_range = draw_inputs(likelihood)
    x = likelihood(raw, free, start, log_range).sample()
    expected = likelihood(raw, free, start, log_range).log_prob(x)
    repeated = likelihood(
        raw.expand(*leading, *raw.shape),
        free,
        start.expand(*leading, *start.shape),
        log_range,
    )
    log_prob = repeated.log_prob(x)
    torch.testing.assert_close(log_prob, expected.expand_as(log_prob))


@over_scaled
def test_zero_is_the_linear_start_with_unit_noise(likelihood):
    raw, free, start, log_range = draw_inputs(likelihood)
    zero = likelihood(torch.zeros_like(raw), torch.zeros_like(free), start, log_range)
    torch.testing.assert_close(zero.mean, start, rtol=0, atol=1e-12)
    torch.testing.assert_close(zero.variance, torch.ones_like(start), rtol=0, atol=1e-9)
    x = start + torch.linspace(-6, 6, 4, dtype=torch.float64)
    expected = Normal(start, 1.0).log_prob(x)
    torch.testing.assert_close(zero.log_prob(x), expected, rtol=0, atol=1e-12)


def test_zero_is_the_linear_start_of_a_logistic_model():
    raw, free, start, log_range = draw_inputs(Bernoulli())
    zero = Bernoulli()(torch.zeros_like(raw), free, start, log_range)
    torch.testing.assert_close(zero.mean, torch.sigmoid(start))


@over_variants
def test_density_sums_to_one(likelihood):
    raw, free, start, log_range = draw_inputs(likelihood, n_samples=2, n_features=3)
    distribution = likelihood(raw, free, start, log_range)
    if distribution.support is constraints.boolean:
        grid = torch.tensor([0.0, 1.0], dtype=torch.float64)
        density = distribution.log_prob(grid[:, None, None]).exp()
        total = density.sum(dim=0).numpy()
    else:
        grid = torch.linspace(-200, 200, 40_001, dtype=torch.float64)
        density = distribution.log_prob(grid[:, None, None]).exp()
        total = simpson(density.numpy(), x=grid.numpy(), axis=0)
    np.testing.assert_allclose(total, 1, atol=1e-8)


@over_variants
def test_samples_meet_mean_and_variance(likelihood):
    raw, free, start, log_range = draw_inputs(likelihood)
    distribution = likelihood(raw, free, start, log_range)
    with seeded(0):
        x = distribution.sample((20_000,))
    error = x.std(dim=0) / len(x) ** 0.5
    difference = x.mean(dim=0) - distribution.mean
    assert (difference.abs() < N_STANDARD_ERRORS * error).all()
    square = (x - distribution.mean) ** 2
    error = square.std(dim=0) / len(x) ** 0.5
    difference = square.mean(dim=0) - distribution.variance
    assert (difference.abs() < N_STANDARD_ERRORS * error).all()


@pytest.mark.parametrize(
    ("likelihood", "dtype", "value", "width"),
    cover(
        VARIANTS,
        [torch.float32, torch.float64],
        [-1e3, 1e3, "mixed"],
        [0.02, 13.8],
        strength=2,
    ),
    ids=repr,
)
def test_gradients_are_finite_at_extreme_raw_values(likelihood, dtype, value, width):
    raw, free, start, log_range = (t.to(dtype) for t in draw_inputs(likelihood))
    if value == "mixed":
        raw, free = 1e3 * raw.sign(), 1e3 * free.sign()
    else:
        raw, free = torch.full_like(raw, value), torch.full_like(free, value)
    log_range = torch.full_like(log_range, width)
    inputs = [raw.requires_grad_(), free.requires_grad_(), start.requires_grad_()]
    distribution = likelihood(*inputs, log_range)
    x = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=dtype).expand(3, 4)
    log_prob = distribution.log_prob(x)
    assert torch.isfinite(log_prob).all()
    gradients = torch.autograd.grad(log_prob.sum(), inputs, allow_unused=True)
    for gradient in gradients:
        assert gradient is None or torch.isfinite(gradient).all()


@over_variants
def test_moments_and_samples_are_finite_at_extreme_raw_values(likelihood):
    raw, free, start, log_range = (t.float() for t in draw_inputs(likelihood))
    distribution = likelihood(1e3 * raw, 1e3 * free, start, log_range)
    assert torch.isfinite(distribution.mean).all()
    assert torch.isfinite(distribution.variance).all()
    assert torch.isfinite(distribution.sample()).all()


@over_scaled
def test_scale_never_falls_below_its_range(likelihood):
    raw, free, start, log_range = draw_inputs(likelihood)
    for value in (-1e3, -10.0, -1.0, -0.1):
        distribution = likelihood(
            torch.full_like(raw, value), torch.full_like(free, value), start, log_range
        )
        lowest = (-log_range).exp() * (1 - 1e-12)
        assert (get_scales(distribution) >= lowest.unsqueeze(-2)).all()


def test_scale_rises_with_its_raw_value():
    values = torch.linspace(-20, 20, 401, dtype=torch.float64)
    log_range = torch.tensor([[0.02, 1.0, 10.0]], dtype=torch.float64)
    raw = torch.zeros(401, 2, 3, dtype=torch.float64)
    raw[:, 1] = values[:, None]
    start = torch.zeros(401, 3, dtype=torch.float64)
    free = torch.zeros(1, 0, 3, dtype=torch.float64)
    scale = Gaussian(noise="network")(raw, free, start, log_range).scale
    assert (scale.diff(dim=0) >= 0).all()
    torch.testing.assert_close(scale[200], torch.ones(3).double())
    # what is learned in the other two ways takes the same road, one noise for all
    # that of the column with the least range
    for noise, shape, expected in (
        ("feature", (401, 1, 3), scale),
        ("shared", (401, 1, 1), scale[:, :1].expand(-1, 3)),
    ):
        free = values[:, None, None].expand(shape)
        other = Gaussian(noise=noise)(raw[:, :1], free, start, log_range).scale
        torch.testing.assert_close(other, expected, rtol=0, atol=0)


@over_mixtures
def test_component_scales_rise_with_their_raw_values(likelihood):
    k = likelihood.n_mixture
    values = torch.linspace(-20, 20, 401, dtype=torch.float64)
    log_range = torch.tensor([[0.02, 1.0, 10.0]], dtype=torch.float64)
    raw = torch.zeros(401, likelihood.n_raw, 3, dtype=torch.float64)
    raw[:, k : 2 * k] = values[:, None, None]
    start = torch.zeros(401, 3, dtype=torch.float64)
    free = torch.zeros(likelihood.free_shape(raw.shape[-1]))
    log_scale = likelihood(raw, free, start, log_range).mixture.log_scale
    assert (log_scale.diff(dim=0) >= 0).all()
    # the last is the linear start, and never narrower than its noise
    assert (log_scale[:, -1] >= 0).all()


def test_known_noise_is_the_unit_of_the_module():
    raw, free, start, log_range = draw_inputs(Gaussian(noise=0.5))
    assert Gaussian(noise=0.5).link.fixed_noise == 0.5
    assert Gaussian(noise="feature").link.fixed_noise is None
    scale = Gaussian(noise=0.5)(raw, free, start, log_range).scale
    torch.testing.assert_close(scale.expand(3, 4), torch.ones(3, 4).double())


@pytest.mark.parametrize("distribution", [Gaussian, Laplace, StudentT])
def test_shared_noise_is_one_value_for_all_columns(distribution):
    likelihood = distribution(noise="shared")
    raw, free, start, _ = draw_inputs(likelihood)
    log_range = torch.tensor([[2.0, 0.8, 3.0, 0.5]], dtype=torch.float64)
    scale = likelihood(raw, free - 0.7, start, log_range).scale
    assert free.shape[-1] == 1
    assert scale.unique().numel() == 1


def draw_residuals(n_samples=600, seed=0):
    """Return residuals of mean 0 and variance about 1, one kind a column."""
    generator = np.random.default_rng(seed)
    normal = generator.standard_normal(n_samples)
    sign = generator.choice([-1.0, 1.0], n_samples)
    columns = {
        "normal": normal,
        "bimodal": 0.98 * sign + 0.2 * generator.standard_normal(n_samples),
        "heavy": generator.standard_t(3, n_samples) / np.sqrt(3),
        "skewed": generator.exponential(size=n_samples) - 1,
        "repeated": np.where(generator.random(n_samples) < 0.5, 0.0, 1.4 * normal),
    }
    return list(columns), torch.as_tensor(np.column_stack(list(columns.values())))


def initialize(likelihood, residual, log_range):
    """Return initial values for residuals of the linear model."""
    if likelihood.initialize is not None:
        return likelihood.initialize(residual, torch.zeros_like(residual), log_range)
    n_features = residual.shape[1]
    raw = residual.new_zeros(likelihood.n_raw, n_features)
    return raw, residual.new_zeros(likelihood.free_shape(n_features))


def compute_start_gain(likelihood, residual, log_range):
    """Return how much better than N(0, 1) initial values are, nats a row and column."""
    raw, free = initialize(likelihood, residual, log_range)
    assert raw.shape == (likelihood.n_raw, residual.shape[1])
    assert free.shape == likelihood.free_shape(residual.shape[1])
    raw, offset = raw.expand(len(residual), -1, -1), torch.zeros_like(residual)
    log_prob = likelihood(raw, free, offset, log_range[None]).log_prob(residual)
    return (log_prob - Normal(0.0, 1.0).log_prob(residual)).mean(dim=0)


@over_scaled
@pytest.mark.parametrize("n_samples", [40, 600])
def test_start_never_costs_more_than_a_little(likelihood, n_samples):
    _, residual = draw_residuals(n_samples)
    log_range = torch.full((residual.shape[1],), 3.0, dtype=torch.float64)
    gain = compute_start_gain(likelihood, residual, log_range)
    # the share of the linear component, 0.05, is the price, and EM has not converged
    assert (gain > -0.02).all()


@over_mixtures
def test_start_finds_modes_tails_and_repeated_values(likelihood):
    names, residual = draw_residuals()
    log_range = torch.full((residual.shape[1],), 3.0, dtype=torch.float64)
    gain = compute_start_gain(likelihood, residual, log_range)
    gain = dict(zip(names, gain.tolist(), strict=True))
    assert gain["heavy"] > 0.1
    assert gain["skewed"] > 0.1
    # with two components one of them is the linear start, too wide for either mode
    if likelihood.n_mixture > 2:
        assert gain["bimodal"] > 0.5
        assert gain["repeated"] > 0.5


@over_mixtures
def test_no_raw_value_is_dead_where_training_starts(likelihood):
    _, residual = draw_residuals()
    log_range = torch.full((residual.shape[1],), 3.0, dtype=torch.float64)
    raw, free = initialize(likelihood, residual, log_range)
    raw.requires_grad_()
    distribution = likelihood(
        raw.expand(len(residual), -1, -1),
        free,
        torch.zeros_like(residual),
        log_range[None],
    )
    loss = -distribution.log_prob(residual).mean()
    (gradient,) = torch.autograd.grad(loss, raw)
    assert (gradient != 0).all()


@over_mixtures
def test_start_is_finite_for_constant_residuals_and_few_rows(likelihood):
    for residual in (torch.zeros(10, 2), torch.ones(1, 2), torch.ones(2, 2)):
        residual = residual.double()
        raw, _ = initialize(likelihood, residual, torch.full((2,), 3.0).double())
        assert torch.isfinite(raw).all()


@over_mixtures
def test_start_is_finite_for_one_outlier(likelihood):
    residual = torch.zeros(200, 1, dtype=torch.float64)
    residual[0] = 1e6
    log_range = torch.full((1,), 3.0, dtype=torch.float64)
    raw, _ = initialize(likelihood, residual, log_range)
    assert torch.isfinite(raw).all()
    assert (compute_start_gain(likelihood, residual, log_range) > 0).all()


@over_variants
def test_start_leaves_its_input_alone(likelihood):
    _, residual = draw_residuals(50)
    before = residual.clone()
    initialize(likelihood, residual, torch.full((5,), 3.0, dtype=torch.float64))
    torch.testing.assert_close(residual, before, rtol=0, atol=0)


@over_variants
def test_support_agrees_with_that_of_the_distribution(likelihood):
    values = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0, 1e6], dtype=torch.float64)
    x = values[:, None].expand(-1, 4)
    raw, free, start, log_range = draw_inputs(likelihood, n_samples=1)
    support = likelihood(raw, free, start, log_range).support
    is_outside = torch.as_tensor(likelihood.support.find_outside(x.numpy()))
    assert is_outside.shape == x.shape
    assert (is_outside == ~support.check(x)).all()


@pytest.mark.parametrize(
    ("name", "likelihood"),
    [
        ("noise", Gaussian(noise="unknown")),
        ("noise", Gaussian(noise=-1.0)),
        ("noise", Gaussian(noise=0.0)),
        ("variance_floor", Gaussian(variance_floor=-1.0)),
        ("variance_floor", GaussianMixture(variance_floor="unknown")),
        ("n_mixture", GaussianMixture(n_mixture=0)),
        ("n_mixture", GaussianMixture(n_mixture=1)),
        ("n_mixture", GaussianMixture(n_mixture=2.5)),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(name, likelihood):
    X = np.random.default_rng(0).standard_normal((30, 3))
    with pytest.raises((ValueError, TypeError), match=name):
        VAETransformer(1, likelihood=likelihood, max_epochs=0).fit(X)


@over_variants
def test_parameters_survive_clone(likelihood):
    copy = clone(likelihood)
    assert copy is not likelihood
    assert copy.get_params() == likelihood.get_params()
    assert repr(copy) == repr(likelihood)
    assert copy.n_raw == likelihood.n_raw
    copy.set_params(**type(likelihood)().get_params())
    assert copy.get_params() == type(likelihood)().get_params()


def test_contract_is_small():
    names = [name for name in vars(Likelihood) if not name.startswith("_")]
    assert len(names) <= 12
