"""Increasing maps of columns, and the likelihood that has them inside."""

import functools

import numpy as np
import pytest
import torch
from covering import cover
from scipy.integrate import trapezoid
from sklearn.base import clone
from sklearn.preprocessing import PowerTransformer

from skvae import VAETransformer
from skvae._distributions._monotone import TransformedColumns, YeoJohnsonMap
from skvae._utils._seed import seeded
from skvae.datasets import make_factors
from skvae.likelihoods import (
    Gaussian,
    GaussianMixture,
    Laplace,
    LogNormal,
    StudentT,
    Transformed,
    _transformed,
)

N_STANDARD_ERRORS = 5
N = 500


def draw_columns(seed=0, n=N):
    """Return one kind a column: normal, skewed, two modes, half zeros, heavy tails."""
    generator = np.random.default_rng(seed)
    normal = generator.standard_normal((n, 5))
    return np.column_stack(
        [
            3 + normal[:, 0],
            np.exp(1.5 * normal[:, 1]),
            np.where(normal[:, 2] < 0, -4, 4) + generator.standard_normal(n),
            np.where(normal[:, 3] < 0, 0, normal[:, 3]),
            generator.standard_t(2, n),
        ]
    )


def adapt(method="yeo_johnson", base="gaussian_mixture", x=None, weight=None):
    likelihood = Transformed(method, base)
    likelihood.adapt(draw_columns() if x is None else x, weight)
    return likelihood


def draw_inputs(likelihood, n_samples=2, n_features=5, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)

    return (
        draw(n_samples, likelihood.n_raw, n_features),
        draw(1, *likelihood.free_shape(n_features)).abs(),
        draw(n_samples, 2, n_features) - torch.tensor([0.0, 1.0]).double()[:, None],
        draw(1, n_features).abs() + 0.02,
    )


METHODS = ["yeo_johnson", "quantile"]
BASES = ["gaussian", "gaussian_mixture", Laplace(), StudentT(8.0)]
over_methods = pytest.mark.parametrize("method", METHODS)
over_bases = pytest.mark.parametrize("base", BASES, ids=repr)


# maps ---------------------------------------------------------------------------------


@over_methods
def test_map_is_increasing_and_inverted(method):
    x = torch.cat([torch.linspace(-50, 200, 9999), torch.tensor([-1e9, 1e9])]).double()
    x = x.sort().values[:, None].expand(-1, 5)
    column_map = adapt(method)._map
    t, log_slope = column_map.forward(x)
    assert (t.diff(dim=0) > 0).all()
    assert torch.isfinite(log_slope).all()
    torch.testing.assert_close(column_map.inverse(t), x, rtol=1e-9, atol=1e-8)


@over_methods
def test_log_slope_is_that_of_finite_differences(method):
    # knots are midway between values, and the ends of powers are the outermost
    x = torch.as_tensor(np.unique(draw_columns()[1:-1], axis=0)).double()
    column_map = adapt(method)._map
    step = 1e-7
    rise = column_map.forward(x + step)[0] - column_map.forward(x - step)[0]
    slope = column_map.forward(x)[1].exp()
    is_end = (x == x.amin(dim=0)) | (x == x.amax(dim=0))
    difference = (rise / (2 * step) / slope - 1).abs().masked_fill(is_end, 0)
    # a few values are closer to a knot than the step
    assert (difference < 1e-5).double().mean() > 0.995


@over_methods
def test_mapped_rows_have_mean_0_and_variance_1(method):
    t = adapt(method).link.represent(torch.as_tensor(draw_columns()))
    torch.testing.assert_close(t.mean(dim=0), torch.zeros(5).double())
    torch.testing.assert_close(t.var(dim=0, correction=0), torch.ones(5).double())


def test_powers_are_those_of_scikit_learn():
    x = draw_columns()
    found = adapt("yeo_johnson")._map
    np.testing.assert_allclose(found.centre, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.scale, x.std(axis=0), rtol=1e-12)
    # to the last bit what was searched on: another rounding moves the optimum by what
    # the search leaves open, 1e-8
    v = (x - found.centre.numpy()) / found.scale.numpy()
    transformer = PowerTransformer(standardize=True).fit(v)
    inside = ((transformer.lambdas_ > -3) & (transformer.lambdas_ < 5)).nonzero()[0]
    assert len(inside) >= 4
    expected = transformer.transform(v)[:, inside]
    t = found.forward(torch.as_tensor(x))[0].numpy()[:, inside]
    np.testing.assert_allclose(t, expected, atol=1e-9)


