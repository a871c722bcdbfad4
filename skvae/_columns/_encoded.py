"""Rows in the units of the model, computed when they are indexed."""

import numpy as np

from .._utils._missing import has_missing, list_chunks


class EncodedRows:
    """Rows of several tables, one table after the other, encoded when they are indexed.

    It is indexed like an array, but holds no copy of the tables, which are in the units
    of X: one that is mapped from a file stays there.
    """

    def __init__(self, columns, tables):
        self.columns, self.tables = columns, tables
        self.ends = np.cumsum([len(table) for table in tables])
        self.shape = int(self.ends[-1]), int(columns.varies.sum())
        self.dtype = np.result_type(*(columns.encode(t[:1]).dtype for t in tables))

    @property
    def size(self):
        """Number of cells."""
        return self.shape[0] * self.shape[1]

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """Return encoded rows, given by a slice of step 1 or by their numbers."""
        if len(self.tables) == 1:
            return self.columns.encode(self.tables[0][rows])
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        encoded = np.empty((len(rows), self.shape[1]), dtype=self.dtype)
        table_of_row = np.searchsorted(self.ends, rows, side="right")
        for number in np.unique(table_of_row):
            positions = np.flatnonzero(table_of_row == number)
            table = self.tables[number]
            chosen = rows[positions] - (self.ends[number] - len(table))
            encoded[positions] = self.columns.encode(table[chosen])
        return encoded

    def has_missing(self):
        """Return whether a value of the columns in the model is missing."""
        if not any(has_missing(table) for table in self.tables):
            return False
        # there may be some in constant columns alone
        return any(has_missing(self[rows]) for rows in list_chunks(self))
