"""Rare rows: the detector of outliers and its parts, and new rows of rare classes."""

from ._detector import VAEOutlierDetector
from ._over_sampler import VAEOverSampler

__all__ = ["VAEOutlierDetector", "VAEOverSampler"]
