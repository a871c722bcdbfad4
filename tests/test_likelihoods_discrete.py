"""Likelihoods of counts, categories and pixels, and training with them."""

import functools
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from covering import cover
from discrete_cases import (
    BOUNDED,
    CASES,
    COUNTS,
    DISCRETE,
    LEVELS,
    adapt,
    draw_rows,
)
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from skvae import VAETransformer
from skvae._distributions._binomial import LogitBinomial
from skvae._distributions._counts import LogPoisson, MeanNegativeBinomial
from skvae._distributions._levels import CategoricalColumns, DiscretizedLogistic
from skvae._distributions._zeros import ZeroInflated
from skvae._start import initialize_linked
from skvae._utils._seed import seeded
from skvae.likelihoods import (
    LIKELIHOODS,
    Autoregressive,
    Binomial,
    Categorical,
    NegativeBinomial,
    Ordinal,
    Poisson,
)
from skvae.likelihoods import DiscretizedLogistic as DiscretizedLogisticNoise
from skvae.likelihoods import ZeroInflated as ZeroInflatedCounts

# a seeded average further than this from its expectation is a bug, not bad luck
N_STANDARD_ERRORS = 5
N, D = 3, 4

# small tables and few epochs
pytestmark = pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")

over_cases = pytest.mark.parametrize("name", CASES)
over_levels = pytest.mark.parametrize("name", LEVELS)
over_counts = pytest.mark.parametrize("name", COUNTS)
over_discrete = pytest.mark.parametrize("cls", DISCRETE)


