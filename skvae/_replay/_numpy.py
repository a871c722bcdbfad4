"""Operations done by numpy on the memory of tensors.

For small arrays that is two to five times as fast as torch, which spends more time on
finding out what to do than on doing it. Layouts are merged to as few dimensions as they
allow, so that most operations are one long loop.
"""

import math
from functools import partial

import numpy as np
import torch

# where a maximum is taken part by part: parts at most, results for each of them at
# least, and neighbours in memory of which it is as fast at once
_MOST_PARTS, _LEAST_RESULTS, _LONG_RUN = 8, 100, 128
# names of numpy's functions where they are not those of torch
_NAMES = {"abs": "absolute", "div": "divide", "mul": "multiply", "sub": "subtract"}


def _merge(tensors):
    """Return views of as few dimensions as the layouts allow.

    The last tensor has the shape of the result. Others may be numbers.
    """
    out = tensors[-1]
    known = [t for t in tensors if torch.is_tensor(t)]
    if all(t.shape == out.shape and t.is_contiguous() for t in known):
        shape = () if out.numel() == 1 else (-1,)
        return [t.detach().view(shape) if torch.is_tensor(t) else t for t in tensors]
    views = [t.expand(out.shape) if torch.is_tensor(t) else t for t in tensors]
    all_strides = [
        v.stride() if torch.is_tensor(v) else (0,) * out.dim() for v in views
    ]
    dims = [d for d in range(out.dim()) if out.shape[d] != 1]
    dims.sort(key=lambda d: -out.stride(d))
    merged = []
    for d in dims:
        size, strides = out.shape[d], [strides[d] for strides in all_strides]
        if merged:
            outer, last = merged[-1]
            if all(a == b * size for a, b in zip(last, strides, strict=True)):
                merged[-1] = outer * size, strides
                continue
        merged.append((size, strides))
    found = []
    for i, view in enumerate(views):
        if not torch.is_tensor(view):
            found.append(view)
            continue
        shape = [size for size, _ in merged]
        strides = [strides[i] for _, strides in merged]
        if i < len(views) - 1 and not any(strides):
            # one number
            shape, strides = [], []
        found.append(view.as_strided(shape, strides, view.storage_offset()).detach())
    return found


def _as_arrays(*tensors):
    """Return the same as arrays."""
    *rest, out = _merge(tensors)
    out = out.numpy()
    # numpy is faster with an array () than with a number
    rest = [t.numpy() if torch.is_tensor(t) else np.asarray(t, out.dtype) for t in rest]
    return [*rest, out]


def flatten_pair(tensors):
    """Return tensors in the order of memory, which is the same for both."""
    return [
        t.as_strided((t.numel(),), (1,), t.storage_offset()).detach() for t in tensors
    ]


def _apply(node):
    # by position: a third of a small operation would go to reading the name
    function = getattr(np, _NAMES.get(node.name, node.name))
    return [partial(function, *_as_arrays(*node.reads, *node.out))]


def _copy(node):
    source, out = _as_arrays(*node.reads, *node.out)
    return [partial(np.copyto, out, source)]


def _affine(node, scale, shift):
    source, out = _as_arrays(*node.reads, *node.out)
    scale, shift = np.asarray(scale, out.dtype), np.asarray(shift, out.dtype)
    found = [partial(np.multiply, source, scale, out)]
    return [*found, partial(np.add, out, shift, out)] if shift else found


def _clamp(node, low, high):
    source, out = _merge([*node.reads, *node.out])
    return [partial(torch.clamp, source, low, high, out=out)]


def _bounded_gradient(node, low, high):
    *reads, out = _merge([*node.reads, *node.out])
    function = torch.ops.aten.hardtanh_backward.grad_input
    return [partial(function, *reads, low, high, grad_input=out)]


def _matmul(node):
    a, b = (tensor.detach().numpy() for tensor in node.reads)
    out = node.out[0].numpy()
    if out.ndim == 2 and out.flags.c_contiguous:
        # with the least to find out
        return [partial(a.dot, b, out)]
    return [partial(np.matmul, a, b, out)]


def _dot(node):
    a, b = (tensor.numpy() for tensor in flatten_pair(node.reads))
    return [partial(a.dot, b, node.out[0].numpy())]


