"""What users pass, from any library, as arrays, lists or data frames that we read.

What cannot be rows of a table is refused here by its type; `_reading.py` and
`_checks.py` look at values. Neither torch nor pyarrow is imported.
"""

from collections.abc import Iterator, Mapping, Set

import numpy as np

from ._checks import check_exact_integers
from ._containers import get_container
from ._wrappers import is_tensor

# what to do with types that are not tables, by module and name
_ADVICE = {
    ("pandas", "Series"): "pass a row as frame.iloc[[i]], a column as frame[[name]]",
    ("polars", "Series"): "pass a row as frame[[i]], a column as frame.select(name)",
    ("polars", "LazyFrame"): "call collect() first",
    ("pyarrow", "Array"): "pass a column as table.select([name])",
    ("pyarrow", "ChunkedArray"): "pass a column as table.select([name])",
    ("pyarrow", "RecordBatchReader"): "call read_all() first",
    ("narwhals", "LazyFrame"): "call collect() first",
    ("narwhals", "Series"): "pass a column as frame.select(name)",
    ("xarray", "Dataset"): "pass {}.to_dataframe(), whose columns are the variables",
    ("dask", "Series"): "call compute() first, and pass a column as frame[[name]]",
}
# how frames of other libraries become one of pandas, by their attributes; the first
# that there is counts
_WAYS = {
    "modin": "pass {}.modin.to_pandas()",
    "to_pandas": "pass {}.to_pandas()",
    "toPandas": "pass {}.toPandas()",
    "compute": "call compute() first",
    "collect": "call collect() first",
    "to_df": "pass {}.to_df()",
}


def convert_input(X, name, owner):
    """Return a table as an array of numpy, lists, or a data frame of pandas or polars.

    Tables of pyarrow become data frames of pandas, with types of pyarrow, and tensors
    become arrays. Masked values of arrays become NaN, or None where the array is not
    one of numbers. The message of the TypeError that refuses any other kind of object
    has the `name` of the argument and that of the estimator, its `owner`.
    """
    check_type(X, name, owner)
    if get_container(X) == "pyarrow":
        return X.to_pandas(types_mapper=_map_arrow, ignore_metadata=True)
    return convert_array(X, name)


def check_type(X, name, owner):
    """Refuse objects that are not tables, with what to do with them."""
    advice = _find_advice(X)
    if advice:
        raise TypeError(
            f"{name} is of type {_name_type(X)}, but {owner} accepts arrays and "
            f"data frames; {advice.format(name)}."
        )


def _name_type(X):
    """Return the name of a type, of data frames with their module."""
    name, module = type(X).__name__, type(X).__module__.split(".")[0]
    return f"{module}'s {name}" if name == "DataFrame" else name


def _map_arrow(kind):
    import pandas as pd

    # pandas has no columns of views
    return None if "view" in str(kind) else pd.ArrowDtype(kind)


def convert_array(X, name):
    """Return tensors and masked arrays, or lists of them, as arrays of numpy."""
    if isinstance(X, (list, tuple)):
        if any(isinstance(row, np.ma.MaskedArray) for row in X):
            X = np.ma.array(X)
        elif any(map(is_tensor, X)):
            X = [convert_array(row, name) for row in X]
    if is_tensor(X):
        X = _convert_tensor(X, name)
    return _fill_masked(X) if isinstance(X, np.ma.MaskedArray) else X


def convert_value(value, label):
    """Return one value that is given for a column, called `label`, as a scalar.

    Raise a ValueError if there are several, or if it is missing.
    """
    if hasattr(value, "as_py"):
        # a scalar of pyarrow
        value = value.as_py()
    is_time = getattr(getattr(value, "dtype", None), "kind", None) in ("M", "m")
    if getattr(value, "ndim", None) == 0 and not np.ma.is_masked(value) and not is_time:
        value = value.item()
    if hasattr(value, "__len__") and not isinstance(value, (str, bytes)):
        raise ValueError(f"{label} cannot be {value!r}; a single value is accepted.")
    import pandas as pd

    if np.ma.is_masked(value) or pd.isna(value):
        raise ValueError(
            f"{label} cannot be {value!r}, a missing value; leave the column out of "
            "`given` to draw it."
        )
    return value


def _find_advice(X):
    """Return what to do with an object that is not a table, or None."""
    for kind in type(X).__mro__:
        advice = _ADVICE.get((kind.__module__.split(".")[0], kind.__name__))
        if advice:
            return advice
    is_list = isinstance(X, (list, tuple)) and len(X) > 0
    # sparse arrays of scipy may be dicts
    is_dict = isinstance(X, Mapping) and not hasattr(X, "toarray")
    if is_dict or (is_list and isinstance(X[0], Mapping)):
        return "pass pandas.DataFrame({})"
    if getattr(getattr(X, "dtype", None), "names", None):
        return "pass pandas.DataFrame({}), whose columns are the fields of the records"
    if X is None or isinstance(X, (str, bytes, Set, Iterator)):
        return "pass rows of columns, (n_samples, n_features)"
    if hasattr(X, "columns") and get_container(X) == "array":
        return next((way for name, way in _WAYS.items() if hasattr(X, name)), None)
    return None


def _convert_tensor(X, name):
    """Return a tensor as an array; types that numpy lacks become single precision."""
    if str(X.layout) != "torch.strided":
        raise TypeError(
            f"{name} is a sparse tensor, but dense rows are needed; use to_dense()."
        )
    try:
        return X.numpy(force=True)
    except TypeError:
        # such as bfloat16
        return X.float().numpy(force=True)


def _fill_masked(X):
    mask = np.ma.getmaskarray(X)
    if not mask.any():
        return X.data
    kind = X.dtype.kind
    if kind in "iu":
        check_exact_integers(X.filled(0).reshape(len(X), -1))
        values = X.data.astype(np.float64)
    else:
        values = X.data.astype(X.dtype if kind in "fc" else object)
    values[mask] = np.nan if kind in "iufc" else None
    return values
