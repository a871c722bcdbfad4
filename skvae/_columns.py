"""Tables and float tensors, there and back: kinds of column, units, names, types.

numpy stops here; nothing below knows of data frames.
"""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.utils._dataframe import is_pandas_df, is_polars_df

from ._images import count_dimensions

# values cast at a time: as many as stay in a processor's own memory
_CHUNK_VALUES = 32_768


def get_container(X):
    """Return 'pandas', 'polars' or 'array'."""
    if is_pandas_df(X):
        return "pandas"
    return "polars" if is_polars_df(X) else "array"


def get_index(X):
    """Return the index of a pandas data frame, or None."""
    return X.index if get_container(X) == "pandas" else None


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
        if getattr(dtype, "kind", None) in ("M", "m"):
            raise TypeError(
                f"X has dtype {dtype}, but {estimator_name} accepts numbers and "
                "booleans. Turn times into numbers first, such as days since a date."
            )
        return ["boolean"] if getattr(dtype, "kind", None) == "b" else None
    dtypes = list(X.dtypes)
    kinds = [_get_kind(dtype) for dtype in dtypes]
    for name, dtype, kind in zip(X.columns, dtypes, kinds, strict=True):
        is_object = str(dtype) == "object"
        if kind == "other" and str(dtype).lower().startswith(("date", "time", "dur")):
            raise TypeError(
                f"Column {name!r} has dtype {dtype}, but {estimator_name} accepts "
                "numbers and booleans. Turn times into numbers first, such as days "
                "since a date."
            )
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
            "supported yet: fit the boolean columns apart, or leave them out. (As "
            "numbers 0 and 1 they would have a density, not a probability.)"
        )
    return kinds


def _is_numeric_object(column):
    return all(
        isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        for value in column
    )


