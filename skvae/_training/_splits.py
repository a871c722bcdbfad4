"""Which rows train and which rows are held out.

A held-out score needs enough rows to be reliable. A large table has them in one
held-out part. A small one is split into several folds, and networks are trained side by
side: one per fold, and one more on all rows, which is the one that is kept, as of the
epoch with the best held-out score of the others. No row is lost to validation, unless
the table is so wide that a second set of weights would be too large.

The members of an ensemble are as many networks on all rows of a small table; of a large
one each has held-out rows of its own. Where held-out rows are to be scored by ensembles
too, there are as many networks for every fold.
"""

from dataclasses import dataclass

import numpy as np

# held-out rows that are wanted, all folds together
_ENOUGH_HELD_OUT = 120
# a fold with fewer held-out rows takes up to a fifth of the table
_FEW_HELD_OUT = 60
_MAX_SPLITS = 5
# held-out rows of a large table from which a threshold is found
_MAX_COVERED = 5000
# largest table of which one more network is trained on all rows
_MAX_ROWS_FOR_COPIES = 3000
# of all networks side by side: most weights belong to columns, and cost time each
_MAX_COLUMNS_OF_COPIES = 2000
# columns of the widest table that has more than one fold
_MAX_COLUMNS_OF_FOLDS = 512
# columns of the widest table that has a network of all rows beside that of a fold: two
# sets of weights, each many times as large as such a table
_MAX_COLUMNS_OF_TWO = 10_000


@dataclass(frozen=True)
class Splits:
    """Row numbers of every fold.

    Attributes
    ----------
    train : list of ndarray
        One per network; the networks of the last `n_members` are kept.
    valid : list of ndarray
        Held-out rows of each of the first ``len(valid)`` networks.
    table : ndarray
        All rows of the table, without those of a validation set given apart.
    n_members : int
        Number of members; 1 without an ensemble.
    """

    train: list
    valid: list
    table: np.ndarray
    n_members: int = 1

    @property
    def n_copies(self):
        """Number of networks side by side, or None for a single one."""
        return None if len(self.train) == 1 else len(self.train)

    def repeat(self, n_members):
        """Return the splits with ``n_members`` networks in a row for each one here."""
        train, valid = (
            [rows for rows in part for _ in range(n_members)]
            for part in (self.train, self.valid)
        )
        return Splits(train, valid, self.table, n_members)


def make_splits(
    n_samples,
    validation_fraction,
    generator,
    can_stack,
    covers=False,
    n_features=1,
    n_members=1,
):
    """Choose the splits of a table.

    Parameters
    ----------
    n_samples : int
    validation_fraction : float or None
        Least share of the rows to hold out; None holds out no row.
    generator : numpy Generator
    can_stack : bool
        Whether networks can be trained side by side.
    covers : bool, default=False
        Hold out every row once where networks are trained side by side, else a fifth
        of the rows, 5,000 at most.
    n_features : int, default=1
        Wide tables have fewer networks side by side.
    n_members : int, default=1
        Number of networks to keep.
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
    small = small and n_features <= _MAX_COLUMNS_OF_TWO
    n_splits = n_members
    if small:
        wanted = -(-_ENOUGH_HELD_OUT * n_members // n_valid)
        is_wide = n_features > _MAX_COLUMNS_OF_FOLDS
        most = 1 if is_wide else _MAX_COLUMNS_OF_COPIES // n_features - 1
        n_splits = max(1, min(wanted, _MAX_SPLITS, n_samples // n_valid, most))
    if small and covers:
        # all of a size
        n_splits = min(_MAX_SPLITS, n_samples)
        parts = np.split(order[: n_samples - n_samples % n_splits], n_splits)
    else:
        parts = np.resize(order, (n_splits, n_valid))
    valid = [np.sort(part) for part in parts]
    train = [np.setdiff1d(rows, held_out) for held_out in valid]
    if small:
        train += [rows] * n_members
    return Splits(train, valid, rows, n_members)


def split_off(n_samples, n_valid):
    """Return the splits of a table with a validation set of its own behind it."""
    rows = np.arange(n_samples)
    return Splits([rows], [np.arange(n_samples, n_samples + n_valid)], rows)
