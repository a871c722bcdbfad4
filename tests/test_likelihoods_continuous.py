"""Properties of likelihoods with a density: each goes through all of them.

What depends on the likelihood is in one table: its distribution by scipy, a grid over
its support, values at the edges of it.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from covering import cover
from scipy import stats
from scipy.integrate import simpson
from scipy.special import digamma, polygamma
from sklearn.base import clone
from torch.distributions import Categorical, MixtureSameFamily, Normal

from skvae import VAETransformer
from skvae._columns._support import REALS
from skvae._distributions._monotone import TransformedColumns
from skvae._distributions._normals import LowRankNormal
from skvae._utils._seed import seeded
from skvae.datasets import make_factors
from skvae.likelihoods import (
    LIKELIHOODS,
    Beta,
    ContinuousBernoulli,
    Gaussian,
    GaussianMixture,
    Laplace,
    LogNormal,
    StudentT,
)
from skvae.likelihoods._base import to_log_scale

# a seeded average further than this from its expectation is a bug, not bad luck
N_STANDARD_ERRORS = 5
N, D = 3, 4


# the table ----------------------------------------------------------------------------


def read_scale(likelihood, raw, free, log_range):
    raw_scale = raw[..., 1, :] if likelihood.noise == "network" else free[..., 0, :]
    if likelihood.noise == "shared":
        # one scale for all columns
        log_range = log_range.amin(dim=-1, keepdim=True)
    return to_log_scale(raw_scale, log_range).exp().numpy()


def make_laplace(likelihood, raw, free, start, log_range):
    scale = read_scale(likelihood, raw, free, log_range)
    return stats.laplace((start + raw[..., 0, :]).numpy(), scale / np.sqrt(2))


def make_student_t(likelihood, raw, free, start, log_range):
    df = 10.0 if likelihood.df == "learned" else likelihood.df
    scale = read_scale(likelihood, raw, free, log_range)
    scale = scale * np.sqrt(1 - 2 / max(df, 4))
    if likelihood.df == "learned":
        df = 2.05 + 7.95 * np.exp(free[..., -1, :].numpy())
    return stats.t(df, (start + raw[..., 0, :]).numpy(), scale)


def make_log_normal(likelihood, raw, free, start, log_range):
    loc, log_unit = (part.numpy() for part in start.unbind(dim=-2))
    scale = np.exp(log_unit) * read_scale(likelihood, raw, free, log_range)
    loc = loc + np.exp(log_unit) * raw[..., 0, :].numpy()
    return stats.lognorm(scale, scale=np.exp(loc))


class TruncatedExponential:
    """The continuous Bernoulli distribution as scipy has distributions."""

    def __init__(self, logits):
        size = np.abs(logits)
        self.distribution, self.is_rising = (
            stats.truncexpon(size, scale=1 / size),
            logits > 0,
        )

    def logpdf(self, x):
        return self.distribution.logpdf(np.where(self.is_rising, 1 - x, x))

    def mean(self):
        return np.where(
            self.is_rising, 1 - self.distribution.mean(), self.distribution.mean()
        )

    def var(self):
        return self.distribution.var()


def make_continuous_bernoulli(likelihood, raw, free, start, log_range):
    return TruncatedExponential((start + raw[..., 0, :]).numpy())


def make_beta(likelihood, raw, free, start, log_range):
    logit, log_precision = (part.numpy() for part in start.unbind(dim=-2))
    logit = logit + 2 / np.sqrt(1 + np.exp(log_precision)) * raw[..., 0, :].numpy()
    scale = read_scale(likelihood, raw, free, log_range)
    mean, precision = 1 / (1 + np.exp(-logit)), np.exp(log_precision) / scale**2
    return stats.beta(mean * precision, (1 - mean) * precision)


# t evenly spaced, and the map from it to the support with its slope
REAL = (np.linspace(-25, 25, 20_001), np.sinh, np.cosh)
POSITIVE = (np.linspace(-60, 60, 20_001), np.exp, np.exp)
UNIT = (
    np.linspace(-36, 36, 20_001),
    lambda t: 1 / (1 + np.exp(-t)),
    lambda t: np.exp(-np.abs(t)) / (1 + np.exp(-np.abs(t))) ** 2,
)


@dataclass
class Case:
    """What the tests need to know of one likelihood."""

    likelihood: object
    make_oracle: Callable
    grid: tuple
    # inside the support, as far out as rows may be
    edges: list
    outside: list = field(default_factory=list)
    # of the second value of the linear start
    offset: float = 0.0


REAL_EDGES = [0.0, 1.0, -1e12, 1e12]
POSITIVE_EDGES = [1e-30, 1.0, 1e12, 1e30]
CASES = {
    repr(case.likelihood): case
    for case in [
        *(
            Case(Laplace(noise), make_laplace, REAL, REAL_EDGES)
            for noise in ("feature", "shared", "network")
        ),
        *(
            Case(StudentT(df, noise), make_student_t, REAL, REAL_EDGES)
            for df, noise in [
                ("learned", "feature"),
                ("learned", "shared"),
                ("learned", "network"),
                (8.0, "feature"),
                (30, "network"),
            ]
        ),
        *(
            Case(
                LogNormal(noise),
                make_log_normal,
                POSITIVE,
                POSITIVE_EDGES,
                [0.0, -1.0, -1e12],
                offset=-1.5,
            )
            for noise in ("feature", "network")
        ),
        Case(
            ContinuousBernoulli(),
            make_continuous_bernoulli,
            UNIT,
            [0.0, 1.0, 0.5, 1e-30],
            [-1e-9, 1 + 1e-9, -1.0, 1e12],
        ),
        *(
            Case(
                Beta(noise),
                make_beta,
                UNIT,
                [1e-30, 1e-6, 0.5, 1 - 6e-8],
                [0.0, 1.0, -1e-9, 2.0, 1e12],
                offset=2.5,
            )
            for noise in ("feature", "network")
        ),
    ]
}
DTYPES = [torch.float32, torch.float64]


def name_case(value):
    return repr(value.likelihood) if isinstance(value, Case) else str(value)


over_cases = pytest.mark.parametrize("case", CASES.values(), ids=name_case)
# whose tests are in other files: several densities a column, or none
ELSEWHERE = {
    "autoregressive",
    "transformed",
    "gaussian",
    "gaussian_mixture",
    "bernoulli",
    "binomial",
    "categorical",
    "ordinal",
    "poisson",
    "negative_binomial",
    "zero_inflated",
    "discretized_logistic",
    "censored",
    "hurdle_log_normal",
    "von_mises",
}


def draw_inputs(case, seed=0, n_samples=N, n_features=D):
    """Return raw, free, start and log_range as a module hands them over, float64."""
    generator = torch.Generator().manual_seed(seed)
    likelihood = case.likelihood

    def draw(*shape):
        return 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)

    raw = draw(n_samples, likelihood.n_raw, n_features)
    free = draw(1, *likelihood.free_shape(n_features))
    if isinstance(likelihood, StudentT):
        # moments of the squares, for their standard error
        free = free.abs()
    if likelihood.link.n_offsets == 1:
        start = draw(n_samples, n_features)
    else:
        start = draw(n_samples, likelihood.link.n_offsets, n_features)
        start[..., 1, :] = case.offset + 0.3 * start[..., 1, :]
    return raw, free, start, draw(1, n_features).abs() + 0.02


def test_every_registered_density_has_a_case():
    covered = {type(case.likelihood) for case in CASES.values()}
    registered = {cls for name, cls in LIKELIHOODS.items() if name not in ELSEWHERE}
    assert covered == registered


# what holds for all of them -----------------------------------------------------------


# in every case the cells have parameters of their own: one seed is a dozen of them
@over_cases
@pytest.mark.parametrize("seed", range(2))
def test_density_and_moments_equal_scipy(case, seed):
    inputs = draw_inputs(case, seed)
    distribution = case.likelihood(*inputs)
    with seeded(seed):
        x = distribution.sample()
    oracle = case.make_oracle(case.likelihood, *inputs)
    log_prob = distribution.log_prob(x)
    assert log_prob.shape == (N, D)
    np.testing.assert_allclose(log_prob, oracle.logpdf(x.numpy()), rtol=0, atol=1e-9)
    np.testing.assert_allclose(distribution.mean, oracle.mean(), rtol=1e-9)
    np.testing.assert_allclose(distribution.variance, oracle.var(), rtol=1e-7)


@over_cases
def test_density_integrates_to_one(case):
    t, to_support, slope = case.grid
    distribution = case.likelihood(*draw_inputs(case, n_samples=2, n_features=3))
    x = torch.as_tensor(to_support(t))[:, None, None]
    density = distribution.log_prob(x).exp().numpy() * slope(t)[:, None, None]
    # a corner of the density, as Laplace's, costs the square of the grid's step
    np.testing.assert_allclose(simpson(density, x=t, axis=0), 1, atol=1e-5)


@over_cases
def test_samples_meet_mean_and_variance(case):
    distribution = case.likelihood(*draw_inputs(case))
    with seeded(0):
        x = distribution.sample((20_000,))
    assert x.shape == (20_000, N, D)
    assert distribution.support.check(x).all()
    assert not case.likelihood.support.find_outside(x.numpy()).any()
    error = x.std(dim=0) / len(x) ** 0.5
    difference = x.mean(dim=0) - distribution.mean
    assert (difference.abs() < N_STANDARD_ERRORS * error).all()
    square = (x - distribution.mean) ** 2
    error = square.std(dim=0) / len(x) ** 0.5
    difference = square.mean(dim=0) - distribution.variance
    assert (difference.abs() < N_STANDARD_ERRORS * error).all()


@over_cases
def test_gradients_equal_finite_differences(case):
    *inputs, log_range = draw_inputs(case)
    with seeded(1):
        x = case.likelihood(*inputs, log_range).sample()
    inputs = [tensor.requires_grad_() for tensor in inputs if tensor.numel()]
    free = torch.zeros(1, *case.likelihood.free_shape(D), dtype=torch.float64)

    def log_prob(*inputs):
        raw, start = inputs[0], inputs[-1]
        given = inputs[1] if len(inputs) == 3 else free
        return case.likelihood(raw, given, start, log_range).log_prob(x)

    assert torch.autograd.gradcheck(log_prob, inputs)


@pytest.mark.parametrize(
    ("case", "dtype", "value", "width"),
    cover(CASES.values(), DTYPES, [-1e3, 0.0, 1e3, "mixed"], [0.02, 13.8], strength=2),
    ids=name_case,
)
def test_gradients_are_finite_at_the_edges(case, dtype, value, width):
    raw, free, start, log_range = (t.to(dtype) for t in draw_inputs(case))
    if value == "mixed":
        raw, free = 1e3 * raw.sign(), 1e3 * free.sign()
    else:
        raw, free = torch.full_like(raw, value), torch.full_like(free, value)
    log_range = torch.full_like(log_range, width)
    inputs = [raw.requires_grad_(), free.requires_grad_(), start.requires_grad_()]
    distribution = case.likelihood(*inputs, log_range)
    x = torch.tensor(case.edges, dtype=dtype).expand(N, D)
    log_prob = distribution.log_prob(x)
    assert torch.isfinite(log_prob).all()
    gradients = torch.autograd.grad(log_prob.sum(), inputs, allow_unused=True)
    for gradient in gradients:
        assert gradient is None or torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("case", "dtype", "value"),
    cover(CASES.values(), DTYPES, [-1e3, 1e3], strength=2),
    ids=name_case,
)
def test_moments_and_samples_are_finite_at_extreme_raw_values(case, dtype, value):
    raw, free, start, log_range = (t.to(dtype) for t in draw_inputs(case))
    for signs in (torch.ones_like(raw), raw.sign()):
        free = torch.full_like(free, value)
        distribution = case.likelihood(value * signs, free, start, log_range)
        assert torch.isfinite(distribution.mean).all()
        assert torch.isfinite(distribution.variance).all()
        assert (distribution.variance >= 0).all()
        with seeded(0):
            x = distribution.sample((5,))
        assert torch.isfinite(x).all()
        assert distribution.support.check(x).all()


@over_cases
@pytest.mark.parametrize("leading", [(6,), (6, 2)])
def test_leading_dimensions_are_free(case, leading):
    raw, free, start, log_range = draw_inputs(case)
    distribution = case.likelihood(raw, free, start, log_range)
    x = distribution.sample()
    expected = distribution.log_prob(x)
    repeated = case.likelihood(
        raw.expand(*leading, *raw.shape),
        free,
        start.expand(*leading, *start.shape),
        log_range,
    )
    log_prob = repeated.log_prob(x)
    assert log_prob.shape == (*leading, N, D)
    torch.testing.assert_close(log_prob, expected.expand_as(log_prob))
    assert repeated.mean.shape == repeated.variance.shape == (*leading, N, D)
    assert repeated.sample((2,)).shape == (2, *leading, N, D)


@over_cases
def test_support_agrees_with_that_of_the_distribution(case):
    likelihood = case.likelihood
    x = torch.tensor([*case.edges, *case.outside], dtype=torch.float64)[:, None]
    support = likelihood(*draw_inputs(case, n_samples=1)).support
    is_outside = torch.as_tensor(
        likelihood.support.find_outside(x.expand(-1, D).numpy())
    )
    assert is_outside.shape == (len(x), D)
    assert (is_outside == ~support.check(x.expand(-1, D))).all()
    expected = [False] * len(case.edges) + [True] * len(case.outside)
    assert is_outside[:, 0].tolist() == expected
    assert (likelihood.support is not REALS) == bool(case.outside)


@over_cases
def test_parameters_survive_clone(case):
    likelihood = case.likelihood
    copy = clone(likelihood)
    assert copy is not likelihood
    assert copy.get_params() == likelihood.get_params()
    assert repr(copy) == repr(likelihood)
    assert copy.n_raw == likelihood.n_raw
    copy.set_params(**type(likelihood)().get_params())
    assert copy.get_params() == type(likelihood)().get_params()


@over_cases
def test_single_precision_agrees_with_double(case):
    inputs = draw_inputs(case)
    double = case.likelihood(*inputs)
    x = double.sample().float()
    single = case.likelihood(*(t.float() for t in inputs))
    expected = double.log_prob(x.double()).float()
    torch.testing.assert_close(single.log_prob(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "likelihood"),
    [
        ("noise", Laplace(noise="unknown")),
        ("noise", Laplace(noise=0.5)),
        ("variance_floor", Laplace(variance_floor=0.0)),
        ("df", StudentT(df="unknown")),
        ("df", StudentT(df=0.0)),
        ("df", StudentT(df=True)),
        ("df", StudentT(df=1e-300)),
        ("df", StudentT(df=1e300)),
        ("noise", StudentT(noise=1.0)),
        ("noise", LogNormal(noise="shared")),
        ("variance_floor", LogNormal(variance_floor="unknown")),
        ("noise", Beta(noise="shared")),
        ("rank", Gaussian(noise="low_rank", rank=0)),
        ("rank", Gaussian(rank=1.5)),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(name, likelihood):
    X = np.random.default_rng(0).uniform(0.1, 0.9, (30, 3))
    with pytest.raises((ValueError, TypeError), match=name):
        VAETransformer(1, likelihood=likelihood, max_epochs=0).fit(X)


@pytest.mark.parametrize(
    ("case", "value"),
    [(case, value) for case in CASES.values() for value in case.outside],
)
def test_values_outside_are_refused_by_column(case, value):
    X = np.random.default_rng(0).uniform(0.1, 0.9, (30, 3))
    X[7, 1] = value
    vae = VAETransformer(1, likelihood=case.likelihood, max_epochs=0)
    name = type(case.likelihood).__name__
    with pytest.raises(ValueError, match=f"1.*value.*likelihood={name} accepts") as e:
        vae.fit(X)
    assert f"value {value:g}," in str(e.value)


# where training starts ----------------------------------------------------------------


@over_cases
def test_zero_is_the_linear_start(case):
    likelihood = case.likelihood
    raw, free, start, log_range = draw_inputs(case)
    zero = likelihood(torch.zeros_like(raw), torch.zeros_like(free), start, log_range)
    if likelihood.link.is_scaled:
        # in mean and variance; the shape of the noise is its own
        expected = start, torch.ones_like(start)
    elif isinstance(likelihood, LogNormal):
        loc, log_scale = (part.numpy() for part in start.unbind(dim=-2))
        distribution = stats.lognorm(np.exp(log_scale), scale=np.exp(loc))
        expected = (
            torch.as_tensor(distribution.mean()),
            torch.as_tensor(distribution.var()),
        )
    elif isinstance(likelihood, Beta):
        mean = torch.sigmoid(start[:, 0])
        expected = mean, mean * (1 - mean) / (1 + start[:, 1].exp())
    else:
        distribution = TruncatedExponential(start.numpy())
        expected = (
            torch.as_tensor(distribution.mean()),
            torch.as_tensor(distribution.var()),
        )
    torch.testing.assert_close(zero.mean, expected[0], rtol=1e-9, atol=1e-12)
    variance = expected[1].expand_as(zero.mean)
    torch.testing.assert_close(zero.variance, variance, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("noise", ["feature", "shared", "network"])
@pytest.mark.parametrize("kind", [Laplace, StudentT])
def test_start_is_the_scale_of_maximum_likelihood(kind, noise):
    likelihood = kind(noise=noise)
    generator = np.random.default_rng(0)
    sizes = (0.8, 0.8) if noise == "shared" else (0.8, 1.5)
    residual = generator.standard_t(2.5, (4000, 2)) * sizes
    if kind is Laplace:
        residual = generator.laplace(size=(4000, 2)) * sizes
    residual = torch.as_tensor(residual)
    log_range = torch.full((2,), 3.0, dtype=torch.float64)
    zeros = torch.zeros_like(residual)
    raw, free = likelihood.initialize(residual, zeros, log_range)
    raw, free = raw.expand(len(residual), -1, -1), free[None]
    assert free.shape[1:] == likelihood.free_shape(2)
    distribution = likelihood(raw, free, zeros, log_range[None])
    found = distribution.scale[0].expand(2).numpy()
    np.testing.assert_allclose(found, sizes, rtol=0.1)
    if kind is StudentT:
        assert (distribution.df.expand(1, 2) == 2.5).all()


@pytest.mark.parametrize("kind", [Laplace, StudentT])
@pytest.mark.parametrize("noise", ["feature", "shared", "network"])
def test_start_is_finite_for_constant_residuals_and_outliers(kind, noise):
    likelihood = kind(noise=noise)
    log_range = torch.full((2,), 3.0, dtype=torch.float64)
    for residual in (torch.zeros(10, 2), torch.ones(1, 2), torch.zeros(9, 2)):
        residual = residual.double()
        residual[0, 1] = 1e9
        zeros = torch.zeros_like(residual)
        raw, free = likelihood.initialize(residual, zeros, log_range)
        assert torch.isfinite(raw).all()
        assert torch.isfinite(free).all()


def test_start_of_continuous_bernoulli_has_the_moments_of_the_linear_model():
    likelihood = ContinuousBernoulli()
    mean, scale = np.array([0.5, 0.2, 0.7]), np.array([0.3, 0.2, 0.25])
    loadings = np.array([[0.6, 0.5, -0.3], [0.2, -0.3, 0.4]])
    noise = 1 - (loadings**2).sum(axis=0)
    weight, bias = likelihood.link.convert(mean, scale, loadings, noise)
    z = np.random.default_rng(0).standard_normal((400_000, 2))
    logits = torch.as_tensor(z @ weight + bias)
    m = likelihood(logits[:, None], None, torch.zeros(3).double(), None).mean.numpy()
    np.testing.assert_allclose(m.mean(axis=0), mean, atol=2e-3)
    covariance = z.T @ (m - m.mean(axis=0)) / len(z)
    np.testing.assert_allclose(covariance, loadings * scale, atol=2e-3)


def test_start_of_continuous_bernoulli_is_finite_for_impossible_moments():
    # no distribution on [0, 1] has so much covariance, or such a mean
    mean, scale = np.array([0.0, 1.0, 0.5]), np.array([0.03, 0.03, 0.5])
    found = ContinuousBernoulli().link.convert(mean, scale, np.full((1, 3), 0.99), mean)
    assert all(np.isfinite(part).all() for part in found)


def test_start_of_beta_has_the_moments_of_the_logits():
    mean, scale = np.array([0.0, -3.0, 2.0]), np.array([0.2, 1.5, 4.0])
    loadings = np.array([[0.5, 0.7, -0.3]])
    noise = 1 - (loadings**2).sum(axis=0)
    weight, bias = Beta().link.convert(mean, scale, loadings, noise)
    for z in (0.0, 1e-4):
        logit, log_precision = (bias + z * weight[0]).reshape(2, 3)
        mu, phi = 1 / (1 + np.exp(-logit)), np.exp(log_precision)
        a, b = mu * phi, (1 - mu) * phi
        variance = polygamma(1, a) + polygamma(1, b)
        expected = mean + z * loadings[0] * scale
        np.testing.assert_allclose(digamma(a) - digamma(b), expected, atol=1e-7)
        np.testing.assert_allclose(variance, scale**2 * noise, rtol=1e-3)


def make_log_normal_table(n_samples=300):
    X, _ = make_factors(n_samples, 5, n_components=2, random_state=0)
    return np.exp(0.3 * X + np.linspace(-8, 8, 5))


@pytest.mark.parametrize("noise", ["feature", "network"])
def test_log_normal_is_transformed_by_the_logarithm(noise):
    likelihood = LogNormal(noise=noise)
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, 3, generator=generator, dtype=torch.float64)

    raw, free, offset = draw(7, likelihood.n_raw), draw(1), draw(7, 2)
    log_range = draw().exp()
    distribution = likelihood(raw, free, offset, log_range)
    loc, log_unit = offset.unbind(dim=-2)
    base = Gaussian(noise=noise)(raw, free, loc * torch.exp(-log_unit), log_range)
    expected = TransformedColumns(base, log_unit, likelihood.link.map)
    x = draw(7).exp()
    torch.testing.assert_close(distribution.log_prob(x), expected.log_prob(x))


def test_log_normal_is_factor_analysis_of_logarithms():
    X = make_log_normal_table()
    common = {
        "hidden_layer_sizes": (),
        "max_epochs": 0,
        "early_stopping": False,
        "random_state": 0,
    }
    ours = VAETransformer(2, likelihood="log_normal", **common).fit(X)
    other = VAETransformer(2, likelihood="gaussian", **common).fit(np.log(X))
    expected = other.score_samples(np.log(X)) - np.log(X).sum(axis=1)
    # rounding of the columns lets L-BFGS stop elsewhere around the same optimum
    np.testing.assert_allclose(ours.score(X), expected.mean(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours.score_samples(X), expected, rtol=0, atol=1e-3)
    # other units, another density: by the Jacobian alone
    scaled = clone(ours).fit(X * 1e3)
    expected = ours.score(X) - 5 * np.log(1e3)
    np.testing.assert_allclose(scaled.score(X * 1e3), expected, rtol=0, atol=1e-6)


# low-rank noise -----------------------------------------------------------------------


def draw_low_rank(shape=(3,), rank=2, n_features=5, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    loc, log_scale = draw(*shape, n_features), 0.5 * draw(*shape, n_features)
    return loc, log_scale, draw(*shape, rank, n_features)


def make_normal(distribution, index):
    scale = distribution.log_scale[index].exp().numpy()
    factor = distribution.factor[index].numpy() * scale
    covariance = np.diag(scale**2) + factor.T @ factor
    return stats.multivariate_normal(distribution.loc[index].numpy(), covariance)


@pytest.mark.parametrize("rank", [1, 2, 4, 7])
def test_low_rank_density_is_that_of_the_whole_covariance(rank):
    distribution = LowRankNormal(*draw_low_rank(rank=rank))
    with seeded(0):
        x = distribution.sample()
    log_prob = distribution.log_prob(x)
    assert log_prob.shape == (3,)
    for i in range(3):
        oracle = make_normal(distribution, i)
        np.testing.assert_allclose(log_prob[i], oracle.logpdf(x[i]), atol=1e-10)
        np.testing.assert_allclose(
            distribution.variance[i], np.diag(oracle.cov), rtol=1e-12
        )
        first = stats.norm(oracle.mean[0], np.sqrt(oracle.cov[0, 0]))
        by_column = distribution.log_prob_by_column(x)[i]
        np.testing.assert_allclose(by_column[0], first.logpdf(x[i, 0]), atol=1e-12)


def test_low_rank_columns_sum_to_the_whole():
    # draws against rows
    distribution = LowRankNormal(*draw_low_rank((6, 3)))
    x = torch.linspace(-3, 3, 15, dtype=torch.float64).reshape(3, 5)
    by_column = distribution.log_prob_by_column(x)
    assert by_column.shape == (6, 3, 5)
    expected = distribution.log_prob(x)
    torch.testing.assert_close(by_column.sum(dim=-1), expected, rtol=0, atol=1e-10)


def test_low_rank_samples_have_the_covariance():
    distribution = LowRankNormal(*draw_low_rank((1,)))
    with seeded(0):
        x = distribution.sample((200_000,))[:, 0]
    oracle = make_normal(distribution, 0)
    error = np.sqrt(np.outer(np.diag(oracle.cov), np.diag(oracle.cov)) * 2 / len(x))
    assert (np.abs(np.cov(x.T.numpy()) - oracle.cov) < N_STANDARD_ERRORS * error).all()


def test_low_rank_gradients_equal_finite_differences():
    x = torch.zeros(3, 5, dtype=torch.float64, requires_grad=True)
    inputs = [x, *(p.requires_grad_() for p in draw_low_rank())]
    assert torch.autograd.gradcheck(
        lambda x, *parameters: LowRankNormal(*parameters).log_prob(x), inputs
    )


@pytest.mark.parametrize(
    ("dtype", "value", "width", "rank"),
    cover(DTYPES, [-1e3, 1e3, "mixed"], [0.02, 13.8], [1, 5], strength=2),
)
def test_low_rank_noise_is_finite_at_extreme_raw_values(dtype, value, width, rank):
    likelihood = Gaussian(noise="low_rank", rank=rank)
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(2, rank + 2, 300, generator=generator, dtype=dtype)
    raw = 1e3 * raw.sign() if value == "mixed" else torch.full_like(raw, value)
    raw.requires_grad_()
    log_range = torch.full((1, 300), width, dtype=dtype)
    distribution = likelihood(raw, None, torch.zeros(2, 300, dtype=dtype), log_range)
    log_prob = distribution.log_prob(torch.ones(2, 300, dtype=dtype))
    assert torch.isfinite(log_prob).all()
    (gradient,) = torch.autograd.grad(log_prob.sum(), raw)
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(distribution.variance).all()
    assert torch.isfinite(distribution.sample()).all()


def test_low_rank_noise_is_the_linear_start_at_zero():
    likelihood = Gaussian(noise="low_rank", rank=3)
    assert likelihood.n_raw == 5
    start = torch.randn(2, 4, dtype=torch.float64)
    raw = torch.zeros(2, 5, 4, dtype=torch.float64)
    distribution = likelihood(raw, None, start, torch.ones(1, 4, dtype=torch.float64))
    x = start + torch.linspace(-3, 3, 4, dtype=torch.float64)
    expected = torch.distributions.Normal(start, 1.0).log_prob(x).sum(dim=-1)
    torch.testing.assert_close(distribution.log_prob(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 9])
def test_low_rank_noise_starts_at_the_correlations_left(rank):
    likelihood = Gaussian(noise="low_rank", rank=rank)
    generator = np.random.default_rng(0)
    shared = generator.standard_normal((500, 1)) * [0.9, 0.9, 0.0, 0.5]
    own = generator.standard_normal((500, 4)) * np.sqrt([0.19, 0.19, 1, 0.75])
    log_range = torch.full((4,), 3.0, dtype=torch.float64)
    for residual, least in ((shared + own, 0.3), (own / own.std(axis=0), -0.02)):
        residual = torch.as_tensor(residual)
        zeros = torch.zeros_like(residual)
        raw, _ = likelihood.initialize(residual, zeros, log_range)
        raw = raw.expand(500, -1, -1).clone().requires_grad_()
        distribution = likelihood(
            raw, None, torch.zeros_like(residual), log_range[None]
        )
        log_prob = distribution.log_prob(residual)
        expected = stats.norm.logpdf(residual).sum(axis=1)
        assert log_prob.mean() - expected.mean() > least
        # no factor is left where it has no gradient
        (gradient,) = torch.autograd.grad(log_prob.sum(), raw)
        assert (gradient[:, 2:].abs().sum(dim=(0, 2)) > 0).all()


@pytest.mark.parametrize("residual", [np.zeros((10, 3)), np.ones((1, 3)), [[1e9]] * 5])
def test_low_rank_start_is_finite_for_odd_residuals(residual):
    residual = torch.as_tensor(np.asarray(residual))
    log_range = torch.full((residual.shape[1],), 3.0, dtype=torch.float64)
    zeros = torch.zeros_like(residual)
    raw, _ = Gaussian(noise="low_rank").initialize(residual, zeros, log_range)
    assert torch.isfinite(raw).all()


@pytest.mark.parametrize("init", ["linear", "random"])
def test_low_rank_noise_gains_where_columns_depend_on_one_another(init):
    generator = np.random.default_rng(0)
    signal = generator.standard_normal((600, 1)) @ np.full((1, 5), 1.5)
    shared = generator.standard_normal((600, 2)) @ generator.standard_normal((2, 5))
    X = signal + shared + 0.3 * generator.standard_normal((600, 5))
    common = {"hidden_layer_sizes": (32,), "max_epochs": 15, "lr": 0.01}
    common |= {"init": init, "random_state": 0}
    scores = {}
    for noise in ("network", "low_rank"):
        vae = VAETransformer(1, likelihood=Gaussian(noise=noise), **common)
        scores[noise] = vae.fit(X[:400]).score(X[400:])
    assert scores["low_rank"] > scores["network"] + 0.5
    reconstruction = vae.score_samples(X, method="reconstruction")
    by_column = vae.score_features(X).sum(axis=1)
    np.testing.assert_allclose(by_column, reconstruction, rtol=0, atol=1e-9)
    assert vae.sample(7, random_state=0).shape == (7, 5)
    assert np.isfinite(vae.noise_variance_).all()


# end to end ---------------------------------------------------------------------------


def make_family(name, n_samples=600, seed=0):
    """Return rows whose noise is that of a likelihood, around a linear model."""
    generator = np.random.default_rng(seed)
    loadings = generator.standard_normal((2, 6))
    mean = generator.standard_normal((n_samples, 2)) @ loadings
    shape = mean.shape
    if name == "log_normal":
        return np.exp(0.5 * mean + 0.5 * generator.standard_normal(shape))
    if name == "laplace":
        return mean + generator.laplace(size=shape)
    if name == "student_t":
        return mean + 0.5 * generator.standard_t(2.5, shape)
    if name == "beta":
        mean = 1 / (1 + np.exp(-mean))
        x = generator.beta(8 * mean, 8 * (1 - mean))
        return np.clip(x, 1e-6, 1 - 1e-6)
    logits = torch.as_tensor(3 * mean)
    with seeded(seed):
        return ContinuousBernoulli()(logits[:, None], None, 0.0, None).sample().numpy()


FAMILIES = ["log_normal", "laplace", "student_t", "beta", "continuous_bernoulli"]


@functools.cache
def fit_family(name, likelihood, init="linear", max_epochs=15):
    """Return an estimator fitted to rows of a family; tests must not change it."""
    return VAETransformer(
        2,
        likelihood=likelihood,
        init=init,
        hidden_layer_sizes=(32,),
        max_epochs=max_epochs,
        lr=0.01,
        random_state=0,
    ).fit(make_family(name)[:400])


@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("init", ["linear", "random"])
def test_each_beats_normal_noise_on_rows_of_its_own(name, init):
    X = make_family(name)
    ours, normal = (fit_family(name, noise, init) for noise in (name, "gaussian"))
    score = ours.score(X[400:])
    assert score > normal.score(X[400:]) + 0.05
    by_column = ours.score_features(X[400:]).sum(axis=1)
    reconstruction = ours.score_samples(X[400:], method="reconstruction")
    np.testing.assert_allclose(by_column, reconstruction, rtol=0, atol=1e-9)
    sampled = ours.sample(50, random_state=0)
    assert np.isfinite(ours.score_samples(sampled)).all()
    assert np.isfinite(ours.noise_variance_).all()
    assert ours.reconstruct(X).shape == X.shape


@pytest.mark.parametrize("name", FAMILIES)
def test_training_gains_over_the_linear_start(name):
    X = make_family(name)
    start, trained = (fit_family(name, name, max_epochs=n) for n in (0, 15))
    assert trained.score(X[400:]) > start.score(X[400:]) - 0.02


@pytest.mark.parametrize("name", ["log_normal", "beta", "continuous_bernoulli"])
def test_constant_columns_and_few_rows_leave_scores_finite(name):
    X = make_family(name)[:12]
    X[:, 2] = 0.3
    vae = VAETransformer(
        2, likelihood=name, hidden_layer_sizes=(8,), max_epochs=3, random_state=0
    ).fit(X)
    assert np.isfinite(vae.score_samples(X)).all()
    assert np.isfinite(vae.sample(20, random_state=0)).all()


def test_components_follow_the_model_or_stay_where_they_are():
    """Against torch.distributions, by the formula of the docstring."""
    k, n = 4, 3
    likelihood = LIKELIHOODS["gaussian_mixture"](n_mixture=k, background_weight=0.0)
    generator = torch.Generator().manual_seed(0)
    settings = {"generator": generator, "dtype": torch.float64}
    raw = torch.randn(5, likelihood.n_raw, n, **settings)
    free = torch.randn(likelihood.free_shape(n), **settings)
    assert free.shape == (k - 1, n)
    offset, x = torch.randn(2, 5, n, **settings)
    log_range = torch.full((1, n), 3.0, dtype=torch.float64)
    found = likelihood(raw, free, offset, log_range)
    plain = likelihood(raw, torch.zeros_like(free), offset, log_range)
    moved = plain.loc[:, :-1] + free * offset[:, None]
    loc = torch.cat([moved, offset[:, None]], dim=1)
    expected = MixtureSameFamily(
        Categorical(logits=plain.logits.movedim(1, -1)),
        Normal(loc.movedim(1, -1), plain.log_scale.exp().movedim(1, -1)),
    )
    torch.testing.assert_close(found.log_prob(x), expected.log_prob(x))
    torch.testing.assert_close(found.mean, expected.mean)
    # also where the raw outputs are in single precision
    single = likelihood(raw.float(), free.float(), offset, log_range)
    torch.testing.assert_close(
        single.log_prob(x), found.log_prob(x), rtol=1e-4, atol=1e-4
    )
    # a tilt of -1 takes a component out of reach of the model
    still = likelihood(raw, -torch.ones_like(free), offset, log_range).loc
    away = likelihood(raw, -torch.ones_like(free), offset + 5, log_range).loc
    torch.testing.assert_close(still[:, :-1], away[:, :-1])


@pytest.mark.parametrize("missing", [0.3, 0.8])
def test_repeated_values_have_their_weight_where_cells_are_missing(missing):
    generator = np.random.default_rng(0)
    offset, x = 3 * generator.normal(size=600), generator.normal(size=600)
    x = np.where(generator.random(600) < 0.5, 0.0, offset + x)
    x[generator.random(600) < missing] = np.nan
    given = (torch.as_tensor(part)[:, None] / 2 for part in (x, offset))
    log_range = torch.full((1,), 3.0, dtype=torch.float64)
    likelihood = GaussianMixture(background_weight=0.0)
    raw, tilt = likelihood.initialize(*given, log_range)
    is_constant = torch.cat([tilt, tilt.new_zeros(1, 1)]) == -1
    weight = torch.softmax(raw[:4], dim=0)[is_constant].sum()
    assert float(weight) == pytest.approx(np.mean(x[~np.isnan(x)] == 0), abs=0.06)


@pytest.mark.parametrize("n_atoms", [0, 2])
def test_background_is_as_wide_as_the_column(n_atoms):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 3, generator=generator, dtype=torch.float64)
    x[7, 1], x[9, 2] = -40.0, torch.nan
    offset, log_range = torch.zeros_like(x), torch.full((3,), 3.0).double()
    likelihood = GaussianMixture(n_atoms=n_atoms, background_weight=1e-3)
    raw, free = likelihood.initialize(x, offset, log_range)
    found = likelihood(raw, free, torch.zeros(3).double(), log_range)
    reach = torch.nan_to_num(x).abs().amax(dim=0)
    torch.testing.assert_close(found.log_reach.exp(), reach)
    far = torch.full((3,), 30.0, dtype=torch.float64)
    least = Normal(torch.zeros(3).double(), reach).log_prob(far) + np.log(1e-3)
    assert (found.log_prob(far) > least - 1e-9).all()
    without = GaussianMixture(n_atoms=n_atoms, background_weight=0.0)
    plain = without(raw, free[:-1], torch.zeros(3).double(), log_range)
    near = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    torch.testing.assert_close(
        found.log_prob(near), plain.log_prob(near), rtol=0, atol=2e-3
    )
    assert (found.log_prob(far) > plain.log_prob(far) + 20)[[0, 2]].all()


@pytest.mark.parametrize("likelihood", ["joint", "autoregressive"])
def test_background_is_a_bound_of_the_loss_of_every_cell(likelihood):
    rng = np.random.default_rng(0)
    X = 5.0 + rng.normal(size=(300, 4)) * [1.0, 2.0, 0.01, 100.0]
    mixture = GaussianMixture(background_weight=0.01)
    if likelihood == "autoregressive":
        mixture = LIKELIHOODS["autoregressive"](base=mixture)
    vae = VAETransformer(
        1, likelihood=mixture, early_stopping=False, max_epochs=5, random_state=0
    ).fit(X)
    reach = np.abs(X - X.mean(axis=0)).max(axis=0)
    for n_reaches in (0.5, 1.0, 3.0, 10.0):
        X_new = X.mean(axis=0) + n_reaches * reach * rng.choice([-1, 1], size=(50, 4))
        found = vae.score_features(X_new)
        least = stats.norm(X.mean(axis=0), reach).logpdf(X_new) + np.log(0.01)
        assert (found > least - 1e-3).all()


@pytest.mark.parametrize("n_rows", [300, 6000])
def test_background_reaches_all_rows(n_rows):
    """Components are fitted to a sample of 4,000 rows at most."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 3))
    X[123, 0] = 500.0
    X[:, 2] = np.arange(n_rows) < 2
    vae = VAETransformer(
        1,
        likelihood=GaussianMixture(),
        early_stopping=False,
        max_epochs=1,
        random_state=0,
    ).fit(X)
    reach = np.abs(X - X.mean(axis=0)).max(axis=0)
    least = stats.norm(X.mean(axis=0), reach).logpdf(X[[0, 123]]) + np.log(1e-4)
    assert (vae.score_features(X[[0, 123]]) > least - 1e-3).all()


