"""Describer: objects to a tree of JSON's values, and arrays beside it."""

import copyreg
import math
import types

from . import _arrays, _names, _plain, _tables, _tensors

_KINDS = (_plain, _arrays, _tensors, _tables)
# dicts of torch modules, which are not worth a name
_SILENT = ("_parameters", "_buffers", "_modules")


class Describer:
    """Called with an object, it returns a node of the description.

    Numbers, text and None are nodes themselves; every other node is a dict whose first
    key says how it is read. An object that is met again is a reference.

    Parameters
    ----------
    put_other : callable
        ``put_other(value, path)`` returns the node of a class, function or object that
        a description cannot hold.
    apart : tuple of type, default=()
        Types that are put there, too.
    check : callable, optional
        ``check(value, attributes, path)`` raises for an object that is refused.

    Attributes
    ----------
    arrays : dict of ndarray
    """

    def __init__(self, put_other, apart=(), check=None):
        self.arrays, self._put_other, self._apart = {}, put_other, apart
        self._check = check
        # by id: the object, kept so that no other gets its id, and its node
        self._known, self._n_shared = {}, 0
        self._storages = {}

    def __call__(self, value, path=""):
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is float and math.isfinite(value):
            return value
        known = self._known.get(id(value))
        if known is not None:
            node = known[1]
            if "id" not in node:
                node["id"] = self._n_shared
                self._n_shared += 1
            return {"ref": node["id"]}
        node = {}
        self._known[id(value)] = value, node
        described = self._describe(value, path)
        # the first key says how a node is read, also of one that holds itself
        shared = dict(node)
        node.clear()
        node.update(described | shared)
        return node

    def _describe(self, value, path):
        if isinstance(value, self._apart):
            return self._put_other(value, path)
        for kind in _KINDS:
            node = kind.describe(value, self, path)
            if node is not None:
                return node
        if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
            return self._describe_name(value, path)
        return self._describe_object(value, path)

    def _describe_name(self, value, path):
        if _names.is_known(value):
            return {"name": _names.shorten(value)}
        return self._put_other(value, path)

    def _describe_object(self, value, path):
        items = pairs = None
        if hasattr(value, "_get_described"):
            state = value._get_described()
        else:
            reduced = value.__reduce_ex__(4)
            # a class, and what its instance holds: no function is called to make it
            if reduced[0] is not copyreg.__newobj__ or reduced[1] != (type(value),):
                return self._put_other(value, path)
            state, items, pairs = (*reduced[2:], None, None, None)[:3]
        if self._check is not None:
            own = state[0] if isinstance(state, tuple) else state
            self._check(value, own or {}, path)
        node = {"object": self(type(value), path), "state": self(state, path)}
        if items is not None:
            node["items"] = [self(v, f"{path}.{i}") for i, v in enumerate(items)]
        if pairs is not None:
            node["pairs"] = _plain.describe_pairs(dict(pairs), self, path)
        return node

    def add_array(self, array, path, shape):
        """Keep an array, and return the name that it has from its place."""
        parts = [part for part in path.split(".") if part and part not in _SILENT]
        base = name = ".".join(parts) or "value"
        number = 1
        while name in self.arrays:
            number += 1
            name = f"{base}-{number}"
        self.arrays[name] = array.reshape(shape)
        return name

    def keep_storage(self, tensor, begin, length, name):
        """Note that the values of a tensor are in an array."""
        place = tensor.untyped_storage().data_ptr(), tensor.dtype
        self._storages.setdefault(place, (begin, length, name))

    def find_storage(self, tensor, begin, shape, stride):
        """Return the array that has the values of a tensor, and where, or None."""
        place = tensor.untyped_storage().data_ptr(), tensor.dtype
        start, length, name = self._storages.get(place, (0, 0, None))
        if name is None or not tensor.numel():
            return None
        end = begin + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
        is_within = start <= begin and end < start + length
        return (name, begin - start) if is_within else None
