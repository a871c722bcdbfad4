"""Arrays, pandas, polars, pyarrow: take columns out of a table, make one of columns.

This is about how columns are stored; what they mean is in `_kinds.py`. These libraries
are imported only for tables of theirs; tables of pyarrow are read as data frames of
pandas.
"""

import sys
from decimal import Context, Decimal

import numpy as np

# enough digits for any float with hundreds of decimals
_EXACT = Context(prec=1000)


def get_container(X):
    """Return 'pandas', 'polars', 'pyarrow' or 'array'."""
    if _is_frame_of("pandas", X):
        return "pandas"
    if type(X).__module__.split(".")[0] == "pyarrow" and hasattr(X, "column_names"):
        return "pyarrow"
    return "polars" if _is_frame_of("polars", X) else "array"


def _is_frame_of(library, X):
    """Return whether X is a data frame of a library, without importing it."""
    # a library that is being imported may have none yet
    return isinstance(X, getattr(sys.modules.get(library), "DataFrame", ()))


def get_index(X):
    """Return the index of a pandas data frame, or None."""
    return X.index if get_container(X) == "pandas" else None


def get_names(X):
    """Return the names of the columns of a data frame, or None."""
    container = get_container(X)
    if container == "array":
        return None
    if container == "pyarrow":
        return list(X.column_names)
    return X.columns if container == "pandas" else list(X.columns)


def convert_lists(X):
    """Return lists of rows as arrays in which every value keeps its type.

    Arrays of strings become arrays of objects. Other input is returned as it is, and so
    are lists that do not form an array.
    """
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "UST":
        return X.astype(object)
    if not isinstance(X, (list, tuple)):
        return X
    try:
        array = np.asarray(X)
        # numpy turns numbers beside strings into strings
        return np.array(X, dtype=object) if array.dtype.kind in "USTO" else array
    except (ValueError, TypeError):
        return X


def has_typed_columns(X):
    """Return whether columns may have different types: data frames, object arrays."""
    if get_container(X) != "array":
        return True
    is_object = isinstance(X, np.ndarray) and X.dtype == object
    return is_object and X.ndim == 2


def list_plain_dtypes(X):
    """Return the dtypes of a table if numpy can hold it without conversion, or None.

    Such a table has numbers only, with missing values only as NaN, or booleans only.
    Columns are not read one by one, because there may be very many.
    """
    container = get_container(X)
    if container == "array":
        return None if X.dtype == object else [X.dtype] * X.shape[1]
    dtypes = list(X.dtypes)
    if container == "pandas":
        is_plain = all(isinstance(d, np.dtype) and d.kind in "biuf" for d in dtypes)
        is_boolean = [getattr(d, "kind", None) == "b" for d in dtypes]
    else:
        import polars as pl

        # numpy has none of these, and early versions of polars lack some
        others = ("Decimal", "Int128", "UInt128")
        is_boolean = [d == pl.Boolean for d in dtypes]
        is_plain = all(d.is_numeric() and not str(d).startswith(others) for d in dtypes)
        is_plain |= all(is_boolean)
        is_plain &= not any(X.null_count().row(0)) if dtypes else False
    if not dtypes or not is_plain or any(is_boolean) != all(is_boolean):
        return None
    return dtypes


def take_column(X, number):
    """Return a column of a table, by its number; of an object array as a Series."""
    if get_container(X) == "pandas":
        return X.iloc[:, number]
    column = X[:, number]
    if column.dtype == object:
        import pandas as pd

        return pd.Series(column, dtype=object)
    return column


def name_dtype(dtype):
    """Return the name of a dtype in lower case, whatever its order of bytes."""
    return (dtype.name if isinstance(dtype, np.dtype) else str(dtype)).lower()


def is_polars_dtype(dtype):
    """Return whether a dtype is from polars."""
    return type(dtype).__module__.split(".")[0] == "polars"


