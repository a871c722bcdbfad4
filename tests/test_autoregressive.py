import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from likelihood_cases import delete, make_rows
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.decomposition import FactorAnalysis
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import StandardScaler

import skvae._distributions._column_chain as chain
import skvae.likelihoods._look_ahead as look_ahead
from skvae import VAEOutlierDetector, VAETransformer
from skvae._closed_form._chain import fit_chain
from skvae._distributions._column_chain import ColumnChain, draw_at
from skvae._distributions._mixtures import NormalMixture
from skvae._distributions._normals import LowRankNormal
from skvae._training._gradient import BatchGradient
from skvae._utils._seed import seeded
from skvae.latents import Categorical
from skvae.likelihoods import LIKELIHOODS, Autoregressive, Gaussian, GaussianMixture

pytestmark = pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")

# a seeded average further than this from its expectation is a bug, not bad luck
N_STANDARD_ERRORS = 5
N, D = 60, 5
BASES = [name for name in LIKELIHOODS if name != "autoregressive"]
SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}


def make_frame(n=300, seed=0):
    """Return columns of several kinds, two of which repeat others."""
    generator = np.random.default_rng(seed)
    age = generator.uniform(1, 60, n)
    town = generator.choice(["Ayr", "Bath", "Cork"], n, p=[0.5, 0.3, 0.2])
    return pd.DataFrame(
        {
            "age": age,
            "visits": generator.poisson(2.0, n),
            "town": town,
            "is_child": age < 16,
            "code": pd.Series(town).str[0].str.lower(),
            "income": 10 + 0.5 * age + generator.standard_normal(n),
        }
    )


def make_normal(seed=0, leading=()):
    """Return a chain of one normal a column, its mean and its covariance, float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    likelihood = Autoregressive("gaussian").cover(D)
    layout = likelihood._arrange()
    free = torch.zeros(1, *likelihood.free_shape(D), dtype=torch.float64)
    flat = free.view(-1)[: sum(layout.sizes)]
    _, to_loc, own, unit, *_ = flat.split(layout.sizes)
    # every column has two terms: its offset, which its own location depends on, too
    slope, by_offset = 0.7 * draw(D, D).triu(1), 0.3 * draw(D, D).triu()
    terms = to_loc.view(D, 2, D)
    terms[:, 0], terms[:, 1] = by_offset, slope
    log_own, log_unit = 0.3 * draw(D), -draw(D).abs()
    own[:], unit[:] = log_own, log_unit
    raw, offset = draw(*leading, 1, 1, D), draw(*leading, 1, D)
    log_range = torch.full((1, D), 30.0, dtype=torch.float64)
    law = likelihood(raw, free, offset, log_range)
    # r = o C + r B + e, the residuals r around the offset o
    root = torch.linalg.inv(torch.eye(D, dtype=torch.float64) - slope)
    bound = 30 + log_unit
    bent = torch.where(log_own < 0, bound * torch.expm1(log_own / bound), log_own)
    own = log_unit + bent
    shift = offset @ by_offset + log_unit.exp() * raw[..., 0, :]
    mean = offset + shift @ root
    covariance = root.T @ torch.diag((2 * own).exp()) @ root
    return law, mean, covariance


# the density --------------------------------------------------------------------------


def test_density_is_that_of_the_whole_covariance():
    law, mean, covariance = make_normal()
    x = torch.randn(7, D, generator=torch.Generator().manual_seed(1)).double()
    exact = multivariate_normal(mean[0], covariance).logpdf(x)
    np.testing.assert_allclose(law.log_prob(x), exact, atol=1e-9)
    by_column = law.log_prob_by_column(x)
    for j in range(D):
        part = multivariate_normal(mean[0, : j + 1], covariance[: j + 1, : j + 1])
        np.testing.assert_allclose(
            by_column[:, : j + 1].sum(dim=-1), part.logpdf(x[:, : j + 1]), atol=1e-9
        )


def test_mean_and_draws_are_those_of_the_whole_covariance():
    law, mean, covariance = make_normal()
    torch.testing.assert_close(law.mean, mean)
    with seeded(0):
        x = law.sample((20_000,))[:, 0]
    error = x.std(dim=0) / len(x) ** 0.5
    assert ((x.mean(dim=0) - mean[0]).abs() < N_STANDARD_ERRORS * error).all()
    torch.testing.assert_close(x.T.cov(), covariance, rtol=0.1, atol=0.1)
    # an average over some draws
    variance = law.variance[0]
    ratio = variance / covariance.diagonal()
    assert ((ratio > 0.5) & (ratio < 2)).all()


def make_mixtures(n_mixture, weight):
    """Return a chain of mixtures, and offsets, slopes and log scales of its columns."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    base = GaussianMixture(n_mixture, n_constant=0, background_weight=weight)
    likelihood = Autoregressive(base).cover(D)
    layout = likelihood._arrange()
    free = torch.zeros(1, *likelihood.free_shape(D), dtype=torch.float64)
    flat = free.view(-1)[: sum(layout.sizes)]
    _, to_loc, own, unit, *_ = flat.split(layout.sizes)
    slope = draw(D, D).triu(1)
    to_loc.view(D, 2, D)[:, 1] = slope
    own[:], unit[:] = 2.0, -draw(D).abs()
    raw, offset = draw(1, base.n_raw, D), draw(1, D)
    if n_mixture == 1:
        raw.zero_()
    log_range = torch.full((1, D), 30.0, dtype=torch.float64)
    return likelihood(raw, free, offset, log_range), offset, slope, unit


