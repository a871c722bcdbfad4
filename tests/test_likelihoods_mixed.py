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
from skvae._distributions._censored import compute_log_ndtr
from skvae._utils._seed import seeded
from skvae.likelihoods import (
    Autoregressive,
    Censored,
    Gaussian,
    HurdleLogNormal,
    Laplace,
    LogNormal,
    StudentT,
)
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


class CensoredOracle:
    """Normal, Laplace or log-normal numbers that are cut to limits."""

    def __init__(self, likelihood, raw, free, offset, log_range):
        rate = offset[..., 1, :].exp().numpy()
        base = likelihood._base
        scale = rate * read_scale(base, raw, free, log_range)
        loc = offset[..., 0, :].numpy() + rate * raw[..., 0, :].numpy()
        if isinstance(base, Laplace):
            self.whole = stats.laplace(loc, scale / np.sqrt(2))
        elif likelihood._is_positive:
            self.whole = stats.lognorm(scale, scale=np.exp(loc))
        else:
            self.whole = stats.norm(loc, scale)
        self.lower, self.upper = likelihood._limits
        self.mean, self.var = self.whole.mean, self.whole.var

    def logpdf(self, x):
        found = np.where(x <= self.lower, self.whole.logcdf(self.lower), 0.0)
        found = np.where(x >= self.upper, self.whole.logsf(self.upper), found)
        is_inside = (x > self.lower) & (x < self.upper)
        return np.where(is_inside, self.whole.logpdf(x), found)


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
TAIL = np.linspace(-40, 40, 20_001)


def make_case(likelihood, lower=None, upper=None, outside=()):
    """Return the case of a censored likelihood with one limit, or with two."""
    masses = [limit for limit in (lower, upper) if limit is not None]
    if upper is None:
        grid = TAIL, lambda t: lower + np.exp(t), np.exp
    elif lower is None:
        grid = TAIL, lambda t: upper - np.exp(t), np.exp
    else:
        width = upper - lower
        grid = (
            TAIL,
            lambda t: lower + width * expit(t),
            lambda t: width * expit(t) * expit(-t),
        )
    change = np.exp if likelihood._is_positive else lambda u: u
    if likelihood._is_positive and lower is None:
        grid = TAIL, lambda t: upper * expit(t), lambda t: upper * expit(t) * expit(-t)
    edges = [masses[0] * (1 + 1e-6), 0.9, *masses, *(() if outside else (-1e7, 1e7))]
    return Case(
        likelihood,
        CensoredOracle,
        masses,
        grid,
        edges,
        list(outside),
        lambda u: np.clip(change(u), lower, upper),
    )


