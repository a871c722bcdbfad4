"""What is known of operations that work element by element.

A rule takes the reduction, the arguments of a call and what it returned. It returns an
`Expression`, or None where it knows nothing better than the call itself.
"""

import math
from dataclasses import replace

import torch

from ._expression import Expression
from ._tensors import count_places, get_place, is_tensor


def is_float(out, *operands):
    """Return whether tensors are of one floating-point type, that of the result."""
    return out.is_floating_point() and all(
        operand.dtype == out.dtype for operand in operands if is_tensor(operand)
    )


def get_operand(reduction, value, out):
    """Return the expression of an operand, in the shape of the result."""
    if is_tensor(value):
        found = reduction.get(value)
    else:
        found = reduction.make_constant(out.new_full((), float(value)))
        found = replace(found, number=float(value))
    return found.view(found.values.expand(out.shape))


def make_plain(reduction, expression):
    """Return an expression that is nothing but values."""
    return Expression(reduction.make_values(expression))


def _unshift(reduction, expression):
    """Return an expression without a shift."""
    return make_plain(reduction, expression) if expression.shift else expression


def multiply(reduction, a, b):
    """Return the product of expressions of one shape; None where it is not simple."""
    if a.number is not None:
        a, b = b, a
    if b.number is not None:
        return a.multiply(b.number) if math.isfinite(b.number) else None
    a, b = _unshift(reduction, a), _unshift(reduction, b)
    operands, shape = [a.values, b.values], a.values.shape
    values = reduction.emit_by_element("mul", operands, shape)
    return Expression(values, scale=a.scale * b.scale)


def add(reduction, a, b, factor=1.0):
    """Return a + factor b, or None where that is not simple."""
    if not factor:
        return None
    if a.number is not None:
        b = b.multiply(factor)
        return b and b.add(a.number)
    if b.number is not None:
        return a.add(factor * b.number)
    scale, other = a.scale, factor * b.scale
    shift, first, second = a.shift + factor * b.shift, a.values, b.values
    if not (scale and other):
        # a product of small numbers
        return None
    if abs(other) != abs(scale):
        # the larger of the two is left as it is
        if count_places(second) > count_places(first):
            first, second, scale, other = second, first, other, scale
        ratio = other / scale
        if not 1e-30 < abs(ratio) < 1e30:
            return None
        second = reduction.emit_by_element("mul", [second, ratio], second.shape)
        other = scale
    name = "add" if other == scale else "sub"
    values = reduction.emit_by_element(name, [first, second], first.shape)
    return Expression(values, scale, shift)


def apply(reduction, name, expression, **settings):
    """Return a function of the values of an expression."""
    values = reduction.make_values(expression)
    values = reduction.emit_by_element(name, [values], values.shape, **settings)
    return Expression(values)


def _multiply(reduction, args, kwargs, out):
    if not is_float(out, *args):
        return None
    return multiply(reduction, *(get_operand(reduction, a, out) for a in args))


def _divide(reduction, args, kwargs, out):
    if not is_float(out, *args) or kwargs:
        return None
    a, b = (get_operand(reduction, value, out) for value in args)
    if b.number is not None:
        is_usable = b.number != 0 and math.isfinite(b.number)
        return a.multiply(1 / b.number) if is_usable else None
    b = _unshift(reduction, b)
    if not b.scale:
        return None
    if a.number is not None:
        found = apply(reduction, "reciprocal", Expression(b.values))
        return found.multiply(a.number / b.scale)
    a = _unshift(reduction, a)
    values = reduction.emit_by_element("div", [a.values, b.values], out.shape)
    return Expression(values, scale=a.scale / b.scale)


def _negate(reduction, args, kwargs, out):
    return reduction.get(args[0]).multiply(-1.0) if is_float(out, *args) else None


def _add(sign):
    """Return the rule of a sum or of a difference."""

    def rule(reduction, args, kwargs, out):
        if not is_float(out, *args):
            return None
        a, b = (get_operand(reduction, value, out) for value in args[:2])
        factor = kwargs.get("alpha", args[2] if len(args) > 2 else 1)
        return add(reduction, a, b, sign * float(factor))

    return rule


def _subtract_from(reduction, args, kwargs, out):
    return _add(-1)(reduction, (args[1], args[0], *args[2:]), kwargs, out)


def _add_product(reduction, args, kwargs, out):
    """Return a + value b c."""
    if not is_float(out, *args):
        return None
    a, b, c = (get_operand(reduction, value, out) for value in args)
    product = multiply(reduction, b, c)
    return product and add(reduction, a, product, float(kwargs.get("value", 1)))


def _power(reduction, args, kwargs, out):
    if not is_float(out, args[0]) or is_tensor(args[1]):
        return None
    base, exponent = get_operand(reduction, args[0], out), float(args[1])
    if exponent == 1:
        return base
    return multiply(reduction, base, base) if exponent == 2 else None