def test_missing_normals_are_drawn_given_all_columns_behind_them(monkeypatch):
    law, offset, slope, unit = make_mixtures(1, 0.0)
    root = torch.linalg.inv(torch.eye(D, dtype=torch.float64) - slope)
    covariance = root.T @ torch.diag((2 * unit).exp()) @ root
    x = torch.as_tensor(np.random.default_rng(1).normal(size=(7, D)))
    missing = torch.as_tensor(np.random.default_rng(2).random((7, D)) < 0.5)
    missing[0], missing[1] = False, True
    known = [np.flatnonzero(~row) for row in missing]
    expected = [
        multivariate_normal(offset[0, k].numpy(), covariance[k][:, k].numpy()).logpdf(
            x[i, k].numpy()
        )
        if len(k)
        else 0.0
        for i, k in enumerate(known)
    ]
    monkeypatch.setattr(look_ahead, "PLAIN_SHARE", 1e-300)
    # every draw has the same weight
    for seed in range(3):
        law.noise = torch.as_tensor(np.random.default_rng(seed).normal(size=(1, 1, 2)))
        found = law.log_prob(x, missing)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
        by_column = law.log_prob_by_column(x, missing)
        assert (by_column[..., missing] == 0).all()
        torch.testing.assert_close(by_column.sum(dim=-1), found)


def draw_ratios(law, x, missing, expected):
    """Return estimates of a density, each from one draw, divided by the density."""
    torch.manual_seed(0)
    _, log_prob = law._score_filled(x, missing, 20_000)
    return (log_prob.sum(dim=-1) - expected).exp().flatten()


@pytest.mark.parametrize("weight", [0.0, 1e-4, 0.1])
@pytest.mark.parametrize("hidden", [0, 1, 3])
def test_twisted_draws_are_weighted_right(weight, hidden):
    law, *_ = make_mixtures(3, weight)
    x = torch.zeros(1, D, dtype=torch.float64)
    missing = torch.zeros(1, D, dtype=torch.bool)
    missing[0, hidden] = True
    grid = torch.linspace(-60, 60, 40_001, dtype=torch.float64)
    rows = x.repeat(len(grid), 1)
    rows[:, hidden] = grid
    joint = law.conditionals.given(rows).log_prob(rows).sum(dim=-1)
    expected = torch.logsumexp(joint, 0) + (grid[1] - grid[0]).log()
    ratio = draw_ratios(law, x, missing, expected)
    error = ratio.std() / len(ratio) ** 0.5
    assert abs(ratio.mean() - 1) < N_STANDARD_ERRORS * error
    if weight < 0.1:
        # without a look at the columns behind they vary more
        law.conditionals.look_ahead = lambda *_: None
        assert ratio.std() < 0.8 * draw_ratios(law, x, missing, expected).std()


@pytest.mark.parametrize("has_levels", [False, True])
def test_twisted_mixtures_keep_repeated_values(has_levels):
    def make(*values):
        return torch.tensor(values, dtype=torch.float64).unsqueeze(-1)

    law = NormalMixture(make(0.3, 0.7).log(), make(0.0, 1.0), make(0.0, -1.0), 1)
    precision, mean = make(25.0)[0], make(1.5)[0]
    twisted, log_total = law.tilt(precision, mean, 0.2)
    n = 200_000
    torch.manual_seed(0)
    if has_levels:
        drawn = twisted.draw_at(torch.rand(n, 1, dtype=torch.float64))
    else:
        drawn = twisted.sample((n,))
    log_twist = -0.5 * precision * (drawn - mean).square()
    weight = 1 / (0.8 * (log_twist - log_total).exp() + 0.2)
    error = weight.std() / n**0.5
    assert abs(weight.mean() - 1) < N_STANDARD_ERRORS * error
    assert abs(((drawn == 1) * weight).mean() - 0.7) < N_STANDARD_ERRORS * error


