"""Values of Python: numbers, text, containers."""

import base64
import datetime
import math
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal

_DICTS = {dict: "dict", OrderedDict: "ordered_dict", Counter: "counter"}
_SEQUENCES = {
    list: "list",
    tuple: "tuple",
    set: "set",
    frozenset: "frozenset",
    deque: "deque",
}
_TEXTS = {
    Decimal: (str, Decimal),
    datetime.date: (datetime.date.isoformat, datetime.date.fromisoformat),
    datetime.datetime: (datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    datetime.time: (datetime.time.isoformat, datetime.time.fromisoformat),
    bytes: (
        lambda v: base64.b64encode(v).decode(),
        lambda v: base64.b64decode(v, validate=True),
    ),
    complex: (repr, complex),
}


def describe(value, describer, path):
    """Return the node of a value of Python, or None of another."""
    kind = type(value)
    if kind is float:
        # JSON has no such numbers
        return {"float": repr(value)}
    if kind in _SEQUENCES:
        # sets have an order of their own in every process
        items = sorted(value, key=repr) if kind in (set, frozenset) else value
        parts = [describer(item, f"{path}.{i}") for i, item in enumerate(items)]
        node = {_SEQUENCES[kind]: parts}
        if kind is deque:
            node["maxlen"] = value.maxlen
        return node
    if kind in _DICTS or kind is defaultdict:
        node = {
            _DICTS.get(kind, "default_dict"): describe_pairs(value, describer, path)
        }
        if kind is defaultdict:
            node["factory"] = describer(value.default_factory, path)
        return node
    if kind in _TEXTS:
        return {kind.__name__: _TEXTS[kind][0](value)}
    if kind is datetime.timedelta:
        return {"timedelta": [value.days, value.seconds, value.microseconds]}
    if kind is slice:
        return {"slice": [describer(v) for v in (value.start, value.stop, value.step)]}
    if value is Ellipsis:
        return {"ellipsis": 0}
    return None


def describe_pairs(value, describer, path):
    """Return the items of a dict: a dict where all keys are text, else pairs."""
    if all(type(key) is str for key in value):
        return {key: describer(item, f"{path}.{key}") for key, item in value.items()}
    return [
        [describer(key, f"{path}.key"), describer(item, f"{path}.{i}")]
        for i, (key, item) in enumerate(value.items())
    ]


def fill(found, node, rebuild):
    """Put the items of a node into a dict."""
    if isinstance(node, dict):
        node = node.items()
    for key, item in node:
        key = rebuild(key)
        found[key] = rebuild(item)
    return found


def _build_list(node, rebuild):
    found = rebuild.keep(node, [])
    found.extend(map(rebuild, node["list"]))
    return found


def _build_set(node, rebuild):
    found = rebuild.keep(node, set())
    found.update(map(rebuild, node["set"]))
    return found


def _build_default_dict(node, rebuild):
    factory = rebuild(node["factory"])
    if factory not in (None, dict, list, int):
        raise TypeError(f"not a factory: {factory!r}")
    found = rebuild.keep(node, defaultdict(factory))
    return fill(found, node["default_dict"], rebuild)


def _make_dict_builder(kind, name):
    def build(node, rebuild):
        found = rebuild.keep(node, kind())
        # counters add what they are given
        return fill(found, node[name], rebuild)

    return build


def _make_text_builder(kind, name):
    parse = _TEXTS[kind][1]
    return lambda node, rebuild: parse(node[name])


def _build_float(node, rebuild):
    value = float(node["float"])
    if math.isfinite(value):
        raise ValueError("finite numbers have no text")
    return value


BUILDERS = {
    "float": _build_float,
    "list": _build_list,
    "set": _build_set,
    "tuple": lambda node, rebuild: tuple(map(rebuild, node["tuple"])),
    "frozenset": lambda node, rebuild: frozenset(map(rebuild, node["frozenset"])),
    "deque": lambda node, rebuild: deque(map(rebuild, node["deque"]), node["maxlen"]),
    "default_dict": _build_default_dict,
    "timedelta": lambda node, rebuild: datetime.timedelta(*node["timedelta"]),
    "slice": lambda node, rebuild: slice(*map(rebuild, node["slice"])),
    "ellipsis": lambda node, rebuild: ...,
    **{name: _make_dict_builder(kind, name) for kind, name in _DICTS.items()},
    **{k.__name__: _make_text_builder(k, k.__name__) for k in _TEXTS},
}
