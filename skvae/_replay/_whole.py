"""What is known of operations on whole tensors: sums, products, parts and layouts.

Rules are as in `_elementwise`.
"""

import torch

from ._elementwise import add, apply, make_plain, multiply
from ._expression import Expression
from ._tensors import count_places, is_same_layout, make_like, make_result

# sums -------------------------------------------------------------------------------


def _fold(builder, name, values, dims):
    """Return a reduction that keeps its dimensions, as of size 1."""
    shape = tuple(1 if d in dims else n for d, n in enumerate(values.shape))
    out = make_result(shape, [values])
    return builder.emit(name, [values], out, dims=tuple(dims))


def _find_dims(expression, dims):
    n_dims = expression.values.dim()
    return sorted({d % n_dims for d in dims or range(n_dims)}) if n_dims else []


def _squeeze(expression, dims):
    values = expression.values
    for dim in reversed(dims):
        values = values.squeeze(dim)
    return expression.view(values)


def sum_over(builder, expression, dims):
    """Return the sum over dimensions, which are kept as of size 1."""
    values, scale, count = expression.values, expression.scale, 1
    for dim in dims:
        count *= values.shape[dim]
        if values.stride(dim) == 0 and values.shape[dim] > 1:
            # what is the same along a dimension is counted
            scale *= values.shape[dim]
            values = values.narrow(dim, 0, 1)
    left = [d for d in dims if values.shape[d] != 1]
    if left:
        values = _fold(builder, "sum", values, left)
    return Expression(values, scale, expression.shift * count)


def _sum(builder, call, x, dims=None, keeps=False, dtype=None):
    if dtype is not None:
        return None
    dims = _find_dims(x, dims)
    found = sum_over(builder, x, dims)
    return found if keeps else _squeeze(found, dims)


def _mean(builder, call, x, *args, **kwargs):
    found = _sum(builder, call, x, *args, **kwargs) if x.values.numel() else None
    return found and found.multiply(call.out.numel() / x.values.numel())


def _amax(builder, call, x, dims=None, keeps=False):
    dims = _find_dims(x, dims)
    found = Expression(_fold(builder, "amax", builder.make_values(x), dims))
    return found if keeps else _squeeze(found, dims)


def _exponentiate(builder, x, dims, is_bounded=False):
    """Return x - highest along dimensions, its exponential, the sum, the highest."""
    far = torch.finfo(x.values.dtype).max
    highest = Expression(_fold(builder, "amax", x.values, dims))
    # where all is -inf the difference must not be NaN, nor where one is inf and
    # the logarithm of the sum is asked for
    high = far if is_bounded else None
    highest = apply(builder, "clamp", highest, low=-far, high=high)
    centred = add(builder, x, highest.expand(x.values.shape), -1.0)
    share = apply(builder, "exp", centred)
    return centred, share, sum_over(builder, share, dims), highest


def _logsumexp(builder, call, x, dims, keeps=False):
    dims, x = _find_dims(x, dims), make_plain(builder, x)
    _, _, total, highest = _exponentiate(builder, x, dims, is_bounded=True)
    found = add(builder, apply(builder, "log", total), highest)
    return found if keeps else _squeeze(found, dims)


def _softmax(builder, call, x, dim, is_half):
    dims, x = _find_dims(x, [dim]), make_plain(builder, x)
    _, share, total, _ = _exponentiate(builder, x, dims)
    shape = share.values.shape
    operands = [share.values, builder.make_values(total).expand(shape)]
    return Expression(builder.emit_by_element("div", operands, shape))


def _log_softmax(builder, call, x, dim, is_half):
    dims, x = _find_dims(x, [dim]), make_plain(builder, x)
    centred, _, total, _ = _exponentiate(builder, x, dims)
    total = apply(builder, "log", total).expand(x.values.shape)
    return add(builder, centred, total, -1.0)


def _softmax_backward(builder, call, grad, share, dim, dtype):
    """Return s (g - Σ s g), for shares s."""
    product = multiply(builder, share, grad) if dtype == call.out.dtype else None
    if product is None:
        return None
    total = sum_over(builder, product, _find_dims(share, [dim]))
    other = multiply(builder, share, total.expand(share.values.shape))
    return add(builder, product, other, -1.0)