def _list_chunks(X):
    """Return slices of rows that are worked on at a time."""
    size = max(1, _CHUNK_VALUES // X.shape[1])
    return [slice(begin, begin + size) for begin in range(0, len(X), size)]


def check_finite(X, names=None):
    """Refuse infinite and missing values, naming column and value.

    Raises
    ------
    ValueError
    """
    if X.dtype.kind != "f":
        return
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(X.sum()):
            return
    for rows in _list_chunks(X):
        bad = ~np.isfinite(X[rows])
        if bad.any():
            row, column = np.argwhere(bad)[0]
            row += rows.start
            value = X[row, column]
            advice = (
                "missing values are not supported yet; fill them first, for example "
                "with sklearn.impute.KNNImputer"
                if np.isnan(value)
                else "only finite numbers are accepted"
            )
            shown = "NaN" if np.isnan(value) else value
            raise ValueError(
                f"Input X contains {shown} in {describe(column, names)}, row "
                f"{row}; {advice}."
            )


def describe(column, names=None):
    """Return how messages call a column."""
    if names is None:
        return f"column {column}"
    name = names[column]
    return f"column {str(name)!r}" if isinstance(name, str) else f"column {name}"


def _compute_moments(X, weight):
    """Return mean and standard deviation of every column, a chunk of rows at a time.

    Around the first row and in units of the largest distance from it: neither an offset
    of 1e6 standard deviations nor values of 1e200 lose digits.
    """
    share = np.full(len(X), 1 / len(X)) if weight is None else weight / weight.sum()
    first = X[0].astype(np.float64)
    chunks = _list_chunks(X)
    with np.errstate(over="ignore"):
        reach = np.max([np.abs(X[c] - first).max(axis=0) for c in chunks], axis=0)
    reach = np.where(reach > 0, reach, 1.0)
    mean = sum(share[c] @ ((X[c] - first) / reach) for c in chunks)
    square = sum(share[c] @ ((X[c] - first) / reach - mean) ** 2 for c in chunks)
    return first + mean * reach, np.sqrt(square) * reach


@dataclass
class ColumnTable:
    """What is known of the columns: names, types and the units of the model.

    Columns that are constant in the table are no part of the model. Their value is
    known but for one chance in n_samples + 2 (the rule of succession) that a new row
    differs: log p is that of a mixture of two normals around the value, of standard
    deviation 1e-6 s (FactorAnalysis' smallest) and s = max(1, |value|).

    Attributes
    ----------
    container : {'array', 'pandas', 'polars'}
        What X was at fit, and what comes back.
    names : list or None
    dtypes : list
        One a column for data frames; the array's single dtype otherwise.
    varies : ndarray of bool (n_features,)
        The columns of the model.
    location, unit : ndarray (n_varying,)
        The model sees ``(X - location) / unit`` of them.
    scale : ndarray (n_varying,)
        What they were divided by before training chose its own units.
    value : ndarray (n_constant,)
        Of the constant columns.
    n_samples : float
        Rows that were seen.
    image_shape : tuple of int or None
        (channels, height, width) of the images that the columns are.
    is_stack : bool
        Whether X was images, and not rows, at fit.
    """

    container: str
    names: object
    dtypes: list
    varies: np.ndarray
    location: np.ndarray
    unit: np.ndarray
    scale: np.ndarray
    value: np.ndarray
    n_samples: float
    image_shape: tuple | None = None
    is_stack: bool = False

    @classmethod
    def from_input(cls, X, array, weight, is_scaled, standardize, image_shape=None):
        """Read names and types from what the user gave, and units from its values.

        Parameters
        ----------
        X : array-like or data frame
        array : ndarray (n_samples, n_features)
            Its values.
        weight : ndarray (n_samples,) or None
        is_scaled : bool
            Whether the likelihood knows of units; without, all columns are kept as is.
        standardize : bool
            Whether to centre and scale.
        image_shape : tuple of int, default=None
            Of images: pixels that are integers come back as such.
        """
        container = get_container(X)
        n_features = array.shape[1]
        if container == "array":
            # the floats that hold what came in; integers and booleans are means here,
            # but for pixels
            is_pixel = image_shape is not None and array.dtype.kind in "iu"
            is_kept = is_pixel or array.dtype == np.float32
            kept = array.dtype if is_kept else np.dtype(float)
            names, dtypes = None, [kept]
        else:
            names = X.columns if container == "pandas" else list(X.columns)
            dtypes = list(X.dtypes)
        varies = np.ones(n_features, dtype=bool)
        mean, scale = np.zeros(n_features), np.ones(n_features)
        if is_scaled:
            found_mean, deviation = _compute_moments(array, weight)
            if not np.isfinite(deviation).all():
                column = int(np.flatnonzero(~np.isfinite(deviation))[0])
                raise ValueError(
                    f"The values of {describe(column, getattr(X, 'columns', None))} "
                    "lie too far apart for double precision; rescale it."
                )
            # what is left is rounding: the column is constant
            rounding = 10 * np.finfo(np.float64).eps * np.abs(found_mean)
            varies = deviation > rounding
            if not varies.any():
                # nothing to model: all columns stay, as noise around their values
                varies[:] = True
                deviation = np.maximum(np.abs(found_mean), 1.0)
            if standardize:
                mean, scale = found_mean, deviation
        return cls(
            container=container,
            names=names,
            dtypes=dtypes,
            varies=varies,
            location=mean[varies],
            unit=scale[varies],
            scale=scale[varies],
            value=array[0, ~varies].astype(np.float64),
            n_samples=float(len(array) if weight is None else weight.sum()),
            image_shape=image_shape,
            is_stack=count_dimensions(X) == 4,
        )

    def rescaled(self, shift, unit):
        """Return the table with a further change of units after its own."""
        return replace(
            self, location=self.location + self.unit * shift, unit=self.unit * unit
        )

    @property
    def log_volume(self):
        """Log-Jacobian of the units: Σ log unit, nats."""
        return float(np.log(self.unit).sum())

    @property
    def known_log_density(self):
        """Log density of the constant columns at their values, nats."""
        return float(self.score_constants(self.value[None]).sum())

    def encode(self, X):
        """Return rows in the units of the model, without constant columns.

        They are float64, but for float32 rows whose units are the model's: those are
        not even copied.
        """
        rows = X if self.varies.all() else X[:, self.varies]
        if not self.location.any() and (self.unit == 1).all():
            return rows if rows.dtype == np.float32 else rows.astype(np.float64)
        rows = np.subtract(rows, self.location, dtype=np.float64)
        rows /= self.unit
        return rows

    def decode(self, x):
        """Return rows of the model in the units of X, float64."""
        return self.merge(
            x.astype(np.float64, copy=False) * self.unit + self.location, self.value
        )

    def merge(self, varying, constant):
        """Return values of the model's columns and of the constant ones side by side.

        Parameters
        ----------
        varying : ndarray (..., n_varying)
        constant : ndarray broadcastable to (..., n_constant)

        Returns
        -------
        ndarray (..., n_features)
        """
        if self.varies.all():
            return varying
        merged = np.empty((*varying.shape[:-1], len(self.varies)))
        merged[..., self.varies] = varying
        merged[..., ~self.varies] = constant
        return merged

    def score_constants(self, constants):
        """Return log p of values of the constant columns, ``(n, n_constant)`` nats."""
        wide = np.maximum(np.abs(self.value), 1.0)
        chance = 1 / (self.n_samples + 2)
        squares = (constants - self.value) ** 2
        known, differs = (
            np.log(share / (scale * np.sqrt(2 * np.pi))) - squares / (2 * scale**2)
            for share, scale in ((1 - chance, 1e-6 * wide), (chance, wide))
        )
        return np.logaddexp(known, differs)

    def make_output(self, X, index=None):
        """Return rows in units of X as what was fitted: types, names, shape, container.

        Parameters
        ----------
        X : ndarray (n_samples, n_features)
        index : pandas Index or None, default=None
            Of the rows, for a pandas data frame.
        """
        if self.container == "array":
            if self.is_stack:
                X = X.reshape(len(X), *self.image_shape)
            if self.dtypes[0].kind in "iu":
                X = self._as_dtype(X, self.dtypes[0])
            return X.astype(self.dtypes[0], copy=False)
        columns = [self._as_dtype(X[:, j], t) for j, t in enumerate(self.dtypes)]
        if self.container == "pandas":
            import pandas as pd

            typed = zip(columns, self.dtypes, strict=True)
            frame = pd.concat([pd.Series(c).astype(t) for c, t in typed], axis=1)
            frame.columns = self.names
            return frame if index is None else frame.set_axis(index)
        import polars as pl

        types = dict(zip(self.names, self.dtypes, strict=True))
        return pl.DataFrame(dict(zip(self.names, columns, strict=True))).cast(types)

    @staticmethod
    def _as_dtype(values, dtype):
        kind = _get_kind(dtype)
        if kind == "boolean":
            return values >= 0.5
        if "int" in str(dtype).lower():
            whole = np.rint(values)
            limits = np.iinfo(str(dtype).lower().removesuffix("[pyarrow]"))
            low, high = float(limits.min), float(limits.max)
            if limits.bits == 64:
                # the largest float that is one: 2^63 itself is not
                high = np.nextafter(high, 0)
            return np.clip(whole, low, high).astype(limits.dtype)
        return values