@pytest.mark.parametrize("column", [0, 2])
def test_scores_of_far_rows_with_missing_cells_fall_with_the_square(column):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4))
    hidden = X.copy()
    hidden[rng.random(X.shape) < 0.2] = np.nan
    vae = VAETransformer(2, random_state=0, max_epochs=3).fit(hidden)
    distances = 10.0 ** np.arange(10, 60, 6)
    far = np.repeat(X[:1], len(distances), axis=0)
    far[:, column], far[:, 1] = distances, np.nan
    scores = vae.score_samples(far)
    ratio = scores / distances**2
    np.testing.assert_allclose(ratio, ratio[-1], rtol=0.05)
    for row, score in zip(far, scores, strict=True):
        np.testing.assert_allclose(vae.score_samples(row[None]), score, rtol=1e-6)


def test_incomplete_tables_are_learned_as_well_as_by_the_linear_model():
    rng = np.random.default_rng(0)
    x = rng.normal(size=3000)
    rows = np.c_[x, 2 * x + 0.1 * rng.normal(size=3000), rng.normal(size=3000)]
    X, T = rows[:1000].copy(), rows[1000:]
    X[rng.random(X.shape) < 0.3] = np.nan
    linear = VAETransformer(
        1, likelihood="gaussian", hidden_layer_sizes=(), random_state=0
    ).fit(X)
    vae = VAETransformer(1, random_state=0).fit(X)
    assert vae.score(T) > linear.score(T) - 0.05
    hidden = T.copy()
    hidden[:, 1] = np.nan
    drawn = vae.impute(hidden, random_state=0)[:, 1]
    error = drawn - 2 * T[:, 0]
    assert (abs(error) > 0.5).mean() < 0.01
    assert error.std() < 0.2


@pytest.mark.parametrize("has_noise", [False, True])
def test_missing_cells_are_integrated_out(has_noise, monkeypatch):
    n_draws = 20_000
    monkeypatch.setattr(chain, "_N_CELL_DRAWS", n_draws)
    law, mean, covariance = make_normal()
    if has_noise:
        law.noise = torch.zeros(1, 2).double()
    with seeded(1):
        x = law.sample((3,))[:, 0]
    missing = torch.tensor([[1, 0, 0, 1, 0], [0, 1, 0, 0, 1], [1, 1, 1, 1, 1]]).bool()
    value = torch.where(missing, 0.5, x)
    with seeded(0):
        found = law.log_prob(value, missing)
        by_column = law.log_prob_by_column(value, missing)
    for i in range(3):
        m = ~missing[i]
        exact = 0.0
        if m.any():
            part = multivariate_normal(mean[0, m], covariance[m][:, m])
            exact = part.logpdf(x[i, m])
        assert abs(float(found[i]) - exact) < 0.1
        assert abs(float(by_column[i].sum()) - exact) < 0.1
    assert (by_column[missing] == 0).all()


def test_estimates_are_right_on_average(monkeypatch):
    monkeypatch.setattr(chain, "_N_CELL_DRAWS", 1)
    law, mean, covariance = make_normal(leading=(4000,))
    law.conditionals.raw = law.conditionals.raw[:1].expand(4000, -1, -1)
    law.conditionals.offset = law.conditionals.offset[:1].expand(4000, -1, -1)
    x, missing = mean[:1, 0] + 0.3, torch.tensor([[1, 0, 1, 0, 0]]).bool()
    m = ~missing[0]
    part = multivariate_normal(mean[0, 0, m], covariance[m][:, m])
    with seeded(0):
        weights = law.log_prob(x, missing)[:, 0].exp()
    error = weights.std() / len(weights) ** 0.5
    exact = np.exp(part.logpdf(x[0, m]))
    assert abs(float(weights.mean()) - exact) < N_STANDARD_ERRORS * error


def test_gradient_is_that_of_the_observed_cells(monkeypatch):
    monkeypatch.setattr(chain, "_N_CELL_DRAWS", 40_000)
    likelihood = Autoregressive("gaussian").cover(2)
    layout = likelihood._arrange()
    free = torch.zeros(1, *likelihood.free_shape(2), dtype=torch.float64)
    # from the residual of the first column to the location of the second
    place = layout.sizes[0] + 1 * 2 + 1
    free.view(-1)[place] = 0.8
    offset = torch.tensor([[0.2, -0.4]]).double().requires_grad_()
    free.requires_grad_()
    raw = torch.zeros(1, 1, 2, dtype=torch.float64)
    law = likelihood(raw, free, offset, torch.full((1, 2), 20.0).double())
    x, missing = torch.tensor([[0.5, 1.0]]).double(), torch.tensor([[True, False]])
    with seeded(0):
        found = torch.autograd.grad(law.log_prob(x, missing).sum(), [offset, free])
    # x_1 ~ N(-0.4, 1 + 0.8²)
    variance = 1 + 0.8**2
    error = 1.4
    np.testing.assert_allclose(found[0], [[0.0, error / variance]], atol=0.03)
    slope = 0.8 / variance * (error**2 / variance - 1)
    np.testing.assert_allclose(found[1].view(-1)[place], slope, atol=0.03)


