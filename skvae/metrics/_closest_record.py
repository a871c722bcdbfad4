"""How close drawn rows come to the rows that a model was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state

from ._tables import (
    Columns,
    list_levels,
    measure_spread,
    read_tables,
    standardize,
)

if TYPE_CHECKING:
    from .._utils._typing import Floats, RandomState, Table


def distance_to_closest_record(
    train: Table, drawn: Table, *, categorical: Columns = None
) -> Floats:
    r"""Measure the distance of every drawn row from its nearest training row (DCR).

    .. math::
        d(x, y)^2 = \sum_{j \text{ number}} \frac{(x_j - y_j)^2}{\sigma_j^2}
        + \sum_{j \text{ level}} 1[x_j \ne y_j]

    with the standard deviations of the training rows. 0 means a copy. Small distances
    alone prove nothing: in a table with few distinct rows, held-out rows have them too.
    `closest_record_share` compares with these.

    Parameters
    ----------
    train, drawn : array-like or data frame (n_samples, n_features)
        Rows; their numbers may differ.
    categorical : list of column names, default=None
        Columns of numbers that are codes of levels. Names of an array are positions.

    Returns
    -------
    ndarray (n_drawn,)
        Distances, float64.

    Raises
    ------
    ValueError
        If the tables have different columns, or values are infinite.

    See Also
    --------
    closest_record_share : Compares with the distances from held-out rows.

    Notes
    -----
    A missing level is a level of its own. A missing number is replaced by the mean, and
    a level tells that it was missing. Columns that are constant in the training rows
    have the standard deviation 1.

    References
    ----------
    Zhao, Kunar, Birke & Chen (2021), "CTAB-GAN: effective table data synthesizing".

    Examples
    --------
    >>> from skvae.datasets import make_mixed
    >>> from skvae.metrics import distance_to_closest_record
    >>> train = make_mixed(n_samples=200, random_state=0)
    >>> distance_to_closest_record(train, train.iloc[:3])
    array([0., 0., 0.])
    >>> held_out = make_mixed(n_samples=200, random_state=1)
    >>> bool(distance_to_closest_record(train, held_out).min() > 0)
    True
    """
    read = read_tables(train, drawn, categorical=categorical)
    train_points, drawn_points = _embed(*read, n_scaled=1)
    return _find_distances(train_points, drawn_points)


def closest_record_share(
    train: Table,
    held_out: Table,
    drawn: Table,
    *,
    categorical: Columns = None,
    random_state: RandomState = None,
) -> float:
    r"""Return the share of drawn rows closer to training than to held-out rows.

    .. math:: P[d(y, \text{train}) < d(y, \text{held out})]
        + \tfrac12 P[d(y, \text{train}) = d(y, \text{held out})]

    where both distances are those from the nearest of the same number of rows. 0.5: the
    model draws rows no closer to those it has seen than to others. 1: all are copies,
    or nearly so. Standard error of n drawn rows: about ``0.5 / sqrt(n)``, more where
    they share their neighbours.

    It detects a model that memorises rows. It does not bound what drawn rows reveal of
    a single person, as differential privacy does: 0.5 is no proof of privacy.

    Parameters
    ----------
    train, held_out : array-like or data frame (n_samples, n_features)
        Rows that the model was fitted to, and rows of the same source that it has never
        seen. Of the larger table as many rows are chosen as the smaller one has.
    drawn : array-like or data frame (n_samples, n_features)
        Rows drawn from the model.
    categorical : list of column names, default=None
        Columns of numbers that are codes of levels. Names of an array are positions.
    random_state : int, RandomState or None, default=None
        Seed of the choice of rows.

    Returns
    -------
    float
        Share, from 0 to 1; 0.5 is best.

    Raises
    ------
    ValueError
        If the tables have different columns, or values are infinite.

    See Also
    --------
    distance_to_closest_record : The distance; here scaled by rows of both tables.

    References
    ----------
    Platzer & Reutterer (2021), "Holdout-based empirical assessment of mixed-type
    synthetic data", the section on privacy.
    Zhang et al. (2024), "Mixed-type tabular data synthesis with score-based diffusion
    in latent space" (TabSyn), section on privacy.

    Examples
    --------
    >>> from skvae.datasets import make_mixed
    >>> from skvae.metrics import closest_record_share
    >>> train, held_out, others = (
    ...     make_mixed(n_samples=500, random_state=seed) for seed in range(3)
    ... )
    >>> closest_record_share(train, held_out, train, random_state=0)
    1.0
    >>> round(closest_record_share(train, held_out, others, random_state=0), 1)
    0.5
    """
    read = read_tables(train, held_out, drawn, categorical=categorical)
    generator = check_random_state(random_state)
    n_rows = min(len(read[0]), len(read[1]))
    for number in (0, 1):
        if len(read[number]) > n_rows:
            rows = generator.permutation(len(read[number]))[:n_rows]
            read[number] = read[number].iloc[rows]
    *references, drawn_points = _embed(*read, n_scaled=2)
    of_train, of_held_out = (_find_distances(rows, drawn_points) for rows in references)
    return float(np.mean(of_train < of_held_out) + np.mean(of_train == of_held_out) / 2)


def _embed(*frames: pd.DataFrame, n_scaled: int) -> list[Floats]:
    """Return points whose Euclidean distances are those of the rows.

    Means and standard deviations are those of the first tables.
    """
    scaled = pd.concat(frames[:n_scaled])
    levels = list_levels(frames[0])
    blocks: list[list[Floats]] = [[] for _ in frames]
    for name in frames[0]:
        n_levels = len(frames[0][name].cat.categories) if name in levels else 0
        center, scale = 0.0, 1.0
        if name not in levels and scaled[name].notna().any():
            center, scale = measure_spread(scaled[name].dropna().to_numpy())
        for block, frame in zip(blocks, frames, strict=True):
            if name in levels:
                block.append(_encode(frame[name].cat.codes.to_numpy(), n_levels))
                continue
            number = standardize(frame[name].to_numpy(), center, scale)
            block.append(np.nan_to_num(number)[:, None])
            if any(other[name].isna().any() for other in frames):
                block.append(_encode(-np.isnan(number).astype(int), 1))
    return [np.hstack(block) for block in blocks]


def _encode(codes: Any, n_levels: int) -> Floats:
    """Return points of distance 1 for different codes, -1 to n_levels - 1."""
    # two one-hot rows have the distance sqrt(2)
    return np.eye(n_levels + 1)[codes] / np.sqrt(2)


def _find_distances(references: Floats, points: Floats) -> Floats:
    """Return the distance of every point from the nearest reference."""
    nearest = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(references)
    found = nearest.kneighbors(points, return_distance=False)[:, 0]
    # those of the search are inexact: copies would not be at the distance 0
    return np.sqrt(((references[found] - points) ** 2).sum(axis=1))
