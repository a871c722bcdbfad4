"""Plots of fitted estimators: Display classes, made by `from_estimator`.

They use public methods and attributes only, and import matplotlib when they draw.
"""

from ._feature_scores import FeatureScoresDisplay

__all__ = ["FeatureScoresDisplay"]
