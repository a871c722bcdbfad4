"""A map of the rows: two components of z, and how sure the model is of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._estimators import (
    check_components,
    is_discrete,
    name_components,
    open_pipeline,
    rank_components,
    require,
)
from ._labels import read_labels
from ._style import COLORS, MARKERS, choose_size, get_ink, get_muted, make_axes, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.collections import EllipseCollection, LineCollection, PathCollection
    from matplotlib.colorbar import Colorbar
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D
    from numpy.typing import ArrayLike, NDArray
    from sklearn.base import BaseEstimator
    from typing_extensions import Self

    from ._labels import Labels
    from ._typing import AnyFigure, Components, MaybeNone, Table, Values

# rows among which those with an ellipse are chosen
_MOST_CANDIDATES = 2000


class LatentMapDisplay:
    """Plot rows as points in the plane of two components.

    Use `from_estimator` or `from_embedding` to make an instance. Points have the colour
    of their label. Ellipses show the posterior q(z|x) of some rows, spread over the
    map. With a single component, points lie on a line, one for each class.

    Parameters
    ----------
    points : ndarray (n_samples, 1) or (n_samples, 2)
        Coordinates of the rows.
    y : array-like (n_samples,), default=None
        Labels of the rows. Booleans, strings, categories and up to twelve distinct
        integers are classes; other numbers have a colour bar.
    std : ndarray of the shape of `points`, default=None
        Posterior standard deviations.
    axis_names : sequence of str, default=None
        Names of the coordinates; None is ``component 0``, ``component 1``.
    name : str, default=None
        Title of the plot.

    Attributes
    ----------
    points_ : list of matplotlib PathCollection
        The points: one collection, or several where classes differ in their markers.
    rows_ : list of ndarray of int
        Row numbers of the points of every collection, in the order of drawing.
    ellipses_ : matplotlib EllipseCollection, LineCollection or None
        Posteriors of the rows `ellipse_rows_`; lines where there is one component.
    ellipse_rows_ : ndarray of int
        Row numbers of the ellipses.
    colorbar_ : matplotlib Colorbar or None
        Colours of numbers.
    legend_ : matplotlib Legend or None
        Colours of classes, and what ellipses are.
    ax_ : matplotlib Axes
        Axes with the map.
    figure_ : matplotlib Figure
        Figure with the axes.

    See Also
    --------
    LatentTraversalDisplay : Plot what a component changes.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> from skvae.plots import LatentMapDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> vae = VAETransformer(2, max_epochs=2, random_state=0).fit(X)
    >>> display = LatentMapDisplay.from_estimator(vae, X, y)
    >>> display.ax_.get_xlabel()
    'component 0'
    """

    points_: list[PathCollection]
    rows_: list[NDArray[np.intp]]
    ellipses_: EllipseCollection | LineCollection | MaybeNone
    ellipse_rows_: NDArray[np.intp]
    colorbar_: Colorbar | MaybeNone
    legend_: Legend | MaybeNone
    ax_: Axes
    figure_: AnyFigure

    def __init__(
        self,
        points: NDArray[Any],
        y: Values | None = None,
        *,
        std: NDArray[Any] | None = None,
        axis_names: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        self.points = points
        self.y = y
        self.std = std
        self.axis_names = axis_names
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Table,
        y: Values | None = None,
        *,
        components: Components | None = None,
        ax: Axes | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the rows of X where `transform` puts them.

        Parameters
        ----------
        estimator : VAETransformer or other transformer
            Fitted, also at the end of a pipeline. Ellipses need its `posterior`.
        X : array-like or data frame (n_samples, n_features)
            The rows.
        y : array-like (n_samples,), default=None
            Labels of the rows.
        components : sequence of int, default=None
            One or two columns of ``transform(X)``. None is those with the largest KL,
            in the order of their numbers.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot.
        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        LatentMapDisplay
            The display, with the plotted objects as attributes.

        Raises
        ------
        ValueError
            If a component does not exist.
        """
        model, X = open_pipeline(estimator, X)
        require(model, "transform")
        Z, std = np.asarray(model.transform(X)), None
        if hasattr(model, "posterior"):
            std = model.posterior(X)[1]
            # of ones and zeros it is not an ellipse
            is_round = std.shape == Z.shape and not is_discrete(model)
            std = std if is_round else None
        if components is None:
            components = np.sort(rank_components(model, Z.shape[1])[:2])
        chosen = check_components(components, Z.shape[1])
        if len(chosen) > 2:
            raise ValueError(f"components={components!r}; a map has one or two.")
        names = name_components(model, Z.shape[1])
        display = cls(
            Z[:, chosen],
            y,
            std=None if std is None else std[:, chosen],
            axis_names=[names[j] for j in chosen],
            name=name,
        )
        return display.plot(ax, **kwargs)

    @classmethod
    def from_embedding(
        cls,
        Z: ArrayLike,
        y: Values | None = None,
        *,
        std: ArrayLike | None = None,
        ax: Axes | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot points of any map, such as that of PCA or UMAP.

        Parameters
        ----------
        Z : array-like (n_samples, 1) or (n_samples, 2)
            Coordinates of the rows.
        y : array-like (n_samples,), default=None
            Labels of the rows.
        std : array-like of the shape of Z, default=None
            Standard deviations of the coordinates.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot.
        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        LatentMapDisplay
            The display, with the plotted objects as attributes.

        Raises
        ------
        ValueError
            If Z has more than two columns.
        """
        Z = np.asarray(Z, dtype=float)
        if Z.ndim != 2 or Z.shape[1] not in (1, 2):
            raise ValueError(f"Z has shape {Z.shape}; a map has one or two columns.")
        std = None if std is None else np.asarray(std, dtype=float)
        return cls(Z, y, std=std, name=name).plot(ax, **kwargs)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        name: str | None = None,
        n_ellipses: int = 15,
        n_std: float = 1.0,
        **kwargs: Any,
    ) -> Self:
        """Plot the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot; None is that of the display.
        n_ellipses : int, default=15
            Number of rows whose posterior is drawn.
        n_std : float, default=1.0
            Half the width of an ellipse, in posterior standard deviations.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.scatter`.

        Returns
        -------
        LatentMapDisplay
            This instance.
        """
        ax = make_axes(ax)
        labels = read_labels(self.y, len(self.points))
        self.colorbar_ = self.legend_ = self.ellipses_ = None
        xy, names = self._place(labels)
        # rows of one class are often side by side, and would cover those before
        order = np.argsort(spread(len(xy)), kind="stable")
        size, alpha = choose_size(len(xy))
        style: dict[str, Any]
        style = {"s": size, "alpha": alpha, "linewidths": 0} | kwargs
        if labels is None:
            handles = self._draw_plain(ax, xy, order, style)
        elif labels.values is not None:
            handles = self._draw_numbers(ax, xy, order, labels, style)
        else:
            handles = self._draw_classes(ax, xy, order, labels, style)
        self._draw_ellipses(ax, xy, n_ellipses, n_std)
        if self.ellipses_ is not None:
            handles.append(_make_key(ax, n_std))
        is_above = self._add_legend(ax, handles, labels)
        self._set_axes(ax, labels, names, self.name if name is None else name, is_above)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _place(self, labels: Labels | None) -> tuple[NDArray[Any], list[str]]:
        """Return where points are, ``(n_samples, 2)``, and the names of the axes."""
        n_rows, n_coordinates = np.shape(self.points)
        names = list(self.axis_names or (f"component {j}" for j in range(2)))
        if n_coordinates == 2:
            return np.asarray(self.points), names
        height: NDArray[Any]
        if labels is None:
            height, names = spread(n_rows), [names[0], ""]
        elif labels.values is not None:
            height, names = labels.values, [names[0], labels.name or "y"]
        else:
            height = np.asarray(labels.codes) + 0.7 * spread(n_rows)
            names = [names[0], labels.name or ""]
        return np.column_stack([self.points[:, 0], height]), names

    def _draw_plain(
        self, ax: Axes, xy: NDArray[Any], order: NDArray[np.intp], style: dict[str, Any]
    ) -> list[Any]:
        if not {"c", "color"} & set(style):
            style = {"color": COLORS[0]} | style
        x, y = xy[order].T
        self.points_, self.rows_ = [ax.scatter(x, y, **style)], [order]
        return []

    def _draw_numbers(
        self,
        ax: Axes,
        xy: NDArray[Any],
        order: NDArray[np.intp],
        labels: Labels,
        style: dict[str, Any],
    ) -> list[Any]:
        self.points_, self.rows_ = [], []
        values = np.asarray(labels.values)
        known = order[np.isfinite(values[order])]
        unknown = order[~np.isfinite(values[order])]
        handles: list[Any] = []
        if len(unknown) and np.shape(self.points)[1] == 2:
            # below the others
            gray = get_muted(ax, 0.25)
            self._add(ax, xy, unknown, {**style, "color": gray, "label": "missing"})
            handles.append(self.points_[0])
        if len(known):
            low, high = np.quantile(values[known], [0.02, 0.98])
            if low == high:
                low, high = values[known].min(), values[known].max()
            shown = values[known]
            scale = {"cmap": "viridis", "vmin": low, "vmax": high} | style
            if np.shape(self.points)[1] == 1:
                self._add(ax, xy, known, {"color": COLORS[0]} | style)
                return handles
            if "color" in style:
                self._add(ax, xy, known, style)
                return handles
            self._add(ax, xy, known, {"c": shown} | scale)
            beyond = (shown.min() < low) + 2 * (shown.max() > high)
            self.colorbar_ = ax.figure.colorbar(
                self.points_[-1],
                ax=ax,
                label=labels.name or "y",
                extend=["neither", "min", "max", "both"][beyond],
            )
            # opaque, whatever the points are
            solids: Any = self.colorbar_.solids
            solids.set(alpha=1)
        return handles

    def _draw_classes(
        self,
        ax: Axes,
        xy: NDArray[Any],
        order: NDArray[np.intp],
        labels: Labels,
        style: dict[str, Any],
    ) -> list[Any]:
        self.points_, self.rows_ = [], []
        handles: list[Any] = []
        codes = np.asarray(labels.codes)
        rank = np.empty(len(order), dtype=int)
        rank[order] = np.arange(len(order))
        drawn_as: dict[str, list[tuple[NDArray[np.intp], str]]] = {}
        gray = get_muted(ax, 0.3)
        for number, (text, rows) in enumerate(labels.list_groups()):
            shape, shade = divmod(number, len(COLORS))
            is_missing = text == "missing" and codes[rows[0]] < 0
            color = gray if is_missing else COLORS[shade]
            marker = MARKERS[shape % len(MARKERS)]
            drawn_as.setdefault(marker, []).append((rows, color))
            key: dict[str, Any]
            key = {"marker": marker, "linestyle": "", "label": text}
            handles.append(ax.plot([], [], color=color, markersize=6, **key)[0])
        for marker, parts in drawn_as.items():
            rows = np.concatenate([rows for rows, _ in parts])
            colors = np.repeat(
                [color for _, color in parts], [len(r) for r, _ in parts]
            )
            drawn = np.argsort(rank[rows], kind="stable")
            look = {"c": list(colors[drawn]), "marker": marker} | style
            self._add(ax, xy, rows[drawn], look)
        return handles

    def _add(
        self, ax: Axes, xy: NDArray[Any], rows: NDArray[np.intp], style: dict[str, Any]
    ) -> None:
        if "color" in style:
            # that of the user
            style = {key: style[key] for key in style if key != "c"}
        self.points_.append(ax.scatter(xy[rows, 0], xy[rows, 1], **style))
        self.rows_.append(rows)

    def _draw_ellipses(
        self, ax: Axes, xy: NDArray[Any], n_ellipses: int, n_std: float
    ) -> None:
        self.ellipse_rows_ = np.arange(0)
        if self.std is None or n_ellipses < 1:
            return
        from matplotlib.collections import EllipseCollection

        # known labels: others have no place on the line of one component
        rows = np.flatnonzero(np.isfinite(xy).all(axis=1))
        rows = self.ellipse_rows_ = rows[_spread_out(xy[rows], n_ellipses)]
        half = n_std * np.asarray(self.std)[rows]
        style: dict[str, Any]
        style = {"colors": get_ink(ax), "linewidths": 0.8, "alpha": 0.8}
        if half.shape[1] == 1:
            ends = xy[rows, 0] - half[:, 0], xy[rows, 0] + half[:, 0]
            self.ellipses_ = ax.hlines(xy[rows, 1], *ends, **style)
            return
        style["edgecolors"] = style.pop("colors")
        self.ellipses_ = EllipseCollection(
            2 * half[:, 0],
            2 * half[:, 1],
            np.zeros(len(rows)),
            units="xy",
            offsets=xy[rows],
            transOffset=ax.transData,
            facecolors="none",
            **style,
        )
        ax.add_collection(self.ellipses_)
        ax.update_datalim(np.concatenate([xy[rows] - half, xy[rows] + half]))
        ax.autoscale_view()

    def _set_axes(
        self,
        ax: Axes,
        labels: Labels | None,
        names: list[str],
        name: str | None,
        is_above: bool,
    ) -> None:
        ax.set(xlabel=names[0], ylabel=names[1])
        if name is not None:
            # above the legend
            ax.set_title(name, pad=20 if is_above else None)
        if np.shape(self.points)[1] == 2:
            # distances are the same in all directions
            is_shared = len(ax.get_shared_x_axes().get_siblings(ax)) > 1
            ax.set_aspect("equal", adjustable="box" if is_shared else "datalim")
        elif labels is None:
            ax.set(yticks=[], ylim=(-1.5, 1.5))
        elif labels.values is None:
            texts = [text for text, _ in labels.list_groups()]
            codes = np.asarray(labels.codes)
            places = [codes[rows[0]] for _, rows in labels.list_groups()]
            ax.set_yticks(places, texts)

    def _add_legend(self, ax: Axes, handles: list[Any], labels: Labels | None) -> bool:
        """Add the legend beside or above the map; return whether it is above."""
        has_classes = labels is not None and labels.values is None
        if has_classes and np.shape(self.points)[1] == 1:
            # classes have their lines, with names
            handles = handles[-1:] if self.ellipses_ is not None else []
            labels = None
        if not handles:
            return False
        place: dict[str, Any]
        place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": len(handles)}
        is_beside = labels is not None and labels.values is None
        if labels is not None and is_beside:
            place = {"loc": "upper left", "bbox_to_anchor": (1, 1)}
            place["title"] = labels.name
        self.legend_ = ax.legend(
            handles=handles,
            fontsize="small",
            frameon=False,
            labelcolor=get_ink(ax),
            borderpad=0.2,
            borderaxespad=0.2 if not is_beside else 0.5,
            **place,
        )
        return not is_beside


def _make_key(ax: Axes, n_std: float) -> Line2D:
    """Return what stands for ellipses in the legend."""
    text = f"posterior, {n_std:g} std"
    style: dict[str, Any]
    style = {"marker": "o", "linestyle": "", "markerfacecolor": "none"}
    return ax.plot([], [], color=get_ink(ax), markersize=8, label=text, **style)[0]


def _spread_out(points: NDArray[Any], n_chosen: int) -> NDArray[np.intp]:
    """Return as many rows that are far from one another, from the centre on."""
    some = np.unique(np.linspace(0, len(points) - 1, _MOST_CANDIDATES).astype(int))
    points = points[some] if len(points) else points
    chosen: list[int] = []
    far = np.full(len(points), np.inf)
    found = np.abs(points - np.median(points, axis=0)).sum(axis=1)
    row = int(found.argmin()) if len(points) else 0
    while len(chosen) < min(n_chosen, len(points)) and far.max() > 0:
        chosen.append(some[row])
        far = np.minimum(far, ((points - points[row]) ** 2).sum(axis=1))
        row = int(far.argmax())
    return np.array(chosen, dtype=np.intp)
