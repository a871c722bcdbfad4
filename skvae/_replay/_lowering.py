"""From the operations of a program to the functions that do them, torch's own."""

from functools import cache, partial

import torch

from ._numpy import NUMPY, flatten_pair
from ._tensors import is_same_layout, list_tensors, make_like


def lower(node, uses_numpy):
    """Return the functions that do the work of a node, in their order."""
    if not isinstance(node.name, str):
        return [_lower_call(node)]
    tensors = *node.inputs, *node.out
    is_known = all(t.dtype in (torch.float32, torch.float64) for t in tensors)
    if uses_numpy and is_known and node.name in NUMPY:
        return NUMPY[node.name](node, **node.settings)
    return _LOWERED.get(node.name, _apply)(node, **node.settings)


def _align(node):
    """Return what a node reads; what it overwrites in the very strides of the result.

    torch refuses other strides, even where they make no difference.
    """
    (out,) = node.out
    return [
        out
        if torch.is_tensor(value)
        and value.data_ptr() == out.data_ptr()
        and is_same_layout(value, out)
        else value
        for value in node.reads
    ]


# operations that are known by name --------------------------------------------------


def _apply(node):
    # of the same name in torch
    return [partial(getattr(torch, node.name), *_align(node), out=node.out[0])]


def _copy(node):
    return [partial(node.out[0].copy_, node.reads[0])]


def _affine(node, scale, shift):
    (source,), (out,) = node.reads, node.out
    found = [partial(torch.mul, source, scale, out=out)]
    return [*found, partial(out.add_, shift)] if shift else found


def _clamp(node, low, high):
    return [partial(torch.clamp, *_align(node), low, high, out=node.out[0])]


def _bounded_gradient(node, low, high):
    function = torch.ops.aten.hardtanh_backward.grad_input
    return [partial(function, *node.reads, low, high, grad_input=node.out[0])]


def _sum(node, dims):
    (source,), (out,) = node.reads, node.out
    keeps = out.dim() == source.dim()
    return [partial(torch.sum, source, dims, keepdim=keeps, out=out)]


def _amax(node, dims):
    return [partial(torch.amax, node.reads[0], dims, True, out=node.out[0])]


def _dot(node):
    return [partial(torch.dot, *flatten_pair(node.reads), out=node.out[0])]


def _pad(node, dim, begin):
    (source,), (out,) = node.reads, node.out
    out.zero_()
    return [partial(out.narrow(dim, begin, source.shape[dim]).copy_, source)]


_LOWERED = {
    "affine": _affine,
    "amax": _amax,
    "bounded_gradient": _bounded_gradient,
    "clamp": _clamp,
    "copy": _copy,
    "dot": _dot,
    "pad": _pad,
    "sum": _sum,
}


# all others -------------------------------------------------------------------------


@cache
def _find_out_variant(func, n_out):
    """Return the overload that writes into given tensors and its arguments, or None."""
    own = {a.name: str(a.type) for a in func._schema.arguments}
    for name in func.overloadpacket.overloads():
        overload = getattr(func.overloadpacket, name)
        arguments = overload._schema.arguments
        out = [a.name for a in arguments if a.is_out]
        rest = {a.name: str(a.type) for a in arguments if not a.is_out}
        is_same = len(out) == n_out and rest.items() <= own.items()
        left_out = own.keys() - rest.keys()
        if is_same and left_out <= {"dtype", "layout", "device", "pin_memory"}:
            return overload, out, rest.keys()
    return None


def _write_into(func, args, kwargs, out):
    """Return what lets an operation write into given tensors, or None."""
    found = _find_out_variant(func, len(out))
    if found is None:
        return None
    overload, names, accepted = found
    kept = {key: value for key, value in kwargs.items() if key in accepted}
    return partial(overload, *args, **kept, **dict(zip(names, out, strict=True)))


def can_write_into(call):
    """Return whether a call can write into given tensors; it is tried."""
    if call.schema.is_random:
        # to try it would be a draw
        return False
    out = [make_like(tensor) for tensor in call.outs]
    found = _write_into(call.func, call.args, call.kwargs, out)
    before = [_describe_memory(tensor) for tensor in out]
    if len(out) > 1 and found is not None:
        # some return work space, whose size is not the same again
        again = list_tensors(call.func(*call.args, **call.kwargs))
        if [t.shape for t in again] != [t.shape for t in out]:
            return False
    try:
        # not all overloads that torch lists are there for every layout
        is_done = found is not None and found() is not None
    except (RuntimeError, NotImplementedError):
        return False
    # some take the memory they are given for work space, and resize it
    return is_done and before == [_describe_memory(tensor) for tensor in out]


def _describe_memory(tensor):
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes(), tensor.shape, tensor.stride()


def _lower_call(node):
    """Return what calls an operation of torch's again."""
    (args, kwargs), func, out = node.settings["call"], node.name, node.out
    if node.writes:
        new = node.settings.get("new", ())
        if any(tensor is not None for tensor in new):
            return partial(_call_and_copy, func, args, kwargs, new)
        return partial(func, *args, **kwargs)
    if node.settings["writes_into"]:
        return _write_into(func, args, kwargs, out)
    return partial(_call_and_copy, func, args, kwargs, out)


def _call_and_copy(func, args, kwargs, out):
    for target, value in zip(out, list_tensors(func(*args, **kwargs)), strict=True):
        if target is not None:
            target.copy_(value)
