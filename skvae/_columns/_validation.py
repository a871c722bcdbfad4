"""What the user passes as X, y, Z and `sample_weight` → checked arrays.

scikit-learn checks shapes, names and numbers of columns; `read_table` reads the cells.
`InputTable.check` checks that a fitted model accepts the values.
"""

import math
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from .._utils._compat import check_array, validate_data
from .._utils._warnings import warn_user
from ._checks import (
    check_exact_integers,
    check_finite,
    check_observed,
    check_unique_names,
    refuse_dtypes,
)
from ._containers import (
    convert_lists,
    convert_numbers,
    get_container,
    get_declared_levels,
    get_names,
    has_typed_columns,
    take_column,
)
from ._conversion import convert_array, convert_input
from ._images import check_n_columns, count_dimensions, flatten_images
from ._kinds import Category
from ._reading import match_dtype, read_table
from ._sparse import SparseRows, is_sparse_table, open_sparse
from ._support import check_support
from ._table import FARTHEST
from ._wrappers import check_dimensions, find_wrapper, unwrap

# floats that are read as they are
_PLAIN = (np.dtype(np.float64), np.dtype(np.float32))
# weights beyond this, or its inverse, are scaled to a largest of 1
_TINY = 1e-200
# of the weight of one row, what all others have at least: moments keep some digits
_LEAST_SHARE = 1e-12


@dataclass(frozen=True)
class InputTable:
    """A table as it was given, and its cells as numbers."""

    given: object  # array-like or data frame, unwrapped
    converted: object  # the same as lists, or of numpy, pandas or polars
    # (n_samples, n_features), codes of categories, NaN if missing; or `SparseRows`
    array: np.ndarray
    kinds: list  # a Kind per column
    names: object  # what messages call the columns: a sequence or None
    wrapper: object = None  # the form that it was given in, see `_wrappers.py`
    unknown: object = None  # mask of levels that fit has not seen, or None

    @property
    def labels(self):
        """Names of the columns of a data frame, or None."""
        return get_names(self.given)

    @property
    def is_sparse(self):
        """Whether its rows are those of a sparse matrix."""
        return isinstance(self.array, SparseRows)

    def make_dense(self):
        """Return the values as an array, for results that are as large."""
        return self.array[:] if self.is_sparse else self.array

    def has_values(self, column):
        """Return whether a column has an observed value."""
        return not np.isnan(self.array[:, column]).all()

    def take_column(self, column):
        """Return a column as it was given, or its numbers if the table is sparse."""
        if self.is_sparse:
            return self.array[:, column]
        return take_column(self.converted, column)

    def check_form(self, likelihood):
        """Refuse a sparse table if the likelihood, a `PerColumn`, is not for such."""
        if not self.is_sparse or likelihood.accepts_sparse:
            return
        others = [m for m in likelihood.members if not m.support.accepts_sparse]
        name = type((others or likelihood.members)[0]).__name__
        refuse_sparse(f"likelihood={name} is for dense tables")

    def check(self, likelihood, columns, farthest=FARTHEST):
        """Refuse values that are too far, or that the likelihood does not accept."""
        self.check_form(likelihood)
        columns.check_near(self.array, farthest)
        check_support(likelihood, self.array, self.names, columns.varies)


