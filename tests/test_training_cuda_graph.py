"""Recorded steps: stand-ins for CUDA's graphs on the CPU, and the real ones."""

import gc

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, LRScheduler

from skvae import VAETransformer
from skvae._training import _cuda_graph
from skvae._training._cuda_graph import StepGraph
from skvae.latents import Gaussian as GaussianLatent
from skvae.likelihoods import Gaussian
from skvae.objectives import IWAE

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device on this machine"
)
SMALL = {
    "hidden_layer_sizes": (8,),
    "latent": GaussianLatent("mixture", n_mixture=3),
    "batch_size": 30,
    "max_epochs": 3,
    "random_state": 0,
}
# rates and pulls in single precision, through some dozen steps of an optimizer that
# makes more of small gradients
CLOSE = {"rtol": 2e-3, "atol": 2e-3}


class SeenGraphs(Callback):
    """Count graphs after every epoch, and note what they are of."""

    def on_train_begin(self, net, **kwargs):
        self.counts_, self.shapes_ = [], set()

    def on_epoch_end(self, net, **kwargs):
        graphs = net._steps.graphs
        self.counts_.append(len(graphs))
        self.shapes_ |= {tuple(shape) for shape, *_ in graphs}


def fit(X, fit_params=None, callbacks=(), n_fits=1, **params):
    """Return a fitted estimator, and what was seen of its graphs."""
    seen = SeenGraphs()
    params = {**SMALL, "net_callbacks": [*callbacks, seen], **params}
    vae = VAETransformer(2, **{"density": "joint", **params})
    for _ in range(n_fits):
        vae.fit(X, **(fit_params or {}))
    return vae, seen


class StandIn:
    """What stands in for CUDA: functions are called rather than launched."""

    def __init__(self):
        self.n_aside, self.n_recorded, self.n_replayed = 0, 0, 0

    def run_aside(self, function):
        self.n_aside += 1
        function()

    def capture(self, function):
        """Return what calls the function again; recording does not run it."""
        self.n_recorded += 1

        def replay():
            self.n_replayed += 1
            function()

        return replay


@pytest.fixture
def stand_in(monkeypatch):
    stand_in = StandIn()
    monkeypatch.setattr(_cuda_graph, "run_aside", stand_in.run_aside)
    monkeypatch.setattr(_cuda_graph, "capture", stand_in.capture)
    monkeypatch.setattr(StepGraph, "can_capture", staticmethod(lambda *args: True))
    return stand_in


def assert_close(one, two, X):
    np.testing.assert_allclose(one.loss_curve_, two.loss_curve_, **CLOSE)
    np.testing.assert_allclose(one.validation_scores_, two.validation_scores_, **CLOSE)
    np.testing.assert_allclose(one.transform(X), two.transform(X), **CLOSE)


def fit_without(X, monkeypatch, **params):
    with monkeypatch.context() as patch:
        patch.setattr(StepGraph, "can_capture", staticmethod(lambda *args: False))
        vae, seen = fit(X, **params)
    assert set(seen.counts_) == {0}
    return vae


