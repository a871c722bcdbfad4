"""Likelihoods with probabilities at some values and a density elsewhere."""

import functools
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.integrate import simpson
from scipy.special import expit
from sklearn.base import clone

from skvae import VAETransformer
from skvae._utils._seed import seeded
from skvae.likelihoods import Autoregressive, HurdleLogNormal
from skvae.likelihoods._base import to_log_scale

N, D = 3, 4
N_STANDARD_ERRORS = 5
SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}

pytestmark = pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")


# the table ----------------------------------------------------------------------------


def read_scale(likelihood, raw, free, log_range):
    raw_scale = raw[..., 1, :] if likelihood.noise == "network" else free[..., 0, :]
    return to_log_scale(raw_scale, log_range).exp().numpy()


class HurdleOracle:
    """Zero, or a log-normal amount."""

    def __init__(self, likelihood, raw, free, offset, log_range):
        log_unit = offset[..., 1, :].numpy()
        scale = np.exp(log_unit) * read_scale(likelihood, raw, free, log_range)
        loc = offset[..., 0, :] + offset[..., 1, :].exp() * raw[..., 0, :]
        self.amount = stats.lognorm(scale, scale=np.exp(loc.numpy()))
        self.zero = expit((offset[..., -1, :] + raw[..., -1, :]).numpy())

    def logpdf(self, x):
        with np.errstate(divide="ignore"):
            amount = np.log1p(-self.zero) + self.amount.logpdf(x)
        return np.where(x == 0, np.log(self.zero), amount)

    def mean(self):
        return (1 - self.zero) * self.amount.mean()

    def var(self):
        second = self.amount.var() + self.amount.mean() ** 2
        return (1 - self.zero) * second - self.mean() ** 2


@dataclass
class Case:
    """What the tests need to know of one likelihood."""

    likelihood: object
    make_oracle: Callable
    # values with a probability, and a grid of the others: t, x of t, and its slope
    masses: list
    grid: tuple
    edges: list
    outside: list
    # rows of normal numbers become rows of the likelihood
    make_rows: Callable


POSITIVE = (np.linspace(-60, 60, 20_001), np.exp, np.exp)
CASES = {
    repr(case.likelihood): case
    for case in [
        Case(
            HurdleLogNormal(noise),
            HurdleOracle,
            [0.0],
            POSITIVE,
            [0.0, 1e-30, 1.0, 1e12],
            [-1e-9, -1.0],
            lambda u: np.exp(u) * (u > -0.5),
        )
        for noise in ("feature", "network")
    ]
}
over_cases = pytest.mark.parametrize("name", CASES)


def make_normal_rows(n_samples=200, n_features=D, seed=0):
    generator = np.random.default_rng(seed)
    z = generator.standard_normal((n_samples, 1))
    noise = 0.5 * generator.standard_normal((n_samples, n_features))
    return z * generator.choice([-1, 1], n_features) + noise


def make_inputs(case, seed=0):
    """Return an adapted likelihood, and raw, free, offset and log_range, float64."""
    likelihood = clone(case.likelihood)
    likelihood.adapt(case.make_rows(make_normal_rows()))
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)

    raw, free = draw(N, likelihood.n_raw, D), draw(1, *likelihood.free_shape(D))
    offset = draw(N, likelihood.link.n_offsets, D)
    return likelihood, raw, free, offset, draw(1, D).abs() + 0.02


# p(x|z) -------------------------------------------------------------------------------


