"""Models trained on drawn rows, and tested on real ones."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import pandas as pd
from sklearn.base import clone
from sklearn.metrics import check_scoring

from ._boosted_trees import code_levels, make_trees
from ._tables import Columns, list_levels, read_tables

if TYPE_CHECKING:
    from .._utils._typing import RandomState, Table


def train_on_synthetic_scores(
    train: Table,
    test: Table,
    drawn: Table,
    target: Hashable,
    *,
    estimator: Any = None,
    scoring: str | Callable[..., float] | None = None,
    categorical: Columns = None,
    random_state: RandomState = None,
) -> dict[str, float]:
    """Score a model trained on drawn rows, and one trained on real rows, on real rows.

    Drawn rows are as useful as real ones for the prediction of `target` if the scores
    are equal. Errors that do not matter for this target are not seen; `two_sample_auc`
    sees all.

    Parameters
    ----------
    train, test : array-like or data frame (n_samples, n_features)
        Real rows for training and for the scores, with the target among their columns.
    drawn : array-like or data frame (n_samples, n_features)
        Rows drawn from a model of `train`.
    target : str or int
        Name of the column that is predicted; of an array its position.
    estimator : classifier or regressor, default=None
        It gets a data frame without the target, of float64 and of categories, whose
        levels are numbers. None is
        `HistGradientBoostingClassifier` with balanced classes for a target of levels,
        `HistGradientBoostingRegressor` for numbers.
    scoring : str or callable, default=None
        As in scikit-learn. None is the estimator's own score, the accuracy or R².
    categorical : list of column names, default=None
        Columns of numbers that are codes of levels, the target among them if its
        numbers are classes. Names of an array are positions.
    random_state : int, RandomState or None, default=None
        Seed of the default estimator.

    Returns
    -------
    dict
        Scores on `test`: 'drawn' of the model trained on drawn rows, 'real' of that
        trained on `train`.

    Raises
    ------
    ValueError
        If the tables have different columns, infinite values, no such target or no
        other column, or if a table has no target that is not missing, or the drawn ones
        are all the same level.

    Notes
    -----
    Rows whose target is missing are left out. Of more than 254 levels of another
    column, the rarest are one level.

    References
    ----------
    Esteban, Hyland & Rätsch (2017), "Real-valued (medical) time series generation with
    recurrent conditional GANs": train on synthetic, test on real.

    Examples
    --------
    >>> from skvae.datasets import make_mixed
    >>> from skvae.metrics import train_on_synthetic_scores
    >>> train, test, others = (
    ...     make_mixed(n_samples=500, random_state=seed) for seed in range(3)
    ... )
    >>> scores = train_on_synthetic_scores(
    ...     train, test, others, target="savings", random_state=0
    ... )
    >>> list(scores), bool(abs(scores["drawn"] - scores["real"]) < 0.1)
    (['drawn', 'real'], True)
    """
    read = read_tables(train, test, drawn, categorical=categorical)
    if target not in read[0].columns:
        raise ValueError(f"target={target!r} is not a column of the tables.")
    if read[0].shape[1] < 2:
        raise ValueError(f"The tables have no column but the target, {target!r}.")
    is_classifier = target in list_levels(read[0])
    read = [frame[frame[target].notna()] for frame in read]
    for name, frame in zip(("train", "test", "drawn"), read, strict=True):
        if frame.empty:
            raise ValueError(f"No row of {name} has a value of target={target!r}.")
    targets = [_take_target(frame[target]) for frame in read]
    if is_classifier and targets[2].nunique() < 2:
        raise ValueError(f"Drawn rows have fewer than two levels of {target!r}.")
    tables = code_levels(*(frame.drop(columns=target) for frame in read))
    if estimator is None:
        estimator = make_trees(is_classifier, random_state)
    scorer = check_scoring(estimator, scoring)
    return {
        name: float(
            scorer(
                clone(estimator).fit(tables[number], targets[number]),
                tables[1],
                targets[1],
            )
        )
        for name, number in (("drawn", 2), ("real", 0))
    }


def _take_target(column: pd.Series) -> pd.Series:
    """Return levels as values of their own type, numbers as they are."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return column
    if column.cat.categories.inferred_type in ("boolean", "integer", "floating"):
        return column.astype(object).infer_objects()
    # others, such as dates, are no labels of scikit-learn
    return column.map(str).astype(object)
