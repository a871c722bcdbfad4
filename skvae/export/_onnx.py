"""A method of an estimator as a file of ONNX: columns in, graph of the model, out."""

import json

import onnx
from onnx import helper
from torch._decomp import core_aten_decompositions

from .._utils._files import find_place, write_bytes

# they register translations of operators
from . import _elementwise, _reductions, _shapes  # noqa: F401
from ._columns import ROWS, FrameColumns, MatrixColumns, Nodes
from ._graph import make_function, make_reader
from ._operators import DECOMPOSITIONS
from ._row_count import trace_rows
from ._trace import refusing
from ._translator import OPERATORS, Translator

# that of the operators which torch translates to; onnxruntime has it from 1.14 on
OPSET, OPSET_ML = 18, 3
# what a method returns, and its shape beside the rows
_TYPES = {
    "transform": onnx.TensorProto.FLOAT,
    "score_samples": onnx.TensorProto.DOUBLE,
    "decision_function": onnx.TensorProto.DOUBLE,
    "predict": onnx.TensorProto.INT64,
}


def make_decompositions():
    """Return what takes the place of operators without a translation."""
    known = core_aten_decompositions().items()
    others = {name: function for name, function in known if name not in OPERATORS}
    return others | DECOMPOSITIONS


def make_model(estimator, method, score_method, missing):
    """Return the `onnx.ModelProto` of a method."""
    columns = estimator.columns_
    if columns.container == "array" and columns.dtype != object:
        layout = MatrixColumns(columns)
    else:
        layout = FrameColumns(columns, estimator._marks_unknown)
    taken = {info.name for info in layout.make_inputs()}
    nodes = Nodes(find_free("v", lambda name: any(t.startswith(name) for t in taken)))
    rows = layout.read(nodes)
    found = add_method(nodes, rows, estimator, method, score_method, missing)
    output = find_free(method, lambda name: any(t.startswith(name) for t in taken))
    if method == "reconstruct":
        outputs = layout.write(nodes, found, output)
    else:
        nodes.add("Identity", found, output=output)
        shape = [ROWS]
        if method == "transform":
            shape.append(estimator._n_features_out)
        outputs = [helper.make_tensor_value_info(output, _TYPES[method], shape)]
    constants = list(nodes.constants.values())
    graph = helper.make_graph(
        nodes.nodes, "skvae", layout.make_inputs(), outputs, constants
    )
    versions = {"": OPSET, "ai.onnx.ml": OPSET_ML}
    opsets = [helper.make_opsetid(*each) for each in versions.items()]
    least = helper.find_min_ir_version_for(opsets)
    return helper.make_model(
        graph, opset_imports=opsets, ir_version=least, producer_name="skvae"
    )


def find_free(name, is_taken):
    """Return a name that is not taken: itself, or with underscores behind it."""
    while is_taken(name):
        name += "_"
    return name


def add_method(nodes, rows, estimator, method, score_method, missing):
    """Add nodes that compute a method of a matrix of rows; return the output's name."""

    def translate(nodes, function, has_missing):
        n_features = len(estimator.columns_.kinds)
        with refusing(estimator, method, has_missing):
            graph = trace_rows(function, n_features, make_decompositions())
            return Translator(nodes).run(graph, rows)

    def translate_method(nodes, has_missing):
        function = make_function(estimator, method, score_method, has_missing)
        return translate(nodes, function, has_missing)

    if not missing:
        return translate_method(nodes, False)
    branches = {}
    for name, has_missing in (("then_branch", True), ("else_branch", False)):
        branch = nodes.make_branch()
        output = translate_method(branch, has_missing)
        info = helper.make_empty_tensor_value_info(output)
        branches[name] = helper.make_graph(branch.nodes, name, [], [info])
    # unknown levels become missing ones
    hide = make_reader(estimator)
    seen = rows if hide is None else translate(nodes, hide, True)
    # the sum is NaN where a value is
    total = nodes.add("ReduceSum", seen, keepdims=0)
    return nodes.add("If", nodes.add("IsNaN", total), **branches)


def describe(model, estimator, method, score_method, versions):
    """Write what a user of the file wants to know into its metadata."""
    columns = estimator.columns_
    names = columns.names
    if names is None:
        names = [f"x{j}" for j in range(len(columns.kinds))]
    known = {
        "estimator": type(estimator).__name__,
        "method": method,
        "feature_names_in": json.dumps([str(name) for name in names]),
        **{f"{name}_version": version for name, version in versions.items()},
    }
    if method == "transform":
        out = estimator.get_feature_names_out()
        known["feature_names_out"] = json.dumps(list(out))
    if method in ("score_samples", "decision_function", "predict"):
        known["score_method"] = score_method
        known["n_draws"] = str(estimator.n_draws_)
    helper.set_model_props(model, known)
    model.producer_version = versions["skvae"]


def write_method(estimator, path, method, score_method, missing, versions):
    """Return the model of a method, checked, and write it into a file."""
    place = None if path is None else find_place(path)
    model = make_model(estimator, method, score_method, missing)
    describe(model, estimator, method, score_method, versions)
    onnx.checker.check_model(model, full_check=True)
    if place is not None:
        write_bytes(place, model.SerializeToString())
    return model
