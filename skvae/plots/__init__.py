"""Plots of fitted estimators: Display classes, made by `from_estimator`.

They use public methods and attributes only, and import matplotlib when they draw.
"""

from ._feature_scores import FeatureScoresDisplay
from ._latent_map import LatentMapDisplay
from ._training_curve import TrainingCurveDisplay

__all__ = ["FeatureScoresDisplay", "LatentMapDisplay", "TrainingCurveDisplay"]
