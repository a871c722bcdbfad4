"""Training in one go equals skorch's own steps, and leaves nothing behind."""

import copy
import math
import pickle
import warnings
from inspect import signature

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    LRScheduler,
    Unfreezer,
)
from torch import nn

from skvae import VAETransformer
from skvae._training import _batches
from skvae._training._batches import Rows
from skvae._training._flat_weights import FlatAdam
from skvae.callbacks import FreshBinarization
from skvae.latents import Gaussian as GaussianLatent
from skvae.latents import Latent
from skvae.likelihoods import Gaussian, Likelihood
from skvae.networks import Linear, Network
from skvae.objectives import ELBO, IWAE, Objective

SMALL = {
    "hidden_layer_sizes": (8,),
    "latent": GaussianLatent("mixture", n_mixture=3),
    "max_epochs": 2,
    "density": "joint",
    "random_state": 0,
}
# sums in single precision, in another order, through some dozen steps of an optimizer
# that makes more of small gradients
CLOSE = {"rtol": 2e-3, "atol": 2e-3}


class Watcher(Callback):
    """Watch batches, which only skorch's own steps report, and do nothing."""

    def on_batch_end(self, net, **kwargs):
        pass


class Seen(Callback):
    """Note after every epoch what took its steps, and what else is asked for."""

    def __init__(self, look=None):
        self.look = look

    def __getstate__(self):
        # copies of a net need none of it
        return {"look": None}

    def on_train_begin(self, net, **kwargs):
        self.gradients_, self.looks_ = [], []

    def on_epoch_end(self, net, **kwargs):
        steps = net._steps
        self.gradients_.append(None if steps is None else [*steps.gradients.values()])
        if self.look is not None:
            self.looks_.append(self.look(net))

    @property
    def is_quick(self):
        """Whether all epochs went without skorch's steps."""
        return all(gradient is not None for gradient in self.gradients_)

    @property
    def is_plain(self):
        """Whether all epochs went with skorch's steps."""
        return all(gradient is None for gradient in self.gradients_)

    @property
    def is_recorded(self):
        """Whether all steps but the first were repeated without autograd."""
        return self.is_quick and all(g.is_recorded for g in self.all_)

    @property
    def all_(self):
        """All gradients of batches that steps were taken along."""
        return [gradient for epoch in self.gradients_ for gradient in epoch]


class At(Callback):
    """Do something when an epoch begins."""

    def __init__(self, epoch, do):
        self.epoch = epoch
        self.do = do

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == self.epoch:
            self.do(net)


