"""ColumnTable: names, kinds and units of the columns; rows to the model and back.

Tables become numpy arrays here; modules of the model do not use data frames.
"""

from dataclasses import dataclass, replace

import numpy as np

from .._closed_form._moments import compute_moments, compute_share, find_first
from .._utils._description import Described
from .._utils._missing import has_missing, list_chunks
from ._arrow import apply_schema, learn_schema
from ._checks import capitalize, check_observed, label_column
from ._constant import ConstantColumns
from ._containers import (
    get_container,
    get_index,
    get_names,
    get_precision,
    make_table,
)
from ._conversion import convert_value
from ._images import count_dimensions
from ._kinds import Boolean, Category, as_integers
from ._marginals import Marginals
from ._normal_scores import NormalScores
from ._observed import ObservedValues, find_range
from ._support import has_gaps
from ._wrappers import unwrap, wrap

# how far beyond the range at fit numbers may lie, in units of it: squares of what the
# networks make of them are finite in double precision, and in single in training
FARTHEST, FARTHEST_IN_TRAINING = 1e100, 1e15
# distances from a column's mean whose squares, and variances of a few times as much,
# are finite in double precision
_LARGEST_DISTANCE = 1e153
_NO_SCORES = NormalScores({})


@dataclass(repr=False)
class ColumnTable(Described):
    """Names and kinds of the columns, and their units in the model.

    Constant columns are not in the model, unless all are: it then contains them,
    because it needs columns, but its scores are not used.
    """

    # that of X, and of what methods return: 'array', 'pandas', 'polars' or 'pyarrow'
    container: str
    names: object  # a sequence or None
    kinds: list  # a Kind per column
    dtype: object  # of arrays that methods return; None for data frames
    varies: np.ndarray  # (n_features,), bool: the columns in the model
    # (n_varying,): of these columns, or of their normal scores, the model sees
    # ``(X - location) / unit``
    location: np.ndarray
    unit: np.ndarray
    scale: np.ndarray  # their standard deviations or 1: the units before training
    constant: ConstantColumns  # the constant columns
    observed_share: np.ndarray  # (n_features,), weighted share of observed values
    observed: ObservedValues  # decimals and range of numbers
    image_shape: tuple | None = None  # (channels, height, width)
    is_stack: bool = False  # whether X at fit was images, and not rows
    likelihoods: list | None = None  # names, for display
    all_constant: bool = False
    # codes of every column in the model, of which it sees the positions; None: numbers
    codes: list | None = None
    # the form of X that its container was unwrapped from, see `_wrappers.py`
    wrapper: tuple | None = None
    # distributions of numbers; None in files of earlier versions
    marginals: Marginals | None = None
    # that of pyarrow tables, see `_arrow.py`
    schema: dict | None = None
    # maps of columns in the model, by their numbers there, that come before the units
    normal_scores: NormalScores = _NO_SCORES

    @classmethod
    def from_input(cls, X, array, weight, is_scaled, standardize, image_shape, kinds):
        """Learn names and types from the table of the user, and units from its values.

        X is the table and `array` its values, ``(n_samples, n_features)``; `weight` is
        that of rows, or None. `is_scaled` is whether the likelihood of the columns, or
        of each, is for columns of any unit; others keep their values and never count as
        constant. `standardize` is True, False or 'quantile': then the model sees normal
        scores of columns of any unit. With an `image_shape` integer pixels are returned
        as integers.

        Raises
        ------
        ValueError
            If a column has no observed value, or values too far apart.
        """
        container, names = get_container(X), get_names(X)
        share = compute_share(array, weight)
        if (share < 1).any():
            check_observed(array, names)
        mean, deviation = _compute_scaled_moments(array, weight, is_scaled, names)
        varies = deviation > 0
        all_constant = not varies.any()
        is_constant = ~varies
        if all_constant:
            varies[:] = True
            deviation = np.maximum(np.abs(mean), 1.0)
        if not standardize:
            _check_squares(array, is_scaled, names)
            mean, deviation = np.zeros_like(mean), np.ones_like(deviation)
        scores = _NO_SCORES
        if standardize == "quantile":
            columns = np.flatnonzero(varies & is_scaled)
            scores = NormalScores.learn(array, weight, columns)
            columns, *moments = scores.compute_moments(array, weight)
            mean[columns], deviation[columns] = moments
            scores = scores.select(varies)
        n_samples = float(len(array) if weight is None else weight.sum())
        return cls(
            container=container,
            names=names,
            kinds=kinds,
            dtype=_choose_dtype(array.dtype, kinds, image_shape is not None)
            if container == "array"
            else None,
            varies=varies,
            location=mean[varies],
            unit=deviation[varies],
            scale=deviation[varies],
            constant=ConstantColumns(
                find_first(array, is_constant), n_samples * share[is_constant]
            ),
            observed_share=share,
            observed=ObservedValues.learn(array, kinds),
            schema=learn_schema(X),
            marginals=Marginals.learn(array, weight, kinds)
            if image_shape is None
            else None,
            image_shape=image_shape,
            is_stack=count_dimensions(X) == 4,
            all_constant=all_constant,
            normal_scores=scores,
        )

    def __repr__(self):
        text = self.to_frame().to_string(max_rows=60, max_colwidth=40)
        return f"{type(self).__name__} of {len(self.kinds)} columns\n{text}"

    def to_frame(self):
        """Return a pandas data frame with a row for each column.

        Its columns are kind, likelihood, levels, location, unit, decimals, low, high
        (the range of numbers) and missing (a share). Constant columns have no
        likelihood and a unit of 0; continuous columns have no decimals. Of columns that
        the model sees normal scores of, location and unit are what scores of 0 and 1
        are in the middle of the column.
        """
        import pandas as pd

        n_features = len(self.kinds)
        names = range(n_features) if self.names is None else self.names
        locations = self.normal_scores.invert(self.location)
        frame = pd.DataFrame(
            {
                "kind": [kind.name for kind in self.kinds],
                "likelihood": np.where(self.varies, self.likelihoods, None).tolist(),
                "levels": [_show_levels(kind.levels) for kind in self.kinds],
                "location": self.merge(locations, self.constant.values),
                "unit": self.merge(self.units_of_columns, 0.0),
                "decimals": pd.array(self.observed.decimals, dtype="Int64"),
                "low": self.observed.low,
                "high": self.observed.high,
                "missing": 1 - self.observed_share,
            },
            index=pd.Index(names, name="column"),
        )
        has_levels = [kind.levels is not None for kind in self.kinds]
        known = self.codes or [None] * int(self.varies.sum())
        for column, codes in zip(np.flatnonzero(self.varies), known, strict=True):
            if codes is not None and not has_levels[column]:
                has_levels[column] = True
                frame.iloc[column, 2] = _show_levels(codes.tolist())
        frame.loc[has_levels, ["location", "unit"]] = np.nan
        ends = ["low", "high"]
        frame[ends] = frame[ends].replace([-np.inf, np.inf], np.nan)
        return frame

    @property
    def units_of_columns(self):
        """Units in those of X, ``(n_varying,)``; of normal scores about the median."""
        units = self.unit.copy()
        for column, score_map in self.normal_scores.maps.items():
            units[column] *= score_map.unit
        return units

    def list_scored(self):
        """Return the maps of normal scores, and quantiles, by the numbers of columns.

        A repeated value has an interval of scores. Draws in the interval are to have
        the value.
        """
        varying = np.flatnonzero(self.varies)
        maps = self.normal_scores.maps
        return {int(varying[j]): (m, m.quantiles) for j, m in maps.items()}

    def rescaled(self, shift, unit):
        """Return a copy with a further change of units after its own."""
        return replace(
            self, location=self.location + self.unit * shift, unit=self.unit * unit
        )

    def extended(self, X, kinds):
        """Return a copy of other kinds whose ranges contain the numbers of more rows.

        Their share in all rows is not known, and distributions are not kept.
        """
        observed = self.observed.extend(X)
        both = zip(self.kinds, kinds, strict=True)
        # digits that the rows before did not have
        is_new = [kind is not known and not kind.is_integer for known, kind in both]
        observed.decimals = np.where(is_new, np.nan, observed.decimals)
        return replace(self, kinds=kinds, observed=observed, marginals=None)

    def check_near(self, array, farthest=FARTHEST):
        """Refuse rows with a number that is farther beyond the range at fit."""
        if self.observed.are_near(array, farthest):
            return
        ends = np.array(find_range(array))
        # of columns without a value
        ends[np.isinf(ends)] = np.nan
        distance = self.observed.measure_distance(ends)
        if (distance > farthest).any():
            column = int(distance.max(axis=0).argmax())
            value = ends[distance[:, column].argmax(), column]
            self._refuse_far(
                column, value, np.flatnonzero(array[:, column] == value)[0]
            )

    def refuse_row(self, values, row):
        """Raise for a row without a finite result, naming its farthest number."""
        distance = self.observed.measure_distance(np.asarray(values, np.float64))
        column = int(distance.argmax())
        if not distance[column]:
            raise ValueError(
                f"Row {row} has no finite result, though its values are in the range "
                "at fit: look for weights of the network, or log-probabilities of a "
                "likelihood of your own, that are not finite; a lower lr may help."
            )
        self._refuse_far(column, values[column], row)

    def _refuse_far(self, column, value, row):
        raise ValueError(
            f"The value {value:g} in {label_column(column, self.names)}, row {row}, is "
            f"too far from those at fit, {self.observed.low[column]:g} to "
            f"{self.observed.high[column]:g}, for a finite result; correct it, or mark "
            "it as missing (NaN)."
        )

    def restrict(self, X, given):
        """Return rows with numbers like those at fit, but for the cells given.

        Both are ``(n, n_features)`` in the units of X, or broadcast to it; `given` has
        NaN where a cell is not given.
        """
        return np.where(np.isnan(given), self.observed.restrict(X), given)

    @property
    def log_volume(self):
        """Log-Jacobian of the units for a row without missing values: Σ log unit."""
        return float(np.log(self.unit).sum())

    @property
    def expected_log_volume(self):
        """Mean of the log-Jacobian over the rows at fit: Σ observed_share log unit.

        That of normal scores is in it.
        """
        log_unit = np.log(self.unit)
        for column, score_map in self.normal_scores.maps.items():
            log_unit[column] -= score_map.mean_log_slope
        return float(self.observed_share[self.varies] @ log_unit)

    def _compute_log_slopes(self, X):
        """Return the log-Jacobian of normal scores of every cell in the model."""
        return self.normal_scores.compute_log_slopes(X[:, self.varies])

    def convert_scores(self, scores, X):
        """Return log densities of rows in the units of X, with constant columns.

        The `scores`, ``(n,)`` nats, are the log densities of ``encode(X)``.
        """
        if self.all_constant:
            return self.constant.score(X).sum(axis=1)
        if has_missing(X):
            scores = scores - ~np.isnan(X[:, self.varies]) @ np.log(self.unit)
        else:
            scores = scores - self.log_volume
        if self.normal_scores.maps:
            scores = scores + self._compute_log_slopes(X).sum(axis=1)
        if self.varies.all():
            return scores
        return scores + self.constant.score(X[:, ~self.varies]).sum(axis=1)

    def convert_cell_scores(self, scores, X):
        """Return log densities of cells in the units of X, with constant columns.

        The `scores`, ``(n, n_varying)`` nats, are those of the cells of ``encode(X)``;
        0 where values are missing. The result is ``(n, n_features)``.
        """
        if self.all_constant:
            return self.constant.score(X)
        scores = scores - np.where(np.isnan(X[:, self.varies]), 0.0, np.log(self.unit))
        if self.normal_scores.maps:
            scores = scores + self._compute_log_slopes(X)
        return self.merge(scores, self.constant.score(X[:, ~self.varies]))

    def score_constant(self, X):
        """Return log densities of the constant columns, ``(n, 2)`` nats.

        The second is how much less likely they are than their values at fit. Missing
        values have 0 in both.
        """
        if self.varies.all() and not self.all_constant:
            return np.zeros((len(X), 2))
        usual = self.constant.score(self.constant.values[None])
        found = np.empty((len(X), 2))
        for rows in list_chunks(X):
            values = X[rows] if self.all_constant else X[rows][:, ~self.varies]
            scores = self.constant.score(values)
            less = np.where(np.isnan(values), 0.0, scores - usual)
            found[rows] = np.stack([scores.sum(axis=1), less.sum(axis=1)], axis=-1)
        return found

    @property
    def constant_log_density(self):
        """Mean log density of the constant columns over the rows at fit, nats per row.

        Missing values count as 0. It is 0 if all columns are constant.
        """
        if self.all_constant:
            return 0.0
        scores = self.constant.score(self.constant.values[None])[0]
        return float(self.observed_share[~self.varies] @ scores)

    def list_level_columns(self):
        """Return the numbers of the columns whose values are levels."""
        varying = np.flatnonzero(self.varies)
        coded = {varying[j] for j, c in enumerate(self.codes or ()) if c is not None}
        kinds = enumerate(self.kinds)
        return [j for j, kind in kinds if kind.levels is not None or j in coded]

    def _list_gapped(self):
        """Return numbers and codes of the columns whose codes are not 0, 1, 2, ..."""
        codes = enumerate(self.codes or ())
        return [(j, c) for j, c in codes if c is not None and has_gaps(c)]

    def encode(self, X):
        """Return rows in the units of the model, without constant columns.

        They are float64. Float32 rows that are already in these units are returned as
        they are, without a copy. Missing values stay NaN.
        """
        rows = X if self.varies.all() else X[:, self.varies]
        gapped = self._list_gapped()
        if gapped:
            rows = np.array(rows, np.float32 if X.dtype == np.float32 else np.float64)
        for column, codes in gapped:
            observed = ~np.isnan(rows[:, column])
            rows[observed, column] = np.searchsorted(codes, rows[observed, column])
        rows = self.normal_scores.apply(rows)
        if not self.location.any() and (self.unit == 1).all():
            return rows if rows.dtype == np.float32 else rows.astype(np.float64)
        # what overflows has no finite result, and is refused where this is seen
        with np.errstate(over="ignore"):
            rows = np.subtract(rows, self.location, dtype=np.float64)
            rows /= self.unit
        return rows

    def decode(self, x):
        """Return rows of the model in the units of X, float64."""
        varying = x.astype(np.float64, copy=False) * self.unit + self.location
        varying = self.normal_scores.invert(varying)
        for column, codes in self._list_gapped():
            # means of ordinal columns lie between codes
            varying[..., column] = np.interp(
                varying[..., column], np.arange(len(codes)), codes
            )
        return self.merge(varying, self.constant.values)

    def make_row(self, given):
        """Return a row ``(1, n_features)`` with given values; the others are missing.

        `given` is a dict of values by the names of columns, or by their numbers if they
        have no names. Categories are returned as codes.
        """
        if not isinstance(given, dict):
            raise TypeError(
                f"given={given!r} must be a dict of columns and values; use to_dict() "
                "of a Series."
            )
        names = list(range(len(self.kinds)) if self.names is None else self.names)
        row = np.full((1, len(names)), np.nan)
        for name, value in given.items():
            if name not in names:
                raise ValueError(f"given names {name!r}, but X has no such column.")
            column = names.index(name)
            label = capitalize(label_column(column, self.names))
            value = convert_value(value, label)
            row[0, column] = self.kinds[column].code_value(value, label)
        return row

    def _check_types_hold(self, X):
        """Refuse to return numbers that the floats of their column cannot hold."""
        is_array = self.container == "array"
        dtypes = [self.dtype] if is_array else [kind.dtype for kind in self.kinds]
        largest = np.array([np.finfo(get_precision(dtype)).max for dtype in dtypes])
        is_beyond = np.abs(X) > largest
        if is_beyond.any():
            row, column = np.argwhere(is_beyond)[0]
            label = label_column(column, self.names)
            raise ValueError(
                f"The result {X[row, column]:g} for {label}, row {row}, is beyond the "
                "floats of the column at fit. The row is too far from those at fit; or "
                "fit columns of float64."
            )

    def merge(self, varying, constant):
        """Return values ``(..., n_features)`` of varying and constant columns."""
        if self.varies.all():
            return varying
        merged = np.empty((*varying.shape[:-1], len(self.varies)))
        merged[..., self.varies] = varying
        merged[..., ~self.varies] = constant
        return merged

    def make_output(self, X, like=None, table=None):
        """Return rows with the types, names, shape and container of X at fit.

        The values ``(n_samples, n_features)`` are in the units of X, with codes for
        categories; `like` is a table of the same rows, as it was given, whose index or
        labels they get. Observed cells of `table`, an `InputTable` of the same rows,
        are returned as they are.
        """
        index = None if like is None else get_index(unwrap(like))
        rows = self._make_rows(X, index, table)
        if self.schema is not None:
            rows = apply_schema(rows, self.schema, like)
        return wrap(rows, self.wrapper, like)

    def _make_rows(self, X, index, table):
        self._check_types_hold(X)
        if self.container == "array" and self.dtype != object:
            if self.is_stack:
                X = X.reshape(len(X), *self.image_shape)
            if self.dtype.kind in "iu":
                X = as_integers(X, self.dtype)
            return X.astype(self.dtype, copy=False)
        columns = []
        for j, kind in enumerate(self.kinds):
            # a column without observed cells may have any dtype
            is_kept = table is not None and kind.keeps_cells and table.has_values(j)
            cells = table.take_column(j) if is_kept else None
            columns.append(kind.from_codes(X[:, j], cells))
        dtypes = [kind.dtype for kind in self.kinds]
        return make_table(columns, self.names, dtypes, self.container, index)