@over_cases
@pytest.mark.parametrize("seed", range(2))
def test_density_and_moments_equal_scipy(name, seed):
    likelihood, *inputs = make_inputs(CASES[name], seed)
    distribution = likelihood(*inputs)
    with seeded(seed):
        x = distribution.sample((50,))
    oracle = CASES[name].make_oracle(likelihood, *inputs)
    expected = oracle.logpdf(x.numpy())
    np.testing.assert_allclose(distribution.log_prob(x), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(distribution.mean, oracle.mean(), rtol=1e-9)
    np.testing.assert_allclose(distribution.variance, oracle.var(), rtol=1e-7)


@over_cases
def test_masses_and_density_add_up_to_one(name):
    likelihood, *inputs = make_inputs(CASES[name])
    distribution = likelihood(*inputs)
    t, to_support, slope = CASES[name].grid
    x = torch.as_tensor(to_support(t))[:, None, None]
    density = distribution.log_prob(x).exp().numpy() * slope(t)[:, None, None]
    total = simpson(density, x=t, axis=0)
    for value in CASES[name].masses:
        mass = distribution.log_prob(torch.full((N, D), value).double()).exp()
        assert ((mass > 0) & (mass < 1)).all()
        total = total + mass.numpy()
    np.testing.assert_allclose(total, 1, atol=1e-5)


@over_cases
def test_draws_are_as_frequent_as_their_probabilities(name):
    likelihood, *inputs = make_inputs(CASES[name])
    distribution = likelihood(*inputs)
    n = 20_000
    with seeded(0):
        x = distribution.sample((n,))
    assert not likelihood.support.find_outside(x.numpy()).any()
    assert distribution.support.check(x).all()
    levels = ((torch.arange(n) + 0.5) / n).double()[:, None, None].expand(n, N, D)
    by_level = distribution.draw_at(levels)
    for value in CASES[name].masses:
        mass = distribution.log_prob(torch.full((N, D), value).double()).exp()
        error = N_STANDARD_ERRORS * (mass * (1 - mass) / n).sqrt()
        assert (((x == value).double().mean(dim=0) - mass).abs() < error).all()
        assert (((by_level == value).double().mean(dim=0) - mass).abs() < 1e-3).all()
    # what is not a mass has the same distribution by both
    quantiles = torch.tensor([0.2, 0.5, 0.8]).double()
    for found, expected in zip(
        x.quantile(quantiles, dim=0), by_level.quantile(quantiles, dim=0), strict=True
    ):
        spread = by_level.std(dim=0)
        assert ((found - expected).abs() < 0.1 * spread).all()


@over_cases
def test_gradients_equal_finite_differences(name):
    likelihood, *inputs, log_range = make_inputs(CASES[name])
    with seeded(0):
        x = likelihood(*inputs, log_range).sample()
    x[0] = CASES[name].masses[0]
    given = [tensor.requires_grad_() for tensor in inputs if tensor.numel()]

    def log_prob(*given):
        raw, offset = given[0], given[-1]
        free = given[1] if len(given) == 3 else inputs[1]
        return likelihood(raw, free, offset, log_range).log_prob(x)

    assert torch.autograd.gradcheck(log_prob, given)


@over_cases
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [-1e3, 1e3, "mixed"])
def test_all_is_finite_at_extreme_raw_values(name, dtype, value):
    likelihood, raw, free, offset, _ = make_inputs(CASES[name])
    raw, free, offset = (t.to(dtype) for t in (raw, free, offset))
    if value == "mixed":
        raw, free = 1e3 * raw.sign(), 1e3 * free.sign()
    else:
        raw, free = torch.full_like(raw, value), torch.full_like(free, value)
    for width in (0.02, 13.8):
        given = [t.detach().requires_grad_() for t in (raw, free, offset)]
        distribution = likelihood(*given, torch.full((1, D), width, dtype=dtype))
        x = torch.tensor(CASES[name].edges, dtype=dtype).expand(N, D)
        log_prob = distribution.log_prob(x)
        assert torch.isfinite(log_prob).all()
        gradients = torch.autograd.grad(log_prob.sum(), given, allow_unused=True)
        for gradient in gradients:
            assert gradient is None or torch.isfinite(gradient).all()
        with torch.no_grad(), seeded(0):
            for found in (distribution.mean, distribution.variance):
                assert torch.isfinite(found).all()
            drawn = distribution.sample((5,))
            assert torch.isfinite(drawn).all()
            assert distribution.support.check(drawn).all()


