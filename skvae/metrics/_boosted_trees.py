"""Boosted trees for tables with levels and missing cells: those of `_tables`."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

from ._tables import list_levels

# which the trees can tell apart; one more is for all others
_MAX_LEVELS = 254


def make_trees(is_classifier: bool, random_state: Any) -> Any:
    """Return boosted trees of scikit-learn that weigh classes by their rarity."""
    shared = {"categorical_features": "from_dtype", "random_state": random_state}
    if is_classifier:
        return HistGradientBoostingClassifier(class_weight="balanced", **shared)
    return HistGradientBoostingRegressor(**shared)


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