def _choose_dtype(dtype, kinds, is_image):
    """Return the dtype of arrays that methods return, given that of X."""
    # objects that are not numbers remain objects
    if any(k.dtype == object and isinstance(k, (Boolean, Category)) for k in kinds):
        return np.dtype(object)
    # integers and booleans become means, except pixels
    is_kept = dtype == np.float32 or (is_image and dtype.kind in "iu")
    return dtype if is_kept else np.dtype(float)


def _compute_scaled_moments(array, weight, is_scaled, names):
    """Return means and standard deviations of columns; 0 and 1 where not scaled.

    The standard deviation of constant columns is 0.
    """
    n_features = array.shape[1]
    mean, deviation = np.zeros(n_features), np.ones(n_features)
    columns = np.flatnonzero(np.broadcast_to(is_scaled, n_features))
    if len(columns) == 0:
        return mean, deviation
    found_mean, found = compute_moments(
        array, weight, None if len(columns) == n_features else columns
    )
    if not np.isfinite(found).all():
        column = int(columns[~np.isfinite(found)][0])
        raise ValueError(
            f"The values of {label_column(column, names)} lie too far apart for "
            "double precision; rescale it."
        )
    _check_distances(array, weight, columns, found_mean, found, names)
    # what is left of a constant column is rounding
    rounding = 10 * np.finfo(np.float64).eps * np.abs(found_mean)
    mean[columns], deviation[columns] = found_mean, np.where(found > rounding, found, 0)
    return mean, deviation


