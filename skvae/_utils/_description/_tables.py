"""Dtypes, indexes and levels of pandas, polars and pyarrow, if they are there."""

import re
import sys
from importlib import import_module

# as zoneinfo and Arrow name them; others of pandas may be paths of files
_ZONE = re.compile(r"(?!dateutil)[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
# of dtypes, such as Sparse[float64, nan] or interval[datetime64[ns, Asia/Tokyo], left]
_NAME = re.compile(r"(?!.*(dateutil|\.\.))[A-Za-z][A-Za-z0-9 _,:./+<>|=\[\]-]*")

# of dtypes that are named by their attributes
_POLARS = {
    "Decimal": ("precision", "scale"),
    "Datetime": ("time_unit", "time_zone"),
    "Duration": ("time_unit",),
}
# of which only the class itself is described
_NESTED = ("List", "Array", "Struct", "Object")


def describe(value, describer, path):
    """Return the node of a value of these packages, or None of another."""
    package = type(value).__module__.split(".")[0]
    if package == "pandas":
        return _describe_pandas(sys.modules["pandas"], value, describer, path)
    is_class = isinstance(value, type) and value.__module__.split(".")[0] == "polars"
    if package == "polars" or is_class:
        return _describe_polars(sys.modules["polars"], value, describer, path)
    return None


def _describe_pandas(pd, value, describer, path):
    if value is pd.NA:
        return {"missing": "NA"}
    if value is pd.NaT:
        return {"missing": "NaT"}
    if isinstance(value, pd.Index):
        return _describe_index(pd, value, describer, path)
    if type(value) in (pd.Timestamp, pd.Timedelta):
        node = {"time": value.asm8.view("i8").item(), "unit": value.unit}
        if type(value) is pd.Timedelta:
            return node | {"is_duration": True}
        if value.tz is None:
            return node
        return node | {"zone": str(value.tz)} if _has_zone(pd, value.tz) else None
    if type(value) is pd.Interval:
        ends = [describer(value.left), describer(value.right)]
        return {"interval": ends, "closed": value.closed}
    if isinstance(value, pd.CategoricalDtype):
        levels = describer(value.categories, path)
        return {"categories": levels, "ordered": value.ordered}
    if isinstance(value, pd.StringDtype):
        missing = "NA" if value.na_value is pd.NA else "nan"
        # before pandas 2.3 the storage tells both
        storage = value.storage.removesuffix("_numpy")
        return {"string_dtype": storage, "missing_is": missing}
    if isinstance(value, pd.ArrowDtype):
        arrow = _describe_arrow(value.pyarrow_dtype)
        return None if arrow is None else {"arrow_dtype": arrow}
    if isinstance(value, pd.api.extensions.ExtensionDtype):
        try:
            is_named = pd.api.types.pandas_dtype(str(value)) == value
        except TypeError:
            is_named = False
        return {"pandas_dtype": str(value)} if is_named else None
    return None


def _has_zone(pd, zone):
    if not _ZONE.fullmatch(str(zone)):
        return False
    try:
        return str(pd.Timestamp(0, tz=str(zone)).tz) == str(zone)
    except (ValueError, KeyError, OSError):
        return False


def _describe_index(pd, value, describer, path):
    names = [describer(name) for name in value.names]
    if isinstance(value, pd.RangeIndex):
        return {"range": [value.start, value.stop, value.step], "names": names}
    if isinstance(value, pd.MultiIndex):
        return {"tuples": [describer(item) for item in value], "names": names}
    if isinstance(value, pd.IntervalIndex):
        return {"intervals": [describer(item) for item in value], "names": names}
    if isinstance(value.dtype, pd.CategoricalDtype):
        items = [describer(item) for item in value.astype(object)]
    elif value.dtype.kind in "biufM" and type(value.dtype).__module__ == "numpy.dtypes":
        # numbers are an array
        array = describer(value.to_numpy().copy(), path)
        node = {"index": array, "index_dtype": None, "names": names}
        freq = getattr(value, "freqstr", None)
        return node if freq is None else node | {"freq": freq}
    else:
        items = [describer(item) for item in value]
    return {
        "index": {"list": items},
        "index_dtype": describer(value.dtype, path),
        "names": names,
    }


def _describe_arrow(dtype):
    """Return what makes a type of Arrow, or None of another."""
    import pyarrow as pa

    types = pa.types
    if types.is_decimal128(dtype) or types.is_decimal256(dtype):
        return ["decimal", dtype.bit_width, dtype.precision, dtype.scale]
    if types.is_timestamp(dtype):
        return ["timestamp", dtype.unit, dtype.tz]
    if types.is_dictionary(dtype):
        parts = [_describe_arrow(d) for d in (dtype.index_type, dtype.value_type)]
        return None if None in parts else ["dictionary", *parts, dtype.ordered]
    try:
        is_named = pa.type_for_alias(str(dtype)) == dtype
    except ValueError:
        is_named = False
    return [str(dtype)] if is_named else None


def _describe_polars(pl, value, describer, path):
    is_class = isinstance(value, type)
    kind = value if is_class else type(value)
    if getattr(pl, kind.__name__, None) is not kind or not issubclass(
        kind, pl.DataType
    ):
        return None
    node = {"polars": kind.__name__}
    if is_class:
        return node | {"is_class": True}
    if kind is pl.Enum:
        return node | {"levels": [describer(v) for v in value.categories.to_list()]}
    if kind is pl.Categorical:
        return node if value == pl.Categorical() else None
    if kind.__name__ in _NESTED:
        return None
    arguments = {name: getattr(value, name) for name in _POLARS.get(kind.__name__, ())}
    return node | ({"arguments": describer(arguments)} if arguments else {})


def _pandas():
    import pandas as pd

    return pd


def _build_index(node, rebuild):
    items, dtype = rebuild(node["index"]), rebuild(node["index_dtype"])
    if isinstance(dtype, str):
        # as text it may have a time zone that is the path of a file
        raise TypeError(f"not a dtype: {dtype}")
    index = _pandas().Index(items, dtype=dtype)
    if "freq" in node:
        index.freq = node["freq"]
    return _name(index, node, rebuild)


def _name(index, node, rebuild):
    index.names = [rebuild(name) for name in node["names"]]
    return index


def _build_range(node, rebuild):
    return _name(_pandas().RangeIndex(*node["range"]), node, rebuild)


def _build_tuples(node, rebuild):
    items = [rebuild(item) for item in node["tuples"]]
    return _name(_pandas().MultiIndex.from_tuples(items), node, rebuild)


def _build_intervals(node, rebuild):
    items = [rebuild(item) for item in node["intervals"]]
    return _name(_pandas().IntervalIndex(items), node, rebuild)


def _build_missing(node, rebuild):
    return {"NA": _pandas().NA, "NaT": _pandas().NaT}[node["missing"]]


def _check_zone(name):
    """Refuse the name of a time zone that may be the path of a file."""
    if name is not None and not _ZONE.fullmatch(name):
        raise ValueError(f"not a time zone: {name}")


def _build_time(node, rebuild):
    pd, unit = _pandas(), node["unit"]
    if node.get("is_duration"):
        return pd.Timedelta(node["time"], unit=unit).as_unit(unit)
    time = pd.Timestamp(node["time"], unit=unit).as_unit(unit)
    if "zone" not in node:
        return time
    _check_zone(node["zone"])
    return time.tz_localize("UTC").tz_convert(node["zone"])


def _build_interval(node, rebuild):
    return _pandas().Interval(*map(rebuild, node["interval"]), node["closed"])


def _build_categories(node, rebuild):
    return _pandas().CategoricalDtype(rebuild(node["categories"]), node["ordered"])


def _build_string_dtype(node, rebuild):
    pd = _pandas()
    if node["string_dtype"] == "pyarrow":
        # where it is missing pandas raises an error that does not name it
        import_module("pyarrow")
    if node["missing_is"] == "NA":
        return pd.StringDtype(node["string_dtype"])
    try:
        return pd.StringDtype(node["string_dtype"], na_value=float("nan"))
    except TypeError:
        # before pandas 2.3
        return pd.StringDtype("pyarrow_numpy")


def _make_arrow(node):
    import pyarrow as pa

    name, *rest = node
    if name == "decimal":
        bits, *digits = rest
        return {128: pa.decimal128, 256: pa.decimal256}[bits](*digits)
    if name == "timestamp":
        unit, zone = rest
        _check_zone(zone)
        return pa.timestamp(unit, zone)
    if name == "dictionary":
        return pa.dictionary(_make_arrow(rest[0]), _make_arrow(rest[1]), rest[2])
    return pa.type_for_alias(name)


def _build_arrow_dtype(node, rebuild):
    return _pandas().ArrowDtype(_make_arrow(node["arrow_dtype"]))


def _build_pandas_dtype(node, rebuild):
    name = node["pandas_dtype"]
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a dtype: {name}")
    return _pandas().api.types.pandas_dtype(name)


def _build_polars(node, rebuild):
    import polars as pl

    name = node["polars"]
    kind = vars(pl)[name]
    if not (isinstance(kind, type) and issubclass(kind, pl.DataType)):
        raise TypeError(f"not a dtype: {name}")
    if node.get("is_class"):
        return kind
    if "levels" in node:
        return pl.Enum([rebuild(level) for level in node["levels"]])
    arguments = rebuild(node["arguments"]) if "arguments" in node else {}
    if name in _NESTED or set(arguments) != set(_POLARS.get(name, ())):
        raise TypeError(f"not a dtype: {name}")
    _check_zone(arguments.get("time_zone"))
    return kind(**arguments)


BUILDERS = {
    "index": _build_index,
    "range": _build_range,
    "tuples": _build_tuples,
    "intervals": _build_intervals,
    "missing": _build_missing,
    "time": _build_time,
    "interval": _build_interval,
    "categories": _build_categories,
    "string_dtype": _build_string_dtype,
    "arrow_dtype": _build_arrow_dtype,
    "pandas_dtype": _build_pandas_dtype,
    "polars": _build_polars,
}
