"""What holds steps together: their batches, their gradients, their weights."""

import copy
from unittest import mock

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, LRScheduler
from torch import nn

from skvae import VAETransformer
from skvae._training import _gradient
from skvae._training._step import Steps, _has_watchers
from skvae.datasets import make_factors
from skvae.objectives import IWAE

SMALL = {"hidden_layer_sizes": (8,), "random_state": 0, "early_stopping": False}


class Seen(Callback):
    """Keep what takes the steps of an epoch, and what it is made of."""

    def __getstate__(self):
        return {}

    def on_train_begin(self, net, **kwargs):
        self.gradients_, self.owners_ = [], []

    def on_epoch_end(self, net, **kwargs):
        self.steps_ = net._steps
        if net._steps is None:
            return
        self.gradients_.append(dict(net._steps.gradients))
        weights = net._steps.weights
        storages = {p.untyped_storage()._cdata for p in net.module_.parameters()}
        self.owners_.append(storages == {weights.values.untyped_storage()._cdata})


def fit(X, callbacks=(), **params):
    seen = Seen()
    params = {**SMALL, "net_callbacks": [*callbacks, seen], **params}
    return VAETransformer(2, **{"density": "joint", **params}).fit(X), seen


def test_every_shape_of_batch_is_recorded_once(X):
    with mock.patch.object(_gradient, "record", wraps=_gradient.record) as record:
        _, seen = fit(X, batch_size=70, max_epochs=4)
    # 200 rows in three batches, one row twice
    assert {shape for shape, *_ in seen.gradients_[-1]} == {(67, 6)}
    assert record.call_count == 1
    assert all(g.is_recorded for g in seen.gradients_[-1].values())
    # and goes on from epoch to epoch
    assert all(g is seen.gradients_[0][key] for key, g in seen.gradients_[-1].items())


def test_a_weight_of_the_kl_that_rises_needs_one_more_recording(X):
    with mock.patch.object(_gradient, "record", wraps=_gradient.record) as record:
        fit(X, batch_size=50, max_epochs=6, kl_warmup=0.5)
    # beta is 0, 1/3, 2/3 and then 1
    assert record.call_count == 2


@pytest.mark.parametrize("weighted", [True, False])
def test_weights_of_rows_are_read_only_where_they_differ(weighted, X):
    weight = np.random.default_rng(0).exponential(size=len(X)) if weighted else None
    seen = Seen()
    vae = VAETransformer(2, max_epochs=2, net_callbacks=[seen], **SMALL)
    vae.fit(X, sample_weight=weight)
    assert all(g.is_weighted == weighted for g in seen.gradients_[-1].values())


def test_weights_are_views_of_one_tensor_until_training_ends(X):
    vae, seen = fit(X, max_epochs=2)
    assert seen.owners_ == [True, True]
    for p in vae.net_.module_.parameters():
        assert p.untyped_storage().nbytes() == p.nbytes
        assert p.grad is None


class WatchesBatches(Callback):
    def on_batch_begin(self, net, **kwargs):
        pass


class WatchesGradients(Callback):
    def on_grad_computed(self, net, **kwargs):
        pass


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, True),
        ({"callbacks": [WatchesBatches()]}, False),
        ({"callbacks": [WatchesGradients()]}, False),
        ({"callbacks": [LRScheduler("StepLR", step_size=1)]}, True),
        ({"optimizer": torch.optim.SGD, "lr": 1e-3}, True),
        ({"optimizer": torch.optim.LBFGS, "lr": 1e-3, "weight_decay": 0.0}, False),
    ],
    ids=["plain", "batches", "gradients", "schedule", "sgd", "lbfgs"],
)
def test_who_watches_batches_has_them_of_skorch(params, expected, X):
    with mock.patch.object(Steps, "run", autospec=True, side_effect=Steps.run) as run:
        fit(X, max_epochs=1, **params)
    assert run.called == expected


class Does(Callback):
    """Do something before the third epoch."""

    def __init__(self, do):
        self.do = do

    def __getstate__(self):
        return {"do": None}

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 3:
            self.do(net)


def assign_weights(net):
    for p in net.module_.parameters():
        p.data = p.data.clone()


def load_state(net):
    net.optimizer_.load_state_dict(copy.deepcopy(net.optimizer_.state_dict()))


def clear_moments(net):
    for state in net.optimizer_.state.values():
        state["exp_avg"] = torch.zeros_like(state["exp_avg"])


def replace_objective(net):
    net.criterion_.objective = IWAE(n_draws=2)


def replace_layers(net):
    for module in net.module_.modules():
        if isinstance(module, nn.Sequential):
            for i, layer in enumerate(module):
                if isinstance(layer, nn.SiLU):
                    module[i] = nn.Tanh()


@pytest.mark.parametrize(
    "do",
    [
        assign_weights,
        load_state,
        clear_moments,
        lambda net: net.optimizer_.state.clear(),
        replace_objective,
        replace_layers,
    ],
)
def test_callbacks_that_change_a_net_have_the_effect_of_skorchs_steps(do, X):
    found = []
    for watches in ([], [WatchesBatches()]):
        params = {"max_epochs": 5, "batch_size": 50, "init": "random", "lr": 0.01}
        vae, seen = fit(X, [Does(do), *watches], **params)
        assert (seen.steps_ is None) == bool(watches)
        found.append(vae.loss_curve_)
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_contents_are_looked_at_where_callbacks_may_change_them():
    X, _ = make_factors(200, 5, 2, random_state=0)
    looks = []

    class Watch(Callback):
        def on_epoch_end(self, net, **kwargs):
            looks.append(net._steps.has_watchers)

    for callbacks in (None, [Watch()]):
        shared = {"density": "joint", "max_epochs": 2, "random_state": 0}
        vae = VAETransformer(2, net_callbacks=callbacks, **shared)
        vae.fit(X)
    assert looks == [True, True]
    net = vae.net_
    net.callbacks_ = [pair for pair in net.callbacks_ if not isinstance(pair[1], Watch)]
    assert not _has_watchers(net)
