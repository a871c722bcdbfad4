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
special = pytest.importorskip("skvae.export._special")

N_FEATURES = 6
DECOMPOSITIONS = files.make_decompositions()
VALUES = [0.3, -0.7, 1.5, 30.0, -0.01, -40.0]


def make_model(graph):
    """Return the model of ONNX of a graph of torch."""
    nodes = columns.Nodes("v")
    found = files.Translator(nodes).run(graph, "X")
    nodes.add("Identity", found, output="found")
    helper, double = onnx.helper, onnx.TensorProto.DOUBLE
    shape = [columns.ROWS, N_FEATURES]
    file = helper.make_graph(
        nodes.nodes,
        "function",
        [helper.make_tensor_value_info("X", double, shape)],
        [helper.make_empty_tensor_value_info("found")],
        list(nodes.constants.values()),
    )
    opsets = [helper.make_opsetid("", files.OPSET)]
    return helper.make_model(file, opset_imports=opsets, ir_version=8)


def translate(function):
    """Return the model of a function of rows, and the operators of its graph."""
    graph = trace(function, N_ROWS, N_FEATURES, DECOMPOSITIONS)
    return make_model(graph), {node.target for node in graph.graph.nodes}


def make_rows(n_rows):
    """Return rows of both signs, large and small, without ties."""
    X = np.random.default_rng(0).normal(size=(n_rows, N_FEATURES))
    X[0] = VALUES
    return X


