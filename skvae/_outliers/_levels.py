"""Levels seen at fit, and how unlikely all others are."""

from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class SeenLevels:
    """The levels that columns have in the rows so far.

    A level that they do not have is one of 1 / (n_rows + 2), by the rule of succession,
    and less where a row of the best score would otherwise not be below the threshold.
    """

    codes: dict = field(default_factory=dict)  # by the number of the column, sorted
    n_rows: int = 0
    score: float = 0.0  # log-probability of all other levels, nats

    def extend(self, rows, columns, scores, threshold):
        """Return those of more rows; the scores are of rows of the model."""
        codes = dict(self.codes)
        for column in columns.list_level_columns():
            values = np.unique(np.asarray(rows[:, column], dtype=np.float64))
            values = values[~np.isnan(values)]
            codes[column] = np.union1d(codes.get(column, values), values)
        n_rows = self.n_rows + len(rows)
        threshold = threshold if np.isfinite(threshold) else scores.min()
        return SeenLevels(
            codes, n_rows, -max(np.log(n_rows + 2), scores.max() - threshold + 1)
        )

    def hide_unknown(self, table):
        """Return a table whose cells of other levels are missing, and in its mask.

        Codes that are no levels at all, such as 2.5, stay and are refused.
        """
        array, unknown = table.array, table.unknown
        for column, known in self.codes.items():
            values = np.asarray(array[:, column], dtype=np.float64)
            is_code = (values >= 0) & (values == np.floor(values)) & np.isfinite(values)
            is_other = is_code & ~np.isin(values, known)
            if is_other.any():
                if array is table.array:
                    array, unknown = np.array(array, dtype=np.float64), unknown.copy()
                array[is_other, column] = np.nan
                unknown[is_other, column] = True
        return replace(table, array=array, unknown=unknown)
