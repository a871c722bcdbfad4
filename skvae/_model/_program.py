"""Programs: operations on fixed tensors, written down once and run many times.

The arithmetic of a small network takes less time than deciding what to compute and
where to put it. A program decides once. On one thread of a CPU numpy does most of the
work, on the memory of the tensors: for small arrays it is two to five times as quick as
torch. On several threads, which numpy and torch would take from each other, and on
accelerators it is torch, with the same operations.
"""

from functools import partial

import numpy as np
import torch


def suits_numpy(device):
    """Return whether numpy is the quicker library for a device, as threads are set."""
    return torch.device(device).type == "cpu" and torch.get_num_threads() == 1


class Program:
    """A list of operations.

    Every method but `run`, `empty` and `zeros` writes down one operation, which puts
    its result into ``out``, a tensor of the result's shape, and returns that.

    Parameters
    ----------
    like : Tensor
        Has the data type and device of all tensors of the program.
    uses_numpy : bool
    """

    def __init__(self, like, uses_numpy):
        self.like, self.uses_numpy = like.detach(), uses_numpy
        self.operations = []
        self._ones = {}

    def run(self):
        """Do all operations in the order in which they were written down."""
        for operation in self.operations:
            operation()

    def empty(self, *shape):
        """Return a tensor for results."""
        return self.like.new_empty(shape)

    def zeros(self, *shape):
        """Return a tensor of zeros."""
        return self.like.new_zeros(shape)

    def call(self, function, *args, **kwargs):
        """Call a function, which puts its results where it likes."""
        self.operations.append(partial(function, *args, **kwargs))

    def _get(self, operand):
        """Return a tensor or a number as what computes takes it."""
        if isinstance(operand, torch.Tensor):
            operand = operand.detach()
            return operand.numpy() if self.uses_numpy else operand
        if not self.uses_numpy:
            return operand
        # numpy is quicker with an array () than with a number
        return np.asarray(operand, self._get(self.like).dtype)

    def _write(self, name, *operands, out):
        operands = [self._get(operand) for operand in operands]
        if self.uses_numpy:
            # by position: a third of a small operation would go to reading the name
            self.call(getattr(np, name), *operands, self._get(out))
        else:
            self.call(getattr(torch, name), *operands, out=out)
        return out

    def _write_dot(self, a, b, out):
        """Write down a product by numpy, the one with the least to find out."""
        self.call(self._get(a).dot, self._get(b), self._get(out))
        return out

    def add(self, a, b, out):
        """Write down a + b."""
        return self._write("add", a, b, out=out)

    def subtract(self, a, b, out):
        """Write down a - b."""
        return self._write("subtract", a, b, out=out)

    def multiply(self, a, b, out):
        """Write down a b, element by element."""
        return self._write("multiply", a, b, out=out)

    def divide(self, a, b, out):
        """Write down a / b."""
        return self._write("divide", a, b, out=out)

    def matmul(self, a, b, out):
        """Write down the matrix product."""
        if self.uses_numpy and max(a.dim(), b.dim()) <= 2 and out.is_contiguous():
            return self._write_dot(a, b, out)
        return self._write("matmul", a, b, out=out)

    def exp(self, x, out):
        """Write down the exponential."""
        return self._write("exp", x, out=out)

    def log(self, x, out):
        """Write down the logarithm."""
        return self._write("log", x, out=out)

    def tanh(self, x, out):
        """Write down the hyperbolic tangent."""
        return self._write("tanh", x, out=out)

    def negative(self, x, out):
        """Write down -x."""
        return self._write("negative", x, out=out)

    def copy(self, x, out):
        """Write down a copy."""
        if self.uses_numpy:
            self.call(np.copyto, self._get(out), self._get(x))
        else:
            self.call(out.copy_, x)
        return out

    def clip(self, x, low, high, out):
        """Write down x, no less than low and no more than high; None is no bound."""
        self.call(torch.clamp, x.detach(), low, high, out=out)
        return out

    def dot(self, a, b, out):
        """Write down the sum of the products of all elements, a tensor ()."""
        a, b = a.flatten(), b.flatten()
        if self.uses_numpy:
            return self._write_dot(a, b, out)
        return self._write("dot", a, b, out=out)

    def sum(self, x, dim, out):
        """Write down the sum over one dimension, counted from the last."""
        if self.uses_numpy and dim in (-1, -2):
            # a product with ones is several times as quick as a sum
            ones = self._get_ones(x.shape[dim])
            if dim == -1:
                return self.matmul(x, ones, out)
            self.matmul(ones.unsqueeze(0), x, out.unsqueeze(-2))
            return out
        if self.uses_numpy:
            self.call(np.add.reduce, self._get(x), dim, None, self._get(out))
        else:
            self.call(torch.sum, x, dim, out=out)
        return out

    def maximum(self, x, dim, out):
        """Write down the largest element along one dimension."""
        if self.uses_numpy:
            self.call(np.maximum.reduce, self._get(x), dim, None, self._get(out))
        else:
            self.call(torch.amax, x, dim, out=out)
        return out

    def _get_ones(self, n):
        if n not in self._ones:
            self._ones[n] = self.like.new_ones(n)
        return self._ones[n]