class StopAfter(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            net.stop()


def explode(net):
    """Let the next step throw the weights so far that the loss is no number."""
    for group in net.optimizer_.param_groups:
        group["lr"] = 1e35


def fit(X, callbacks=(), plain=False, n_fits=1, fit_params=None, **params):
    """Return an estimator fitted on one way or the other, and what was seen."""
    seen = Seen()
    callbacks = [seen, *copy.deepcopy(list(callbacks)), *([Watcher()] * plain)]
    vae = VAETransformer(2, **{**SMALL, "net_callbacks": callbacks, **params})
    for _ in range(n_fits):
        vae.fit(X, **(fit_params or {}))
    return vae, seen


def fit_both(X, callbacks=(), **params):
    """Fit both ways, with the same random numbers: they are drawn in the same order."""
    quick, seen = fit(X, callbacks, **params)
    assert seen.is_quick
    plain, seen = fit(X, callbacks, plain=True, **params)
    assert seen.is_plain
    return quick, plain


def assert_close(one, two, X):
    np.testing.assert_allclose(one.loss_curve_, two.loss_curve_, **CLOSE)
    np.testing.assert_allclose(one.validation_scores_, two.validation_scores_, **CLOSE)
    np.testing.assert_allclose(one.transform(X), two.transform(X), **CLOSE)
    np.testing.assert_allclose(one.score(X), two.score(X), **CLOSE)
    for name in ("train_reconstruction", "train_kl"):
        ours, theirs = one.history_[:, name], two.history_[:, name]
        np.testing.assert_allclose(ours, theirs, **CLOSE)


def get_parameters(vae):
    return list(vae.net_.module_.parameters())


def owns_its_memory(tensor):
    return tensor.untyped_storage().nbytes() == tensor.nbytes


def make_table(n, n_features=4):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((n, 2))
    noise = 0.5 * rng.standard_normal((n, n_features))
    return np.sin(z @ rng.standard_normal((2, n_features))) + noise


# one way or the other -----------------------------------------------------------------


def test_default_estimators_train_without_autograd(X):
    for table in (X, X > 0):
        vae, seen = fit(table, latent="gaussian", hidden_layer_sizes=(128, 128))
        assert vae.get_params()["objective"] == "elbo"
        assert seen.is_recorded
        assert len(seen.gradients_) == 2


CASES = {
    "default": {"hidden_layer_sizes": (128, 128), "latent": GaussianLatent()},
    "standard prior": {"latent": GaussianLatent("standard")},
    "linear": {"hidden_layer_sizes": ()},
    "gaussian": {"likelihood": "gaussian"},
    "noise of the network": {"likelihood": Gaussian("network")},
    "batch larger than the table": {"batch_size": 1000},
    "batch that divides nothing": {"batch_size": 37},
    "beta": {"beta": 0.5, "kl_warmup": 0.5, "max_epochs": 3},
    # several draws for several copies come in another order
    "iwae": {"objective": IWAE(3), "batch_size": 64, "early_stopping": False},
    "elbo of 2": {"objective": ELBO(2), "batch_size": 64, "warm_start": True},
    "adam": {"optimizer": "adam", "weight_decay": 0.1},
    "sgd": {"optimizer": "sgd", "lr": 0.01},
    "nadam": {"optimizer": "nadam"},
    "rmsprop": {"optimizer": "rmsprop", "weight_decay": 0.1},
    "weight decay": {"weight_decay": 1.0},
    "no weight decay": {"weight_decay": 0.0},
    "amsgrad": {"net_params": {"optimizer__amsgrad": True}},
    "random": {"init": "random"},
    "random, one hold-out": {"init": "random", "warm_start": True},
    "all rows": {"early_stopping": False},
    "no averages": {"net_params": {"averaging": 0.0}},
    "averages of None": {"net_params": {"averaging": None}},
    "no warm-up": {"net_params": {"lr_warmup": 0}},
    "gradient cut": {"net_params": {"max_gradient_norm": 0.1}},
    "gradient not cut": {"net_params": {"max_gradient_norm": None}},
    "loader": {"net_params": {"iterator_train__drop_last": True}, "batch_size": 50},
    "warm start twice": {"warm_start": True, "early_stopping": False, "n_fits": 2},
    "warm start after folds": {"warm_start": True, "n_fits": 2},
}


@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
@pytest.mark.parametrize("case", CASES)
def test_steps_in_one_go_equal_those_of_skorch(case, X):
    quick, plain = fit_both(X, **CASES[case])
    assert_close(quick, plain, X)
    assert quick.loss_curve_ != plain.loss_curve_ or case == "linear"


def test_steps_in_one_go_equal_those_of_skorch_row_by_row(X):
    params = {"batch_size": 1, "early_stopping": False}
    quick, plain = fit_both(X[:40], likelihood="gaussian", **params)
    assert quick.net_.n_steps_ == 80
    assert_close(quick, plain, X)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_steps_in_one_go_equal_those_of_skorch_for_weighted_rows(early_stopping, X):
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    quick, plain = fit_both(
        X, fit_params={"sample_weight": weight}, early_stopping=early_stopping
    )
    assert_close(quick, plain, X)
    unweighted, _ = fit(X, early_stopping=early_stopping)
    assert abs(unweighted.loss_curve_[-1] - quick.loss_curve_[-1]) > CLOSE["atol"]


def test_steps_in_one_go_equal_those_of_skorch_for_binary_rows(X):
    quick, plain = fit_both(X > 0)
    assert_close(quick, plain, X > 0)


def test_steps_in_one_go_equal_those_of_skorch_with_a_validation_set(X):
    quick, plain = fit_both(X[:150], fit_params={"X_val": X[150:]})
    assert len(quick.validation_scores_) == 2
    assert_close(quick, plain, X)


@pytest.mark.parametrize("n", [1500, 3100])
def test_own_steps_equal_those_of_skorch_with_and_without_folds(n):
    table = make_table(n)
    counts = At(1, lambda net: setattr(net, "n_seen_", net.module_.n_copies))
    params = {"batch_size": 256, "likelihood": "gaussian"}
    quick, plain = fit_both(table, callbacks=[counts], **params)
    # up to 3000 rows copies of the network train side by side
    assert quick.net_.n_seen_ == (2 if n == 1500 else None)
    assert_close(quick, plain, table)


@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
def test_steps_in_one_go_equal_those_of_skorch_with_dropout(X):
    params = {"init": "random", "hidden_layer_sizes": (16,)}
    quick, plain = fit_both(X, dropout=0.3, **params)
    assert_close(quick, plain, X)
    without, _ = fit(X, **params)
    assert abs(without.loss_curve_[-1] - quick.loss_curve_[-1]) > CLOSE["atol"]


def make_holes(table, share=0.2):
    """Return a copy that lacks some cells; of the first row nothing is left."""
    table = np.array(table, dtype=np.float64)
    missing = np.random.default_rng(0).random(table.shape) < share
    missing[0] = True
    table[missing] = np.nan
    return table


MISSING_CASES = {
    "default": {},
    "all rows": {"early_stopping": False},
    "linear": {"hidden_layer_sizes": ()},
    "random": {"init": "random"},
    "gaussian": {"likelihood": "gaussian"},
    "iwae": {"objective": IWAE(3), "batch_size": 64, "early_stopping": False},
    "loader": {"net_params": {"iterator_train__drop_last": True}, "batch_size": 50},
}


@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
@pytest.mark.parametrize("case", MISSING_CASES)
def test_steps_in_one_go_equal_those_of_skorch_where_cells_are_missing(case, X):
    table, params = make_holes(X), MISSING_CASES[case]
    quick, plain = fit_both(table, **params)
    assert_close(quick, plain, table)
    _, seen = fit(table, **params)
    assert seen.is_recorded


def test_steps_in_one_go_equal_those_of_skorch_for_columns_of_several_kinds():
    numbers = make_holes(make_table(400))
    table = pd.DataFrame(numbers, columns=list("abcd"))
    table["a"] = pd.cut(table["a"], 4, labels=list("wxyz")).astype(object)
    table["b"] = table["b"].round()
    table["c"] = pd.cut(table["c"], 2, labels=["low", "high"]).astype(object)
    quick, plain = fit_both(table)
    assert_close(quick, plain, table)
    _, seen = fit(table)
    assert seen.is_recorded


def test_steps_are_the_same_where_memory_is_short(monkeypatch, X):
    table = make_holes(X)
    at_once, _ = fit(table)
    monkeypatch.setattr(_batches, "_MAX_MAPPED_BYTES", 0)
    batch_by_batch, seen = fit(table)
    assert seen.is_recorded
    assert_close(at_once, batch_by_batch, table)


def test_complete_rows_continue_what_rows_with_missing_cells_began(X):
    quick, plain = (fit(make_holes(X), plain=plain)[0] for plain in (False, True))
    for vae in (quick, plain):
        vae.partial_fit(X)
    assert_close(quick, plain, X)


def test_history_of_steps_in_one_go_is_that_of_skorch(X):
    quick, plain = fit_both(X)
    for ours, theirs in zip(quick.history_, plain.history_, strict=True):
        assert set(ours) == set(theirs)
        for name in ("train_batch_count", "valid_batch_count"):
            assert ours[name] == theirs[name]
    # the net is told of one large batch
    assert len(quick.history_[-1]["batches"]) <= len(plain.history_[-1]["batches"])


def test_an_epoch_without_batches_is_no_error(X):
    params = {"batch_size": 64, "net_params": {"iterator_train__drop_last": True}}
    vae = VAETransformer(2, **{**SMALL, **params})
    vae.partial_fit(X)
    score = vae.score(X)
    vae.partial_fit(X[:30])
    assert vae.n_iter_ == 2
    assert len(vae.loss_curve_) == 1
    assert vae.score(X) == score


# members of one's own -----------------------------------------------------------------


class Laplace(Likelihood):
    def free_shape(self, n_features):
        return (1, n_features)

    def __call__(self, raw, free, offset, log_range):
        log_scale = torch.maximum(free[..., 0, :], -log_range)
        return torch.distributions.Laplace(
            offset + raw[..., 0, :], 0.5**0.5 * log_scale.exp(), validate_args=False
        )


class WiderNoise(Gaussian):
    def __call__(self, raw, free, offset, log_range):
        normal = super().__call__(raw, free, offset, log_range)
        scale = 2 * normal.scale
        return torch.distributions.Normal(normal.loc, scale, validate_args=False)


class ScaledPrior(nn.Module):
    def __init__(self, n_components, n_copies):
        super().__init__()
        copies = () if n_copies is None else (n_copies, 1)
        self.log_scale = nn.Parameter(torch.zeros(*copies, n_components))

    def forward(self):
        normal = torch.distributions.Normal(
            torch.zeros_like(self.log_scale), self.log_scale.exp(), validate_args=False
        )
        return torch.distributions.Independent(normal, 1, validate_args=False)


class OwnLatent(Latent):
    n_raw = 2

    def posterior(self, raw, loc, scale):
        raw_loc, raw_scale = raw.to(loc.dtype).unbind(dim=-2)
        scale = scale * torch.nn.functional.softplus(raw_scale + 0.5413)
        normal = torch.distributions.Normal(
            loc + scale * raw_loc, scale, validate_args=False
        )
        return torch.distributions.Independent(normal, 1, validate_args=False)

    def draw(self, posterior, noise=None, n_draws=1):
        if noise is None:
            return posterior.rsample((n_draws,))
        return posterior.base_dist.loc + posterior.base_dist.scale * noise

    def make_prior(self, n_components, n_copies=None):
        return ScaledPrior(n_components, n_copies)

    def embed(self, posterior):
        return posterior.mean

    def log_prior_per_component(self, prior, z):
        return prior.base_dist.log_prob(z)


class OtherPrior(GaussianLatent):
    """The latent that comes with the package, but for the prior."""

    def make_prior(self, n_components, n_copies=None):
        return ScaledPrior(n_components, n_copies)

    def initialize_prior(self, prior, z, seed):
        return {}


class FreeNats(Objective):
    def __init__(self, n_nats=1.0):
        self.n_nats = n_nats

    def __call__(self, output, x, weight=None, beta=1.0):
        weight = torch.ones_like(x[..., 0]) if weight is None else weight
        share = weight / weight.sum()
        reconstruction = (share * output.log_likelihood(x).mean(dim=0)).sum()
        kl = (share * output.kl().mean(dim=0)).sum()
        loss = beta * kl.clamp_min(self.n_nats) - reconstruction
        return loss, {"reconstruction": reconstruction.detach(), "kl": kl.detach()}


class ThreeTerms(FreeNats):
    def __call__(self, output, x, weight=None, beta=1.0):
        loss, terms = super().__call__(output, x, weight, beta)
        return loss, {**terms, "excess": terms["kl"] - self.n_nats}


class DoubleKL(ELBO):
    def __call__(self, output, x, weight=None, beta=1.0):
        return super().__call__(output, x, weight, 2 * beta)


class OwnNetwork(Network):
    """A body with a residual connection."""

    def __init__(self, on_forward=None):
        self.on_forward = on_forward

    def make_encoder(self, n_inputs, n_copies=None):
        layers = nn.Linear(n_inputs, 8), nn.Tanh(), Residual(8), nn.LayerNorm(8)
        body = nn.Sequential(*layers)
        if self.on_forward is not None:
            body[0].register_forward_hook(self.on_forward)
        return body, 8

    make_decoder = make_encoder


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        return x + torch.tanh(self.linear(x))


class HookedNetwork(Network):
    """Layers that come with the package, and a hook."""

    def __init__(self, on_forward):
        self.on_forward = on_forward

    def make_encoder(self, n_inputs, n_copies=None):
        body = nn.Sequential(Linear(n_inputs, 8), nn.Tanh())
        body[0].register_forward_hook(self.on_forward)
        return body, 8

    make_decoder = make_encoder


@pytest.mark.parametrize(
    "member",
    [
        {"likelihood": Laplace()},
        {"likelihood": WiderNoise()},
        {"latent": OwnLatent()},
        {"latent": OtherPrior("standard")},
        {"objective": FreeNats()},
        {"objective": DoubleKL()},
        {"net_params": {"autocast": torch.bfloat16}},
    ],
    ids=lambda member: type(next(iter(member.values()))).__name__,
)
@pytest.mark.parametrize("early_stopping", [True, False])
def test_members_of_ones_own_are_recorded(member, early_stopping, X):
    params = {"likelihood": "gaussian", "early_stopping": early_stopping, **member}
    _, seen = fit(X, **params)
    assert seen.is_recorded
    quick, plain = fit_both(X, **params)
    assert_close(quick, plain, X)


def test_all_terms_of_an_objective_are_recorded(X):
    for vae in fit_both(X, objective=ThreeTerms(2.0)):
        batches = [b for b in vae.history_[-1]["batches"] if "train_loss" in b]
        assert batches
        for batch in batches:
            assert batch["train_excess"] == pytest.approx(batch["train_kl"] - 2)


def test_networks_of_ones_own_are_recorded(X):
    params = {"network": OwnNetwork(), "hidden_layer_sizes": ()}
    _, seen = fit(X, **params)
    assert seen.is_recorded
    quick, plain = fit_both(X, **params)
    assert_close(quick, plain, X)


def test_hooks_that_a_callback_registers_are_called(X):
    called = []

    def register(net):
        net.module_.encoder_head.register_forward_hook(
            lambda *args: called.append("head")
        )
        net.module_.free.register_hook(lambda grad: called.append("weight"))

    params = {"batch_size": 100, "early_stopping": False, "max_epochs": 1}
    _, seen = fit(X, [At(1, register)], likelihood="gaussian", **params)
    assert seen.is_quick
    # scores run it too
    assert called[:4] == ["head", "weight"] * 2


@pytest.mark.parametrize("network", [OwnNetwork, HookedNetwork])
def test_hooks_of_a_network_are_called_in_training(network, X):
    called = []

    def hook(module, inputs, output):
        if module.training:
            called.append(output.shape[-2])

    vae, seen = fit(X, network=network(hook), batch_size=60, early_stopping=False)
    assert seen.is_quick
    # twice a step: encoder and decoder
    assert called == [50] * 16
    assert vae.net_.n_steps_ == 8


# when training breaks off -------------------------------------------------------------


def look():
    return {
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "seed": torch.get_rng_state().tolist(),
        "precision": torch.get_float32_matmul_precision(),
        "autocast": torch.is_autocast_enabled("cpu"),
    }


@pytest.fixture
def unlike_the_defaults():
    """Settings of a user that training has to bring back."""
    torch.set_num_threads(2)
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")


@pytest.fixture
def interrupt(monkeypatch):
    """Let the n-th step break off, in the middle."""

    def break_off(n, error=KeyboardInterrupt):
        step, count = FlatAdam.step, [0]

        def broken(stepper, rates):
            step(stepper, rates)
            count[0] += 1
            if count[0] == n:
                raise error

        monkeypatch.setattr(FlatAdam, "step", broken)

    return break_off


@pytest.mark.usefixtures("unlike_the_defaults")
def test_settings_come_back_when_a_callback_fails(X):
    def fail(net):
        raise RuntimeError("on purpose")

    before = look()
    vae = VAETransformer(2, **SMALL, net_callbacks=[Seen(fail)])
    with pytest.raises(RuntimeError, match="on purpose"):
        vae.fit(X)
    assert look() == before
    assert not hasattr(vae, "net_")


@pytest.mark.parametrize("objective", [ELBO(), FreeNats()])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.usefixtures("unlike_the_defaults")
def test_settings_come_back_when_a_step_fails(objective, error, interrupt, X):
    vae = VAETransformer(2, **SMALL, objective=objective, batch_size=64)
    interrupt(2, error)
    before = look()
    with pytest.raises(error):
        vae.fit(X)
    assert look() == before


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("objective", [ELBO(), FreeNats()])
def test_interrupted_fit_keeps_what_was_reached(
    objective, early_stopping, interrupt, X
):
    params = {"batch_size": 64, "early_stopping": early_stopping}
    # four steps an epoch of all rows, three of those that are not held out
    interrupt(5 if early_stopping else 6)
    vae = VAETransformer(2, **SMALL, **params, objective=objective)
    with pytest.raises(KeyboardInterrupt):
        vae.fit(X)
    assert vae.n_iter_ == 2
    assert len(vae.loss_curve_) == 1
    assert np.isfinite(vae.score_samples(X)).all()
    assert vae.transform(X).shape == (200, 2)
    for p in get_parameters(vae):
        assert owns_its_memory(p)
        assert p.grad is None
    assert vae.net_._steps is None
    pickle.loads(pickle.dumps(vae)).score(X)


def test_interrupted_fit_resumes_with_a_warm_start(interrupt, X):
    params = {"batch_size": 64, "early_stopping": False, "warm_start": True}
    interrupt(6)
    vae = VAETransformer(2, **SMALL, **params)
    with pytest.raises(KeyboardInterrupt):
        vae.fit(X)
    score = vae.score(X)
    vae.fit(X)
    assert len(vae.loss_curve_) == 3
    assert vae.score(X) > score


def test_fit_that_fails_leaves_the_earlier_one(interrupt, X):
    vae = VAETransformer(2, **SMALL, warm_start=True, early_stopping=False).fit(X)
    scores = vae.score_samples(X)
    interrupt(2, RuntimeError)
    with pytest.raises(RuntimeError):
        vae.fit(X)
    np.testing.assert_array_equal(vae.score_samples(X), scores)
    assert all(owns_its_memory(p) for p in get_parameters(vae))


def fit_until_it_explodes(X, plain=False, epoch=2, **params):
    callbacks = [At(epoch, explode)]
    with pytest.warns(ConvergenceWarning, match="non-finite"):
        return fit(X, callbacks, plain=plain, **{"max_epochs": 4, **params})[0]


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"early_stopping": False},
        {"kl_warmup": 0.7},
        {"optimizer": "sgd"},
        {"objective": FreeNats()},
    ],
    ids=str,
)
def test_weights_of_before_are_kept_when_the_loss_is_no_number(params, plain, X):
    vae = fit_until_it_explodes(X, plain, **params)
    assert vae.n_iter_ == 2
    assert len(vae.loss_curve_) == 1
    reference, _ = fit(X, [StopAfter(1)], plain=plain, **{"max_epochs": 4, **params})
    np.testing.assert_array_equal(vae.transform(X), reference.transform(X))
    for p in get_parameters(vae):
        assert owns_its_memory(p)
        assert plain or p.grad is None


