"""Translations of operators that compute one value after the other."""

import numpy as np
import torch

from ._translator import (
    ATEN,
    find_common,
    get_dtype,
    translates,
)


def _register_unary(kind, *overloads):
    @translates(*overloads, is_unary=True)
    def translate(t, node, x):
        return t.add(kind, t.name(x, get_dtype(node)))


for _kind, _names in {
    "Neg": "neg",
    "Exp": "exp",
    "Log": "log",
    "Sqrt": "sqrt",
    "Reciprocal": "reciprocal",
    "Abs": "abs",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Relu": "relu",
    "Floor": "floor",
    "Ceil": "ceil",
    "Round": "round",
    "Sign": "sign",
    "Sin": "sin",
}.items():
    _register_unary(_kind, getattr(ATEN, _names).default)


@translates(ATEN.cos.default, is_unary=True)
def _cos(t, node, x):
    x, dtype = t.name(x, get_dtype(node)), get_dtype(node)
    if dtype != torch.float64:
        return t.add("Cos", x)
    # onnxruntime 1.19 to 1.23 have the sine of doubles, and no cosine
    return t.add("Sin", t.add("Add", x, t.constant(np.pi / 2, dtype)))


@translates(ATEN.isnan.default)
def _isnan(t, node, x):
    return t.add("IsNaN", t.name(x))


@translates(ATEN.isinf.default)
def _isinf(t, node, x):
    return t.add("IsInf", t.name(x))


@translates(ATEN.logical_not.default, ATEN.bitwise_not.default)
def _not(t, node, x):
    return t.add("Not", t.name(x, torch.bool))


def _register_single(kind, *overloads):
    """Register functions that onnxruntime has in single precision alone."""

    @translates(*overloads, is_unary=True)
    def translate(t, node, x):
        dtype = get_dtype(node)
        found = t.add(kind, t.name(x, torch.float32))
        return found if dtype == torch.float32 else t.cast(found, dtype)


_register_single("Erf", ATEN.erf.default)
_register_single("Atan", ATEN.atan.default)


@translates(ATEN.rsqrt.default, is_unary=True)
def _rsqrt(t, node, x):
    return t.add("Reciprocal", t.add("Sqrt", t.name(x)))


def _compute_log1p(t, x, dtype):
    one = t.constant(1.0, dtype)
    # where 1 + x is rounded, its logarithm is corrected (Higham 2002, section 1.14.1)
    total = t.add("Add", x, one)
    rounded = t.add("Sub", total, one)
    ratio = t.add("Div", t.add("Mul", t.add("Log", total), x), rounded)
    is_exact = t.add("Equal", rounded, t.constant(0.0, dtype))
    is_large = t.add("IsInf", total)
    found = t.add("Where", is_large, total, ratio)
    return t.add("Where", is_exact, x, found)


@translates(ATEN.log1p.default, is_unary=True)
def _log1p(t, node, x):
    dtype = get_dtype(node)
    return _compute_log1p(t, t.name(x, dtype), dtype)


@translates(ATEN.expm1.default, is_unary=True)
def _expm1(t, node, x):
    return _compute_expm1(t, t.name(x, get_dtype(node)), get_dtype(node))


def _compute_expm1(t, x, dtype):
    # exp(x) - 1 = 2 sinh(x / 2) exp(x / 2) = tanh(x / 2) (exp(x) + 1)
    half = t.add("Tanh", t.add("Mul", x, t.constant(0.5, dtype)))
    total = t.add("Add", t.add("Exp", x), t.constant(1.0, dtype))
    return t.add("Mul", half, total)


@translates(ATEN.silu.default, is_unary=True)
def _silu(t, node, x):
    x, dtype = t.name(x), get_dtype(node)
    if dtype != torch.float64:
        return t.add("Mul", x, t.add("Sigmoid", x))
    # onnxruntime 1.19 fuses the two nodes into one that it has for float32 alone
    power = t.add("Exp", t.add("Neg", x))
    return t.add("Div", x, t.add("Add", t.constant(1.0, dtype), power))


