"""Outlier detection: the detector and the computations of its own."""

from ._detector import VAEOutlierDetector

__all__ = ["VAEOutlierDetector"]