@pytest.mark.parametrize("plain", [False, True])
def test_a_first_epoch_that_is_no_number_is_an_error(plain, X):
    vae = VAETransformer(
        2,
        **SMALL,
        early_stopping=False,
        net_callbacks=[At(1, explode), *([Watcher()] * plain)],
    )
    with pytest.raises(ValueError, match="first epoch"):
        vae.fit(X)
    assert not hasattr(vae, "net_")


@pytest.mark.parametrize("plain", [False, True])
def test_a_non_finite_first_epoch_leaves_the_initial_weights(plain, X):
    vae = fit_until_it_explodes(X, plain, epoch=1)
    start = VAETransformer(2, **{**SMALL, "max_epochs": 0}).fit(X)
    np.testing.assert_array_equal(vae.transform(X), start.transform(X))


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("optimizer", ["adamw", "nadam"])
def test_training_resumes_after_a_non_finite_loss(optimizer, early_stopping, X):
    params = {"warm_start": True, "early_stopping": early_stopping}
    vae = fit_until_it_explodes(X, optimizer=optimizer, **params)
    for state in vae.net_.optimizer_.state.values():
        assert all(torch.isfinite(torch.as_tensor(v)).all() for v in state.values())
    score = vae.score(X)
    vae.set_params(net_callbacks=None)
    vae.net_.callbacks_ = [c for c in vae.net_.callbacks_ if type(c[1]) is not At]
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        vae.fit(X)
    assert len(vae.loss_curve_) == 5
    assert vae.score(X) > score


