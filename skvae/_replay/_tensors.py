"""Tensors as places in memory: which memory, how it is laid out, and new memory."""

import math

import torch


def get_storage(tensor):
    """Return what identifies the memory of a tensor."""
    return tensor.untyped_storage()._cdata


def get_place(tensor):
    """Return what identifies a view: where it begins, and how it is laid out."""
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def is_whole(tensor):
    """Return whether a tensor is contiguous and all that its memory holds."""
    n_bytes = tensor.numel() * tensor.itemsize
    return tensor.is_contiguous() and tensor.untyped_storage().nbytes() == n_bytes


def is_same_layout(a, b):
    """Return whether tensors have one shape, and one layout."""
    if a.shape != b.shape:
        return False
    pairs = zip(a.shape, a.stride(), b.stride(), strict=True)
    return all(size == 1 or first == second for size, first, second in pairs)


def count_places(tensor):
    """Return how many different places of memory a tensor has."""
    pairs = zip(tensor.shape, tensor.stride(), strict=True)
    return math.prod(size for size, stride in pairs if stride)


def make_like(tensor):
    """Return memory for a tensor of the same shape, and layout where that is dense."""
    return torch.empty_like(tensor, memory_format=torch.preserve_format)


def make_result(shape, operands):
    """Return memory for the result of an operation, laid out as most it reads is.

    Parameters
    ----------
    shape : tuple of int
    operands : list of Tensor
        Of that shape, or larger where the operation reduces it to 1.
    """
    most = operands[0]
    if most.shape == shape and most.is_contiguous():
        return torch.empty_like(most)
    most = max(operands, key=count_places)
    order = [d for d in range(len(shape)) if most.stride(d)]
    order.sort(key=lambda d: -most.stride(d))
    for d in range(len(shape)):
        if not most.stride(d):
            # the operand has no place for this dimension: where torch would put it
            later = [i for i, other in enumerate(order) if other > d]
            order.insert(later[0] if later else len(order), d)
    strides, step = [0] * len(shape), 1
    for d in reversed(order):
        strides[d] = step
        step *= max(shape[d], 1)
    return torch.empty_strided(shape, strides, dtype=most.dtype, device=most.device)


def map_tensors(function, tree):
    """Return lists, tuples and dicts with a function's results for their tensors."""
    if isinstance(tree, torch.Tensor):
        return function(tree)
    if isinstance(tree, (list, tuple)):
        return type(tree)([map_tensors(function, item) for item in tree])
    if isinstance(tree, dict):
        return {key: map_tensors(function, item) for key, item in tree.items()}
    return tree


def list_tensors(tree):
    """Return the tensors of lists, tuples and dicts, in their order."""
    if isinstance(tree, torch.Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, (list, tuple)):
        return []
    found = []
    for item in tree:
        if isinstance(item, torch.Tensor):
            found.append(item)
        elif isinstance(item, (list, tuple, dict)):
            found += list_tensors(item)
    return found