@pytest.mark.parametrize("name", BASES)
def test_one_column_and_all_columns_agree(name):
    X = make_rows(name, N, D)
    vae = VAETransformer(2, likelihood=Autoregressive(name), **SMALL).fit(X)
    module = vae.net_.module_.double()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        random = torch.randn(module.free.shape, generator=generator)
        module.free.add_(0.1 * random)
        x = torch.as_tensor(vae.columns_.encode(X)).double()
        conditionals = module.decode(torch.ones(len(x), 2).double()).conditionals
        expected, codes = conditionals.given(x), conditionals.encode(x)
        for j in range(D):
            part = conditionals.at(codes, j)
            column = x[:, j : j + 1]
            torch.testing.assert_close(
                part.log_prob(column), expected.log_prob(x)[:, j : j + 1]
            )
            layout = conditionals.layout
            inputs, terms = (part.clone() for part in codes)
            inputs[:, layout.first_inputs[j] :] = 0.0
            is_later = layout.term_columns >= j
            terms[:, is_later & ~layout.is_offset] = 0.0
            changed = type(codes)(inputs, terms)
            for k in range(j, D):
                conditionals.update(changed, x, k)
            torch.testing.assert_close(changed, codes)


@pytest.mark.parametrize("name", BASES)
def test_cells_are_drawn_for_the_rows_that_miss_them(name):
    X = make_rows(name, N, D)
    vae = VAETransformer(2, likelihood=Autoregressive(name), **SMALL).fit(X)
    module = vae.net_.module_.double()
    x = torch.as_tensor(vae.columns_.encode(X)).double()
    missing = torch.as_tensor(np.random.default_rng(0).random(x.shape) < 0.3)
    missing[:, 1] = True
    noise = torch.as_tensor(np.random.default_rng(1).normal(size=(5, 1, 2)))
    with torch.no_grad():
        law = module.decode(noise.expand(5, len(x), 2))
        law.noise = noise
        found, _ = law._fill(x, missing, 3)
        # one mask for every draw: all rows are drawn, as in a recorded step
        expected, _ = law._fill(x, missing.expand(3, 5, -1, -1), 3)
    assert (found[..., ~missing] == x[~missing]).all()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", BASES)
def test_levels_stand_for_draws(name):
    X = make_rows(name, N, D)
    vae = VAETransformer(2, likelihood=Autoregressive(name), **SMALL).fit(X)
    module = vae.net_.module_.double()
    with torch.no_grad():
        conditionals = module.decode(torch.zeros(1, 2).double()).conditionals
        x = torch.as_tensor(vae.columns_.encode(X[:1])).double()
        law = conditionals.given(x)
        mean, n = law.mean[0], 4000
        spread = law.variance[0].sqrt()
        for j in range(D):
            part = conditionals.at(conditionals.encode(x), j)
            level = (torch.arange(n).double() + 0.5) / n
            found = draw_at(part, level[:, None, None].expand(n, 1, 1))[:, 0, 0]
            if name == "categorical":
                share = (found == mean[j]).double().mean()
                expected = law.log_prob(mean)[0, j].exp()
                assert abs(float(share - expected)) < 1e-3
                continue
            if name == "censored":
                # the mean is that of whole numbers; draws are cut at 0
                expected = part.log_prob(torch.zeros(1, 1).double()).exp()
                assert abs(float((found == 0).double().mean() - expected)) < 1e-3
                continue
            if name == "von_mises":
                turned = torch.stack([found.cos().mean(), found.sin().mean()])
                expected = part.base.moments.reshape(2)
                torch.testing.assert_close(turned, expected, rtol=0, atol=1e-3)
                continue
            assert abs(found.mean() - mean[j]) < 0.02 * spread[j]
            assert abs(found.std() / spread[j] - 1) < 0.1


# the start ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "n_components"),
    [(load_iris, 2), (load_wine, 2), (load_breast_cancer, 2), (load_diabetes, 3)],
)
def test_start_predicts_as_well_as_factor_analysis(load, n_components):
    X = StandardScaler().fit_transform(load().data)
    for seed in range(2):
        train, test = train_test_split(X, test_size=0.3, random_state=seed)
        linear = FactorAnalysis(n_components).fit(train).score(test)
        vae = VAETransformer(
            n_components, likelihood="autoregressive", max_epochs=0, random_state=0
        )
        assert vae.fit(train).score(test) > linear - 0.05


def test_chain_finds_regressions_and_shrinks_noise():
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((2000, 4))
    assert np.abs(fit_chain(noise[:60], np.arange(4)).slope).max() < 0.2
    codes = noise.copy()
    codes[:, 2] = 0.5 * codes[:, 0] - codes[:, 1] + 0.3 * noise[:, 2]
    found = fit_chain(codes, np.array([2, 3]))
    np.testing.assert_allclose(found.slope[:, 0], [0.5, -1, 0, 0], atol=0.05)
    np.testing.assert_allclose(found.scale, [0.3, 1], rtol=0.1)
    error = codes[:, 2] - found.predicted[:, 0]
    np.testing.assert_allclose(error.std(), 0.3, rtol=0.1)


