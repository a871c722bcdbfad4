"""Programs compute again what the recorded function computes."""

import math
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from skvae._replay import NotRepeatableError, record
from skvae._replay._builder import RULES
from skvae._replay._calls import get_schema

LIBRARIES = {"numpy": True, "torch": False}
TOLERANCES = {torch.float64: 1e-10, torch.float32: 2e-4}

pytestmark = pytest.mark.filterwarnings("ignore:Using a non-full backward hook")


@pytest.fixture(params=LIBRARIES)
def uses_numpy(request):
    return LIBRARIES[request.param]


def assert_same(found, expected):
    tolerance = TOLERANCES.get(expected.dtype, 0)
    torch.testing.assert_close(
        found, expected, rtol=tolerance, atol=tolerance, equal_nan=True
    )


def call(function, results_like):
    """Return results of a function, zeros in the place of None, in new memory."""
    return [
        torch.zeros_like(like) if result is None else result.detach().to(like).clone()
        for result, like in zip(function(), results_like, strict=True)
    ]


def draw_like(tensor, generator):
    """Return new values for an input."""
    if tensor.is_floating_point():
        return torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
    if tensor.dtype == torch.bool:
        return torch.rand(tensor.shape, generator=generator) < 0.5
    return torch.randint(0, 3, tensor.shape, generator=generator, dtype=tensor.dtype)


def check(function, inputs, uses_numpy, state=(), draw=draw_like, targets=None, runs=3):
    """Compare a program with its function, on other values of the inputs.

    Parameters
    ----------
    function : callable
    inputs : list of Tensor
        Filled anew before every run, in their own memory.
    uses_numpy : bool
    state : list of Tensor
        What the function writes to, compared as well.
    draw : callable, default=draw_like
    targets : list of Tensor, default=None
    runs : int, default=3

    Returns
    -------
    Program
    """
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        kept = [tensor.clone() for tensor in state]
        torch.manual_seed(0)
        like = [torch.zeros(()) if r is None else r.detach() for r in function()]
        for tensor, value in zip(state, kept, strict=True):
            tensor.copy_(value)
        torch.manual_seed(0)
        expected = call(function, targets or like)
        after = [tensor.clone() for tensor in state]
        for tensor, value in zip(state, kept, strict=True):
            tensor.copy_(value)
        if targets is None:
            targets = [torch.full_like(t, 99).contiguous() for t in like]
        torch.manual_seed(0)
        program = record(function, inputs, lambda: targets, uses_numpy)
        for found, value in zip([*targets, *state], [*expected, *after], strict=True):
            assert_same(found, value)
        for i in range(runs):
            with torch.no_grad():
                for tensor in inputs:
                    tensor.copy_(draw(tensor, generator))
            kept = [tensor.clone() for tensor in state]
            torch.manual_seed(i)
            expected = call(function, targets)
            after = [tensor.clone() for tensor in state]
            for tensor, value in zip(state, kept, strict=True):
                tensor.copy_(value)
            with torch.no_grad():
                # whoever reads the results may change them
                for tensor in targets:
                    tensor.fill_(7)
            torch.manual_seed(i)
            with np.errstate(all="ignore"):
                program.run()
            pairs = zip([*targets, *state], [*expected, *after], strict=True)
            for found, value in pairs:
                assert_same(found, value)
    return program


def make(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype)


# layouts: memory to be filled, and what is seen of it ---------------------------------

LAYOUTS = {
    "contiguous": lambda dtype: (m := make(3, 4, dtype=dtype), m),
    "transposed": lambda dtype: (m := make(4, 3, dtype=dtype), m.T),
    "expanded": lambda dtype: (m := make(3, 1, dtype=dtype), m.expand(3, 4)),
    "one row": lambda dtype: (m := make(4, dtype=dtype), m.expand(3, 4)),
    "one number": lambda dtype: (m := make(dtype=dtype), m.expand(3, 4)),
    "sliced": lambda dtype: (m := make(5, 6, dtype=dtype), m[1:4, 1:5]),
    "every second": lambda dtype: (m := make(3, 8, dtype=dtype), m[:, ::2]),
    "permuted": lambda dtype: (m := make(4, 2, 3, dtype=dtype), m[:, 1].T),
}


def both(x, y, low=0.1):
    """Return values that divide, and have roots and logarithms."""
    return x.abs() + low, y.abs() + low


