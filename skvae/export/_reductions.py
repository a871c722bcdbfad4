"""Translations of operators over several values: sums, products, convolutions."""

import numpy as np
import torch

from ._trace import UnknownOperatorError
from ._translator import (
    ATEN,
    get_dim,
    get_dtype,
    get_shape,
    list_dims,
    translates,
)


def _register_reduction(kind, *overloads):
    @translates(*overloads)
    def translate(t, node, x, dims=None, keepdim=False, dtype=None):
        name = t.name(x, get_dtype(node))
        dims = t.integers(*list_dims(dims, x))
        return t.add(kind, name, dims, keepdims=int(keepdim))


_register_reduction("ReduceSum", ATEN.sum.default, ATEN.sum.dim_IntList)
_register_reduction("ReduceMean", ATEN.mean.default, ATEN.mean.dim)
_register_reduction("ReduceMax", ATEN.amax.default)
_register_reduction("ReduceMin", ATEN.amin.default)
_register_reduction("ReduceLogSumExp", ATEN.logsumexp.default)


@translates(ATEN.any.default, ATEN.any.dim, ATEN.any.dims)
def _any(t, node, x, dims=None, keepdim=False):
    name, dims = t.cast(t.name(x, torch.bool), torch.int32), list_dims(dims, x)
    found = t.add("ReduceMax", name, t.integers(*dims), keepdims=int(keepdim))
    return t.cast(found, torch.bool)


@translates(ATEN.all.default, ATEN.all.dim, ATEN.all.dims)
def _all(t, node, x, dims=None, keepdim=False):
    name, dims = t.cast(t.name(x, torch.bool), torch.int32), list_dims(dims, x)
    found = t.add("ReduceMin", name, t.integers(*dims), keepdims=int(keepdim))
    return t.cast(found, torch.bool)


@translates(ATEN.argmax.default)
def _argmax(t, node, x, dim=None, keepdim=False):
    name = t.name(x)
    if dim is None:
        name, dim = t.add("Reshape", name, t.integers(-1)), 0
    dim = dim if dim >= 0 else dim + len(get_shape(x))
    return t.add("ArgMax", name, axis=dim, keepdims=int(keepdim))


@translates(ATEN.topk.default)
def _topk(t, node, x, k, dim=-1, largest=True, sorted=True):
    options = {"axis": get_dim(dim, x), "largest": int(largest), "sorted": int(sorted)}
    return t.nodes.add_many("TopK", t.name(x), t.integers(k), n_outputs=2, **options)


@translates(ATEN.cumsum.default)
def _cumsum(t, node, x, dim, dtype=None):
    axis = t.nodes.constant(np.int64(get_dim(dim, x)))
    return t.add("CumSum", t.name(x, get_dtype(node)), axis)


@translates(ATEN._softmax.default)
def _softmax(t, node, x, dim, half_to_float):
    return t.add("Softmax", t.name(x), axis=get_dim(dim, x))


@translates(ATEN._log_softmax.default)
def _log_softmax(t, node, x, dim, half_to_float):
    return t.add("LogSoftmax", t.name(x), axis=get_dim(dim, x))


@translates(ATEN.mm.default)
def _mm(t, node, x, y):
    view, width = t.get_view(x), get_shape(x)[-1]
    if len(view[1]) > 2 and view[1][-1] == width:
        # of a stack of matrices as it is
        found = _multiply(t, get_dtype(x), view[0], t.name(y), "...j,jk->...k")
        return found, (*view[1][:-1], get_shape(y)[-1])
    return _multiply(t, get_dtype(x), t.name(x), t.name(y), "ij,jk->ik")


@translates(ATEN.bmm.default)
def _bmm(t, node, x, y):
    return _multiply(t, get_dtype(x), t.name(x), t.name(y), "nij,njk->nik")


def _multiply(t, dtype, x, y, equation):
    """Return the name of a product of matrices, or of stacks of them."""
    is_transposed = "Transpose" in map(t.nodes.kinds.get, (x, y))
    if dtype != torch.float64 or not is_transposed:
        return t.add("MatMul", x, y)
    # onnxruntime 1.19 to 1.22 fuse the two nodes into one that they have for float32
    return t.add("Einsum", x, y, equation=equation)


