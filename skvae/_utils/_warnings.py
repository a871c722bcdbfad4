"""Classes of warnings, which users can filter, and the function that warns."""

import sys
import warnings

# packages whose code is skipped on the way to the line of the user
_SKIPPED = {"skvae", "sklearn", "joblib"}


def warn_user(message, category):
    """Warn, with the line of the user's code as the location."""
    frame, level = sys._getframe(1), 2
    while frame.f_back:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in _SKIPPED:
            break
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


class UnusedComponentsWarning(UserWarning):
    """Some components of the latent carry no information about the rows."""


class UnknownCategoriesWarning(UserWarning):
    """A table has categories that were not in the table at fit; they become missing."""


class EffectiveSampleSizeWarning(UserWarning):
    """Conditional samples are based on few effective draws of the latent."""
