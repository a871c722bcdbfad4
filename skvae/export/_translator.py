"""A traced graph of torch → nodes of ONNX, one operator after the other.

The graph was traced for `N_ROWS` rows, a large prime: every size that it divides is a
multiple of the number of rows, which nodes of ONNX find when they run.
"""

import operator

import numpy as np
import torch
from onnx import helper

from ._row_count import N_ROWS, is_rows
from ._trace import UnknownOperatorError

ATEN = torch.ops.aten
# translations of operators, functions of a `Translator`, a node and its arguments. They
# return a name, a list of names for several results, or a view: the name of the values
# in another shape, and that shape
OPERATORS = {}
# operators of one tensor, value by value: its shape does not matter to them
UNARY = set()


def translates(*overloads, is_unary=False):
    """Register a function as the translation of operators."""

    def register(function):
        for overload in overloads:
            OPERATORS[overload] = function
            if is_unary:
                UNARY.add(overload)
        return function

    return register


class Translator:
    """Add nodes of ONNX for a graph of torch, see `run`."""

    def __init__(self, nodes):
        self.nodes, self.names, self.casts = nodes, {}, {}
        # names in other shapes, and these: values are reshaped where they have to be
        self.views, self.reshaped = {}, {}
        # constants by their nodes: names are made where they are used
        self.tensors, self.n_rows = {}, None

    def run(self, graph, rows):
        """Return the name of the result for the matrix `rows`, float64."""
        for node in graph.graph.nodes:
            if node.op == "placeholder":
                self.names[node] = rows
                self.rows = rows
            elif node.op == "get_attr":
                self.tensors[node] = getattr(graph, node.target)
            elif node.op == "output":
                (found,) = torch.utils._pytree.tree_leaves(node.args)
                return self.name(found)
            elif node.target is operator.getitem:
                self.names[node] = self.names[node.args[0]][node.args[1]]
            elif node.target in OPERATORS:
                self._translate(node)
            else:
                raise UnknownOperatorError(str(node.target))

    def _translate(self, node):
        translate, view = OPERATORS[node.target], None
        if node.target in UNARY and node.all_input_nodes == [node.args[0]]:
            view = self.views.get(node.args[0])
        if view is None:
            found = translate(self, node, *node.args, **node.kwargs)
            is_view = isinstance(found, tuple)
            (self.views if is_view else self.names)[node] = found
            return
        # of the values as they are in memory
        name, shape = view
        known = self.names.get(node.args[0])
        self.names[node.args[0]] = name
        self.views[node] = translate(self, node, *node.args, **node.kwargs), shape
        self.names[node.args[0]] = known

    # values -------------------------------------------------------------------------

    def constant(self, value, dtype=None):
        """Return the name of a constant: a number, list or tensor."""
        value = torch.as_tensor(self.check(value), dtype=dtype)
        return self.nodes.constant(value.detach().cpu().contiguous().numpy())

    def check(self, value):
        """Return a value, which is not the number of rows: that is not constant."""
        if type(value) is int and is_rows(value):
            raise UnknownOperatorError("the number of rows as a value")
        return value

    def name(self, value, dtype=None):
        """Return the name of a node's result, or of a number, in a dtype."""
        if not isinstance(value, torch.fx.Node):
            return self.constant(value, dtype)
        if value in self.tensors and value not in self.names:
            self.names[value] = self.constant(self.tensors[value])
        if self.names.get(value) is None:
            self.names[value] = self.shape_view(self.views[value], get_shape(value))
        name = self.names[value]
        if dtype is None or dtype == get_dtype(value):
            return name
        return self.cast(name, dtype)

    def cast(self, name, dtype):
        """Return a name in another dtype."""
        key = name, dtype
        if key not in self.casts:
            self.casts[key] = self.add("Cast", name, to=to_onnx_type(dtype))
        return self.casts[key]

    def add(self, kind, *names, **attributes):
        """Return the name of the result of a new node."""
        return self.nodes.add(kind, *names, **attributes)

    def integers(self, *values):
        """Return the name of a constant list of integers."""
        return self.nodes.constant(np.array(values, dtype=np.int64))

    # shapes -------------------------------------------------------------------------

    def get_view(self, x):
        """Return the name of a node's values in any shape, and that shape."""
        return self.views.get(x) or (self.name(x), get_shape(x))

    def shape_view(self, view, shape):
        """Return the name of the values of a view in a shape."""
        name, known = view
        return name if known == tuple(shape) else self.reshape(name, shape)

    def reshape(self, name, shape):
        """Return a name in another shape, whose first multiple of rows is found."""
        sizes, is_found = [], False
        for size in shape:
            is_free = is_rows(size)
            if is_free and is_found:
                return self.add("Reshape", name, self.sizes(shape))
            sizes.append(-1 if is_free else size)
            is_found |= is_free or size == -1
        key = name, *sizes
        if key not in self.reshaped:
            self.reshaped[key] = self.add("Reshape", name, self.integers(*sizes))
        return self.reshaped[key]

    def sizes(self, shape):
        """Return the name of a shape, with the number of rows as it will be."""
        if not any(map(is_rows, shape)):
            return self.integers(*shape)
        parts = []
        for size in shape:
            if not is_rows(size):
                parts.append(self.integers(size))
                continue
            times = size // N_ROWS
            found = self.count_rows()
            if times != 1:
                found = self.add("Mul", found, self.integers(times))
            parts.append(found)
        return self.add("Concat", *parts, axis=0)

    def count_rows(self):
        """Return the name of the number of rows, (1,)."""
        if self.n_rows is None:
            self.n_rows = self.add("Shape", self.rows, start=0, end=1)
        return self.n_rows


def get_dtype(node):
    """Return the dtype of a node's result."""
    return node.meta["val"].dtype


def get_shape(node):
    """Return the shape of a node's result."""
    return tuple(node.meta["val"].shape)


def to_onnx_type(dtype):
    """Return ONNX's number of a dtype of torch."""
    array = torch.empty(0, dtype=dtype).numpy()
    return helper.np_dtype_to_tensor_dtype(array.dtype)


def find_common(*values):
    """Return the dtype in which values are compared."""
    found = [v.meta["val"] if isinstance(v, torch.fx.Node) else v for v in values]
    dtype = found[0].dtype
    for value in found[1:]:
        dtype = torch.result_type(torch.empty(1, dtype=dtype), _as_example(value))
    return dtype


def _as_example(value):
    if isinstance(value, torch.Tensor):
        return torch.empty((1,) * value.dim(), dtype=value.dtype)
    return value


def get_dim(dim, node):
    """Return a dimension of a node's result, from 0 on."""
    return dim % max(len(get_shape(node)), 1)


def get_fixed_dim(dim, node):
    """Return a dimension of a node's result, which is not that of the rows."""
    dim = get_dim(dim, node)
    if is_rows(get_shape(node)[dim]):
        raise UnknownOperatorError("places among the rows")
    return dim


def list_dims(dims, node):
    """Return dimensions of a node's result, from 0 on; none are all of them."""
    n_dims = len(get_shape(node))
    if dims is None or (isinstance(dims, (list, tuple)) and not dims):
        return list(range(n_dims))
    dims = [dims] if isinstance(dims, int) else dims
    return [dim % max(n_dims, 1) for dim in dims]