@over_cases
@pytest.mark.parametrize("leading", [(6,), (6, 2)])
def test_leading_dimensions_are_free(name, leading):
    likelihood, raw, free, offset, log_range = make_inputs(CASES[name])
    distribution = likelihood(raw, free, offset, log_range)
    with seeded(0):
        x = distribution.sample()
    repeated = likelihood(
        raw.expand(*leading, *raw.shape),
        free,
        offset.expand(*leading, *offset.shape),
        log_range,
    )
    log_prob = repeated.log_prob(x)
    assert log_prob.shape == (*leading, N, D)
    expected = distribution.log_prob(x).expand_as(log_prob)
    torch.testing.assert_close(log_prob, expected)
    assert repeated.mean.shape == repeated.variance.shape == (*leading, N, D)
    assert repeated.sample((2,)).shape == (2, *leading, N, D)


@over_cases
def test_single_precision_agrees_with_double(name):
    likelihood, *inputs = make_inputs(CASES[name])
    double = likelihood(*inputs)
    with seeded(0):
        x = double.sample((20,)).float()
    for value in CASES[name].masses:
        x[0] = value
    single = likelihood(*(t.float() for t in inputs)).log_prob(x)
    expected = double.log_prob(x.double())
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-4)


@over_cases
def test_support_agrees_with_that_of_the_distribution(name):
    case = CASES[name]
    likelihood, *inputs = make_inputs(case)
    values = [*case.edges, *case.masses, *case.outside]
    x = torch.tensor(values, dtype=torch.float64)[:, None].expand(-1, D)
    found = torch.as_tensor(likelihood.support.find_outside(x.numpy()))
    assert (found == ~likelihood(*inputs).support.check(x)).all()
    n_inside = len(values) - len(case.outside)
    assert found[:, 0].tolist() == [False] * n_inside + [True] * len(case.outside)


# in the estimator ---------------------------------------------------------------------


@functools.cache
def fit_case(name, density="after"):
    """Return an estimator and its rows; tests must not change it."""
    X = CASES[name].make_rows(make_normal_rows())
    vae = VAETransformer(2, likelihood=clone(CASES[name].likelihood), **SMALL)
    return vae.set_params(density=density).fit(X), X


@over_cases
def test_fitted_estimators_survive_pickling_and_clone_forgets(name):
    vae, X = fit_case(name)
    again = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(again.score_samples(X), vae.score_samples(X))
    copy = clone(vae.net_.module_.likelihood.single)
    assert vars(copy).keys() == copy.get_params(deep=False).keys()
    assert repr(copy) == repr(CASES[name].likelihood)
    given = vae.likelihood
    assert vars(given).keys() == given.get_params(deep=False).keys()


@over_cases
def test_drawn_rows_have_the_masses_of_the_training_rows(name):
    vae, X = fit_case(name)
    drawn = vae.sample(2000, random_state=0)
    for value in CASES[name].masses:
        found, expected = ((rows == value).mean(axis=0) for rows in (drawn, X))
        np.testing.assert_allclose(found, expected, atol=0.12)


@over_cases
def test_cells_are_filled_and_columns_add_up(name):
    vae, X = fit_case(name)
    features = vae.score_features(X).sum(axis=1)
    expected = vae.score_samples(X, method="reconstruction")
    np.testing.assert_allclose(features, expected)
    holes = X.copy()
    holes[::2, 1] = np.nan
    for rows in (vae.impute(holes), vae.impute(holes, random_state=0)):
        assert np.isfinite(rows).all()
        np.testing.assert_array_equal(rows[1::2], X[1::2])


