"""Reservoir: a random sample of the rows of a stream, by their weights."""

import copy

import numpy as np

# rows of a stream from which its threshold is found
_MAX_ROWS = 2000


class Reservoir:
    """A random sample of at most `size` of the rows added so far.

    Rows are kept by random keys (Efraimidis & Spirakis 2006).
    """

    def __init__(self, size):
        self.size, self.n_passed = size, 0
        self.rows = self.keys = None

    def add(self, rows, weight=None):
        """Add rows; some of them replace rows of the sample."""
        draws = np.random.default_rng(self.n_passed).random(len(rows))
        keys = np.log1p(-draws) / (1.0 if weight is None else weight)
        self.n_passed += len(rows)
        if self.rows is not None:
            rows = np.concatenate([self.rows, rows])
            keys = np.concatenate([self.keys, keys])
        # the largest keys, in order of arrival
        kept = np.sort(np.argsort(-keys, kind="stable")[: self.size])
        self.rows, self.keys = rows[kept], keys[kept]


def sample_stream(data, earlier=None):
    """Return a reservoir of a chunk and of earlier chunks, whose own stays as it is."""
    stream = Reservoir(_MAX_ROWS) if earlier is None else copy.deepcopy(earlier)
    stream.add(*data.select(data.counted))
    return stream