def _square(reduction, args, kwargs, out):
    return _power(reduction, (args[0], 2), kwargs, out)


def _function(name):
    """Return the rule of a function of one value."""

    def rule(reduction, args, kwargs, out):
        if not is_float(out, *args[:1]) or kwargs or len(args) > 1:
            return None
        return apply(reduction, name, get_operand(reduction, args[0], out))

    return rule


def _bound(reduction, x, low, high, out):
    """Return values cut to bounds, either of which may be None."""
    if not is_float(out, x) or is_tensor(low) or is_tensor(high):
        return None
    x = get_operand(reduction, x, out)
    return apply(reduction, "clamp", x, low=low, high=high)


def _clamp(reduction, args, kwargs, out):
    low, high = (*args[1:], None, None)[:2]
    low, high = kwargs.get("min", low), kwargs.get("max", high)
    return _bound(reduction, args[0], low, high, out)


def _clamp_min(reduction, args, kwargs, out):
    return _bound(reduction, args[0], args[1], None, out)


def _clamp_max(reduction, args, kwargs, out):
    return _bound(reduction, args[0], None, args[1], out)


def _relu(reduction, args, kwargs, out):
    return _bound(reduction, args[0], 0.0, None, out)


def _where(reduction, args, kwargs, out):
    """Return the gradient of `clamp`: zero outside bounds."""
    mask, grad, other = args
    bounds = reduction.bounds.get(get_place(mask))
    if bounds is None or not is_tensor(grad) or not is_float(out, grad, bounds[0]):
        return None
    is_zero = is_tensor(other) and reduction.get(other).number == 0
    x, low, high = bounds
    if not is_zero or x.shape != out.shape:
        return None
    # the bounds themselves are inside; those of torch's operation are outside, as are
    # infinite values
    low, high = (
        torch.nextafter(out.new_tensor(bound), out.new_tensor(far)).item()
        for bound, far in ((low, -math.inf), (high, math.inf))
    )
    grad = _unshift(reduction, get_operand(reduction, grad, out))
    operands = [grad.values, reduction.make_values(reduction.get(x))]
    values = reduction.emit_by_element(
        "bounded_gradient", operands, out.shape, low=low, high=high
    )
    return Expression(values, scale=grad.scale)


def _exp_below(reduction, x):
    """Return exp(min(x, 0))."""
    return apply(reduction, "exp", apply(reduction, "clamp", x, low=None, high=0.0))


def _celu(reduction, args, kwargs, out):
    """Return max(x, 0) + exp(min(x, 0)) - 1."""
    if len(args) > 1 or kwargs or not is_float(out, *args):
        return None
    x = make_plain(reduction, get_operand(reduction, args[0], out))
    high = apply(reduction, "clamp", x, low=0.0, high=None)
    return add(reduction, _exp_below(reduction, x), high).add(-1.0)


def _elu_backward(reduction, args, kwargs, out):
    """Return g exp(min(x, 0))."""
    grad, alpha, scale, input_scale, is_result, x = args
    is_plain = not is_result and alpha == scale == input_scale == 1
    if not is_plain or not is_float(out, grad, x):
        return None
    grad, x = (get_operand(reduction, value, out) for value in (grad, x))
    return multiply(reduction, grad, _exp_below(reduction, make_plain(reduction, x)))


def _tanh_backward(reduction, args, kwargs, out):
    """Return g (1 - y²)."""
    if not is_float(out, *args):
        return None
    grad, y = (get_operand(reduction, value, out) for value in args)
    if y.is_constant:
        return None
    slope = multiply(reduction, y, y).multiply(-1.0).add(1.0)
    return multiply(reduction, slope, grad)


def _sigmoid_backward(reduction, args, kwargs, out):
    """Return g y (1 - y)."""
    if not is_float(out, *args):
        return None
    grad, y = (get_operand(reduction, value, out) for value in args)
    if y.is_constant:
        return None
    slope = multiply(reduction, y, y)
    return multiply(reduction, add(reduction, y, slope, -1.0), grad)


RULES = {
    "add": _add(1),
    "addcmul": _add_product,
    "celu": _celu,
    "clamp": _clamp,
    "clamp_max": _clamp_max,
    "clamp_min": _clamp_min,
    "div": _divide,
    "elu_backward": _elu_backward,
    "mul": _multiply,
    "neg": _negate,
    "pow": _power,
    "relu": _relu,
    "rsub": _subtract_from,
    "sigmoid_backward": _sigmoid_backward,
    "square": _square,
    "sub": _add(-1),
    "tanh_backward": _tanh_backward,
    "where": _where,
    **{name: _function(name) for name in ("abs", "exp", "expm1", "log", "log1p")},
    **{name: _function(name) for name in ("reciprocal", "sign", "sqrt", "tanh")},
}
