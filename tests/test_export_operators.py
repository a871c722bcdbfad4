"""Every operator that is translated to ONNX computes what torch does."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from skvae.export._row_count import N_ROWS, trace_rows
from skvae.export._trace import RowCountError, UnknownOperatorError, trace

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
files = pytest.importorskip("skvae.export._onnx")
columns = pytest.importorskip("skvae.export._columns")

N_FEATURES = 6
DECOMPOSITIONS = files.make_decompositions()
VALUES = torch.tensor([0.3, -0.7, 1.5, 30.0, -0.01, -40.0])


def translate(function, decompositions=DECOMPOSITIONS):
    """Return the overloads in the graph of a function of rows, and its file."""
    graph = trace(function, N_ROWS, N_FEATURES, decompositions)
    nodes = columns.Nodes("v")
    found = files.Translator(nodes).run(graph, "X")
    nodes.add("Identity", found, output="found")
    opsets = [onnx.helper.make_opsetid("", files.OPSET)]
    file = onnx.helper.make_graph(
        nodes.nodes,
        "function",
        [
            onnx.helper.make_tensor_value_info(
                "X", onnx.TensorProto.DOUBLE, [columns.ROWS, N_FEATURES]
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


def compute_by_size(x):
    """Return another multiple of many rows than of a few."""
    return x * 2 if x.shape[-2] > 100 else x * 3


@pytest.mark.parametrize(
    "function",
    [
        compute_by_size,
        lambda x: x / float(len(x)),
        lambda x: x * (1 / len(x)),
        lambda x: x[: min(len(x), 10)].sum(dim=0) + x,
        lambda x: torch.cat([x, x[:1] * 0])[:-1],
        lambda x: x.sqrt() if len(x) > 100 else x.exp(),
        lambda x: x + torch.full((N_FEATURES,), float(x.shape[0])),
    ],
)
def test_functions_that_depend_on_the_number_of_rows_are_refused(function):
    for decompositions in ({}, DECOMPOSITIONS):
        with pytest.raises(RowCountError):
            trace_rows(function, N_FEATURES, decompositions)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.split(600_000)[0],
        lambda x: x.split([1, len(x) - 1])[1],
        lambda x: x[-1],
        lambda x: x[-1:],
        lambda x: x[::2],
        lambda x: x.T[:, 3:],
        lambda x: x.flip(0),
        lambda x: x / x.shape[0],
        lambda x: x.reshape(-1)[1:],
        lambda x: torch.full((2,), len(x)),
        lambda x: (x @ x.T).diagonal(),
        lambda x: x * torch.arange(x.shape[0]).unsqueeze(-1),
    ],
)
def test_places_among_the_rows_are_refused(function):
    with pytest.raises(UnknownOperatorError):
        translate(function)


def test_sizes_that_follow_the_rows_are_the_same_graph():
    def function(x):
        pairs = x.reshape(-1, 2).expand(7, -1, 2).reshape(7 * len(x), -1)
        ones = torch.ones(len(x), 11) * torch.arange(11)
        return pairs.sum() + ones.sum(dim=-1) + x.mean(dim=0).sum()

    graph = trace_rows(function, N_FEATURES, DECOMPOSITIONS)
    assert len(graph.graph.nodes) > 5