def assert_equal(model, function):
    """Compare a function with its model for several numbers of rows."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds_rows = bool(session.get_inputs())
    for n_rows in (1, 2, 5):
        X = make_rows(n_rows)
        expected = function(torch.as_tensor(X)).numpy()
        (found,) = session.run(None, {"X": X} if feeds_rows else {})
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        tolerance = 1e-5 if expected.dtype == np.float32 else 1e-9
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def check(function):
    """Compare a function with its model, and return the operators of its graph."""
    model, used = translate(function)
    assert_equal(model, function)
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


A = torch.ops.aten
GENERATOR = torch.Generator().manual_seed(0)
WEIGHT = torch.randn(N_FEATURES, 4, generator=GENERATOR, dtype=torch.float64)
OTHER = torch.tensor([0.3, 0.5, -1.5, 2.0, -0.01, 0.0], dtype=torch.float64)
EVEN = torch.tensor([True, False, True, False, True, False])
PLACES = torch.tensor([4, 0, 0, 2])


def make_images(x):
    """Return images of rows, ``(n, 2, 4, 6)`` float32."""
    pixels = x.unsqueeze(-1) * torch.arange(1, 9, dtype=x.dtype)
    return pixels.reshape(-1, 2, 4, 6).clamp(-9, 9).float()


def make_channels(n):
    """Return weights, shifts, means and variances of channels, float32."""
    generator = torch.Generator().manual_seed(n)
    return [torch.rand(n, generator=generator) + 0.5 for _ in range(4)]


def pair(packet, other=OTHER, scalar=0.3):
    """Return cases of an operator of two tensors, and of a tensor and a number."""
    return {
        packet.Tensor: [lambda x: packet.Tensor(x, other)],
        packet.Scalar: [
            lambda x: packet.Scalar(x, scalar),
            lambda x: packet.Scalar(x.float(), scalar),
        ],
    }


def unary(*packets, change=lambda x: x):
    """Return cases of operators of one tensor, in both precisions."""
    return {
        packet.default: [
            lambda x, op=packet.default: op(change(x)),
            lambda x, op=packet.default: op(change(x).float()),
        ]
        for packet in packets
    }


def logical(*overloads):
    """Return cases of operators of two tensors of booleans."""
    return {op: [lambda x, op=op: op(x > 0, EVEN)] for op in overloads}


def reduce(*overloads):
    """Return cases of operators along dimensions."""
    return {
        op: [
            lambda x, op=op: op(x, [1]),
            lambda x, op=op: op(x, [-1], True),
            lambda x, op=op: op(x.reshape(-1, 2, 3), [-1, 1]),
            lambda x, op=op: op(x.float(), [0]),
        ]
        for op in overloads
    }


def small(x):
    return x.clamp(-3, 3)


CASES = {
    **unary(A.neg, A.abs, A.tanh, A.sigmoid, A.relu, A.floor, A.ceil, A.sign),
    **unary(A.sin, A.cos, A.silu, A.reciprocal, A.alias, A.detach, A.clone),
    **unary(A.exp, A.expm1, change=small),
    **unary(A.log, A.sqrt, A.rsqrt, A.log1p, change=lambda x: x.abs() + 1e-9),
    **unary(A.round, change=lambda x: torch.cat([x, 0 * x + OTHER], dim=1)),
    A.erf.default: [lambda x: torch.erf(x.float())],
    A.atan.default: [lambda x: torch.atan(x.float())],
    A.isnan.default: [lambda x: A.isnan(x.log())],
    A.isinf.default: [lambda x: A.isinf(x.clamp(min=0).log())],
    A.logical_not.default: [lambda x: A.logical_not(x > 0), A.logical_not.default],
    A.bitwise_not.default: [lambda x: A.bitwise_not(x > 0)],
    A.softplus.default: [lambda x: F.softplus(x, 2.0, 3.0)],
    A.elu.default: [F.elu, lambda x: F.elu(x, 0.5), F.selu],
    A.celu.default: [F.celu, lambda x: F.celu(x, 0.5), lambda x: F.celu(x.float(), 2)],
    A.leaky_relu.default: [F.leaky_relu],
    A.gelu.default: [
        lambda x: F.gelu(x.float()),
        lambda x: F.gelu(x, approximate="tanh"),
    ],
    **pair(A.add),
    **pair(A.sub),
    **pair(A.mul),
    **pair(A.div, OTHER + 3),
    A.rsub.Scalar: [lambda x: A.rsub(x, 2.0), lambda x: A.rsub(x, 2.0, 3)],
    A.pow.Tensor_Scalar: [
        *(lambda x, p=p: (x.abs() + 0.1) ** p for p in (2, -2, 3, 0.5, -1, 0)),
        lambda x: x.float() ** 2,
        lambda x: x**3,
    ],
    A.pow.Tensor_Tensor: [lambda x: (x.abs() + 0.1) ** OTHER],
    A.maximum.default: [lambda x: torch.maximum(x, OTHER)],
    A.minimum.default: [lambda x: torch.minimum(x, OTHER)],
    A.logaddexp.default: [
        lambda x: torch.logaddexp(x, OTHER),
        lambda x: torch.logaddexp(30 * x, x[:, :1]),
    ],
    **pair(A.eq),
    **pair(A.ne),
    **pair(A.lt),
    **pair(A.le),
    **pair(A.gt),
    **pair(A.ge),
    **logical(A.logical_and.default, A.logical_or.default, A.logical_xor.default),
    **logical(A.bitwise_and.Tensor, A.bitwise_or.Tensor, A.bitwise_xor.Tensor),
    A.clamp.default: [
        lambda x: x.clamp(-1, 2),
        lambda x: x.clamp(min=0.5),
        lambda x: x.clamp(max=0.5),
    ],
    A.clamp.Tensor: [lambda x: x.clamp(OTHER, OTHER + 1)],
    A.clamp_min.default: [lambda x: A.clamp_min(x, 0.5)],
    A.clamp_min.Tensor: [lambda x: A.clamp_min(x, OTHER)],
    A.clamp_max.default: [lambda x: A.clamp_max(x, 0.5)],
    A.clamp_max.Tensor: [lambda x: A.clamp_max(x, OTHER)],
    A.where.self: [
        lambda x: torch.where(x > 0, x, OTHER),
        lambda x: torch.where(x > 0, 1.0, x),
        lambda x: torch.where(x > 0, x, 1.0),
    ],
    A.masked_fill.Scalar: [lambda x: x.masked_fill(EVEN, -2.0)],
    A.masked_fill.Tensor: [lambda x: x.masked_fill(x > 0, torch.tensor(2.0).double())],
    A._to_copy.default: [
        lambda x: x.float(),
        lambda x: x.long(),
        lambda x: (x > 0).double(),
        lambda x: x.bool(),
    ],
    # over several values
    **reduce(A.sum.dim_IntList, A.mean.dim, A.amax.default, A.amin.default),
    **reduce(A.logsumexp.default),
    A.sum.default: [A.sum.default, lambda x: (x > 0).sum()],
    A.mean.default: [A.mean.default],
    A.any.default: [lambda x: (x > 0).any()],
    A.any.dim: [lambda x: (x > 0).any(dim=1), lambda x: x.any(1, True)],
    A.any.dims: [lambda x: A.any.dims(x > 1, [0, 1])],
    A.all.default: [lambda x: (x > 0).all()],
    A.all.dim: [lambda x: (x > 0).all(dim=1), lambda x: x.all(1, True)],
    A.all.dims: [lambda x: A.all.dims(x > 1, [0, 1])],
    A.topk.default: [
        lambda x: x.topk(2).values,
        lambda x: x.topk(3, dim=1, largest=False).values,
        lambda x: x.topk(2, largest=False).indices,
    ],
    A.argmax.default: [
        lambda x: x.argmax(),
        lambda x: x.argmax(dim=-1),
        lambda x: x.argmax(dim=1, keepdim=True),
    ],
    A.cumsum.default: [lambda x: x.cumsum(1), lambda x: (x > 0).cumsum(-1)],
    A._softmax.default: [lambda x: x.softmax(-1), lambda x: x.float().softmax(1)],
    A._log_softmax.default: [lambda x: x.log_softmax(-1)],
    A.mm.default: [lambda x: x @ WEIGHT, lambda x: x.float() @ WEIGHT.float()],
    A.bmm.default: [lambda x: torch.bmm(x.expand(3, -1, -1), WEIGHT.expand(3, -1, -1))],
    A.addmm.default: [
        lambda x: torch.addmm(WEIGHT[0], x, WEIGHT),
        lambda x: torch.addmm(WEIGHT[0], x, WEIGHT, beta=0.5, alpha=2),
    ],
    A.baddbmm.default: [
        lambda x: torch.baddbmm(WEIGHT[:1], x[None], WEIGHT[None]),
        lambda x: torch.baddbmm(WEIGHT[:1], x[None], WEIGHT[None], beta=0.5, alpha=2),
    ],
    A.convolution.default: [
        lambda x: F.conv2d(make_images(x), torch.ones(3, 2, 2, 3), torch.ones(3)),
        lambda x: F.conv2d(make_images(x), torch.ones(3, 2, 2, 3), None, 2, 1, 2),
        lambda x: F.conv2d(make_images(x), torch.ones(4, 1, 3, 3), groups=2),
        lambda x: F.conv2d(make_images(x), torch.ones(3, 2, 2, 2), padding=(0, 1)),
        lambda x: F.conv1d(make_images(x)[:, 0], torch.ones(3, 4, 3), padding=1),
        lambda x: F.conv_transpose2d(
            make_images(x), torch.ones(2, 3, 3, 3), None, 2, 1, 1
        ),
        lambda x: F.conv_transpose2d(
            make_images(x), torch.ones(2, 2, 3, 3), torch.ones(4), 3, 1, 2, 2
        ),
    ],
    A.native_layer_norm.default: [
        lambda x: F.layer_norm(x, [6], OTHER, OTHER + 1, 1e-3),
        lambda x: F.layer_norm(x, [6]),
        lambda x: F.layer_norm(x.float(), [6], OTHER.float()),
        lambda x: F.layer_norm(x, [6], None, OTHER),
        lambda x: F.layer_norm(make_images(x), [4, 6]),
    ],
    A._native_batch_norm_legit_no_training.default: [
        lambda x: A._native_batch_norm_legit_no_training(
            x.float(), *make_channels(6), 0.1, 1e-3
        )[0],
        lambda x: A._native_batch_norm_legit_no_training(
            make_images(x), None, None, *make_channels(2)[2:], 0.1, 1e-5
        )[0],
    ],
    A.native_batch_norm.default: [
        lambda x: A.native_batch_norm(x.float(), *make_channels(6), False, 0.1, 1e-3)[0]
    ],
    A.max_pool2d_with_indices.default: [
        lambda x: F.max_pool2d(make_images(x), 2),
        lambda x: F.max_pool2d(make_images(x), (2, 3), 1, (1, 0)),
        lambda x: F.max_pool2d(make_images(x), 2, 2, 1),
        lambda x: F.max_pool2d(make_images(x), 3, 2, 1, ceil_mode=True),
        lambda x: F.max_pool2d(make_images(x), 3, 3, ceil_mode=True),
        lambda x: F.max_pool2d(make_images(x), 2, 1, 0, 2),
    ],
    A.avg_pool2d.default: [
        lambda x: F.avg_pool2d(make_images(x), 2),
        lambda x: F.avg_pool2d(make_images(x), (2, 3), 1, (1, 0)),
        lambda x: F.avg_pool2d(make_images(x), 3, 2, 1, False, False),
        lambda x: F.avg_pool2d(make_images(x), 3, 2, 1, True, True),
        lambda x: F.avg_pool2d(make_images(x), 3, 2, 1, True, False),
        lambda x: F.avg_pool2d(make_images(x), 3, 3, 0, True),
    ],
    # places and shapes
    A.view.default: [
        lambda x: x.view(-1, 2, 3),
        lambda x: x.view(x.shape),
        lambda x: x.mT.reshape(3, 2, -1),
    ],
    A._unsafe_view.default: [lambda x: A._unsafe_view(x, [-1, 3])],
    A.expand.default: [
        lambda x: x[:, None].expand(-1, 3, -1),
        lambda x: x.expand(2, -1, -1),
        lambda x: OTHER.expand(len(x), -1),
    ],
    A.unsqueeze.default: [lambda x: x.unsqueeze(0), lambda x: x.unsqueeze(-1)],
    A.squeeze.dim: [lambda x: x[:, :1].squeeze(1), lambda x: x.squeeze(1)],
    A.squeeze.dims: [lambda x: A.squeeze.dims(x[None, :, None], [0, 2])],
    A.transpose.int: [
        lambda x: x.transpose(0, 1),
        lambda x: x.reshape(-1, 2, 3).transpose(-1, -2),
    ],
    A.t.default: [A.t.default, lambda x: A.t(x[:, 0])],
    A.permute.default: [lambda x: x.reshape(-1, 2, 3).permute(1, -1, 0)],
    A.cat.default: [
        lambda x: torch.cat([x, OTHER.expand(len(x), -1)], dim=-1),
        lambda x: torch.cat([torch.zeros(0).double(), x, x], dim=0),
        lambda x: torch.cat([x, x.float()], dim=1),
    ],
    A.stack.default: [
        lambda x: torch.stack([x, x + 1], dim=-1),
        lambda x: torch.stack([x, x + 1]),
        lambda x: torch.stack([x[:, 0], x[:, 1]], dim=1),
    ],
    A.split_with_sizes.default: [lambda x: x.split([1, 2, 3], dim=-1)[1]],
    A.split.Tensor: [lambda x: x.split(4, dim=1)[1], lambda x: x.chunk(2, -1)[1]],
    A.unbind.int: [lambda x: x.unbind(1)[2] - x.unbind(-1)[0]],
    A.select.int: [lambda x: x[:, 2], lambda x: x[:, -1]],
    A.slice.Tensor: [
        lambda x: x[:, 1:4],
        lambda x: x[:, -3:-1],
        lambda x: x[:, ::2],
        lambda x: x[:, 1:99:3],
        lambda x: x[..., 3:3],
    ],
    A.slice_scatter.default: [
        lambda x: torch.slice_scatter(x, x[:, :2] * 2, 1, 1, 3),
        lambda x: torch.slice_scatter(x, x * 2, 1),
        lambda x: torch.slice_scatter(x, x[:, :2] * 2, 1, -2),
    ],
    A.select_scatter.default: [
        lambda x: torch.select_scatter(x, x[:, 1] * 2, 1, 0),
        lambda x: torch.select_scatter(x, x[:, 1] * 2, -1, -1),
        lambda x: torch.select_scatter(x, x[:, 1] * 2, 1, 3),
    ],
    A.copy.default: [lambda x: A.copy(x, x * 2), lambda x: A.copy(x, OTHER.float())],
    A.index_select.default: [lambda x: x.index_select(1, PLACES)],
    A.embedding.default: [lambda x: F.embedding(x.abs().clamp(max=3).long(), WEIGHT)],
    A.take.default: [
        lambda x: WEIGHT.take(x.abs().clamp(max=23).long()),
        lambda x: WEIGHT.take(-1 - x.abs().clamp(max=23).long()),
    ],
    A.gather.default: [
        lambda x: x.gather(1, x.abs().clamp(max=5).long()),
        lambda x: x.gather(1, x[:, :2].abs().clamp(max=5).long()),
    ],
    A.index.Tensor: [
        lambda x: x[:, PLACES],
        lambda x: x[:, -PLACES],
        lambda x: WEIGHT[x.abs().clamp(max=5).long()],
        lambda x: x[:, PLACES.reshape(2, 2)],
        lambda x: x.reshape(-1, 2, 3)[:, :, PLACES % 3],
    ],
    A.index_put.default: [
        lambda x: put_in_matrix(x, [0, 2, 1], [1, 0, 2]),
        lambda x: put_in_matrix(x, [0, -1, 1], [-1, 0, 2]),
    ],
    A.flip.default: [lambda x: x.flip(1), lambda x: x.reshape(-1, 2, 3).flip(1, -1)],
    A.diagonal.default: [
        lambda x: (x[:, :, None] * OTHER).diagonal(0, -2, -1),
        lambda x: (x[:, :, None] * OTHER).diagonal(0, 2, 1),
    ],
    A.tril.default: [
        lambda x: (x[:, :, None] * OTHER).tril(),
        lambda x: (x[:, :, None] * OTHER).tril(-1),
    ],
    A.triu.default: [
        lambda x: (x[:, :, None] * OTHER).triu(),
        lambda x: (x[:, :, None] * OTHER).triu(1),
    ],
    A.constant_pad_nd.default: [
        lambda x: F.pad(x, (1, 2), value=3.0),
        lambda x: F.pad(x, (-1, 2)),
        lambda x: F.pad(x.reshape(-1, 2, 3), (0, 1, 2, 0)),
    ],
    A.new_zeros.default: [lambda x: x.new_zeros(len(x), 2)],
    A.zeros.default: [lambda x: torch.zeros(2, len(x))],
    A.zeros_like.default: [torch.zeros_like],
    A.empty.memory_format: [lambda x: torch.empty(len(x), 3).fill_(2.0)],
    A.empty_permuted.default: [
        lambda x: A.empty_permuted(list(x.shape), [1, 0]).fill_(2.0)
    ],
    A.empty_like.default: [lambda x: torch.empty_like(x).copy_(x)],
    A.new_empty.default: [lambda x: x.new_empty(len(x), 2).fill_(1.0)],
    A.new_ones.default: [lambda x: x.new_ones(len(x), 2)],
    A.ones.default: [lambda x: torch.ones(2, len(x), dtype=torch.int64)],
    A.ones_like.default: [torch.ones_like, lambda x: torch.ones_like(x > 0)],
    A.new_full.default: [lambda x: x.new_full((len(x), 2), 3)],
    A.full_like.default: [
        lambda x: torch.full_like(x, 3),
        lambda x: torch.full_like(x, 2.5, dtype=torch.float32),
    ],
    A.full.default: [lambda x: torch.full((len(x), 2), 2.5)],
}


def put_in_matrix(x, row, column):
    """Return matrices (2, 3) of rows in another one at given places."""
    matrix = x.reshape(-1, 2, 3)[:, :1] * torch.ones(3, 1).double()
    places = None, torch.tensor(row), torch.tensor(column)
    return A.index_put(matrix, places, x[:, :3] * 5)


def make_cases():
    for operator, functions in CASES.items():
        for number, function in enumerate(functions):
            yield pytest.param(operator, function, id=f"{operator}-{number}")


# arguments of what no graph has as a rule: torch traces others, or computes constants
UNSEEN = {
    A.arange.default: lambda x: [6],
    A.arange.start: lambda x: [1, 7],
    A.arange.start_step: lambda x: [0, 12, 2],
    A.dropout.default: lambda x: [x, 0.5, False],
    A.lift_fresh_copy.default: lambda x: [x],
    A.reshape.default: lambda x: [x, [3, 2, -1]],
    A.scalar_tensor.default: lambda x: [2.0],
    A.where.ScalarOther: lambda x: [EVEN, x, 1.0],
    A.where.ScalarSelf: lambda x: [EVEN, 1.0, x],
}


def test_special_functions_have_the_digits_of_torch():
    x = torch.cat([torch.linspace(-60, 60, 4001), torch.logspace(-8, 7, 300)]).double()
    expected = torch.special.i0e(x)
    torch.testing.assert_close(special.i0e(x), expected, rtol=1e-13, atol=0)
    size = x[x > -20]
    expected = torch.special.erfcx(size)
    torch.testing.assert_close(special.erfcx(size), expected, rtol=1e-12, atol=0)
    y = torch.cat([x.flip(0)[:-2], torch.zeros(2)]).double()
    expected = torch.atan2(y, x)
    torch.testing.assert_close(special.atan2(y, x), expected, rtol=1e-13, atol=1e-15)


def test_every_operator_has_a_case():
    assert set(files.OPERATORS) == set(CASES) | set(UNSEEN)


@pytest.mark.parametrize("operator", UNSEEN, ids=str)
def test_operator_without_a_graph_computes_what_torch_does(operator):
    graph = torch.fx.Graph()
    rows = graph.placeholder("X")
    # a matrix of one number in memory
    empty = torch.zeros((), dtype=torch.float64).expand(N_ROWS, N_FEATURES)
    rows.meta["val"] = empty
    arguments = UNSEEN[operator]
    found = graph.call_function(operator, tuple(arguments(rows)))
    found.meta["val"] = operator(*arguments(empty))
    graph.output(found)
    model = make_model(torch.fx.GraphModule({}, graph))
    assert_equal(model, lambda x: operator(*arguments(x)))


@pytest.mark.parametrize(("operator", "function"), list(make_cases()))
def test_operator_computes_what_torch_does(operator, function):
    used = check(function)
    assert operator in used


MATRIX = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)


def join_products(x):
    """Return matrices of rows and their values, beside their products."""
    products = torch.tanh(x.reshape(-1, 3) @ MATRIX)
    return torch.cat([x.reshape(-1, 2, 3), products.reshape(-1, 2, 4)], dim=-1)


@pytest.mark.parametrize(
    ("function", "n_reshaped"),
    [
        (lambda x: F.silu(x.reshape(-1, 2, 3)).reshape(-1, 6), 0),
        (lambda x: x.reshape(-1, 2, 3).exp(), 1),
        (lambda x: x.reshape(-1, 2, 3).float().clamp(-1, 2).reshape(-1, 6), 0),
        (lambda x: x.reshape(-1, 3, 2).reshape(-1, 2, 3).reshape(-1, 6), 0),
        (lambda x: x.reshape(-1, 2, 3)[:, 1], 0),
        (lambda x: x.reshape(-1, 3, 2)[:, 1].exp(), 0),
        (lambda x: x.reshape(-1, 3, 2)[:, :, 1], 1),
        (lambda x: x.reshape(-1, 1, 6)[:, 0] + x, 0),
        (lambda x: x.reshape(-1, 2, 3, 1)[:, 1], 1),
        (lambda x: torch.stack((2 * x).reshape(-1, 2, 3).unbind(1)[::-1]), 0),
        (lambda x: torch.stack((2 * x).reshape(-1, 2, 3).unbind(2)), 1),
        (lambda x: torch.mul(*[x.reshape(-1, 2, 3)] * 2).reshape(-1, 6), 0),
        (lambda x: x.reshape(-1, 2, 3) * x[:, :3].unsqueeze(1), 1),
        (lambda x: join_products(x).reshape(-1, 14), 2),
        (lambda x: join_products(x) @ torch.ones(7, 2).double(), 2),
        (lambda x: (x.reshape(-1, 2, 3).exp() + 1) @ MATRIX, 2),
        (lambda x: (x.reshape(-1, 2, 3) + x[:, :3].unsqueeze(1)) @ MATRIX, 1),
        (lambda x: x.index_select(1, torch.arange(6)), 0),
        (lambda x: x.index_select(1, torch.arange(6).flip(0)), 0),
        (lambda x: x.index_select(1, torch.arange(5)), 0),
    ],
)
def test_values_are_reshaped_where_they_have_to_be(function, n_reshaped):
    model, _ = translate(function)
    assert_equal(model, function)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Reshape") == n_reshaped
