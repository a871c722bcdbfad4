"""Variational auto-encoders as scikit-learn estimators."""

import importlib

from ._estimator import VAETransformer
from ._outliers import VAEOutlierDetector
from ._persistence import load, save
from ._utils._warnings import (
    EffectiveSampleSizeWarning,
    InconsistentVersionWarning,
    UnknownCategoriesWarning,
    UnlikelyLevelsWarning,
    UnusedComponentsWarning,
)

__version__ = "0.1.0"

_SUBMODULES = (
    "callbacks",
    "datasets",
    "export",
    "latents",
    "likelihoods",
    "metrics",
    "networks",
    "objectives",
    "plots",
)

__all__ = [
    "EffectiveSampleSizeWarning",
    "InconsistentVersionWarning",
    "UnknownCategoriesWarning",
    "UnlikelyLevelsWarning",
    "UnusedComponentsWarning",
    "VAEOutlierDetector",
    "VAETransformer",
    "__version__",
    "load",
    "save",
    *_SUBMODULES,
]


def __getattr__(name):
    # imported on first use, because importing torch is slow
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