# missing cells ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def linear():
    """Return a linear model of strongly dependent columns, and their covariance."""
    generator = np.random.default_rng(0)
    X = generator.standard_normal((2000, 4)) @ generator.standard_normal((4, 4))
    vae = VAETransformer(
        1,
        likelihood=Autoregressive("gaussian"),
        hidden_layer_sizes=(),
        max_epochs=0,
        random_state=0,
    ).fit(X)
    return vae, X


def get_moments(vae):
    """Return mean and covariance of a linear model in the units of X."""
    module, d = vae.net_.module_, vae.n_features_in_
    with torch.no_grad():
        law = module.double().decode(torch.zeros(1, 1).double())
        conditionals = law.conditionals
        coupling = conditionals.coupling
        by_offset, slope = coupling.to_loc.view(d, 2, d).unbind(dim=1)
        scale = conditionals.given(law.mean).variance.sqrt()[0]
        root = torch.linalg.inv(torch.eye(d).double() - slope) * scale[:, None]
        root = torch.linalg.inv(torch.eye(d).double() - slope)
        noise = root.T @ torch.diag(scale**2) @ root
        weight = module.linear_start.decoder_weight
        rate = torch.exp(-coupling.log_offset_scale)
        weight = weight + (weight * rate) @ by_offset @ root
        covariance = (noise + weight.T @ weight).numpy()
    unit = vae.columns_.unit
    return vae.inverse_transform(np.zeros((1, 1)))[0], covariance * np.outer(unit, unit)


def test_linear_model_has_the_covariance_of_the_rows(linear):
    vae, X = linear
    mean, covariance = get_moments(vae)
    np.testing.assert_allclose(mean, X.mean(axis=0), atol=0.05)
    spread = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(
        covariance / np.outer(spread, spread), np.corrcoef(X.T), atol=0.05
    )
    exact = multivariate_normal(mean, covariance).logpdf(X[:50])
    evidence = vae.score_samples(X[:50], "evidence", n_draws=500)
    np.testing.assert_allclose(evidence, exact, atol=0.1)


def test_evidence_of_rows_with_missing_cells_is_exact(linear):
    vae, X = linear
    mean, covariance = get_moments(vae)
    rows = X[:30].copy()
    rows[:10, 0] = rows[10:20, 1] = rows[20:, 2] = rows[5:15, 3] = np.nan
    scores, error = vae.score_samples(rows, "evidence", n_draws=2000, return_std=True)
    for row, score, width in zip(rows, scores, error, strict=True):
        m = ~np.isnan(row)
        exact = multivariate_normal(mean[m], covariance[m][:, m]).logpdf(row[m])
        assert abs(score - exact) < N_STANDARD_ERRORS * width + 0.02
    assert np.median(error) < 0.1


def test_cells_are_imputed_given_all_others(linear):
    vae, X = linear
    mean, covariance = get_moments(vae)
    rows = X[:40].copy()
    rows[:, 0] = np.nan
    m = np.arange(1, 4)
    slope = np.linalg.solve(covariance[m][:, m], covariance[m, 0])
    exact = mean[0] + (X[:40, m] - mean[m]) @ slope
    left = np.sqrt(covariance[0, 0] - covariance[0, m] @ slope)
    error = vae.impute(rows, n_draws=1000)[:, 0] - exact
    assert np.sqrt((error**2).mean()) < 0.3 * left
    drawn = np.stack([vae.impute(rows, random_state=s)[:, 0] for s in range(10)])
    assert 0.7 < np.sqrt(((drawn - exact) ** 2).mean()) / left < 1.4


def test_later_columns_decide_about_earlier_ones(linear):
    vae, _ = linear
    mean, covariance = get_moments(vae)
    value = mean[3] + np.sqrt(covariance[3, 3])
    drawn = vae.sample(2000, random_state=0, given={3: value})
    expected = mean + covariance[3] / covariance[3, 3] * (value - mean[3])
    spread = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(
        drawn.mean(axis=0) / spread, expected / spread, atol=0.15
    )
    assert (drawn[:, 3] == value).all()