ELEMENTWISE = {
    "add": lambda x, y: x + y,
    "add alpha": lambda x, y: torch.add(x, y, alpha=-2.5),
    "add number": lambda x, y: 3 + x + 2.5,
    "add bool": lambda x, y: x + True,
    "addcmul": lambda x, y: torch.addcmul(x, y, x, value=-0.5),
    "addcmul of constants": lambda x, y: torch.addcmul(x, y, torch.ones(4).to(y)),
    "celu": lambda x, y: F.celu(x) + torch.celu(y, 0.5),
    "elu": lambda x, y: F.elu(x) + F.elu(y, 0.5),
    "clamp": lambda x, y: torch.clamp(x, -0.5, 0.25) + y,
    "clamp min": lambda x, y: x.clamp(min=-0.5) + y.clamp_min(0.1),
    "clamp max": lambda x, y: x.clamp(max=-0.5) + y.clamp_max(0.1),
    "clamp tensors": lambda x, y: torch.clamp(x, min=y),
    "div": lambda x, y: x / both(x, y)[1],
    "div number": lambda x, y: (x / 4 + 1) / -3 + 2 / both(x, y)[1],
    "div zero": lambda x, y: x / 0.0 + y,
    "div rounded": lambda x, y: torch.div(x, y.abs() + 1, rounding_mode="floor"),
    "mul": lambda x, y: x * y,
    "mul number": lambda x, y: -3 * (2 * x) * (y * 0.5),
    "mul zero": lambda x, y: 0 * x + y,
    "mul infinity": lambda x, y: x * math.inf + y,
    "mul 0-d": lambda x, y: x * torch.tensor(2.0, dtype=x.dtype) * y,
    "mul constant": lambda x, y: x * torch.arange(4).to(x.dtype) + y,
    "neg": lambda x, y: -x - -y,
    "pow": lambda x, y: x**2 + y**3 + x**1 + y**0 + both(x, y)[0] ** 0.5 + 2**x,
    "relu": lambda x, y: torch.relu(x) * y,
    "rsub": lambda x, y: 1 - x - torch.rsub(x, y, alpha=3),
    "square": lambda x, y: torch.square(x) - torch.square(2 * y - 1),
    "sub": lambda x, y: x - y - 3,
    "sub alpha": lambda x, y: torch.sub(x, y, alpha=3),
    "where": lambda x, y: torch.where(x > 0, x, y),
    "where ge": lambda x, y: torch.where(x >= 0, y, 0.0),
    "where le": lambda x, y: torch.where(x <= 0.2, y, torch.zeros_like(y)),
    "where both": lambda x, y: torch.where((x >= -1) & (x <= 1), y, 0.0),
    "where logical": lambda x, y: torch.where(
        (x >= -1).logical_and_(x <= 1), y, torch.zeros((), dtype=y.dtype)
    ),
    "where of another": lambda x, y: torch.where(
        (x >= -1).logical_and_(y <= 1), y, torch.zeros((), dtype=y.dtype)
    ),
    "where of a view": lambda x, y: torch.where(
        (x[:, :3] >= 0).T, y[:, :3], torch.zeros((), dtype=y.dtype)
    ),
    "where of changed masks": lambda x, y: torch.where(
        (x >= 0).logical_and_(torch.tensor([True, False, True, False])),
        y,
        torch.zeros((), dtype=y.dtype),
    ),
    "where of inverted masks": lambda x, y: torch.where(
        (x >= 0).logical_not_(), y, torch.zeros((), dtype=y.dtype)
    ),
    "abs": lambda x, y: x.abs() - (2 * y - 1).abs(),
    "exp": lambda x, y: x.exp() * (-y).exp(),
    "expm1": lambda x, y: x.expm1() + y,
    "log": lambda x, y: both(x, y)[0].log() + y,
    "log1p": lambda x, y: both(x, y)[0].log1p() + y,
    "reciprocal": lambda x, y: both(x, y)[0].reciprocal() * y,
    "sign": lambda x, y: x.sign() * y,
    "sqrt": lambda x, y: both(x, y)[0].sqrt() * y,
    "rsqrt": lambda x, y: both(x, y)[0].rsqrt() * y,
    "tanh": lambda x, y: x.tanh() * (0.5 * y).tanh(),
    "sigmoid": lambda x, y: x.sigmoid() * torch.sigmoid(2 * y),
    "chain": lambda x, y: -(2 * x + 1) / 3 - y,
    "chains": lambda x, y: (3 * x - 1) * (2 - y / 2) + (1 - x) / (3 + 2 * y * y),
    "cancelled": lambda x, y: (2 * x + 1) - (2 * x + 1) + y,
    "twice": lambda x, y: x + x - 3 * x * x + (x + x) * y,
    "equal sums": lambda x, y: (x + y) * (x + y) + (x + y).exp(),
    "large and small": lambda x, y: 1e-12 * x + y + 1e-35 * x,
    "of two types": lambda x, y: x * y.to(torch.float32) + y.double(),
    "of integers": lambda x, y: (10 * x).long() * 2 + y,
    "of masks": lambda x, y: (x > 0) * y + (x != 0) * 2 + (y < x).to(y),
    "maximum": lambda x, y: torch.maximum(x, y) - torch.minimum(2 * x, y),
    "softplus": lambda x, y: F.softplus(x) * F.logsigmoid(y),
    "erf": lambda x, y: torch.erf(x) + torch.lgamma(y.abs() + 1),
    "atan2": lambda x, y: torch.atan2(x, y) + torch.sin(x) * torch.floor(y),
}
WHOLE = {
    "sum": lambda x, y: (x * y).sum() + (x + 1).sum(0) * y.sum(1, keepdim=True),
    "sum of all": lambda x, y: [(x * y).sum(), x.sum((0, 1)), y.sum((1, -2), True)],
    "sum of a type": lambda x, y: x.sum(0, dtype=torch.float64) + y.sum(0),
    "sum of masks": lambda x, y: (x > y).sum(1) * 1.5,
    "sum over three": lambda x, y: [
        (x[:, None] * y).sum(d, keepdim=keep)
        for d in (0, 1, 2, (0, 1), (0, 2), (1, 2), (0, 1, 2))
        for keep in (True, False)
    ],
    "mean": lambda x, y: x.mean() + (2 * y).mean(0) + y.mean(1, keepdim=True),
    "var": lambda x, y: x.var(0) + y.std(),
    "amax": lambda x, y: [x.amax(1), (2 * y).amax((0, 1)), y.amax(0, keepdim=True)],
    "max": lambda x, y: [*x.max(1), *y.min(0), x.max()],
    "softmax": lambda x, y: x.softmax(1) * y.softmax(0),
    "log_softmax": lambda x, y: [x.log_softmax(1), (2 * y).log_softmax(-2)],
    "logsumexp": lambda x, y: [
        x.logsumexp(0),
        (2 * y + 1).logsumexp((0, 1)),
        y.logsumexp(1, keepdim=True),
    ],
    "mm": lambda x, y: [x @ y.T, x.T @ (2 * y), (x - 1) @ y.T, -x @ y.T],
    "mm of the shared": lambda x, y: (x * 3) @ (y.T + 1) - x @ y.T,
    "addmm": lambda x, y: [
        torch.addmm(x[:, :3], x, y.T),
        torch.addmm(x[0, :3], x, y.T, beta=0.5, alpha=-2),
        torch.addmm(x[:1, :3], x, y.T, beta=0),
    ],
    "mv": lambda x, y: [x @ y[0], torch.dot(x[0], y[0]), torch.outer(x[0], y[1])],
    "bmm": lambda x, y: [
        x[:, :, None] @ y[:, None],
        x[:, None] @ y[:, :, None],
        x.expand(2, 3, 4) @ y.T.expand(2, 4, 3),
        x @ y.T.expand(2, 4, 3),
    ],
    "baddbmm": lambda x, y: torch.baddbmm(
        x[:, None], y[:, None], x[:, :, None] * y[:, None], beta=2, alpha=0.5
    ),
    "einsum": lambda x, y: torch.einsum("ij,kj,ik->i", x, y, x @ y.T),
    "cat": lambda x, y: [torch.cat([x, y]), torch.cat([x + 1, 2 * y, y], -1)],
    "cat of one": lambda x, y: torch.cat([x * 2]) + y,
    "cat of empty": lambda x, y: torch.cat([x[:0], x * y, y[:0], y.exp()]),
    "cat of two types": lambda x, y: torch.cat([x, y.float()]),
    "stack": lambda x, y: [torch.stack([x, 2 * y], d) for d in (0, 1, 2, -1)],
    "clone": lambda x, y: x.clone() + y.T.contiguous().T.clone(),
    "pad": lambda x, y: [
        F.pad(2 * x, (1, 2)),
        F.pad(x, (0, 0, 1, 0)),
        F.pad(x, (1, 1, 1, 1)),
        F.pad(x + 1, (-1, 1)) * 2,
        F.pad(x, (1, -2), value=3.0),
        F.pad(x, (0, 0)),
        F.pad(x, (-1, -1, -1, -1)),
    ],
    "select": lambda x, y: x[1] * y[:, -1:] + x[..., 0, None],
    "slice": lambda x, y: x[1:, ::2] - y[:-1, 1::2] + x[1:, -2:],
    "split": lambda x, y: [*(x * y).split((1, 3), 1), *(x + 1).chunk(3), *y.unbind(1)],
    "tensor_split": lambda x, y: [*(2 * x - 1).tensor_split([1, 2], -1)],
    "views": lambda x, y: [
        (2 * x + 1).reshape(2, 6).T,
        (x * y).flatten().unflatten(0, (4, 3)),
        (x - 1).unsqueeze(1).transpose(0, 2).squeeze(1),
        (x * y).T.reshape(-1)[5],
        (x + y).movedim(0, 1).flip(0),
        x.exp().diagonal(),
        x.expand(2, 3, 4).reshape(6, 4),
        torch.broadcast_to(y[0] * 2, (5, 4)),
    ],
    "views by memory": lambda x, y: [
        (x * y).as_strided((2, 2), (1, 2), 1),
        (x.exp().T * 2).as_strided((2, 2), (1, 2), 1),
    ],
    "index": lambda x, y: [
        x[torch.tensor([2, 0, 0])] * y,
        x[:, [1, 1]],
        x.index_select(1, torch.tensor([3, 0])),
        x.gather(1, torch.tensor([[0, 1], [2, 3], [1, 1]])),
        torch.take_along_dim(y, y.argsort(1), 1),
        y.sort(0)[0],
    ],
    "index of values": lambda x, y: [
        y[(x.abs().clamp(max=2)).long()[:, 0]],
        y.gather(1, (x.abs() * 2).clamp(max=3).long()),
    ],
    "cumsum": lambda x, y: x.cumsum(0) * y.cumsum(1) + x.tril() - y.triu(),
    "cdist": lambda x, y: torch.cdist(x, y),
    "norm": lambda x, y: x.norm(dim=0) + torch.linalg.vector_norm(y),
    "cholesky": lambda x, y: torch.linalg.cholesky(x @ x.T + torch.eye(3).to(x)),
    "roll": lambda x, y: x.roll(1, 0) + y.repeat(1, 1) + x.repeat_interleave(1, 0),
    "full": lambda x, y: x + torch.full_like(y, 2) + y.new_ones(4) + torch.arange(4),
}
SAME = {
    "other": lambda x, y: [x, y, x],
    "part": lambda x, y: [x[1:], y.T, x],
    "nothing": lambda x, y: [None, x * 2, None],
    "constant": lambda x, y: [torch.ones(3, 4), x * 2, torch.zeros(())],
    "one": lambda x, y: [z := x * y, z, 2 * z + 1],
    "views of one": lambda x, y: [z := x * y, z.T, z[1], z[:, 1:], z.sum()],
    "read later": lambda x, y: [z := x * y, (w := z.exp()), w + z, (w + z).tanh()],
    "expanded": lambda x, y: [x[:1].expand(3, 4) * 2, y[0].exp().expand(3, 4)],
    "integers": lambda x, y: [x.long() + 1, x > y, (x > 0).sum()],
}