def draw_inputs(likelihood, seed=0):
    """Return raw, free, start and log_range as a module hands them over, float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    start = draw(N, likelihood.link.n_offsets, D)
    if isinstance(likelihood, DiscretizedLogisticNoise):
        start[:, 0] = 10 + 5 * start[:, 0]
    if likelihood.link.n_offsets == 1:
        start = start.squeeze(-2)
    raw = draw(N, likelihood.n_raw, D)
    free = draw(1, *likelihood.free_shape(D))
    return raw, free, start, torch.ones(1, D, dtype=torch.float64)


def make(name, seed=0):
    """Return an adapted likelihood and p(x|z) at random parameters."""
    likelihood, _ = adapt(CASES[name], D)
    return likelihood, likelihood(*draw_inputs(likelihood, seed))


def make_grid(name, distribution):
    """Return all values that occur, as a column of rows, (K, 1, 1)."""
    if name in COUNTS:
        # the tail of a negative binomial falls by e in variance / mean, about
        distribution = getattr(distribution, "base", distribution)
        top = float(
            (distribution.mean + 40 * distribution.variance / distribution.mean).max()
        )
        return torch.arange(max(top, 100.0), dtype=torch.float64)[:, None, None]
    top = 20 if name in BOUNDED else 5
    return torch.arange(top + 1, dtype=torch.float64)[:, None, None]


def compute_pmf(name, distribution):
    """Return the grid and the probabilities of its values, zero outside the support."""
    grid = make_grid(name, distribution)
    values = grid.expand(-1, N, D)
    inside = distribution.support.check(values)
    return grid, torch.where(inside, distribution.log_prob(values).exp(), 0.0)


# p(x|z) -------------------------------------------------------------------------------


def test_all_discrete_likelihoods_are_registered():
    assert set(DISCRETE) <= set(LIKELIHOODS.values())
    assert {type(case) for case in CASES.values()} == set(DISCRETE)


@over_cases
def test_log_prob_has_one_value_a_column(name):
    likelihood, distribution = make(name)
    x = torch.zeros(N, D, dtype=torch.float64)
    assert not likelihood.link.is_scaled
    for value in (
        distribution.log_prob(x),
        distribution.mean,
        distribution.variance,
        distribution.sample(),
    ):
        assert value.shape == (N, D)
        assert value.dtype == torch.float64
    assert distribution.sample((2,)).shape == (2, N, D)
    assert distribution.log_prob(distribution.sample((2,))).shape == (2, N, D)


@over_cases
@pytest.mark.parametrize("leading", [(6,), (6, 2)])
def test_leading_dimensions_are_free(name, leading):
    likelihood, distribution = make(name)
    raw, free, start, log_range = draw_inputs(likelihood)
    x = distribution.sample()
    repeated = likelihood(
        raw.expand(*leading, *raw.shape),
        free,
        start.expand(*leading, *start.shape),
        log_range,
    )
    log_prob = repeated.log_prob(x)
    torch.testing.assert_close(log_prob, distribution.log_prob(x).expand_as(log_prob))


# in every case the cells have parameters of their own: one seed is a dozen of them
@over_cases
@pytest.mark.parametrize("seed", range(2))
def test_probabilities_sum_to_one(name, seed):
    _, distribution = make(name, seed)
    _, pmf = compute_pmf(name, distribution)
    torch.testing.assert_close(
        pmf.sum(dim=0), torch.ones(N, D).double(), rtol=0, atol=1e-8
    )


@over_cases
def test_mean_and_variance_are_those_of_the_probabilities(name):
    likelihood, distribution = make(name)
    grid, pmf = compute_pmf(name, distribution)
    if isinstance(likelihood, Categorical):
        mean, variance = pmf.argmax(dim=0).double(), 1 - (pmf**2).sum(dim=0)
    else:
        mean = (grid * pmf).sum(dim=0)
        variance = ((grid - mean) ** 2 * pmf).sum(dim=0)
    torch.testing.assert_close(distribution.mean, mean, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(distribution.variance, variance, rtol=1e-6, atol=1e-8)


@over_cases
def test_samples_are_as_frequent_as_their_probabilities(name):
    likelihood, distribution = make(name)
    n_draws = 20_000
    with seeded(0):
        x = distribution.sample((n_draws,))
    assert not likelihood.support.find_outside(x.numpy()).any()
    grid, pmf = compute_pmf(name, distribution)
    for value, p in zip(grid[:6], pmf[:6], strict=True):
        found = (x == value).double().mean(dim=0)
        error = (p * (1 - p) / n_draws).sqrt() + 1e-4
        assert ((found - p).abs() < N_STANDARD_ERRORS * error).all()
    if isinstance(likelihood, Categorical):
        return
    error = x.std(dim=0) / n_draws**0.5
    difference = x.mean(dim=0) - distribution.mean
    assert (difference.abs() < N_STANDARD_ERRORS * error + 1e-9).all()
    square = (x - distribution.mean) ** 2
    error = square.std(dim=0) / n_draws**0.5
    difference = square.mean(dim=0) - distribution.variance
    assert (difference.abs() < N_STANDARD_ERRORS * error + 1e-6).all()


@over_cases
def test_gradients_equal_finite_differences(name):
    likelihood, distribution = make(name)
    raw, free, start, log_range = draw_inputs(likelihood)
    x = distribution.sample()
    inputs = [t.clone().requires_grad_() for t in (raw, free, start)]

    def log_prob(raw, free, start):
        return likelihood(raw, free, start, log_range).log_prob(x)

    assert torch.autograd.gradcheck(log_prob, inputs, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "dtype", "value"),
    cover(
        CASES,
        [torch.float32, torch.float64],
        [-1e3, -30.0, 30.0, 1e3, "mixed"],
        strength=2,
    ),
)
def test_all_is_finite_at_extreme_raw_values(name, dtype, value):
    likelihood, _ = adapt(CASES[name], D)
    raw, free, start, log_range = (t.to(dtype) for t in draw_inputs(likelihood))
    if value == "mixed":
        raw, free = 1e3 * raw.sign(), 1e3 * free.sign()
    else:
        raw, free = torch.full_like(raw, value), torch.full_like(free, value)
    inputs = [raw.requires_grad_(), free.requires_grad_(), start.requires_grad_()]
    values = [0.0, 1.0, 2.0]
    values += [1e6] if name in COUNTS else []
    for x in values:
        distribution = likelihood(*inputs, log_range)
        log_prob = distribution.log_prob(torch.full((N, D), x, dtype=dtype))
        assert torch.isfinite(log_prob).all()
        assert (log_prob <= 1e-4).all()
        gradients = torch.autograd.grad(log_prob.sum(), inputs, allow_unused=True)
        for gradient in gradients:
            assert gradient is None or torch.isfinite(gradient).all()
    with torch.no_grad():
        assert torch.isfinite(distribution.mean).all()
        assert torch.isfinite(distribution.variance).all()
        assert torch.isfinite(distribution.sample()).all()


@over_cases
def test_support_agrees_with_that_of_the_distribution(name):
    likelihood, distribution = make(name)
    values = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 20.0, 21.0, 1e6])
    x = values.double()[:, None].expand(-1, D)
    found = torch.as_tensor(likelihood.support.find_outside(x.numpy()))
    assert found.shape == x.shape
    assert (found == ~distribution.support.check(x[:, None])[:, 0]).all()
    assert likelihood.support.words
    assert not likelihood.support.find_outside(np.full((1, D), np.nan)).any()


@over_cases
def test_single_precision_agrees_with_double(name):
    likelihood, distribution = make(name)
    inputs = [t.float() for t in draw_inputs(likelihood)]
    x = distribution.sample()
    single = likelihood(*inputs).log_prob(x.float())
    expected = distribution.log_prob(x)
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dispersion", [None, 0.1, 10.0, 1e3, 1e5, 1e8])
@pytest.mark.parametrize("mean", [20.0, 1e4, 1e6])
def test_single_precision_holds_large_counts(mean, dispersion):
    generator = np.random.default_rng(0)
    rate = np.full(500, mean)
    if dispersion is not None:
        rate *= generator.gamma(dispersion, 1 / dispersion, size=500)
    x = torch.as_tensor(generator.poisson(rate)).float()
    parameters = [torch.full((500,), np.log(mean)).float()]
    distribution = LogPoisson
    if dispersion is not None:
        parameters.append(torch.full((500,), np.log(dispersion)).float())
        distribution = MeanNegativeBinomial
    single = distribution(*parameters).log_prob(x)
    expected = distribution(*(p.double() for p in parameters)).log_prob(x.double())
    # rounding of log μ - log x by 1e-6, times the slope of log p, some √mean
    torch.testing.assert_close(single.double(), expected, rtol=1e-6, atol=0.02)


@pytest.mark.parametrize("mean", [1e14, 1e16, 1e25])
def test_draws_of_huge_counts_meet_mean_and_variance(mean):
    log_mean = torch.full((20_000,), mean, dtype=torch.float64).log()
    with seeded(0):
        x = LogPoisson(log_mean).sample()
    assert (x == x.round()).all()
    z = (x - log_mean.exp()) / log_mean.exp().sqrt()
    assert abs(z.mean()) < 4 / 20_000**0.5
    assert abs(z.var() - 1) < 4 * (2 / 20_000) ** 0.5


# against scipy and torch --------------------------------------------------------------


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_poisson_equals_scipy():
    log_rate = 3 * draw(50)
    x = torch.arange(50.0).double()
    expected = stats.poisson.logpmf(x, log_rate.exp())
    np.testing.assert_allclose(LogPoisson(log_rate).log_prob(x), expected, rtol=1e-10)


@pytest.mark.parametrize("log_dispersion", [-6.0, -1.0, 0.0, 2.0, 4.0, 7.0])
def test_negative_binomial_equals_scipy(log_dispersion):
    log_mean = 3 * draw(60)
    x = torch.cat([torch.arange(50.0), torch.tensor(10 * [1000.0])]).double()
    theta = np.exp(log_dispersion)
    distribution = MeanNegativeBinomial(
        log_mean, torch.full_like(log_mean, log_dispersion)
    )
    expected = stats.nbinom.logpmf(x, theta, theta / (theta + log_mean.exp().numpy()))
    np.testing.assert_allclose(distribution.log_prob(x), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_negative_binomial_of_large_dispersion_is_poisson(dtype):
    log_mean = (2 * draw(40) + 1).to(dtype)
    x = torch.arange(40.0).to(dtype)
    distribution = MeanNegativeBinomial(log_mean, torch.full_like(log_mean, 16.0))
    expected = LogPoisson(log_mean).log_prob(x)
    # (x - μ)² / 2θ is what is left, e^16 being nine million
    torch.testing.assert_close(distribution.log_prob(x), expected, rtol=1e-5, atol=1e-3)


def test_zero_inflated_poisson_equals_its_formula():
    log_rate, logits = draw(5), draw(5, seed=1)
    distribution = ZeroInflated(LogPoisson(log_rate), logits)
    share = 1 / (1 + np.exp(-logits.numpy()))
    for x in (0.0, 1.0, 4.0):
        base = stats.poisson.pmf(x, log_rate.exp())
        expected = share * (x == 0) + (1 - share) * base
        found = distribution.log_prob(torch.full((5,), x).double()).exp()
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_categorical_equals_torch():
    logits = draw(7, 4, 3)
    distribution = CategoricalColumns(logits, torch.tensor([3.0, 3.0, 3.0]).double())
    other = torch.distributions.Categorical(logits=logits.movedim(-2, -1))
    x = torch.randint(4, (7, 3), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(distribution.log_prob(x.double()), other.log_prob(x))


def test_categories_that_a_column_lacks_have_no_probability():
    distribution = CategoricalColumns(
        draw(7, 4, 3), torch.tensor([3.0, 1.0, 0.0]).double()
    )
    assert (distribution.probs[:, 2:, 1] == 0).all()
    assert (distribution.probs[:, 0, 2] == 1).all()
    assert (distribution.sample((100,)).amax(dim=(0, 1)) <= distribution.highest).all()


def test_ordinal_equals_differences_of_the_logistic_distribution():
    likelihood, distribution = make("ordinal of known sizes")
    assert (distribution.thresholds.diff(dim=-2) > 0).all()
    cdf = stats.logistic.cdf(distribution.thresholds, distribution.loc.unsqueeze(-2))
    cdf = np.concatenate([np.zeros((N, 1, D)), cdf, np.ones((N, 1, D))], axis=1)
    for k in range(5):
        found = distribution.log_prob(torch.full((N, D), float(k)).double()).exp()
        np.testing.assert_allclose(found, np.diff(cdf, axis=1)[:, k], rtol=1e-9)
    assert (likelihood.get_highest(distribution.loc) == 4).all()


@pytest.mark.parametrize("value", [-1e3, 0.0, 1e3])
def test_thresholds_are_ordered_whatever_is_learned(value):
    likelihood, _ = adapt(CASES["ordinal of known sizes"], D)
    raw, free, start, log_range = draw_inputs(likelihood)
    distribution = likelihood(raw, torch.full_like(free, value), start, log_range)
    assert (distribution.thresholds.diff(dim=-2) > 0).all()


def test_discretized_logistic_equals_differences_of_scipy():
    loc, log_scale = 10 + 8 * draw(30), draw(30, seed=1)
    distribution = DiscretizedLogistic(loc, log_scale, 0, 20)
    logistic = stats.logistic(loc.numpy(), log_scale.exp().numpy())
    for x in range(21):
        upper = 1.0 if x == 20 else logistic.cdf(x + 0.5)
        lower = 0.0 if x == 0 else logistic.cdf(x - 0.5)
        found = distribution.log_prob(torch.full((30,), float(x)).double()).exp()
        np.testing.assert_allclose(found, upper - lower, rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize("n_trials", [1, 2, 7, 100, 10_000, 10**9])
def test_binomial_equals_scipy(n_trials):
    logits = 4 * draw(40)
    p = 1 / (1 + np.exp(-logits.numpy()))
    shares = torch.linspace(0, 1, 40, dtype=torch.float64)
    distribution = LogitBinomial(logits, torch.tensor(float(n_trials)).double())
    for x in ((n_trials * shares).round(), distribution.mean.round()):
        expected = stats.binom.logpmf(x, n_trials, p)
        # scipy's own digits are lost where coefficients are large
        tolerance = {"rtol": 1e-9, "atol": 1e-14 * n_trials + 1e-10}
        np.testing.assert_allclose(distribution.log_prob(x), expected, **tolerance)
    expected = stats.binom(n_trials, p)
    np.testing.assert_allclose(distribution.mean, expected.mean())
    np.testing.assert_allclose(distribution.variance, expected.var(), rtol=1e-9)


@pytest.mark.parametrize("n_trials", [10, 1000, 10**6])
def test_single_precision_holds_many_trials(n_trials):
    logits = draw(300).float()
    n = torch.full((1,), float(n_trials))
    double = LogitBinomial(logits.double(), n.double())
    with seeded(0):
        x = double.sample()
    single = LogitBinomial(logits, n).log_prob(x.float())
    # rounding of log p by 1e-7, times the slope of log p(x), some √n
    torch.testing.assert_close(
        single.double(), double.log_prob(x), rtol=1e-5, atol=2e-3
    )


def test_one_trial_is_bernoulli():
    logits = draw(50)
    x = (draw(50, seed=1) > 0).double()
    found = LogitBinomial(logits, torch.ones(1).double()).log_prob(x)
    expected = torch.distributions.Bernoulli(logits=logits).log_prob(x)
    torch.testing.assert_close(found, expected)


def test_every_column_has_its_own_number_of_trials():
    n_trials = np.array([1, 5, 40, 10_000])
    likelihood = Binomial(n_trials)
    X = np.random.default_rng(0).binomial(n_trials, 0.3, (80, 4)).astype(float)
    vae = fit(likelihood, X)
    drawn = vae.sample(500, random_state=0)
    assert not likelihood.support.find_outside(drawn).any()
    assert (drawn.max(axis=0) > 0.2 * n_trials).all()
    by_name = {j: Binomial(int(n)) for j, n in enumerate(n_trials)}
    assert np.isfinite(fit(by_name, X).score(X))
    coupled = fit(Autoregressive(likelihood), X)
    assert not likelihood.support.find_outside(coupled.sample(50)).any()
    with pytest.raises(ValueError, match=r"Column 1 has the value 6.*n_trials"):
        fit(likelihood, np.where([0, 1, 0, 0], 6.0, X))
    with pytest.raises(ValueError, match="4 entries, but X has 3"):
        fit(likelihood, X[:, :3])


def test_more_successes_than_trials_are_refused_in_one_sentence():
    X = np.random.default_rng(0).binomial(10, 0.3, (40, 3)).astype(float)
    X[5, 2] = 11
    message = (
        "Column 2 has the value 11, but likelihood=Binomial accepts integers from 0 to "
        "n_trials=10."
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        fit(Binomial(10), X)


@pytest.mark.parametrize("log_scale", [-7.0, -2.0, 3.0, 9.0])
def test_pixels_far_from_their_location_keep_their_digits(log_scale):
    x = torch.arange(256.0)
    wide = torch.full_like(x, log_scale)
    single = DiscretizedLogistic(torch.full_like(x, 200.3), wide, 0, 255).log_prob(x)
    loc = torch.full_like(x, 200.3).double()
    double = DiscretizedLogistic(loc, wide.double(), 0, 255).log_prob(x.double())
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-5)
    assert torch.isfinite(single).all()


# the start ----------------------------------------------------------------------------


def average_start(likelihood, x, n_components=2, n_draws=40_000):
    """Return p(x|z) at the start for draws of z, and the z."""
    start = initialize_linked(x, None, n_components, likelihood.link, 2).tensors
    generator = np.random.default_rng(0)
    z = torch.as_tensor(generator.standard_normal((n_draws, n_components)))
    predicted = z @ start["decoder_weight"] + start["decoder_bias"]
    d = x.shape[1]
    if likelihood.link.n_offsets > 1:
        predicted = predicted.unflatten(-1, (-1, d))
    raw = torch.zeros(n_draws, likelihood.n_raw, d, dtype=torch.float64)
    free = torch.zeros(1, *likelihood.free_shape(d), dtype=torch.float64)
    return likelihood(raw, free, predicted, start["log_range"])


@over_cases
def test_start_meets_the_means_and_frequencies_of_columns(name):
    likelihood, x = adapt(CASES[name], D, n_samples=2000)
    distribution = average_start(likelihood, x)
    if name in LEVELS:
        for k in range(int(x.max()) + 1):
            expected = (x == k).mean(axis=0)
            value = torch.full((1, D), float(k)).double()
            inside = distribution.support.check(value)
            found = torch.where(inside, distribution.log_prob(value).exp(), 0.0).mean(
                dim=0
            )
            np.testing.assert_allclose(found, expected, atol=0.01)
        return
    found = distribution.mean.mean(dim=0)
    # open ends and bent rates take a little off what the linear model has
    np.testing.assert_allclose(found, x.mean(axis=0), rtol=0.06)
    if "zero-inflated" in name:
        zeros = distribution.log_prob(torch.zeros(1, D).double()).exp().mean(dim=0)
        np.testing.assert_allclose(zeros, (x == 0).mean(axis=0), atol=0.08)


@over_cases
def test_random_start_has_the_marginals_alone(name):
    likelihood, x = adapt(CASES[name], D, n_samples=500)
    start = initialize_linked(x, None, 2, likelihood.link, n_linear=0).tensors
    assert (start["decoder_weight"] == 0).all()
    assert start["decoder_weight"].shape == (2, likelihood.link.n_offsets * D)
    assert start["decoder_bias"].shape == (1, likelihood.link.n_offsets * D)


def test_extra_zeros_are_found_and_their_absence_too():
    generator = np.random.default_rng(0)
    counts = generator.poisson(5.0, (4000, 2)).astype(float)
    extra = generator.random(len(counts)) < 0.3
    counts[extra, 0] = 0
    likelihood = ZeroInflatedCounts("poisson")
    likelihood.adapt(counts)
    np.testing.assert_allclose(likelihood.link.extra, [0.3, 0.01], atol=0.03)
    np.testing.assert_allclose(likelihood.link.counts.mean, [5.0, 5.0], rtol=0.05)


def test_dispersion_starts_at_that_of_the_counts():
    generator = np.random.default_rng(0)
    rate = 5 * generator.gamma(2.0, 0.5, (20_000, 3))
    x = generator.poisson(rate).astype(float)
    likelihood = NegativeBinomial()
    likelihood.adapt(x)
    none = np.zeros((0, 3))
    _, bias = likelihood.link.convert(None, np.ones(3), none, np.ones(3))
    np.testing.assert_allclose(np.exp(bias), [5, 5, 5, 2, 2, 2], rtol=0.06)


def test_contrasts_are_uncorrelated_with_unit_variance():
    generator = np.random.default_rng(0)
    x = generator.integers(0, [3, 4, 2, 5], (500, D)).astype(float)
    likelihood = Categorical()
    likelihood.adapt(x)
    u = likelihood.link.represent(torch.as_tensor(x)).numpy()
    assert u.shape[1] == likelihood.link.count_inputs(D) == (x.max(axis=0)).sum()
    np.testing.assert_allclose(u.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(u.std(axis=0), 1, rtol=1e-12)
    # those of one column
    block = int(x[:, 0].max())
    inner = u[:, :block].T @ u[:, :block] / len(u)
    np.testing.assert_allclose(inner, np.eye(block), atol=1e-12)


def test_rows_of_rare_categories_are_not_far_from_the_others():
    generator = np.random.default_rng(0)
    x = generator.integers(0, 4, (1000, 3)).astype(float)
    x[:3, 0], x[:3, 1] = 9, [7, 8, 9]
    likelihood = Categorical(n_categories=12)
    likelihood.adapt(x)
    codes = torch.arange(12.0).double()[:, None].expand(-1, 3)
    assert likelihood.link.count_inputs(3) == 9
    assert likelihood.link.represent(codes).abs().max() < 8


@over_cases
def test_columns_of_one_value_start_and_train(name):
    likelihood = clone(CASES[name])
    X = draw_rows(likelihood, 60, 5)
    X[:, 1], X[:, 2] = 0, 1
    for init in ("linear", "random"):
        vae = fit(likelihood, X, init=init)
        assert np.isfinite(vae.score_samples(X)).all()
        assert np.isfinite(vae.reconstruct(X)).all()


@over_counts
def test_rates_do_not_explode_beyond_the_counts_seen(name):
    likelihood, x = adapt(CASES[name], D)
    raw, free, start, log_range = draw_inputs(likelihood)
    raw, start = torch.full_like(raw, 0.0), 0 * start
    raw[:, 0] = 50.0
    distribution = likelihood(raw, free, start, log_range)
    distribution = getattr(distribution, "base", distribution)
    # linear from twice the largest on: exp(50) is 5e21
    assert (distribution.mean < (2 * x.max() + 2) * 51).all()


# in the estimator ---------------------------------------------------------------------


def fit(likelihood, X, n_components=2, **params):
    small = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
    params = small | params
    return VAETransformer(n_components, likelihood=likelihood, **params).fit(X)


@functools.cache
def fit_case(name):
    """Return an estimator and its rows; tests must not change it."""
    X = draw_rows(CASES[name], 80, 5)
    return fit(clone(CASES[name]), X), X


@over_cases
def test_fitted_estimators_survive_pickling_and_clone_forgets(name):
    vae, X = fit_case(name)
    again = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(again.score_samples(X), vae.score_samples(X))
    learned = vars(vae.net_.module_.likelihood.single).keys()
    copy = clone(vae.net_.module_.likelihood.single)
    assert vars(copy).keys() == copy.get_params(deep=False).keys() <= learned
    assert copy.get_params().keys() == CASES[name].get_params().keys()
    # the user's instance has learned nothing
    given = vae.likelihood
    assert vars(given).keys() == given.get_params(deep=False).keys()


@over_cases
def test_columns_sum_to_rows_and_samples_are_supported(name):
    vae, X = fit_case(name)
    features = vae.score_features(X).sum(axis=1)
    expected = vae.score_samples(X, method="reconstruction")
    np.testing.assert_allclose(features, expected)
    rows = vae.sample(200, random_state=0)
    likelihood = vae.net_.module_.likelihood.single
    assert not likelihood.support.find_outside(rows).any()
    # probabilities are at most 1
    assert (vae.score_samples(X) < 0).all()


@over_discrete
def test_integer_frames_come_back_as_integer_frames(cls):
    likelihood = cls()
    X = pd.DataFrame(draw_rows(likelihood, 80, 3), columns=list("abc")).astype("int64")
    vae = fit(likelihood, X)
    for frame in (vae.reconstruct(X), vae.sample(5, random_state=0)):
        assert list(frame.columns) == list("abc")
        assert (frame.dtypes == "int64").all()
    pd.testing.assert_index_equal(vae.reconstruct(X).index, X.index)


@over_discrete
def test_integer_arrays_equal_float_arrays(cls):
    X = draw_rows(cls(), 60, 3)
    one, other = fit(cls(), X), fit(cls(), X.astype(np.int32))
    np.testing.assert_array_equal(one.score_samples(X), other.score_samples(X))


@over_cases
def test_values_outside_the_support_are_refused_by_name(name):
    likelihood = clone(CASES[name])
    X = pd.DataFrame(draw_rows(likelihood, 60, 3), columns=["a", "visits", "b"])
    spoilt = {}
    for value in (-1.0, 2.5) if name in COUNTS else (-1.0, 2.5, 5000.0):
        spoilt[value] = X.copy()
        spoilt[value].loc[7, "visits"] = value
        if value == 5000 and name in ("categorical", "ordinal"):
            # a level like any other, where fit sees it
            assert np.isfinite(fit(likelihood, spoilt[value]).score(spoilt[value]))
            continue
        with pytest.raises(ValueError, match=f"'visits' has the value {value:g}"):
            fit(likelihood, spoilt[value])
    vae = fit(likelihood, X)
    for value, bad in spoilt.items():
        for method in (vae.transform, vae.score, vae.reconstruct):
            with pytest.raises(ValueError, match=f"'visits' has the value {value:g}"):
                method(bad)


@over_levels
def test_codes_that_fit_has_not_seen_are_refused(name):
    likelihood = clone(CASES[name])
    X = pd.DataFrame(draw_rows(likelihood, 60, 3), columns=["a", "grade", "b"])
    vae = fit(likelihood, X)
    bad = X.copy()
    bad.loc[7, "grade"] = 5
    with pytest.raises(ValueError, match=r"'grade' has the value 5.*n_categories"):
        vae.transform(bad)
    with pytest.raises(ValueError, match="'grade' has the value 5"):
        VAETransformer(1, likelihood=likelihood, max_epochs=0).fit(X, X_val=bad)
    # nor by a later chunk
    with pytest.raises(ValueError, match="'grade' has the value 5"):
        vae.partial_fit(bad)
    assert np.isfinite(vae.partial_fit(X).score(X))


@pytest.mark.parametrize("make", [pd.DataFrame, np.asarray])
@pytest.mark.parametrize("codes", [[1, 2, 3, 4, 5], [0, 10, 30], [75_010, 75_030]])
@pytest.mark.parametrize("name", ["categorical", "ordinal"])
def test_levels_are_the_codes_that_fit_has_seen(name, codes, make):
    generator = np.random.default_rng(0)
    drawn = np.array(codes, dtype=float)[generator.integers(len(codes), size=90)]
    drawn[: len(codes)] = codes
    X = make(np.column_stack([generator.normal(size=90), drawn]))
    vae = VAETransformer(1, likelihood={1: name}, max_epochs=2, random_state=0).fit(X)
    for rows in (vae.sample(500), vae.impute(np.where([0, 1], np.nan, X)[:9])):
        assert set(np.asarray(rows)[:, 1]) <= set(codes)
    means = np.asarray(vae.reconstruct(X))[:, 1]
    assert codes[0] <= means.min() <= means.max() <= codes[-1]
    assert vae.columns_.to_frame().levels[1].startswith(f"{len(codes)}: {codes[0]}, ")
    # as the same rows with codes 0, 1, 2, ...
    plain = np.array(X)
    plain[:, 1] = np.searchsorted(codes, drawn)
    other = VAETransformer(1, likelihood={1: name}, max_epochs=2, random_state=0)
    np.testing.assert_allclose(
        vae.score_samples(X), other.fit(plain).score_samples(plain), rtol=1e-9
    )
    for odd in (codes[-1] + 1, codes[0] - 1, 7):
        with pytest.raises(ValueError, match=f"Column 1 has the value {odd}, .*astype"):
            vae.sample(2, given={1: odd})


def test_mean_of_ordered_codes_with_gaps_is_that_of_draws():
    generator = np.random.default_rng(0)
    z = generator.normal(size=300)
    codes = np.array([1, 2, 100])[np.digitize(z, [-0.5, 0.5])]
    X = np.column_stack([z + 0.3 * generator.normal(size=300), codes])
    vae = VAETransformer(
        1, likelihood={1: "ordinal"}, density="joint", max_epochs=5, random_state=0
    ).fit(X)
    drawn, means = (
        vae.sample(20_000, random_state=0, mean=mean)[:, 1] for mean in (False, True)
    )
    error = np.hypot(drawn.std(), means.std()) / np.sqrt(len(drawn))
    assert abs(drawn.mean() - means.mean()) < N_STANDARD_ERRORS * error


def test_columns_of_too_many_codes_are_refused_by_name():
    X = pd.DataFrame({"a": np.arange(1200.0), "b": np.arange(1200) % 7})
    with pytest.raises(ValueError, match=r"'a' has 1200 .*at most 1000"):
        VAETransformer(1, likelihood="categorical").fit(X)


@pytest.mark.parametrize("cls", [Categorical, Ordinal])
def test_numbers_of_categories_can_be_given(cls):
    X = draw_rows(cls(), 80, 3)
    for given in (6, [6, 7, 6], np.array([6, 7, 6])):
        vae = fit(cls(n_categories=given), X)
        bad = X.copy()
        bad[0, 1] = 5
        assert np.isfinite(vae.score(bad))
    with pytest.raises(ValueError, match="2 entries, but X has 3"):
        fit(cls(n_categories=[4, 4]), X)
    with pytest.raises(ValueError, match="Column 1 has the value 5"):
        fit(cls(n_categories=[6, 5, 6]), bad)


@pytest.mark.parametrize(
    ("likelihood", "parameter"),
    [
        (Categorical(n_categories=0), "n_categories"),
        (Categorical(n_categories=2.5), "n_categories"),
        (Categorical(n_categories="many"), "n_categories"),
        (Ordinal(n_categories=[3, 0, 3]), "n_categories"),
        (Ordinal(n_categories=np.array(3)), "n_categories"),
        (NegativeBinomial(dispersion="unknown"), "dispersion"),
        (NegativeBinomial(dispersion=1.0), "dispersion"),
        (ZeroInflatedCounts(count="unknown"), "count"),
        (ZeroInflatedCounts(count=3), "count"),
        (ZeroInflatedCounts(count=ZeroInflatedCounts()), "count"),
        (ZeroInflatedCounts(NegativeBinomial(dispersion="unknown")), "dispersion"),
        (Binomial(n_trials=0), "n_trials"),
        (Binomial(n_trials=2.0), "n_trials"),
        (Binomial(n_trials=True), "n_trials"),
        (Binomial(n_trials="many"), "n_trials"),
        (Binomial(n_trials=[3, 0, 3]), "n_trials"),
        (Binomial(n_trials=[]), "n_trials"),
        (Binomial(n_trials=[[3, 3, 3]]), "n_trials"),
        (Binomial(n_trials=10**16), "n_trials"),
        (DiscretizedLogisticNoise(low=0.5), "low"),
        (DiscretizedLogisticNoise(low=4, high=4), "high"),
        (DiscretizedLogisticNoise(low=-(2**40), high=2**40), "high"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(likelihood, parameter):
    X = np.zeros((30, 3))
    with pytest.raises((ValueError, TypeError), match=parameter):
        VAETransformer(1, likelihood=likelihood, max_epochs=0).fit(X)


def test_parameters_of_the_wrapped_likelihood_can_be_searched():
    X = draw_rows(Poisson(), 60, 3)
    vae = VAETransformer(
        1,
        likelihood=ZeroInflatedCounts(NegativeBinomial()),
        hidden_layer_sizes=(8,),
        max_epochs=1,
        random_state=0,
    )
    grid = {"likelihood__count__dispersion": ["feature", "network"]}
    search = GridSearchCV(vae, grid, cv=2).fit(X)
    assert np.isfinite(search.best_score_)
    grid = {"likelihood__count": ["poisson", "negative_binomial"]}
    assert np.isfinite(GridSearchCV(vae, grid, cv=2).fit(X).best_score_)


def test_later_chunks_keep_what_the_first_has_learned():
    X = draw_rows(Poisson(), 200, 4)
    vae = VAETransformer(2, likelihood="poisson", random_state=0).partial_fit(X[:100])
    before = vae.net_.module_.likelihood.link.mean
    vae.partial_fit(3 * X[100:])
    np.testing.assert_array_equal(vae.net_.module_.likelihood.link.mean, before)


def test_weights_count_as_repeated_rows_in_what_is_learned():
    X = draw_rows(Categorical(), 50, D)
    weight = np.arange(50) % 3
    kept = X[weight > 0]
    for cls in DISCRETE:
        one, other = cls(), cls()
        one.adapt(kept, weight[weight > 0].astype(float))
        other.adapt(np.repeat(X, weight, axis=0))
        for name in ("_mean", "_slope", "_shares", "_extra"):
            if hasattr(one, name):
                found, expected = getattr(one, name), getattr(other, name)
                np.testing.assert_allclose(found, expected, rtol=0.05)


INTEGERS = [
    Poisson(),
    ZeroInflatedCounts(),
    Categorical(),
    Ordinal(),
    DiscretizedLogisticNoise(low=-1, high=300),
    Binomial(1000),
]

# training -----------------------------------------------------------------------------

TRAINED = {
    "poisson": Poisson(),
    "negative binomial": NegativeBinomial(),
    "zero-inflated poisson": ZeroInflatedCounts(),
    "categorical": Categorical(),
    "ordinal": Ordinal(),
    "discretized logistic": DiscretizedLogisticNoise(),
    "binomial": Binomial(12),
}


def draw_from(name, n_samples=1200, n_features=8, seed=0):
    """Return rows whose columns have two strong factors in common."""
    generator = np.random.default_rng(seed)
    loadings = generator.standard_normal((2, n_features))
    loadings /= np.sqrt((loadings**2).sum(axis=0))
    z = generator.standard_normal((n_samples, 2))
    u = z @ loadings
    rate = np.exp(1.5 + 0.8 * u)
    if name == "poisson":
        return generator.poisson(rate).astype(float)
    if name == "negative binomial":
        return generator.poisson(rate * generator.gamma(3, 1 / 3, u.shape)).astype(
            float
        )
    if name == "zero-inflated poisson":
        kept = generator.random(u.shape) > 0.3
        return np.where(kept, generator.poisson(2 * rate), 0).astype(float)
    if name == "categorical":
        slopes = 2 * generator.standard_normal((2, 4, n_features))
        logits = np.einsum("nq,qkd->nkd", z, slopes)
        return (logits + generator.gumbel(size=logits.shape)).argmax(axis=1) * 1.0
    if name == "ordinal":
        y = 3 * u + generator.logistic(size=u.shape)
        return (y[..., None] > np.array([-3, -1, 1, 2.5])).sum(axis=-1) * 1.0
    if name == "binomial":
        return generator.binomial(12, 1 / (1 + np.exp(1 - 2 * u))).astype(float)
    y = 128 + 60 * u + 8 * generator.logistic(size=u.shape)
    return np.clip(np.round(y), 0, 255)


def score_independent(X, X_test):
    """Return the score of columns by themselves, by their frequencies in X."""
    total = 0.0
    for train, test in zip(X.T.astype(int), X_test.T.astype(int), strict=True):
        counts = np.bincount(train, minlength=max(train.max(), test.max()) + 1) + 0.5
        total += np.log(counts / counts.sum())[test].mean()
    return total


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("init", ["linear", "random"])
def test_training_beats_independent_columns(name, init):
    X = draw_from(name)
    X, X_test = X[:600], X[600:]
    vae = VAETransformer(
        2,
        likelihood=TRAINED[name],
        hidden_layer_sizes=(32,),
        init=init,
        early_stopping=False,
        max_epochs=15,
        lr=0.01,
        random_state=0,
    ).fit(X)
    assert vae.score(X_test) > score_independent(X, X_test) + 0.3


@pytest.mark.parametrize("name", TRAINED)
def test_linear_start_beats_independent_columns_of_its_own_kind(name):
    X = draw_from(name)
    X, X_test = X[:600], X[600:]

    def score(init):
        vae = VAETransformer(2, likelihood=TRAINED[name], init=init, max_epochs=0)
        return vae.set_params(random_state=0).fit(X).score(X_test)

    # before training, a random start has the marginals alone
    assert score("linear") > score("random") + 0.3
    if name in ("poisson", "categorical", "ordinal"):
        assert score("linear") > score_independent(X, X_test)


def test_pixels_are_modelled_better_by_discretized_than_by_normal_noise():
    X = load_digits().data[:700]
    X, X_test = X[:500], X[500:]
    common = {"n_components": 6, "hidden_layer_sizes": (32,), "max_epochs": 15}
    common["random_state"] = 0
    pixels = VAETransformer(likelihood=DiscretizedLogisticNoise(high=16), **common)
    pixels.fit(X)
    # uniform noise makes a density a bound on the probability (Theis et al. 2016)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (700, 64))
    normal = VAETransformer(likelihood="gaussian", **common).fit(X + noise[:500])
    assert pixels.score(X_test) > normal.score(X_test + noise[500:])
    rebuilt = pixels.reconstruct(X_test)
    assert rebuilt.min() >= 0
    assert rebuilt.max() <= 16


@pytest.mark.parametrize(
    "dtype", [bool, np.int8, np.uint8, np.uint16, np.uint32, np.uint64, np.float16]
)
@pytest.mark.parametrize("likelihood", INTEGERS, ids=repr)
def test_all_types_of_integers_are_the_same_numbers(likelihood, dtype):
    """Bounds of -1, 300 and 1,000 are none that 8 bits hold."""
    X = np.random.default_rng(0).integers(2 if dtype is bool else 4, size=(40, 3))
    vae = VAETransformer(1, likelihood=likelihood, max_epochs=0, random_state=0)
    expected = vae.fit(X.astype(float)).score_samples(X.astype(float))
    found = vae.fit(X.astype(dtype)).score_samples(X.astype(dtype))
    np.testing.assert_array_equal(found, expected)


def test_counts_beyond_single_precision_are_refused_by_column():
    X = np.ones((30, 3))
    X[4, 1] = 1e40
    vae = VAETransformer(1, likelihood="poisson", max_epochs=0)
    with pytest.raises(ValueError, match=r"1 has the value 1e\+40.*up to 1e\+30"):
        vae.fit(X)
