"""Rows beside what the model makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .._columns import count_rows
from ._estimators import check_positive, get_feature_names, open_pipeline, require
from ._images import Sheet, find_image_shape, find_range, find_sheet_size, to_images
from ._panels import draw_agreement, measure_agreement
from ._style import (
    COLORS,
    choose_width,
    get_ink,
    make_axes,
    make_grid,
    set_title,
    shorten,
)
from ._tables import choose_columns, read_columns, read_names, take_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator
    from typing_extensions import Self

    from ._tables import Column
    from ._typing import AnyFigure, AxesOrMany, Columns, Floats, MaybeNone, Table

# columns with a panel each; of more tables bars are drawn
_MOST_PANELS = 12
_MOST_BARS = 40
_NO_WAY = "; pass both tables to from_rows"


class ReconstructionDisplay:
    """Plot rows beside their reconstruction: images, or the columns of a table.

    Use `from_estimator` or `from_rows` to make an instance. Images are drawn above
    their reconstructions. A table with up to twelve columns has one panel for each:
    numbers are points along a diagonal, and levels a matrix of shares. Of wider tables,
    bars show the share that is kept of each column, the least first.

    Parameters
    ----------
    X : array-like or data frame (n_samples, n_features)
        The rows.
    rebuilt : array-like or data frame (n_samples, n_features)
        Their reconstructions.
    feature_names : sequence of str (n_features,), default=None
        Names of the columns; None takes those of X.
    image_shape : tuple of int, default=None
        (height, width) or (channels, height, width) of images; None for tables.
    name : str, default=None
        Title of the plot.

    Attributes
    ----------
    image_ : matplotlib AxesImage or None
        All images as one.
    kept_ : ndarray (n_shown,) or None
        R² of columns of numbers, share of right values of others, in the order drawn.
        NaN for constant columns.
    order_ : ndarray of int (n_shown,) or None
        Numbers of the shown columns.
    artists_ : list
        Points or matrices of the panels, or the bars.
    axes_ : ndarray of matplotlib Axes
        All panels.
    ax_ : matplotlib Axes
        The first of them.
    figure_ : matplotlib Figure
        Figure with the axes.

    See Also
    --------
    SamplesDisplay : Plot new rows beside real ones.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> from skvae.plots import ReconstructionDisplay
    >>> X = load_iris().data
    >>> vae = VAETransformer(2, max_epochs=2, random_state=0).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(vae, X)
    >>> len(display.axes_)
    4
    """

    X: Any
    rebuilt: Any
    image_: AxesImage | MaybeNone
    kept_: Floats | MaybeNone
    order_: NDArray[np.intp] | MaybeNone
    artists_: list[Any]
    axes_: NDArray[Any]
    ax_: Axes
    figure_: AnyFigure

    def __init__(
        self,
        X: Table,
        rebuilt: Table,
        *,
        feature_names: Sequence[str] | None = None,
        image_shape: Sequence[int] | None = None,
        name: str | None = None,
    ) -> None:
        self.X = X
        self.rebuilt = rebuilt
        self.feature_names = feature_names
        self.image_shape = image_shape
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Table,
        *,
        image_shape: Sequence[int] | None = None,
        ax: AxesOrMany | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot rows and what the estimator makes of them.

        Parameters
        ----------
        estimator : VAETransformer or other transformer
            Fitted, also at the end of a pipeline. Others than a VAE need
            `inverse_transform`.
        X : array-like or data frame (n_samples, n_features)
            The rows.
        image_shape : tuple of int, default=None
            (height, width) or (channels, height, width) of images; None is that of the
            estimator.
        ax : matplotlib Axes or array of them, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot.
        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        ReconstructionDisplay
            The display, with the plotted objects as attributes.
        """
        model, X = open_pipeline(estimator, X)
        if hasattr(model, "reconstruct"):
            rebuilt = model.reconstruct(X)
        else:
            require(model, "inverse_transform", _NO_WAY)
            rebuilt = model.inverse_transform(model.transform(X))
        shape = find_image_shape(model, image_shape)
        names = get_feature_names(estimator, X) if shape is None else None
        display = cls(X, rebuilt, feature_names=names, image_shape=shape, name=name)
        return display.plot(ax, **kwargs)

    @classmethod
    def from_rows(
        cls,
        X: Table,
        rebuilt: Table,
        *,
        image_shape: Sequence[int] | None = None,
        ax: AxesOrMany | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot rows and reconstructions of any model.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            The rows.
        rebuilt : array-like or data frame (n_samples, n_features)
            Their reconstructions.
        image_shape : tuple of int, default=None
            (height, width) or (channels, height, width) of images; None for tables.
        ax : matplotlib Axes or array of them, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot.
        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        ReconstructionDisplay
            The display, with the plotted objects as attributes.
        """
        shape = find_image_shape(None, image_shape)
        return cls(X, rebuilt, image_shape=shape, name=name).plot(ax, **kwargs)

    def plot(
        self,
        ax: AxesOrMany | None = None,
        *,
        name: str | None = None,
        n_images: int = 10,
        columns: Columns | None = None,
        kind: Literal["auto", "panels", "bars"] = "auto",
        **kwargs: Any,
    ) -> Self:
        """Plot rows and reconstructions.

        Parameters
        ----------
        ax : matplotlib Axes or array of them, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot; None is that of the display.
        n_images : int, default=10
            Number of images, the first ones.
        columns : sequence of str or int, default=None
            Columns of a table, by name or number; None is all.
        kind : {'auto', 'panels', 'bars'}, default='auto'
            How tables are drawn. 'auto' is 'panels' up to twelve columns.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.imshow` for images.

        Returns
        -------
        ReconstructionDisplay
            This instance.

        Raises
        ------
        ValueError
            If `kind` or a column is not known, or the tables differ in rows.
        """
        if kind not in ("auto", "panels", "bars"):
            raise ValueError(
                f"kind={kind!r}; 'auto', 'panels' and 'bars' are accepted."
            )
        check_positive("n_images", n_images)
        n_rows, n_rebuilt = count_rows(self.X), count_rows(self.rebuilt)
        if n_rows != n_rebuilt:
            raise ValueError(f"X has {n_rows} rows, but rebuilt has {n_rebuilt}.")
        self.image_ = self.kept_ = self.order_ = None
        name = self.name if name is None else name
        if self.image_shape is not None:
            self._draw_images(ax, self.image_shape, n_images, kwargs)
        else:
            self._draw_table(ax, columns, kind)
        set_title(self.axes_, ax, name)
        self.ax_ = self.axes_[0]
        self.figure_ = self.ax_.figure
        return self

    def _draw_images(
        self,
        ax: AxesOrMany | None,
        shape: Sequence[int],
        n_images: int,
        style: dict[str, Any],
    ) -> None:
        tables = take_first(self.X, n_images), take_first(self.rebuilt, n_images)
        images = np.stack([to_images(table, shape) for table in tables])
        size = find_sheet_size(2, images.shape[1], images.shape[2:4])
        axis = make_axes(ax, *size)
        limits = find_range(images[0])
        self.image_ = Sheet(images).draw(
            axis, limits, rows=("real", "reconstructed"), **style
        )
        self.axes_, self.artists_ = np.array([axis], dtype=object), [self.image_]

    def _draw_table(
        self, ax: AxesOrMany | None, columns: Columns | None, kind: str
    ) -> None:
        names = self.feature_names or read_names(self.X)
        chosen = choose_columns(columns, names)
        found = read_columns([self.X, self.rebuilt], names, chosen)
        if kind == "auto":
            kind = "panels" if len(found) <= _MOST_PANELS else "bars"
        if kind == "bars":
            self._draw_bars(ax, found, np.array(chosen))
            return
        n_columns = choose_width(len(found))
        self.axes_ = make_grid(len(found), ax, n_columns)
        drawn = [
            draw_agreement(axis, column, COLORS[0])
            for axis, column in zip(self.axes_, found, strict=True)
        ]
        self.artists_ = [artist for artist, _ in drawn]
        self.kept_ = np.array([share for _, share in drawn])
        self.order_ = np.array(chosen)

    def _draw_bars(
        self, ax: AxesOrMany | None, found: list[Column], chosen: NDArray[np.intp]
    ) -> None:
        kept = np.array([measure_agreement(column) for column in found])
        ranked = np.argsort(kept, kind="stable")[:_MOST_BARS]
        self.kept_, self.order_ = kept[ranked], chosen[ranked]
        axis = make_axes(ax, 6.4, max(2.4, 0.2 * len(ranked) + 1.4))
        has_levels = np.array([bool(found[k].levels) for k in ranked])
        place = np.arange(len(ranked))
        # a reconstruction may be far worse than the mean
        shown = np.clip(np.nan_to_num(self.kept_), -0.2, 1)
        artists = []
        for chosen_bars, color, text in (
            (~has_levels, COLORS[0], "numbers: R²"),
            (has_levels, COLORS[1], "levels: share of right values"),
        ):
            if chosen_bars.any():
                bars = axis.barh(
                    place[chosen_bars], shown[chosen_bars], color=color, label=text
                )
                artists.append(bars)
        for row, share in enumerate(self.kept_):
            text = "constant" if np.isnan(share) else f"{share:.2f}"
            end = max(shown[row], 0.0) + 0.01
            ink = get_ink(axis)
            axis.text(end, row, text, va="center", fontsize="x-small", color=ink)
        texts = [shorten(found[k].name, 32) for k in ranked]
        axis.set_yticks(place, texts, fontsize="small")
        axis.set(xlim=(min(shown.min(), 0), 1.12), xlabel="share that is kept")
        axis.set_ylim(len(ranked) - 0.4, -0.6)
        if len(found) > len(ranked):
            axis.set_ylabel(f"{len(ranked)} of {len(found)} columns, the least kept")
        axis.legend(
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=2,
            fontsize="small",
            frameon=False,
            labelcolor=get_ink(axis),
        )
        self.axes_, self.artists_ = np.array([axis], dtype=object), artists