def run_case(function, layouts, dtype, uses_numpy):
    memory, views = zip(*(LAYOUTS[name](dtype) for name in layouts), strict=True)
    memory[1].neg_()

    def compute():
        found = function(*views)
        return found if isinstance(found, list) else [found]

    return check(compute, memory, uses_numpy)


PAIRS = [
    ("contiguous", "contiguous"),
    ("transposed", "contiguous"),
    ("contiguous", "expanded"),
    ("one row", "one number"),
    ("sliced", "transposed"),
    ("every second", "permuted"),
    ("expanded", "one row"),
]


@pytest.mark.parametrize("case", ELEMENTWISE | WHOLE | SAME)
def test_programs_compute_what_their_function_does(case, uses_numpy):
    function = (ELEMENTWISE | WHOLE | SAME)[case]
    for layouts in PAIRS:
        run_case(function, layouts, torch.float64, uses_numpy)
    run_case(function, PAIRS[0], torch.float32, uses_numpy)


def test_every_rule_is_among_the_cases():
    names = set(ELEMENTWISE | WHOLE)
    of_gradients = {name for name in RULES if "backward" in name}
    private = {"_log_softmax": "log_softmax", "_softmax": "softmax", "_to_copy": None}
    for rule in set(RULES) - of_gradients:
        name = private.get(rule, rule)
        known = {"clamp_max": "clamp max", "clamp_min": "clamp min"}
        known["constant_pad_nd"] = "pad"
        assert name is None or known.get(name, name) in names


# gradients ----------------------------------------------------------------------------


def differentiate(function, inputs):
    """Return a function's value, and the gradients of a number made of it."""

    def compute():
        leaves = [x.detach().requires_grad_() for x in inputs]
        value = function(*leaves)
        weight = torch.linspace(-1, 2, value.numel(), dtype=value.dtype)
        loss = (value.reshape(-1) * weight).sum()
        return [value, *torch.autograd.grad(loss, leaves, allow_unused=True)]

    return compute


GRADIENT_CASES = {
    name: function
    for name, function in (ELEMENTWISE | WHOLE).items()
    if name
    not in ("of integers", "index of values", "views by memory", "sum of masks", "full")
}


@pytest.mark.parametrize("case", GRADIENT_CASES)
def test_gradients_are_those_of_autograd(case, uses_numpy):
    function = GRADIENT_CASES[case]

    def to_one(*args):
        found = function(*args)
        if not isinstance(found, list):
            return found
        parts = [part.reshape(-1).double() for part in found]
        return torch.cat([part for part in parts if part.requires_grad])

    x, y = make(3, 4), make(3, 4, seed=1)
    check(differentiate(to_one, [x, y]), [x, y], uses_numpy)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_softmax_is_right_along_every_dimension(n, uses_numpy):
    x = make(2, 3, 1, 4)
    for function in (torch.softmax, torch.log_softmax, torch.logsumexp):
        check(
            differentiate(lambda x, f=function: f(2 * x + 1, n), [x]), [x], uses_numpy
        )


