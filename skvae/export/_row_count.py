"""Refuse a function of rows that computes something else for another number of rows.

A graph is traced for one number of rows, and a branch on that number is not in it: the
function is traced for two, and the graphs are compared.
"""

import itertools
import sys

import torch
from torch.utils._pytree import tree_flatten, tree_leaves

from ._trace import RowCountError, trace

# of the table that is traced, none of whose values is read: a large prime
N_ROWS = 1_000_003


def is_rows(size):
    """Return whether a size is the number of rows, or a multiple of it."""
    return size > 0 and size % N_ROWS == 0


def trace_rows(function, n_features, decompositions):
    """Return the graph of a function for `N_ROWS` rows, see `trace`.

    `RowCountError` is raised where the graph of a few rows is another.
    """
    sizes = {n_features}
    graph = trace(function, N_ROWS, n_features, decompositions, sizes=sizes)
    sizes.update(_list_sizes(graph))
    sizes -= {0, sys.maxsize}
    # a few rows: a number whose multiples are no other sizes, which would count as rows
    n_rows = next(n for n in _list_primes() if all(size % n for size in sizes))
    other = trace(function, n_rows, n_features, decompositions)
    difference = _find_difference(graph, other, n_rows)
    if difference is not None:
        raise RowCountError(difference)
    return graph


def _list_primes():
    """Return prime numbers from 7 on."""
    return (n for n in itertools.count(7, 2) if all(n % k for k in range(3, n, 2)))


def _list_sizes(graph):
    for node in graph.graph.nodes:
        leaves = tree_leaves((node.args, node.kwargs, _get_shapes(node)))
        yield from (v for v in leaves if type(v) is int)


def _get_shapes(node):
    values = tree_leaves(node.meta.get("val"))
    return [tuple(v.shape) for v in values if isinstance(v, torch.Tensor)]


def _find_difference(graph, other, n_rows):
    """Return the first operator in which two graphs differ, or None."""
    numbers = {}
    pairs = itertools.zip_longest(graph.graph.nodes, other.graph.nodes)
    for number, (first, second) in enumerate(pairs):
        if first is None or second is None:
            return str((first or second).target)
        numbers[first] = numbers[second] = number
        if first.op == second.op == "get_attr":
            tensors = getattr(graph, first.target), getattr(other, second.target)
            if not _are_equal(*tensors):
                return "a constant of another value"
            continue
        is_same = first.target == second.target and _match(
            _describe(first, numbers), _describe(second, numbers), n_rows
        )
        if not is_same:
            return str(first.target)
    return None


def _describe(node, numbers):
    """Return the arguments and shapes of a node; results of nodes as numbers."""
    arguments = torch.fx.map_arg((node.args, node.kwargs), lambda n: (numbers[n], None))
    return arguments, _get_shapes(node)


def _are_equal(first, second):
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    exact = {"rtol": 0, "atol": 0, "equal_nan": True}
    return torch.allclose(first.double(), second.double(), **exact)


def _match(first, second, n_rows):
    """Return whether arguments are equal, or the same multiple of the rows."""
    (first, layout), (second, other) = tree_flatten(first), tree_flatten(second)
    return layout == other and all(
        type(a) is type(b) and (_are_same(a, b) or _is_multiple(a, b, n_rows))
        for a, b in zip(first, second, strict=True)
    )


def _are_same(a, b):
    return a == b or (a != a and b != b)


def _is_multiple(a, b, n_rows):
    return type(a) is int and is_rows(a) and a // N_ROWS * n_rows == b


def make_program(function, n_features):
    """Return a `torch.export.ExportedProgram` of a function, for any number of rows."""
    # refuses what depends on the number of rows: guards of symbols do not tell it
    trace_rows(function, n_features, {})
    # sizes that are equal would count as one
    graph = trace(function, n_features + 3, n_features, {}, is_symbolic=True)
    rows = torch.zeros(7, n_features, dtype=torch.float64)
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    with torch.no_grad():
        return torch.export.export(graph, (rows,), dynamic_shapes=shapes, strict=False)