def _check_distances(array, weight, columns, mean, deviation, names):
    """Refuse numbers whose distance from the mean has no square in double precision.

    The distance of a constant is that from zero.
    """
    # no row is more deviations away than the root of their number, if they count alike
    size = np.maximum(deviation * np.sqrt(len(array)), np.abs(mean))
    if weight is None and size.max(initial=0.0) < _LARGEST_DISTANCE:
        return
    ends = np.array(find_range(array))[:, columns]
    centre = np.where(ends[0] == ends[1], 0.0, mean)
    # their halves are finite
    distances = np.abs(ends / 2 - centre / 2)
    place = int(distances.max(axis=0).argmax())
    if distances[:, place].max() <= _LARGEST_DISTANCE / 2:
        return
    value = ends[distances[:, place].argmax(), place]
    label = label_column(int(columns[place]), names)
    raise ValueError(
        f"The value {value:g} in {label} is too far out: distances in the column have "
        "no squares in double precision. Correct it, mark it as missing (NaN), or "
        "rescale the column."
    )


def _check_squares(array, is_scaled, names):
    """Refuse numbers that keep their unit and have no square in double precision."""
    is_far = is_scaled & (np.abs(find_range(array)).max(axis=0) > FARTHEST)
    if is_far.any():
        raise ValueError(
            f"The values of {label_column(int(is_far.argmax()), names)} lie too far "
            "apart for double precision; rescale it, or set standardize=True."
        )


def _show_levels(levels):
    """Return the number of levels and the first of them, as text, or None."""
    if levels is None:
        return None
    shown = ", ".join(map(str, levels[:3]))
    return f"{len(levels)}: {shown}" + (", ..." if len(levels) > 3 else "")
