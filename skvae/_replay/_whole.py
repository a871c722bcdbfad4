"""What is known of operations on whole tensors: sums, products, parts and layouts.

Rules are as in `_elementwise`.
"""

import torch

from ._elementwise import add, apply, get_operand, is_float, make_plain, multiply
from ._expression import Expression
from ._tensors import count_places, is_same_layout, make_like, make_result

# sums -------------------------------------------------------------------------------


def _reduce(reduction, name, values, dims):
    """Return a reduction that keeps its dimensions, as of size 1."""
    shape = [1 if d in dims else size for d, size in enumerate(values.shape)]
    out = make_result(shape, [values])
    return reduction.emit(name, [values], out, dims=tuple(dims))


def _find_dims(tensor, dims):
    n_dims = tensor.dim()
    return sorted({d % n_dims for d in dims or range(n_dims)}) if n_dims else []


def _squeeze(expression, dims):
    values = expression.values
    for dim in reversed(dims):
        values = values.squeeze(dim)
    return expression.view(values)


def sum_over(reduction, expression, dims):
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
        values = _reduce(reduction, "sum", values, left)
    return Expression(values, scale, expression.shift * count)


def _sum(reduction, args, kwargs, out):
    x, dims, keeps = (*args, None, False)[:3] if len(args) < 3 else args
    if kwargs.get("dtype") is not None or not is_float(out, x):
        return None
    dims = _find_dims(x, dims)
    found = sum_over(reduction, reduction.get(x), dims)
    return found if keeps else _squeeze(found, dims)


def _mean(reduction, args, kwargs, out):
    found = _sum(reduction, args, kwargs, out) if args[0].numel() else None
    return found and found.multiply(out.numel() / args[0].numel())


def _amax(reduction, args, kwargs, out):
    x, dims, keeps = (*args, [], False)[:3] if len(args) < 3 else args
    if kwargs or not is_float(out, x):
        return None
    dims = _find_dims(x, dims)
    x = reduction.make_values(reduction.get(x))
    found = Expression(_reduce(reduction, "amax", x, dims))
    return found if keeps else _squeeze(found, dims)


def _exponentiate(reduction, x, dims, is_bounded=False):
    """Return x - highest along dimensions, its exponential, the sum, the highest."""
    far = torch.finfo(x.values.dtype).max
    highest = Expression(_reduce(reduction, "amax", x.values, dims))
    # where all is -inf the difference must not be NaN, nor where one is inf and
    # the logarithm of the sum is asked for
    high = far if is_bounded else None
    highest = apply(reduction, "clamp", highest, low=-far, high=high)
    wide = highest.view(highest.values.expand(x.values.shape))
    centred = add(reduction, x, wide, -1.0)
    share = apply(reduction, "exp", centred)
    return centred, share, sum_over(reduction, share, dims), highest


def _logsumexp(reduction, args, kwargs, out):
    x, dims, keeps = (*args, False)[:3]
    if kwargs or not is_float(out, x):
        return None
    dims, x = _find_dims(x, dims), make_plain(reduction, reduction.get(x))
    _, _, total, highest = _exponentiate(reduction, x, dims, is_bounded=True)
    found = add(reduction, apply(reduction, "log", total), highest)
    return found if keeps else _squeeze(found, dims)


def _widen(reduction, expression, out):
    values = reduction.make_values(expression)
    return Expression(values.expand(out.shape))


def _softmax(reduction, args, kwargs, out):
    x, dim, is_half = args
    if is_half or not is_float(out, x):
        return None
    dims, x = _find_dims(x, [dim]), make_plain(reduction, reduction.get(x))
    _, share, total, _ = _exponentiate(reduction, x, dims)
    operands = [share.values, _widen(reduction, total, out).values]
    return Expression(reduction.emit_by_element("div", operands, out.shape))


def _log_softmax(reduction, args, kwargs, out):
    x, dim, is_half = args
    if is_half or not is_float(out, x):
        return None
    dims, x = _find_dims(x, [dim]), make_plain(reduction, reduction.get(x))
    centred, _, total, _ = _exponentiate(reduction, x, dims)
    total = _widen(reduction, apply(reduction, "log", total), out)
    return add(reduction, centred, total, -1.0)


def _softmax_backward(reduction, args, kwargs, out):
    """Return s (g - Σ s g), for shares s."""
    grad, share, dim, dtype = args
    if dtype != out.dtype or not is_float(out, grad, share):
        return None
    grad, share = (get_operand(reduction, value, out) for value in (grad, share))
    product = multiply(reduction, share, grad)
    if product is None:
        return None
    total = sum_over(reduction, product, _find_dims(out, [dim]))
    other = multiply(reduction, share, total.view(total.values.expand(out.shape)))
    return add(reduction, product, other, -1.0)


