"""All weights of a module in one tensor, and optimizers that step along it.

The optimizer, the bound on the gradient and the average of the weights are then a few
operations each, however many layers there are.
"""

from contextlib import contextmanager
from functools import partial

import torch

from .._utils._quiet_import import import_quietly
from ._adam import ADAM

# every weight begins at a multiple of 64 bytes
_ALIGNMENT = 16


@contextmanager
def learning_rates(optimizer, rates):
    """Give the groups of an optimizer these rates; schedulers see those before."""
    groups = optimizer.param_groups
    full = [group["lr"] for group in groups]
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
    try:
        yield
    finally:
        for group, rate in zip(groups, full, strict=True):
            group["lr"] = rate


class FlatWeights:
    """The weights of a module and their gradients, each in one tensor.

    The module's parameters, and their ``grad``, become views; `release` undoes it.
    Those of a group, which one call of the optimizer updates, lie side by side.
    """

    def __init__(self, groups):
        self.parameters = [p for group in groups for p in group]
        self.spans, self.slices, size = [], [], 0
        for group in groups:
            begin = size
            for p in group:
                self.spans.append((size, size + p.numel()))
                size += -(-p.numel() // _ALIGNMENT) * _ALIGNMENT
            self.slices.append(slice(begin, size))
        like = self.parameters[0].detach()
        self.values, self.grad = like.new_zeros(size), like.new_zeros(size)
        self.views = self.split(self.values), self.split(self.grad)
        self.take_back()

    def split(self, flat):
        """Return the views of a flat tensor, one for each parameter."""
        return [
            flat[begin:end].view(p.shape)
            for p, (begin, end) in zip(self.parameters, self.spans, strict=True)
        ]

    def take_back(self):
        """Take over values from memory that callbacks have given to parameters."""
        for p, value, grad in zip(self.parameters, *self.views, strict=True):
            if p.data_ptr() != value.data_ptr():
                value.copy_(p.detach())
            p.data, p.grad = value, grad

    def bound_gradient(self, limit, length):
        """Cut the gradient to a length of at most limit, unless that is None.

        ``length``, a tensor (), is set to the length that the gradient had.
        """
        torch.linalg.vector_norm(self.grad, out=length)
        if limit is None:
            return
        if not self.grad.is_cpu:
            # an accelerator is not waited for
            self.grad.mul_((limit / (length + 1e-6)).clamp_(max=1.0))
        elif not length.item() <= limit:
            self.grad.mul_(limit / (length + 1e-6))

    def release(self):
        """Give every parameter memory of its own again, and no gradient."""
        for p in self.parameters:
            p.data, p.grad = p.data.clone(), None


class Stepper:
    """Steps of an optimizer."""

    # whether rates may be tensors, and a step is a fixed run of operations
    is_flat = False

    def __init__(self, optimizer):
        self.optimizer = optimizer
        self.read_settings()

    def read_settings(self):
        """Take over the optimizer's settings, which callbacks may have changed."""
        self.rates = [group["lr"] for group in self.optimizer.param_groups]

    def get_rates(self, factor):
        """Return the groups' learning rates times a factor."""
        return [rate * factor for rate in self.rates]

    def step(self, rates):
        """Take a step at these learning rates, one for each group."""
        with learning_rates(self.optimizer, rates):
            self.optimizer.step()

    def is_current(self):
        """Return whether the optimizer's state is still the one that steps change."""
        return True

    def forget(self):
        """Drop the optimizer's state."""
        self.optimizer.state.clear()

    def release(self):
        """Give the optimizer's state memory of its own again."""


class FlatAdam(Stepper):
    """Steps of a torch Adam or AdamW on flat weights, in one call for each group.

    The state stays where torch's optimizer looks for it, as views.
    """

    is_flat = True

    def __init__(self, optimizer, weights):
        self.weights = weights
        self.first = torch.zeros_like(weights.values)
        self.second = torch.zeros_like(weights.values)
        self.steps = weights.values.new_zeros(len(weights.parameters))
        names = "step", "exp_avg", "exp_avg_sq"
        views = self.steps, weights.split(self.first), weights.split(self.second)
        self.views = []
        for p, *new in zip(weights.parameters, *views, strict=True):
            state, new = optimizer.state[p], dict(zip(names, new, strict=True))
            for name in state.keys() & new:
                new[name].copy_(state[name])
            state |= new
            self.views.append(new)
        is_decoupled = optimizer.defaults.get(
            "decoupled_weight_decay", isinstance(optimizer, torch.optim.AdamW)
        )
        self.update = torch._fused_adamw_ if is_decoupled else torch._fused_adam_
        names = ("values", "grad")
        self.tensors = [
            [
                *([getattr(weights, name)[part]] for name in names),
                *([moment[part]] for moment in (self.first, self.second)),
            ]
            for part in weights.slices
        ]
        self.count = [self.steps[0]]
        # numpy adds to a few numbers in half the time
        self.counts = self.steps.numpy() if self.steps.is_cpu else self.steps
        super().__init__(optimizer)

    @staticmethod
    def fits(optimizer):
        """Return whether an optimizer takes plain steps of Adam, all weights alike."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        states = [optimizer.state.get(p, {}) for p in parameters]
        return (
            type(optimizer) in ADAM
            and len({float(state.get("step", 0)) for state in states}) == 1
            and not optimizer._optimizer_step_pre_hooks
            and not optimizer._optimizer_step_post_hooks
            and not any(
                group[name]
                for group in optimizer.param_groups
                for name in ("amsgrad", "maximize", "differentiable", "capturable")
            )
        )

    def read_settings(self):
        """Take over the optimizer's settings, which callbacks may have changed."""
        super().read_settings()
        # what torch's schedulers ask of an optimizer
        self.optimizer._opt_called = True
        groups = self.optimizer.param_groups
        self.settings = [(g["betas"], g["weight_decay"], g["eps"]) for g in groups]
        self.updates = [
            partial(
                self.update,
                *tensors,
                [],
                self.count,
                beta1=betas[0],
                beta2=betas[1],
                weight_decay=weight_decay,
                eps=eps,
                amsgrad=False,
                maximize=False,
            )
            for tensors, (betas, weight_decay, eps) in zip(
                self.tensors, self.settings, strict=True
            )
        ]

    def step(self, rates):
        """Take a step at these learning rates, numbers or tensors ()."""
        self.counts += 1
        for update, rate in zip(self.updates, rates, strict=True):
            update(lr=rate)

    def forget(self):
        """Drop the optimizer's state."""
        for tensor in (self.first, self.second, self.steps):
            tensor.zero_()

    def is_current(self):
        """Return whether the optimizer's state is still the one that steps change."""
        return all(
            self.optimizer.state.get(p, {}).get(name) is view
            for p, views in zip(self.weights.parameters, self.views, strict=True)
            for name, view in views.items()
        )

    def release(self):
        """Give the optimizer's state memory of its own again."""
        for state in self.optimizer.state.values():
            state |= {name: value.clone() for name, value in state.items()}


def make_stepper(optimizer, weights):
    """Return the stepper of an optimizer: `FlatAdam` where it fits."""
    if FlatAdam.fits(optimizer):
        return FlatAdam(optimizer, weights)
    import_quietly("torch._dynamo")  # by the optimizer's step
    return Stepper(optimizer)
