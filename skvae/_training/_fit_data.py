"""FittedRows: the rows of a fit, which of them it learns from, and who has not."""

import numpy as np


class FittedRows:
    """Rows of one fit.

    Parameters
    ----------
    array : ndarray (n_samples, n_features)
        All of them.
    weight : ndarray (n_samples,) or None
    is_chunk : bool
        Whether they are one chunk of a stream.
    goes_on : bool
        Whether the model has learned from other rows, or from these, before.

    Attributes
    ----------
    kept : ndarray of bool (n_samples,) or None
        What training keeps; None is all.
    validation : ndarray (n_valid, n_features) or None
        Rows to judge by that were given apart.
    judges : list of (FittedModel, ndarray)
        Models, and the numbers, among the rows kept, of those each has not learned.
    """

    def __init__(self, array, weight, is_chunk, goes_on):
        self.array, self.weight = array, weight
        self.is_chunk, self.goes_on = is_chunk, goes_on
        self.kept = self.validation = None
        self.judges = []

    @property
    def counted(self):
        """Which rows have a weight above 0, ``(n_samples,)`` bool."""
        if self.weight is None:
            return np.ones(len(self.array), dtype=bool)
        return self.weight > 0

    def select(self, mask):
        """Return the rows of a mask, and their weights or None; no copy of all."""
        if mask is None or mask.all():
            return self.array, self.weight
        return self.array[mask], None if self.weight is None else self.weight[mask]

    def get_kept(self):
        """Return the rows that training keeps, and their weights or None."""
        array, weight = self.select(self.kept)
        if len(array) < 2:
            raise ValueError(
                f"Found array with {len(array)} sample(s) (n_samples={len(array)}) of "
                "positive weight, while a minimum of 2 is required."
            )
        return array, weight
