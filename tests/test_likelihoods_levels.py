"""Columns of many categories, of very different numbers of them, and missing codes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from discrete_cases import CASES, LEVELS, adapt
from scipy.special import softmax

import skvae
from skvae._distributions._levels import CategoricalColumns
from skvae._utils._seed import seeded
from skvae.likelihoods import Categorical, Ordinal
from skvae.likelihoods._categorical import _MAX_SLOPE
from skvae.likelihoods._levels import group_by_size

# a seeded average further than this from its expectation is a bug, not bad luck
N_STANDARD_ERRORS = 5
MANY = 10_000


def draw_codes(sizes, n_samples=1500, seed=0):
    """Return codes whose first are the most frequent, some of them rare."""
    generator = np.random.default_rng(seed)
    u = generator.random((n_samples, len(sizes)))
    return np.floor(np.array(sizes) * u**2)


# contrasts ----------------------------------------------------------------------------


def link_by_levels(link, loadings, scale):
    """Return what the link of `Categorical` does, one category at a time."""
    shares = link.shares
    n_levels, d = shares.shape
    weight = np.zeros((len(loadings), n_levels, d))
    bias = np.full((n_levels, d), -50.0)
    half = np.random.default_rng(0).standard_normal((128, len(loadings)))
    z = np.concatenate([half, -half])
    for j, size in enumerate(link.sizes):
        codes = torch.zeros(size, d, dtype=torch.float64)
        codes[:, j] = torch.arange(size)
        contrasts = link.represent(codes).numpy()
        other = link.represent(torch.zeros(1, d).double()).numpy()
        own = (contrasts != other).any(axis=0)
        slope = (loadings * scale)[:, own] @ contrasts[:, own].T
        length = np.sqrt((slope**2).sum(axis=0))
        slope = slope * np.minimum(1, _MAX_SLOPE / np.maximum(length, 1e-12))
        found = np.log(shares[:size, j])
        for _ in range(30 * slope.any()):
            probs = softmax(z @ slope + found, axis=1).mean(axis=0)
            found = found + np.log(shares[:size, j] / probs)
        weight[:, :size, j], bias[:size, j] = slope, found
    return weight.reshape(len(loadings), -1), bias.ravel()


@pytest.mark.parametrize("is_linear", [True, False])
def test_link_by_groups_equals_that_by_categories(is_linear):
    likelihood, x = (
        Categorical(n_categories=[40, 3, 1, 120]),
        draw_codes([40, 3, 1, 90]),
    )
    likelihood.adapt(x)
    # as of the rows of one split
    part = likelihood.link.refit(x[:700], np.ones(700))
    n_inputs = likelihood.link.count_inputs(4)
    generator = np.random.default_rng(1)
    loadings = is_linear * generator.standard_normal((2, n_inputs))
    scale = np.linspace(0.5, 1.5, n_inputs)
    for one in (likelihood.link, part):
        found = one.convert(np.zeros(n_inputs), scale, loadings, np.ones(n_inputs))
        for a, b in zip(found, link_by_levels(one, loadings, scale), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_contrasts_of_many_categories_take_little_memory():
    likelihood, x = Categorical(n_categories=MANY), draw_codes([MANY, 3])
    likelihood.adapt(x)
    assert likelihood.link.contrasts.size <= 2 * 51 * 50
    assert likelihood.link.represent(torch.as_tensor(x)).shape == (
        len(x),
        likelihood.link.count_inputs(2),
    )


@pytest.mark.parametrize("size", [15, 60, MANY])
def test_rows_are_not_far_apart_where_all_categories_are_rare(size):
    x = np.random.default_rng(0).integers(size, size=(2000, 1)).astype(float)
    x = x[: 120 if size == 15 else None]
    likelihood = Categorical(n_categories=size)
    likelihood.adapt(x)
    codes = torch.arange(float(size)).double()[:, None]
    assert likelihood.link.represent(codes).abs().max() < 8


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_and_codes_are_represented_alike_in_any_shape(dtype):
    likelihood, x = adapt(Categorical(), 5)
    x = torch.as_tensor(x, dtype=dtype)
    u = likelihood.link.represent(x)
    assert u.dtype == dtype
    found = likelihood.link.represent(x.view(4, 50, 5))
    torch.testing.assert_close(found, u.view(4, 50, -1), rtol=0, atol=0)


def test_numbers_of_categories_are_given_or_those_of_the_rows():
    x = draw_codes([7, 3])
    seen = x.max(axis=0)
    for cls in (Categorical, Ordinal):
        for given, highest in ((None, seen), (9, [8, 8]), ([9, 4], [8, 3])):
            likelihood = cls(n_categories=given)
            likelihood.adapt(x)
            np.testing.assert_array_equal(
                likelihood.get_highest(torch.ones(2)), highest
            )
        likelihood = cls()
        likelihood.adapt(x)
        likelihood.adapt(0 * x)
        np.testing.assert_array_equal(likelihood.get_highest(torch.ones(2)), [0, 0])


# groups of columns --------------------------------------------------------------------

SIZES = {
    "adult": [9, 16, 7, 15, 6, 5, 2, 42, 2],
    "one": [5],
    "binary": [2] * 7,
    "constant": [1, 1],
    "one large among small": [3, MANY, 4, 2],
    "powers": [2**i for i in range(15)],
    "all": list(range(1, 3000)),
    "drawn": np.random.default_rng(0).zipf(1.3, 400).clip(max=10**6),
}


@pytest.mark.parametrize("name", SIZES)
def test_groups_of_columns_bound_padding_and_their_own_number(name):
    sizes = np.maximum(SIZES[name], 2)
    groups = group_by_size(SIZES[name])
    assert (np.sort(np.concatenate(groups)) == np.arange(len(sizes))).all()
    assert all((np.diff(group) > 0).all() for group in groups)
    largest = [sizes[group].max() for group in groups]
    assert largest == sorted(largest, reverse=True)
    bits = np.log2(sizes.max())
    assert len(groups) <= bits
    padded = sum(sizes[group].max() * len(group) for group in groups)
    assert padded <= 2 * sizes.sum() + 16 * bits
    for group in groups:
        kept = sizes[group] * 2 >= sizes[group].max()
        # the others are too few to be worth a group
        assert ((~kept) * (sizes[group].max() - sizes[group])).sum() < 16 * bits


def test_groups_of_adult():
    groups = [list(group) for group in group_by_size(SIZES["adult"])]
    assert groups == [[7], [0, 1, 3], [2, 4, 5, 6, 8]]
    assert group_by_size([]) == []


# distributions ------------------------------------------------------------------------


def test_codes_drawn_of_many_are_as_frequent_as_their_probabilities():
    n_draws = 40_000
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, MANY, 2, generator=generator, dtype=torch.float64)
    logits[0, 17, 0], logits[1, MANY - 1, 0], logits[1, 0, 1] = 9.0, 10.0, 10.0
    distribution = CategoricalColumns(logits, torch.tensor([MANY - 1, 4000]).double())
    with seeded(0):
        x = distribution.sample((n_draws,))
    assert x.shape == (n_draws, 2, 2)
    assert (x.amax(dim=(0, 1)) <= distribution.highest).all()
    likely = distribution.mean.long()
    for i, j in np.ndindex(2, 2):
        for code in (likely[i, j], 100, 3000):
            p, found = (
                distribution.probs[i, code, j],
                (x[:, i, j] == code).double().mean(),
            )
            error = (p * (1 - p) / n_draws).sqrt() + 1e-4
            assert (found - p).abs() < N_STANDARD_ERRORS * error


def test_impossible_codes_are_never_drawn():
    logits = torch.full((1, 6, 1), -1e30, dtype=torch.float64)
    logits[0, [1, 4]] = 0.0
    distribution = CategoricalColumns(logits, torch.tensor([5.0]).double())
    with seeded(0):
        x = distribution.sample((2000,))
    assert set(x.unique().tolist()) == {1.0, 4.0}
    assert distribution.sample((0,)).shape == (0, 1, 1)


def test_distributions_without_gaps_need_no_mask():
    logits = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0))
    highest = torch.tensor([4.0, 4.0])
    one = CategoricalColumns(logits, highest)
    other = CategoricalColumns(logits, highest, has_gaps=False)
    assert other.logits is logits
    assert (one.probs == other.probs).all()
    for given, has_gaps in ((5, False), ([5, 4], True)):
        likelihood = Categorical(n_categories=given)
        likelihood.adapt(draw_codes([5, 4]))
        assert likelihood.has_gaps == has_gaps


# missing codes ------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEVELS)
def test_what_stands_for_a_missing_code_is_taken_for_the_first(name):
    likelihood, x = adapt(CASES[name], 4)
    x = torch.as_tensor(x)[:20]
    zero, neutral = x.clone(), x.clone()
    zero[3:9, 1:3], neutral[3:9, 1:3] = 0.0, 0.5
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, 4, generator=generator, dtype=torch.float64)

    free = draw(1, likelihood.free_shape(4)[0])
    start = draw(20, likelihood.link.n_offsets)
    distribution = likelihood(draw(20, likelihood.n_raw), free, start, draw(1))
    assert (distribution.log_prob(neutral) == distribution.log_prob(zero)).all()
    assert (distribution.log_prob(neutral)[0] == distribution.log_prob(x)[0]).all()
    if not isinstance(likelihood, Categorical):
        return
    assert (likelihood.link.represent(neutral) == likelihood.link.represent(zero)).all()


# in the estimator ---------------------------------------------------------------------

MEASURE_MEMORY = f"""
import resource
import numpy as np
import torch
from skvae import VAETransformer
from skvae.likelihoods import Categorical
torch.set_num_threads(1)

def peak():
    # kibibytes, on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def fit(n_categories, X):
    vae = VAETransformer(
        2,
        likelihood=Categorical(n_categories),
        hidden_layer_sizes=(16,),
        batch_size=300,
        max_epochs=1,
        random_state=0,
    ).fit(X[:300])
    scores = vae.score_samples(X, "evidence", n_draws=2)
    assert np.isfinite(scores).all() and scores.mean() < 0
    rows = vae.sample(100, random_state=0)
    assert (rows.max(axis=0) < n_categories).all()
    assert np.isfinite(vae.reconstruct(X[:100])).all()

X = np.random.default_rng(0).integers({MANY}, size=(2000, 1))
fit([9], X % 9)
before = peak()
fit([{MANY}], X)
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="units of the peak")
def test_ten_thousand_categories_fit_and_score_in_little_memory():
    done = subprocess.run(
        [sys.executable, "-c", MEASURE_MEMORY],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(skvae.__file__).parents[1],
    )
    # mebibytes; the contrasts of all categories would be 800 alone
    assert float(done.stdout) < 500
