"""The estimators as steps of pipelines that skl2onnx converts."""

import sys

import numpy as np
import onnx
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import (
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from sklearn.base import OutlierMixin

from .._columns._kinds import Category
from .._estimator import VAETransformer
from ._columns import FrameColumns, Nodes
from ._onnx import OPSET, OPSET_ML, add_method
from ._public import check_method

_METHODS = ("transform", "score_samples")


def register():
    """Tell skl2onnx how both estimators are converted."""
    # a name of the package: rooms side by side do not import one another
    detector = sys.modules[__package__.split(".")[0]].VAEOutlierDetector
    for estimator, options in (
        (VAETransformer, {"method": list(_METHODS)}),
        (detector, None),
    ):
        update_registered_converter(
            estimator,
            f"Skvae{estimator.__name__}",
            _find_shapes,
            _convert,
            options=options,
        )


def _find_shapes(operator):
    """Set the types of the outputs: numbers have the precision of the input."""
    estimator, given = operator.raw_operator, operator.inputs[0].type
    is_double = isinstance(given, DoubleTensorType)
    kind = DoubleTensorType if is_double else FloatTensorType
    n_rows = operator.inputs[0].get_first_dimension()
    if isinstance(estimator, OutlierMixin):
        label, scores = operator.outputs
        label.type, scores.type = Int64TensorType([n_rows]), kind([n_rows])
        return
    width = [estimator._n_features_out]
    if _get_method(operator) == "score_samples":
        width = []
    operator.outputs[0].type = kind([n_rows, *width])


def _get_method(operator, container=None):
    scope = container or operator.scope_inst
    options = scope.get_options(operator.raw_operator, {"method": "transform"})
    return options["method"]


def _convert(scope, operator, container):
    """Add the nodes of an estimator to those of the pipeline."""
    estimator = operator.raw_operator
    opset = container.target_opset_any_domain("")
    if opset < OPSET:
        raise ValueError(
            f"target_opset={opset} lacks operators of {type(estimator).__name__}; set "
            f"target_opset={OPSET} or more."
        )
    nodes = Nodes(scope.get_unique_variable_name("skvae") + "_")
    rows = _read(operator, nodes)
    is_detector = isinstance(estimator, OutlierMixin)
    method = "decision_function" if is_detector else _get_method(operator, container)
    score_method = check_method(estimator, method)
    found = [add_method(nodes, rows, estimator, method, score_method, True)]
    if is_detector:
        # as in `predict`: NaN, a row without a score, counts as an outlier
        is_inlier = nodes.add("GreaterOrEqual", found[0], nodes.constant(0.0))
        signs = nodes.constant(np.int64(1)), nodes.constant(np.int64(-1))
        found.insert(0, nodes.add("Where", is_inlier, *signs))
    for name, output in zip(found, operator.outputs, strict=True):
        kind = output.type.to_onnx_type().tensor_type.elem_type
        nodes.add("Cast", name, to=kind, output=output.full_name)
    container.nodes.extend(nodes.nodes)
    container.initializers.extend(nodes.constants.values())
    container.node_domain_version_pair_sets |= {("", OPSET), ("ai.onnx.ml", OPSET_ML)}


def _list_widths(operator):
    """Return the number of columns of every input; refuse those of other tables."""
    estimator, inputs = operator.raw_operator, operator.inputs
    name, n_features = type(estimator).__name__, estimator.n_features_in_
    shapes = [given.type.shape for given in inputs]
    if any(len(shape) != 2 for shape in shapes):
        raise ValueError(
            f"{name} takes inputs (n_samples, n_columns) in a pipeline, not {shapes}; "
            "flatten images first, or use skvae.export.to_onnx."
        )
    widths = [shape[1] for shape in shapes]
    if widths == [None]:
        return [n_features]
    if None in widths or sum(widths) != n_features:
        raise ValueError(
            f"{name} was fitted to {n_features} columns, but the initial types have "
            f"{widths}."
        )
    return widths


def _read(operator, nodes):
    """Add nodes that make a matrix of the inputs of an operator."""
    estimator = operator.raw_operator
    columns, cells, first = estimator.columns_, [], 0
    layout = FrameColumns(columns, estimator._marks_unknown)
    for given, width in zip(operator.inputs, _list_widths(operator), strict=True):
        name = given.full_name
        kinds = columns.kinds[first : first + width]
        coded = [kind for kind in kinds if isinstance(kind, Category)]
        is_string = isinstance(given.type, StringTensorType)
        if (coded or is_string) and width != 1:
            raise ValueError(
                f"Input {given.raw_name!r} of {type(estimator).__name__} has {width} "
                "columns, but columns of categories must be inputs of their own; give "
                "every column of the data frame an initial type."
            )
        if is_string and not coded:
            raise ValueError(
                f"Input {given.raw_name!r} of {type(estimator).__name__} is of "
                "strings, but its column was one of numbers."
            )
        if is_string:
            cells.append(layout.read_strings(nodes, name, kinds[0].levels))
        else:
            name = nodes.add("Cast", name, to=onnx.TensorProto.DOUBLE)
            if coded:
                name = layout.read_levels(nodes, name, kinds[0].levels)
            cells.append(name)
        first += width
    return cells[0] if len(cells) == 1 else nodes.add("Concat", *cells, axis=1)