CASES = {
    repr(case.likelihood): case
    for case in [
        *(
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
        ),
        make_case(Censored(), 0.0),
        make_case(Censored(Gaussian("network"), -0.5, 1.0), -0.5, 1.0),
        make_case(Censored("laplace", None, 0.8), None, 0.8),
        make_case(Censored("log_normal", 0.7), 0.7),
        make_case(Censored(LogNormal("network"), None, 2), None, 2, (0.0, -1.0)),
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
    # a corner of the density, as Laplace's, costs the square of the grid's step
    np.testing.assert_allclose(total, 1, atol=1e-4)


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
        x = torch.tensor(CASES[name].edges, dtype=dtype)[:, None, None]
        log_prob = distribution.log_prob(x.expand(-1, N, D))
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
        ("base", Censored("unknown")),
        ("base", Censored(StudentT())),
        ("base", Censored(3)),
        ("noise", Censored(Gaussian(noise="shared"))),
        ("noise", Censored(Gaussian(noise=0.5))),
        ("variance_floor", Censored(Gaussian(variance_floor=-1.0))),
        ("lower", Censored(lower="low")),
        ("lower", Censored(lower=1.0, upper=1.0)),
        ("lower", Censored(lower=[1.0, 2.0], upper=[3.0, 4.0, 5.0])),
        ("lower", Censored(lower=[[1.0]])),
        ("lower", Censored(lower=None)),
        ("lower", Censored("log_normal")),
        ("2 entries", Censored(lower=[1.0, 2.0])),
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


# limits -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lower", "upper"), [(-0.5, None), (None, 1.0), (-0.5, 1.0), (-9.0, 9.0)]
)
def test_censored_columns_start_at_the_moments_of_whole_ones(lower, upper):
    y = np.random.default_rng(0).normal(0.3, 1.5, (40_000, 2))
    likelihood = Censored(lower=lower, upper=upper)
    likelihood.adapt(np.clip(y, lower, upper))
    np.testing.assert_allclose(likelihood.link.loc, 0.3, atol=0.04)
    np.testing.assert_allclose(likelihood.link.scale, 1.5, rtol=0.02)
    none = np.zeros((0, 2))
    _, bias = likelihood.link.convert(np.zeros(2), np.ones(2), none, np.ones(2))
    np.testing.assert_allclose(bias[2:], np.log(likelihood.link.scale))


@pytest.mark.parametrize("base", ["gaussian", "log_normal"])
def test_means_of_cut_columns_are_those_of_whole_ones(base):
    generator = np.random.default_rng(0)
    z = generator.standard_normal((1500, 1))
    y = z * [1.0, -1.0, 0.8] + 0.4 * generator.standard_normal((1500, 3))
    y = np.exp(y) if base == "log_normal" else y
    limit = float(np.median(y))
    x = np.maximum(y, limit)
    parameters = {"hidden_layer_sizes": (16,), "max_epochs": 60, "random_state": 0}
    vae = VAETransformer(1, likelihood=Censored(base, limit), **parameters).fit(x)
    rebuilt = vae.reconstruct(x)
    # y below the limit is not known, but near to what the other columns say
    is_below = y < limit
    assert (rebuilt < limit)[is_below].mean() > 0.6
    error = np.abs(rebuilt - y)[is_below].mean()
    assert error < 0.8 * np.abs(x - y)[is_below].mean()
    assert vae.sample(500, random_state=0).min() == limit
    holes = x.copy()
    holes[:, 1] = np.nan
    assert vae.impute(holes).min() >= limit - 1e-9
    assert vae.impute(holes, bounded=False).min() < limit


def test_any_value_at_or_below_the_limit_is_the_same_value():
    vae, X = fit_case("Censored()")
    below = np.where(X == 0, -3.0, X)
    for method in (vae.score_samples, vae.transform):
        np.testing.assert_allclose(method(below), method(X), atol=1e-9)


def test_limits_that_were_rounded_are_still_limits():
    X = np.maximum(make_normal_rows(), 0.1)
    common = {"likelihood": Censored(lower=0.1), **SMALL}
    double, single = (
        VAETransformer(1, **common).fit(rows).score_samples(rows)
        for rows in (X, X.astype(np.float32))
    )
    np.testing.assert_allclose(single, double, atol=1e-3)


def test_units_of_censored_columns_change_scores_between_limits_alone():
    X = np.maximum(make_normal_rows(), 0.0)
    # as many draws for both: 'auto' takes more where scores differ less
    vae = VAETransformer(1, likelihood=Censored(), n_draws=32, **SMALL)
    scores = [vae.fit(unit * X).score_samples(unit * X) for unit in (1.0, 1e-4)]
    expected = scores[0] + np.log(1e4) * (X > 0).sum(axis=1)
    np.testing.assert_allclose(scores[1], expected, atol=1e-3)


def test_every_column_has_its_own_limit_or_none():
    lower = [0.0, np.nan, 0.5, -1.0]
    X = np.fmax(make_normal_rows(), lower)
    likelihood = Censored(lower=lower)
    for member in (likelihood, Autoregressive(likelihood)):
        vae = VAETransformer(1, likelihood=member, **SMALL).fit(X)
        drawn = vae.sample(500, random_state=0).min(axis=0)
        assert (drawn[[0, 2, 3]] == [0.0, 0.5, -1.0]).all()
        assert drawn[1] < 0
        again = pickle.loads(pickle.dumps(vae))
        np.testing.assert_array_equal(again.score_samples(X), vae.score_samples(X))


def test_log_probabilities_beyond_a_limit_have_gradients_in_single_precision():
    x = torch.tensor([-1e9, -1e4, -100.0, -3.0, 0.0, 3.0, 1e4]).requires_grad_()
    found = compute_log_ndtr(x)
    (slope,) = torch.autograd.grad(found.sum(), x)
    expected = stats.norm.logcdf(x.detach().double().numpy())
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-5)
    # that of the normal distribution to its density far out is the distance
    expected = np.exp(stats.norm.logpdf(x.detach().double().numpy()) - expected)
    expected[:2] = [1e9, 1e4]
    np.testing.assert_allclose(slope.numpy(), expected, rtol=1e-3)


def test_limits_far_from_all_rows_leave_the_score_of_the_base():
    X = make_normal_rows(400)
    common = {"n_components": 1, "hidden_layer_sizes": (), "max_epochs": 80}
    censored, plain = (
        VAETransformer(likelihood=member, random_state=0, **common).fit(X).score(X)
        for member in (Censored(lower=-50.0, upper=50.0), "gaussian")
    )
    assert abs(censored - plain) < 0.05