def to_floats(column):
    """Return a column of numbers or booleans as float64, NaN where it is missing."""
    if is_polars_dtype(column.dtype):
        import polars as pl

        return column.cast(pl.Float64).to_numpy()
    if isinstance(column, np.ndarray):
        return column.astype(np.float64)
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def convert_numbers(X):
    """Return an array in an order of bytes and a precision that all libraries know."""
    if X.dtype.kind == "f" and X.dtype.itemsize > 8:
        return X.astype(np.float64)
    return X.astype(X.dtype.newbyteorder("="), copy=False)


def factorize(column):
    """Return the distinct values of a column, and the position of each cell in them.

    Positions are -1 where a value is missing. The values are a list in any order; those
    of declared categories are all of these, even if unused.
    """
    if is_polars_dtype(column.dtype):
        return _factorize_polars(column)
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(np.int64), column.cat.categories.tolist()
    if isinstance(column.dtype, np.dtype):
        # pandas cannot look up bytes of another order
        column = column.astype(column.dtype.newbyteorder("="))
    elif pd.api.types.is_extension_array_dtype(column) and hasattr(
        getattr(column.dtype, "pyarrow_dtype", None), "index_type"
    ):
        # pandas cannot look up values of Arrow's dictionaries with unsigned positions
        column = column.astype(pd.ArrowDtype(column.dtype.pyarrow_dtype.value_type))
    codes, levels = pd.factorize(column)
    return codes, levels.tolist()


def _factorize_polars(column):
    import polars as pl

    if isinstance(column.dtype, pl.Enum):
        levels = column.dtype.categories
    else:
        if column.dtype not in (pl.String, pl.Categorical):
            levels, codes = np.unique(to_floats(column), return_inverse=True)
            codes[np.isnan(levels)[codes]] = -1
            return codes, levels.tolist()
        column = column.cast(pl.String)
        levels = column.drop_nulls().unique()
        column = column.cast(pl.Enum(levels))
    codes = column.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
    return codes, levels.to_list()


def get_declared_categories(dtype):
    """Return the categories that a dtype declares, in order, or None."""
    if is_polars_dtype(dtype):
        import polars as pl

        return dtype.categories.to_list() if isinstance(dtype, pl.Enum) else None
    categories = getattr(dtype, "categories", None)
    return None if categories is None else categories.tolist()


def get_declared_levels(column):
    """Return the levels that the dtype or the dictionary of a column declares, or None.

    Dictionaries of Arrow do so where they are ordered.
    """
    if not is_ordered_dictionary(column.dtype):
        return get_declared_categories(column.dtype)
    chunks = column.array.__arrow_array__().unify_dictionaries().chunks
    levels = chunks[0].dictionary.to_pylist() if chunks else []
    return [level for level in levels if level is not None]


def is_ordered_dictionary(dtype):
    """Return whether a dtype is that of dictionaries of Arrow that have an order."""
    return bool(getattr(getattr(dtype, "pyarrow_dtype", None), "ordered", False))


def get_precision(dtype):
    """Return the type of numpy that has the precision of a dtype of numbers."""
    name = name_dtype(dtype)
    if name in ("float16", "halffloat[pyarrow]"):
        return np.float16
    return np.float32 if name in ("float32", "float[pyarrow]") else np.float64


def find_scale(column):
    """Return the number of decimals of a column of decimals, None of all others."""
    if not isinstance(column.dtype, np.dtype):
        dtype = getattr(column.dtype, "pyarrow_dtype", column.dtype)
        return getattr(dtype, "scale", None)
    if column.dtype.kind != "O":
        return None
    values = column[column.notna()]
    if not len(values) or not values.map(lambda v: isinstance(v, Decimal)).all():
        return None
    exponents = values[values.map(Decimal.is_finite)].map(lambda v: v.as_tuple()[2])
    return max(0, -int(exponents.min())) if len(exponents) else None


