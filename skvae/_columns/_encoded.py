"""Rows in the units of the model, computed when they are indexed."""

import numpy as np
from typing_extensions import override

from .._utils._lazy_rows import LazyRows, select_rows
from .._utils._missing import fill_at_random, has_missing, list_chunks
from ._sparse import SparseRows


class EncodedRows(LazyRows):
    """Rows of several tables, one table after the other, encoded when they are indexed.

    It holds no copy of the tables, which are in the units of X: one that is mapped from
    a file stays there, and a sparse one stays sparse.
    """

    def __init__(self, columns, tables):
        self.columns, self.tables = columns, tables
        self.ends = np.cumsum([len(table) for table in tables])
        self.shape = int(self.ends[-1]), int(columns.varies.sum())
        self.dtype = np.result_type(*(columns.encode(t[:1]).dtype for t in tables))

    @property
    def is_sparse(self):
        """Whether a table is sparse, so that all of them together are to stay so."""
        return any(isinstance(table, SparseRows) for table in self.tables)

    @override
    def read(self, rows):
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

    @override
    def select(self, rows):
        begins = self.ends - [len(table) for table in self.tables]
        tables = [
            select_rows(table, rows[(rows >= begin) & (rows < end)] - begin)
            for table, begin, end in zip(self.tables, begins, self.ends, strict=True)
        ]
        return EncodedRows(self.columns, [t for t in tables if len(t)])

    @override
    def fill_at_random(self, seed):
        tables = [fill_at_random(table, seed) for table in self.tables]
        return EncodedRows(self.columns, tables)

    @override
    def has_missing(self):
        # of the columns in the model
        if not any(has_missing(table) for table in self.tables):
            return False
        # there may be some in constant columns alone
        return any(has_missing(self[rows]) for rows in list_chunks(self))
