"""Columns of the user ↔ one matrix of numbers and codes, as nodes of ONNX.

Arrays have one input and one output. Data frames have one for each column, as in
skl2onnx: numbers, booleans, or strings.
"""

import itertools

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from .._columns._checks import capitalize, label_column
from .._columns._containers import get_precision
from .._columns._kinds import Boolean, Category, Integer, Number
from .._columns._times import Time
from ._graph import UNKNOWN

ROWS = "n_samples"
# strings that stand for a missing value: ONNX has none
MISSING_STRINGS = ("", "nan", "NaN", "None", "<NA>", "null")
# from here on not every integer is a float
_MAX_INTEGER = 2**53
_DOUBLE, _INT64, _BOOL = TensorProto.DOUBLE, TensorProto.INT64, TensorProto.BOOL


class Nodes:
    """Nodes and constants of a graph as it is built."""

    def __init__(self, prefix=""):
        self.prefix, self.nodes, self.counter = prefix, [], itertools.count()
        # by what they are, since equal ones are kept once
        self.constants = {}
        # of the nodes of this graph, by their outputs
        self.kinds = {}

    def make_branch(self):
        """Return the nodes of a graph inside this one, which has the constants."""
        branch = Nodes(self.prefix)
        branch.counter, branch.constants = self.counter, self.constants
        return branch

    def name(self):
        """Return a name that no other value has."""
        return f"{self.prefix}{next(self.counter)}"

    def constant(self, value):
        """Return the name of a constant, an array."""
        value = np.asarray(value)
        key = value.dtype.str, value.shape, value.tobytes()
        if key not in self.constants:
            tensor = numpy_helper.from_array(value, self.name())
            self.constants[key] = tensor
        return self.constants[key].name

    def add(self, kind, *inputs, output=None, **attributes):
        """Return the name of the output of a new node."""
        output = output or self.name()
        self._append(kind, inputs, [output], attributes)
        return output

    def add_many(self, kind, *inputs, n_outputs, **attributes):
        """Return the names of the outputs of a new node."""
        outputs = [self.name() for _ in range(n_outputs)]
        self._append(kind, inputs, outputs, attributes)
        return outputs

    def _append(self, kind, inputs, outputs, attributes):
        self.kinds |= dict.fromkeys(outputs, kind)
        # onnxruntime 1.19 takes two nodes without names for one
        name = f"{outputs[0]}_{kind}"
        self.nodes.append(helper.make_node(kind, inputs, outputs, name, **attributes))


class MatrixColumns:
    """Columns of an array: one input X, and one output."""

    def __init__(self, columns):
        self.columns, self.n_features = columns, len(columns.kinds)
        self.dtype = helper.np_dtype_to_tensor_dtype(columns.dtype)
        shape = [self.n_features]
        if columns.is_stack:
            shape = list(columns.image_shape)
        self.shape = [ROWS, *shape]

    def make_inputs(self):
        """Return what describes the inputs."""
        return [helper.make_tensor_value_info("X", self.dtype, self.shape)]

    def read(self, nodes):
        """Add nodes that make a matrix (n, n_features) of the inputs."""
        name = "X"
        if self.columns.is_stack:
            name = nodes.add("Reshape", name, nodes.constant([-1, self.n_features]))
        if self.dtype != _DOUBLE:
            name = nodes.add("Cast", name, to=_DOUBLE)
        return name

    def write(self, nodes, name, output):
        """Add nodes that make outputs of a matrix, and return what describes them."""
        dtype = np.dtype(self.columns.dtype)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            name = _round(nodes, name, limits.min, limits.max)
        if self.columns.is_stack:
            shape = nodes.constant([-1, *self.columns.image_shape])
            name = nodes.add("Reshape", name, shape)
        nodes.add("Cast", name, to=self.dtype, output=output)
        return [helper.make_tensor_value_info(output, self.dtype, self.shape)]