@pytest.mark.parametrize("size", [2, 5, 20])
@pytest.mark.parametrize("n", range(4))
def test_maxima_are_right_along_dimensions_of_any_size(n, size, uses_numpy):
    shape = [30, 2, 1, 40]
    shape[n] = size
    x = make(*shape)
    for memory, view in ((x, x), (x, x.movedim(0, -1)), (x[..., :1], x[..., :1])):
        check(lambda v=view: [v.amax(n), v.exp().amax(n, True)], [memory], uses_numpy)


EDGES = [-1.0, 0.5, 0.0, -0.0, 2.0, -3.0, math.inf, -math.inf, math.nan]


def draw_edges(edges):
    """Return what draws values among which are bounds, infinities and no numbers."""

    def draw(tensor, generator):
        chosen = torch.randint(len(edges), tensor.shape, generator=generator)
        return torch.tensor(edges, dtype=tensor.dtype)[chosen]

    return draw


EDGE_CASES = {
    "clamp": lambda x: x.clamp(-1, 0.5),
    "clamp min": lambda x: x.clamp(min=-1.0),
    "clamp max": lambda x: x.clamp(max=0.5),
    "relu": torch.relu,
    "hardtanh": lambda x: F.hardtanh(x, -1.0, 0.5),
    "where": lambda x: torch.where(x >= 0.5, x.exp(), -x),
    "abs": torch.abs,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "silu": F.silu,
    "celu": F.celu,
    "elu": F.elu,
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(1),
    "logsumexp": lambda x: x.logsumexp(1),
    "amax": lambda x: x.amax(1),
    "products": lambda x: 0 * x + x * x - 3 * x,
    "masked": lambda x: torch.where(x.isnan(), 0.0, x).clamp(-1, 1),
    "no numbers": lambda x: x.nan_to_num(0.5, 9.0, -9.0) * 2,
}


@pytest.mark.parametrize("case", EDGE_CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_at_the_edges_are_those_of_torch(case, dtype, uses_numpy):
    x = make(12, 5, dtype=dtype)
    compute = differentiate(EDGE_CASES[case], [x])
    # infinities have no gradient where there is one bound, and that of no number may
    # be a number in torch
    one_sided = dict.fromkeys(("clamp min", "clamp max"), EDGES[:-3])
    left_out = one_sided | dict.fromkeys(("clamp", "celu", "elu"), EDGES[:-1])
    edges = left_out.get(case, EDGES)
    check(compute, [x], uses_numpy, draw=draw_edges(edges))


@pytest.mark.parametrize("compare", [torch.ge, torch.le])
def test_conditions_are_those_of_torch_for_infinities_and_no_numbers(
    compare, uses_numpy
):
    x, y = make(12, 5), make(12, 5, seed=1)
    compute = lambda: [torch.where(compare(x, 0.5), 3 * y, 0.0)]  # noqa: E731
    check(compute, [x, y], uses_numpy, draw=draw_edges(EDGES))


def test_rows_without_anything_possible_have_a_softmax_as_torch_has_it(uses_numpy):
    x = make(3, 4)

    def draw(tensor, generator):
        values = draw_like(tensor, generator)
        values[1] = -math.inf
        return values

    for function in (torch.softmax, torch.log_softmax, torch.logsumexp):
        check(lambda f=function: [f(x, 1)], [x], uses_numpy, draw=draw)


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.save_for_backward(x)
        ctx.factor = factor
        return factor * x.exp()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ctx.factor * x.exp() + 1, None


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(3, 5)

    def forward(self, x):
        index = (x * 2).clamp(0, 2).long()
        return self.embedding(index).sum(-1) + self.embedding.weight[index[0]].mean()


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRUCell(4, 4)

    def forward(self, x):
        h = torch.zeros_like(x)
        for _ in range(3):
            h = self.gru(x, h)
        return h


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 3, batch_first=True)

    def forward(self, x):
        return self.lstm(x.unsqueeze(-1))[0][:, -1]


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(4, 12)

    def forward(self, x):
        q, k, v = self.map(x).chunk(3, -1)
        return F.scaled_dot_product_attention(q[None], k[None], v[None])


def make_conv():
    layers = nn.Conv2d(1, 3, 2, padding=1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)
    return nn.Sequential(nn.Unflatten(1, (1, 2, 2)), *layers)


NETS = {
    "linear": lambda: nn.Linear(4, 3),
    "activations": lambda: nn.Sequential(
        *(
            layer
            for activation in (nn.SiLU, nn.ReLU, nn.Tanh, nn.GELU, nn.Softplus, nn.ELU)
            for layer in (nn.Linear(4, 4), activation())
        )
    ),
    "more activations": lambda: nn.Sequential(
        *(
            layer
            for activation in (nn.CELU, nn.Sigmoid, nn.Mish, nn.LeakyReLU, nn.PReLU)
            for layer in (nn.Linear(4, 4), activation())
        )
    ),
    "in place": lambda: nn.Sequential(
        nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4), nn.ELU(inplace=True)
    ),
    "tanh gelu": lambda: nn.Sequential(nn.Linear(4, 5), nn.GELU("tanh")),
    "layer norm": lambda: nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2)),
    "group norm": lambda: nn.Sequential(nn.GroupNorm(2, 4), nn.Linear(4, 2)),
    "batch norm": lambda: nn.Sequential(
        nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2)
    ),
    "batch norm evaluated": lambda: nn.BatchNorm1d(4).eval(),
    "dropout": lambda: nn.Sequential(nn.Linear(4, 9), nn.Dropout(0.4), nn.Linear(9, 2)),
    "alpha dropout": lambda: nn.Sequential(nn.AlphaDropout(0.4), nn.Linear(4, 2)),
    "convolution": make_conv,
    "transposed convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)), nn.ConvTranspose2d(1, 2, 3), nn.AvgPool2d(2)
    ),
    "upsampling": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)), nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 2)
    ),
    "embedding": Embedded,
    "recurrent": Recurrent,
    "sequence": Sequence,
    "attention": Attention,
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)),
}