def _compute_softplus(t, x, dtype):
    if dtype != torch.float64:
        return t.add("Softplus", x)
    # onnxruntime has none of doubles in newer sets of operators
    exp = t.add("Exp", t.add("Neg", t.add("Abs", x)))
    rest = _compute_log1p(t, exp, dtype)
    return t.add("Add", t.add("Max", x, t.constant(0.0, dtype)), rest)


@translates(ATEN.softplus.default, is_unary=True)
def _softplus(t, node, x, beta=1, threshold=20):
    dtype, x = get_dtype(node), t.name(x)
    scaled = x if beta == 1 else t.add("Mul", x, t.constant(beta, dtype))
    found = _compute_softplus(t, scaled, dtype)
    if beta != 1:
        found = t.add("Div", found, t.constant(beta, dtype))
    is_large = t.add("Greater", scaled, t.constant(threshold, dtype))
    return t.add("Where", is_large, x, found)


@translates(ATEN.elu.default, ATEN.celu.default, is_unary=True)
def _elu(t, node, x, alpha=1.0, scale=1.0, input_scale=1.0):
    dtype, x = get_dtype(node), t.name(x)
    rate = input_scale / alpha if node.target is ATEN.celu.default else input_scale
    if dtype == torch.float32 and rate == scale == 1:
        return t.add("Elu", x, alpha=float(alpha))
    zero = t.constant(0.0, dtype)
    below = t.add("Min", x, zero)
    if rate != 1:
        below = t.add("Mul", below, t.constant(rate, dtype))
    bent = _compute_expm1(t, below, dtype)
    if alpha != 1:
        bent = t.add("Mul", bent, t.constant(alpha, dtype))
    found = t.add("Add", t.add("Max", x, zero), bent)
    return found if scale == 1 else t.add("Mul", found, t.constant(scale, dtype))


@translates(ATEN.leaky_relu.default, is_unary=True)
def _leaky_relu(t, node, x, slope=0.01):
    dtype, x = get_dtype(node), t.name(x)
    is_positive = t.add("Greater", x, t.constant(0.0, dtype))
    below = t.add("Mul", x, t.constant(slope, dtype))
    return t.add("Where", is_positive, x, below)


@translates(ATEN.gelu.default, is_unary=True)
def _gelu(t, node, x, approximate="none"):
    dtype, x = get_dtype(node), t.name(x)

    def number(value):
        return t.constant(value, dtype)

    if approximate == "tanh":
        cube = t.add("Mul", t.add("Mul", x, x), t.add("Mul", x, number(0.044715)))
        inner = t.add("Mul", t.add("Add", x, cube), number((2 / np.pi) ** 0.5))
        bent = t.add("Tanh", inner)
    else:
        bent = t.add("Mul", x, number(0.5**0.5))
        # onnxruntime has it in single precision
        bent = t.add("Erf", t.cast(bent, torch.float32))
        bent = bent if dtype == torch.float32 else t.cast(bent, dtype)
    share = t.add("Mul", t.add("Add", bent, number(1.0)), number(0.5))
    return t.add("Mul", x, share)


def _register_binary(kind, *overloads):
    @translates(*overloads, is_unary=True)
    def translate(t, node, x, y, alpha=1):
        dtype = get_dtype(node)
        y = t.name(y, dtype)
        if alpha != 1:
            y = t.add("Mul", y, t.constant(alpha, dtype))
        return t.add(kind, t.name(x, dtype), y)


for _kind, _name in {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}.items():
    _packet = getattr(ATEN, _name)
    _register_binary(_kind, _packet.Tensor, _packet.Scalar)
_register_binary("Max", ATEN.maximum.default)
_register_binary("Min", ATEN.minimum.default)


@translates(ATEN.rsub.Scalar)
def _rsub(t, node, x, y, alpha=1):
    dtype = get_dtype(node)
    x = t.name(x, dtype)
    if alpha != 1:
        x = t.add("Mul", x, t.constant(alpha, dtype))
    return t.add("Sub", t.name(y, dtype), x)