@pytest.mark.parametrize("plain", [False, True])
def test_a_chunk_that_is_too_far_away_leaves_the_weights_of_before(plain, X):
    vae = VAETransformer(
        2, **SMALL, likelihood="gaussian", net_callbacks=[Watcher()] * plain
    ).partial_fit(X)
    embedded = vae.transform(X)
    with pytest.warns(ConvergenceWarning, match="non-finite"):
        vae.partial_fit(1e14 * X)
    np.testing.assert_array_equal(vae.transform(X), embedded)
    score = vae.score(X)
    vae.partial_fit(X)
    assert vae.score(X) > score - 0.1


# callbacks and optimizers -------------------------------------------------------------


def get_rates(net):
    return [group["lr"] for group in net.optimizer_.param_groups]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_rates_scheduled_by_epoch_are_those_of_the_steps(optimizer, X):
    schedule = LRScheduler("StepLR", step_size=1, gamma=0.1)
    params = {"optimizer": optimizer, "lr": 0.01, "max_epochs": 3}
    seen = Seen(get_rates)
    vae = VAETransformer(2, **{**SMALL, **params}, net_callbacks=[schedule, seen])
    vae.fit(X)
    assert seen.is_recorded
    for epoch, rates in enumerate(seen.looks_, start=1):
        assert rates == pytest.approx([0.01 * 0.1**epoch] * len(rates))
    quick, plain = fit_both(X, [schedule], **params)
    assert_close(quick, plain, X)
    unscheduled, _ = fit(X, **params)
    assert abs(unscheduled.loss_curve_[-1] - quick.loss_curve_[-1]) > CLOSE["atol"]


