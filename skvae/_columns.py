"""Tables and float tensors, there and back: kinds of column, units, names, types.

numpy stops here; nothing below knows of data frames.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.utils._dataframe import is_pandas_df, is_polars_df

# rows cast at a time where a whole copy of the table would be a waste
_CHUNK = 65_536


def get_container(X):
    """Return 'pandas', 'polars' or 'array'."""
    if is_pandas_df(X):
        return "pandas"
    return "polars" if is_polars_df(X) else "array"


def _get_kind(dtype):
    """Return 'boolean', 'number' or 'other' for the dtype of one column."""
    name = str(dtype).lower()
    if name.startswith("bool"):
        return "boolean"
    numeric = ("int", "uint", "float", "double", "halffloat", "decimal")
    return "number" if name.startswith(numeric) else "other"


def check_kinds(X, estimator_name):
    """Refuse columns that are neither numbers nor booleans; return their kinds.

    Returns
    -------
    list of str or None
        One kind a column; None for what is not a table of known types.
    """
    container = get_container(X)
    if container == "array":
        dtype = getattr(X, "dtype", None)
        return ["boolean"] if getattr(dtype, "kind", None) == "b" else None
    dtypes = list(X.dtypes)
    kinds = [_get_kind(dtype) for dtype in dtypes]
    for name, dtype, kind in zip(X.columns, dtypes, kinds, strict=True):
        is_object = str(dtype) == "object"
        if kind == "other" and not (is_object and _is_numeric_object(X[name])):
            raise TypeError(
                f"Column {name!r} has dtype {dtype}, but {estimator_name} accepts "
                "numbers and booleans so far. Encode it first, for example with "
                "sklearn.preprocessing.OneHotEncoder in a ColumnTransformer."
            )
    if "boolean" in kinds and set(kinds) != {"boolean"}:
        name = X.columns[kinds.index("boolean")]
        raise TypeError(
            f"Column {name!r} is boolean and others are not. Mixed types are not "
            "supported yet: convert all columns, for example with X.astype(float)."
        )
    return kinds


def _is_numeric_object(column):
    return all(
        isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        for value in column
    )


def check_finite(X, names=None):
    """Refuse infinite and missing values, naming column and value.

    Raises
    ------
    ValueError
    """
    total = X.sum(dtype=np.float64)
    if np.isfinite(total):
        return
    for begin in range(0, len(X), _CHUNK):
        bad = ~np.isfinite(X[begin : begin + _CHUNK])
        if bad.any():
            row, column = np.argwhere(bad)[0]
            value = X[begin + row, column]
            advice = (
                "missing values are not supported yet; fill them first, for example "
                "with sklearn.impute.KNNImputer"
                if np.isnan(value)
                else "only finite numbers are accepted"
            )
            shown = "NaN" if np.isnan(value) else value
            raise ValueError(
                f"Input X contains {shown} in {describe(column, names)}, row "
                f"{begin + row}; {advice}."
            )


def describe(column, names=None):
    """Return how messages call a column."""
    return f"column {column}" if names is None else f"column {str(names[column])!r}"


@dataclass
class ColumnTable:
    """What is known of the columns: names, types and the units of the model.

    Attributes
    ----------
    container : {'array', 'pandas', 'polars'}
        What X was at fit, and what comes back.
    names : list or None
    dtypes : list or None
        One a column for data frames; the array's single dtype otherwise.
    likelihood : str
        Name of the likelihood of all columns.
    location, unit : ndarray (n_features,)
        The model sees ``(X - location) / unit``.
    index_type : type
        pandas' column index, kept for its names.
    """

    container: str
    names: object
    dtypes: list
    likelihood: str
    location: np.ndarray
    unit: np.ndarray
    scale: np.ndarray = field(default=None)

    @classmethod
    def from_input(cls, X, array, likelihood):
        """Read names and types from what the user gave; units are 1."""
        container = get_container(X)
        n_features = array.shape[1]
        if container == "array":
            # the floats that hold what came in; integers and booleans are means here
            kept = array.dtype if array.dtype == np.float32 else np.dtype(float)
            names, dtypes = None, [kept]
        else:
            names = X.columns if container == "pandas" else list(X.columns)
            dtypes = list(X.dtypes)
        zero, one = np.zeros(n_features), np.ones(n_features)
        return cls(container, names, dtypes, likelihood, zero, one, one)

    def standardized(self, X, weight=None):
        """Return the table with the units that centre and scale X."""
        n_samples = len(X)
        share = np.full(n_samples, 1 / n_samples) if weight is None else weight
        share = share / share.sum()
        # around the first row: offsets of 1e6 standard deviations lose no digits
        first = X[0].astype(np.float64)
        mean, square = np.zeros(X.shape[1]), np.zeros(X.shape[1])
        for begin in range(0, n_samples, _CHUNK):
            rows = X[begin : begin + _CHUNK] - first
            mean += share[begin : begin + _CHUNK] @ rows
        for begin in range(0, n_samples, _CHUNK):
            rows = X[begin : begin + _CHUNK] - first - mean
            square += share[begin : begin + _CHUNK] @ rows**2
        mean = mean + first
        deviation = np.sqrt(square)
        # what is left is rounding: the column is constant
        rounding = 10 * np.finfo(np.float64).eps * np.abs(mean)
        is_constant = ~(deviation > rounding)
        scale = np.where(is_constant, np.maximum(np.abs(mean), 1.0), deviation)
        return replace(self, location=mean, unit=scale, scale=scale)

    def rescaled(self, shift, unit):
        """Return the table with a further change of units after its own."""
        return replace(
            self, location=self.location + self.unit * shift, unit=self.unit * unit
        )

    @property
    def log_volume(self):
        """Log-Jacobian of the units: Σ log unit, nats."""
        return float(np.log(self.unit).sum())

    def encode(self, X):
        """Return rows in the units of the model, float64."""
        return (X.astype(np.float64, copy=False) - self.location) / self.unit

    def decode(self, x):
        """Return rows of the model (n, n_features) in the units of X, float64."""
        return x.astype(np.float64, copy=False) * self.unit + self.location

    def make_output(self, X):
        """Return rows in units of X as what was fitted: types, names, container."""
        if self.container == "array":
            return X.astype(self.dtypes[0], copy=False)
        columns = {
            name: self._as_dtype(X[:, j], dtype)
            for j, (name, dtype) in enumerate(zip(self.names, self.dtypes, strict=True))
        }
        if self.container == "pandas":
            import pandas as pd

            frame = pd.DataFrame(dict(enumerate(columns.values())))
            frame.columns = self.names
            return frame.astype(dict(zip(self.names, self.dtypes, strict=True)))
        import polars as pl

        schema = dict(zip(self.names, self.dtypes, strict=True))
        return pl.DataFrame(columns).cast(schema)

    @staticmethod
    def _as_dtype(values, dtype):
        kind = _get_kind(dtype)
        if kind == "boolean":
            return values >= 0.5
        if "int" in str(dtype).lower():
            whole = np.rint(values)
            limits = np.iinfo(str(dtype).lower())
            low, high = float(limits.min), float(limits.max)
            return np.clip(whole, low, np.nextafter(high, 0)).astype(np.int64)
        return values
