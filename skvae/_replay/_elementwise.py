"""What is known of operations that work element by element.

A rule takes the builder, the call and its arguments, with an `Expression` in the place
of every tensor, in the shape of the result. All are of one floating-point type. It
returns an `Expression`, or None where it knows nothing better than the call itself.
"""

import math

import torch

from ._expression import Expression
from ._tensors import count_places, get_place


def _get_number(value):
    """Return the number that an operand is everywhere, or None."""
    return value.number if isinstance(value, Expression) else float(value)


def make_plain(builder, expression):
    """Return an expression that is nothing but values."""
    return Expression(builder.make_values(expression))


def _unshift(builder, expression):
    """Return an expression without a shift."""
    return make_plain(builder, expression) if expression.shift else expression


def multiply(builder, a, b):
    """Return the product of operands; None where it is not simple."""
    if _get_number(a) is not None:
        a, b = b, a
    number = _get_number(b)
    if number is not None:
        return a.multiply(number) if math.isfinite(number) else None
    a, b = _unshift(builder, a), _unshift(builder, b)
    values = builder.emit_by_element("mul", [a.values, b.values], a.values.shape)
    return Expression(values, scale=a.scale * b.scale)


def add(builder, a, b, factor=1.0):
    """Return a + factor b, or None where that is not simple."""
    if not factor:
        return None
    if _get_number(a) is not None:
        b = b.multiply(factor)
        return b and b.add(_get_number(a))
    if _get_number(b) is not None:
        return a.add(factor * _get_number(b))
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
        second = builder.emit_by_element("mul", [second, ratio], second.shape)
        other = scale
    name = "add" if other == scale else "sub"
    values = builder.emit_by_element(name, [first, second], first.shape)
    return Expression(values, scale, shift)


def apply(builder, name, expression, **settings):
    """Return a function of the values of an expression."""
    values = builder.make_values(expression)
    values = builder.emit_by_element(name, [values], values.shape, **settings)
    return Expression(values)


def _multiply(builder, call, a, b):
    return multiply(builder, a, b)


def _divide(builder, call, a, b, rounding_mode=None):
    if rounding_mode is not None:
        return None
    number = _get_number(b)
    if number is not None:
        is_usable = number != 0 and math.isfinite(number)
        return a.multiply(1 / number) if is_usable else None
    b = _unshift(builder, b)
    if not b.scale:
        return None
    if _get_number(a) is not None:
        found = apply(builder, "reciprocal", Expression(b.values))
        return found.multiply(_get_number(a) / b.scale)
    a = _unshift(builder, a)
    values = builder.emit_by_element("div", [a.values, b.values], b.values.shape)
    return Expression(values, scale=a.scale / b.scale)


def _negate(builder, call, x):
    return x.multiply(-1.0)


def _add(builder, call, a, b, alpha=1):
    return add(builder, a, b, float(alpha))


def _subtract(builder, call, a, b, alpha=1):
    return add(builder, a, b, -float(alpha))


def _subtract_from(builder, call, a, b, alpha=1):
    return add(builder, b, a, -float(alpha))


def _add_product(builder, call, a, b, c, value=1):
    product = multiply(builder, b, c)
    return product and add(builder, a, product, float(value))


def _power(builder, call, base, exponent):
    if not isinstance(base, Expression) or isinstance(exponent, Expression):
        return None
    if exponent == 1:
        return base
    return multiply(builder, base, base) if exponent == 2 else None


def _square(builder, call, x):
    return multiply(builder, x, x)


def _function(name):
    """Return the rule of a function of one value."""

    def rule(builder, call, x):
        return apply(builder, name, x)

    return rule


def _clamp(builder, call, x, min=None, max=None):
    """Return values cut to bounds, either of which may be None."""
    if isinstance(min, Expression) or isinstance(max, Expression):
        return None
    return apply(builder, "clamp", x, low=min, high=max)


def _clamp_max(builder, call, x, max):
    return _clamp(builder, call, x, None, max)


def _relu(builder, call, x):
    return _clamp(builder, call, x, 0.0)


def _where(builder, call, mask, grad, other):
    """Return the gradient of `clamp`: zero outside bounds."""
    out, found = call.out, builder.bounds.get(get_place(call.args[0]))
    if found is None or not isinstance(grad, Expression) or _get_number(other) != 0:
        return None
    x, low, high, _ = found
    if get_place(x) not in builder.clamped:
        # whose NaN and infinities may well be finite here
        return None
    if x.shape != out.shape or x.dtype != out.dtype:
        return None
    # the bounds themselves are inside; those of torch's operation are outside, as are
    # infinite values
    low, high = (
        torch.nextafter(out.new_tensor(bound), out.new_tensor(far)).item()
        for bound, far in ((low, -math.inf), (high, math.inf))
    )
    grad = _unshift(builder, grad)
    operands = [grad.values, builder.make_values(builder.get(x))]
    values = builder.emit_by_element(
        "bounded_gradient", operands, out.shape, low=low, high=high
    )
    return Expression(values, scale=grad.scale)


def _exp_below(builder, x):
    """Return exp(min(x, 0))."""
    return apply(builder, "exp", apply(builder, "clamp", x, low=None, high=0.0))


def _celu(builder, call, x, alpha=1):
    """Return max(x, 0) + exp(min(x, 0)) - 1."""
    if alpha != 1:
        return None
    x = make_plain(builder, x)
    high = apply(builder, "clamp", x, low=0.0, high=None)
    return add(builder, _exp_below(builder, x), high).add(-1.0)


def _elu_backward(builder, call, grad, alpha, scale, input_scale, is_result, x):
    """Return g exp(min(x, 0))."""
    if is_result or not alpha == scale == input_scale == 1:
        return None
    return multiply(builder, grad, _exp_below(builder, make_plain(builder, x)))


def _tanh_backward(builder, call, grad, y):
    """Return g (1 - y²)."""
    if y.is_constant:
        return None
    slope = multiply(builder, y, y).multiply(-1.0).add(1.0)
    return multiply(builder, slope, grad)


def _sigmoid_backward(builder, call, grad, y):
    """Return g y (1 - y)."""
    if y.is_constant:
        return None
    return multiply(builder, add(builder, y, multiply(builder, y, y), -1.0), grad)


RULES = {
    "add": _add,
    "addcmul": _add_product,
    "celu": _celu,
    "clamp": _clamp,
    "clamp_max": _clamp_max,
    "clamp_min": _clamp,
    "div": _divide,
    "elu_backward": _elu_backward,
    "mul": _multiply,
    "neg": _negate,
    "pow": _power,
    "relu": _relu,
    "rsub": _subtract_from,
    "sigmoid_backward": _sigmoid_backward,
    "square": _square,
    "sub": _subtract,
    "tanh_backward": _tanh_backward,
    "where": _where,
    **{name: _function(name) for name in ("abs", "exp", "expm1", "log", "log1p")},
    **{name: _function(name) for name in ("reciprocal", "sign", "sqrt", "tanh")},
}
