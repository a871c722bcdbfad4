"""Boosted trees for tables with levels and missing cells: those of `_tables`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.pipeline import make_pipeline

from ._tables import list_levels

# which the trees can tell apart; one more is for all others
_MAX_LEVELS = 254


class ColumnsWithValues(TransformerMixin, BaseEstimator):
    """Selects the columns that have a value in the rows of `fit`.

    The trees take columns with missing cells, but none that has nothing else.
    """

    def fit(self, X: pd.DataFrame, y: Any = None) -> ColumnsWithValues:
        """Find the columns."""
        self.columns_ = list(X.columns[X.notna().any()])
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return these columns; if there are none, a constant."""
        if not self.columns_:
            return pd.DataFrame({"constant": np.zeros(len(X))}, index=X.index)
        return X[self.columns_]


def make_trees(is_classifier: bool, random_state: Any) -> Any:
    """Return boosted trees of scikit-learn that weigh classes by their rarity."""
    shared = {"categorical_features": "from_dtype", "random_state": random_state}
    trees = (
        HistGradientBoostingClassifier(class_weight="balanced", **shared)
        if is_classifier
        else HistGradientBoostingRegressor(**shared)
    )
    return make_pipeline(ColumnsWithValues(), trees)


def code_levels(*frames: pd.DataFrame) -> list[pd.DataFrame]:
    """Return frames whose levels are numbers, the rarest of very many the same one."""
    coded = [frame.copy() for frame in frames]
    for name in list_levels(frames[0]):
        counts = pd.concat([frame[name] for frame in frames]).value_counts()
        kept = counts.index[:_MAX_LEVELS]
        for frame in coded:
            codes = kept.get_indexer(frame[name])
            codes[(codes < 0) & frame[name].notna()] = len(kept)
            frame[name] = pd.Categorical.from_codes(codes, range(len(kept) + 1))
    return coded
