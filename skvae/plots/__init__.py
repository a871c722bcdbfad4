"""Pictures of fitted estimators: Display classes, made by `from_estimator`.

They read public methods and attributes only, and need matplotlib when they are drawn.
"""

from ._feature_scores import FeatureScoresDisplay

__all__ = ["FeatureScoresDisplay"]
