"""Draws of torch from private generators: equal values, and nothing else touched."""

import multiprocessing
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from skvae._utils._draws import call_with_draws, draw_privately, draws_off
from skvae._utils._seed import seeded
from skvae.datasets import make_factors
from skvae.networks import Network


def attend(x):
    x = x.reshape(1, 2, 3, 8)
    return nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.3)


def fill(name, *args):
    return lambda x: getattr(x.clone(), name)(*args)


def initialize(function, *args):
    return lambda x: getattr(nn.init, function)(torch.empty(6, 8), *args)


DRAWS = {
    "rand": lambda x: torch.rand(3, 4),
    "randn": lambda x: torch.randn(3, 4, dtype=torch.float64),
    "randint": lambda x: torch.randint(9, (20,)),
    "randint_between": lambda x: torch.randint(3, 9, (20,)),
    "randperm": lambda x: torch.randperm(20),
    "rand_like": torch.rand_like,
    "randn_like": torch.randn_like,
    "randint_like": lambda x: torch.randint_like(x, 3, 9),
    "normal": lambda x: torch.normal(x, 1.0),
    "normal_of_tensors": lambda x: torch.normal(x, torch.ones_like(x)),
    "normal_of_numbers": lambda x: torch.normal(0.0, 2.0, (3, 4)),
    "bernoulli": lambda x: torch.bernoulli(x.sigmoid()),
    "bernoulli_of_number": lambda x: torch.bernoulli(x, 0.3),
    "multinomial": lambda x: torch.multinomial(x.softmax(-1), 5, replacement=True),
    "poisson": lambda x: torch.poisson(x.exp()),
    "binomial": lambda x: torch.binomial(torch.full_like(x, 9), x.sigmoid()),
    "gamma": lambda x: torch.distributions.Gamma(x.exp(), 1.0).sample((3,)),
    "dirichlet": lambda x: torch.distributions.Dirichlet(x.exp()).sample(),
    "student": lambda x: torch.distributions.StudentT(x.exp()).rsample(),
    "gumbel": lambda x: nn.functional.gumbel_softmax(x),
    "rrelu": lambda x: nn.functional.rrelu(x, training=True),
    "dropout": lambda x: nn.functional.dropout(x, 0.3),
    "native_dropout": lambda x: torch.native_dropout(x, 0.3, train=True)[0],
    "dropout_of_channels": lambda x: nn.functional.dropout2d(x.reshape(1, 6, 2, 4)),
    "alpha_dropout": lambda x: nn.functional.alpha_dropout(x, 0.3, training=True),
    "attention": attend,
    "lstm": lambda x: nn.LSTM(8, 5, num_layers=2, dropout=0.3)(x.unsqueeze(0))[0],
    "transformer": lambda x: nn.TransformerEncoderLayer(8, 2, 16)(x),
    "linear": lambda x: nn.Linear(8, 5)(x),
    "convolution": lambda x: nn.Conv1d(6, 5, 3)(x),
    "embedding": lambda x: nn.Embedding(9, 5).weight,
    "orthogonal": initialize("orthogonal_"),
    "truncated": initialize("trunc_normal_"),
    "sparse": initialize("sparse_", 0.5),
} | {
    name: fill(name, *args)
    for name, args in {
        "uniform_": (-1, 2),
        "normal_": (1, 2),
        "exponential_": (),
        "cauchy_": (),
        "geometric_": (0.3,),
        "log_normal_": (),
        "random_": (9,),
        "bernoulli_": (0.3,),
    }.items()
}


