"""Snapshot: whether a module, and what goes with it, are those seen before."""

from operator import is_

import torch


class Snapshot:
    """Objects, and the tensors and other attributes of a module.

    Tensors are compared by value: torch does not count writes to ``parameter.data`` or
    to numpy's views, nor any in inference mode. All else is compared by identity. A
    change within another attribute, such as of a list in place, is not seen.
    """

    def __init__(self, module, *objects):
        # the dicts of all parts of the module, and what they hold
        self.objects, self.dicts = [module, *objects], []
        self.tensors, self.values = [], None
        self._read(module)

    def _read(self, module):
        attributes = vars(module)
        parts = attributes["_modules"]
        for values in (attributes, parts):
            self.dicts.append((values, list(values.values())))
        for kind in ("_parameters", "_buffers"):
            tensors = attributes[kind]
            self.dicts.append((tensors, list(tensors.values())))
            self.tensors += [
                tensor for tensor in tensors.values() if tensor is not None
            ]
        for part in parts.values():
            if part is not None:
                self._read(part)

    def keep(self):
        """Return this snapshot with copies of the values of its tensors."""
        self.values = [tensor.detach().clone() for tensor in self.tensors]
        return self

    def is_of(self, module, *objects):
        """Return whether nothing has changed since a snapshot that was kept."""
        return (
            _are_same(self.objects, [module, *objects])
            and all(_are_same(held, now.values()) for now, held in self.dicts)
            and all(map(_are_equal, self.values, self.tensors))
        )


def _are_same(before, now):
    return len(before) == len(now) and all(map(is_, before, now))


def _are_equal(a, b):
    return a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
