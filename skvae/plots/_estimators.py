"""What plots ask of an estimator, also at the end of a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .._columns._containers import get_names
from .._columns._conversion import convert_array
from .._columns._wrappers import is_tensor, unwrap
from .._utils._checks import is_integer

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator

    from ._typing import Components


def open_pipeline(estimator: BaseEstimator, *tables: Any) -> tuple[Any, ...]:
    """Return the last step of a fitted pipeline, and tables as they reach it.

    Other estimators are returned as they are. Of a search, its best estimator is taken.
    Tables are arrays or data frames, whatever library's they were.
    """
    check_is_fitted(estimator)
    estimator = getattr(estimator, "best_estimator_", estimator)
    if not isinstance(estimator, Pipeline):
        return estimator, *map(_open_table, tables)
    steps = estimator[:-1]
    made = [t if t is None or not len(steps) else steps.transform(t) for t in tables]
    return estimator[-1], *map(_open_table, made)


def _open_table(table: Any) -> Any:
    table = unwrap(table)
    return convert_array(table, "X") if is_tensor(table) else table


def require(estimator: object, method: str, way_out: str = "") -> None:
    """Refuse an estimator without a method that a plot needs."""
    if not hasattr(estimator, method):
        name = type(estimator).__name__
        raise TypeError(f"{name} has no {method}, which this plot needs{way_out}.")


def get_latent(estimator: object) -> Any:
    """Return the latent of a VAE, or None of another estimator."""
    net = getattr(estimator, "net_", None)
    return None if net is None else net.module_.latent


def is_discrete(estimator: object) -> bool:
    """Return whether z is discrete."""
    from ..latents import Categorical

    return isinstance(get_latent(estimator), Categorical)


def get_feature_names(estimator: Any, X: Any = None) -> list[str]:
    """Return the names of the columns, ``x0, x1, ...`` where there are none.

    X is the table as it reaches the last step of a pipeline.
    """
    names = None if X is None else get_names(unwrap(X))
    estimator = getattr(estimator, "best_estimator_", estimator)
    if names is None and isinstance(estimator, Pipeline):
        names = _get_names_out(estimator[:-1])
        estimator = estimator[-1]
    if names is None:
        names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        names = [f"x{j}" for j in range(estimator.n_features_in_)]
    return [str(name) for name in names]


def _get_names_out(steps: Pipeline) -> list[str] | None:
    """Return the names of the columns after some steps, or None."""
    try:
        return list(steps.get_feature_names_out()) if len(steps) else None
    except (AttributeError, ValueError):
        # a step does not know them
        return None


def name_components(estimator: object, n_columns: int) -> list[str]:
    """Return names of the columns of `transform`."""
    if not is_discrete(estimator):
        return [f"component {j}" for j in range(n_columns)]
    n_categories = get_latent(estimator).n_categories or n_columns
    names = []
    for variable, category in np.ndindex(n_columns // n_categories, n_categories):
        part = "" if n_categories == n_columns else f"variable {variable}, "
        names.append(f"{part}category {category}")
    return names


def rank_components(estimator: object, n_columns: int) -> NDArray[np.intp]:
    """Return the columns of `transform`, those with the largest KL first."""
    kl = getattr(estimator, "kl_per_component_", None)
    if kl is None or len(kl) != n_columns:
        return np.arange(n_columns)
    return np.argsort(-np.asarray(kl), kind="stable")


def check_positive(name: str, value: Any) -> None:
    """Refuse a value that is not a positive integer."""
    if not is_integer(value) or value < 1:
        raise ValueError(f"{name}={value!r} must be a positive integer.")


def check_components(components: Components, n_columns: int) -> NDArray[Any]:
    """Return numbers of components as an array, refusing those that do not exist."""
    found = np.atleast_1d(np.asarray(components))
    is_valid = found.ndim == 1 and found.dtype.kind in "iu" and len(found) > 0
    if not is_valid or found.min() < 0 or found.max() >= n_columns:
        raise ValueError(
            f"components={components!r}; numbers from 0 to {n_columns - 1} are "
            "accepted, those of the columns of transform(X)."
        )
    return found