@pytest.mark.parametrize("density", ["after", "joint"])
def test_schedules_of_rates_go_on_in_a_stream(density, X):
    schedule = LRScheduler("StepLR", step_size=1, gamma=0.5)
    settings = {**SMALL, "max_epochs": 3, "density": density}
    vae = VAETransformer(2, **settings, net_callbacks=[schedule]).fit(X)
    other = pickle.loads(pickle.dumps(vae))
    assert max(get_rates(vae.net_)) <= vae.lr * 0.5**2
    vae.partial_fit(X)
    assert max(get_rates(vae.net_)) <= vae.lr * 0.5**2
    assert other.partial_fit(X).score(X) == vae.score(X)


def test_rates_scheduled_by_batch_are_those_of_skorch(X):
    schedule = LRScheduler("StepLR", step_size=1, gamma=0.9, step_every="batch")
    seen = Seen(get_rates)
    vae = VAETransformer(
        2, **SMALL, net_callbacks=[schedule, seen], early_stopping=False, batch_size=100
    ).fit(X)
    assert seen.is_plain
    assert seen.looks_[-1] == pytest.approx([vae.lr * 0.9**4] * len(seen.looks_[-1]))


def test_weight_of_the_kl_rises_in_steps_in_one_go(X):
    seen = Seen(lambda net: net.criterion_.beta)
    vae = VAETransformer(
        2,
        **{**SMALL, "max_epochs": 4},
        beta=3.0,
        kl_warmup=0.5,
        net_callbacks=[seen],
    ).fit(X)
    assert seen.is_recorded
    assert seen.looks_ == [0.0, 1.5, 3.0, 3.0]
    # the loss that is reported has that weight too
    row = vae.history_[0]
    assert row["train_loss"] == pytest.approx(-row["train_reconstruction"], abs=1e-6)


