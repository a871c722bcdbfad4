"""What a function calls: every operation, with the very tensors that came of it."""

from dataclasses import dataclass
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
# batch normalisation writes to these, and its schema does not say so
_SILENTLY_WRITTEN = ("running_mean", "running_var")


@dataclass(slots=True)
class Call:
    """One operation.

    Attributes
    ----------
    func : OpOverload
    name : str
        Without the overload.
    args, kwargs : tuple, dict
    out : Tensor or sequence of Tensor
    tensors, outs, written : list of Tensor
        Those among the arguments, what is returned, and the arguments that are changed.
    """

    func: object
    name: str
    args: tuple
    kwargs: dict
    out: object
    tensors: list
    outs: list
    written: list

    @property
    def is_allocation(self):
        """Whether memory is asked for, and nothing put into it."""
        return self.name in _ALLOCATIONS

    @property
    def is_factory(self):
        """Whether the values returned are always the same."""
        return self.name in _FACTORIES

    @property
    def is_random(self):
        """Whether something is drawn."""
        return torch.Tag.nondeterministic_seeded in self.func.tags

    @property
    def reads_values(self):
        """Whether a value leaves torch, and may decide what comes next."""
        return torch.Tag.data_dependent_output in self.func.tags

    @property
    def has_fixed_shape(self):
        """Whether the shape of the result does not depend on values."""
        if torch.Tag.dynamic_output_shape not in self.func.tags:
            return True
        # torch says so of all indices, but it is masks that have that effect
        is_index = self.name in ("index", "index_put", "index_put_")
        masks = (torch.bool, torch.uint8)
        return is_index and not any(
            i is not None and i.dtype in masks for i in self.args[1]
        )


@cache
def _list_written_arguments(func):
    """Return positions and names of the arguments that an operation changes."""
    name = func._schema.name
    is_normalisation = "batch_norm" in name and "backward" not in name
    return [
        (i, argument.name)
        for i, argument in enumerate(func._schema.arguments)
        if (argument.alias_info is not None and argument.alias_info.is_write)
        or (is_normalisation and argument.name in _SILENTLY_WRITTEN)
    ]


@cache
def _get_name(func):
    return func._schema.name.split("::")[1]


class CallRecorder(TorchDispatchMode):
    """Notes the operations that torch is asked for, and holds on to their tensors."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        written = [
            tensor
            for i, name in _list_written_arguments(func)
            for tensor in list_tensors(args[i] if i < len(args) else kwargs.get(name))
        ]
        tensors = list_tensors(args) + list_tensors(kwargs)
        outs = list_tensors(out)
        self.calls.append(
            Call(func, _get_name(func), args, kwargs, out, tensors, outs, written)
        )
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
        known = {get_storage(tensor) for tensor in call.tensors}
        for tensor in call.outs:
            storage = get_storage(tensor)
            if storage not in known and storage not in created:
                created.add(storage)
                n_new = 0 if call.is_allocation else 1
                n_written[storage] = n_written.get(storage, 0) + n_new
    return created, {storage for storage, n in n_written.items() if n > 1}
