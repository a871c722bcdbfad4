"""A classifier that tells real rows from drawn ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold, cross_val_score

from ._boosted_trees import code_levels, make_trees
from ._tables import Columns, read_tables

if TYPE_CHECKING:
    from .._utils._typing import RandomState, Table


def two_sample_auc(
    real: Table,
    drawn: Table,
    *,
    estimator: Any = None,
    cv: int = 5,
    categorical: Columns = None,
    random_state: RandomState = None,
) -> float:
    r"""Tell real rows from drawn ones by a classifier, and return its ROC AUC.

    .. math:: P[s(x) < s(y)] + \tfrac12 P[s(x) = s(y)],
        \qquad x \text{ real},\ y \text{ drawn},

    for the score s of a classifier that was trained on other rows, the mean over folds.
    0.5: it cannot tell them apart. 1: it can tell all of them. Unlike columns and
    pairs, it finds errors that any number of columns have together.

    An AUC below 0.5 is returned as it is. A little below is chance. Much below means
    that drawn rows are copies of real ones: a row is then in the training folds with
    the other label.

    Parameters
    ----------
    real, drawn : array-like or data frame (n_samples, n_features)
        Rows, at least `cv` of each. Classes are weighted if their numbers differ.
    estimator : classifier, default=None
        None is `HistGradientBoostingClassifier`, which takes levels and missing cells
        as they are. Another one gets a data frame of float64 and of categories, whose
        levels are numbers, the same for both tables.
    cv : int, default=5
        Number of folds.
    categorical : list of column names, default=None
        Columns of numbers that are codes of levels. Names of an array are positions.
    random_state : int, RandomState or None, default=None
        Seed of the folds and of the default classifier.

    Returns
    -------
    float
        AUC, from 0 to 1; 0.5 is best.

    Raises
    ------
    ValueError
        If the tables have different columns, infinite values, or fewer rows than `cv`.

    See Also
    --------
    closest_record_share : Tells whether rows are copies.

    Notes
    -----
    Equal values are the same whatever their dtypes: integers and floats, text and
    categories. Floats of different precision are compared in the lower one. Of more
    than 254 levels, the rarest are one level.

    References
    ----------
    Lopez-Paz & Oquab (2017), "Revisiting classifier two-sample tests".

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.datasets import make_mixed
    >>> from skvae.metrics import two_sample_auc
    >>> real = make_mixed(n_samples=300, random_state=0)
    >>> held_out = make_mixed(n_samples=300, random_state=1)
    >>> round(two_sample_auc(real, held_out, cv=2, random_state=0), 1)
    0.5
    >>> shuffled = held_out.apply(np.random.default_rng(0).permutation)
    >>> two_sample_auc(real, shuffled, cv=2, random_state=0) > 0.7
    True
    """
    read = read_tables(real, drawn, categorical=categorical)
    least = min(map(len, read))
    if least < cv:
        raise ValueError(f"cv={cv} needs as many rows of each table; one has {least}.")
    X = pd.concat(code_levels(*read), ignore_index=True)
    y = np.repeat([0, 1], [len(frame) for frame in read])
    if estimator is None:
        estimator = make_trees(True, random_state)
    folds = StratifiedKFold(cv, shuffle=True, random_state=random_state)
    scores = cross_val_score(
        estimator, X, y, cv=folds, scoring="roc_auc", error_score="raise"
    )
    return float(scores.mean())
