"""A function of a tensor of rows → a graph of torch, for any number of rows.

Whatever does not depend on the rows is computed once, and is a constant of the graph.
"""

import sys
from contextlib import contextmanager, nullcontext

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves
from typing_extensions import override

from .._utils._device import isolated

_READS = (torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__)


class _Constants(TorchDispatchMode):
    """Compute at once what depends on no row: operators of ordinary tensors."""

    def __init__(self, n_rows, sizes):
        super().__init__()
        self.n_rows, self.sizes = n_rows, sizes

    @override
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        self.sizes.update(leaf for leaf in leaves if type(leaf) is int)
        if any(map(self._depends, leaves)):
            return func(*args, **kwargs)
        with _disable_current_modes():
            return func(*args, **kwargs)

    def _depends(self, value):
        """Return whether an argument depends on the rows, or on their number."""
        if isinstance(value, int) and not isinstance(value, bool):
            # the largest one is the end of slices
            return 0 < value < sys.maxsize and value % self.n_rows == 0
        symbols = (FakeTensor, torch.SymInt, torch.SymFloat, torch.SymBool)
        return isinstance(value, symbols)


class ReadingError(RuntimeError):
    """A value that depends on the rows was read."""


class RowCountError(RuntimeError):
    """What is computed depends on the number of rows."""


class UnknownOperatorError(NotImplementedError):
    """An operator of torch that has no translation."""


# what torch raises where a number, a branch or a shape depends on a value
TRACING_ERRORS = (
    ReadingError,
    DataDependentOutputException,
    DynamicOutputShapeException,
    GuardOnDataDependentSymNode,
)


class _NoReading(TorchFunctionMode):
    """Refuse to read a value that depends on the rows: nothing was computed yet."""

    @override
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in _READS and _is_traced(args[0]):
            raise ReadingError(f"{func.__name__}() of a tensor")
        return func(*args, **(kwargs or {}))


def _is_traced(tensor):
    return isinstance(tensor, FakeTensor) or torch._is_functional_tensor(tensor)


def trace(function, n_rows, n_features, decompositions, is_symbolic=False, sizes=None):
    """Return the graph of a function of rows (n, n_features) float64, a `GraphModule`.

    Operators among the `decompositions` are replaced. Sizes are those for `n_rows`
    rows, or symbols, which takes ten times as long. Whole numbers among the arguments
    of operators are added to the set `sizes`.
    """
    sizes = set() if sizes is None else sizes

    def run(X):
        with torch.no_grad(), _NoReading(), _Constants(n_rows, sizes):
            return function(X)

    mode = FakeTensorMode(allow_non_fake_inputs=True)
    tracer = make_fx(
        # which would fix the sizes; torch.export does it itself
        run if is_symbolic else functionalize(run, remove="mutations"),
        decomposition_table=decompositions,
        tracing_mode="symbolic" if is_symbolic else "real",
        _allow_non_fake_inputs=True,
    )
    with isolated(), nullcontext() if is_symbolic else mode:
        graph = tracer(torch.empty(n_rows, n_features, dtype=torch.float64))
    constants = {**vars(graph), **graph._parameters, **graph._buffers}
    for name, value in constants.items():
        if isinstance(value, torch.Tensor):
            delattr(graph, name)
            graph.register_buffer(name, value.detach().contiguous().clone())
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


@contextmanager
def refusing(estimator, method, has_missing):
    """Name what cannot be exported, and the way out."""
    name = f"method={method!r} of {type(estimator).__name__}"
    try:
        yield
    except UnknownOperatorError as error:
        raise ValueError(
            f"{name} uses the operator {error} of torch, which is not translated to "
            "ONNX; use skvae.export.to_torch, or a network or likelihood without it."
        ) from error
    except RowCountError as error:
        raise ValueError(
            f"{name} cannot be exported: what is computed depends on the number of "
            f"rows, from {error} on. In a network or likelihood of your own, compute "
            "every row for itself."
        ) from error
    except TRACING_ERRORS as error:
        if has_missing:
            members = ", ".join(sorted(set(map(str, estimator.columns_.likelihoods))))
            raise ValueError(
                f"{name} cannot be exported for rows with missing cells, with columns "
                f"of {members}: what is computed depends on the values ({error}). Pass "
                "missing=False, for complete rows alone."
            ) from error
        raise ValueError(
            f"{name} cannot be exported: what is computed depends on the values of the "
            f"rows ({error}). In a network or likelihood of your own, write "
            "torch.where instead of a branch, and keep to operators of torch."
        ) from error
