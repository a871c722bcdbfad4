"""New rows of rare classes, by the conventions of imbalanced-learn.

imbalanced-learn is imported when rows are drawn, not before.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, clone
from sklearn.utils import check_consistent_length
from sklearn.utils.multiclass import check_classification_targets

from .._columns import (
    cast_rows,
    check_type,
    check_unique_names,
    convert_array,
    find_wrapper,
    join_rows,
    make_array_like,
    make_dense,
    take_rows,
    unwrap,
    wrap,
)
from .._estimator import VAETransformer
from .._utils._compat import validate_data
from .._utils._random_state import SEED_LIMIT, make_generator
from .._utils._site import SiteLinkMixin

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from .._utils._typing import RandomState, Table


class VAEOverSampler(OneToOneFeatureMixin, SiteLinkMixin, BaseEstimator):
    r"""Draw new rows of rare classes, each from a density of its own.

    A VAE is fitted to the rows of every class that is to grow, and the rows that it
    lacks are drawn from it,

    .. math:: x_{new} \sim p(x | y = k) = \int p_k(x | z)\, p_k(z)\, dz.

    It is a sampler as those of imbalanced-learn, which must be installed: with
    ``fit_resample``, and for ``imblearn.pipeline.make_pipeline``. Tables of numbers,
    categories, booleans and datetimes need no encoder, and cells may be missing: a
    drawn row lacks the cells that a row of its class lacks.

    Try ``class_weight="balanced"``, or another threshold, first: both cost nothing, and
    are as good for linear classifiers. See the :doc:`page on synthetic rows
    </user_guide/synthetic>` for what was measured.

    Parameters
    ----------
    sampling_strategy : float, str, dict or callable, default='auto'
        Which classes grow, and to how many rows, in the words of imbalanced-learn.
        'auto' and 'not majority': all but the most frequent class, to its number of
        rows. A float, for two classes, is the ratio of their numbers afterwards; a dict
        has the number of rows by class.
    estimator : VAETransformer, default=None
        The density of a class. None is ``VAETransformer(density="joint")``, which is
        fitted faster than with the other densities, and draws as well.
    random_state : int, RandomState or None, default=None
        None draws a seed from numpy's global generator, as scikit-learn does. The
        `random_state` of `estimator` is not used.

    Attributes
    ----------
    sampling_strategy_ : dict
        Number of new rows by class.
    estimators_ : dict
        The fitted `VAETransformer` of every class that has grown.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray (`n_features_in_`,)
        Names of the columns, if X had any.

    See Also
    --------
    VAETransformer.sample : Draws rows, also with given values of some columns.

    Notes
    -----
    A class needs two rows, and a good density some thirty. Of a class with fewer, more
    copies (``imblearn.over_sampling.RandomOverSampler``) are the honest choice.

    References
    ----------
    Chawla, Bowyer, Hall & Kegelmeyer (2002), "SMOTE: synthetic minority over-sampling
    technique", for the problem. Elor & Averbuch-Elor (2022), "To SMOTE, or not to
    SMOTE?", for when to leave it.

    Examples
    --------
    >>> from skvae import VAEOverSampler
    >>> VAEOverSampler(sampling_strategy=0.5, random_state=0)
    VAEOverSampler(random_state=0, sampling_strategy=0.5)
    """

    _estimator_type = "sampler"

    def __init__(
        self,
        *,
        sampling_strategy: float | str | dict[Any, int] | Callable[..., Any] = "auto",
        estimator: VAETransformer | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.sampling_strategy = sampling_strategy
        self.estimator = estimator
        self.random_state = random_state

    def fit(self, X: Table, y: Any) -> Self:
        """Check the rows and find out which classes lack rows.

        Use `fit_resample`; this is there for imbalanced-learn's convention.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Rows of all classes.
        y : array-like (n_samples,)
            Their classes.

        Returns
        -------
        VAEOverSampler
            The sampler itself.
        """
        self._read(X, y)
        return self

    def fit_resample(self, X: Table, y: Any) -> tuple[Any, Any]:
        """Return the rows, and behind them new ones of the classes that lack some.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame (n_samples, n_features)
            Rows of all classes, as for `VAETransformer`. Only the rows of the classes
            that grow are made dense.
        y : array-like (n_samples,)
            Their classes; or one column for each class, of 0 and 1.

        Returns
        -------
        X_resampled : of the type of X (n_samples + n_new, n_features)
            The rows of X, unchanged, and new ones. Data frames of pandas are numbered
            anew.
        y_resampled : of the type of y (n_samples + n_new,)
            Their classes.

        Raises
        ------
        ImportError
            If imbalanced-learn is not installed.
        ValueError
            If y does not hold classes, or the rows of a class cannot be fitted.
        """
        table, labels = self._read(X, y)
        generator = make_generator(self.random_state)
        found, tables, targets = {}, [table], [_open_target(y)]
        for label, n_new in self.sampling_strategy_.items():
            if not n_new:
                continue
            members = np.flatnonzero(labels == label)
            rows = make_dense(take_rows(table, members))
            found[label] = self._fit_class(rows, len(members), label, generator)
            drawn, like = _draw(found[label], rows, n_new, generator)
            tables.append(cast_rows(drawn, table))
            targets.append(take_rows(targets[0], members[like]))
        self.estimators_ = found
        rows = wrap(join_rows(tables), find_wrapper(X))
        return rows, make_array_like(y, join_rows(targets))

    def _read(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Return the table, and the classes as an array, and find what they lack."""
        imblearn = _import_imblearn(type(self).__name__)
        if not isinstance(self.estimator, (VAETransformer, type(None))):
            raise TypeError(
                f"estimator={self.estimator!r} must be a VAETransformer, or None."
            )
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y, the classes of the rows; y=None "
                "has none."
            )
        table = unwrap(X)
        check_type(table, "X", type(self).__name__)
        check_unique_names(table)
        table = convert_array(table, "X")
        validate_data(self, table, reset=True, skip_check_array=True)
        target = np.asarray(_open_target(y))
        check_classification_targets(target)
        check_consistent_length(table, target)
        labels = imblearn.check_target_type(target)
        self.sampling_strategy_ = dict(
            imblearn.check_sampling_strategy(
                self.sampling_strategy, labels, "over-sampling"
            )
        )
        return table, labels

    def _fit_class(self, rows: Any, n_rows: int, label: Any, generator: Any) -> Any:
        """Return the density of a class."""
        # a value of Python, for messages
        label = label.item() if isinstance(label, np.generic) else label
        if n_rows < 2:
            raise ValueError(
                f"Class {label!r} has one row, but new ones are drawn from two or "
                "more; leave it out of sampling_strategy, or repeat it with "
                "RandomOverSampler."
            )
        estimator = self.estimator
        if estimator is None:
            estimator = VAETransformer(density="joint")
        vae = clone(estimator).set_params(random_state=_draw_seed(generator))
        try:
            return vae.fit(rows)
        except ValueError as error:
            raise ValueError(f"The rows of class {label!r}: {error}") from error

    def __sklearn_tags__(self) -> Any:
        """Return the tags; those of samplers if imbalanced-learn is there."""
        if "imblearn" not in sys.modules:
            return super().__sklearn_tags__()
        from imblearn.base import BaseSampler

        tags = BaseSampler.__sklearn_tags__(self)
        for name in ("allow_nan", "string", "categorical"):
            setattr(tags.input_tags, name, True)
        return tags

    def _more_tags(self) -> dict[str, Any]:
        # before scikit-learn 1.6
        kinds = ["2darray", "string", "categorical", "sparse", "dataframe"]
        return {"X_types": kinds, "allow_nan": True}


def _import_imblearn(name: str) -> Any:
    try:
        import imblearn.utils
    except ImportError as error:
        raise ImportError(
            f"{name} needs imbalanced-learn; install it with "
            "'pip install imbalanced-learn'."
        ) from error
    return imblearn.utils


def _open_target(y: Any) -> Any:
    """Return a target of classes without what wraps it."""
    y = convert_array(unwrap(y), "y")
    return y.to_native() if hasattr(y, "to_native") else y


def _draw_seed(generator: Any) -> int:
    return int(generator.integers(SEED_LIMIT))


def _draw(vae: Any, rows: Any, n_new: int, generator: Any) -> tuple[Any, Any]:
    """Return new rows, and the numbers of rows that lack the same cells."""
    drawn = vae.sample(n_new, random_state=_draw_seed(generator))
    _, values = vae._open(rows)
    like = generator.integers(len(values), size=n_new)
    missing = np.isnan(values)[like]
    if missing.any():
        _, values = vae._open(drawn)
        drawn = vae.columns_.make_output(np.where(missing, np.nan, values))
    return drawn, like
