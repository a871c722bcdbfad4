"""Columns with a single value: not part of the model, but part of the score."""

from dataclasses import dataclass

import numpy as np

# standard deviation around the value, as FactorAnalysis' smallest
_NARROW = 1e-6


@dataclass
class ConstantColumns:
    """The density of columns that are constant at fit.

    A new row may still have another value. By the rule of succession its probability is
    one in n_samples + 2, where n_samples is the number of observed values. Each column
    has a mixture of two normals around its value, with standard deviations 1e-6 s and
    s = max(1, abs(value)).
    """

    values: np.ndarray  # (n_constant,)
    n_samples: np.ndarray  # (n_constant,)

    @property
    def _scale(self):
        return np.maximum(np.abs(self.values), 1.0)

    @property
    def variance(self):
        """Variance of values that do not differ, ``(n_constant,)``."""
        return (_NARROW * self._scale) ** 2

    def score(self, X):
        """Return log p of values of the columns, ``(n, n_constant)`` nats.

        Missing values have 0.
        """
        missing = np.isnan(X)
        squares = (np.where(missing, self.values, X) - self.values) ** 2
        parts = [height - squares / width for height, width in self.list_normals()]
        return np.where(missing, 0.0, np.logaddexp(*parts))

    def list_normals(self):
        """Return height and width of both normals of every column.

        The log density of each, with its weight, is height - (x - value)² / width.
        """
        chance = 1 / (self.n_samples + 2)
        parts = (1 - chance, _NARROW * self._scale), (chance, self._scale)
        return [
            (np.log(weight / (scale * np.sqrt(2 * np.pi))), 2 * scale**2)
            for weight, scale in parts
        ]
