"""The gradient of a batch in parts: to take little memory, or one for every process."""

import torch
from torch import nn

from .._model._cost import count_draws, count_widest
from .._replay import are_known, has_hooks, list_contents
from .._utils._draws import drawing_part
from ._gradient import BatchGradient
from ._ranks import get_ranks

# values of the widest tensor of a part, about, and rows of a part, at least: fewer rows
# where these have more values than can be recorded
_PART_VALUES = 2**19
_PART_ROWS, _LEAST_PART_ROWS = 32, 4
_MAX_PART_VALUES = 2**21
_BATCH_NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm


def make_gradient(module, objective, shape, weights, has_missing, is_weighted, *args):
    """Return the gradient of batches of a shape, in parts where that saves memory.

    Where several processes fit together, each computes its part of the rows. Parameters
    are those of `BatchGradient`.
    """

    def make(shape, is_weighted=True):
        rest = weights, has_missing, is_weighted, *args
        return BatchGradient(module, objective, shape, *rest)

    if not is_additive(objective):
        return make(shape, is_weighted)
    n_parts = _count_parts(module, objective, shape)
    # own networks may mix rows, and hooks are called for batches
    _, objects = list_contents([module, objective], ())
    if has_hooks(module) or not are_known(objects) or not weights.values.is_cpu:
        n_parts = 1
    ranks = get_ranks()
    if ranks is not None:
        # the same parts, of each of which every process computes some rows
        n_parts = min(n_parts, shape[-2] // ranks.size)
        ranks = ranks if n_parts and not _mixes_rows(module) else None
    if n_parts <= 1 and ranks is None:
        return make(shape, is_weighted)
    parts = torch.arange(shape[-2]).tensor_split(max(n_parts, 1))
    parts = [(int(part[0]), int(part[-1]) + 1) for part in parts]
    return PartedGradient(make, shape, weights, parts, ranks)


def is_additive(objective):
    """Return whether an objective is a mean over rows; a subclass may be none."""
    return "is_additive" in vars(type(objective)) and objective.is_additive


def _mixes_rows(module):
    """Return whether networks may have layers that see all rows of a batch."""
    return any(isinstance(layer, _BATCH_NORMS) for layer in module.modules())


def _count_parts(module, objective, shape):
    """Return how many parts of a batch keep memory small."""
    n_rows = shape[-2]
    width = count_draws(module, objective.n_draws) * count_widest(module)
    most = _MAX_PART_VALUES // (width * (module.n_copies or 1))
    part_rows = min(max(most, _LEAST_PART_ROWS), _PART_ROWS)
    return min(-(-n_rows * width // _PART_VALUES), n_rows // part_rows)


class PartedGradient:
    """Loss of a module on batches of one shape, and its gradient, part by part.

    For objectives that are means over rows. It has the interface of `BatchGradient`;
    each part is one, so that a batch takes no more memory than a part.

    Parameters
    ----------
    make_part : callable
        Returns the gradient of batches of a smaller shape.
    shape : tuple of int
    weights : FlatWeights
    parts : list of pair of int
        The first row of every part, and the one behind its last.
    ranks : Ranks, default=None
        Processes that share the rows of every part among them.
    """

    # steps are not recorded as a whole
    program, is_recorded, is_checked = None, False, True

    def __init__(self, make_part, shape, weights, parts, ranks=None):
        self.shape, self.weights = shape, weights
        self.ranks = ranks
        self.x = weights.grad.new_zeros(shape)
        # of every part the rows that are computed here, and how many rows it has
        self.parts, self.gradients = [], {}
        for begin, end in parts:
            n = end - begin
            own = slice(0, n) if ranks is None else ranks.cut(n)
            self.parts.append((slice(begin + own.start, begin + own.stop), own, n))
            size = *shape[:-2], own.stop - own.start, shape[-1]
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
        for part, own, n_rows in self.parts:
            x, share = self.x[..., part, :], self.share[..., part]
            gradient, weight = self.gradients[tuple(x.shape)], share.sum()
            if not weight:
                # rows that do not count
                continue
            gradient.x.copy_(x)
            if self.seen is not None:
                gradient.seen.copy_(self.seen[..., part, :])
            gradient.weigh(share / weight)
            if self.ranks is None:
                gradient.run()
            else:
                with drawing_part(own, n_rows):
                    gradient.run()
            self.total.add_(self.weights.grad, alpha=float(weight))
            terms = terms + weight * gradient.terms
        if self.ranks is not None:
            total = torch.cat([self.total, terms])
            self.ranks.add_up(total)
            self.total, terms = total.split([len(self.total), len(terms)])
        self.weights.grad.copy_(self.total)
        self.names, self.idle, self.terms = gradient.names, gradient.idle, terms
        self.length = self.terms[-1]