def _log_softmax_backward(builder, call, grad, share, dim, dtype):
    """Return g - exp(l) Σ g, for log-shares l."""
    if dtype != call.out.dtype:
        return None
    total = sum_over(builder, grad, _find_dims(share, [dim]))
    total = total.expand(share.values.shape)
    other = multiply(builder, apply(builder, "exp", share), total)
    return other and add(builder, grad, other, -1.0)


# products ---------------------------------------------------------------------------


def _matmul(builder, call, a, b):
    operands = [builder.make_values(a), builder.make_values(b)]
    if not all(values.numel() for values in operands):
        return None
    return Expression(builder.emit("matmul", operands, make_like(call.out)))


def _add_matmul(builder, call, x, a, b, beta=1, alpha=1):
    product = _matmul(builder, call, a, b) if alpha == beta == 1 else None
    return product and add(builder, product, x.expand(call.out.shape))


# parts and layouts ------------------------------------------------------------------


def _copy(builder, call, x, **kwargs):
    """Return what is copied: it never changes."""
    values, out = x.values, call.out
    if values.device != out.device:
        return None
    if count_places(values) < values.numel() or is_same_layout(values, out):
        return x
    # another layout was asked for
    return builder.make_dense(out, x)


def _place(builder, call, expression, dim, begin):
    """Return zeros that hold an expression from somewhere on along a dimension."""
    if expression.values.shape == call.out.shape:
        return expression
    operands, out = [builder.make_values(expression)], make_like(call.out)
    return Expression(builder.emit("pad", operands, out, dim=dim, begin=begin))


def _select_backward(builder, call, grad, shape, dim, index):
    dim %= len(shape)
    grad = grad.view(grad.values.unsqueeze(dim))
    return _place(builder, call, grad, dim, index % shape[dim])


def _slice_backward(builder, call, grad, shape, dim, begin, end, step):
    if step != 1:
        return None
    begin, _, _ = slice(begin, end).indices(shape[dim])
    return _place(builder, call, grad, dim % len(shape), begin)


def _pad_constant(builder, call, x, widths, value=0.0):
    """Return zeros around a tensor; where a width is negative, a part of it."""
    values, places = x.values, []
    for i in range(len(widths) // 2):
        dim, (before, after) = values.dim() - 1 - i, widths[2 * i : 2 * i + 2]
        size = values.shape[dim] + min(before, 0) + min(after, 0)
        values = values.narrow(dim, max(-before, 0), size)
        if before > 0 or after > 0:
            places.append((dim, max(before, 0)))
    if value != 0 or len(places) > 1:
        return None
    x = x.view(values)
    return _place(builder, call, x, *places[0]) if places else x


def _join(builder, expressions, dim, shape):
    """Return expressions side by side along a dimension."""
    values = [builder.make_values(expression) for expression in expressions]
    out = make_result(shape, values)
    return Expression(builder.emit("cat", values, out, dim=dim))


def _cat(builder, call, expressions, dim=0):
    shape, found = call.out.shape, [e for e in expressions if e.values.numel()]
    return _join(builder, found, dim % len(shape), shape)


def _stack(builder, call, expressions, dim=0):
    shape = call.out.shape
    dim %= len(shape)
    found = [e.view(e.values.unsqueeze(dim)) for e in expressions]
    return _join(builder, found, dim, shape)


RULES = {
    "_log_softmax": _log_softmax,
    "_log_softmax_backward_data": _log_softmax_backward,
    "_softmax": _softmax,
    "_softmax_backward_data": _softmax_backward,
    "_to_copy": _copy,
    "addmm": _add_matmul,
    "amax": _amax,
    "baddbmm": _add_matmul,
    "bmm": _matmul,
    "cat": _cat,
    "clone": _copy,
    "constant_pad_nd": _pad_constant,
    "logsumexp": _logsumexp,
    "mean": _mean,
    "mm": _matmul,
    "select_backward": _select_backward,
    "slice_backward": _slice_backward,
    "stack": _stack,
    "sum": _sum,
}
