"""Bars that explain an outlier: the score of each column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ._estimators import check_positive, get_feature_names, open_pipeline, require
from ._style import BAD, GOOD, get_ink, make_axes, shorten, show_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from numpy.typing import ArrayLike, NDArray
    from sklearn.base import BaseEstimator
    from typing_extensions import Self

    from ._typing import AnyFigure, Floats, Table

_EXPLAINED = "log p(cell | rest) above the usual, nats"


class FeatureScoresDisplay:
    """Plot which columns make a row an outlier.

    Use `from_estimator` or `from_scores` to make an instance.

    Parameters
    ----------
    scores : ndarray (n_features,)
        Scores of the columns from `VAEOutlierDetector.explain`, nats.
    values : sequence (n_features,) or None
        Values of the row; None writes the names alone.
    feature_names : sequence of str (n_features,)
        Names of the columns.
    score_name : str, default='log p(cell | rest) above the usual, nats'
        What the scores are, for the axis.
    name : str, default=None
        Title of the plot.

    Attributes
    ----------
    order_ : ndarray of int (n_shown,)
        Numbers of the shown columns, the lowest score first.
    ax_ : matplotlib Axes
        Axes with the bars.
    figure_ : matplotlib Figure
        Figure with the axes.
    bars_ : matplotlib BarContainer
        One bar per column, from top to bottom.

    See Also
    --------
    skvae.VAEOutlierDetector.explain : Compute the scores.

    Examples
    --------
    >>> from skvae import VAEOutlierDetector
    >>> from skvae.datasets import make_factors
    >>> from skvae.plots import FeatureScoresDisplay
    >>> X, _ = make_factors(200, 5, 2, random_state=0)
    >>> X[0, 4] += 20
    >>> detector = VAEOutlierDetector(max_epochs=2, random_state=0).fit(X)
    >>> display = FeatureScoresDisplay.from_estimator(detector, X[:1])
    >>> int(display.order_[0])
    4
    """

    order_: NDArray[np.intp]
    ax_: Axes
    figure_: AnyFigure
    bars_: BarContainer

    def __init__(
        self,
        scores: Floats,
        values: Sequence[Any] | None,
        feature_names: Sequence[str],
        *,
        score_name: str = _EXPLAINED,
        name: str | None = None,
    ) -> None:
        self.scores = scores
        self.values = values
        self.feature_names = feature_names
        self.score_name = score_name
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Table,
        *,
        n_features: int = 10,
        ax: Axes | None = None,
        name: str | None = None,
    ) -> Self:
        """Plot the explanation of one row.

        Parameters
        ----------
        estimator : VAEOutlierDetector
            The fitted detector, also at the end of a pipeline.
        X : array-like or data frame (1, n_features)
            The row.
        n_features : int, default=10
            Largest number of columns to show: those with the lowest scores.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot.

        Returns
        -------
        FeatureScoresDisplay
            The display, with the plotted objects as attributes.

        Raises
        ------
        ValueError
            If X has more than one row.
        """
        model, rows = open_pipeline(estimator, X)
        require(model, "explain", "; pass scores of its own to from_scores")
        scores = np.asarray(model.explain(rows))
        if len(scores) != 1:
            raise ValueError(
                f"X has {len(scores)} rows, but a plot explains one row; pass X[:1], "
                "or X.iloc[[0]]."
            )
        if sparse.issparse(rows):
            rows = rows.toarray()
        if hasattr(rows, "column_names"):
            # a table of pyarrow
            rows = rows.to_pandas()
        names = get_feature_names(estimator, rows)
        # column by column, because a row of a data frame has one dtype for all values
        if hasattr(rows, "columns"):
            values = [np.asarray(rows[name])[0] for name in rows.columns]
        else:
            values = list(np.asarray(rows, dtype=object).reshape(-1))
        display = cls(scores[0], values, names, name=name)
        return display.plot(n_features=n_features, ax=ax)

    @classmethod
    def from_scores(
        cls,
        scores: ArrayLike,
        values: Sequence[Any] | None = None,
        *,
        feature_names: Sequence[str] | None = None,
        score_name: str = "score (lower is less usual)",
        n_features: int = 10,
        ax: Axes | None = None,
        name: str | None = None,
    ) -> Self:
        """Plot the scores of the columns of one row, of any model.

        Parameters
        ----------
        scores : array-like (n_features,)
            Scores of the columns; lower is less usual, and 0 is usual.
        values : sequence (n_features,), default=None
            Values of the row; None writes the names alone.
        feature_names : sequence of str (n_features,), default=None
            Names of the columns; None is ``x0, x1, ...``.
        score_name : str, default='score (lower is less usual)'
            What the scores are, for the axis.
        n_features : int, default=10
            Largest number of columns to show: those with the lowest scores.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot.

        Returns
        -------
        FeatureScoresDisplay
            The display, with the plotted objects as attributes.

        Raises
        ------
        ValueError
            If there is not one score, value and name for each column.
        """
        scores = np.asarray(scores, dtype=np.float64)
        if scores.ndim != 1 or not len(scores):
            raise ValueError(
                f"scores has shape {scores.shape}; one score per column of one row is "
                "needed."
            )
        values = None if values is None else list(values)
        if feature_names is None:
            feature_names = [f"x{j}" for j in range(len(scores))]
        for argument, given in ("values", values), ("feature_names", feature_names):
            if given is not None and len(given) != len(scores):
                raise ValueError(
                    f"{argument} has {len(given)} entries, but scores has "
                    f"{len(scores)}."
                )
        names = [str(feature) for feature in feature_names]
        display = cls(scores, values, names, score_name=score_name, name=name)
        return display.plot(ax, n_features=n_features)

    def plot(
        self, ax: Axes | None = None, *, name: str | None = None, n_features: int = 10
    ) -> Self:
        """Plot the scores.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot; None is that of the display.
        n_features : int, default=10
            Largest number of columns to show.

        Returns
        -------
        FeatureScoresDisplay
            This instance.

        Raises
        ------
        ValueError
            If `n_features` is less than 1.
        """
        check_positive("n_features", n_features)
        ax = make_axes(ax)
        self.order_ = np.argsort(self.scores, kind="stable")[:n_features]
        labels = [shorten(self.feature_names[j]) for j in self.order_]
        if self.values is not None:
            texts = [_show(self.values[j]) for j in self.order_]
            labels = [" = ".join(pair) for pair in zip(labels, texts, strict=True)]
        shown = self.scores[self.order_]
        colors = np.where(shown < 0, BAD, GOOD)
        self.bars_ = ax.barh(range(len(shown)), shown, color=list(colors))
        ax.set_yticks(range(len(shown)), labels)
        ax.invert_yaxis()
        ax.axvline(0.0, color=get_ink(ax), linewidth=0.8)
        ax.set_xlabel(self.score_name)
        name = self.name if name is None else name
        if name is not None:
            ax.set_title(name)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _show(value: object) -> str:
    """Return a value as a short text."""
    if isinstance(value, (float, np.floating)):
        return show_number(value).replace("−", "-")
    return shorten(value)
