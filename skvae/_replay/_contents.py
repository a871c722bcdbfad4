"""What objects hold, as far as Python can tell: a recording takes it for constant."""

from collections import OrderedDict, deque
from types import BuiltinFunctionType, FunctionType, ModuleType

import torch

from ._tensors import get_storage

_PLAIN = frozenset((bool, int, float, complex, str, bytes, type(None)))
_SEQUENCES = list, tuple, set, frozenset, deque
_OPAQUE = type, FunctionType, BuiltinFunctionType, ModuleType
# whose classes have no state of their own, or one that `list_contents` finds
_TRUSTED = {"builtins", "collections", "copyreg", "numpy", "torch", "types"}
_TRUSTED.add(__name__.split(".")[0])
# values looked at
_MAX_VALUES = 100_000


def list_contents(roots, changing):
    """Return all values that can be reached from objects, and the objects among them.

    Of tensors, whose memory is not looked at, it is torch's count of changes; memory in
    ``changing`` may change. Values are comparable as long as the objects are alive.
    """
    found, objects, places, stack = [], [], {}, [*roots]
    while stack and len(found) < _MAX_VALUES:
        value = stack.pop()
        kind = type(value)
        if kind in _PLAIN:
            found.append(value)
            continue
        found.append(places.setdefault(id(value), len(objects)))
        if found[-1] != len(objects):
            continue
        objects.append(value)
        found.append(kind)
        if isinstance(value, dict):
            _read(value, found, stack)
        elif isinstance(value, torch.Tensor):
            is_fixed = (
                kind is not torch.nn.Parameter
                and value.layout is torch.strided
                and not value.is_inference()
                and get_storage(value) not in changing
            )
            found.append((id(value), value._version if is_fixed else None))
        elif isinstance(value, _SEQUENCES):
            stack += value
        elif isinstance(value, _OPAQUE):
            found.append(id(value))
        elif isinstance(value, torch.Generator):
            found.append(value.get_state().numpy().tobytes())
        elif hasattr(value, "__dict__") and kind.__module__ != "random":
            _read(vars(value), found, stack)
        else:
            try:
                # such as arrays, and generators of numpy and Python
                stack.append(value.__reduce_ex__(2))
            except Exception:
                found.append(id(value))
    return found, objects


def _read(values, found, stack):
    """Note names and plain values of a dict; the rest goes on the stack."""
    for name, value in values.items():
        kind = type(value)
        if kind in _PLAIN:
            found += name, value
        elif not (kind is dict or kind is OrderedDict) or value:
            # modules have many empty ones
            found.append(name)
            stack.append(value)


def are_known(objects):
    """Return whether objects are of this package or of torch, and made of such."""
    sources = (o if isinstance(o, _OPAQUE[:2]) else type(o) for o in objects)
    return all(str(s.__module__).split(".")[0] in _TRUSTED for s in sources)
