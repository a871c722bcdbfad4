"""Snapshot: whether a module, and what goes with it, are those seen before."""

from itertools import chain
from operator import is_

import torch

# bytes up to which a copy of a tensor takes less time than a call of torch
_SMALL = 2**18


class Snapshot:
    """Objects, and the tensors and other attributes of a module.

    Tensors are compared by value: torch does not count writes to ``parameter.data`` or
    to numpy's views, nor any in inference mode. All else is compared by identity. A
    change within another attribute, such as of a list in place, is not seen.
    """

    def __init__(self, module, *objects):
        # the dicts of all parts of the module, and what they hold
        self.objects, self.dicts = [module, *objects], []
        self.tensors = []
        self._read(module)
        self.held = self._list_held()
        self.sizes = list(map(len, self.dicts))
        self.values = None

    def _read(self, module):
        attributes = vars(module)
        parts = attributes["_modules"]
        hooks = attributes["_forward_hooks"], attributes["_forward_pre_hooks"]
        self.dicts += [attributes, parts, *hooks]
        for kind in ("_parameters", "_buffers"):
            tensors = attributes[kind]
            self.dicts.append(tensors)
            self.tensors += [
                tensor for tensor in tensors.values() if tensor is not None
            ]
        for part in parts.values():
            if part is not None:
                self._read(part)

    def _list_held(self):
        return list(chain.from_iterable(map(dict.values, self.dicts)))

    def keep(self):
        """Return this snapshot with copies of the values of its tensors."""
        self.values = [_keep(tensor) for tensor in self.tensors]
        return self

    def is_of(self, module, *objects):
        """Return whether nothing has changed since a snapshot that was kept."""
        return (
            _are_same(self.objects, [module, *objects])
            and list(map(len, self.dicts)) == self.sizes
            and _are_same(self.held, self._list_held())
            and all(v.is_of(t) for v, t in zip(self.values, self.tensors, strict=True))
        )


def _keep(tensor):
    is_small = tensor.nbytes <= _SMALL and tensor.is_cpu
    is_plain = tensor.is_contiguous() and tensor.dtype in (torch.float32, torch.float64)
    return _Bytes(tensor) if is_small and is_plain else _Values(tensor)


class _Bytes:
    """What a small tensor holds; numpy compares it in a third of torch's time."""

    def __init__(self, tensor):
        # a view, which holds while the tensor has the same memory
        self.array, self.place = tensor.detach().numpy(), _get_place(tensor)
        self.bytes = self.array.tobytes()

    def is_of(self, tensor):
        return self.place == _get_place(tensor) and self.bytes == self.array.tobytes()


class _Values:
    """A copy of a tensor."""

    def __init__(self, tensor):
        self.copy = tensor.detach().clone()

    def is_of(self, tensor):
        copy = self.copy
        is_alike = copy.dtype == tensor.dtype and copy.device == tensor.device
        return is_alike and torch.equal(copy, tensor)


def _get_place(tensor):
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def _are_same(before, now):
    return len(before) == len(now) and all(map(is_, before, now))
