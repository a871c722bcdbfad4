"""Translations of operators that take, join or make values."""

import numpy as np
import torch
from onnx import helper

from ._row_count import is_rows
from ._trace import UnknownOperatorError
from ._translator import (
    ATEN,
    get_dim,
    get_dtype,
    get_fixed_dim,
    get_shape,
    list_dims,
    to_onnx_type,
    translates,
)


@translates(ATEN.view.default, ATEN._unsafe_view.default, ATEN.reshape.default)
def _view(t, node, x, shape):
    return t.get_view(x)


@translates(ATEN.expand.default)
def _expand(t, node, x, shape, implicit=False):
    before, after = get_shape(x), get_shape(node)
    before = (1,) * (len(after) - len(before)) + before
    if before == after and len(get_shape(x)) == len(after):
        return t.name(x)
    # sizes that stay are 1 here
    sizes = [1 if a == b else b for a, b in zip(before, after, strict=True)]
    return t.add("Expand", t.name(x), t.sizes(sizes))


@translates(ATEN.unsqueeze.default)
def _unsqueeze(t, node, x, dim):
    dim = dim % (len(get_shape(x)) + 1)
    return t.add("Unsqueeze", t.name(x), t.integers(dim))


@translates(ATEN.squeeze.dim, ATEN.squeeze.dims)
def _squeeze(t, node, x, dims):
    shape = get_shape(x)
    dims = [dim for dim in list_dims(dims, x) if shape[dim] == 1]
    return t.add("Squeeze", t.name(x), t.integers(*dims)) if dims else t.name(x)


@translates(ATEN.transpose.int)
def _transpose(t, node, x, first, second):
    order = list(range(len(get_shape(x))))
    order[first], order[second] = order[second], order[first]
    return t.add("Transpose", t.name(x), perm=order)


@translates(ATEN.t.default)
def _t(t, node, x):
    return t.add("Transpose", t.name(x))


@translates(ATEN.permute.default)
def _permute(t, node, x, dims):
    return t.add("Transpose", t.name(x), perm=list_dims(dims, x))


@translates(ATEN.cat.default)
def _cat(t, node, parts, dim=0):
    parts = [part for part in parts if get_shape(part) != (0,)]
    dim, dtype = get_dim(dim, parts[0]), get_dtype(node)
    views = [_get_matrix(t, part, get_shape(part)[-1]) for part in parts]
    is_last = dim == len(get_shape(node)) - 1
    if not is_last or not any(views) or {get_dtype(part) for part in parts} != {dtype}:
        names = [t.name(part, dtype) for part in parts]
        return t.add("Concat", *names, axis=dim)
    # rows of matrices are joined, and have their shape where it is asked for
    *leading, width = get_shape(node)
    n_rows = int(np.prod(leading))
    names = [
        view or t.shape_view(t.get_view(part), (n_rows, get_shape(part)[-1]))
        for part, view in zip(parts, views, strict=True)
    ]
    return t.add("Concat", *names, axis=1), (n_rows, width)


def _get_matrix(t, x, width):
    """Return the name of a matrix of some width that has the values, if there is."""
    name, shape = t.views.get(x, (None, ()))
    return name if len(shape) == 2 and shape[1] == width else None


@translates(ATEN.stack.default)
def _stack(t, node, parts, dim=0):
    dim = dim % len(get_shape(node))
    parts = [
        t.add("Unsqueeze", t.name(part, get_dtype(node)), t.integers(dim))
        for part in parts
    ]
    return t.add("Concat", *parts, axis=dim)


@translates(ATEN.split_with_sizes.default)
def _split_with_sizes(t, node, x, sizes, dim=0):
    names, begin, dim = [], 0, get_fixed_dim(dim, x)
    for size in sizes:
        names.append(_cut(t, t.name(x), dim, begin, begin + size))
        begin += size
    return names


@translates(ATEN.split.Tensor)
def _split(t, node, x, size, dim=0):
    dim = get_fixed_dim(dim, x)
    total = get_shape(x)[dim]
    starts = range(0, total, size)
    return [_cut(t, t.name(x), dim, i, min(i + size, total)) for i in starts]


@translates(ATEN.unbind.int)
def _unbind(t, node, x, dim=0):
    dim, shape = get_fixed_dim(dim, x), get_shape(x)
    rest = shape[:dim] + shape[dim + 1 :]
    return [t.shape_view(_take(t, x, dim, i), rest) for i in range(shape[dim])]


