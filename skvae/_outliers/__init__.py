"""Outlier detection: VAEOutlierDetector, trimming, thresholds and explanations."""

from ._detector import VAEOutlierDetector

__all__ = ["VAEOutlierDetector"]