# a few rows have most of the weight
WEIGHT = np.random.default_rng(0).exponential(size=200) ** 3
CASES = {
    "copies": {},
    "all rows": {"early_stopping": False},
    "two sizes": {"early_stopping": False, "batch_size": 70},
    "weighted rows": {"fit_params": {"sample_weight": WEIGHT}},
    "weighted rows of two sizes": {
        "fit_params": {"sample_weight": WEIGHT},
        "early_stopping": False,
        "batch_size": 70,
    },
    "beta that rises": {"kl_warmup": 0.5, "beta": 2.0},
    "rates that fall": {
        "callbacks": [LRScheduler("StepLR", step_size=1, gamma=0.2)],
        "lr": 0.01,
    },
    "no warm-up": {"net_params": {"lr_warmup": 0}},
    "no averages": {"net_params": {"averaging": 0.0}},
    "gradient cut": {"net_params": {"max_gradient_norm": 0.1}},
    "adam": {"optimizer": "adam", "weight_decay": 0.1},
    "draws": {"objective": IWAE(3)},
    "draws of weighted rows": {
        "objective": IWAE(3),
        "fit_params": {"sample_weight": WEIGHT},
    },
    "noise of the network": {"likelihood": Gaussian("network")},
    "random": {"init": "random"},
    "going on": {"warm_start": True, "n_fits": 2, "early_stopping": False},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
def test_recorded_steps_equal_those_taken_one_by_one(case, stand_in, monkeypatch, X):
    vae, _ = fit(X, **CASES[case])
    assert stand_in.n_replayed > 0
    expected = fit_without(X, monkeypatch, **CASES[case])
    assert_close(vae, expected, X)


def test_steps_are_recorded_once_for_every_size_of_batch(stand_in, X):
    _, seen = fit(X, early_stopping=False, batch_size=70, max_epochs=4)
    # 200 rows in three batches, one row twice
    assert seen.shapes_ == {(67, 6)}
    assert seen.counts_ == [1] * 4
    assert stand_in.n_recorded == 1
    assert stand_in.n_aside == _cuda_graph._STEPS_BEFORE
    # the first step of all goes through autograd
    assert stand_in.n_aside + stand_in.n_replayed == 11


def test_a_rising_weight_of_the_kl_needs_one_graph(stand_in, X):
    _, seen = fit(X, early_stopping=False, batch_size=50, max_epochs=6, kl_warmup=0.5)
    # beta is 0, 1/3, 2/3 and then 1; the graph of the first epoch is dropped
    assert seen.counts_ == [1] * 6
    assert stand_in.n_recorded == 1


def test_rates_do_not_need_another_recording(stand_in, X):
    schedule = LRScheduler("StepLR", step_size=1, gamma=0.5)
    _, seen = fit(X, early_stopping=False, batch_size=50, callbacks=[schedule])
    assert seen.counts_ == [1, 1, 1]
    assert stand_in.n_recorded == 1


def test_only_steps_on_an_accelerator_are_recorded(X):
    _, seen = fit(X)
    assert set(seen.counts_) == {0}


# on an accelerator --------------------------------------------------------------------


@pytest.fixture
def same_everywhere(monkeypatch):
    """No random numbers: generators of devices differ."""

    def fill(tensor):
        numbers = torch.arange(tensor.numel(), device=tensor.device)
        return tensor.copy_(2**0.5 * numbers.to(tensor.dtype).sin().view_as(tensor))

    def arange(n, device=None):
        return torch.arange(n, device=device)

    monkeypatch.setattr(torch.Tensor, "normal_", fill)
    monkeypatch.setattr(torch, "randperm", arange)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
@pytest.mark.usefixtures("same_everywhere")
def test_recorded_steps_on_cuda_equal_steps_on_the_cpu(case, X):
    params = {"max_epochs": 6, **CASES[case]}
    vae, seen = fit(X, device="cuda", **params)
    assert min(seen.counts_) > 0
    assert_close(vae, fit(X, device="cpu", **params)[0], X)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
@pytest.mark.usefixtures("same_everywhere")
def test_recorded_steps_on_cuda_equal_those_taken_one_by_one(case, monkeypatch, X):
    params = {"device": "cuda", "max_epochs": 6, **CASES[case]}
    vae, _ = fit(X, **params)
    assert_close(vae, fit_without(X, monkeypatch, **params), X)


@pytest.mark.gpu
@needs_gpu
def test_recorded_steps_on_cuda_draw_new_noise_for_every_step(monkeypatch, X):
    params = {"device": "cuda", "batch_size": 200, "early_stopping": False}
    # weights that hardly move: what differs from epoch to epoch is the noise
    params |= {"lr": 1e-12, "max_epochs": 12}
    vae, _ = fit(X, **params)
    # three steps, and a recorded one again and again, would be four numbers
    assert len(set(vae.loss_curve_)) > 8


@pytest.mark.gpu
@needs_gpu
def test_equal_seeds_give_equal_results_on_cuda(X):
    one, two = (fit(X, device="cuda")[0] for _ in range(2))
    np.testing.assert_allclose(one.loss_curve_, two.loss_curve_, **CLOSE)


@pytest.mark.gpu
@needs_gpu
def test_memory_is_given_back_on_cuda(X):
    def measure():
        gc.collect()
        # workspaces that products keep are none of ours
        torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()
        return torch.cuda.memory_allocated()

    fit(X, device="cuda")
    before = measure()
    vae, _ = fit(X, device="cuda")
    state = vae.net_.module_.state_dict().values()
    # a block of the allocator holds 512 bytes
    kept = sum(512 + value.nbytes for value in state)
    kept += sum(512 + value.nbytes for value in vae.net_.module_.prior.buffers())
    assert measure() - before <= kept + 100_000
    del vae, _, state
    assert measure() <= before