@pytest.fixture
def x():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 8, generator=generator)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad])
@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_those_of_the_default_generator_which_is_not_used(name, mode, x):
    with torch.random.fork_rng(), mode():
        torch.manual_seed(5)
        expected = [DRAWS[name](x) for _ in range(2)]
    before = torch.get_rng_state()
    with mode(), draw_privately(5):
        found = [DRAWS[name](x) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert not torch.equal(*expected)


def test_an_inner_generator_leaves_the_outer_one_alone():
    with draw_privately(5):
        expected = torch.rand(2), torch.rand(2)
    with draw_privately(5):
        first = torch.rand(2)
        with draw_privately(6):
            torch.rand(2)
        assert torch.equal(first, expected[0])
        assert torch.equal(torch.rand(2), expected[1])


def test_a_generator_that_is_named_is_used():
    generator = torch.Generator().manual_seed(3)
    with draw_privately(5):
        found = torch.rand(4, generator=generator)
        torch.empty(4).normal_(generator=generator)
        own = torch.rand(4)
    expected = torch.rand(4, generator=generator.manual_seed(3))
    assert torch.equal(found, expected)
    with draw_privately(5):
        assert torch.equal(torch.rand(4), own)


def test_draws_can_be_turned_off_and_called_for(x):
    with draw_privately(5):
        expected = torch.rand(2), torch.rand(2)
    with draw_privately(5), draws_off():
        with torch.random.fork_rng():
            torch.manual_seed(7)
            torch.rand(2)
            shared = torch.initial_seed()
        assert shared == 7
        assert torch.equal(call_with_draws(torch.rand, 2), expected[0])
        with pytest.raises(TypeError):
            call_with_draws(torch.rand, "2")
        assert torch.equal(call_with_draws(torch.rand, 2), expected[1])


class Checkpointed(nn.Module):
    """A layer with dropout that is computed again in the backward pass."""

    def __init__(self, n_inputs, n_outputs, use_reentrant, preserves):
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(n_inputs, n_outputs), nn.Dropout(0.5))
        self.settings = {"use_reentrant": use_reentrant}
        self.preserves = preserves

    def forward(self, x):
        if not self.preserves:
            return self.layer(x)
        return checkpoint(self.layer, x, **self.settings)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_layers_that_are_computed_again_draw_the_same_again(use_reentrant, x):
    def compute(preserves):
        with draw_privately(5):
            module = Checkpointed(8, 5, use_reentrant, preserves)
            rows = x.clone().requires_grad_()

            def differentiate():
                module.zero_grad()
                rows.grad = None
                module(rows).square().sum().backward()
                return rows.grad

            return [call_with_draws(differentiate) for _ in range(3)]

    before = torch.get_rng_state()
    found, expected = compute(preserves=True), compute(preserves=False)
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


class Dropping(Network):
    """Networks of torch's own layers, with dropout."""

    def make_encoder(self, n_inputs, n_copies=None):
        return nn.Sequential(nn.Linear(n_inputs, 8), nn.Dropout(0.1)), 8

    def make_decoder(self, n_inputs, n_copies=None):
        return nn.Sequential(nn.Linear(n_inputs, 8), nn.AlphaDropout(0.1)), 8


@pytest.fixture
def disturbance():
    """Let another thread draw from torch's generator, a fixed number of times."""
    is_over, numbers = threading.Event(), []

    def draw():
        while not is_over.is_set():
            numbers.append(torch.rand(1))
            time.sleep(2e-4)

    thread = threading.Thread(target=draw)
    before = torch.get_rng_state()
    torch.manual_seed(11)
    thread.start()
    yield numbers
    is_over.set()
    thread.join()
    after = torch.get_rng_state()
    torch.manual_seed(11)
    expected = [torch.rand(1) for _ in numbers]
    end = torch.get_rng_state()
    torch.set_rng_state(before)
    assert torch.equal(torch.cat(expected), torch.cat(numbers))
    assert torch.equal(end, after)


SETTINGS = {
    "after": {"density": "after"},
    "dropout": {"dropout": 0.2},
    "torch_layers": {"network": Dropping()},
    "mmd": {"objective": "mmd"},
    "iwae": {"objective": "iwae", "init": "random"},
    "callback_of_batches": {"net_params": {"iterator_train__shuffle": True}},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_another_thread_changes_nothing_and_notices_nothing(name, quick, disturbance):
    table, _ = make_factors(80, 4, random_state=0)
    gaps = np.where(np.random.default_rng(0).random(table.shape) < 0.2, np.nan, table)

    def run():
        vae = quick(**SETTINGS[name]).fit(table)
        drawn = vae.sample(5, random_state=1), vae.impute(gaps, random_state=2)
        return vae.transform(table), vae.score_samples(table), *drawn

    for a, b in zip(run(), run(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert disturbance


def test_fits_in_threads_are_those_of_one_thread(quick):
    table, _ = make_factors(80, 4, random_state=0)
    found = {}

    def run(seed):
        found[seed] = quick(random_state=seed, dropout=0.1).fit(table).transform(table)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        alone = quick(random_state=seed, dropout=0.1).fit(table).transform(table)
        np.testing.assert_array_equal(found[seed], alone)


def test_a_seed_gives_the_same_draws_in_any_state_of_torch():
    torch.rand(3)
    with seeded(4):
        first = torch.rand(3)
    torch.rand(5)
    with seeded(4), torch.no_grad():
        assert torch.equal(torch.rand(3), first)


def draw_one(batch):
    return torch.rand(1)


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="forks processes"
)
def test_workers_of_a_loader_draw_differently_and_repeatably():
    settings = {"num_workers": 2, "multiprocessing_context": "fork"}
    loader = torch.utils.data.DataLoader(range(4), collate_fn=draw_one, **settings)
    drawn = []
    for _ in range(2):
        with draw_privately(0):
            drawn.append([value.item() for value in loader])
    assert len(set(drawn[0])) == 4
    assert drawn[0] == drawn[1]
