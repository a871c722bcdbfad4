"""Rebuilder: a description back to the objects. Nothing in it is called or imported.

Instances are made without their constructors, and then given what they hold, as in
pickle; but their classes are known, or handed over.
"""

import inspect
import types

from sklearn.base import BaseEstimator

from . import _arrays, _called, _names, _plain, _tables, _tensors


class Rebuilder:
    """Called with a node, it returns the object.

    Parameters
    ----------
    arrays : dict of ndarray
    find_other : callable
        ``find_other(node)`` returns what the node of an unknown class, function or
        object stands for, or raises.
    is_file : bool, default=False
        Whether objects are refused that would call what the description names: those
        with hooks, or with attributes in the place of methods. For a pickle, which
        runs code anyway, they stay as they were.
    """

    def __init__(self, arrays, find_other, is_file=False):
        self._arrays, self._find_other = arrays, find_other
        self.is_file, self._built = is_file, []
        self._known, self._shared = {}, {}

    def __call__(self, node):
        if node is None or type(node) in (bool, int, float, str):
            return node
        if type(node) is not dict or not node:
            raise TypeError(f"not a node: {type(node).__name__}")
        kind = next(iter(node))
        if kind == "ref":
            return self._known[node["ref"]]
        return self.keep(node, _BUILDERS[kind](node, self))

    def add_built(self, value):
        """Note an object for `check`."""
        self._built.append(value)

    def check(self):
        """Refuse objects that would call what is named, when all of them are whole."""
        for value in self._built:
            _called.check_built(value)

    def keep(self, node, value):
        """Note what a node stands for, before that is whole; return it."""
        if "id" in node:
            self._known[node["id"]] = value
        return value

    def take_array(self, name):
        """Return an array by its name."""
        return self._arrays[name]

    def share(self, name, make):
        """Return the tensor of an array, made once."""
        if name not in self._shared:
            self._shared[name] = make()
        return self._shared[name]

    def find_other(self, node):
        """Return what is not known by itself."""
        return self._find_other(node)


def _build_name(node, rebuild):
    found = _names.find_known(node["name"])
    return rebuild.find_other(node) if found is None else found


def _check_state(cls, own, slots):
    """Refuse attributes in the place of methods, and slots that are not there."""
    for part in (own, slots):
        if part is not None and not isinstance(part, dict):
            raise TypeError(f"{cls.__name__} has attributes without names")
    hidden = _called.find_hidden(cls, own or {})
    if hidden is None:
        others = (n for n in slots or {} if not _called.is_slot(cls, n))
        hidden = next(others, None)
    if hidden is not None:
        raise TypeError(f"{cls.__name__} has {hidden!r} of its own in a file")


def _add_defaults(estimator):
    """Set parameters that the version which saved an estimator did not have."""
    parameters = inspect.signature(type(estimator).__init__).parameters
    for name, parameter in parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            vars(estimator).setdefault(name, parameter.default)


def _build_object(node, rebuild):
    cls = rebuild(node["object"])
    if not isinstance(cls, type):
        raise TypeError(f"not a class: {cls!r}")
    found = rebuild.keep(node, cls.__new__(cls))
    rebuild.add_built(found)
    state = rebuild(node["state"])
    own, slots = state if isinstance(state, tuple) else (state, None)
    if rebuild.is_file:
        _check_state(cls, own, slots)
    if hasattr(found, "_set_described"):
        found._set_described(state)
    elif hasattr(found, "__setstate__"):
        found.__setstate__(state)
    else:
        vars(found).update(own or {})
        for name, value in (slots or {}).items():
            object.__setattr__(found, name, value)
    if isinstance(found, BaseEstimator):
        _add_defaults(found)
    if "items" in node:
        list.extend(found, map(rebuild, node["items"]))
    if "pairs" in node:
        pairs = _plain.fill({}, node["pairs"], rebuild)
        dict.update(found, pairs)
    return found


_BUILDERS = types.MappingProxyType(
    {
        "name": _build_name,
        "object": _build_object,
        "other": lambda node, rebuild: rebuild.find_other(node),
        **_plain.BUILDERS,
        **_arrays.BUILDERS,
        **_tensors.BUILDERS,
        **_tables.BUILDERS,
    }
)
