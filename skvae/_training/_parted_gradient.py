"""The gradient of a large batch, computed in parts that take little memory."""

from functools import partial

import torch

from .._model._cost import count_draws, count_widest
from ._contents import are_known, list_contents
from ._gradient import BatchGradient, has_hooks

# values of the widest tensor of a part, about, and rows of a part, at least: fewer rows
# where these have more values than can be recorded
_PART_VALUES = 2**19
_PART_ROWS, _LEAST_PART_ROWS = 32, 4
_MAX_PART_VALUES = 2**21


def make_gradient(module, objective, shape, weights, has_missing, is_weighted, *args):
    """Return the gradient of batches of a shape, in parts where that saves memory.

    Parameters are those of `BatchGradient`.
    """

    def make(shape, is_weighted):
        rest = weights, has_missing, is_weighted, *args
        return BatchGradient(module, objective, shape, *rest)

    n_rows = shape[-2]
    width = count_draws(module, objective.n_draws) * count_widest(module)
    most = _MAX_PART_VALUES // (width * (module.n_copies or 1))
    part_rows = min(max(most, _LEAST_PART_ROWS), _PART_ROWS)
    n_parts = min(-(-n_rows * width // _PART_VALUES), n_rows // part_rows)
    # a subclass may be no mean over rows, own networks may mix rows, and hooks are
    # called for batches
    is_additive = "is_additive" in vars(type(objective)) and objective.is_additive
    is_parted = n_parts > 1 and is_additive and weights.values.is_cpu
    _, objects = list_contents([module, objective], ())
    if not is_parted or has_hooks(module) or not are_known(objects):
        return make(shape, is_weighted)
    return PartedGradient(partial(make, is_weighted=True), shape, weights, n_parts)


class PartedGradient:
    """Loss of a module on batches of one shape, and its gradient, part by part.

    For objectives that are means over rows. It has the interface of `BatchGradient`;
    each part is one, so that a batch takes no more memory than a part. `make_part`
    returns the gradient of batches of a smaller shape.
    """

    # steps are not recorded as a whole
    program, is_recorded, is_checked = None, False, True

    def __init__(self, make_part, shape, weights, n_parts):
        self.shape, self.weights = shape, weights
        self.x = weights.grad.new_zeros(shape)
        self.parts, self.gradients = [], {}
        for part in torch.arange(shape[-2]).tensor_split(n_parts):
            self.parts.append(slice(int(part[0]), int(part[-1]) + 1))
            size = *shape[:-2], len(part), shape[-1]
            if size not in self.gradients:
                self.gradients[size] = make_part(size)
        first = next(iter(self.gradients.values()))
        self.seen = None
        if first.seen is not None:
            self.seen = self.x.new_zeros(*shape[:-1], first.seen.shape[-1])
        self.total = torch.zeros_like(weights.grad)
        self.share = self.names = self.terms = self.length = None

    def begin_epoch(self, beta, may_change=True):
        """Take over what may change between epochs, as `BatchGradient` does."""
        for gradient in self.gradients.values():
            gradient.begin_epoch(beta, may_change)

    def weigh(self, share):
        """Take over the weights of the rows, (..., n), which sum to one."""
        self.share = share

    def run(self):
        """Compute the terms, and write the gradient into every weight's ``grad``."""
        self.total.zero_()
        terms = 0.0
        for part in self.parts:
            x, share = self.x[..., part, :], self.share[..., part]
            gradient, weight = self.gradients[tuple(x.shape)], share.sum()
            if not weight:
                # rows that do not count
                continue
            gradient.x.copy_(x)
            if self.seen is not None:
                gradient.seen.copy_(self.seen[..., part, :])
            gradient.weigh(share / weight)
            gradient.run()
            self.total.add_(self.weights.grad, alpha=float(weight))
            terms = terms + weight * gradient.terms
        self.weights.grad.copy_(self.total)
        self.names, self.idle, self.terms = gradient.names, gradient.idle, terms
        self.length = self.terms[-1]
