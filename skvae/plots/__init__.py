"""Plots of fitted estimators: Display classes, made by `from_estimator`.

The numbers are those that public methods and attributes return; inside `net_` they look
up the latent and the epoch that was kept. matplotlib is imported when they draw.
"""

from ._components import ComponentsDisplay
from ._feature_scores import FeatureScoresDisplay
from ._latent_map import LatentMapDisplay
from ._reconstruction import ReconstructionDisplay
from ._samples import SamplesDisplay
from ._score_histogram import ScoreHistogramDisplay
from ._training_curve import TrainingCurveDisplay
from ._traversal import LatentTraversalDisplay

__all__ = [
    "ComponentsDisplay",
    "FeatureScoresDisplay",
    "LatentMapDisplay",
    "LatentTraversalDisplay",
    "ReconstructionDisplay",
    "SamplesDisplay",
    "ScoreHistogramDisplay",
    "TrainingCurveDisplay",
]
