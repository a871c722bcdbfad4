"""What other versions of scikit-learn and Python have elsewhere, or not at all.

No other module of the package asks for a version. The lowest are scikit-learn 1.4.2,
the first with numpy 2, and Python 3.10. Private names of scikit-learn that all of its
versions have are imported where they are used.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sklearn.base import BaseEstimator

# from scikit-learn 1.6 on
_HAS_NEW_TAGS = hasattr(BaseEstimator, "__sklearn_tags__")

if _HAS_NEW_TAGS:
    from sklearn.utils.validation import check_array as check_array
    from sklearn.utils.validation import validate_data as validate_data
else:
    from sklearn.utils.validation import check_array as _check_array

    def check_array(array: Any, *, ensure_all_finite: bool = True, **rules: Any) -> Any:
        """Check an array by the arguments of later versions."""
        return _check_array(array, force_all_finite=ensure_all_finite, **rules)

    def validate_data(
        estimator: Any,
        X: Any,
        *,
        reset: bool,
        skip_check_array: bool = False,
        ensure_all_finite: bool = True,
        **rules: Any,
    ) -> Any:
        """Check X, and its names and number of columns, as in later versions."""
        if skip_check_array:
            return estimator._validate_data(X, reset=reset, cast_to_ndarray=False)
        rules["force_all_finite"] = ensure_all_finite
        return estimator._validate_data(X, reset=reset, **rules)


try:
    # from scikit-learn 1.9 on
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ModuleNotFoundError as error:
    if error.name != "sklearn.callback":
        raise

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """An estimator without `set_callbacks`."""


class TagsMixin:
    """Let estimators declare their tags in `__sklearn_tags__` in all versions."""

    if not _HAS_NEW_TAGS:

        def __sklearn_tags__(self) -> Any:
            """Return the default tags."""
            names = "allow_nan", "sparse", "string", "categorical"
            return SimpleNamespace(
                input_tags=SimpleNamespace(**dict.fromkeys(names, False)),
                transformer_tags=SimpleNamespace(preserves_dtype=["float64"]),
            )

        def _more_tags(self) -> dict[str, Any]:
            tags = self.__sklearn_tags__()
            given = tags.input_tags
            kinds = [k for k in ("sparse", "string", "categorical") if vars(given)[k]]
            return {
                "X_types": ["2darray", *kinds],
                "allow_nan": given.allow_nan,
                "preserves_dtype": tags.transformer_tags.preserves_dtype,
            }


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an error; before Python 3.11 it becomes the end of its message."""
    if hasattr(error, "add_note"):
        error.add_note(note)
    elif error.args and isinstance(error.args[0], str):
        error.args = f"{error.args[0]}\n{note}", *error.args[1:]