class FrameColumns:
    """Columns of a data frame: an input and an output for each, by name."""

    def __init__(self, columns, marks_unknown):
        self.kinds, self.marks_unknown = columns.kinds, marks_unknown
        names = columns.names
        if names is None:
            names = [f"x{j}" for j in range(len(self.kinds))]
        self.names = [str(name) for name in names]
        labels = [label_column(j, columns.names) for j in range(len(self.kinds))]
        is_complete = columns.observed_share == 1
        self.types = [
            find_type(*each)
            for each in zip(self.kinds, is_complete, labels, strict=True)
        ]

    def make_inputs(self):
        """Return what describes the inputs."""
        return [
            helper.make_tensor_value_info(name, type_, [ROWS, 1])
            for name, type_ in zip(self.names, self.types, strict=True)
        ]

    def read(self, nodes):
        """Add nodes that make a matrix (n, n_features) of the inputs."""
        cells = []
        for name, kind, type_ in zip(self.names, self.kinds, self.types, strict=True):
            if type_ == TensorProto.STRING:
                cells.append(self.read_strings(nodes, name, kind.levels))
                continue
            if type_ != _DOUBLE:
                name = nodes.add("Cast", name, to=_DOUBLE)
            if isinstance(kind, Category):
                name = self.read_levels(nodes, name, kind.levels)
            cells.append(name)
        return nodes.add("Concat", *cells, axis=1)

    def read_strings(self, nodes, name, levels):
        """Add nodes that make codes of a column of strings."""
        others = []
        if self.marks_unknown:
            others = [text for text in MISSING_STRINGS if text not in levels]
        # a missing value is NaN, another level is NaN too or UNKNOWN
        code = nodes.add(
            "LabelEncoder",
            name,
            domain="ai.onnx.ml",
            keys_strings=[*levels, *others],
            values_floats=[*map(float, range(len(levels))), *[np.nan] * len(others)],
            default_float=UNKNOWN if self.marks_unknown else np.nan,
        )
        return nodes.add("Cast", code, to=_DOUBLE)

    def read_levels(self, nodes, name, levels):
        """Add nodes that make codes of a column of numbers that are levels."""
        values = nodes.constant(np.array([levels], dtype=float))
        is_level = nodes.add("Cast", nodes.add("Equal", name, values), to=_DOUBLE)
        # 1, 2, ... and 0 for another one
        numbers = np.arange(1.0, len(levels) + 1)[:, None]
        number = nodes.add("MatMul", is_level, nodes.constant(numbers))
        code = nodes.add("Sub", number, nodes.constant(1.0))
        is_hidden = nodes.add("IsNaN", name)
        if not self.marks_unknown:
            unknown = nodes.add("Less", code, nodes.constant(0.0))
            is_hidden = nodes.add("Or", is_hidden, unknown)
        return nodes.add("Where", is_hidden, nodes.constant(np.nan), code)

    def write(self, nodes, name, output):
        """Add nodes that make outputs of a matrix, and return what describes them."""
        n = len(self.names)
        parts = nodes.add_many("Split", name, n_outputs=n, axis=1, num_outputs=n)
        infos = []
        for part, name, kind, type_ in zip(
            parts, self.names, self.kinds, self.types, strict=True
        ):
            target = f"{output}_{name}"
            type_ = _write_column(nodes, part, kind, type_, target)
            infos.append(helper.make_tensor_value_info(target, type_, [ROWS, 1]))
        return infos


def find_type(kind, is_complete, label):
    """Return the type of the tensor that has a column.

    Integers and booleans have no missing values in ONNX: if they have any at fit, or a
    dtype for it, they are floats.
    """
    if isinstance(kind, Category):
        levels = kind.levels
        if all(isinstance(level, str) for level in levels):
            return TensorProto.STRING
        if not all(isinstance(level, (bool, int, float)) for level in levels):
            level = next(v for v in levels if not isinstance(v, (bool, int, float)))
            raise ValueError(
                f"{capitalize(label)} has the level {level!r} of type "
                f"{type(level).__name__}, but levels in ONNX are strings, or all are "
                "numbers; convert the column with astype(str) before fit."
            )
        return _DOUBLE
    if isinstance(kind, Time):
        raise ValueError(
            f"{capitalize(label)} has {kind.name}s, but ONNX has no type for them; fit "
            "numbers instead, such as days since a date."
        )
    if isinstance(kind, Boolean):
        return _BOOL if is_complete and _has_no_missing(kind.dtype) else _DOUBLE
    if isinstance(kind, Integer):
        return _INT64 if is_complete and _has_no_missing(kind.dtype) else _DOUBLE
    is_double = get_precision(kind.dtype) == np.float64
    return _DOUBLE if is_double else TensorProto.FLOAT


def _has_no_missing(dtype):
    """Return whether a column of a dtype without missing values is plain in numpy."""
    return isinstance(dtype, np.dtype) or type(dtype).__module__.startswith("polars")


def _round(nodes, name, low, high):
    """Add nodes that round to integers in a range."""
    low, high = float(low), float(high)
    if high > _MAX_INTEGER:
        # 2^63 is not an int64: take the next smaller float
        high = np.nextafter(high, 0)
    name = nodes.add("Round", name)
    return nodes.add("Clip", name, nodes.constant(low), nodes.constant(high))


def _write_column(nodes, name, kind, type_, target):
    """Add nodes that decode a column, and return the type of the tensor."""
    if isinstance(kind, Boolean):
        nodes.add("GreaterOrEqual", name, nodes.constant(0.5), output=target)
        return _BOOL
    if isinstance(kind, Category):
        code = _round(nodes, name, 0, max(kind.n_levels - 1, 0))
        code = nodes.add("Cast", code, to=_INT64)
        if type_ == TensorProto.STRING:
            keys, values = list(range(kind.n_levels)), kind.levels
            encode = {"keys_int64s": keys, "values_strings": values}
            nodes.add(
                "LabelEncoder", code, output=target, domain="ai.onnx.ml", **encode
            )
            return type_
        levels = nodes.constant(np.array(kind.levels, dtype=float))
        nodes.add("Gather", levels, code, output=target)
        return _DOUBLE
    if isinstance(kind, Integer):
        limits = np.iinfo(np.int64)
        name = _round(nodes, name, limits.min, limits.max)
        nodes.add("Cast", name, to=_INT64, output=target)
        return _INT64
    if isinstance(kind, Number) and kind.scale is not None:
        unit = nodes.constant(10.0**kind.scale)
        name = nodes.add("Round", nodes.add("Mul", name, unit))
        nodes.add("Div", name, unit, output=target)
        return _DOUBLE
    nodes.add("Cast", name, to=type_, output=target)
    return type_