def test_checkpoints_hold_the_weights_of_the_epoch(X, tmp_path):
    names = {f"f_{name}": f"{name}.pt" for name in ("params", "optimizer", "history")}
    checkpoint = Checkpoint(
        monitor=None, dirname=tmp_path, f_criterion=None, f_pickle="net.pkl", **names
    )
    vae, seen = fit(X, [checkpoint], early_stopping=False, warm_start=True)
    assert seen.is_quick
    expected = vae.net_.module_.state_dict()
    saved = torch.load(tmp_path / "params.pt")
    net = pickle.loads((tmp_path / "net.pkl").read_bytes())
    for found in (saved, net.module_.state_dict()):
        assert set(found) == set(expected)
        for name, value in expected.items():
            assert torch.equal(found[name], value)
    other, _ = fit(X, early_stopping=False, warm_start=True, max_epochs=1)
    other.net_.load_params(
        f_params=tmp_path / "params.pt", f_optimizer=tmp_path / "optimizer.pt"
    )
    np.testing.assert_array_equal(other.transform(X), vae.transform(X))
    ours, theirs = (v.net_.optimizer_.state_dict()["state"] for v in (vae, other))
    for one, two in zip(ours.values(), theirs.values(), strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)


def make_round_trip(net):
    return pickle.loads(pickle.dumps(net))


@pytest.mark.parametrize("way", [copy.deepcopy, make_round_trip])
def test_net_copied_in_training_and_the_original_both_train_further(way, X):
    kept = []
    seen = Seen(lambda net: kept.append(way(net)))
    params = {"early_stopping": False, "max_epochs": 3}
    vae = VAETransformer(2, **{**SMALL, **params}, net_callbacks=[seen]).fit(X)
    reference, _ = fit(X, **params)
    # the first step after a copy goes through autograd, and rounds in another way
    np.testing.assert_allclose(vae.loss_curve_, reference.loss_curve_, rtol=1e-5)
    x = torch.tensor(X, dtype=torch.float32)
    rows = Rows(x, torch.ones(len(x)), [torch.arange(len(x))], [])
    net = kept[0]
    assert all(owns_its_memory(p) for p in net.module_.parameters())
    assert len(net.averages_) == len(list(net.module_.parameters()))
    net.partial_fit(rows, epochs=1)
    assert len(net.history) == 2
    assert math.isfinite(net.history[-1, "train_loss"])


def score_epoch(net, X, y=None):
    return -net.history[-1, "train_loss"]


class CountingClipping(GradientNormClipping):
    def on_train_begin(self, net, **kwargs):
        self.n_cut_ = 0

    def on_grad_computed(self, net, named_parameters, **kwargs):
        named_parameters = list(named_parameters)
        super().on_grad_computed(net, named_parameters=named_parameters, **kwargs)
        norms = [p.grad.norm() for _, p in named_parameters if p.grad is not None]
        self.n_cut_ += bool(torch.stack(norms).norm() <= 1.01e-8)