def make_column(values, dtype, missing):
    """Return floats, integers or booleans ``(n,)`` as a column of a dtype.

    A dtype None keeps the values as they are. Values are left out where they are
    `missing`, ``(n,)``, unless the dtype has no missing values.
    """
    is_hidden = missing.any()
    if dtype is None:
        return values
    if is_polars_dtype(dtype):
        import polars as pl

        column = pl.Series(values)
        if is_hidden:
            shown = pl.when(pl.Series(~missing)).then(column)
            column = pl.select(shown).to_series()
        return column.cast(dtype)
    if isinstance(dtype, np.dtype):
        column = values.astype(dtype, copy=is_hidden)
        if is_hidden and dtype.kind in ("f", "O"):
            column[missing] = None if dtype.kind == "O" else np.nan
        return column
    import pandas as pd

    column = pd.Series(values).astype(dtype)
    if is_hidden:
        column[missing] = pd.NA
    return column.array


def make_decimals(values, dtype, scale, cells=None):
    """Return floats ``(n,)``, NaN if missing, as decimals of a dtype.

    They are rounded to `scale` decimals and clipped to the digits of the dtype. `cells`
    is None or a column, as a list: where it has decimals, these are returned.
    """
    unit = Decimal(1).scaleb(-scale)
    digits = getattr(getattr(dtype, "pyarrow_dtype", dtype), "precision", None)
    limit = Decimal("inf")
    if digits is not None:
        limit = _EXACT.scaleb(Decimal(10**digits - 1), -scale)

    def convert(value, cell):
        if np.isnan(value):
            return None
        is_exact = isinstance(cell, Decimal) and cell.is_finite()
        decimal = Decimal(cell if is_exact else value).quantize(unit, context=_EXACT)
        return min(max(decimal, -limit), limit)

    both = zip(values, [None] * len(values) if cells is None else cells, strict=True)
    decimals = [convert(value, cell) for value, cell in both]
    if is_polars_dtype(dtype):
        import polars as pl

        return pl.Series(decimals, dtype=dtype)
    if isinstance(dtype, np.dtype):
        column = np.empty(len(decimals), dtype=object)
        column[:] = decimals
        return column
    import pandas as pd

    return pd.array(decimals, dtype=dtype)


def take_levels(levels, codes, dtype):
    """Return levels by their codes, -1 for missing, as a column of a dtype."""
    if is_polars_dtype(dtype):
        import polars as pl

        pool = pl.Series([*levels, None], dtype=pl.String)
        return pool.gather(np.where(codes < 0, len(levels), codes)).cast(dtype)
    if get_declared_categories(dtype) is not None:
        import pandas as pd

        return pd.Categorical.from_codes(codes, dtype=dtype)
    # code -1 takes the last one, None
    pool = np.empty(len(levels) + 1, dtype=object)
    pool[:-1] = levels
    if dtype is None or isinstance(dtype, np.dtype):
        return pool[codes]
    import pandas as pd

    if "view" in name_dtype(dtype):
        import pyarrow as pa

        # pandas cannot convert to columns of views
        values = pa.array(pool[codes].tolist(), dtype.pyarrow_dtype)
        return pd.arrays.ArrowExtensionArray(values)
    pool = pd.Series(levels, dtype=object).astype(dtype).array
    return pool.take(codes, allow_fill=True)


def to_objects(column):
    """Return a column as a list of Python's objects."""
    return column.to_list() if is_polars_dtype(column.dtype) else column.tolist()


def make_table(columns, names, dtypes, container, index=None):
    """Return a table with the given columns; an array has the dtype object."""
    if container == "array":
        array = np.empty((len(columns[0]), len(columns)), dtype=object)
        for j, column in enumerate(columns):
            array[:, j] = column
        return array
    if container == "polars":
        import polars as pl

        return pl.DataFrame(dict(zip(names, columns, strict=True)))
    import pandas as pd

    typed = zip(columns, dtypes, strict=True)
    series = [pd.Series(column, dtype=dtype) for column, dtype in typed]
    # named afterwards, because names may occur twice
    frame = pd.DataFrame(dict(enumerate(series)))
    frame.columns = names
    if container == "pyarrow":
        import pyarrow as pa

        table = pa.Table.from_pandas(frame, preserve_index=False)
        return table.replace_schema_metadata(None)
    return frame if index is None else frame.set_axis(index)
