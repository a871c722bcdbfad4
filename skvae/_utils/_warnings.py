"""Warnings in classes of their own, so that they can be filtered."""

import sys
import warnings

# what stands between the line of the user and a warning
_BETWEEN = {"skvae", "sklearn", "joblib"}


def warn_user(message, category):
    """Warn at the line of the user, however deep below it the reason is found."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and _find_package(frame) in _BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _find_package(frame):
    return frame.f_globals.get("__name__", "").partition(".")[0]


class UnusedComponentsWarning(UserWarning):
    """Some components of the latent say nothing of the rows."""


class UnknownCategoriesWarning(UserWarning):
    """A table has categories that `fit` has not seen; they are treated as missing."""


class EffectiveSampleSizeWarning(UserWarning):
    """Draws given some values rest on few draws of the latent."""