def test_scores_of_epochs_are_called(X):
    scoring = EpochScoring(score_epoch, name="elbo", use_caching=False, on_train=True)
    vae, seen = fit(X, [scoring])
    assert seen.is_plain
    assert vae.history_[:, "elbo"] == [-loss for loss in vae.loss_curve_]


def test_gradients_are_cut_by_a_callback(X):
    clipping = CountingClipping(gradient_clip_value=1e-8)
    params = {"optimizer": "sgd", "early_stopping": False, "batch_size": 100}
    vae = VAETransformer(2, **SMALL, **params, net_callbacks=[clipping]).fit(X)
    assert clipping.n_cut_ == vae.net_.n_steps_ == 4
    start = VAETransformer(2, **{**SMALL, **params, "max_epochs": 0}).fit(X)
    # the weights have hardly moved; averages round
    np.testing.assert_allclose(vae.transform(X), start.transform(X), rtol=1e-5)


class KeepEncoder(Callback):
    def on_train_begin(self, net, **kwargs):
        self.before_ = [p.detach().clone() for p in net.module_.encoder.parameters()]


@pytest.mark.parametrize("n_fits", [1, 2])
def test_frozen_weights_do_not_move(n_fits, X):
    keep = KeepEncoder()
    params = {"early_stopping": False, "warm_start": True}
    seen = Seen()
    callbacks = [Freezer("encoder.*"), keep, seen]
    vae = VAETransformer(2, **SMALL, **params, net_callbacks=callbacks)
    for _ in range(n_fits):
        vae.fit(X)
    assert seen.is_plain
    assert len(vae.loss_curve_) == 2 * n_fits
    module = vae.net_.module_
    for p, before in zip(module.encoder.parameters(), keep.before_, strict=True):
        assert torch.equal(p, before)
    assert module.decoder_head.weight.any()
    assert vae.loss_curve_[-1] < vae.loss_curve_[0]


@pytest.mark.parametrize("early_stopping", [True, False])
def test_weights_may_be_frozen_for_some_epochs(early_stopping, X):
    callbacks = [Freezer("encoder.*", at=2), Unfreezer("encoder.*", at=3)]
    params = {"max_epochs": 5, "early_stopping": early_stopping}
    mixed, seen = fit(X, callbacks, **params)
    taken = [gradient is not None for gradient in seen.gradients_]
    assert taken[:3] == [True, False, True]
    plain, _ = fit(X, callbacks, plain=True, **params)
    assert_close(mixed, plain, X)


def test_weights_thawed_late_move_as_in_the_steps_of_skorch(X):
    # their moments begin when those of the others are well under way
    callbacks = [Freezer("decoder*", at=1), Unfreezer("decoder*", at=2)]
    params = {"max_epochs": 3, "net_params": {"lr_warmup": 0}, "lr": 0.02}
    mixed, seen = fit(X, callbacks, **params)
    assert [g is not None for g in seen.gradients_] == [False, True, True]
    plain, _ = fit(X, callbacks, plain=True, **params)
    assert_close(mixed, plain, X)


class OwnLBFGS(torch.optim.LBFGS):
    pass


class ClosureFirst(torch.optim.SGD):
    def step(self, closure):
        loss = closure()
        super().step()
        return loss


@pytest.mark.parametrize("optimizer", [torch.optim.LBFGS, OwnLBFGS, ClosureFirst])
def test_optimizers_that_ask_for_the_loss_again_have_it(optimizer, X):
    params = {"optimizer": optimizer, "weight_decay": 0.0, "lr": 0.01}
    params["net_params"] = {"optimizer__max_iter": 2}
    if "max_iter" not in signature(optimizer.__init__).parameters:
        params.pop("net_params")
    vae, seen = fit(X, **params)
    assert seen.is_plain
    assert np.isfinite(vae.loss_curve_).all()


# what stays ---------------------------------------------------------------------------


@pytest.mark.parametrize("warm_start", [False, True])
def test_pickle_is_no_larger_for_steps_in_one_go(warm_start, X):
    sizes = [
        len(pickle.dumps(fit(X, plain=plain, warm_start=warm_start)[0].net_))
        for plain in (False, True)
    ]
    assert sizes[0] < 1.1 * sizes[1]


def test_pickle_in_training_is_no_larger_for_steps_in_one_go(X):
    sizes = []
    for plain in (False, True):
        seen = Seen(lambda net: len(pickle.dumps(net)))
        callbacks = [seen, *([Watcher()] * plain)]
        VAETransformer(2, **SMALL, net_callbacks=callbacks).fit(X)
        sizes.append(seen.looks_[0])
    assert sizes[0] < 1.5 * sizes[1]


def test_weights_and_state_have_memory_of_their_own_after_a_fit(X):
    vae, seen = fit(X, warm_start=True, early_stopping=False)
    assert seen.is_quick
    net = vae.net_
    for value in (*get_parameters(vae), *net.averages_, *net.raw_weights_):
        assert owns_its_memory(value)
    assert all(p.grad is None for p in get_parameters(vae))
    for state in net.optimizer_.state.values():
        assert all(owns_its_memory(value) for value in state.values())
    vae, _ = fit(X)
    assert not vae.net_.optimizer_.state
    assert all(owns_its_memory(p) for p in get_parameters(vae))