def read_input(
    estimator,
    X,
    kinds=None,
    image_shape=None,
    min_samples=1,
    marks_unknown=False,
    argument="X",
):
    """Return X, for messages the `argument`, as an `InputTable`.

    Columns must have the `kinds`, one per column; None learns them. The estimator's
    `n_features_in_` and `feature_names_in_` are set or compared. Levels that fit has
    not seen are missing; `marks_unknown` is whether a mask has them.
    """
    check_dimensions(X, argument)
    wrapper, X = find_wrapper(X), unwrap(X)
    given, owner, learns = X, type(estimator).__name__, kinds is None
    if not learns:
        array = _read_plain(estimator, X, kinds)
        if array is not None and len(array) >= min_samples:
            names = getattr(estimator, "feature_names_in_", None)
            check_finite(array, names)
            unknown = np.zeros(array.shape, dtype=bool) if marks_unknown else None
            return InputTable(given, X, array, kinds, names, wrapper, unknown)
    is_fitted = hasattr(estimator, "columns_")
    X = convert_input(X, argument, owner)
    if is_sparse_table(X):
        array, kinds = _read_sparse(estimator, X, kinds, min_samples, argument)
        if learns and image_shape is not None:
            check_n_columns(image_shape, array.shape[1])
        return InputTable(given, X, array, kinds, _find_names(estimator, given))
    X = convert_lists(flatten_images(X, image_shape, owner, is_fitted=is_fitted))
    if isinstance(X, (list, tuple)):
        with _naming(argument, "rows of equally many values"):
            np.asarray(X)
    check_unique_names(X)
    # rows are cast by chunks, where they are used
    rules = {
        "dtype": "numeric",
        "ensure_all_finite": False,
        "ensure_min_samples": min_samples,
    }
    by_column = has_typed_columns(X)
    if by_column:
        # scikit-learn's messages for names and numbers of columns
        validate_data(estimator, X, reset=learns, skip_check_array=True)
    else:
        refuse_dtypes(X, argument)
        X = validate_data(estimator, X, reset=learns, **rules)
    names = _find_names(estimator, given)
    unknown = np.zeros(X.shape, dtype=bool) if marks_unknown else None
    array, kinds = read_table(X, kinds, owner, names, unknown)
    if by_column:
        array = check_array(array, estimator=estimator, input_name="X", **rules)
    if learns and image_shape is not None:
        check_n_columns(image_shape, array.shape[1])
    check_finite(array, names)
    array = convert_numbers(array)
    check_exact_integers(array, names)
    if learns:
        check_observed(array, names)
    return InputTable(given, X, array, kinds, names, wrapper, unknown)


def leave_out_levels(table, counted):
    """Return an `InputTable` whose kinds have only the levels of the counted rows.

    Declared levels stay. Cells of the others are missing; `counted` is a mask,
    ``(n_samples,)``.
    """
    kinds, array = list(table.kinds), table.array
    for j, kind in enumerate(kinds):
        if not isinstance(kind, Category):
            continue
        used = np.unique(array[counted, j])
        used = used[~np.isnan(used)].astype(np.int64)
        is_declared = get_declared_levels(table.take_column(j)) is not None
        if is_declared or len(used) == kind.n_levels:
            continue
        kinds[j] = type(kind)(kind.dtype, [kind.levels[code] for code in used])
        # missing cells take the last one
        codes = np.full(kind.n_levels + 1, np.nan)
        codes[used] = np.arange(len(used))
        array = array.copy() if array is table.array else array
        array[:, j] = codes[np.nan_to_num(array[:, j], nan=-1).astype(np.int64)]
    return replace(table, array=array, kinds=kinds)


def _find_names(estimator, X):
    """Return the names of columns for messages, those of X or at fit; or None."""
    names = get_names(X)
    return getattr(estimator, "feature_names_in_", None) if names is None else names


def _read_sparse(estimator, X, kinds, min_samples, argument):
    """Return the rows of a sparse table, and the kinds of its columns."""
    learns = kinds is None
    if any(kind.is_coded for kind in kinds or ()):
        refuse_sparse("columns at fit were categories", argument)
    check_unique_names(X)
    matrix, dtypes = open_sparse(X)
    if matrix.ndim != 2:
        raise ValueError(
            f"{argument} has {matrix.ndim} dimensions, but a sparse table has two, "
            "(n_samples, n_features)."
        )
    rules = {
        "accept_sparse": True,
        "dtype": "numeric",
        "ensure_all_finite": False,
        "ensure_min_samples": min_samples,
    }
    if dtypes is None:
        matrix = validate_data(estimator, matrix, reset=learns, **rules)
        dtypes = [matrix.dtype] * matrix.shape[1]
    else:
        # scikit-learn's messages for names of columns
        validate_data(estimator, X, reset=learns, skip_check_array=True)
        matrix = check_array(matrix, estimator=estimator, input_name="X", **rules)
    array, names = SparseRows.from_matrix(matrix), _find_names(estimator, X)
    if learns:
        # one instance for all columns of a dtype
        learned = {dtype: match_dtype(dtype)(dtype) for dtype in set(dtypes)}
        kinds = [learned[dtype] for dtype in dtypes]
    check_finite(array, names)
    check_exact_integers(array, names)
    if learns:
        check_observed(array, names)
    return array, kinds


def refuse_sparse(reason, argument="X"):
    """Raise for a sparse table, with the ways out."""
    raise TypeError(
        f"{argument} is sparse, but {reason}: counts and columns of 0 and 1 may be "
        "sparse, with the likelihoods 'poisson', 'negative_binomial', 'zero_inflated' "
        f"and 'bernoulli'. Pass {argument}.toarray(), or what TruncatedSVD makes "
        f"of it; of a data frame {argument}.sparse.to_dense()."
    )


