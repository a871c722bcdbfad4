"""Angles: densities that go round, and what methods return of them."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.special import i0e, i1e
from sklearn.base import clone

from skvae import VAETransformer
from skvae._distributions._von_mises import VonMises as VonMisesDistribution
from skvae._utils._seed import seeded
from skvae.likelihoods import Autoregressive, VonMises

N, D = 3, 4
N_STANDARD_ERRORS = 5
TURN = 2 * np.pi
PERIODS = [TURN, 360.0, 24]
SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}

pytestmark = pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def make(period=TURN, scale=3.0, dtype=torch.float64, low=0.0):
    """Return a distribution with parameters of its own in every cell."""
    east, north = (scale * draw(N, D, seed=seed).to(dtype) for seed in (0, 1))
    return VonMisesDistribution(east, north, torch.full((D,), low).to(dtype), period)


def get_parameters(distribution):
    """Return mean direction and concentration, in radians."""
    parts = distribution.east, distribution.north
    east, north = (part.double().numpy() for part in parts)
    return np.arctan2(north, east), np.hypot(east, north)


def make_inputs(likelihood, seed=0):
    """Return raw, free, offset and log_range as a module hands them over, float64."""
    parts = draw(N, 2, D, seed=seed), draw(1, 1, D, seed=2), draw(N, 2, D, seed=3)
    return *parts, torch.ones(1, D, dtype=torch.float64)


def draw_angles(n_samples=300, n_features=4, seed=0):
    """Return directions in radians, that turn with one factor."""
    generator = np.random.default_rng(seed)
    z = generator.standard_normal((n_samples, 1))
    loc = generator.uniform(-3, 3, n_features) + z
    return generator.vonmises(loc, 10.0) % TURN


# the distribution ---------------------------------------------------------------------


@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize("scale", [1e-4, 0.1, 3.0, 100.0, 1e5])
def test_density_and_moments_equal_scipy(scale, period):
    distribution = make(period, scale)
    loc, concentration = get_parameters(distribution)
    with seeded(0):
        x = distribution.sample((20,))
    found = distribution.log_prob(x).numpy() + np.log(period / TURN)
    angle = x.numpy() * TURN / period
    expected = stats.vonmises.logpdf(angle, concentration, loc)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-8)
    ratio = i1e(concentration) / i0e(concentration)
    moments = np.stack([np.cos(loc) * ratio, np.sin(loc) * ratio], axis=-2)
    np.testing.assert_allclose(distribution.moments.numpy(), moments, atol=1e-6)
    variance = 2 * (1 - ratio) * (period / TURN) ** 2
    np.testing.assert_allclose(distribution.variance.numpy(), variance, rtol=1e-4)
    mean = (loc % TURN) * period / TURN
    np.testing.assert_allclose(distribution.mean.numpy(), mean, atol=1e-9 * period)


@pytest.mark.parametrize("period", PERIODS)
def test_density_integrates_to_one_over_a_period_and_repeats(period):
    distribution = make(period)
    # the trapezoidal rule is exact for periodic functions
    x = torch.arange(2000.0).double()[:, None, None] * (period / 2000)
    density = distribution.log_prob(x).exp()
    total = density.mean(dim=0) * period
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-10)
    again = distribution.log_prob(x[:5] - 7 * period)
    torch.testing.assert_close(again, distribution.log_prob(x[:5]))


@pytest.mark.parametrize("low", [0.0, -180.0, 350.0])
def test_draws_meet_their_moments_and_stay_in_their_interval(low):
    distribution = make(360.0, low=low)
    with seeded(0):
        x = distribution.sample((20_000,))
    assert x.shape == (20_000, N, D)
    levels = (torch.arange(4000.0).double() + 0.5) / 4000
    by_level = distribution.draw_at(levels[:, None, None].expand(-1, N, D))
    for drawn, error in ((x, N_STANDARD_ERRORS / 20_000**0.5), (by_level, 1e-3)):
        assert ((drawn >= low) & (drawn < low + 360)).all()
        angle = drawn * TURN / 360
        found = torch.stack([angle.cos().mean(dim=0), angle.sin().mean(dim=0)], dim=-2)
        torch.testing.assert_close(found, distribution.moments, rtol=0, atol=error)
    mean = distribution.mean
    assert ((mean >= low) & (mean < low + 360)).all()


def test_draws_of_large_and_small_concentrations_are_finite():
    for scale in (0.0, 1e-12, 1e6):
        for dtype in (torch.float32, torch.float64):
            distribution = make(scale=scale, dtype=dtype)
            with seeded(0):
                x = distribution.sample((50,))
            levels = torch.rand(5, N, D, dtype=dtype)
            for value in (x, distribution.draw_at(levels), distribution.log_prob(x)):
                assert torch.isfinite(value).all()
                assert value.dtype == dtype


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0, 1e4, 1e6])
def test_single_precision_agrees_with_double(scale):
    double = make(scale=scale)
    with seeded(0):
        x = double.sample((50,)).float()
    single = make(scale=scale, dtype=torch.float32).log_prob(x)
    # angles are rounded by 1e-7, at a slope of √κ
    expected = double.log_prob(x.double())
    tolerance = 1e-5 + 5e-6 * scale**0.5
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=tolerance)


# the likelihood -----------------------------------------------------------------------


def test_gradients_equal_finite_differences():
    likelihood = VonMises()
    *inputs, log_range = make_inputs(likelihood)
    with seeded(0):
        x = likelihood(*inputs, log_range).sample()
    inputs = [tensor.requires_grad_() for tensor in inputs]

    def log_prob(*inputs):
        return likelihood(*inputs, log_range).log_prob(x)

    assert torch.autograd.gradcheck(log_prob, inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [-1e3, 0.0, 1e3])
def test_all_is_finite_at_extreme_raw_values(dtype, value):
    likelihood = VonMises()
    inputs = [torch.full_like(t, value, dtype=dtype) for t in make_inputs(likelihood)]
    for offset in (torch.zeros_like(inputs[2]), inputs[2]):
        given = [t.clone().requires_grad_() for t in (*inputs[:2], offset)]
        for x in (0.0, 3.0, -1e6, 1e12):
            distribution = likelihood(*given, torch.ones(1, D, dtype=dtype))
            log_prob = distribution.log_prob(torch.full((N, D), x, dtype=dtype))
            gradients = torch.autograd.grad(log_prob.sum(), given)
            for found in (log_prob, *gradients):
                assert torch.isfinite(found).all()
        with torch.no_grad(), seeded(0):
            for found in (distribution.mean, distribution.variance):
                assert torch.isfinite(found).all()
            assert torch.isfinite(distribution.sample((3,))).all()
            assert (distribution.concentration <= 1e6 * (1 + 1e-6)).all()


def test_zeros_are_the_linear_model_where_it_knows_little():
    likelihood = VonMises()
    raw, free, offset, log_range = make_inputs(likelihood)
    offset = 0.01 * offset
    zero = likelihood(torch.zeros_like(raw), torch.zeros_like(free), offset, log_range)
    torch.testing.assert_close(zero.moments, offset, rtol=1e-3, atol=0)


def test_start_is_the_concentration_of_maximum_likelihood():
    x = np.random.default_rng(0).vonmises(1.0, [0.5, 5.0, 200.0], (4000, 3))
    mean = np.stack([np.cos(x).mean(axis=0), np.sin(x).mean(axis=0)])
    offset = torch.as_tensor(mean).expand(len(x), 2, 3)
    likelihood = VonMises()
    incomplete = torch.as_tensor(np.where(np.arange(4000)[:, None] < 9, np.nan, x))
    for rows in (torch.as_tensor(x), incomplete):
        raw, free = likelihood.initialize(rows, offset, torch.ones(3))
        found = likelihood(raw[None], free[None], offset[:1], torch.ones(1, 3))
        for j, column in enumerate(x.T):
            expected = stats.vonmises.fit(column, fscale=1)[0]
            assert abs(float(found.concentration[0, j]) / expected - 1) < 0.01


@pytest.mark.parametrize("period", [0, -1.0, np.inf, np.nan, "degrees", True, None])
def test_parameters_out_of_range_are_refused_by_name(period):
    vae = VAETransformer(1, likelihood=VonMises(period), max_epochs=0)
    with pytest.raises((ValueError, TypeError), match="period"):
        vae.fit(draw_angles(30))


def test_parameters_survive_clone():
    likelihood = VonMises(360)
    likelihood.adapt(np.degrees(draw_angles()))
    copy = clone(likelihood)
    assert repr(copy) == repr(likelihood) == "VonMises(period=360)"
    assert vars(copy) == {"period": 360}


# in the estimator ---------------------------------------------------------------------


@pytest.mark.parametrize("density", ["after", "joint"])
def test_units_change_scores_by_their_logarithm_alone(density):
    X = draw_angles()
    radians = VAETransformer(1, likelihood="von_mises", density=density, **SMALL)
    degrees = clone(radians).set_params(likelihood=VonMises(360))
    expected = radians.fit(X).score_samples(X) - 4 * np.log(360 / TURN)
    found = degrees.fit(np.degrees(X)).score_samples(np.degrees(X))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    turned = radians.score_samples(X + TURN * np.arange(4))
    np.testing.assert_allclose(turned, radians.score_samples(X), atol=1e-6)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 360), (-180, 180), (300, 660), (-500, 4000)]
)
def test_rows_come_back_in_the_interval_of_the_training_rows(low, high):
    X = low + np.degrees(draw_angles())
    X[0, 0] = high
    vae = VAETransformer(1, likelihood=VonMises(360), **SMALL).fit(X)
    holes = X.copy()
    holes[::2, 1] = np.nan
    for rows in (
        vae.sample(300, random_state=0),
        vae.reconstruct(X),
        vae.impute(holes),
    ):
        assert rows.min() >= low
        assert rows.max() <= high


def test_means_do_not_average_across_north():
    generator = np.random.default_rng(0)
    X = np.degrees(generator.vonmises(0.0, 50.0, (300, 3))) % 360
    vae = VAETransformer(1, likelihood=VonMises(360), **SMALL).fit(X)
    holes = X.copy()
    holes[:, 1] = np.nan
    holes[0] = X[0]
    for rows in (vae.reconstruct(X), vae.impute(holes)[1:]):
        distance = np.abs((rows[:, 1] + 180) % 360 - 180)
        assert distance.max() < 60


def test_angles_are_filled_beside_columns_of_other_kinds():
    angle = draw_angles(600, 2)
    generator = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "wind": np.degrees(angle[:, 0]),
            "wave": np.degrees(angle[:, 1]),
            "speed": np.cos(angle[:, 0]) + 0.1 * generator.standard_normal(600),
            "is_east": np.sin(angle[:, 0]) > 0,
        }
    )
    likelihood = {"wind": VonMises(360), "wave": VonMises(360)}
    vae = VAETransformer(
        2, likelihood=likelihood, hidden_layer_sizes=(32,), random_state=0
    ).fit(frame[:400])
    assert list(vae.columns_.to_frame().likelihood[:2]) == ["VonMises", "VonMises"]
    test = frame[400:].copy()
    holes = test.assign(wind=np.nan)
    error = np.radians(vae.impute(holes)["wind"] - test["wind"])
    assert np.cos(error).mean() > 0.8
    given = vae.sample(200, given={"wind": 90.0}, random_state=0)
    assert given["is_east"].mean() > 0.7
    again = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(again.score_samples(test), vae.score_samples(test))


@pytest.mark.parametrize("likelihood", [VonMises(), Autoregressive(VonMises())])
def test_constant_angles_and_few_rows_have_finite_scores(likelihood):
    X = draw_angles(40)
    X[:, 1], X[:, 2] = 0.0, 1.5
    for rows in (X, np.zeros((10, 3)), X[:2]):
        for init in ("linear", "random"):
            vae = VAETransformer(1, likelihood=likelihood, init=init, **SMALL).fit(rows)
            scores = vae.score_samples(rows)
            assert np.isfinite(scores).all()
            assert np.isfinite(vae.sample(5)).all()
