"""Cells given the rest of their row: how likely they are, and how likely usually."""

import numpy as np

# rows of which the usual scores are medians: least and largest number, and cells
_N_ROWS, _N_CELLS = (5, 100), 10_000


def score_given_rest(model, array):
    """Return log p(x_j | the other cells) of every cell, 0 where it is missing.

    It is the difference of the ELBO of the row and of the row without the cell, in
    nats.
    """
    array = np.array(array, dtype=np.float64)
    whole = model.score(array, "elbo")
    scores = np.zeros(array.shape)
    for j in range(array.shape[1]):
        column = array[:, j].copy()
        observed = ~np.isnan(column)
        if not observed.any():
            continue
        array[:, j] = np.nan
        rest = model.score(array[observed], "elbo")
        array[:, j] = column
        with np.errstate(invalid="ignore"):
            scores[observed, j] = whole[observed] - rest
    # -inf with and without the cell: another cell is the reason
    return np.where(np.isnan(scores), 0.0, scores)


def choose_usual_rows(array):
    """Return a few rows, spread evenly over a table, for the usual scores."""
    n_rows = int(np.clip(_N_CELLS // array.shape[1], *_N_ROWS))
    step = max(1, len(array) // n_rows)
    return np.array(array[::step][:n_rows], dtype=np.float64)


def compute_usual_scores(model, rows):
    """Return the median of `score_given_rest` in every column, ``(n_features,)``."""
    scores = score_given_rest(model, rows)
    scores[np.isnan(rows)] = np.nan
    # a column may have no observed value in these rows
    filled = np.where(np.isnan(scores).all(axis=0), 0.0, scores)
    return np.nanmedian(filled, axis=0)