def _read_plain(estimator, X, kinds):
    """Return the values of a table of floats that has the columns of fit, else None.

    Such a table passes all checks of scikit-learn, and `read_table` returns it as it
    is: both take longer than scoring a row.
    """
    names = getattr(estimator, "feature_names_in_", None)
    if get_container(X) == "pandas":
        columns = X.columns.to_numpy()
        is_known = names is not None and np.array_equal(columns, names)
        dtypes = X.dtypes.to_numpy()
        if not is_known or not all(dtype in _PLAIN for dtype in dtypes):
            return None
        X = X.to_numpy()
    elif type(X) is not np.ndarray or names is not None:
        return None
    is_plain = X.ndim == 2 and X.dtype in _PLAIN and X.dtype.isnative
    if not is_plain or X.shape[1] != estimator.n_features_in_:
        return None
    return None if any(kind.is_coded for kind in kinds) else X


def check_target(y, X):
    """Refuse or warn of held-out rows that were passed as `y`, which is ignored.

    They have the columns of X. Targets may have as many, but are as many as the rows.
    """
    shape = getattr(y, "shape", ())
    if isinstance(y, (list, tuple)) and count_dimensions(y) == 2:
        shape = len(y), len(y[0])
    is_wide = len(shape) > 1 and X.shape[1] > 1
    if not is_wide or math.prod(shape[1:]) != X.shape[1]:
        return
    message = (
        f"y has the shape {tuple(shape)}, with the columns of X, but y is ignored; "
        "pass held-out rows to fit as X_val=y."
    )
    if shape[0] != len(X):
        raise ValueError(message)
    warn_user(message, UserWarning)


def read_latent(Z, owner):
    """Return Z as an array of finite numbers, float64 or float32, for an estimator."""
    Z = convert_input(unwrap(Z), "Z", owner)
    with _naming("Z", "finite numbers (n_samples, n_components)"):
        refuse_dtypes(np.asarray(Z), "Z")
        return check_array(Z, dtype=[np.float64, np.float32], input_name="Z")


@contextmanager
def _naming(argument, accepted):
    """Name the argument in messages of scikit-learn and numpy that do not."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if argument in re.findall(r"\w+", str(error)):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{argument} must be {accepted}: {error}") from error


def check_weight(sample_weight, n_samples):
    """Return the weights of rows, ``(n_samples,)`` float64; refuse what are none.

    A number is the weight of all rows.
    """
    accepted = f"a non-negative number for each of the {n_samples} rows is accepted."
    try:
        values = np.asarray(convert_array(sample_weight, "sample_weight"))
        shown = [] if values.dtype.kind in "biuf" else values.flat[:1].tolist()
        if values.dtype.kind == "O":
            shown = [v for v in values.flat if isinstance(v, (str, bytes))]
        if shown:
            raise ValueError(f"it has the value {shown[0]!r}")
        weight = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"sample_weight holds no numbers ({error}); {accepted}"
        ) from None
    if weight.shape not in ((), (n_samples,)):
        raise ValueError(f"sample_weight has the shape {weight.shape}, but {accepted}")
    weight = np.broadcast_to(weight, n_samples)
    is_wrong = ~(np.isfinite(weight) & (weight >= 0))
    if is_wrong.any():
        row = is_wrong.argmax()
        raise ValueError(
            f"sample_weight has the value {weight[row]:g} in row {row}, but {accepted}"
        )
    if not weight.any():
        raise ValueError(
            "sample_weight is zero in all rows, but two or more must be positive."
        )
    return weight


def read_weight(sample_weight, array):
    """Return the weights of rows, float64, or None where all are equal."""
    if sample_weight is None:
        return None
    weight = check_weight(sample_weight, len(array))
    positive = weight[weight > 0]
    largest, unit = positive.max() if len(positive) else 1.0, 1.0
    if not _TINY < largest < 1 / _TINY:
        # their sum overflows, or loses digits
        unit = largest
        weight, positive, largest = weight / unit, positive / unit, 1.0
    others = positive.sum() - largest
    if len(positive) > 1 and others < _LEAST_SHARE * largest:
        raise ValueError(
            f"sample_weight has the value {unit * largest:g} in row "
            f"{int(weight.argmax())}, but all other rows together less than "
            f"{_LEAST_SHARE:g} of it, too little to count; lower it."
        )
    if len(positive) and positive.min() < 1e-30 * positive.max():
        raise ValueError(
            f"sample_weight has values from {unit * positive.min():g} to "
            f"{unit * positive.max():g}, too far apart for single precision."
        )
    return None if (weight == weight[0]).all() and weight[0] > 0 else weight
