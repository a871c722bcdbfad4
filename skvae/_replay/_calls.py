"""What a function calls: every operation, with the very tensors that came of it."""

from functools import cache

import torch
from torch.overrides import TorchFunctionMode
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
# values leave torch by them, and no operation is called
_EXITS = {torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__}
# batch normalisation writes to these, and its schema does not say so
_SILENTLY_WRITTEN = ("running_mean", "running_var")


class Schema:
    """What torch tells of an operation."""

    def __init__(self, func):
        # without the overload
        self.name = name = func._schema.name.split("::")[1]
        # positions and names of the arguments that are changed
        is_normalisation = "batch_norm" in name and "backward" not in name
        self.written = [
            (i, argument.name)
            for i, argument in enumerate(func._schema.arguments)
            if (argument.alias_info is not None and argument.alias_info.is_write)
            or (is_normalisation and argument.name in _SILENTLY_WRITTEN)
        ]
        # memory of the arguments is returned
        self.is_view = not self.written and any(
            argument.alias_info is not None for argument in func._schema.arguments
        )
        self.is_allocation, self.is_factory = name in _ALLOCATIONS, name in _FACTORIES
        self.is_random = torch.Tag.nondeterministic_seeded in func.tags
        # a value leaves torch, or shapes the result: it may decide what comes next
        self.reads_values = torch.Tag.data_dependent_output in func.tags
        # of a tensor that earlier calls have returned
        self.changes_layout = torch.Tag.inplace_view in func.tags
        self.has_dynamic_shape = torch.Tag.dynamic_output_shape in func.tags


get_schema = cache(Schema)


class Call:
    """An operation that was called, its arguments, and ``out``, what it returned.

    ``tensors`` are those among the arguments, ``outs`` those that are returned;
    ``read`` and ``returned`` are the memory of both. ``written`` are the arguments that
    are changed.
    """

    __slots__ = ("args", "func", "kwargs", "out", "outs", "read", "returned", "schema")
    __slots__ += ("tensors", "written")

    def __init__(self, func, args, kwargs, out):
        self.func, self.args, self.kwargs, self.out = func, args, kwargs, out
        self.schema = get_schema(func)
        self.tensors = list_tensors(args)
        if kwargs:
            self.tensors += list_tensors(kwargs)
        self.outs = list_tensors(out)
        self.read = {get_storage(tensor) for tensor in self.tensors}
        self.returned = {get_storage(tensor) for tensor in self.outs}
        self.written = [
            tensor
            for i, name in self.schema.written
            for tensor in list_tensors(args[i] if i < len(args) else kwargs.get(name))
        ]

    @property
    def has_fixed_shape(self):
        """Whether the shape of the result does not depend on values."""
        if not self.schema.has_dynamic_shape:
            return True
        # torch says so of all indices, but it is masks that have that effect
        is_index = self.schema.name in ("index", "index_put", "index_put_")
        masks = (torch.bool, torch.uint8)
        return is_index and not any(
            i is not None and i.dtype in masks for i in self.args[1]
        )

    @property
    def changes_type(self):
        """Whether memory is read as if it had another type, as views of complex are."""
        if any(tensor.is_complex() for tensor in self.outs):
            return True
        if self.returned.isdisjoint(self.read):
            return False
        types = {get_storage(tensor): tensor.dtype for tensor in self.tensors}
        return any(types.get(get_storage(t), t.dtype) != t.dtype for t in self.outs)


class CallRecorder(TorchDispatchMode):
    """Notes the operations that torch is asked for, and holds on to their tensors.

    Where those take too much memory it lets go of all, and `is_full` is True.
    """

    def __init__(self):
        super().__init__()
        self.made, self.n_bytes, self.is_full = [], 0, False

    @classmethod
    def _should_skip_dynamo(cls):
        # torch would import its compiler, and make every call twice as slow
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if self.is_full:
            return out
        self.made.append((func, args, kwargs, out))
        schema = get_schema(func)
        if not (schema.is_view or schema.written):
            # a sparse tensor has no nbytes
            self.n_bytes += sum(t.numel() * t.itemsize for t in list_tensors(out))
        if self.n_bytes > _MAX_BYTES:
            self.made, self.is_full = [], True
        return out

    def list_calls(self):
        """Return the operations, as `Call`."""
        return [Call(*made) for made in self.made]


class ExitRecorder(TorchFunctionMode):
    """Notes the tensors whose values leave torch without an operation."""

    def __init__(self):
        super().__init__()
        self.tensors = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in _EXITS:
            self.tensors.append(args[0])
        return func(*args, **(kwargs or {}))


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
        for storage in call.returned - call.read - created:
            created.add(storage)
            n_new = 0 if call.schema.is_allocation else 1
            n_written[storage] = n_written.get(storage, 0) + n_new
    return created, {storage for storage, n in n_written.items() if n > 1}
