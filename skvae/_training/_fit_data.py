"""FitData: the rows of one fit, read once and handed from step to step."""

import sys

import numpy as np

from .._columns import (
    EncodedRows,
    check_target,
    leave_out_levels,
    read_input,
    read_weight,
)
from .._columns._images import check_image_shape
from .._columns._reading import warn_of_unlikely_levels
from .._utils._lazy_rows import select_rows


def read(estimator, X, y, sample_weight, X_val, is_warm, is_chunk):
    """Read what was passed to `fit`: rows, weights and a validation set, checked.

    Returns
    -------
    FitData
    """
    image_shape = estimator.image_shape
    if image_shape is not None:
        image_shape = check_image_shape(image_shape)
    kinds = estimator.columns_.kinds if is_warm else None
    table = read_input(estimator, X, kinds, image_shape, min_samples=2)
    if y is not X:
        check_target(y, table.array)
    weight = read_weight(sample_weight, table.array)
    if not is_warm:
        if weight is not None:
            table = leave_out_levels(table, weight > 0)
        warn_of_unlikely_levels(table.array, table.kinds, table.names)
    validation = None
    if X_val is not None:
        validation = read_input(
            estimator, X_val, table.kinds, image_shape, argument="X_val"
        )
        n_samples = len(table.array)
        if len(validation.array) == n_samples and _is_cross_validated(n_samples):
            raise ValueError(
                f"X_val has {n_samples} rows, as many as the X of this "
                "fit: scikit-learn's cross-validation cuts an X_val as long as X as it "
                "cuts X; pass one of another length, without its last row, say."
            )
    columns = estimator.columns_ if is_warm else None
    return FitData(table, weight, validation, image_shape, columns, is_chunk)


def _is_cross_validated(n_samples):
    """Return whether cross-validation of scikit-learn fits on so many rows.

    It may also fit another estimator, which splits its rows itself and calls this fit.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == "sklearn.model_selection._validation":
            rows = frame.f_locals.get("X_train")
            shape = getattr(rows, "shape", None)
            return rows is None or (shape[0] if shape else len(rows)) == n_samples
        frame = frame.f_back
    return False


class FitData:
    """Rows, weights and columns of one fit.

    Parameters
    ----------
    table : InputTable
        All rows.
    weight : ndarray (n_samples,) or None
    validation : InputTable or None
        Held-out rows that were given apart, `X_val`.
    image_shape : tuple of int or None
    columns : ColumnTable or None
        Columns and units of a warm start; else they are still to be learned.
    is_chunk : bool
        Whether the rows are one chunk of a stream: one epoch, no held-out rows.

    Attributes
    ----------
    is_warm : bool
        Whether the model was trained before, on these rows or others.
    counted : ndarray of bool (n_samples,)
        Rows with a weight above 0.
    kept : ndarray of bool (n_samples,)
        Rows to train on, among those counted.
    fold_models : list of (FittedModel, ndarray)
        Models trained on a part of the kept rows, and the numbers of their held-out
        rows.
    """

    def __init__(self, table, weight, validation, image_shape, columns, is_chunk):
        self.table, self.weight, self.validation = table, weight, validation
        self.image_shape, self.columns, self.is_chunk = image_shape, columns, is_chunk
        self.is_warm = columns is not None
        n_samples = len(table.array)
        self.counted = np.ones(n_samples, dtype=bool) if weight is None else weight > 0
        self.kept = self.counted
        self.fold_models = []

    def select(self, mask):
        """Return the rows of a mask, and their weights or None; no copy of all."""
        array, weight = self.table.array, self.weight
        if mask.all():
            return array, weight
        return select_rows(array, mask), None if weight is None else weight[mask]

    def get_kept(self):
        """Return the rows that training keeps, and their weights or None."""
        array, weight = self.select(self.kept)
        if len(array) < 2:
            raise ValueError(
                f"Found array with {len(array)} sample(s) (n_samples={len(array)}) of "
                "positive sample_weight, while a minimum of 2 is required."
            )
        return array, weight

    @property
    def n_valid(self):
        """Number of held-out rows that were given apart."""
        return 0 if self.validation is None else len(self.validation.array)

    def encode(self):
        """Return what the net trains on.

        Returns
        -------
        x : EncodedRows (n_kept + n_valid, n_features)
            The kept rows, and behind them the validation set.
        weight : ndarray (n_kept + n_valid,) or None
        """
        array, weight = self.get_kept()
        tables = [array] if self.validation is None else [array, self.validation.array]
        if weight is not None:
            weight = np.append(weight, np.full(self.n_valid, weight.mean()))
        return EncodedRows(self.columns, tables), weight
