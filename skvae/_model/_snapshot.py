"""Snapshot: whether a module, and what goes with it, are those seen before."""

import torch


class Snapshot:
    """Objects, and the tensors and other attributes of a module.

    Tensors are compared by value: torch does not count writes to ``parameter.data`` or
    to numpy's views, nor any in inference mode. All else is compared by identity. A
    change within another attribute, such as of a list in place, is not seen.
    """

    def __init__(self, module, *objects):
        self.objects, self.tensors, self.values = [module, *objects], [], None
        self._read(module)

    def _read(self, module):
        for name, value in vars(module).items():
            if name == "_modules":
                for part in value.values():
                    if part is not None:
                        self.objects.append(part)
                        self._read(part)
            elif name in ("_parameters", "_buffers"):
                for tensor in value.values():
                    self.objects.append(tensor)
                    if tensor is not None:
                        self.tensors.append(tensor.detach())
            else:
                self.objects.append(value)

    def keep(self):
        """Return this snapshot with copies of the values of its tensors."""
        self.values, self.tensors = [tensor.clone() for tensor in self.tensors], None
        return self

    def is_of(self, module, *objects):
        """Return whether nothing has changed since a snapshot that was kept."""
        now = Snapshot(module, *objects)
        return (
            len(self.objects) == len(now.objects)
            and all(a is b for a, b in zip(self.objects, now.objects, strict=True))
            and all(map(_are_equal, self.values, now.tensors))
        )


def _are_equal(a, b):
    return a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
