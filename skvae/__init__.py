"""Variational auto-encoders as scikit-learn estimators."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ._estimator import VAETransformer
from ._outliers import VAEOutlierDetector, VAEOverSampler
from ._utils._warnings import (
    CollapsedGeneratorWarning,
    EffectiveSampleSizeWarning,
    InconsistentVersionWarning,
    UnknownCategoriesWarning,
    UnlikelyLevelsWarning,
    UnusedComponentsWarning,
)
from .export._persistence import load, save

if TYPE_CHECKING:
    # the names are exported where they are imported as themselves
    from . import callbacks as callbacks
    from . import datasets as datasets
    from . import export as export
    from . import latents as latents
    from . import likelihoods as likelihoods
    from . import metrics as metrics
    from . import networks as networks
    from . import objectives as objectives
    from . import plots as plots

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
    "CollapsedGeneratorWarning",
    "UnusedComponentsWarning",
    "VAEOutlierDetector",
    "VAEOverSampler",
    "VAETransformer",
    "__version__",
    "load",
    "save",
    *_SUBMODULES,
]


if not TYPE_CHECKING:
    # to checkers of types, a name that is not there would be one

    def __getattr__(name):
        # imported on first use, because importing torch is slow
        if name in _SUBMODULES:
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
