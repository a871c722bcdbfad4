"""Classes of warnings, which users can filter, and the function that warns."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from sklearn import exceptions

if TYPE_CHECKING:
    from collections.abc import Iterator

# packages whose code is skipped on the way to the line of the user
_SKIPPED = {"skvae", "sklearn", "joblib"}
# texts of the warnings of a call that notes them
_NOTED: ContextVar[list[str] | None] = ContextVar("noted", default=None)


@contextmanager
def note_warnings() -> Iterator[list[str]]:
    """Note what the calls inside warn of, whatever filters do with it."""
    noted: list[str] = []
    token = _NOTED.set(noted)
    try:
        yield noted
    finally:
        _NOTED.reset(token)


def warn_user(message: str | Warning, category: type[Warning] | None = None) -> None:
    """Warn, with the line of the user's code as the location.

    The message may be an instance of a class of warnings.
    """
    noted = _NOTED.get()
    if noted is not None:
        named = type(message) if isinstance(message, Warning) else category
        noted.append(f"{(named or UserWarning).__name__}: {message}")
    frame, level = sys._getframe(1), 2
    while frame.f_back:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in _SKIPPED:
            break
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


class UnusedComponentsWarning(UserWarning):
    """Some components of the latent carry no information about the rows."""


class CollapsedGeneratorWarning(UserWarning):
    """Rows drawn from a model that was trained against a discriminator are poor.

    Either they are all alike, or the discriminator tells every one from a real row.
    """


class UnknownCategoriesWarning(UserWarning):
    """A table has categories that were not in the table at fit; they become missing."""


class UnlikelyLevelsWarning(UserWarning):
    """Levels of a column look like identifiers of rows, or like numbers."""


class EffectiveSampleSizeWarning(UserWarning):
    """Conditional samples are based on few effective draws of the latent."""


class InconsistentVersionWarning(exceptions.InconsistentVersionWarning):
    """An estimator is loaded that another version of skvae has pickled.

    A subclass of the class of that name in :mod:`sklearn.exceptions`, which warns of
    versions of scikit-learn.

    Parameters
    ----------
    estimator_name : str
        Name of its class.
    current_version : str
        Version of skvae that loads it.
    original_version : str or None
        Version that has pickled it; None if it is not known.
    """

    def __init__(
        self, estimator_name: str, current_version: str, original_version: str | None
    ) -> None:
        super().__init__(
            estimator_name=estimator_name,
            current_sklearn_version=None,
            original_sklearn_version=None,
        )
        self.current_version = current_version
        self.original_version = original_version

    def __str__(self) -> str:
        made_by = "an earlier skvae, whose version is not known,"
        way_out = "fit it again"
        if self.original_version is not None:
            made_by = f"skvae {self.original_version}"
            way_out += f", or install skvae=={self.original_version}"
        return (
            f"This {self.estimator_name} was pickled by {made_by} and is loaded by "
            f"skvae {self.current_version}; it may fail, or give other results: "
            f"{way_out}."
        )
