"""ColumnTable: what is known of the columns; rows to the model's units and back.

numpy stops here; nothing below knows of data frames.
"""

from dataclasses import dataclass, replace

import numpy as np

from .._closed_form._moments import compute_moments, compute_share, find_first
from .._utils._missing import is_complete
from ._checks import begin_with, check_observed, describe
from ._containers import get_container, get_names, make_table
from ._images import count_dimensions
from ._kinds import Boolean, Category, Number, as_integers


@dataclass(repr=False)
class ColumnTable:
    """What is known of the columns: names, kinds and the units of the model.

    Columns that are constant in the table are no part of the model. Their value is
    known but for one chance in n_samples + 2 (the rule of succession) that a new row
    differs: log p is that of a mixture of two normals around the value, of standard
    deviation 1e-6 s (FactorAnalysis' smallest) and s = max(1, |value|). Where cells are
    missing, n_samples is the number of those observed.

    Attributes
    ----------
    container : {'array', 'pandas', 'polars'}
        What X was at fit, and what comes back.
    names : sequence or None
    kinds : list of Kind
        One a column.
    dtype : dtype or None
        Of the array that comes back; None for data frames, whose kinds know theirs.
    varies : ndarray of bool (n_features,)
        The columns of the model.
    location, unit : ndarray (n_varying,)
        The model sees ``(X - location) / unit`` of them.
    scale : ndarray (n_varying,)
        What they were divided by before training chose its own units.
    value : ndarray (n_constant,)
        Of the constant columns, which are all if `is_constant`.
    n_samples : float
        Rows that were seen.
    observed_share : ndarray (n_features,)
        Weighted share of the cells that were observed.
    image_shape : tuple of int or None
        (channels, height, width) of the images that the columns are.
    is_stack : bool
        Whether X was images, and not rows, at fit.
    likelihoods : list of str or None
        Likelihoods of the columns, once they are resolved; for display.
    is_constant : bool
        Whether every column is. The model then has them all, to have something, but
        says nothing of them that counts.
    """

    container: str
    names: object
    kinds: list
    dtype: object
    varies: np.ndarray
    location: np.ndarray
    unit: np.ndarray
    scale: np.ndarray
    value: np.ndarray
    n_samples: float
    observed_share: np.ndarray
    image_shape: tuple | None = None
    is_stack: bool = False
    likelihoods: list | None = None
    is_constant: bool = False

    @classmethod
    def from_input(
        cls, X, array, weight, is_scaled, standardize, image_shape=None, kinds=None
    ):
        """Read names and types from what the user gave, and units from its values.

        Parameters
        ----------
        X : array-like or data frame
        array : ndarray (n_samples, n_features)
            Its values, NaN where cells are missing.
        weight : ndarray (n_samples,) or None
        is_scaled : bool or ndarray of bool (n_features,)
            Whether the likelihood knows of units; without, columns are kept as they
            are, and never count as constant.
        standardize : bool
            Whether to centre and scale.
        image_shape : tuple of int, default=None
            Of images: pixels that are integers come back as such.
        kinds : list of Kind, default=None
            As `read` returns them; None takes all columns as numbers of the array.

        Raises
        ------
        ValueError
            If a column has no observed value, or values too far apart.
        """
        container, names = get_container(X), get_names(X)
        n_features = array.shape[1]
        if kinds is None:
            kinds = [Number(array.dtype)] * n_features
        dtype = None
        if container == "array":
            # the floats that hold what came in; integers and booleans are means here,
            # but for pixels
            is_pixel = image_shape is not None and array.dtype.kind in "iu"
            is_kept = is_pixel or array.dtype == np.float32
            dtype = array.dtype if is_kept else np.dtype(float)
            # objects that are no numbers remain objects
            if any(k.dtype == object and _is_no_number(k) for k in kinds):
                dtype = np.dtype(object)
        share = compute_share(array, weight)
        if (share < 1).any():
            check_observed(array, names)
        is_scaled = np.broadcast_to(np.asarray(is_scaled, dtype=bool), n_features)
        varies, is_constant = np.ones(n_features, dtype=bool), False
        mean, scale = np.zeros(n_features), np.ones(n_features)
        if is_scaled.any():
            columns = np.flatnonzero(is_scaled)
            found_mean, deviation = compute_moments(
                array, weight, None if is_scaled.all() else columns
            )
            if not np.isfinite(deviation).all():
                column = int(columns[~np.isfinite(deviation)][0])
                raise ValueError(
                    f"The values of {describe(column, names)} lie too far apart for "
                    "double precision; rescale it."
                )
            # what is left is rounding: the column is constant
            rounding = 10 * np.finfo(np.float64).eps * np.abs(found_mean)
            varies[columns] = deviation > rounding
            is_constant = not varies.any()
            if is_constant:
                varies[:] = True
                deviation = np.maximum(np.abs(found_mean), 1.0)
            if standardize:
                mean[columns], scale[columns] = found_mean, deviation
        n_samples = float(len(array) if weight is None else weight.sum())
        return cls(
            container=container,
            names=names,
            kinds=kinds,
            dtype=dtype,
            varies=varies,
            location=mean[varies],
            unit=scale[varies],
            scale=scale[varies],
            value=find_first(array, ~varies | is_constant),
            n_samples=n_samples,
            observed_share=share,
            image_shape=image_shape,
            is_stack=count_dimensions(X) == 4,
            is_constant=is_constant,
        )

    def __repr__(self):
        text = self.to_frame().to_string(max_rows=60, max_colwidth=40)
        return f"{type(self).__name__} of {len(self.kinds)} columns\n{text}"

    def to_frame(self):
        """Return a pandas data frame with a line for every column.

        Returns
        -------
        DataFrame
            Its columns are kind, likelihood, levels, location, unit and missing (a
            share); constant columns have no likelihood and a unit of 0.
        """
        import pandas as pd

        n_features = len(self.kinds)
        likelihoods = [None] * n_features
        if self.likelihoods is not None:
            likelihoods = [
                name if varies else None
                for name, varies in zip(self.likelihoods, self.varies, strict=True)
            ]
        names = range(n_features) if self.names is None else self.names
        frame = pd.DataFrame(
            {
                "kind": [kind.name for kind in self.kinds],
                "likelihood": likelihoods,
                "levels": [_show_levels(kind.levels) for kind in self.kinds],
                "location": self.merge(self.location, self.value),
                "unit": self.merge(self.unit, np.zeros(len(self.value))),
                "missing": 1 - self.observed_share,
            },
            index=pd.Index(names, name="column"),
        )
        has_levels = [kind.levels is not None for kind in self.kinds]
        frame.loc[has_levels, ["location", "unit"]] = np.nan
        return frame

    def rescaled(self, shift, unit):
        """Return the table with a further change of units after its own."""
        return replace(
            self, location=self.location + self.unit * shift, unit=self.unit * unit
        )

    @property
    def log_volume(self):
        """Log-Jacobian of the units for a row without holes: Σ log unit, nats."""
        return float(np.log(self.unit).sum())

    @property
    def expected_log_volume(self):
        """Its mean over the rows of the fit: Σ observed_share log unit, nats."""
        return float(self.observed_share[self.varies] @ np.log(self.unit))

    def complete_scores(self, scores, X):
        """Return log densities of rows in the units of X, constant columns included.

        Parameters
        ----------
        scores : ndarray (n,)
            What the model gives `encode(X)`, nats.
        X : ndarray (n, n_features)
            In the units of the user.

        Returns
        -------
        ndarray (n,)
            Nats.
        """
        if self.is_constant:
            return self.score_constants(X).sum(axis=1)
        if is_complete(X):
            scores = scores - self.log_volume
        else:
            scores = scores - ~np.isnan(X[:, self.varies]) @ np.log(self.unit)
        if self.varies.all():
            return scores
        return scores + self.score_constants(X[:, ~self.varies]).sum(axis=1)

    def complete_cells(self, cells, X):
        """Return log densities of cells in the units of X, ``(n, n_features)`` nats.

        Parameters
        ----------
        cells : ndarray (n, n_varying)
            What the model gives `encode(X)`; 0 where cells are missing.
        X : ndarray (n, n_features)
        """
        if self.is_constant:
            return self.score_constants(X)
        cells = cells - np.where(np.isnan(X[:, self.varies]), 0.0, np.log(self.unit))
        return self.merge(cells, self.score_constants(X[:, ~self.varies]))

    @property
    def known_log_density(self):
        """Log density of the constant columns at their values, nats a row on average.

        Rows in which they are missing count as 0, and so does a table of nothing else.
        """
        if self.is_constant:
            return 0.0
        scores = self.score_constants(self.value[None])[0]
        return float(self.observed_share[~self.varies] @ scores)

    def encode(self, X):
        """Return rows in the units of the model, without constant columns.

        They are float64, but for float32 rows whose units are the model's: those are
        not even copied. Missing cells stay NaN.
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

    def read_given(self, given):
        """Return the row that a dict of columns and values stands for.

        Parameters
        ----------
        given : dict
            By name; by number where columns have none.

        Returns
        -------
        ndarray (1, n_features)
            Codes; NaN in the columns that are not named.

        Raises
        ------
        TypeError, ValueError
        """
        if not isinstance(given, dict):
            raise TypeError(f"given={given!r} must be a dict of columns and values.")
        names = list(range(len(self.kinds)) if self.names is None else self.names)
        row = np.full((1, len(names)), np.nan)
        for name, value in given.items():
            if name not in names:
                raise ValueError(f"given names {name!r}, but X has no such column.")
            column = names.index(name)
            label = begin_with(describe(column, self.names))
            row[0, column] = self.kinds[column].code_value(value, label)
        return row

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
        """Return log p of values of the constant columns, ``(n, n_constant)`` nats.

        Missing cells have 0.
        """
        wide = np.maximum(np.abs(self.value), 1.0)
        share = self.observed_share[~self.varies | self.is_constant]
        chance = 1 / (self.n_samples * share + 2)
        missing = np.isnan(constants)
        squares = (np.where(missing, self.value, constants) - self.value) ** 2
        known, differs = (
            np.log(weight / (scale * np.sqrt(2 * np.pi))) - squares / (2 * scale**2)
            for weight, scale in ((1 - chance, 1e-6 * wide), (chance, wide))
        )
        return np.where(missing, 0.0, np.logaddexp(known, differs))

    def make_output(self, X, index=None):
        """Return rows in units of X as what was fitted: types, names, shape, container.

        Parameters
        ----------
        X : ndarray (n_samples, n_features)
            Floats: codes for categories.
        index : pandas Index or None, default=None
            Of the rows, for a pandas data frame.
        """
        if self.container == "array" and self.dtype != object:
            if self.is_stack:
                X = X.reshape(len(X), *self.image_shape)
            if self.dtype.kind in "iu":
                X = as_integers(X, self.dtype)
            return X.astype(self.dtype, copy=False)
        columns = [kind.decode(X[:, j]) for j, kind in enumerate(self.kinds)]
        dtypes = [kind.dtype for kind in self.kinds]
        return make_table(columns, self.names, dtypes, self.container, index)


def _is_no_number(kind):
    return isinstance(kind, (Boolean, Category))


def _show_levels(levels):
    """Return the first levels and how many there are, or None."""
    if levels is None:
        return None
    shown = ", ".join(map(str, levels[:3]))
    return f"{len(levels)}: {shown}" + (", ..." if len(levels) > 3 else "")