@pytest.mark.parametrize("case", NETS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_nets_train_as_by_autograd(case, dtype, uses_numpy):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = NETS[case]()
        x = make(6, 4, dtype=dtype)
        net(torch.zeros(6, 4))
    net.to(dtype)
    parameters = list(net.parameters())

    def compute():
        with torch.enable_grad():
            loss = (net(x) * 1.5).square().mean() + net(x).sin().sum()
            return [loss, *torch.autograd.grad(loss, parameters)]

    inputs = [x, *(p.detach() for p in parameters)]
    check(compute, inputs, uses_numpy, state=list(net.buffers()))


def test_own_functions_with_a_backward_are_recorded(uses_numpy):
    x = make(3, 4)
    compute = differentiate(lambda x: Scaled.apply(2 * x, 3.0) * x, [x])
    check(compute, [x], uses_numpy)


def test_hooks_of_tensors_are_part_of_the_recording(uses_numpy):
    x = make(3, 4)

    def function(x):
        hidden = x.tanh()
        hidden.register_hook(lambda grad: grad.clamp(-0.5, 0.5) * 2)
        return hidden * x

    check(differentiate(function, [x]), [x], uses_numpy)


def test_gradients_of_gradients_are_recorded(uses_numpy):
    x = make(3, 4)

    def compute():
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            loss = (leaf.tanh() ** 3).sum() + leaf.softmax(0).square().sum()
            (grad,) = torch.autograd.grad(loss, leaf, create_graph=True)
            return [grad, *torch.autograd.grad(grad.square().sum(), leaf)]

    check(compute, [x], uses_numpy)


def test_a_constant_that_saturates_has_its_gradient(uses_numpy):
    x, weight = make(3, 4), torch.zeros(3, 4, dtype=torch.float64)

    def compute():
        with torch.enable_grad():
            leaf = weight.detach().requires_grad_()
            loss = (leaf.tanh() * x + (leaf - 1e3).sigmoid() * x).sum()
            loss = loss + (leaf.softmax(1) * x).sum() + (leaf.log_softmax(0) * x).sum()
            return [loss, *torch.autograd.grad(loss, leaf)]

    check(compute, [x], uses_numpy)


# memory that is written to ------------------------------------------------------------


def masked_fill(x, y):
    z = x * 2
    z.masked_fill_(y > 0, -1.0)
    return [z, z + y]


def add_in_place(x, y):
    z = x + y
    before = z.exp()
    z.add_(1).mul_(y)
    return [z, before, z.exp()]


def write_into_part(x, y):
    z = torch.zeros(3, 4, dtype=x.dtype)
    z[1:, :2] = x[1:, :2] * y[1:, 2:]
    z[0] = 3
    return [z, z.sum(0)]


def fill_columns(x, y):
    z = x.clone()
    for j in range(1, 4):
        before = z[:, :j].unsqueeze(0).movedim(-1, 0)
        z[:, j : j + 1] = before.sum(0).T.sum(1, keepdim=True) + y[:, j : j + 1]
    return [z]


def put_at_indices(x, y):
    z = x.clone()
    z.index_put_((torch.tensor([0, 0, 2]), torch.tensor([1, 1, 3])), y[:, 0], True)
    w = torch.zeros_like(x).scatter_add_(1, torch.zeros(3, 4, dtype=torch.long), y)
    return [z, w, x.index_add(0, torch.tensor([2, 0]), y[:2])]


def copy_what_changes(x, y):
    z = x.exp()
    kept = torch.empty_like(z)
    kept.copy_(z)
    other = z.clone()
    z.add_(y)
    return [kept * 2, other, z]


def view_what_changes(x, y):
    z = x * y
    part = z[1:].T
    z += 1
    return [part * 2, z]


def read_before_and_after(x, y):
    z = x * y
    one = z.exp() + z
    z -= 3
    return [one, z.exp() + z]


def fill_memory(x, y):
    z = torch.empty(3, 4, dtype=x.dtype)
    torch.mul(x, y, out=z)
    w = torch.empty(3, 4, dtype=x.dtype).fill_(2.5)
    v = torch.empty(3, 4, dtype=x.dtype).copy_(y[0])
    return [z, w * x, v + 1, torch.empty(3, 4).copy_(x).double()]


def view_memory_before_it_is_filled(x, y):
    z, w = torch.empty(2, 3, 4, dtype=x.dtype)
    v, u = torch.empty(3, 4, dtype=x.dtype), torch.empty(3, 4, dtype=x.dtype)
    part, row, column = z[1:], v[0], u[:, 1]
    z.copy_(x)
    v.copy_(y)
    torch.mul(x, y, out=u)
    w.fill_(2.0)
    return [part * 2, row + 1, column, w * x]


def change_masks(x, y):
    mask = x >= 0
    mask[0] = False
    zero = torch.zeros((), dtype=x.dtype)
    one = torch.where(mask, y, zero)
    mask &= x <= 0.5
    return [one, torch.where(mask, y, zero)]


def change_values_under_masks(x, y):
    z = x + 1
    mask = z >= 0.5
    z.neg_()
    return [torch.where(mask, y, torch.zeros((), dtype=x.dtype)), z]


WRITING = {
    function.__name__: function
    for function in (
        masked_fill,
        add_in_place,
        write_into_part,
        fill_columns,
        put_at_indices,
        copy_what_changes,
        view_what_changes,
        read_before_and_after,
        fill_memory,
        view_memory_before_it_is_filled,
        change_masks,
        change_values_under_masks,
    )
}


@pytest.mark.parametrize("case", WRITING)
def test_operations_in_place_are_done_in_their_order(case, uses_numpy):
    for layouts in PAIRS[:3]:
        memory, views = zip(
            *(LAYOUTS[name](torch.float64) for name in layouts), strict=True
        )
        check(lambda views=views: WRITING[case](*views), memory, uses_numpy)


def test_memory_that_was_there_before_is_written_to(uses_numpy):
    x, total, count = make(3, 4), make(4, seed=1), torch.zeros((), dtype=torch.long)

    def compute():
        total.mul_(0.9).add_(x.mean(0))
        count.add_(1)
        return [x * total]

    check(compute, [x], uses_numpy, state=[total, count])


def test_inputs_may_be_written_to(uses_numpy):
    x = make(3, 4)

    def compute():
        before = x * 2
        x.clamp_(min=0)
        return [before, x + before]

    check(compute, [x], uses_numpy, state=[x])


# what is left out ---------------------------------------------------------------------


def test_constants_are_worked_out_once():
    x, a = make(3, 4), make(3, 4, seed=1)
    program = check(lambda: [x + a.exp().softmax(0).tanh()], [x], True)
    assert [node.name for node in program.nodes] == ["add"]


def test_views_of_memory_that_changes_are_not_repeated():
    x, y = make(3, 4), make(3, 4, seed=1)
    program = check(lambda: fill_columns(x, y), [x, y], True)
    calls = [get_schema(n.name) for n in program.nodes if not isinstance(n.name, str)]
    assert calls
    assert not any(schema.is_view for schema in calls)


def test_what_no_result_depends_on_is_not_done():
    x = make(3, 4)

    def compute():
        x.exp().softmax(0).cumsum(1)
        return [x * x]

    assert [node.name for node in check(compute, [x], True).nodes] == ["mul"]


def test_equal_operations_are_done_once():
    x, y = make(3, 4), make(3, 4, seed=1)
    compute = lambda: [(x + y).exp() * (x + y), (x + y).exp() + x]  # noqa: E731
    names = [node.name for node in check(compute, [x, y], True).nodes]
    assert sorted(names) == ["add", "add", "exp", "mul"]


def test_factors_signs_and_constants_cost_nothing():
    x, y = make(3, 4), make(3, 4, seed=1)
    program = check(lambda: [-(2 * x + 1) * (y / 3) * 6], [x, y], True)
    # 2 x + 1 is worked out, and the factor comes with the result
    assert len(program.nodes) <= 4


# results ------------------------------------------------------------------------------


def test_results_may_go_into_views_of_one_tensor(uses_numpy):
    x, flat = make(3, 4), torch.zeros(40, dtype=torch.float64)
    targets = [flat[:12].view(3, 4), flat[16:28].view(4, 3).T, flat[30]]
    check(
        lambda: [(z := x.exp()) * 2, z, (z * x).sum()], [x], uses_numpy, targets=targets
    )


def test_results_may_go_into_tensors_of_another_type(uses_numpy):
    x = make(3, 4)
    targets = [torch.zeros(3, 4), torch.zeros(3, 4), torch.zeros(3, 4)]
    compute = lambda: [x.exp() * x, 2 * x + 1, x > 0]  # noqa: E731
    check(compute, [x], uses_numpy, targets=targets)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 3), (3, 0), (1, 1), (2, 1, 3)])