@translates(ATEN.addmm.default)
def _addmm(t, node, bias, x, y, beta=1, alpha=1):
    names = t.name(x), t.name(y), t.name(bias)
    return t.add("Gemm", *names, alpha=float(alpha), beta=float(beta))


@translates(ATEN.baddbmm.default)
def _baddbmm(t, node, bias, x, y, beta=1, alpha=1):
    product, dtype = _bmm(t, node, x, y), get_dtype(node)
    bias = t.name(bias)
    if alpha != 1:
        product = t.add("Mul", product, t.constant(alpha, dtype))
    if beta != 1:
        bias = t.add("Mul", bias, t.constant(beta, dtype))
    return t.add("Add", bias, product)


@translates(ATEN.convolution.default)
def _convolution(
    t, node, x, weight, bias, stride, padding, dilation, transposed, extra, groups
):
    names = [t.name(x), t.name(weight)] + ([] if bias is None else [t.name(bias)])
    attributes = {
        "strides": list(stride),
        "pads": list(padding) * 2,
        "dilations": list(dilation),
        "group": groups,
    }
    if not transposed:
        return t.add("Conv", *names, **attributes)
    if any(extra):
        attributes["output_padding"] = list(extra)
    return t.add("ConvTranspose", *names, **attributes)


# normalisations and pools: of several results, the first is used ---------------------


@translates(ATEN.native_layer_norm.default)
def _layer_norm(t, node, x, shape, weight, bias, eps):
    dtype = x.meta["val"].dtype
    if weight is None:
        weight = t.constant(torch.ones(tuple(shape), dtype=dtype))
    else:
        weight = t.name(weight)
    names = [t.name(x), weight] + ([] if bias is None else [t.name(bias)])
    axis, eps = -len(shape), float(eps)
    return [t.add("LayerNormalization", *names, axis=axis, epsilon=eps)]


@translates(ATEN._native_batch_norm_legit_no_training.default)
def _batch_norm(t, node, x, weight, bias, mean, variance, momentum, eps):
    dtype, size = x.meta["val"].dtype, get_shape(x)[1]
    scale = torch.ones(size, dtype=dtype) if weight is None else weight
    shift = torch.zeros(size, dtype=dtype) if bias is None else bias
    names = [t.name(value) for value in (x, scale, shift, mean, variance)]
    return [t.add("BatchNormalization", *names, epsilon=float(eps))]


@translates(ATEN.native_batch_norm.default)
def _any_batch_norm(t, node, x, weight, bias, mean, variance, training, *rest):
    if training:
        raise UnknownOperatorError("aten.native_batch_norm in training")
    return _batch_norm(t, node, x, weight, bias, mean, variance, *rest)


@translates(ATEN.max_pool2d_with_indices.default)
def _max_pool(t, node, x, size, stride=(), padding=0, dilation=1, ceil_mode=False):
    attributes = _describe_window(size, stride, padding)
    dilation = [dilation] * 2 if isinstance(dilation, int) else list(dilation)
    attributes |= {"dilations": dilation, "ceil_mode": int(ceil_mode)}
    return [t.add("MaxPool", t.name(x), **attributes)]


@translates(ATEN.avg_pool2d.default)
def _avg_pool(
    t, node, x, size, stride=(), padding=0, ceil_mode=False, pads=True, divisor=None
):
    if divisor is not None:
        raise UnknownOperatorError("aten.avg_pool2d with divisor_override")
    attributes = _describe_window(size, stride, padding)
    attributes |= {"ceil_mode": int(ceil_mode), "count_include_pad": int(pads)}
    return t.add("AveragePool", t.name(x), **attributes)


def _describe_window(size, stride, padding):
    size = [size] * 2 if isinstance(size, int) else list(size)
    stride = [stride] * 2 if isinstance(stride, int) else list(stride) or size
    padding = [padding] * 2 if isinstance(padding, int) else list(padding)
    return {"kernel_shape": size, "strides": stride, "pads": padding * 2}
