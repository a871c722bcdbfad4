"""xarray, narwhals and tensors: other forms of the arrays and data frames that we read.

A `Wrapper` remembers which one X has; results are returned in it. None of these
libraries is imported but for its own tables.
"""

import sys

import numpy as np
from sklearn import get_config

from ._containers import get_container, get_index, get_names, make_table

# modules of narwhals whose frames differ
_NARWHALS = ("narwhals", "narwhals.stable.v1", "narwhals.stable.v2")


def unwrap(X):
    """Return the data frame or array that a table of another library stands for.

    Labelled arrays of two dimensions become data frames of pandas. Other input is
    returned as it is.
    """
    if _is_data_array(X):
        # of images, arrays
        return X.to_pandas() if X.ndim == 2 else X.to_numpy()
    return X.to_native() if _find_narwhals(X) else X


def check_dimensions(X, argument):
    """Refuse labelled arrays that are neither rows of columns nor images."""
    if not _is_data_array(X) or X.ndim not in (1, 3):
        return
    advice = f"{argument}.expand_dims('row')"
    if X.ndim == 3:
        advice = f"{argument}.stack(column={X.dims[1:]!r})"
    raise ValueError(
        f"{argument} is a DataArray of the dimensions {X.dims!r}, but rows of columns "
        f"are accepted, or images (n, channels, height, width); pass {advice}."
    )


def find_wrapper(X):
    """Return the `Wrapper` of a table as a tuple of texts, or None.

    The first of them names the library; behind it are the names of the dimensions of a
    labelled array, or the device of a tensor.
    """
    if _is_data_array(X):
        return ("xarray", *map(str, X.dims))
    if is_tensor(X):
        return "torch", str(X.device)
    module = _find_narwhals(X)
    return module and (module,)


def wrap(values, wrapper, like=None):
    """Return rows, an array or a data frame, in the form of a table that was given.

    `wrapper` is what `find_wrapper` has returned; `like` is None or a table of the same
    rows, with labels of these. Tensors are returned where scikit-learn's
    ``array_api_dispatch`` is on, elsewhere arrays.
    """
    library = wrapper and wrapper[0]
    if library == "xarray":
        return _make_data_array(values, list(wrapper[1:]), like)
    if library == "torch":
        return _make_tensor(values, like.device if is_tensor(like) else wrapper[1])
    if library in _NARWHALS:
        return _load(library).from_native(values)
    return values


def make_array_like(X, values):
    """Return numbers as a tensor where X is one and ``array_api_dispatch`` is on."""
    return _make_tensor(values, X.device) if is_tensor(X) else values


def make_table_like(X, values):
    """Return numbers ``(n, n_columns)`` as a table with the names and rows of X."""
    if _is_data_array(X):
        return _label_scores(X, values)
    table = unwrap(X)
    names, rows = get_names(table), values
    if names is not None:
        dtypes, columns = [values.dtype] * values.shape[1], list(values.T)
        container = get_container(table)
        rows = make_table(columns, names, dtypes, container, get_index(table))
    return wrap(rows, find_wrapper(X), X)


def _label_scores(X, scores):
    """Return scores of cells with the coordinates of X, without its name and unit."""
    if X.ndim != 2:
        return scores
    labelled = X.copy(data=scores)
    labelled.name, labelled.attrs = None, {}
    return labelled


def _make_data_array(values, dims, like):
    data = np.asarray(values)
    if _is_data_array(like) and like.shape == data.shape:
        return like.copy(data=data)
    labelled = _load("xarray").DataArray(values, dims=dims)
    if data.ndim > 2:
        return labelled
    axes = zip(dims, values.axes, strict=True)
    # numbers of rows and columns, which no coordinate was given for
    plain = [name for name, axis in axes if type(axis).__name__ == "RangeIndex"]
    return labelled.drop_vars(plain)


def _make_tensor(values, device):
    # scikit-learn's own estimators return arrays without it
    if not get_config().get("array_api_dispatch"):
        return values
    device = str(device)
    if device.startswith("mps") and values.dtype == np.float64:
        values = values.astype(np.float32)
    # torch is there where tensors are
    from .._utils._device import is_available

    tensor = _load("torch").from_numpy(np.require(values, requirements="W"))
    # a model may be loaded where the device of its rows is missing
    return tensor.to(device if is_available(device) else "cpu")


def _load(name):
    """Return a module that tables were made with, also where a file brings them."""
    __import__(name)
    return sys.modules[name]


def is_tensor(X):
    """Return whether X is a tensor of torch, without importing it."""
    return hasattr(X, "requires_grad") and hasattr(X, "layout")


def _is_data_array(X):
    return isinstance(X, getattr(sys.modules.get("xarray"), "DataArray", ()))


def _find_narwhals(X):
    """Return the module of narwhals that a data frame is from, or None."""
    for module in reversed(_NARWHALS):
        if isinstance(X, getattr(sys.modules.get(module), "DataFrame", ())):
            return module
    return None
