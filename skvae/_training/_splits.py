"""Which rows train and which rows judge.

Enough rows must judge for the judgement to mean something. A large table has them in
one held-out part. A small one is split several times; one copy of the network is
trained on each split, side by side, and one more on all rows, which is kept as of the
moment that the held-out rows of the others call best: no row is lost to validation.
"""

from dataclasses import dataclass

import numpy as np

# rows that should judge, all splits together
_ENOUGH_HELD_OUT = 120
# a split below so many held-out rows takes up to a fifth of the table
_FEW_HELD_OUT = 60
_MAX_SPLITS = 5
# held-out rows of a large table that tell a threshold
_MAX_COVERED = 5000
# up to so many rows a further copy sees all of them
_MAX_ROWS_FOR_COPIES = 3000


@dataclass(frozen=True)
class Splits:
    """Row indices of every copy of the network.

    Attributes
    ----------
    train : list of ndarray
        One a copy; the last copy is the one that is kept.
    valid : list of ndarray
        One for each of the first ``len(valid)`` copies.
    table : ndarray
        All rows of the table; rows of a validation set given apart are not among them.
    """

    train: list
    valid: list
    table: np.ndarray

    @property
    def n_copies(self):
        """Copies of the network, or None for one that is not stacked."""
        return None if len(self.train) == 1 else len(self.train)


def make_splits(n_samples, validation_fraction, generator, can_stack, covers=False):
    """Choose the splits of a table.

    Parameters
    ----------
    n_samples : int
    validation_fraction : float or None
        Share of the rows to hold out, at least; None holds out nothing.
    generator : numpy Generator
    can_stack : bool
        Whether copies of the network can be trained side by side.
    covers : bool, default=False
        Hold out as many rows as can be: each once where copies are trained side by
        side, else a fifth of them, 5,000 at most.
    """
    rows = np.arange(n_samples)
    if validation_fraction is None:
        return Splits([rows], [], rows)
    n_valid = max(
        round(validation_fraction * n_samples), min(n_samples // 5, _FEW_HELD_OUT), 1
    )
    if covers:
        n_valid = max(n_valid, min(n_samples // 5, _MAX_COVERED))
    n_valid = min(n_valid, n_samples - 1)
    order = generator.permutation(n_samples)
    small = can_stack and n_samples <= _MAX_ROWS_FOR_COPIES
    n_splits = 1
    if small:
        wanted = -(-_ENOUGH_HELD_OUT // n_valid)
        n_splits = max(1, min(wanted, _MAX_SPLITS, n_samples // n_valid))
    if small and covers:
        # all of a size
        n_splits = min(_MAX_SPLITS, n_samples)
        parts = np.split(order[: n_samples - n_samples % n_splits], n_splits)
    else:
        parts = [order[i * n_valid : (i + 1) * n_valid] for i in range(n_splits)]
    valid = [np.sort(part) for part in parts]
    train = [np.setdiff1d(rows, held_out) for held_out in valid]
    if small:
        train.append(rows)
    return Splits(train, valid, rows)


def split_off(n_samples, n_valid):
    """Return the splits of a table with a validation set of its own behind it."""
    rows = np.arange(n_samples)
    return Splits([rows], [np.arange(n_samples, n_samples + n_valid)], rows)
