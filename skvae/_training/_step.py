"""Training steps: from batches to updated weights, and what an epoch came to."""

from functools import partial
from inspect import Parameter, signature

import numpy as np
import torch
from skorch.callbacks import Callback, EpochTimer, LRScheduler

from .._replay import has_hooks
from .._utils._draws import call_with_draws, draws_off
from .._utils._missing import find_missing
from ..callbacks import (
    Annealing,
    BestWeights,
    EpochLines,
    EpochMeans,
    KLWarmup,
    ProgressBar,
    StopTraining,
)
from ._batches import TrainBatches
from ._cuda_graph import StepGraph
from ._flat_weights import FlatWeights, make_stepper
from ._parted_gradient import make_gradient

# callbacks that change nothing that a recording takes for constant
_HARMLESS = {
    *(Annealing, BestWeights, EpochMeans, KLWarmup),
    *(EpochLines, EpochTimer, LRScheduler, ProgressBar),
}


class NonFiniteLossError(StopTraining):
    """The loss is no number any more."""


class Steps:
    """All training steps of a net: its weights in one tensor, its batches unwatched.

    skorch's own steps do the same; they are for callbacks that watch batches and for
    optimizers that ask for the loss again.

    Parameters
    ----------
    net : VAENet
        Initialized. Until `release` its weights are views.
    """

    def __init__(self, net):
        self.net, self.optimizer = net, net.optimizer_
        module, objective = net.module_, net.criterion_.objective
        self.parameters = list(module.parameters())
        self.weights = FlatWeights([g["params"] for g in self.optimizer.param_groups])
        self.stepper = make_stepper(self.optimizer, self.weights)
        self.has_watchers = _has_watchers(net)
        self.module, self.objective = module, objective
        self.gradients, self.shares, self.graphs = {}, {}, {}
        self.rows = self.seen = self.version = None
        self.uses_graphs = StepGraph.can_capture(self.weights.values, self.stepper)
        if net.averages_ is not None:
            average = torch.zeros_like(self.weights.values)
            for view, value in zip(self._split(average), net.averages_, strict=True):
                view.copy_(value)
            net.averages_ = [average]
        net._trained = [self.weights.values]

    @staticmethod
    def can_train(net):
        """Return whether a net's steps can be taken here."""
        parameters = list(net.module_.parameters())
        return (
            not any(_watches_batches(callback) for _, callback in net.callbacks_)
            and all(p.requires_grad and p.dtype == torch.float32 for p in parameters)
            and {id(p) for g in net.optimizer_.param_groups for p in g["params"]}
            == {id(p) for p in parameters}
            and not _needs_closure(net.optimizer_)
        )

    def _split(self, flat):
        """Return the views of a flat tensor in the order of the module."""
        views = zip(self.weights.parameters, self.weights.split(flat), strict=True)
        by_parameter = {id(p): view for p, view in views}
        return [by_parameter[id(p)] for p in self.parameters]

    def is_current(self):
        """Return whether the net is still the one that the steps were made for."""
        parameters = list(self.module.parameters())
        return (
            self.optimizer is self.net.optimizer_
            and self.objective is self.net.criterion_.objective
            and [id(p) for p in parameters] == [id(p) for p in self.parameters]
            and all(p.requires_grad and p.dtype == torch.float32 for p in parameters)
            and self.stepper.is_current()
        )

    def release(self):
        """Give weights, averages and optimizer memory of their own again."""
        net = self.net
        for name in ("averages_", "raw_weights_"):
            value = getattr(net, name)
            if value is not None:
                setattr(net, name, [view.clone() for view in self._split(value[0])])
        # they refer to the steps, which would outlive the fit
        self.graphs.clear()
        self.gradients.clear()
        self.weights.release()
        self.stepper.release()
        net._trained = None

    def _get_gradient(self, shape, has_missing, is_weighted):
        """Return the gradient of batches of a shape; there are seldom more than two.

        ``has_missing`` is a bool, or the columns with missing cells.
        """
        key = shape, has_missing, is_weighted, self.has_hooks
        if key not in self.gradients:
            self.gradients[key] = make_gradient(
                self.module,
                self.objective,
                shape,
                self.weights,
                has_missing,
                is_weighted,
                self.net.autocast,
            )
            self.gradients[key].begin_epoch(self.net.criterion_.beta)
        return self.gradients[key]

    def _read(self, batches):
        """Yield the gradients of batches, filled with their rows, and weights."""
        if not isinstance(batches, TrainBatches):
            batches = call_with_draws(iter, batches)
            while (batch := call_with_draws(next, batches, None)) is not None:
                x, weight = batch
                has_missing = find_missing(x) is not None
                gradient = self._get_gradient(tuple(x.shape), has_missing, True)
                gradient.x.copy_(x, non_blocking=True)
                if gradient.seen is not None:
                    gradient.seen.copy_(self.module.see(gradient.x))
                yield gradient, weight.to(gradient.x.device)
            return
        rows = batches.rows
        n_features, is_weighted = rows.n_features, not rows.is_uniform
        for chosen in batches.choose():
            shape = (*chosen.shape, n_features)
            gradient = self._get_gradient(shape, rows.incomplete, is_weighted)
            rows.gather(chosen, gradient.x)
            if gradient.seen is not None:
                self._see(rows, chosen, gradient)
            weight = None
            if is_weighted:
                weight = rows.weight[chosen].to(gradient.x.device)
            yield gradient, weight

    def _see(self, rows, chosen, gradient):
        """Fill in what the encoder is given, found for all rows before the first."""
        # a callback may change the rows in place
        version = getattr(getattr(rows.table, "x", None), "_version", 0)
        if rows is not self.rows or version != self.version:
            self.version = version
            device = gradient.x.device
            self.rows = rows
            self.seen = rows.table.map(self.module.see, self.module.n_seen, device)
        if self.seen is None:
            gradient.seen.copy_(self.module.see(gradient.x))
        else:
            self.seen.gather(chosen, gradient.seen)

    def _get_share(self, gradient, weight):
        """Return the rows' shares in the loss, and the volume that comes with them."""
        if weight is not None:
            return weight / weight.sum(), self.net.get_volume(weight)
        shape = gradient.shape
        if shape not in self.shares:
            weight = gradient.x.new_ones(shape[:-1])
            self.shares[shape] = weight / weight.sum(), self.net.get_volume(weight)
        return self.shares[shape]

    @torch.no_grad()
    def run(self, batches):
        """Take a step on every batch, and write the epoch's means into the history."""
        self.net._set_training(True)
        self.stepper.read_settings()
        self.has_hooks = has_hooks(self.module)
        for gradient in self.gradients.values():
            gradient.begin_epoch(self.net.criterion_.beta, self.has_watchers)
        programs = {gradient.program for gradient in self.gradients.values()}
        self.graphs = {k: g for k, g in self.graphs.items() if k[1] in programs}
        found, volumes, sizes = [], [], []
        with np.errstate(all="ignore"), draws_off():
            for gradient, weight in self._read(batches):
                share, volume = self._get_share(gradient, weight)
                gradient.weigh(share)
                self._take_step(gradient)
                found.append(gradient.terms.clone())
                volumes.append(volume)
                sizes.append(gradient.shape[0])
        if found:
            self._write_history(torch.stack(found), gradient.names, volumes, sizes)
        self.net.history.record("train_batch_count", len(sizes))

    def _take_step(self, gradient):
        """Take a step, as part of a graph where there can be one."""
        rates, pull = self._schedule()
        program = gradient.program
        if not self.uses_graphs or program is None or not gradient.is_checked:
            self.step(gradient, rates, pull)
            return
        key = gradient.shape, program, *self.stepper.settings
        if key not in self.graphs:
            self.graphs[key] = StepGraph(partial(self.step, gradient), gradient.x)
        self.graphs[key](rates, pull)

    def _schedule(self):
        """Return the rates of the next step, and how far the average moves."""
        net = self.net
        factor, pull = net.advance()
        if net.averaging and net.averages_ is None:
            # nothing of the start remains: the first step moves all the way
            net.averages_, pull = [self.weights.values.clone()], 1.0
        return self.stepper.get_rates(factor), pull

    def step(self, gradient, rates, pull):
        """Take a step on the rows that a `BatchGradient` or `PartedGradient` holds.

        Learning rates, and how far the average moves towards the weights, are numbers
        or tensors ().
        """
        net = self.net
        gradient.run()
        if self.module.n_copies is not None:
            # the loss is the mean over networks: give each its own gradient again
            self.weights.grad.mul_(self.module.n_copies)
        self.weights.bound_gradient(net.max_gradient_norm, gradient.length)
        # weight decay would move them
        kept = [(p.detach(), p.detach().clone()) for p in gradient.idle]
        self.stepper.step(rates)
        for p, value in kept:
            p.copy_(value)
        if net.averaging:
            net.averages_[0].lerp_(self.weights.values, pull)

    def _write_history(self, found, names, volumes, sizes):
        """Write the epoch's means into the history, as one batch."""
        # numpy is several times as fast on a few numbers
        found = found.double().cpu().numpy()
        if not np.isfinite(found).all():
            self.stepper.forget()
            raise NonFiniteLossError
        share = np.divide(sizes, sum(sizes))
        loss, *values, _ = (share @ found).tolist()
        volume = float(share @ [float(v) for v in volumes])
        shift = {"reconstruction": volume}
        batch = {
            f"train_{name}": value - shift.get(name, 0.0)
            for name, value in zip(names, values, strict=True)
        }
        batch |= {"train_loss": loss + volume, "train_batch_size": sum(sizes)}
        self.net.history[-1]["batches"].append(batch)


def _needs_closure(optimizer):
    """Return whether an optimizer's step has to be given something, as LBFGS's has."""
    kinds = Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD
    _, *parameters = signature(type(optimizer).step).parameters.values()
    return any(p.default is Parameter.empty and p.kind in kinds for p in parameters)


def _has_watchers(net):
    """Return whether callbacks are called that may change anything of the net."""
    return any(type(callback) not in _HARMLESS for _, callback in net.callbacks_)


def _watches_batches(callback):
    """Return whether a callback is called for every batch."""
    if isinstance(callback, LRScheduler) and callback.step_every == "epoch":
        return False
    names = ("on_batch_begin", "on_batch_end", "on_grad_computed")
    return any(getattr(type(callback), n) is not getattr(Callback, n) for n in names)
