"""How scores are distributed, and which lie below the threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._estimators import check_positive, get_latent, open_pipeline, require
from ._labels import read_labels
from ._style import COLORS, add_legend_below, get_ink, make_axes, show_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.patches import StepPatch
    from numpy.typing import ArrayLike, NDArray
    from sklearn.base import BaseEstimator
    from typing_extensions import Self

    from ._labels import Labels
    from ._typing import AnyFigure, Floats, MaybeNone, Table, Values

_MOST_CLASSES = 10
# classes that are filled; of more only outlines are drawn
_MOST_FILLED = 3


class ScoreHistogramDisplay:
    """Plot the distribution of the scores of rows, with the threshold of a detector.

    Use `from_estimator` or `from_scores` to make an instance. With labels there is one
    histogram per class, each of its share of rows, so that classes of any size compare.

    Parameters
    ----------
    scores : ndarray (n_samples,)
        Scores of the rows; higher is more normal.
    y : array-like (n_samples,), default=None
        Classes of the rows, such as normal and anomalous.
    threshold : float, default=None
        Rows with lower scores are outliers.
    unit : str, default=None
        Unit of the scores, for the axis.
    name : str, default=None
        Title of the plot.

    Attributes
    ----------
    edges_ : ndarray (n_bins + 1,)
        Edges of the bars. Scores beyond them count in the first or last.
    areas_ : list of matplotlib StepPatch
        Histograms, one for each class.
    threshold_line_ : matplotlib Line2D or None
        Line at the threshold.
    ax_ : matplotlib Axes
        Axes with the histograms.
    figure_ : matplotlib Figure
        Figure with the axes.

    See Also
    --------
    FeatureScoresDisplay : Plot which columns make a row an outlier.

    Examples
    --------
    >>> from skvae import VAEOutlierDetector
    >>> from skvae.datasets import make_factors
    >>> from skvae.plots import ScoreHistogramDisplay
    >>> X, _ = make_factors(200, 5, 2, random_state=0)
    >>> detector = VAEOutlierDetector(max_epochs=2, random_state=0).fit(X)
    >>> display = ScoreHistogramDisplay.from_estimator(detector, X)
    >>> display.threshold == detector.offset_
    True
    """

    edges_: Floats
    areas_: list[StepPatch]
    threshold_line_: Line2D | MaybeNone
    ax_: Axes
    figure_: AnyFigure

    def __init__(
        self,
        scores: Floats,
        y: Values | None = None,
        *,
        threshold: float | None = None,
        unit: str | None = None,
        name: str | None = None,
    ) -> None:
        self.scores = scores
        self.y = y
        self.threshold = threshold
        self.unit = unit
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Table,
        y: Values | None = None,
        *,
        method: str | None = None,
        ax: Axes | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the scores of the rows of X.

        Parameters
        ----------
        estimator : VAEOutlierDetector, VAETransformer or other estimator
            Fitted, with `score_samples`, also at the end of a pipeline. The threshold
            is its `offset_`, if it has one.
        X : array-like or data frame (n_samples, n_features)
            The rows.
        y : array-like (n_samples,), default=None
            Classes of the rows.
        method : str, default=None
            Passed to `score_samples`; None is the default of the estimator. The
            threshold belongs to this default.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot.
        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        ScoreHistogramDisplay
            The display, with the plotted objects as attributes.
        """
        model, X = open_pipeline(estimator, X)
        require(model, "score_samples")
        options = {} if method is None else {"method": method}
        usual = method in (None, getattr(model, "score_method", None))
        display = cls(
            np.asarray(model.score_samples(X, **options)),
            y,
            threshold=getattr(model, "offset_", None) if usual else None,
            unit="nats" if get_latent(model) is not None else None,
            name=name,
        )
        return display.plot(ax, **kwargs)

    @classmethod
    def from_scores(
        cls,
        scores: ArrayLike,
        y: Values | None = None,
        *,
        threshold: float | None = None,
        unit: str | None = None,
        ax: Axes | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the scores of any model.

        Parameters
        ----------
        scores : array-like (n_samples,)
            Scores of the rows; higher is more normal.
        y : array-like (n_samples,), default=None
            Classes of the rows.
        threshold : float, default=None
            Rows with lower scores are outliers.
        unit : str, default=None
            Unit of the scores.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot.
        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        ScoreHistogramDisplay
            The display, with the plotted objects as attributes.

        Raises
        ------
        ValueError
            If there is no finite score.
        """
        scores = np.asarray(scores, dtype=float)
        if scores.ndim != 1 or not np.isfinite(scores).any():
            raise ValueError(
                f"scores has shape {scores.shape}; one score per row is needed, and at "
                "least one that is finite."
            )
        display = cls(scores, y, threshold=threshold, unit=unit, name=name)
        return display.plot(ax, **kwargs)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        name: str | None = None,
        bins: int | Sequence[float] | NDArray[Any] = 40,
    ) -> Self:
        """Plot the histograms.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot; None is that of the display.
        bins : int or array-like, default=40
            Largest number of bars; few rows have fewer. Or their edges.

        Returns
        -------
        ScoreHistogramDisplay
            This instance.

        Raises
        ------
        ValueError
            If y holds numbers instead of classes.
        """
        if np.ndim(bins) == 0:
            check_positive("bins", bins)
        ax = make_axes(ax)
        labels = read_labels(self.y, len(self.scores), _MOST_CLASSES)
        if labels is not None and labels.values is not None:
            raise ValueError(
                f"y holds numbers such as {labels.values[0]:g}; pass a class for each "
                "row, such as pd.cut(y, 3)."
            )
        scores = np.asarray(self.scores, dtype=float)
        self.edges_ = _find_edges(scores, self.threshold, bins)
        groups = [("", np.arange(len(scores)))]
        groups = groups if labels is None else labels.list_groups()
        self.areas_ = []
        for number, (text, rows) in enumerate(groups):
            color = COLORS[number % len(COLORS)]
            self._draw(ax, scores[rows], text, color, len(groups))
        self.threshold_line_ = None
        if self.threshold is not None and np.isfinite(self.threshold):
            text = f"threshold {show_number(self.threshold)}"
            style: dict[str, Any]
            style = {"color": get_ink(ax), "linestyle": "--", "linewidth": 1.2}
            self.threshold_line_ = ax.axvline(self.threshold, label=text, **style)
        self._set_axes(ax, scores, labels, name)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw(
        self, ax: Axes, scores: Floats, text: str, color: str, n_groups: int
    ) -> None:
        low, high = self.edges_[0], self.edges_[-1]
        known = scores[~np.isnan(scores)]
        heights = np.histogram(np.clip(known, low, high), self.edges_)[0].astype(float)
        if self.y is not None:
            heights /= max(len(scores), 1)
        size = f"{len(scores)} row{'s' * (len(scores) != 1)}"
        label = f"{text} ({size})" if text else size
        if self.threshold is not None:
            below = np.mean(known < self.threshold) if len(known) else 0.0
            label += f", {below:.1%} below"
        if n_groups <= _MOST_FILLED:
            ax.stairs(heights, self.edges_, fill=True, color=color, alpha=0.3)
        line = ax.stairs(heights, self.edges_, label=label, color=color, linewidth=1.5)
        self.areas_.append(line)

    def _set_axes(
        self, ax: Axes, scores: Floats, labels: Labels | None, name: str | None
    ) -> None:
        notes = []
        for beyond, word, edge in (
            (scores < self.edges_[0], "below", self.edges_[0]),
            (scores > self.edges_[-1], "above", self.edges_[-1]),
        ):
            if beyond.any():
                end = "first" if word == "below" else "last"
                notes.append(f"all {word} {show_number(edge)} in the {end} bar")
        unit = "" if self.unit is None else f", {self.unit}"
        note = f"\n({'; '.join(notes)})" if notes else ""
        ax.set_xlabel(f"score{unit} (higher is more normal){note}")
        ax.set_ylabel("rows" if labels is None else "share of the rows of a class")
        ax.set_ylim(bottom=0)
        margin = 0.04 * (self.edges_[-1] - self.edges_[0])
        ax.set_xlim(self.edges_[0] - margin, self.edges_[-1] + margin)
        name = self.name if name is None else name
        if name is not None:
            ax.set_title(name)
        title = None if labels is None else labels.name
        add_legend_below(ax, n_lines=2 if notes else 1, title=title)


def _find_edges(scores: Floats, threshold: float | None, bins: Any) -> Floats:
    """Return edges of bars for most of the scores, and for the threshold."""
    if np.ndim(bins):
        return np.asarray(bins, dtype=float)
    known = scores[np.isfinite(scores)]
    ends = np.quantile(known, [0.05, 0.95])
    margin = 0.25 * (ends[1] - ends[0])
    low = max(known.min(), ends[0] - margin)
    high = min(known.max(), ends[1] + margin)
    if threshold is not None and np.isfinite(threshold):
        # one far off would leave no room for the scores
        reach = 2 * (high - low)
        is_near = low - reach <= threshold <= high + reach
        inside = (low, high, threshold) if is_near else (low, high)
        low, high = min(inside), max(inside)
    if low == high:
        low, high = low - 0.5, high + 0.5
    n_bins = int(np.clip(2 * len(known) ** 0.5, 5, bins))
    return np.linspace(low, high, n_bins + 1)