@translates(ATEN.pow.Tensor_Scalar, ATEN.pow.Tensor_Tensor)
def _pow(t, node, x, exponent):
    dtype = get_dtype(node)
    x = t.name(x, dtype)
    if isinstance(exponent, (int, float)) and exponent in (2, -2):
        square = t.add("Mul", x, x)
        return square if exponent == 2 else t.add("Reciprocal", square)
    return t.add("Pow", x, t.name(exponent, dtype))


@translates(ATEN.logaddexp.default)
def _logaddexp(t, node, x, y):
    dtype = get_dtype(node)
    x, y = t.name(x, dtype), t.name(y, dtype)
    # max(x, y) + log(1 + exp(-|x - y|)); equal infinities have no difference
    larger = t.add("Max", x, y)
    distance = t.add("Abs", t.add("Sub", x, y))
    distance = t.add("Where", t.add("Equal", x, y), t.constant(0.0, dtype), distance)
    return t.add("Add", larger, t.add("Softplus", t.add("Neg", distance)))


def _register_comparison(kind, *overloads):
    @translates(*overloads)
    def translate(t, node, x, y):
        dtype = find_common(x, y)
        if dtype == torch.bool and kind != "Equal":
            dtype = torch.int64
        return t.add(kind, t.name(x, dtype), t.name(y, dtype))


for _kind, _name in {
    "Equal": "eq",
    "Less": "lt",
    "LessOrEqual": "le",
    "Greater": "gt",
    "GreaterOrEqual": "ge",
}.items():
    _packet = getattr(ATEN, _name)
    _register_comparison(_kind, _packet.Tensor, _packet.Scalar)


@translates(ATEN.ne.Tensor, ATEN.ne.Scalar)
def _ne(t, node, x, y):
    dtype = find_common(x, y)
    return t.add("Not", t.add("Equal", t.name(x, dtype), t.name(y, dtype)))


def _register_logical(kind, *overloads):
    @translates(*overloads)
    def translate(t, node, x, y):
        return t.add(kind, t.name(x, torch.bool), t.name(y, torch.bool))


_register_logical("And", ATEN.logical_and.default, ATEN.bitwise_and.Tensor)
_register_logical("Or", ATEN.logical_or.default, ATEN.bitwise_or.Tensor)
_register_logical("Xor", ATEN.logical_xor.default, ATEN.bitwise_xor.Tensor)


@translates(ATEN.clamp.default, ATEN.clamp.Tensor, is_unary=True)
def _clamp(t, node, x, low=None, high=None):
    dtype = get_dtype(node)
    name = t.name(x, dtype)
    if not any(isinstance(limit, torch.fx.Node) for limit in (low, high)):
        limits = ("" if v is None else t.constant(v, dtype) for v in (low, high))
        return t.add("Clip", name, *limits)
    if low is not None:
        name = t.add("Max", name, t.name(low, dtype))
    return name if high is None else t.add("Min", name, t.name(high, dtype))


@translates(ATEN.clamp_min.default, ATEN.clamp_min.Tensor, is_unary=True)
def _clamp_min(t, node, x, low):
    return _clamp(t, node, x, low)


@translates(ATEN.clamp_max.default, ATEN.clamp_max.Tensor, is_unary=True)
def _clamp_max(t, node, x, high):
    return _clamp(t, node, x, None, high)


@translates(ATEN.where.self, ATEN.where.ScalarSelf, ATEN.where.ScalarOther)
def _where(t, node, condition, x, y):
    dtype = get_dtype(node)
    return t.add("Where", t.name(condition), t.name(x, dtype), t.name(y, dtype))


@translates(ATEN.masked_fill.Scalar, ATEN.masked_fill.Tensor)
def _masked_fill(t, node, x, mask, value):
    return _where(t, node, mask, value, x)


@translates(ATEN._to_copy.default, is_unary=True)
def _to_copy(t, node, x, **kwargs):
    return t.name(x, get_dtype(node))


@translates(
    ATEN.alias.default,
    ATEN.detach.default,
    ATEN.clone.default,
    ATEN.lift_fresh_copy.default,
    ATEN.dropout.default,
    is_unary=True,
)
def _identity(t, node, x, *args, **kwargs):
    return t.name(x)