def test_low_rank_cells_are_drawn_given_all_others():
    generator = torch.Generator().manual_seed(0)
    loc, log_scale = (torch.randn(5, generator=generator).double() for _ in range(2))
    factor = torch.randn(2, 5, generator=generator).double()
    law = LowRankNormal(loc, log_scale, factor)
    s = log_scale.exp()
    covariance = torch.diag(s**2) + (factor * s).T @ (factor * s)
    x = torch.randn(1, 5, generator=generator).double()
    missing = torch.tensor([[True, False, True, False, False]])
    m, o = missing[0], ~missing[0]
    slope = torch.linalg.solve(covariance[o][:, o], covariance[o][:, m])
    mean = loc[m] + (x[:, o] - loc[o]) @ slope
    filled, log_prob = law.complete(x, missing, mean=True)
    torch.testing.assert_close(filled[:, m], mean)
    torch.testing.assert_close(filled[:, o], x[:, o])
    torch.testing.assert_close(log_prob, law.log_prob(x, missing))
    with seeded(0):
        drawn, _ = law.complete(x.expand(20_000, -1), missing.expand(20_000, -1))
    left = covariance[m][:, m] - covariance[m][:, o] @ slope
    torch.testing.assert_close(drawn[:, m].T.cov(), left, rtol=0.05, atol=0.02)
    torch.testing.assert_close(drawn[:, m].mean(dim=0), mean[0], rtol=0.05, atol=0.03)


def test_low_rank_cells_are_imputed_given_all_others():
    generator = np.random.default_rng(0)
    X = generator.standard_normal((400, 1)) + 0.1 * generator.standard_normal((400, 4))
    X = np.hstack([X, 3 * generator.standard_normal((400, 1))])
    likelihood = Gaussian(noise="low_rank")
    # z is prevented from explaining the common factor
    vae = VAETransformer(
        1, likelihood=likelihood, init="random", max_epochs=0, random_state=0
    ).fit(X)
    holes = X.copy()
    holes[:, 0] = np.nan
    assert np.abs(vae.impute(holes)[:, 0] - X[:, 0]).mean() < 0.3
    drawn = vae.sample(200, given={1: 2.0}, random_state=0)
    assert abs(drawn[:, 0].mean() - 2) < 0.3


@pytest.mark.parametrize("name", BASES)
def test_scores_of_rows_depend_on_these_rows_alone(name):
    X = delete(make_rows(name, N, D), 0.2)
    X[0] = make_rows(name, N, D)[0]
    vae = VAETransformer(2, likelihood=Autoregressive(name), n_draws=32, **SMALL)
    vae.fit(X)
    state = torch.get_rng_state()
    for method in ("elbo", "evidence"):
        scores = vae.score_samples(X, method)
        np.testing.assert_allclose(vae.score_samples(X, method), scores, rtol=0)
        one = [vae.score_samples(X[i : i + 1], method)[0] for i in range(8)]
        np.testing.assert_allclose(one, scores[:8], atol=1e-8)
        some = vae.score_samples(X[::-1], method, n_draws=32)[::-1]
        np.testing.assert_allclose(some, scores, atol=1e-8)
    np.testing.assert_allclose(vae.impute(X), vae.impute(X), rtol=0)
    np.testing.assert_allclose(vae.impute(X[:5]), vae.impute(X)[:5], atol=1e-6)
    assert torch.equal(torch.get_rng_state(), state)
    again = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(again.score_samples(X), vae.score_samples(X))


def test_distributions_without_levels_are_named():
    class Odd(torch.distributions.Gamma):
        pass

    with pytest.raises(NotImplementedError, match=r"Odd\.icdf"):
        draw_at(Odd(1.0, 1.0), torch.tensor(0.5))


# tables -------------------------------------------------------------------------------


def test_columns_that_repeat_others_come_out_equal():
    frame = make_frame(400)
    vae = VAETransformer(
        2, likelihood="autoregressive", random_state=0, max_epochs=40
    ).fit(frame)
    drawn = vae.sample(500, random_state=0)
    assert (drawn["code"] != drawn["town"].str[0].str.lower()).mean() < 0.03
    assert (drawn["is_child"] != (drawn["age"] < 16)).mean() < 0.06
    kinds = vae.columns_.to_frame()["likelihood"]
    assert set(kinds) >= {"Categorical", "Bernoulli", "GaussianMixture"}


def make_categories(n, seed=0):
    """Return columns that depend on one another through z alone, not linearly."""
    generator, fixed = np.random.default_rng(seed), np.random.default_rng(7)
    z = generator.standard_normal((n, 1))
    u = np.hstack([z, 1.5 * (z**2 - 1)])
    columns = {}
    for j in range(10):
        logits = 1.2 * u @ fixed.standard_normal((2, 4))
        drawn = (logits + generator.gumbel(size=(n, 4))).argmax(axis=1)
        columns[f"category_{j}"] = np.array(list("abcd"))[drawn]
    for j in range(2):
        noise = generator.standard_normal(n)
        columns[f"number_{j}"] = u @ fixed.standard_normal(2) + noise
    return pd.DataFrame(columns)


