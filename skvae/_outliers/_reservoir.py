"""Reservoir: a random sample of the rows of a stream, by their weights."""

from dataclasses import dataclass

import numpy as np

from .._columns import join_tables
from .._utils._lazy_rows import select_rows


@dataclass(frozen=True)
class Reservoir:
    """A random sample of the rows so far, by keys (Efraimidis & Spirakis 2006)."""

    size: int = 2000  # largest number of rows
    rows: np.ndarray | None = None  # (n, n_features)
    keys: np.ndarray | None = None  # (n,)
    n_passed: int = 0

    def extend(self, rows, weight=None):
        """Return the reservoir after more rows, some of which replace earlier ones."""
        n_passed = self.n_passed + len(rows)
        draws = np.random.default_rng(self.n_passed).random(len(rows))
        keys = np.log1p(-draws) / (1.0 if weight is None else weight)
        if self.rows is not None:
            rows = join_tables(self.rows, rows)
            keys = np.concatenate([self.keys, keys])
        # the largest keys, in order of arrival
        kept = np.sort(np.argsort(-keys, kind="stable")[: self.size])
        return Reservoir(self.size, select_rows(rows, kept), keys[kept], n_passed)
