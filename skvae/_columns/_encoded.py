"""Rows in the units of the model, made when they are asked for."""

import numpy as np

from .._utils._missing import is_complete, list_chunks


class EncodedRows:
    """Rows of one table after another, encoded a few at a time.

    It is sliced as an array is, and holds no copy of one: a table that is mapped into
    memory stays on its disk.

    Parameters
    ----------
    columns : ColumnTable
    tables : list of ndarray (n, n_features)
        In the units of X.

    Attributes
    ----------
    shape : tuple of int
        Rows, and columns that vary.
    dtype : dtype
        Of what slices hold.
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
        """Return rows, given by a slice of step 1 or by their numbers."""
        if len(self.tables) == 1:
            return self.columns.encode(self.tables[0][rows])
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        found = np.empty((len(rows), self.shape[1]), dtype=self.dtype)
        which = np.searchsorted(self.ends, rows, side="right")
        for number in np.unique(which):
            here = np.flatnonzero(which == number)
            table = self.tables[number]
            chosen = rows[here] - (self.ends[number] - len(table))
            found[here] = self.columns.encode(table[chosen])
        return found

    def is_complete(self):
        """Return whether no cell is missing."""
        if all(is_complete(table) for table in self.tables):
            return True
        # those of constant columns do not count
        return all(is_complete(self[rows]) for rows in list_chunks(self))