class SnapshotKeeper:
    """scikit-learn callback: keep what every epoch hands out."""

    def __init__(self):
        self.kept = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
        if context.task_name == "epoch":
            self.kept.append((fitted_estimator, fitted_estimator.transform(X)))


@pytest.mark.usefixtures("sklearn_callback")
@pytest.mark.parametrize("early_stopping", [True, False])
def test_snapshots_of_epochs_keep_their_weights(early_stopping, X):
    keeper = SnapshotKeeper()
    vae = VAETransformer(2, **SMALL, early_stopping=early_stopping)
    vae.set_callbacks(keeper).fit(X)
    assert len(keeper.kept) == 2
    for snapshot, embedded in keeper.kept:
        np.testing.assert_array_equal(snapshot.transform(X), embedded)
        for p in get_parameters(snapshot):
            assert owns_its_memory(p)
            assert p.grad is None
    assert not np.array_equal(keeper.kept[0][1], keeper.kept[1][1])


# precision ----------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True])
def test_autocasting_reaches_products_and_costs_little(plain):
    dtypes = set()

    def hook(module, inputs, output):
        if module.training:
            dtypes.add(output.dtype)

    params = {"network": OwnNetwork(hook), "early_stopping": False, "max_epochs": 5}
    # products have eight bits: columns that have hardly any noise would lose by it
    table = make_table(200)
    single, _ = fit(table, plain=plain, **params)
    assert dtypes == {torch.float32}
    dtypes.clear()
    params["net_params"] = {"autocast": torch.bfloat16}
    cast, _ = fit(table, plain=plain, **params)
    assert dtypes == {torch.bfloat16}
    for p in get_parameters(cast):
        assert p.dtype == torch.float32
    start, _ = fit(table, **{**params, "max_epochs": 0})
    assert cast.score(table) == pytest.approx(single.score(table), abs=0.05)
    assert cast.score(table) > start.score(table)


def test_precision_of_products_is_set_in_training_alone(X):
    torch.set_float32_matmul_precision("medium")
    try:
        for params, expected in (({}, "highest"), ({"matmul_precision": "high"},) * 2):
            expected = params.get("matmul_precision", "highest")
            seen = Seen(lambda net: torch.get_float32_matmul_precision())
            VAETransformer(2, **SMALL, net_params=params, net_callbacks=[seen]).fit(X)
            assert set(seen.looks_) == {expected}
            assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_precision_of_products_that_a_user_set_changes_no_bit(X):
    expected = VAETransformer(2, **SMALL).fit(X)
    torch.set_float32_matmul_precision("medium")
    try:
        vae = VAETransformer(2, **SMALL).fit(X)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert vae.loss_curve_ == expected.loss_curve_
    np.testing.assert_array_equal(vae.transform(X), expected.transform(X))


@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
@pytest.mark.parametrize("n_samples", [300, 3200])
def test_fresh_binarization_leaves_the_rows_of_the_user_alone(n_samples):
    random = np.random.default_rng(0)
    levels = random.random((n_samples, 5), dtype=np.float32)
    X = (random.random(levels.shape) < levels).astype(np.float32)
    before = X.copy()
    VAETransformer(
        1,
        likelihood="bernoulli",
        hidden_layer_sizes=(4,),
        max_epochs=1,
        net_callbacks=[FreshBinarization(levels)],
        random_state=0,
    ).fit(X)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("n_samples", [60, 3200])
def test_only_training_rows_are_binarised_anew(n_samples):
    # with several copies every row is held out by one of them
    levels = np.full((n_samples, 3), 0.5)
    X = (np.random.default_rng(0).random(levels.shape) < levels).astype(np.float32)
    seen = []

    class Watch(Callback):
        def on_epoch_end(self, net, dataset_train=None, **kwargs):
            rows = dataset_train
            seen.append([x.clone() for x, _ in rows.list_folds()])
            self.valid_, self.train_ = rows.valid, rows.train

    watch = Watch()
    VAETransformer(
        1,
        likelihood="bernoulli",
        net_callbacks=[FreshBinarization(levels), watch],
        max_epochs=2,
        random_state=0,
    ).fit(X)
    for k, (first, second) in enumerate(zip(*seen, strict=True)):
        train = watch.train_[k]
        assert (first[train] != second[train]).any()
        if k < len(watch.valid_):
            valid = watch.valid_[k]
            assert (first[valid] == torch.as_tensor(X)[valid]).all()
            assert (second[valid] == first[valid]).all()


class Shift(Callback):
    """Move all rows before every epoch."""

    def on_epoch_begin(self, net, dataset_train=None, **kwargs):
        for x, rows in dataset_train.list_folds():
            x[rows] = x[rows] + 0.5


def test_rows_that_a_callback_moves_reach_the_encoder_beside_missing_values(X):
    X = X.copy()
    X[0, 0] = np.nan
    params = {"likelihood": "gaussian", "early_stopping": False, "max_epochs": 4}
    quick, plain = fit_both(X, callbacks=[Shift()], **params)
    np.testing.assert_allclose(quick.loss_curve_, plain.loss_curve_, rtol=1e-3)