@pytest.mark.parametrize("base", ["mixture", "transformed", "autoregressive"])
def test_background_is_for_scores_alone(base):
    """What cells say of others, draws and noise are those of the components."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=1000)
    X = np.column_stack([u, 2 * u, -u, u + 0.5]) + 0.1 * rng.normal(size=(1000, 4))

    def make_likelihood(weight):
        mixture = GaussianMixture(background_weight=weight)
        if base == "transformed":
            return LIKELIHOODS["transformed"](base=mixture)
        if base == "autoregressive":
            return LIKELIHOODS["autoregressive"](base=mixture)
        return mixture

    given = np.full((5, 4), np.nan)
    given[:, 0] = [0.0, 2.0, 4.0, 6.0, 8.0]
    filled, noise = [], []
    for weight in (0.0, 1e-2):
        vae = VAETransformer(
            1,
            likelihood=make_likelihood(weight),
            early_stopping=False,
            max_epochs=3,
            random_state=0,
        ).fit(X)
        filled.append(vae.impute(given, bounded=False)[:, 1])
        noise.append(vae.noise_variance_)
        assert (np.diff(filled[-1]) > 2.0).all()
        drawn = vae.sample(2000, random_state=0, bounded=False)
        assert np.abs(drawn[:, 0] + drawn[:, 2]).max() < 2.0
    np.testing.assert_allclose(*filled, rtol=0.2, atol=0.2)
    np.testing.assert_allclose(*noise, rtol=0.5)


@pytest.mark.parametrize("weight", [-0.1, 1.0, np.nan, "much"])
def test_weights_of_the_background_that_are_none_are_refused(weight):
    likelihood = GaussianMixture(background_weight=weight)
    with pytest.raises((ValueError, TypeError), match="background_weight"):
        VAETransformer(1, likelihood=likelihood).fit(np.eye(4))
