"""Snapshot: whether a module, and what goes with it, are those seen before."""


class Snapshot:
    """Objects, and the tensors and other attributes of a module.

    Tensors are compared by their memory and by torch's count of writes, all
    else by identity. A change within another attribute, such as of a list in
    place, is not seen.
    """

    def __init__(self, module, *objects):
        self.objects, self.versions = [module, *objects], []
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
                        self.versions.append((tensor.data_ptr(), tensor._version))
            else:
                self.objects.append(value)

    def __eq__(self, other):
        """Return whether nothing has changed since the other one."""
        return (
            isinstance(other, Snapshot)
            and len(self.objects) == len(other.objects)
            and all(a is b for a, b in zip(self.objects, other.objects, strict=True))
            and self.versions == other.versions
        )

    __hash__ = None