def test_coupling_that_means_nothing_stays_small():
    train, test = make_categories(400), make_categories(3000, seed=1)
    scores = {}
    for likelihood in ("auto", "autoregressive"):
        vae = VAETransformer(2, likelihood=likelihood, max_epochs=40, random_state=0)
        scores[likelihood] = vae.fit(train).score(test)
    # fitted by maximum likelihood, its thousand coefficients would take a nat
    assert scores["autoregressive"] > scores["auto"] - 0.2


def test_logits_of_rare_categories_take_small_coefficients():
    codes = np.repeat([0, 1, 2], [80, 15, 5])
    frame = pd.DataFrame({"x": np.arange(100.0), "c": np.array(list("abc"))[codes]})
    vae = VAETransformer(1, likelihood="autoregressive", **SMALL).fit(frame)
    module = vae.net_.module_
    with torch.no_grad():
        module.free.fill_(1.0)
        conditionals = module.decode(torch.zeros(1, 1)).conditionals
    logits = conditionals.layout.places[1][2]
    found = conditionals.coupling.to_raw[..., :1, logits].flatten()
    indicators = codes[:, None] == np.arange(3)
    # what is learned is one everywhere: 2 * (1 + 0.1) for the most even of categories
    np.testing.assert_allclose(found, 2.2 * 2 * indicators.std(axis=0), rtol=1e-5)


def test_coefficients_of_rules_become_large():
    generator = np.random.default_rng(0)
    codes = generator.choice(4, (400, 6), p=[0.4, 0.3, 0.2, 0.1])
    frame = pd.DataFrame(np.array(list("abcd"))[codes]).add_prefix("column_")
    frame["sum"] = np.array(list("tuvwxyz"))[codes[:, 1] + codes[:, 2]]
    vae = VAETransformer(1, likelihood="autoregressive", random_state=0).fit(frame)
    drawn = vae.sample(500, random_state=0)
    values = {name: k for k, name in enumerate("abcd")}
    total = drawn["column_1"].map(values) + drawn["column_2"].map(values)
    is_right = drawn["sum"] == total.map(dict(enumerate("tuvwxyz")))
    assert is_right.mean() > 0.9


def test_numbers_that_repeat_a_category_are_drawn_with_it():
    generator = np.random.default_rng(0)
    share = [0.4, 0.3, 0.2, 0.07, 0.02, 0.01]
    codes = generator.choice(6, 1500, p=share)
    age = generator.normal(40 + 3 * codes, 8)
    school = np.array(list("abcdef"))[codes]
    frame = pd.DataFrame({"age": age, "school": school, "years": 2 * codes + 5})
    vae = VAETransformer(2, random_state=0).fit(frame)
    drawn = vae.sample(3000, random_state=0)
    years = drawn["school"].map(dict(zip("abcdef", range(5, 17, 2), strict=True)))
    assert (drawn["years"] == years).mean() > 0.97


def test_location_follows_columns_before_exactly():
    # the third column is a sum of the others: nothing of the noise of z is left in it
    generator = np.random.default_rng(0)
    X = generator.standard_normal((400, 2)) * [1.0, 2.0]
    X = np.column_stack([X, X.sum(axis=1)])
    vae = VAETransformer(1, random_state=0).fit(X)
    drawn = vae.sample(500, random_state=0, bounded=False)
    error = drawn[:, 2] - drawn[:, :2].sum(axis=1)
    assert error.std() < 0.06 * X[:, 2].std()


def test_given_and_missing_cells_of_mixed_tables():
    frame = make_frame(400)
    vae = VAETransformer(
        2, likelihood="autoregressive", random_state=0, max_epochs=30
    ).fit(frame)
    drawn = vae.sample(200, given={"code": "b"}, random_state=0)
    assert (drawn["town"] == "Bath").mean() > 0.9
    holes = frame.iloc[:100].copy()
    holes["town"] = None
    filled = vae.impute(holes)
    assert (filled["town"] == frame["town"].iloc[:100]).mean() > 0.9
    assert vae.sample(5, given={"code": "b"}, mean=True).shape == (5, 6)
    odd = frame.iloc[:20].copy()
    odd.loc[0, "code"] = "c" if frame.loc[0, "town"] != "Cork" else "a"
    features = vae.score_features(odd)
    assert features.loc[0].argmin() in (2, 4)
    np.testing.assert_allclose(
        features.sum(axis=1), vae.score_samples(odd, "reconstruction"), atol=1e-8
    )


@pytest.mark.parametrize("has_missing", [False, True])
def test_steps_are_recorded(has_missing, monkeypatch):
    found, first = [], BatchGradient._run_first

    def run_first(gradient):
        first(gradient)
        found.append(gradient.is_recorded)

    monkeypatch.setattr(BatchGradient, "_run_first", run_first)
    frame = make_frame()
    if has_missing:
        frame.loc[::7, "age"] = np.nan
        frame.loc[::5, "town"] = None
    vae = VAETransformer(2, likelihood="autoregressive", **SMALL).fit(frame)
    assert found
    assert all(found)
    assert np.isfinite(vae.score(frame))