def test_shapes_may_be_empty_or_of_one_number(shape, uses_numpy):
    x, y = make(*shape), make(*shape, seed=1)

    def compute():
        z = (2 * x + 1) * y - x.exp()
        return [z, z.sum(), z.reshape(-1).sum(0), torch.stack([z, x]), z.tanh().mean()]

    check(compute, [x, y], uses_numpy)


def test_matrices_may_be_empty(uses_numpy):
    for n, k, m in ((0, 2, 3), (2, 0, 3), (2, 3, 0)):
        x, y = make(n, k), make(k, m)
        check(lambda x=x, y=y: [x @ y, (x @ y).sum(0)], [x, y], uses_numpy)


# where results are kept ---------------------------------------------------------------

JOINED = {
    "parts read elsewhere": lambda x, y: [
        torch.cat([a := x.exp(), b := y * 2], 1) + 1,
        a.sum(0) + b,
        a * b,
    ],
    "part read first": lambda x, y: [
        (a := x * y).tanh() + a.sum(1, keepdim=True),
        torch.cat([a, y], 1),
    ],
    "an input": lambda x, y: [torch.cat([x, y.exp(), x]), torch.cat([y, y], 1) * 2],
    "same twice": lambda x, y: [torch.cat([z := x * y, z]) * 2, z.exp()],
    "cat in cat": lambda x, y: [
        torch.cat([torch.cat([a := x.exp(), y * x], 1), torch.cat([a, y], 1)]).tanh()
    ],
    "in two cats": lambda x, y: [
        torch.cat([a := x * y, x]),
        torch.cat([y, a]),
        a.exp(),
    ],
    "a view": lambda x, y: [
        torch.cat([(z := x * y).T, z.exp().T]),
        z[1:] + 1,
        torch.cat([z[:, 1:], z[:, :1]], 1),
    ],
    "sums": lambda x, y: [
        torch.cat([x.sum(0, keepdim=True), y.cumsum(0), x @ y.T @ x])
    ],
    "a constant": lambda x, y: [torch.cat([torch.ones_like(x), 2 * x, -y])],
    "expanded": lambda x, y: [torch.cat([(x[:1] * 2).expand(3, 4), y.exp()])],
    "split again": lambda x, y: [
        *(torch.cat([x * y, y.exp()], 1) * 2).split((3, 5), 1),
        *torch.cat([x * 3, y.tanh()]).chunk(2),
    ],
    "a part of a result, changed": lambda x, y: [
        torch.cat([x[:, :1], (x * y)[:, :3].exp()], 1).tanh(),
        torch.cat([y[:1], 2 * (x - y)[:2]]).tanh(),
    ],
    "three dimensions": lambda x, y: [
        torch.stack([x * y, x.exp(), y], 1).softmax(1),
        torch.cat([(x * y)[:, None], (x + y)[:, None]], 1).sum(1),
    ],
}


@pytest.mark.parametrize("case", JOINED)
def test_parts_of_a_whole_are_right_whoever_else_reads_them(case, uses_numpy):
    for layouts in PAIRS[:5]:
        run_case(JOINED[case], layouts, torch.float64, uses_numpy)

    def to_one(*args):
        return torch.cat([part.reshape(-1) for part in JOINED[case](*args)])

    x, y = make(3, 4), make(3, 4, seed=1)
    check(differentiate(to_one, [x, y]), [x, y], uses_numpy)


def test_long_chains_share_little_memory():
    x, y = make(50, 40), make(50, 40, seed=1)

    def compute():
        z = x
        for _ in range(20):
            z = torch.tanh(z * y) + (z * z).exp().sum(0).log()
        return [z]

    program = check(compute, [x, y], True)
    memory = {
        tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes()
        for node in program.nodes
        for tensor in node.out
    }
    assert sum(memory.values()) <= 6 * x.nbytes


# what is drawn ------------------------------------------------------------------------

