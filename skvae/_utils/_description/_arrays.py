"""Arrays, numbers, dtypes and generators of numpy."""

import re

import numpy as np

# those that safetensors has; others are bytes
_PLAIN = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"),
    *("uint64", "float16", "float32", "float64"),
}
_DTYPE = re.compile(r"[<>|=]?[biufcmMSUO]\d*(\[\d*\w+\])?")
# numbers of values that a generator keeps, and where it is among them
_PLACES = {"pos": 624, "buffer_pos": 4}
_BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


def describe(value, describer, path):
    """Return the node of a value of numpy, or None of another."""
    kind = type(value)
    if kind in (np.ndarray, np.memmap):
        return _describe_array(value, describer, path)
    if isinstance(value, np.generic):
        if value.dtype.name in _PLAIN:
            return {"scalar": describer(value.item()), "dtype": value.dtype.name}
        return {"scalar_of": describer(np.asarray(value), path)}
    if isinstance(value, np.dtype) and _DTYPE.fullmatch(value.str):
        return {"dtype": value.str}
    if kind is np.random.RandomState:
        return {"random_state": describer(value.get_state(legacy=False), path)}
    if kind is np.random.Generator:
        return {"generator": describer(value.bit_generator.state, path)}
    return None


def _describe_array(value, describer, path):
    dtype = value.dtype
    if dtype.kind == "O":
        items = [describer(item, path) for item in value.ravel()]
        return {"objects": items, "shape": list(value.shape)}
    is_fortran = value.flags.f_contiguous and not value.flags.c_contiguous
    array = value.T if is_fortran else value
    node = {"array": None}
    if dtype.name not in _PLAIN or not dtype.isnative:
        if not _DTYPE.fullmatch(dtype.str):
            return None
        node |= {"dtype": dtype.str, "shape": list(array.shape)}
        array = np.frombuffer(array.tobytes(), np.uint8)
    if is_fortran:
        node["order"] = "F"
    node["array"] = describer.add_array(np.ascontiguousarray(array), path, array.shape)
    return node


def _build_array(node, rebuild):
    array = rebuild.take_array(node["array"])
    if "dtype" in node:
        dtype = _build_dtype(node, rebuild)
        if dtype.hasobject:
            raise ValueError("objects are not bytes")
        array = array.view(dtype).reshape(node["shape"])
    return array.T if node.get("order") == "F" else array


def _build_objects(node, rebuild):
    items = node["objects"]
    array = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        array[i] = rebuild(item)
    return array.reshape(node["shape"])


def _build_scalar(node, rebuild):
    if node["dtype"] not in _PLAIN:
        raise ValueError(f"not a scalar: {node['dtype']}")
    return np.dtype(node["dtype"]).type(rebuild(node["scalar"]))


def _build_dtype(node, rebuild):
    if not _DTYPE.fullmatch(node["dtype"]):
        raise ValueError(f"not a dtype: {node['dtype']}")
    return np.dtype(node["dtype"])


def _build_bit_generator(state):
    name = state["bit_generator"]
    if name not in _BIT_GENERATORS:
        raise ValueError(f"not a generator: {name}")
    # numpy does not check them
    for place, last in _PLACES.items():
        if not 0 <= {**state, **state["state"]}.get(place, 0) <= last:
            raise ValueError(f"not a place: {place}")
    generator = getattr(np.random, name)(0)
    generator.state = {k: state[k] for k in state if k not in ("has_gauss", "gauss")}
    return generator


def _build_random_state(node, rebuild):
    state = rebuild(node["random_state"])
    found = np.random.RandomState(_build_bit_generator(state))
    found.set_state(state)
    return found


BUILDERS = {
    "array": _build_array,
    "objects": _build_objects,
    "scalar": _build_scalar,
    "scalar_of": lambda node, rebuild: rebuild(node["scalar_of"])[()],
    "dtype": _build_dtype,
    "random_state": _build_random_state,
    "generator": lambda node, rebuild: np.random.Generator(
        _build_bit_generator(rebuild(node["generator"]))
    ),
}
