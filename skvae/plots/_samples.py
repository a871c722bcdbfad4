"""New rows beside real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .._columns import count_rows
from ._estimators import check_positive, get_feature_names, open_pipeline, require
from ._images import (
    Sheet,
    find_image_shape,
    find_range,
    find_sheet_size,
    to_images,
    wrap,
)
from ._panels import draw_marginal, draw_pair, measure_difference
from ._style import (
    COLORS,
    choose_width,
    get_ink,
    get_muted,
    make_axes,
    make_grid,
    set_title,
    shorten,
)
from ._tables import choose_columns, read_columns, read_names, take_first

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from matplotlib.legend import Legend
    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator
    from typing_extensions import Self

    from ._tables import Column
    from ._typing import (
        AnyFigure,
        AxesOrMany,
        Columns,
        Floats,
        MaybeNone,
        RandomState,
        Table,
    )

_MOST_PANELS, _MOST_PAIRED = 12, 4
_N_IMAGES, _N_ROWS = 25, 1000
_NO_WAY = "; pass both tables to from_samples"


class SamplesDisplay:
    """Plot rows drawn from the model beside real ones.

    Use `from_estimator` or `from_samples` to make an instance. Tables are drawn as one
    histogram for each column, or as all pairs of some columns; images as two grids.

    Parameters
    ----------
    drawn : array-like or data frame (n_drawn, n_features)
        Rows from the model.
    real : array-like or data frame (n_real, n_features), default=None
        Rows to compare with.
    feature_names : sequence of str (n_features,), default=None
        Names of the columns; None takes those of `drawn`.
    image_shape : tuple of int, default=None
        (height, width) or (channels, height, width) of images; None for tables.
    name : str, default=None
        Title of the plot.

    Attributes
    ----------
    image_ : matplotlib AxesImage or None
        All images as one.
    order_ : ndarray of int (n_shown,) or None
        Numbers of the shown columns.
    differences_ : ndarray (n_shown,) or None
        Difference between real and drawn values of each column, 0 to 1: the
        Kolmogorov-Smirnov distance of numbers, the total variation of levels.
    artists_ : list
        What is in the panels: for a marginal one artist per table, real rows first,
        for a pair the points.
    axes_ : ndarray of matplotlib Axes
        All panels; square for pairs.
    legend_ : matplotlib Legend or None
        Which colour is which table.
    ax_ : matplotlib Axes
        The first of them.
    figure_ : matplotlib Figure
        Figure with the axes.

    See Also
    --------
    ReconstructionDisplay : Plot rows beside their reconstruction.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> from skvae.plots import SamplesDisplay
    >>> X = load_iris().data
    >>> vae = VAETransformer(2, max_epochs=2, random_state=0).fit(X)
    >>> display = SamplesDisplay.from_estimator(vae, X, kind="pairs")
    >>> display.axes_.shape
    (4, 4)
    """

    drawn: Any
    real: Any
    image_: AxesImage | MaybeNone
    order_: NDArray[np.intp] | MaybeNone
    differences_: Floats | MaybeNone
    artists_: list[Any]
    axes_: NDArray[Any]
    legend_: Legend | MaybeNone
    ax_: Axes
    figure_: AnyFigure

    def __init__(
        self,
        drawn: Table,
        real: Table | None = None,
        *,
        feature_names: Sequence[str] | None = None,
        image_shape: Sequence[int] | None = None,
        name: str | None = None,
    ) -> None:
        self.drawn = drawn
        self.real = real
        self.feature_names = feature_names
        self.image_shape = image_shape
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Table | None = None,
        *,
        n_samples: int | None = None,
        given: Mapping[Any, Any] | None = None,
        mean: bool = False,
        random_state: RandomState = 0,
        image_shape: Sequence[int] | None = None,
        ax: AxesOrMany | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw rows from the estimator and plot them.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted, also at the end of a pipeline.
        X : array-like or data frame (n_samples, n_features), default=None
            Real rows to compare with. With `given`, pass those that meet the condition.
        n_samples : int, default=None
            Number of rows to draw; None is 25 images, or as many rows as X, at most a
            thousand.
        given, mean : optional
            Passed to `sample`.
        random_state : int, RandomState or None, default=0
            Passed to `sample`; the same number draws the same rows.
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
        SamplesDisplay
            The display, with the plotted objects as attributes.
        """
        model, rows = open_pipeline(estimator, X)
        require(model, "sample", _NO_WAY)
        shape = find_image_shape(model, image_shape)
        if n_samples is None:
            n_samples = _N_IMAGES
            if shape is None:
                n_samples = _N_ROWS if rows is None else min(count_rows(rows), _N_ROWS)
        drawn = model.sample(
            n_samples, random_state=random_state, mean=mean, given=given
        )
        names = get_feature_names(estimator, rows) if shape is None else None
        display = cls(drawn, rows, feature_names=names, image_shape=shape, name=name)
        return display.plot(ax, **kwargs)

    @classmethod
    def from_samples(
        cls,
        drawn: Table,
        real: Table | None = None,
        *,
        image_shape: Sequence[int] | None = None,
        ax: AxesOrMany | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot rows drawn from any model.

        Parameters
        ----------
        drawn : array-like or data frame (n_drawn, n_features)
            Rows from the model.
        real : array-like or data frame (n_real, n_features), default=None
            Rows to compare with.
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
        SamplesDisplay
            The display, with the plotted objects as attributes.
        """
        shape = find_image_shape(None, image_shape)
        return cls(drawn, real, image_shape=shape, name=name).plot(ax, **kwargs)

    def plot(
        self,
        ax: AxesOrMany | None = None,
        *,
        name: str | None = None,
        kind: Literal["marginals", "pairs"] = "marginals",
        columns: Columns | None = None,
        n_columns: int | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot drawn and real rows.

        Parameters
        ----------
        ax : matplotlib Axes or array of them, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot; None is that of the display.
        kind : {'marginals', 'pairs'}, default='marginals'
            How tables are drawn: each column by itself, or all pairs.
        columns : sequence of str or int, default=None
            Columns of a table, by name or number. None is all for marginals (of more
            than twelve those that differ most), and the first four for pairs.
        n_columns : int, default=None
            Images in a row of the grid; None makes it square.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.imshow` for images.

        Returns
        -------
        SamplesDisplay
            This instance.

        Raises
        ------
        ValueError
            If `kind` or a column is not known.
        """
        if kind not in ("marginals", "pairs"):
            raise ValueError(f"kind={kind!r}; 'marginals' and 'pairs' are accepted.")
        if n_columns is not None:
            check_positive("n_columns", n_columns)
        self.image_ = self.order_ = self.differences_ = self.legend_ = None
        name = self.name if name is None else name
        if self.image_shape is not None:
            self._draw_images(ax, self.image_shape, n_columns, kwargs)
        else:
            self._draw_table(ax, columns, kind)
        set_title(self.axes_.ravel(), ax, name)
        self.ax_ = self.axes_.ravel()[0]
        self.figure_ = self.ax_.figure
        return self

    def _draw_images(
        self,
        ax: AxesOrMany | None,
        shape: Sequence[int],
        n_columns: int | None,
        style: dict[str, Any],
    ) -> None:
        n_drawn = count_rows(self.drawn)
        parts = [to_images(take_first(self.drawn, n_drawn), shape)]
        if self.real is not None:
            real = to_images(take_first(self.real, n_drawn), shape)
            parts.insert(0, real)
        n_columns = n_columns or int(np.ceil(n_drawn**0.5))
        grids = [wrap(part, n_columns) for part in parts]
        n_rows = max(len(grid) for grid in grids)
        filled = []
        for grid in grids:
            rest = np.full((n_rows - len(grid), *grid.shape[1:]), np.nan)
            filled += [np.concatenate([grid, rest])]
        # an empty column between real and drawn images
        gap = np.full((n_rows, 1, *grids[0].shape[2:]), np.nan)
        images = np.concatenate(
            [filled[0], *(p for g in filled[1:] for p in (gap, g))], 1
        )
        size = find_sheet_size(len(images), images.shape[1], images.shape[2:4], 0.7)
        axis = make_axes(ax, *size)
        sheet = Sheet(images)
        self.image_ = sheet.draw(axis, find_range(parts[0]), **style)
        if len(parts) == 2:
            middle = (n_columns - 1) / 2
            step = sheet.width + sheet.gap
            centres = [
                (k + middle) * step + (sheet.width - 1) / 2 for k in (0, n_columns + 1)
            ]
            axis.set_xticks(centres, ["real", "drawn"])
        self.axes_, self.artists_ = np.array([axis], dtype=object), [self.image_]

    def _draw_table(
        self, ax: AxesOrMany | None, columns: Columns | None, kind: str
    ) -> None:
        tables = [self.drawn] if self.real is None else [self.real, self.drawn]
        names = self.feature_names or read_names(self.drawn)
        chosen = np.array(choose_columns(columns, names))
        if kind == "pairs" and columns is None:
            chosen = chosen[:_MOST_PAIRED]
        found = read_columns(tables, names, chosen)
        n_all = len(found)
        if len(tables) == 2:
            distances = np.array([measure_difference(column) for column in found])
        else:
            distances = np.zeros(n_all)
        if kind == "marginals" and columns is None and n_all > _MOST_PANELS:
            # in the order of the table
            kept = np.sort(np.argsort(-distances, kind="stable")[:_MOST_PANELS])
            found = [found[k] for k in kept]
            chosen, distances = chosen[kept], distances[kept]
        self.order_ = chosen
        self.differences_ = distances if len(tables) == 2 else None
        draw = self._draw_pairs if kind == "pairs" else self._draw_marginals
        draw(ax, found, ["real", "drawn"][-len(tables) :], n_all)

    def _draw_marginals(
        self,
        ax: AxesOrMany | None,
        found: list[Column],
        names: list[str],
        n_all: int,
    ) -> None:
        n_columns = choose_width(len(found))
        self.axes_ = make_grid(len(found), ax, n_columns, height=2.2)
        colors = self._choose_colors(self.axes_[0], names)
        self.artists_ = [
            draw_marginal(axis, column, names, colors)
            for axis, column in zip(self.axes_, found, strict=True)
        ]
        note = None
        if n_all > len(found):
            which = ", those that differ most" if len(names) == 2 else ""
            note = f"{len(found)} of {n_all} columns{which}; shares of rows"
        note = note or "shares of rows"
        self._add_legend(ax, names, colors, note, self.axes_, found)

    def _draw_pairs(
        self,
        ax: AxesOrMany | None,
        found: list[Column],
        names: list[str],
        n_all: int,
    ) -> None:
        n = len(found)
        axes = make_grid(n * n, ax, n, width=2.2, height=2.0)
        self.axes_, self.artists_ = axes.reshape(n, n), []
        colors = self._choose_colors(axes[0], names)
        for (row, column), axis in zip(np.ndindex(n, n), axes, strict=True):
            if column > row:
                axis.set_axis_off()
                continue
            if column == row:
                self.artists_.append(draw_marginal(axis, found[row], names, colors))
                axis.set_title(shorten(found[row].name, 20), fontsize="medium")
                continue
            across, up = found[column], found[row]
            self.artists_.append(draw_pair(axis, across, up, colors))
            if row == n - 1:
                axis.set_xlabel(shorten(across.name, 20), fontsize="small")
            else:
                axis.tick_params(labelbottom=False)
            if column == 0:
                axis.set_ylabel(shorten(up.name, 20), fontsize="small")
            else:
                axis.tick_params(labelleft=False)
        self._add_legend(ax, names, colors, None, np.diag(self.axes_), found)

    def _choose_colors(self, axis: Axes, names: list[str]) -> list[str]:
        return [get_muted(axis, 0.4), COLORS[0]][-len(names) :]

    def _add_legend(
        self,
        ax: AxesOrMany | None,
        names: list[str],
        colors: list[str],
        title: str | None,
        marginals: NDArray[Any],
        found: list[Column],
    ) -> None:
        from matplotlib.patches import Patch

        handles = [
            Patch(color=color, label=name)
            for name, color in zip(names, colors, strict=True)
        ]
        owner: Any = self.axes_.ravel()[0].figure
        place: dict[str, Any] = {"loc": "outside lower center"}
        if ax is not None:
            # the figure of others keeps its legends: room is made in a panel
            owner, place = _make_room(marginals, found)
        self.legend_ = owner.legend(
            handles=handles,
            title=title if ax is None else None,
            fontsize="small",
            title_fontsize="small",
            frameon=False,
            labelcolor=get_ink(self.axes_.ravel()[0]),
            **({"ncols": 2} | place),
        )


def _make_room(
    marginals: NDArray[Any], found: list[Column]
) -> tuple[Axes, dict[str, Any]]:
    """Return a panel with room for a legend, and the place of it."""
    panels: list[Axes] = list(marginals)
    for axis, column in zip(panels, found, strict=True):
        if not column.levels:
            axis.set_ylim(top=1.3 * axis.get_ylim()[1])
            return axis, {"loc": "upper center"}
    panels[0].set_xlim(right=1.8 * panels[0].get_xlim()[1])
    return panels[0], {"loc": "center right", "ncols": 1}