def _log_softmax_backward(reduction, args, kwargs, out):
    """Return g - exp(l) Σ g, for log-shares l."""
    grad, log_share, dim, dtype = args
    if dtype != out.dtype or not is_float(out, grad, log_share):
        return None
    grad, share = (get_operand(reduction, value, out) for value in (grad, log_share))
    total = sum_over(reduction, grad, _find_dims(out, [dim]))
    total = total.view(total.values.expand(out.shape))
    other = multiply(reduction, apply(reduction, "exp", share), total)
    return other and add(reduction, grad, other, -1.0)


# products ---------------------------------------------------------------------------


def _matmul(reduction, args, kwargs, out):
    if not is_float(out, *args) or not all(tensor.numel() for tensor in args[:2]):
        return None
    operands = [reduction.make_values(reduction.get(tensor)) for tensor in args]
    return Expression(reduction.emit("matmul", operands, make_like(out)))


def _add_matmul(reduction, args, kwargs, out):
    if any(value != 1 for value in kwargs.values()) or not is_float(out, *args):
        return None
    product = _matmul(reduction, args[1:], {}, out)
    return product and add(reduction, product, get_operand(reduction, args[0], out))


# parts and layouts ------------------------------------------------------------------


def _copy(reduction, args, kwargs, out):
    """Return what is copied: it never changes."""
    if args[0].dtype != out.dtype or args[0].device != out.device:
        return None
    expression = reduction.get(args[0])
    values = expression.values
    if count_places(values) < values.numel() or is_same_layout(values, out):
        return expression
    # another layout was asked for
    return reduction.make_dense(out, expression)


def _place(reduction, expression, dim, begin, out):
    """Return zeros that hold an expression from somewhere on along a dimension."""
    if expression.values.shape == out.shape:
        return expression
    operands = [reduction.make_values(expression)]
    out = make_like(out)
    return Expression(reduction.emit("pad", operands, out, dim=dim, begin=begin))


def _select_backward(reduction, args, kwargs, out):
    grad, shape, dim, index = args
    if not is_float(out, grad):
        return None
    dim, expression = dim % out.dim(), reduction.get(grad)
    expression = expression.view(expression.values.unsqueeze(dim))
    return _place(reduction, expression, dim, index % shape[dim], out)


def _slice_backward(reduction, args, kwargs, out):
    grad, shape, dim, begin, end, step = args
    if not is_float(out, grad) or step != 1:
        return None
    begin, _, _ = slice(begin, end).indices(shape[dim])
    return _place(reduction, reduction.get(grad), dim % out.dim(), begin, out)


def _pad_constant(reduction, args, kwargs, out):
    """Return zeros around a tensor; where a width is negative, a part of it."""
    x, widths, value = (*args, 0.0)[:3]
    if value != 0 or kwargs or not is_float(out, x):
        return None
    expression, places = reduction.get(x), []
    values = expression.values
    for i in range(len(widths) // 2):
        dim, (before, after) = out.dim() - 1 - i, widths[2 * i : 2 * i + 2]
        size = values.shape[dim] + min(before, 0) + min(after, 0)
        values = values.narrow(dim, max(-before, 0), size)
        if before > 0 or after > 0:
            places.append((dim, max(before, 0)))
    expression = expression.view(values)
    if len(places) > 1:
        return None
    return _place(reduction, expression, *places[0], out) if places else expression


def _join(reduction, expressions, dim, out):
    """Return expressions side by side along a dimension."""
    values = [reduction.make_values(expression) for expression in expressions]
    out = make_result(out.shape, values)
    return Expression(reduction.emit("cat", values, out, dim=dim))


def _cat(reduction, args, kwargs, out):
    tensors, dim = (*args, kwargs.get("dim", 0))[:2]
    if not is_float(out, *tensors):
        return None
    found = [reduction.get(tensor) for tensor in tensors if tensor.numel()]
    return _join(reduction, found, dim % out.dim(), out)


def _stack(reduction, args, kwargs, out):
    tensors, dim = (*args, kwargs.get("dim", 0))[:2]
    if not is_float(out, *tensors):
        return None
    dim, found = dim % out.dim(), [reduction.get(tensor) for tensor in tensors]
    found = [e.view(e.values.unsqueeze(dim)) for e in found]
    return _join(reduction, found, dim, out)


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
