import math

import numpy as np
import pytest
import torch
from scipy.integrate import simpson
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from skvae._distributions._base import broadcast_shapes
from skvae._distributions._beta import Beta
from skvae._distributions._mixtures import (
    BackgroundMixture,
    DiagonalNormalMixture,
    NormalMixture,
    ShiftedMixture,
)
from skvae._utils._seed import seeded

# a seeded average further than this from its expectation is a bug, not bad luck
N_STANDARD_ERRORS = 5


def draw_parameters(shape, n_mixture, n_features, is_vector=False, seed=0):
    """Return logits, loc and log_scale in float64, all leaves."""
    generator = torch.Generator().manual_seed(seed)
    loc_shape = (*shape, n_mixture, n_features)
    shapes = [(*shape, n_mixture) if is_vector else loc_shape, loc_shape, loc_shape]
    draws = [
        torch.randn(s, generator=generator, dtype=torch.float64) * factor
        for s, factor in zip(shapes, (1.0, 2.0, 0.5), strict=True)
    ]
    return [draw.requires_grad_() for draw in draws]


def as_torch_columns(logits, loc, log_scale):
    """Return what NormalMixture is among the distributions of torch."""
    return MixtureSameFamily(
        Categorical(logits=logits.movedim(-2, -1)),
        Normal(loc.movedim(-2, -1), log_scale.movedim(-2, -1).exp()),
    )


def as_torch_vector(logits, loc, log_scale):
    """Return what DiagonalNormalMixture is among the distributions of torch."""
    return MixtureSameFamily(
        Categorical(logits=logits), Independent(Normal(loc, log_scale.exp()), 1)
    )


FAMILIES = {
    "columns": (NormalMixture, as_torch_columns, False),
    "vector": (DiagonalNormalMixture, as_torch_vector, True),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [(), (4,), (2, 4)])
