"""Snapshot: whether a module, and what goes with it, are those seen before."""

import ctypes
from itertools import chain
from operator import is_

import torch

from .._replay import get_place

# bytes up to which a copy of a tensor takes less time than a call of torch
_SMALL = 2**18
_DTYPES = torch.float32, torch.float64


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
    is_plain = tensor.layout is torch.strided and tensor.is_cpu
    is_plain = is_plain and tensor.is_contiguous() and tensor.dtype in _DTYPES
    return _Bytes(tensor) if is_plain and tensor.nbytes <= _SMALL else _Values(tensor)


class _Bytes:
    """What a small tensor holds, read and compared in a third of torch's time."""

    def __init__(self, tensor):
        self.place, self.n_bytes = get_place(tensor), tensor.nbytes
        self.bytes = self._read()

    def _read(self):
        # not by numpy, which would keep torch from resizing the memory for good
        return ctypes.string_at(self.place[0], self.n_bytes)

    def is_of(self, tensor):
        # the place first: there may be nothing any more
        return self.place == get_place(tensor) and self.bytes == self._read()


class _Values:
    """A copy of a tensor."""

    def __init__(self, tensor):
        self.copy = tensor.detach().clone()

    def is_of(self, tensor):
        copy = self.copy
        is_alike = copy.dtype == tensor.dtype and copy.device == tensor.device
        return is_alike and torch.equal(copy, tensor)


def _are_same(before, now):
    return len(before) == len(now) and all(map(is_, before, now))