DRAWS = {
    "normal_": lambda x: torch.empty_like(x).normal_() * x,
    "randn": lambda x: torch.randn(3, 4) * x + torch.randn_like(x),
    "normal": lambda x: torch.normal(x, x.abs() + 0.1) + torch.normal(0.0, 1.0, (3, 4)),
    "rand": lambda x: torch.rand(3, 4) * x + torch.rand_like(x).uniform_(2, 3),
    "bernoulli": lambda x: (
        x.sigmoid().bernoulli() + torch.empty_like(x).bernoulli_(0.3)
    ),
    "dropout": lambda x: F.dropout(x, 0.5) + F.dropout(2 * x, 0.1),
    "exponential_": lambda x: torch.empty_like(x).exponential_() * x,
    "randint": lambda x: torch.randint(5, (3, 4)) * x,
    "randperm": lambda x: x[torch.randperm(3)],
    "gamma": lambda x: torch._standard_gamma(x.abs() + 0.5),
    "multinomial": lambda x: torch.multinomial(x.softmax(1), 2) * 1.5,
    "poisson": lambda x: torch.poisson(x.exp()),
    "categorical": lambda x: (
        torch.distributions.Categorical(logits=x, validate_args=False).sample()
        + x.sum(1)
    ),
    "one that is not used": lambda x: (
        [torch.randn(5), torch.rand(2).mul_(3), x][2] + torch.randn(3, 4)
    ),
}


@pytest.mark.parametrize("case", DRAWS)
def test_equal_seeds_draw_what_the_function_draws(case, uses_numpy):
    x = make(3, 4, dtype=torch.float32)
    check(lambda: [DRAWS[case](x)], [x], uses_numpy)


@pytest.mark.parametrize("case", DRAWS)
def test_every_run_draws_anew(case, uses_numpy):
    x, target = make(3, 4, dtype=torch.float32) + 2, torch.zeros(3, 4)
    like = DRAWS[case](x)
    target = torch.zeros_like(like, dtype=torch.float32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        program = record(lambda: [DRAWS[case](x)], [x], lambda: [target], uses_numpy)
        found = [target.clone()]
        for _ in range(4):
            program.run()
            found.append(target.clone())
    assert any(not torch.equal(found[0], other) for other in found)
    assert any(not torch.equal(found[-1], other) for other in found)


def test_recording_draws_no_more_than_the_function():
    x, target = make(3, 4), torch.zeros(3, 4, dtype=torch.float64)
    function = lambda: [F.dropout(torch.randn(3, 4) * x) + torch.rand_like(x)]  # noqa: E731
    with torch.random.fork_rng():
        torch.manual_seed(0)
        function()
        expected = torch.get_rng_state()
        torch.manual_seed(0)
        record(function, [x], lambda: [target], True)
        assert torch.equal(torch.get_rng_state(), expected)


# what cannot be repeated --------------------------------------------------------------


def branch(x):
    return x * 2 if x.sum() > 0 else x


def loop(x):
    while bool(x.abs().max() > 1):
        x = x / 2
    return x


UNREPEATABLE = {
    "item": lambda x: x * x.sum().item(),
    "float": lambda x: x * float(x[0, 0]),
    "branch": branch,
    "loop": loop,
    "nonzero": lambda x: x.flatten()[x.flatten().nonzero()].sum() * x,
    "mask": lambda x: x[x > 0].sum() * x,
    "mask of rows": lambda x: x[x[:, 0] > 0].sum() * x,
    "masked_select": lambda x: x.masked_select(x > 0).sum() * x,
    "unique": lambda x: x.unique().sum() * x,
    "one_hot": lambda x: F.one_hot(x.abs().long()).sum() * x,
    "repeat_interleave": lambda x: (
        x.repeat_interleave(x[:, 0].abs().long(), 0).sum() * x
    ),
    "equal": lambda x: x * torch.equal(x, x),
    "list": lambda x: x * x.tolist()[0][0],
    "array": lambda x: x * x.detach().numpy().max(),
    "array by numpy": lambda x: x * float(np.asarray(x).max()),
    "sparse": lambda x: torch.eye(3, dtype=x.dtype).to_sparse() @ x,
    "shape in place": lambda x: (x.T * 2).t_(),
    "python's random": lambda x: x * random.random(),
    "numpy's random": lambda x: x * np.random.rand(),  # noqa: NPY002
}


@pytest.mark.parametrize("case", UNREPEATABLE)
def test_what_values_decide_is_not_repeated(case, uses_numpy):
    x, target = make(3, 4), torch.zeros(3, 4, dtype=torch.float64)
    state, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002
    with pytest.raises(NotRepeatableError):
        record(lambda: [UNREPEATABLE[case](x)], [x], lambda: [target], uses_numpy)
    random.setstate(state)
    np.random.set_state(numpys)  # noqa: NPY002
    # it has been called all the same
    assert_same(target, UNREPEATABLE[case](x))


CONSTANTS = {
    "item": lambda x, c: x * c.sum().item(),
    "branch": lambda x, c: x * 2 if c.sum() > 0 else x,
    "branch on a shape": lambda x, c: x * 2 if len(x) > 2 else x,
    "item of what is worked out": lambda x, c: x * (c.exp() + 1).tanh().max().item(),
    "indices": lambda x, c: x[torch.tensor([2, 1, 0])] * c,
    "own generators": lambda x, c: x * random.Random(0).random(),
}


@pytest.mark.parametrize("case", CONSTANTS)
def test_values_of_constants_may_be_read(case, uses_numpy):
    x, constant = make(3, 4), make(3, 4, seed=1)
    check(lambda: [CONSTANTS[case](x, constant)], [x], uses_numpy)


# at random ----------------------------------------------------------------------------

SHAPES = [(3, 4), (3, 1), (1, 4), (4,), (), (2, 3, 4), (2, 1, 4), (2, 3, 1), (1, 1)]
ONE = [
    lambda a: -a,
    lambda a: 2 * a + 1,
    lambda a: 3 - a / 2,
    lambda a: a.tanh(),
    lambda a: a.abs() + 1e-3,
    lambda a: (a.abs() + 0.1).log(),
    lambda a: (a.abs() + 0.1).sqrt(),
    lambda a: a.clamp(-2, 2).exp(),
    lambda a: a.clamp(-1, 0.5),
    lambda a: a.relu(),
    lambda a: a.square(),
    lambda a: 1 / (a * a + 1),
    lambda a: a.sigmoid(),
    lambda a: F.elu(a),
    lambda a: F.softplus(a),
    lambda a: a.sum(-1, keepdim=True) if a.dim() else a,
    lambda a: a.sum(0) if a.dim() > 1 else a,
    lambda a: a.mean(),
    lambda a: a.amax(-1, keepdim=True) if a.dim() else a,
    lambda a: a.logsumexp(-1, keepdim=True) if a.dim() else a,
    lambda a: a.softmax(-1) if a.dim() else a,
    lambda a: a.log_softmax(0) if a.dim() else a,
    lambda a: a.mT if a.dim() > 1 and a.shape[-1] == a.shape[-2] else a,
    lambda a: a.flip(-1) if a.dim() else a,
    lambda a: a[..., :1] if a.dim() else a,
    lambda a: a[..., -1] if a.dim() > 1 else a,
    lambda a: a.unsqueeze(-1)[..., 0],
    lambda a: a.clone(),
    lambda a: a.mT.contiguous().mT if a.dim() > 1 else a,
    lambda a: F.pad(a, (1, 0))[..., : a.shape[-1]] if a.dim() else a,
    lambda a: a.detach(),
    lambda a: a.clone().add_(1).mul_(a),
    lambda a: a.clone().masked_fill_(a > 0, 0.5),
    lambda a: a.expand(2, *a.shape).sum(0),
    lambda a: a.cumsum(-1) if a.dim() else a,
]
TWO = [
    lambda a, b: a + b,
    lambda a, b: a - 2 * b,
    lambda a, b: a * b,
    lambda a, b: a / (b * b + 0.5),
    lambda a, b: torch.addcmul(a, b, b, value=-0.5),
    lambda a, b: torch.where(a > b, a, b),
    lambda a, b: torch.maximum(a, b),
    lambda a, b: a @ b.mT if min(a.dim(), b.dim()) > 1 else a * b,
    lambda a, b: (
        torch.cat(torch.broadcast_tensors(a, b), -1)[..., ::2]
        if max(a.dim(), b.dim())
        else a
    ),
    lambda a, b: torch.stack(torch.broadcast_tensors(a, b)).sum(0),
    lambda a, b: torch.stack(torch.broadcast_tensors(a, b), -1).tanh()[..., 1],
    lambda a, b: (
        torch.cat(torch.broadcast_tensors(a, b), -1).chunk(2, -1)[0]
        if max(a.dim(), b.dim())
        else b
    ),
]


@st.composite
def draw_steps(draw):
    """Return shapes and layouts of inputs, and steps that use what was there before."""
    sources = draw(
        st.lists(
            st.tuples(st.sampled_from(SHAPES), st.integers(0, 3)),
            min_size=2,
            max_size=3,
        )
    )
    steps, n = [], len(sources)
    for _ in range(draw(st.integers(2, 9))):
        # recent ones rather than old ones
        a = n - 1 - draw(st.integers(0, min(n - 1, 4)))
        if draw(st.booleans()):
            steps.append((draw(st.integers(0, len(ONE) - 1)), a, None))
        else:
            b = n - 1 - draw(st.integers(0, n - 1))
            steps.append((draw(st.integers(0, len(TWO) - 1)), a, b))
        n += 1
    results = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=3))
    return sources, steps, [*results, n - 1], draw(st.booleans())


