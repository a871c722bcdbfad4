"""Every operator that is translated to ONNX computes what torch does."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from skvae.export import _onnx
from skvae.export._columns import ROWS, Nodes
from skvae.export._trace import trace
from skvae.export._translator import N_ROWS, OPERATORS, Translator

N_FEATURES = 6
DECOMPOSITIONS = _onnx.make_decompositions()
VALUES = torch.tensor([0.3, -0.7, 1.5, 30.0, -0.01, -40.0])


def translate(function, decompositions=DECOMPOSITIONS):
    """Return the overloads in the graph of a function of rows, and its file."""
    graph = trace(function, N_ROWS, N_FEATURES, decompositions)
    nodes = Nodes("v")
    found = Translator(nodes).run(graph, "X")
    nodes.add("Identity", found, output="found")
    opsets = [onnx.helper.make_opsetid("", _onnx.OPSET)]
    file = onnx.helper.make_graph(
        nodes.nodes,
        "function",
        [
            onnx.helper.make_tensor_value_info(
                "X", onnx.TensorProto.DOUBLE, [ROWS, N_FEATURES]
            )
        ],
        [onnx.helper.make_empty_tensor_value_info("found")],
        list(nodes.constants.values()),
    )
    model = onnx.helper.make_model(file, opset_imports=opsets, ir_version=8)
    return {node.target for node in graph.graph.nodes}, model


def make_rows(n_rows):
    """Return rows of both signs, large and small, without ties."""
    X = np.random.default_rng(0).normal(size=(n_rows, N_FEATURES))
    X[0] = VALUES
    return X


def run(model, X):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"X": X})[0]


def check(function, decompositions=DECOMPOSITIONS):
    """Compare a function with its file for several numbers of rows."""
    used, model = translate(function, decompositions)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for n_rows in (1, 2, 5):
        X = make_rows(n_rows)
        expected = function(torch.as_tensor(X))
        (found,) = session.run(None, {"X": X})
        assert found.shape == tuple(expected.shape)
        assert found.dtype == expected.numpy().dtype
        tolerance = 1e-6 if expected.dtype == torch.float32 else 1e-9
        np.testing.assert_allclose(
            found, expected.numpy(), rtol=tolerance, atol=tolerance
        )
    return used


@pytest.mark.parametrize("slope", [-0.5, 0.0, 0.01, 1.0, 2.5])
def test_leaky_relu_has_any_slope(slope):
    check(lambda x: F.leaky_relu(x, slope))


@pytest.mark.parametrize("beta", [-1.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("threshold", [0.5, 20])
def test_softplus_is_linear_above_its_threshold(beta, threshold):
    check(lambda x: F.softplus(x, beta, threshold))
