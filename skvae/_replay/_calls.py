"""What a function calls: every operation, with the very tensors that came of it."""

from functools import cache

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ._tensors import get_storage, list_tensors

_ALLOCATIONS = (
    "empty",
    "new_empty",
    "empty_like",
    "empty_strided",
    "new_empty_strided",
)
# what they return depends on shape and type alone
_FACTORIES = (
    "new_zeros",
    "new_ones",
    "new_full",
    "zeros_like",
    "ones_like",
    "full_like",
)
# of tensors that are held on to: for more, the time that recordings save is little
_MAX_BYTES = 2**28
# batch normalisation writes to these, and its schema does not say so
_SILENTLY_WRITTEN = ("running_mean", "running_var")


class Operation:
    """What torch's schema tells of an operation.

    Attributes
    ----------
    name : str
        Without the overload.
    written : list of (int, str)
        Positions and names of the arguments that are changed.
    is_allocation : bool
        Whether memory is asked for, and nothing put into it.
    is_factory : bool
        Whether the values returned are always the same.
    is_random : bool
        Whether something is drawn.
    reads_values : bool
        Whether a value leaves torch, and may decide what comes next.
    has_dynamic_shape : bool
        Whether values may decide the shape of the result.
    """

    def __init__(self, func):
        self.name = name = func._schema.name.split("::")[1]
        is_normalisation = "batch_norm" in name and "backward" not in name
        self.written = [
            (i, argument.name)
            for i, argument in enumerate(func._schema.arguments)
            if (argument.alias_info is not None and argument.alias_info.is_write)
            or (is_normalisation and argument.name in _SILENTLY_WRITTEN)
        ]
        self.is_allocation, self.is_factory = name in _ALLOCATIONS, name in _FACTORIES
        self.is_random = torch.Tag.nondeterministic_seeded in func.tags
        self.reads_values = torch.Tag.data_dependent_output in func.tags
        self.has_dynamic_shape = torch.Tag.dynamic_output_shape in func.tags


get_operation = cache(Operation)


class Call:
    """An operation that was called.

    Attributes
    ----------
    func : OpOverload
    operation : Operation
    args, kwargs : tuple, dict
    out : Tensor or sequence of Tensor
    tensors, outs, written : list of Tensor
        Those among the arguments, what is returned, and the arguments that are changed.
    read, returned : list
        The memory of the first two.
    """

    __slots__ = (
        "args",
        "func",
        "kwargs",
        "operation",
        "out",
        "outs",
        "read",
        "returned",
        "tensors",
        "written",
    )

    def __init__(self, func, args, kwargs, out):
        self.func, self.args, self.kwargs, self.out = func, args, kwargs, out
        self.operation = get_operation(func)
        self.tensors = list_tensors(args)
        if kwargs:
            self.tensors += list_tensors(kwargs)
        self.outs = list_tensors(out)
        self.read = [get_storage(tensor) for tensor in self.tensors]
        self.returned = [get_storage(tensor) for tensor in self.outs]
        self.written = [
            tensor
            for i, name in self.operation.written
            for tensor in list_tensors(args[i] if i < len(args) else kwargs.get(name))
        ]

    @property
    def has_fixed_shape(self):
        """Whether the shape of the result does not depend on values."""
        if not self.operation.has_dynamic_shape:
            return True
        # torch says so of all indices, but it is masks that have that effect
        is_index = self.operation.name in ("index", "index_put", "index_put_")
        masks = (torch.bool, torch.uint8)
        return is_index and not any(
            i is not None and i.dtype in masks for i in self.args[1]
        )

    @property
    def changes_type(self):
        """Whether memory is read as if it had another type, as views of complex are."""
        tensors = [*self.tensors, *self.outs]
        if any(tensor.is_complex() for tensor in tensors):
            return True
        types = dict(zip(self.read, (t.dtype for t in self.tensors), strict=True))
        pairs = zip(self.returned, self.outs, strict=True)
        return any(types.get(storage, t.dtype) != t.dtype for storage, t in pairs)


class CallRecorder(TorchDispatchMode):
    """Notes the operations that torch is asked for, and holds on to their tensors.

    Where those take too much memory it lets go of all, and `is_full` is True.
    """

    def __init__(self):
        super().__init__()
        self.calls, self.n_bytes, self.is_full = [], 0, False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if self.is_full:
            return out
        call = Call(func, args, kwargs, out)
        self.calls.append(call)
        for tensor, storage in zip(call.outs, call.returned, strict=True):
            if storage not in call.read:
                self.n_bytes += tensor.untyped_storage().nbytes()
        if self.n_bytes > _MAX_BYTES:
            self.calls, self.is_full = [], True
        return out


def find_memory(calls):
    """Return which memory calls create, and which is written to more than once.

    Memory that was there before, and is written to, counts as the latter.
    """
    created, n_written = set(), {}
    for call in calls:
        for tensor in call.written:
            storage = get_storage(tensor)
            n_bytes = tensor.untyped_storage().nbytes()
            is_all = tensor.numel() * tensor.itemsize == n_bytes
            n_new = 1 if storage in created and is_all else 2
            n_written[storage] = n_written.get(storage, 0) + n_new
        for storage in call.returned:
            if storage not in created and storage not in call.read:
                created.add(storage)
                n_new = 0 if call.operation.is_allocation else 1
                n_written[storage] = n_written.get(storage, 0) + n_new
    return created, {storage for storage, n in n_written.items() if n > 1}