@translates(ATEN.select.int)
def _select(t, node, x, dim, index):
    dim = get_fixed_dim(dim, x)
    return _take(t, x, dim, index % get_shape(x)[dim])


@translates(ATEN.slice.Tensor)
def _slice(t, node, x, dim=0, begin=None, end=None, step=1):
    if get_shape(x) == get_shape(node) and step == 1:
        return t.name(x)
    dim = get_fixed_dim(dim, x)
    size = get_shape(x)[dim]
    begin, end, _ = slice(begin, end).indices(size)
    return _cut(t, t.name(x), dim, begin, end, step)


def _cut(t, name, dim, begin, end, step=1):
    ends = [t.integers(v) for v in (begin, end, dim, step)]
    return t.add("Slice", name, *ends)


def _take(t, x, dim, index):
    """Return a view of the values at one place of a dimension."""
    shape = get_shape(x)
    name = _get_matrix(t, x, int(np.prod(shape[dim:])))
    if name is None:
        place = t.nodes.constant(np.int64(index))
        found = t.add("Gather", t.name(x), place, axis=dim)
        return found, shape[:dim] + shape[dim + 1 :]
    # the dimensions from this one on are columns of a matrix
    n_rows, width = int(np.prod(shape[:dim])), int(np.prod(shape[dim + 1 :]))
    if shape[dim] > 1:
        name = _cut(t, name, 1, index * width, (index + 1) * width)
    return name, (n_rows, width)


@translates(ATEN.slice_scatter.default)
def _slice_scatter(t, node, x, part, dim=0, begin=None, end=None, step=1):
    dim = get_fixed_dim(dim, x)
    size = get_shape(x)[dim]
    begin, end, _ = slice(begin, end).indices(size)
    if step != 1:
        raise UnknownOperatorError("aten.slice_scatter with a step")
    name, parts = t.name(x), [t.name(part, get_dtype(node))]
    if begin > 0:
        parts.insert(0, _cut(t, name, dim, 0, begin))
    if end < size:
        parts.append(_cut(t, name, dim, end, size))
    return parts[0] if len(parts) == 1 else t.add("Concat", *parts, axis=dim)


@translates(ATEN.select_scatter.default)
def _select_scatter(t, node, x, part, dim, index):
    dim = get_fixed_dim(dim, x)
    size = get_shape(x)[dim]
    index, name = index % size, t.name(x)
    parts = [t.add("Unsqueeze", t.name(part, get_dtype(node)), t.integers(dim))]
    if index > 0:
        parts.insert(0, _cut(t, name, dim, 0, index))
    if index + 1 < size:
        parts.append(_cut(t, name, dim, index + 1, size))
    return parts[0] if len(parts) == 1 else t.add("Concat", *parts, axis=dim)


@translates(ATEN.copy.default)
def _copy(t, node, x, source, non_blocking=False):
    name = t.name(source, get_dtype(node))
    if get_shape(source) == get_shape(node):
        return name
    return t.add("Expand", name, t.sizes(get_shape(node)))


@translates(ATEN.index_select.default)
def _index_select(t, node, x, dim, index):
    size, chosen = get_shape(x)[dim], t.tensors.get(index)
    if chosen is not None and chosen.tolist() == list(range(size)):
        return t.name(x)
    return t.add("Gather", t.name(x), t.name(index), axis=get_dim(dim, x))


@translates(ATEN.embedding.default)
def _embedding(t, node, weight, index, *args):
    return t.add("Gather", t.name(weight), t.name(index), axis=0)


@translates(ATEN.take.default)
def _take_flat(t, node, x, index):
    flat = t.add("Reshape", t.name(x), t.integers(-1))
    return t.add("Gather", flat, t.name(index), axis=0)


@translates(ATEN.gather.default)
def _gather(t, node, x, dim, index, sparse_grad=False):
    names = t.name(x), t.name(index)
    return t.add("GatherElements", *names, axis=get_dim(dim, x))


@translates(ATEN.index.Tensor)
def _index(t, node, x, indices):
    known = [i for i, index in enumerate(indices) if index is not None]
    if len(known) != 1:
        raise UnknownOperatorError("aten.index of several dimensions")
    (dim,) = known
    return t.add("Gather", t.name(x), t.name(indices[dim]), axis=dim)