@pytest.mark.parametrize("n_mixture", [1, 3])
def test_log_prob_and_gradients_equal_torch(family, shape, n_mixture):
    ours, reference, is_vector = FAMILIES[family]
    parameters = draw_parameters(shape, n_mixture, 5, is_vector)
    generator = torch.Generator().manual_seed(1)
    x = 3 * torch.randn((*shape, 5), generator=generator, dtype=torch.float64)
    x.requires_grad_()

    log_prob = ours(*parameters).log_prob(x)
    expected = reference(*parameters).log_prob(x)
    torch.testing.assert_close(log_prob, expected, rtol=0, atol=1e-10)

    cotangent = torch.linspace(-1, 2, log_prob.numel(), dtype=torch.float64)
    cotangent = cotangent.reshape(log_prob.shape)
    inputs = [x, *parameters]
    gradients = torch.autograd.grad(log_prob, inputs, cotangent)
    expected = torch.autograd.grad(expected, inputs, cotangent)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_equal_finite_differences(family):
    ours, _, is_vector = FAMILIES[family]
    parameters = draw_parameters((2,), 3, 2, is_vector)
    x = torch.tensor([[0.3, -1.0], [2.0, 0.0]], dtype=torch.float64)
    x.requires_grad_()

    def log_prob(x, *parameters):
        return ours(*parameters).log_prob(x)

    assert torch.autograd.gradcheck(log_prob, (x, *parameters))


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_summed_over_broadcast_dimensions(family):
    # rows (n, d) against draws of the decoder (n_draws, n, ...), and one set of
    # parameters (1, ...) against all rows
    ours, reference, is_vector = FAMILIES[family]
    logits, _, log_scale = draw_parameters((1,), 3, 2, is_vector)
    loc = draw_parameters((3, 4), 3, 2, is_vector)[1]
    x = torch.linspace(-2, 2, 8, dtype=torch.float64).reshape(4, 2).requires_grad_()
    shape = torch.broadcast_shapes(logits.shape, loc.shape[: loc.dim() - is_vector])
    inputs = [x, logits, loc, log_scale]
    log_prob = ours(logits, loc, log_scale).log_prob(x)
    whole = reference(logits.expand(shape), loc, log_scale.expand_as(loc))
    expected = whole.log_prob(x)
    torch.testing.assert_close(log_prob, expected, rtol=0, atol=1e-10)
    gradients = torch.autograd.grad(log_prob.sum(), inputs)
    for one, other in zip(
        gradients, torch.autograd.grad(expected.sum(), inputs), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_log_prob_of_fixed_parameters_has_a_gradient_in_x_alone():
    logits, loc, log_scale = (p.detach() for p in draw_parameters((2,), 3, 2))
    x = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    NormalMixture(logits, loc, log_scale).log_prob(x).sum().backward()
    fixed = as_torch_columns(logits, loc, log_scale)
    (expected,) = torch.autograd.grad(fixed.log_prob(x).sum(), x)
    torch.testing.assert_close(x.grad, expected, rtol=0, atol=1e-10)


def test_mean_variance_and_probs_equal_torch():
    parameters = draw_parameters((2, 4), 3, 5)
    ours, reference = NormalMixture(*parameters), as_torch_columns(*parameters)
    torch.testing.assert_close(ours.mean, reference.mean, rtol=0, atol=1e-10)
    torch.testing.assert_close(ours.variance, reference.variance, rtol=0, atol=1e-10)
    torch.testing.assert_close(ours.stddev, reference.stddev, rtol=0, atol=1e-10)
    probs = reference.mixture_distribution.probs
    torch.testing.assert_close(ours.probs.movedim(-2, -1), probs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_shapes_equal_those_of_torch(family):
    ours, reference, is_vector = FAMILIES[family]
    parameters = draw_parameters((2, 4), 3, 5, is_vector)
    one, other = ours(*parameters), reference(*parameters)
    assert one.batch_shape == other.batch_shape
    assert one.event_shape == other.event_shape
    for sample_shape in [(), (7,), (7, 1)]:
        assert one.sample(sample_shape).shape == other.sample(sample_shape).shape
        assert not one.sample(sample_shape).requires_grad


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_meet_mean_and_variance(family):
    ours, reference, is_vector = FAMILIES[family]
    parameters = [p.detach() for p in draw_parameters((3,), 3, 2, is_vector)]
    expected = reference(*parameters)
    with seeded(0):
        x = ours(*parameters).sample((20_000,))
    assert_moments(x, expected.mean, expected.variance)


def assert_moments(x, mean, variance):
    n = len(x)
    error = (x.var(dim=0) / n).sqrt()
    assert ((x.mean(dim=0) - mean).abs() < N_STANDARD_ERRORS * error).all()
    square = (x - mean) ** 2
    error = square.std(dim=0) / n**0.5
    assert ((square.mean(dim=0) - variance).abs() < N_STANDARD_ERRORS * error).all()


def test_vector_samples_take_all_columns_from_one_component():
    # two components far apart on the diagonal: no draw mixes their columns
    loc = torch.tensor([[-10.0, -10.0], [10.0, 10.0]])
    with seeded(0):
        x = DiagonalNormalMixture(torch.zeros(2), loc, torch.zeros(2, 2)).sample((500,))
    assert (x[:, 0] * x[:, 1] > 0).all()
    assert 0 < (x[:, 0] > 0).float().mean() < 1


def test_column_samples_choose_components_independently():
    loc = torch.tensor([[-10.0, -10.0], [10.0, 10.0]])
    with seeded(0):
        x = NormalMixture(torch.zeros(2, 2), loc, torch.zeros(2, 2)).sample((500,))
    assert (x[:, 0] * x[:, 1] < 0).any()


def test_density_of_every_column_integrates_to_one():
    parameters = [p.detach() for p in draw_parameters((), 3, 4)]
    grid = torch.linspace(-40, 40, 8001, dtype=torch.float64)
    density = NormalMixture(*parameters).log_prob(grid[:, None]).exp()
    total = simpson(density.numpy(), x=grid.numpy(), axis=0)
    np.testing.assert_allclose(total, 1, atol=1e-8)


def test_density_of_a_vector_integrates_to_one():
    parameters = [p.detach() for p in draw_parameters((), 3, 2, is_vector=True)]
    grid = torch.linspace(-20, 20, 801, dtype=torch.float64)
    points = torch.cartesian_prod(grid, grid)
    density = DiagonalNormalMixture(*parameters).log_prob(points).exp()
    inner = simpson(density.reshape(801, 801).numpy(), x=grid.numpy(), axis=1)
    assert simpson(inner, x=grid.numpy()) == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("x", [-1e8, 0.0, 1e8])
@pytest.mark.parametrize("log_scale", [-12.0, 12.0])
@pytest.mark.parametrize("logit", [-1e3, 1e3])
def test_gradients_are_finite_at_extreme_inputs(family, x, log_scale, logit):
    ours, _, is_vector = FAMILIES[family]
    parameters = [
        torch.zeros(3) if is_vector else torch.zeros(3, 2),
        torch.zeros(3, 2),
        torch.zeros(3, 2),
    ]
    parameters[0][0], parameters[1][1], parameters[2][2] = logit, 1e3, log_scale
    inputs = [torch.full((2,), x), *parameters]
    inputs = [tensor.requires_grad_() for tensor in inputs]
    log_prob = ours(*inputs[1:]).log_prob(inputs[0])
    assert torch.isfinite(log_prob).all()
    for gradient in torch.autograd.grad(log_prob.sum(), inputs):
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("mean", "precision"), [(0.9, 1e-5), (0.5, 1e-30), (0.01, 0.1), (0.3, 2.0)]
)
def test_beta_draws_meet_mean_and_variance_at_small_shapes(mean, precision, dtype):
    n = 100_000
    logit = torch.full((n,), math.log(mean / (1 - mean)), dtype=dtype)
    distribution = Beta(logit, torch.full((n,), math.log(precision), dtype=dtype))
    with seeded(0):
        x = distribution.sample().double()
    variance = mean * (1 - mean) / (1 + precision)
    assert ((x > 0) & (x < 1)).all()
    assert abs(x.mean() - mean) < N_STANDARD_ERRORS * (variance / n) ** 0.5
    # of almost Bernoulli values the fourth moment is about the second
    assert abs(x.var() - variance) < N_STANDARD_ERRORS * (variance / n) ** 0.5


@pytest.mark.parametrize(
    "shapes",
    [[(3, 4)], [(3, 4), (4,)], [(3, 1), (1, 4)], [(), (2, 0)], [(5, 1, 2), (3, 1)]],
)
def test_shapes_are_broadcast_as_torch_does(shapes):
    found = broadcast_shapes(*map(torch.Size, shapes))
    assert found == torch.broadcast_shapes(*shapes)
    assert isinstance(found, torch.Size)


def test_shapes_that_do_not_match_are_refused():
    with pytest.raises(RuntimeError, match="broadcast"):
        broadcast_shapes((2, 3), (4,))


def test_mixture_in_single_precision_agrees_with_double():
    generator = torch.Generator().manual_seed(0)
    logits, log_scale = torch.randn(2, 7, 3, 5, generator=generator)
    shift = torch.randn(7, 2, 5, generator=generator)
    origin = 1e6 * torch.randn(7, 5, generator=generator).double()
    value = origin + torch.randn(7, 5, generator=generator)
    found = ShiftedMixture(logits, origin, shift, log_scale)
    exact = NormalMixture(logits.double(), found.loc, log_scale.double())
    log_prob = found.log_prob(value)
    assert log_prob.dtype == torch.float64
    torch.testing.assert_close(log_prob, exact.log_prob(value), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.mean, exact.mean, rtol=1e-6, atol=0)


def draw_background(n_atoms=0):
    """Return a mixture with a background, and the same as one of torch."""
    logits, loc, log_scale = (p.detach() for p in draw_parameters((4,), 3, 5))
    weight = torch.tensor([0.2, 0.1, 0.5, 1e-5, 0.01], dtype=torch.float64)
    log_reach = torch.linspace(1, 4, 5, dtype=torch.float64)
    mixture = NormalMixture(logits, loc, log_scale, n_atoms=n_atoms)
    ours = BackgroundMixture(mixture, weight.log(), log_reach)
    inside = logits.softmax(dim=-2) * (1 - weight)
    outside = weight.expand(4, 1, 5)
    probs = torch.cat([inside, outside], dim=-2).movedim(-2, -1)
    zero, wide = torch.zeros(4, 1, 5).double(), log_reach.expand(4, 1, 5)
    loc = torch.cat([loc, zero], dim=-2).movedim(-2, -1)
    scale = torch.cat([log_scale, wide], dim=-2).movedim(-2, -1).exp()
    return ours, MixtureSameFamily(Categorical(probs=probs), Normal(loc, scale))


def test_background_is_one_more_component():
    ours, reference = draw_background()
    x = torch.linspace(-60, 60, 20, dtype=torch.float64).reshape(4, 5)
    for found, expected in (
        (ours.log_prob(x), reference.log_prob(x)),
        (ours.mean, reference.mean),
        (ours.variance, reference.variance),
    ):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    parts = zip(*ours.list_components(), strict=True)
    weights, loc, scale = (torch.stack([p.expand(4, 5) for p in v], -1) for v in parts)
    twin = MixtureSameFamily(Categorical(probs=weights), Normal(loc, scale))
    torch.testing.assert_close(twin.log_prob(x), ours.log_prob(x))
    none = torch.full((5,), -torch.inf, dtype=torch.float64)
    plain, without = ours.mixture, BackgroundMixture(ours.mixture, none, none.exp())
    torch.testing.assert_close(without.log_prob(x), plain.log_prob(x))
    torch.testing.assert_close(without.variance, plain.variance)


@pytest.mark.parametrize("how", ["sample", "draw_at"])
def test_draws_with_a_background_have_its_distribution(how):
    ours, reference = draw_background()
    n = 20_000
    with seeded(0):
        draws = ours.sample((n,))
        if how == "draw_at":
            draws = ours.draw_at(torch.rand(n, 4, 5, dtype=torch.float64))
    points = torch.tensor([-20.0, -3.0, 0.0, 2.0, 15.0], dtype=torch.float64)
    for point in points:
        found = (draws < point).double().mean(dim=0)
        expected = reference.cdf(point.expand(4, 5))
        error = (expected * (1 - expected) / n).sqrt().clamp_min(1e-4)
        assert ((found - expected).abs() < N_STANDARD_ERRORS * error).all()


def test_gradients_with_a_background_equal_finite_differences():
    parameters = draw_parameters((2,), 3, 2)
    x = torch.tensor([[0.3, -1.0], [2.0, 30.0]], dtype=torch.float64)
    x.requires_grad_()
    log_weight = torch.tensor([np.log(0.1), -np.inf], dtype=torch.float64)
    log_reach = torch.tensor([2.0, 1.0], dtype=torch.float64)

    def log_prob(x, *parameters):
        mixture = NormalMixture(*parameters)
        return BackgroundMixture(mixture, log_weight, log_reach).log_prob(x)

    assert torch.autograd.gradcheck(log_prob, (x, *parameters))