def test_detectors_explain_by_what_columns_say_of_each_other():
    generator = np.random.default_rng(0)
    X = generator.standard_normal((300, 4))
    X[:, 3] = X[:, 1] + 0.05 * generator.standard_normal(300)
    X[0, 3] = -X[0, 1] + 3
    detector = VAEOutlierDetector(
        1, likelihood="autoregressive", max_epochs=10, random_state=0
    ).fit(X)
    assert detector.predict(X[:1]) == -1
    assert np.argmin(detector.explain(X[:1])) in (1, 3)


def test_everything_else_works():
    X = make_rows("gaussian", N, D)
    X = np.hstack([X, np.full((N, 1), 3.0)])
    parameters = {"likelihood": "autoregressive", **SMALL}
    vae = VAETransformer(2, **parameters, warm_start=True)
    weight = np.arange(1.0, N + 1)
    vae.fit(X, sample_weight=weight)
    vae.fit(X)
    assert np.isfinite(vae.score_samples(X, "refined")).all()
    holes = delete(X[:10])
    assert np.isfinite(vae.score_samples(holes, "refined")).all()
    assert (vae.sample(4)[:, 5] == 3).all()
    copy = clone(vae)
    assert copy.get_params() == vae.get_params()
    stream = VAETransformer(2, **parameters).partial_fit(X).partial_fit(delete(X))
    assert np.isfinite(stream.score(X))
    discrete = VAETransformer(3, latent=Categorical(), **parameters).fit(X)
    assert np.isfinite(discrete.score_samples(delete(X))).all()
    assert np.isfinite(discrete.impute(holes)).all()
    assert np.isfinite(discrete.impute(holes, random_state=0)).all()


def test_parameters_of_the_base_are_searched():
    X = make_rows("gaussian", N, D)
    vae = VAETransformer(2, likelihood=Autoregressive("gaussian_mixture"), **SMALL)
    search = GridSearchCV(vae, {"likelihood__base__n_mixture": [2, 3]}, cv=2).fit(X)
    assert search.best_estimator_.likelihood.base.n_mixture in (2, 3)
    mixed = {"visits": "poisson"}
    vae = VAETransformer(2, likelihood=Autoregressive(mixed), **SMALL).fit(make_frame())
    assert "Poisson" in set(vae.columns_.to_frame()["likelihood"])


def test_random_weights_start_at_the_whole_covariance():
    generator = np.random.default_rng(0)
    X = generator.standard_normal((500, 4)) @ generator.standard_normal((4, 4))
    vae = VAETransformer(
        1, likelihood="autoregressive", init="random", max_epochs=0, random_state=0
    ).fit(X)
    exact = multivariate_normal(X.mean(axis=0), np.cov(X.T)).logpdf(X).mean()
    reconstruction = vae.score_samples(X, "reconstruction").mean()
    assert reconstruction > exact - 0.2


@pytest.mark.parametrize(
    ("likelihood", "error", "message"),
    [
        (Autoregressive(Autoregressive()), ValueError, "single columns"),
        (Autoregressive("autoregressive"), ValueError, "single columns"),
        (Autoregressive(3), TypeError, "base=3"),
        (Autoregressive("unknown"), ValueError, "'unknown' is not known"),
        (Autoregressive(Gaussian("low_rank")), ValueError, "of its own in every"),
        (Autoregressive(Gaussian("shared")), ValueError, "of its own in every"),
        (Autoregressive(GaussianMixture(1)), ValueError, "n_mixture"),
        ({0: "autoregressive"}, ValueError, "jointly"),
    ],
    ids=repr,
)
def test_bases_that_do_not_fit_are_refused(likelihood, error, message):
    with pytest.raises(error, match=message):
        VAETransformer(2, likelihood=likelihood, **SMALL).fit(
            make_rows("gaussian", N, D)
        )


def test_wide_tables_and_images_are_refused():
    X = np.random.default_rng(0).standard_normal((20, 501))
    with pytest.raises(ValueError, match=r"at most 500 columns.*likelihood='auto'"):
        VAETransformer(2, likelihood="autoregressive", **SMALL).fit(X)
    with pytest.raises(ValueError, match=r"not for images.*likelihood='auto'"):
        VAETransformer(
            2, likelihood="autoregressive", image_shape=(1, 3, 3), **SMALL
        ).fit(X[:, :9])


def test_draws_of_the_noise_do_not_depend_on_blocks():
    law, _, _ = make_normal(leading=(6,))
    noise = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)).double()
    assert isinstance(law, ColumnChain)
    law.noise = noise
    whole = law._make_levels(3)
    law.noise = noise[2:4]
    assert torch.equal(law._make_levels(3), whole[:, 2:4])