@pytest.mark.parametrize("power", [-3.0, -1e-9, 0.0, 1e-9, 1.0, 2 - 1e-9, 2.0, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_powers_keep_digits(power, dtype):
    one = torch.ones(1, dtype=dtype)
    column_map = YeoJohnsonMap(0 * one, one, power * one, -30 * one, 30 * one)
    v = torch.linspace(-40, 40, 1601, dtype=dtype)[:, None]
    t, log_slope = column_map.forward(v)
    size, mu = v.abs().double(), torch.where(v < 0, 2 - power, power).double()
    exact = torch.where(mu.abs() < 1e-6, size.log1p(), ((1 + size) ** mu - 1) / mu)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-7
    inside = (size < 30).squeeze()
    exact = (v.sign() * exact)[inside]
    torch.testing.assert_close(t[inside].double(), exact, rtol=tolerance, atol=1e-6)
    expected = ((mu - 1) * size.log1p())[inside]
    torch.testing.assert_close(log_slope[inside].double(), expected, rtol=1e-4, atol=0)
    if dtype == torch.float64:
        found = column_map.inverse(t)
        torch.testing.assert_close(found, v, rtol=1e-8, atol=1e-8)
    assert (t.diff(dim=0) >= 0).all()


def test_quantile_map_makes_normal_scores():
    x = np.exp(np.random.default_rng(0).standard_normal((5000, 1)))
    t = adapt("quantile", x=x).link.represent(torch.as_tensor(x)).numpy()
    inside = np.abs(np.log(x)) < 2.5
    np.testing.assert_allclose(t[inside], np.log(x)[inside], atol=0.25)
    assert np.abs(t - np.log(x)).mean() < 0.03


@over_methods
def test_constant_columns_and_few_rows_have_a_map(method):
    tables = [
        np.full((9, 2), 7.0),
        np.array([[0.0, 1.0], [1.0, 1e9]]),
        np.zeros((3, 2)),
        np.array([[1e-30, -1e12], [2e-30, 1e12]]),
    ]
    for x in tables:
        likelihood = adapt(method, x=x)
        rows = torch.as_tensor(x)
        t, log_slope = likelihood._map.forward(rows)
        assert torch.isfinite(t).all()
        assert torch.isfinite(log_slope).all()
        torch.testing.assert_close(likelihood._map.inverse(t), rows)


@over_methods
def test_weights_stand_for_repeated_rows(method):
    x, weight = draw_columns(), 1 + np.arange(N) % 3
    one, many = adapt(method, x=x, weight=weight), adapt(method, x=x.repeat(weight, 0))
    rows = torch.as_tensor(x)
    expected = many.link.represent(rows)
    # quantile maps count rows that have the same variance of a mean
    error = (one.link.represent(rows) - expected).abs().mean()
    assert error < (1e-2 if method == "yeo_johnson" else 0.1)


# what holds for all of them -----------------------------------------------------------


@over_methods
@over_bases
def test_density_integrates_to_one(method, base):
    likelihood = adapt(method, base)
    distribution = likelihood(*draw_inputs(likelihood))
    # a grid that is even in T, on which nothing is missed
    t = torch.linspace(-14, 14, 320_001, dtype=torch.float64)[:, None, None]
    x = likelihood._map.inverse(t.expand(-1, 1, 5))
    density = distribution.log_prob(x).exp()
    total = trapezoid(density.numpy(), x=x.numpy(), axis=0)
    # Student's t has mass beyond
    atol = 2e-2 if isinstance(base, StudentT) else 2e-3
    np.testing.assert_allclose(total, 1, atol=atol)


@over_methods
@over_bases
def test_samples_meet_mean_and_variance(method, base):
    likelihood = adapt(method, base)
    distribution = likelihood(*draw_inputs(likelihood))
    with seeded(0):
        x = distribution.sample((20_000,))
    assert x.shape == (20_000, 2, 5)
    error = x.std(dim=0) / len(x) ** 0.5
    assert ((x.mean(dim=0) - distribution.mean).abs() < N_STANDARD_ERRORS * error).all()
    # the square of the rare and far is no matter of 20,000 draws: from the density
    t = torch.linspace(-30, 30, 120_001, dtype=torch.float64)[:, None, None]
    x = likelihood._map.inverse(t.expand(-1, 1, 5))
    density = distribution.log_prob(x).exp() * (x - distribution.mean) ** 2
    expected = torch.trapezoid(density, x.expand_as(density), dim=0)
    # where the map has a corner far out, the quadrature is good to 3 %
    torch.testing.assert_close(distribution.variance, expected, rtol=0.04, atol=0)


@over_methods
@pytest.mark.parametrize("base", ["gaussian", "gaussian_mixture"])
def test_gradients_equal_finite_differences(method, base):
    likelihood = adapt(method, base)
    *inputs, log_range = draw_inputs(likelihood)
    with seeded(1):
        x = likelihood(*inputs, log_range).sample()
    raw, free, start = (tensor.requires_grad_() for tensor in inputs)

    def log_prob(raw, start):
        return likelihood(raw, free, start, log_range).log_prob(x)

    assert torch.autograd.gradcheck(log_prob, (raw, start))


@pytest.mark.parametrize(
    ("method", "base", "dtype", "value"),
    cover(METHODS, BASES, [torch.float32, torch.float64], [-1e3, 1e3], strength=2),
    ids=repr,
)
def test_all_is_finite_at_extremes(method, base, dtype, value):
    likelihood = adapt(method, base)
    raw, free, start, _ = (t.to(dtype) for t in draw_inputs(likelihood))
    raw, free = torch.full_like(raw, value), torch.full_like(free, value)
    inputs = [t.requires_grad_() for t in (raw, free, start)]
    distribution = likelihood(*inputs, torch.full((1, 5), 2.0, dtype=dtype))
    x = torch.tensor([[-1e9, 0.0, 0.5, 1.0, 1e9]], dtype=dtype).expand(2, 5)
    log_prob = distribution.log_prob(x)
    assert torch.isfinite(log_prob).all()
    for grad in torch.autograd.grad(log_prob.sum(), inputs, allow_unused=True):
        assert grad is None or torch.isfinite(grad).all()
    assert torch.isfinite(distribution.mean).all()
    assert torch.isfinite(distribution.variance).all()
    assert torch.isfinite(distribution.sample((3,))).all()


@over_methods
@pytest.mark.parametrize("leading", [(6,), (6, 2)])
def test_leading_dimensions_are_free(method, leading):
    likelihood = adapt(method)
    raw, free, start, log_range = draw_inputs(likelihood)
    distribution = likelihood(raw, free, start, log_range)
    x = distribution.sample()
    repeated = likelihood(
        raw.expand(*leading, *raw.shape),
        free,
        start.expand(*leading, 2, 2, 5),
        log_range,
    )
    expected = distribution.log_prob(x).expand(*leading, 2, 5)
    torch.testing.assert_close(repeated.log_prob(x), expected)
    assert repeated.mean.shape == repeated.variance.shape == (*leading, 2, 5)
    assert repeated.sample((2,)).shape == (2, *leading, 2, 5)


def test_distribution_without_rows_is_the_base():
    likelihood = Transformed(base="gaussian")
    raw, free, start, log_range = draw_inputs(likelihood)
    start[:, 1] = 0.0
    x = torch.linspace(-3, 3, 5).double().expand(2, 5)
    found = likelihood(raw, free, start, log_range)
    assert isinstance(found, TransformedColumns)
    expected = Gaussian()(raw, free, start[:, 0], log_range)
    torch.testing.assert_close(found.log_prob(x), expected.log_prob(x))
    torch.testing.assert_close(found.mean, expected.mean, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.variance, expected.variance, rtol=1e-9, atol=0)


# models -------------------------------------------------------------------------------


def test_linear_model_without_bend_is_factor_analysis(monkeypatch):
    monkeypatch.setattr(_transformed, "_find_powers", lambda v: np.ones(v.shape[1]))
    X, _ = make_factors(n_samples=400, n_features=5, n_components=2, random_state=0)
    X = 10 * X + 3
    common = {"hidden_layer_sizes": (), "max_epochs": 0, "random_state": 0}
    one, other = (
        VAETransformer(2, likelihood=likelihood, **common).fit(X)
        for likelihood in ("gaussian", Transformed(base="gaussian"))
    )
    # the representation is single precision
    np.testing.assert_allclose(one.score_samples(X), other.score_samples(X), atol=5e-3)
    Z = one.transform(X[:9])
    np.testing.assert_allclose(np.abs(Z), np.abs(other.transform(X[:9])), atol=1e-3)
    np.testing.assert_allclose(one.reconstruct(X), other.reconstruct(X), atol=1e-2)
    np.testing.assert_allclose(
        one.noise_variance_, other.noise_variance_, rtol=1e-2, atol=1e-4
    )


@over_methods
def test_units_are_those_of_the_columns(method):
    X = draw_columns()
    scaled = X * [1, 10, 1, 1, 1]
    common = {"likelihood": Transformed(method), "hidden_layer_sizes": (8,)}
    common |= {"max_epochs": 2, "random_state": 0}
    before = VAETransformer(2, **common).fit(X).score(X)
    after = VAETransformer(2, **common).fit(scaled).score(scaled)
    # training steps are single precision, and so are powers' rows
    assert before - after == pytest.approx(np.log(10), abs=0.05)


def score_skewed(likelihood):
    """Return the held-out score of rows that a logarithm makes normal."""
    X, _ = make_factors(n_samples=600, n_features=5, n_components=2, random_state=0)
    common = {"hidden_layer_sizes": (8,), "max_epochs": 5, "random_state": 0}
    vae = VAETransformer(2, likelihood=likelihood, **common).fit(np.exp(X[:400]))
    return vae.score(np.exp(X[400:]))


@functools.cache
def score_skewed_limits():
    return score_skewed("gaussian"), score_skewed(LogNormal())


@over_methods
@pytest.mark.parametrize("base", ["gaussian", "gaussian_mixture"])
def test_skewed_columns_gain(method, base):
    plain, best = score_skewed_limits()
    assert plain + 1 < score_skewed(Transformed(method, base)) < best + 0.5


@over_methods
def test_parameters_can_be_searched(method):
    likelihood = Transformed(method, GaussianMixture())
    vae = VAETransformer(
        2, likelihood=likelihood, hidden_layer_sizes=(8,), max_epochs=1, random_state=0
    )
    vae.set_params(likelihood__base__n_mixture=2, likelihood__method="quantile")
    vae.fit(draw_columns())
    found = vae.net_.module_.likelihood.single
    assert found.method == "quantile"
    assert found.n_raw == GaussianMixture(2).n_raw
    copy = clone(found)
    assert copy.get_params().keys() == found.get_params().keys()
    assert not hasattr(copy, "_map")


def test_columns_beside_others_have_their_own_map():
    X = draw_columns(n=60)
    likelihood = {1: "transformed", 2: Transformed("quantile", "gaussian")}
    vae = VAETransformer(
        2, likelihood=likelihood, hidden_layer_sizes=(8,), max_epochs=2, random_state=0
    ).fit(X)
    incomplete = X.copy()
    incomplete[::3, 1] = np.nan
    assert np.isfinite(vae.score_samples(X)).all()
    assert np.isfinite(vae.impute(incomplete)).all()
    assert np.isfinite(vae.sample(50, random_state=0)).all()


@pytest.mark.parametrize(
    ("name", "likelihood"),
    [
        ("method", Transformed("unknown")),
        ("method", Transformed(None)),
        ("base", Transformed(base="unknown")),
        ("base", Transformed(base=3)),
        ("base", Transformed(base=LogNormal())),
        ("base", Transformed(base=Gaussian("low_rank"))),
        ("base", Transformed(base=Gaussian("shared"))),
        ("base", Transformed(base=Gaussian(0.5))),
        ("base", Transformed(base=GaussianMixture(n_atoms=3))),
        ("n_mixture", Transformed(base=GaussianMixture(1))),
        ("noise", Transformed(base=Laplace("unknown"))),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(name, likelihood):
    with pytest.raises((ValueError, TypeError), match=name):
        VAETransformer(1, likelihood=likelihood, max_epochs=0).fit(draw_columns())