@over_cases
def test_columns_of_other_kinds_stand_beside_them(name):
    X = CASES[name].make_rows(make_normal_rows())
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["e"], frame["f"] = frame["a"] > frame["a"].median(), make_normal_rows()[:, 0]
    likelihood = {column: clone(CASES[name].likelihood) for column in "ab"}
    for density in ("after", "joint"):
        vae = VAETransformer(2, likelihood=likelihood, density=density, **SMALL)
        assert np.isfinite(vae.fit(frame).score(frame))
        assert np.isfinite(vae.sample(5)[["a", "b"]].to_numpy()).all()


@over_cases
@pytest.mark.parametrize("init", ["linear", "random"])
def test_constant_columns_and_few_rows_have_finite_scores(name, init):
    case = CASES[name]
    X = case.make_rows(make_normal_rows(40))
    X[:, 1], X[:, 2] = case.masses[0], 1.5
    masses = np.full((12, 3), case.masses[0])
    for likelihood in (case.likelihood, Autoregressive(case.likelihood)):
        vae = VAETransformer(1, likelihood=likelihood, init=init, **SMALL)
        for rows in (X, masses, X[:2]):
            assert np.isfinite(vae.fit(rows).score_samples(rows)).all()
            assert np.isfinite(vae.sample(5)).all()
            assert np.isfinite(vae.reconstruct(rows)).all()


@over_cases
def test_values_outside_are_refused_by_column(name):
    case = CASES[name]
    for value in case.outside:
        X = case.make_rows(make_normal_rows(30))
        X[7, 1] = value
        vae = VAETransformer(1, likelihood=case.likelihood, max_epochs=0)
        message = f"Column 1 has the value {value:g}, but likelihood=.* accepts"
        with pytest.raises(ValueError, match=message):
            vae.fit(X)


@pytest.mark.parametrize(
    ("name", "likelihood"),
    [
        ("noise", HurdleLogNormal(noise="shared")),
        ("noise", HurdleLogNormal(noise=1.0)),
        ("variance_floor", HurdleLogNormal(variance_floor=0.0)),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(name, likelihood):
    X = np.exp(make_normal_rows(30))
    with pytest.raises((ValueError, TypeError), match=name):
        VAETransformer(1, likelihood=likelihood, max_epochs=0).fit(X)


# amounts ------------------------------------------------------------------------------


def test_amounts_start_at_their_moments():
    generator = np.random.default_rng(0)
    amount = np.exp(2 + 0.7 * generator.standard_normal((20_000, 2)))
    x = amount * (generator.random(amount.shape) < [0.3, 1.0])
    likelihood = HurdleLogNormal()
    likelihood.adapt(x)
    link, none = likelihood.link, np.zeros((0, 4))
    inputs = link.represent(torch.as_tensor(x)).numpy()
    scale = np.maximum(inputs.std(axis=0), 1e-3)
    _, bias = link.convert(inputs.mean(axis=0), scale, none, np.ones(4))
    loc, log_scale, logits = bias.reshape(3, 2)
    np.testing.assert_allclose(loc, 2, atol=0.03)
    np.testing.assert_allclose(np.exp(log_scale), 0.7, rtol=0.03)
    np.testing.assert_allclose(expit(logits), [0.7, 1e-3], atol=0.02)


def test_without_zeros_the_score_is_that_of_log_normal_columns():
    X = np.exp(make_normal_rows(400))
    common = {"n_components": 1, "hidden_layer_sizes": (), "max_epochs": 60}
    hurdle, plain = (
        VAETransformer(likelihood=name, random_state=0, **common).fit(X).score(X)
        for name in ("hurdle_log_normal", "log_normal")
    )
    assert abs(hurdle - plain) < 0.05


def test_units_of_amounts_change_scores_of_amounts_alone():
    vae, X = fit_case("HurdleLogNormal()")
    other = clone(vae).fit(100 * X)
    expected = vae.score_samples(X) - np.log(100) * (X > 0).sum(axis=1)
    np.testing.assert_allclose(other.score_samples(100 * X), expected, atol=1e-3)