@translates(ATEN.index_put.default)
def _index_put(t, node, x, indices, values, accumulate=False):
    shape, known = get_shape(x), [i for i in indices if i is not None]
    is_last = len(known) == 2 and len(indices) == len(shape)
    is_last = is_last and not any(map(is_rows, shape[-2:]))
    if accumulate or not is_last or any(i not in t.tensors for i in known):
        raise UnknownOperatorError("aten.index_put of other places than in a matrix")
    # places from the end are negative
    row, column = (
        t.tensors[i].numpy() % size for i, size in zip(known, shape[-2:], strict=True)
    )
    places = row * shape[-1] + column
    # which of the values is at every place of the matrix, if any
    source = np.zeros(shape[-2] * shape[-1], dtype=np.int64)
    source[places] = np.arange(len(places))
    is_put = np.isin(np.arange(len(source)), places)
    found = t.add("Gather", t.name(values), t.nodes.constant(source), axis=-1)
    flat = t.reshape(t.name(x), (*shape[:-2], len(source)))
    found = t.add("Where", t.nodes.constant(is_put), found, flat)
    return t.reshape(found, shape)


@translates(ATEN.flip.default)
def _flip(t, node, x, dims):
    name = t.name(x)
    for dim in list_dims(dims, x):
        order = list(reversed(range(get_shape(x)[get_fixed_dim(dim, x)])))
        name = t.add("Gather", name, t.integers(*order), axis=dim)
    return name


@translates(ATEN.diagonal.default)
def _diagonal(t, node, x, offset=0, dim1=0, dim2=1):
    shape = get_shape(x)
    n_dims = len(shape)
    dims = {dim1 % n_dims, dim2 % n_dims}
    is_square = shape[-1] == shape[-2] and not is_rows(shape[-1])
    if offset or dims != {n_dims - 2, n_dims - 1} or not is_square:
        raise UnknownOperatorError("aten.diagonal of other dimensions than the last")
    identity = t.constant(torch.eye(shape[-1], dtype=get_dtype(node)))
    product = t.add("Mul", t.name(x), identity)
    return t.add("ReduceSum", product, t.integers(n_dims - 1), keepdims=0)


@translates(ATEN.tril.default)
def _tril(t, node, x, diagonal=0):
    return t.add("Trilu", t.name(x), t.nodes.constant(np.int64(diagonal)), upper=0)


@translates(ATEN.triu.default)
def _triu(t, node, x, diagonal=0):
    return t.add("Trilu", t.name(x), t.nodes.constant(np.int64(diagonal)), upper=1)


@translates(ATEN.constant_pad_nd.default)
def _constant_pad(t, node, x, pad, value=0):
    n_dims = len(get_shape(x))
    before, after = [0] * n_dims, [0] * n_dims
    for i in range(len(pad) // 2):
        before[n_dims - 1 - i], after[n_dims - 1 - i] = pad[2 * i : 2 * i + 2]
    pads = t.integers(*before, *after)
    return t.add("Pad", t.name(x), pads, t.constant(value, get_dtype(node)))


@translates(
    ATEN.new_zeros.default,
    ATEN.zeros.default,
    ATEN.zeros_like.default,
    ATEN.empty.memory_format,
    ATEN.empty_permuted.default,
    ATEN.empty_like.default,
    ATEN.new_empty.default,
)
def _zeros(t, node, *args, **kwargs):
    return _fill(t, node, 0)


@translates(ATEN.new_ones.default, ATEN.ones.default, ATEN.ones_like.default)
def _ones(t, node, *args, **kwargs):
    return _fill(t, node, 1)


@translates(ATEN.new_full.default, ATEN.full_like.default)
def _full_like(t, node, x, *args, **kwargs):
    return _fill(t, node, args[-1])


@translates(ATEN.arange.default, ATEN.arange.start, ATEN.arange.start_step)
def _arange(t, node, *limits, **kwargs):
    if any(map(is_rows, limits)):
        raise UnknownOperatorError("aten.arange of rows")
    return t.constant(torch.arange(*limits, dtype=get_dtype(node)))


@translates(ATEN.scalar_tensor.default)
def _scalar(t, node, value, **kwargs):
    return _fill(t, node, value)


@translates(ATEN.full.default)
def _full(t, node, shape, value, **kwargs):
    return _fill(t, node, value)


def _fill(t, node, value):
    shape, dtype = get_shape(node), get_dtype(node)
    if not any(map(is_rows, shape)):
        return t.constant(torch.full(shape, t.check(value), dtype=dtype))
    one = helper.make_tensor("value", to_onnx_type(dtype), [1], [t.check(value)])
    return t.add("ConstantOfShape", t.sizes(shape), value=one)