def _pad(node, dim, begin):
    (source,), (out,) = node.reads, node.out
    out.zero_()
    source, part = _as_arrays(source, out.narrow(dim, begin, source.shape[dim]))
    return [partial(np.copyto, part, source)]


def _split_axes(source, out, dims):
    """Return what is reduced and where that goes, as arrays, and the axes."""
    keeps = out.dim() == source.dim()
    places, found = iter(range(out.dim())), []
    for d in range(source.dim()):
        place = next(places) if keeps or d not in dims else None
        if source.shape[d] != 1:
            to = 0 if d in dims else out.stride(place)
            found.append((source.shape[d], source.stride(d), to, d in dims))
    merged = []
    for size, stride, to, is_reduced in sorted(found, key=lambda f: -f[1]):
        if merged:
            outer, last, last_to, last_reduced = merged[-1]
            is_joined = last_reduced == is_reduced and last == stride * size
            if is_joined and last_to == to * size:
                merged[-1] = outer * size, stride, to, is_reduced
                continue
        merged.append((size, stride, to, is_reduced))
    shape, strides = [m[0] for m in merged], [m[1] for m in merged]
    array = source.as_strided(shape, strides, source.storage_offset())
    kept = [m for m in merged if not m[3]]
    shape, strides = [m[0] for m in kept], [m[2] for m in kept]
    result = out.as_strided(shape, strides, out.storage_offset())
    axes = tuple(i for i, m in enumerate(merged) if m[3])
    return array.detach().numpy(), result.numpy(), axes


def _fold(node, dims):
    array, result, axes = _split_axes(node.reads[0], node.out[0], dims)
    if not axes:
        return [partial(np.copyto, result, array)]
    if node.name == "sum" and len(axes) == 1:
        # a product with ones is several times as fast as a sum
        found = _multiply_with_ones(array, result, axes[0])
        if found is not None:
            return [found]
    if node.name == "amax" and len(axes) == 1 and _suits_parts(array, axes[0]):
        return _compare_parts(array, result, axes[0])
    reduce = np.add.reduce if node.name == "sum" else np.maximum.reduce
    return [partial(reduce, array, axes if len(axes) > 1 else axes[0], None, result)]


def _suits_parts(array, axis):
    """Return whether a maximum over an axis is faster part by part."""
    n_parts, inner = array.shape[axis], math.prod(array.shape[axis + 1 :])
    is_large = array.size >= _LEAST_RESULTS * n_parts**2
    return n_parts <= _MOST_PARTS and is_large and inner < _LONG_RUN


def _compare_parts(array, result, axis):
    """Return functions that take a maximum over an axis part by part.

    Over components of mixtures they take a third of the time of one for all.
    """
    first, second, *others = np.moveaxis(array, axis, 0)
    found = [partial(np.maximum, first, second, out=result)]
    return found + [partial(np.maximum, result, other, out=result) for other in others]


def _multiply_with_ones(array, result, axis):
    """Return the sum over one axis as a matrix product, None if that does not suit."""
    if not (array.flags.c_contiguous and result.flags.c_contiguous and array.size):
        return None
    ones = np.ones(array.shape[axis], array.dtype)
    if array.ndim == 1:
        return partial(array.dot, ones, result)
    if axis == array.ndim - 1:
        return partial(array.reshape(-1, len(ones)).dot, ones, result.reshape(-1))
    if axis == 0:
        return partial(ones.dot, array.reshape(len(ones), -1), result.reshape(-1))
    if array.ndim == 3:
        return partial(np.matmul, ones[None], array, result[:, None])
    return None


NUMPY = {
    **dict.fromkeys(("abs", "add", "div", "exp", "expm1", "log", "log1p"), _apply),
    **dict.fromkeys(("mul", "reciprocal", "sign", "sqrt", "sub", "tanh"), _apply),
    "affine": _affine,
    "amax": _fold,
    "bounded_gradient": _bounded_gradient,
    "clamp": _clamp,
    "copy": _copy,
    "dot": _dot,
    "matmul": _matmul,
    "pad": _pad,
    "sum": _fold,
}
