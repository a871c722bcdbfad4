"""Reservoir: some rows of a stream, each as likely as its weight says."""

import numpy as np


class Reservoir:
    """A random sample of the rows that have passed (Efraimidis & Spirakis 2006).

    Parameters
    ----------
    size : int
        Rows to keep, at most.

    Attributes
    ----------
    rows : ndarray (n, n_features) or None
    """

    def __init__(self, size):
        self.size, self.n_passed = size, 0
        self.rows = self.keys = None

    def add(self, rows, weight=None):
        """Let rows pass, and keep some of them in the place of others."""
        draws = np.random.default_rng(self.n_passed).random(len(rows))
        keys = np.log1p(-draws) / (1.0 if weight is None else weight)
        self.n_passed += len(rows)
        if self.rows is not None:
            rows = np.concatenate([self.rows, rows])
            keys = np.concatenate([self.keys, keys])
        # the largest keys, in the order in which they came
        kept = np.sort(np.argsort(-keys, kind="stable")[: self.size])
        self.rows, self.keys = rows[kept], keys[kept]
