"""Tables whose rows become an array where they are taken, and not before.

Everything that goes through rows takes a chunk of them, so it need not know whether
they are those of an array.
"""

import hashlib
from numbers import Integral

import numpy as np

from ._missing import list_chunks

# cells taken together where rows are compared
_CHUNK_VALUES = 2**20


class LazyRows:
    """Base of tables that are indexed by rows as arrays are, and are none.

    Indexing returns a new array. `select` returns some rows as another such table, and
    numpy, which would make an array of all of them, is refused.

    Attributes
    ----------
    shape : tuple of int (n_samples, n_columns)
    dtype : dtype
        Of the arrays that are returned.
    """

    ndim = 2

    def read(self, rows):
        """Return rows, by a slice of step 1 or their numbers: (n, n_columns)."""
        raise NotImplementedError

    def select(self, rows):
        """Return rows by rising numbers, as a table of the same kind."""
        raise NotImplementedError

    def has_missing(self):
        """Return whether any value is missing."""
        raise NotImplementedError

    def fill_at_random(self, seed):
        """Return the table without missing values, see `_missing.fill_at_random`."""
        raise NotImplementedError

    @property
    def size(self):
        """Number of cells."""
        return self.shape[0] * self.shape[1]

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, key):
        """Return rows as an array; of a pair of indices, cells of them."""
        if isinstance(key, tuple):
            rows, columns = key
            return self[rows][..., columns]
        if isinstance(key, Integral):
            return self.read(np.array([range(len(self))[key]]))[0]
        if isinstance(key, slice):
            begin, end, step = key.indices(len(self))
            if step == 1:
                return self.read(slice(begin, max(begin, end)))
            return self.read(np.arange(begin, end, step))
        return self.read(_to_numbers(key))

    def __array__(self, *args, **kwargs):
        raise TypeError(
            f"{type(self).__name__} of shape {self.shape} is not to become an array "
            "as a whole; take rows of it."
        )

    def count_distinct(self):
        """Return how many rows differ from one another."""
        found = set()
        for rows in list_chunks(self, _CHUNK_VALUES):
            for row in self[rows]:
                found.add(hashlib.blake2b(row, digest_size=16).digest())
        return len(found)


def select_rows(x, rows):
    """Return some rows of a table, a lazy one where it is one.

    They are given by a slice, a mask, or rising numbers.
    """
    if not isinstance(x, LazyRows):
        return x[rows]
    if isinstance(rows, slice):
        rows = np.arange(*rows.indices(len(x)))
    return x.select(_to_numbers(rows))


def _to_numbers(rows):
    rows = np.asarray(rows)
    return np.flatnonzero(rows) if rows.dtype == bool else rows
