"""Gradients of different likelihoods for different columns, without autograd."""

import math

import torch

from ._base import LikelihoodPass


class PerColumnPass(LikelihoodPass):
    """The passes of groups of columns: log p(x|z) is the sum of theirs.

    With rows last, what belongs to a group is one contiguous block. Groups whose own
    passes have rows first are handed transposed copies.

    Parameters
    ----------
    program : Program
    likelihood : PerColumn
    passes : list of LikelihoodPass
        One a group.
    """

    rows_last = True

    def __init__(self, program, likelihood, passes):
        super().__init__(program)
        self.likelihood, self.passes = likelihood, passes
        self.takes_missing = all(member.takes_missing for member in passes)

    def represent(self, x):
        """Write down what the groups make of their columns, side by side."""
        parts = zip(self.passes, self._list_columns(x), strict=True)
        return self._join([p.represent(self._select(x, c, -1)) for p, c in parts], -1)

    def forward(self, x, raw, free, predicted, log_range):
        """Write down log p(x|z) of every row, ``(..., n)``."""
        parts = zip(
            self.passes,
            self._list_columns(x),
            self._split(raw, "raw_shape"),
            self._split_free(free),
            self._split(predicted, "start_shape"),
            strict=True,
        )
        found = []
        for member, columns, raw_part, free_part, start in parts:
            if self.observed is not None:
                member.observed = self._select(self.observed, columns, -2, member)
            inputs = (
                self._select(x, columns, -2, member),
                self._turn(raw_part, member),
                free_part,
                self._turn(start, member),
                log_range.index_select(-1, columns),
            )
            found.append(member.forward(*inputs))
        total = found[0]
        for log_prob in found[1:]:
            total = self.program.add(total, log_prob, self.program.empty(*total.shape))
        return total

    def backward(self, weight):
        """Write down the gradients of raw, of the start, and that of free."""
        found = [member.backward(weight) for member in self.passes]
        by_raw, by_start = (
            self._join(
                [
                    part if member.rows_last else part.mT
                    for member, part in zip(self.passes, parts, strict=True)
                ],
                -2,
            )
            for parts in zip(*found, strict=True)
        )
        return by_raw, by_start

    def _list_columns(self, like):
        """Return the numbers of the columns of every group."""
        groups = self.likelihood.list_groups()
        return [torch.as_tensor(columns, device=like.device) for _, columns in groups]

    def _split(self, tensor, name):
        """Return the blocks of the groups of (..., features, n), or of None."""
        if tensor is None:
            return [None] * len(self.passes)
        sizes = [math.prod(shape) for shape in self.likelihood.list_shapes(name)]
        return tensor.split(sizes, dim=-2)

    def _split_free(self, free):
        """Return the learned values of the groups, with ``grad``, in their shapes."""
        shapes = self.likelihood.list_shapes("free_shape")
        sizes = [math.prod(shape) for shape in shapes]
        values, grads = free.detach().split(sizes, -1), free.grad.split(sizes, -1)
        parts = []
        for value, grad, shape in zip(values, grads, shapes, strict=True):
            part = value.unflatten(-1, shape)
            part.grad = grad.unflatten(-1, shape)
            parts.append(part)
        return parts

    def _select(self, x, columns, dim, member=None):
        """Write down some columns, laid out as a member has them."""
        if member is not None and not member.rows_last:
            x, dim = x.mT, -1
        shape = list(x.shape)
        shape[dim] = len(columns)
        out = self.program.empty(*shape)
        self.program.call(torch.index_select, x, dim, columns, out=out)
        return out

    def _turn(self, block, member):
        """Write down a block as a member has it: a copy where rows come first."""
        if block is None or member.rows_last:
            return block
        turned = block.mT
        return self.program.copy(turned, self.program.empty(*turned.shape))

    def _join(self, parts, dim):
        """Write down tensors side by side along a dimension."""
        sizes = [part.shape[dim] for part in parts]
        shape = list(parts[0].shape)
        shape[dim] = sum(sizes)
        both = self.program.empty(*shape)
        for part, target in zip(parts, both.split(sizes, dim), strict=True):
            self.program.copy(part, target)
        return both
