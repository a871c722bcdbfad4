"""What an object would call that is not part of its class.

Hooks of torch are called, and attributes that hide a method. In a file from others
each would be a call by a name, so that files of `skvae.save` have none.
"""

import re
import sys
import types
from collections import deque
from functools import cached_property

import numpy as np

from . import _names

_HOOKS = re.compile(r"_\w*hooks(_with_kwargs|_always_called)?")
# classes whose instances keep classes and functions to train with
_KEEPERS = {
    "skorch.callbacks.base.Callback",
    "skorch.dataset.Dataset",
    "skorch.net.NeuralNet",
    f"{_names.PACKAGE}._estimator.VAETransformer",
}
_MISSING = object()


def find_hidden(cls, attributes):
    """Return the name of an attribute that hides one of the class, or None.

    Data may stand in the place of data, and what cached properties have computed.
    """
    for name, value in attributes.items():
        found = _look_up(cls, name)
        if found is _MISSING:
            continue
        is_data = isinstance(found, (cached_property, types.MemberDescriptorType))
        is_method = callable(found) or hasattr(type(found), "__get__")
        if callable(value) or (is_method and not is_data):
            return name
    return None


def is_slot(cls, name):
    """Return whether a name is one of the slots of a class."""
    return isinstance(_look_up(cls, name), types.MemberDescriptorType)


def _look_up(cls, name):
    parts = (vars(base)[name] for base in cls.__mro__ if name in vars(base))
    return next(parts, _MISSING)


def find_hooks(attributes):
    """Return the name of an attribute that has hooks, or None."""
    for name, value in attributes.items():
        is_hooks = isinstance(name, str) and _HOOKS.fullmatch(name)
        if is_hooks and value is not None and (not isinstance(value, dict) or value):
            return name
    return None


def find_misplaced(cls, attributes):
    """Return the name of an attribute that has a known class or function, or None.

    Estimators, nets and callbacks keep those that they train with, and classes from
    outside do as they like; layers and other parts of a model have none.
    """
    bases = {_names.get_full_name(base) for base in cls.__mro__}
    if bases & _KEEPERS or not _names.is_known(cls):
        return None
    for name, value in attributes.items():
        if any(map(_is_named, _walk(value))):
            return name
    return None


def _is_named(value):
    kinds = type, types.FunctionType, types.BuiltinFunctionType
    return isinstance(value, kinds) and _names.is_known(value)


def _walk(value):
    """Yield a value, and what containers in it hold."""
    values, seen = [value], set()
    while values:
        value = values.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, dict):
            values += [*dict.keys(value), *dict.values(value)]
        elif isinstance(value, (list, tuple, set, frozenset, deque)):
            values += value
        elif isinstance(value, np.ndarray) and value.dtype.hasobject:
            values += value.ravel().tolist()


def check_built(found):
    """Refuse an object that would call what is neither its own nor handed over."""
    attributes = getattr(found, "__dict__", {})
    cls = type(found)
    name = find_hooks(attributes) or find_misplaced(cls, attributes)
    if name is not None:
        raise TypeError(f"{cls.__name__} has calls in {name!r}")
    module = sys.modules["torch"].nn.Module
    if not isinstance(found, module):
        return
    for part in (attributes.get("_modules") or {}).values():
        if part is not None and not isinstance(part, module):
            raise TypeError(f"{cls.__name__} has a part that is not a module")
