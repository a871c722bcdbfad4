"""Rebuilder: a description back to the objects. Nothing in it is called or imported.

Instances are made without their constructors, and then given what they hold, as in
pickle; but their classes are known, or handed over.
"""

import types

from . import _arrays, _names, _plain, _tables, _tensors


class Rebuilder:
    """Called with a node, it returns the object.

    Parameters
    ----------
    arrays : dict of ndarray
    find_other : callable
        ``find_other(node)`` returns what the node of an unknown class, function or
        object stands for, or raises.
    """

    def __init__(self, arrays, find_other):
        self._arrays, self._find_other = arrays, find_other
        self._known, self._shared = {}, {}

    def __call__(self, node):
        if node is None or type(node) in (bool, int, float, str):
            return node
        if type(node) is not dict or not node:
            raise TypeError(f"no node: {type(node).__name__}")
        kind = next(iter(node))
        if kind == "ref":
            return self._known[node["ref"]]
        return self.keep(node, _BUILDERS[kind](node, self))

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


def _build_object(node, rebuild):
    cls = rebuild(node["object"])
    if not isinstance(cls, type):
        raise TypeError(f"no class: {cls!r}")
    found = rebuild.keep(node, cls.__new__(cls))
    state = rebuild(node["state"])
    if hasattr(found, "_set_described"):
        found._set_described(state)
    elif hasattr(found, "__setstate__"):
        found.__setstate__(state)
    elif state is not None:
        own, slots = state if isinstance(state, tuple) else (state, None)
        vars(found).update(own or {})
        for name, value in (slots or {}).items():
            object.__setattr__(found, name, value)
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