def make_source(shape, layout, seed):
    """Return memory, and a view of that shape."""
    if layout == 1 and len(shape) > 1:
        memory = make(*shape[:-2], shape[-1], shape[-2], seed=seed)
        return memory, memory.mT
    if layout == 2 and shape:
        memory = make(*shape[:-1], shape[-1] + 2, seed=seed)
        return memory, memory[..., 1:-1]
    if layout == 3 and shape:
        memory = make(*shape[1:], seed=seed)
        return memory, memory.expand(shape)
    return (memory := make(*shape, seed=seed)), memory


def compute_steps(views, steps, results, has_gradient):
    views = [v.detach().requires_grad_(has_gradient) for v in views]
    found = list(views)
    with torch.enable_grad():
        for i, a, b in steps:
            try:
                value = ONE[i](found[a]) if b is None else TWO[i](found[a], found[b])
            except RuntimeError:
                # shapes that do not fit; what is too large is left out
                value = found[a]
            found.append(value if value.numel() < 500 else found[a])
        wanted = [found[i] for i in results]
        if not has_gradient or not any(w.requires_grad for w in wanted):
            return wanted
        loss = sum(w.tanh().sum() for w in wanted if w.requires_grad)
        return [loss, *wanted, *torch.autograd.grad(loss, views, allow_unused=True)]


def assert_steps_are_repeated(case):
    sources, steps, results, has_gradient = case
    memory, views = zip(
        *(make_source(*source, i) for i, source in enumerate(sources)), strict=True
    )
    for uses_numpy in LIBRARIES.values():
        check(
            lambda: compute_steps(views, steps, results, has_gradient),
            memory,
            uses_numpy,
            runs=2,
        )


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(draw_steps())
def test_programs_of_random_steps_compute_what_the_steps_do(case):
    assert_steps_are_repeated(case)


@pytest.mark.parametrize(
    "loss", ["mse_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy"]
)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses_that_take_their_result_for_work_space(loss, reduction):
    # torch's overloads that write into a given tensor resize it
    function = getattr(torch.nn.functional, loss)
    x = torch.rand(6, 8)
    y = torch.rand(6, 8)
    target = torch.zeros(())
    program = record(
        lambda: [function(x.sigmoid(), y, reduction=reduction)],
        [x],
        lambda: [target],
        True,
    )
    x.copy_(torch.rand(6, 8))
    program.run()
    expected = function(x.sigmoid(), y, reduction=reduction)
    torch.testing.assert_close(target, expected)


def test_complex_numbers_are_left_to_autograd():
    x = torch.randn(4, 8)
    with pytest.raises(NotRepeatableError, match="type"):
        record(
            lambda: [torch.fft.rfft(x).abs()], [x], lambda: [torch.zeros(4, 5)], True
        )


@pytest.mark.parametrize(
    "function",
    [
        lambda row, x: torch.add(row, x.exp(), alpha=0),
        lambda row, x: (row * 1e-200) * 1e-200 + x.exp(),
    ],
)
def test_factors_of_nothing(function):
    x, row, target = torch.randn(4, 8), torch.randn(8), torch.zeros(4, 8)
    program = record(lambda: [function(row, x)], [x, row], lambda: [target], True)
    x.copy_(torch.randn(4, 8))
    program.run()
    torch.testing.assert_close(target, function(row, x))
