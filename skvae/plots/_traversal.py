"""What changes in a row as one component of z changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._estimators import (
    check_positive,
    get_feature_names,
    is_discrete,
    open_pipeline,
    require,
)
from ._images import (
    Sheet,
    find_image_shape,
    find_range,
    find_sheet_size,
    to_images,
    wrap,
)
from ._style import make_axes, make_grid, set_title, shorten, show_number
from ._tables import choose_columns, read_columns, read_names
from ._traversal_cells import find_change, measure, write_ends, write_levels
from ._traversal_lines import make_category_lines, make_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from numpy.typing import ArrayLike, NDArray
    from sklearn.base import BaseEstimator
    from typing_extensions import Self

    from ._tables import Column
    from ._typing import (
        AnyFigure,
        AxesOrMany,
        Columns,
        Components,
        Floats,
        MaybeNone,
        RandomState,
        Table,
    )

# rows drawn where no X is given
_N_DRAWN = 500
# components of images, and of tables
_MOST_LINES, _MOST_PANELS = 8, 4
_MOST_COLUMNS = 25
# images in a row; more are drawn below one another
_LONGEST_LINE = 12
# standard deviations in full colour
_LEAST_CHANGE, _LARGEST_CHANGE = 0.5, 3.0


class LatentTraversalDisplay:
    """Plot what changes in a row as components of z change one by one.

    Use `from_estimator`, `from_points` or `from_decoded` to make an instance. Images
    are decoded along a line for each component. Tables have a panel for each component:
    its rows are the columns that change most, in colours of the change in standard
    deviations, with the values at both ends.

    Parameters
    ----------
    Z : ndarray (n_lines, n_steps, n_components)
        Points along the lines; without components where they are not known.
    decoded : array-like or data frame (n_lines * n_steps, n_features)
        Rows at these points.
    line_names : sequence of str (n_lines,)
        Names of the lines.
    steps : ndarray (n_lines, n_steps) or sequence of str, default=None
        What changes along the lines, or names of the steps of all.
    spread : ndarray (n_features,), default=None
        Standard deviations of the columns of tables; None for those of `decoded`.
    feature_names : sequence of str (n_features,), default=None
        Names of the columns.
    image_shape : tuple of int, default=None
        (height, width) or (channels, height, width) of images; None for tables.
    name : str, default=None
        Title of the plot.

    Attributes
    ----------
    image_ : matplotlib AxesImage or None
        All images as one.
    order_ : ndarray of int (n_shown,) or None
        Numbers of the shown columns of a table.
    artists_ : list of matplotlib AxesImage
        Panels of a table.
    axes_ : ndarray of matplotlib Axes
        All panels.
    ax_ : matplotlib Axes
        The first of them.
    figure_ : matplotlib Figure
        Figure with the axes.

    See Also
    --------
    LatentMapDisplay : Plot rows in the plane of two components.
    ComponentsDisplay : Plot the information in every component.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> from skvae.plots import LatentTraversalDisplay
    >>> X = load_iris().data
    >>> vae = VAETransformer(2, max_epochs=2, random_state=0).fit(X)
    >>> display = LatentTraversalDisplay.from_estimator(vae, X)
    >>> display.Z.shape
    (2, 9, 2)
    """

    decoded: Any
    steps: Any
    image_: AxesImage | MaybeNone
    order_: NDArray[np.intp] | MaybeNone
    artists_: list[AxesImage]
    axes_: NDArray[Any]
    ax_: Axes
    figure_: AnyFigure

    def __init__(
        self,
        Z: NDArray[Any],
        decoded: Table,
        line_names: Sequence[str],
        *,
        steps: NDArray[Any] | Sequence[str] | None = None,
        spread: Sequence[float] | Floats | None = None,
        feature_names: Sequence[str] | None = None,
        image_shape: Sequence[int] | None = None,
        name: str | None = None,
    ) -> None:
        self.Z = Z
        self.decoded = decoded
        self.line_names = line_names
        self.steps = steps
        self.spread = spread
        self.feature_names = feature_names
        self.image_shape = image_shape
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Table | None = None,
        *,
        components: Components | None = None,
        n_steps: int = 9,
        random_state: RandomState = 0,
        image_shape: Sequence[int] | None = None,
        ax: AxesOrMany | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot what each component changes, from the row in the middle of X.

        A component goes from the second to the 98th percentile of its values, with the
        others as they are in that row. Of a discrete z it takes all categories.

        Parameters
        ----------
        estimator : VAETransformer or other transformer
            Fitted, also at the end of a pipeline. Others than a VAE need X and
            `inverse_transform`.
        X : array-like or data frame (n_samples, n_features), default=None
            Rows whose range of z is used. None draws 500 rows from the model.
        components : sequence of int, default=None
            Columns of ``transform(X)``, or variables of a discrete z. None is those
            with the largest KL: up to eight for images, four for tables.
        n_steps : int, default=9
            Number of points along a line.
        random_state : int, RandomState or None, default=0
            Seed of the rows that are drawn.
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
        LatentTraversalDisplay
            The display, with the plotted objects as attributes.

        Raises
        ------
        ValueError
            If a component does not exist.
        """
        check_positive("n_steps", n_steps)
        model, X = open_pipeline(estimator, X)
        require(model, "inverse_transform")
        if X is None:
            require(model, "sample", "; pass X")
            X = model.sample(_N_DRAWN, random_state=random_state)
        shape = find_image_shape(model, image_shape)
        places = np.asarray(model.transform(X), dtype=np.float64)
        most = _MOST_PANELS if shape is None else _MOST_LINES
        make = make_category_lines if is_discrete(model) else make_lines
        Z, names, steps = make(model, places, components, n_steps, most)
        features = None if shape else get_feature_names(estimator, X)
        return cls._decode(model, Z, names, steps, X, features, shape, name).plot(
            ax, **kwargs
        )

    @classmethod
    def from_points(
        cls,
        estimator: BaseEstimator,
        Z: ArrayLike,
        *,
        X: Table | None = None,
        line_names: Iterable[str] | None = None,
        step_names: Sequence[str] | None = None,
        image_shape: Sequence[int] | None = None,
        ax: AxesOrMany | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the rows at points of your own, such as those between two rows.

        Parameters
        ----------
        estimator : VAETransformer or other transformer
            Fitted, with `inverse_transform`.
        Z : array-like (n_lines, n_steps, n_components)
            Points along lines; (n_steps, n_components) is one line.
        X : array-like or data frame (n_samples, n_features), default=None
            Rows whose standard deviations are the unit of changes in tables.
        line_names, step_names : sequence of str, default=None
            Names of the lines, and of the steps along all of them.
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
        LatentTraversalDisplay
            The display, with the plotted objects as attributes.

        Raises
        ------
        ValueError
            If Z has another number of dimensions.
        """
        (model,) = open_pipeline(estimator)
        require(model, "inverse_transform")
        Z = np.asarray(Z, dtype=np.float64)
        Z = Z[None] if Z.ndim == 2 else Z
        if Z.ndim != 3 or not Z.size:
            raise ValueError(
                f"Z has shape {Z.shape}; (n_lines, n_steps, n_components) is needed."
            )
        shape = find_image_shape(model, image_shape)
        names = [""] * len(Z) if line_names is None else list(line_names)
        features = None if shape else get_feature_names(estimator, X)
        display = cls._decode(model, Z, names, step_names, X, features, shape, name)
        return display.plot(ax, **kwargs)

    @classmethod
    def from_decoded(
        cls,
        decoded: ArrayLike,
        *,
        line_names: Iterable[str] | None = None,
        step_names: Sequence[str] | None = None,
        image_shape: Sequence[int] | None = None,
        ax: AxesOrMany | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot rows along lines, of any model.

        Parameters
        ----------
        decoded : array-like (n_lines, n_steps, n_features)
            The rows along every line.
        line_names, step_names : sequence of str, default=None
            Names of the lines, and of the steps along all of them.
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
        LatentTraversalDisplay
            The display, with the plotted objects as attributes.

        Raises
        ------
        ValueError
            If `decoded` has another number of dimensions.
        """
        decoded = np.asarray(decoded)
        if decoded.ndim != 3 or not decoded.size:
            raise ValueError(
                f"decoded has shape {decoded.shape}; (n_lines, n_steps, n_features) is "
                "needed."
            )
        n_lines, n_steps, n_features = decoded.shape
        rows = decoded.reshape(-1, n_features)
        names = [""] * n_lines if line_names is None else list(line_names)
        display = cls(
            np.empty((n_lines, n_steps, 0)),
            rows,
            names,
            steps=step_names,
            spread=[measure(c) for c in read_columns([rows], read_names(rows))]
            if image_shape is None
            else None,
            feature_names=read_names(rows),
            image_shape=find_image_shape(None, image_shape),
            name=name,
        )
        return display.plot(ax, **kwargs)

    @classmethod
    def _decode(
        cls,
        model: Any,
        Z: NDArray[Any],
        names: Sequence[str],
        steps: Any,
        X: Any,
        features: Sequence[str] | None,
        shape: Sequence[int] | None,
        name: str | None,
    ) -> Self:
        """Return the display of rows at points."""
        decoded = model.inverse_transform(Z.reshape(-1, Z.shape[-1]))
        spread = None
        if features is not None:
            tables = [decoded if X is None else X]
            spread = np.array([measure(c) for c in read_columns(tables, features)])
        return cls(
            Z,
            decoded,
            names,
            steps=steps,
            spread=spread,
            feature_names=features,
            image_shape=shape,
            name=name,
        )

    def plot(
        self,
        ax: AxesOrMany | None = None,
        *,
        name: str | None = None,
        columns: Columns | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the lines.

        Parameters
        ----------
        ax : matplotlib Axes or array of them, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot; None is that of the display.
        columns : sequence of str or int, default=None
            Columns of a table, by name or number; None is up to 25 that change most.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.imshow`.

        Returns
        -------
        LatentTraversalDisplay
            This instance.

        Raises
        ------
        ValueError
            If a column does not exist.
        """
        self.image_ = self.order_ = None
        if self.image_shape is not None:
            self._draw_images(ax, self.image_shape, kwargs)
        else:
            self._draw_table(ax, columns, kwargs)
        set_title(self.axes_, ax, self.name if name is None else name)
        self.ax_ = self.axes_[0]
        self.figure_ = self.ax_.figure
        return self

    def _get_step_names(self, line: int) -> list[str]:
        if self.steps is None:
            return []
        if isinstance(self.steps[0], str):
            return list(self.steps)
        return [show_number(value) for value in self.steps[line]]

    def _draw_images(
        self, ax: AxesOrMany | None, shape: Sequence[int], style: dict[str, Any]
    ) -> None:
        images = to_images(self.decoded, shape)
        n_lines, n_steps = np.shape(self.Z)[:2]
        rows = [shorten(text) for text in self.line_names]
        columns: list[str] = []
        titles: list[str] = []
        if n_lines == 1 and n_steps > _LONGEST_LINE:
            n_columns = int(np.ceil(n_steps / -(-n_steps // _LONGEST_LINE)))
            grid, rows = wrap(images, n_columns), []
            titles = self._get_step_names(0)
        else:
            grid = images.reshape(n_lines, n_steps, *images.shape[1:])
            if self.steps is not None and (
                n_lines == 1 or isinstance(self.steps[0], str)
            ):
                columns = self._get_step_names(0)
            elif self.steps is not None:
                ends = [(s[0], s[-1]) for s in self.steps]
                rows = [
                    f"{text}\n{show_number(a)} to {show_number(b)}"
                    for text, (a, b) in zip(rows, ends, strict=True)
                ]
        size = find_sheet_size(len(grid), grid.shape[1], grid.shape[2:4])
        axis = make_axes(ax, *size)
        sheet = Sheet(grid, titles)
        self.image_ = sheet.draw(axis, find_range(images), rows, columns, **style)
        self.axes_, self.artists_ = np.array([axis], dtype=object), [self.image_]

    def _draw_table(
        self, ax: AxesOrMany | None, columns: Columns | None, style: dict[str, Any]
    ) -> None:
        n_lines, n_steps = np.shape(self.Z)[:2]
        names = self.feature_names
        if names is None:
            names = read_names(self.decoded)
        chosen = choose_columns(columns, names)
        found = read_columns([self.decoded], names, chosen)
        spread = [
            measure(column) if self.spread is None else self.spread[j]
            for column, j in zip(found, chosen, strict=True)
        ]
        changes = np.array(
            [
                find_change(column, unit, (n_lines, n_steps))
                for column, unit in zip(found, spread, strict=True)
            ]
        )
        if columns is None:
            most = np.abs(changes).max(axis=(1, 2))
            ranked = np.argsort(-most, kind="stable")[:_MOST_COLUMNS]
        else:
            ranked = np.arange(len(found))
        self.order_ = np.array(chosen)[ranked]
        found, changes = [found[k] for k in ranked], changes[ranked]
        height = 0.26 * len(found) + 1.3
        self.axes_ = make_grid(n_lines, ax, n_lines, 2.9, height, share_y=True)
        is_number = np.array([not column.levels for column in found])
        known = np.abs(changes[is_number])
        limit = float(np.clip(known.max(initial=0), _LEAST_CHANGE, _LARGEST_CHANGE))
        self.artists_ = [
            self._draw_panel(line, found, changes[:, line], is_number, limit, style)
            for line in range(n_lines)
        ]
        texts = [shorten(column.name) for column in found]
        self.axes_[0].set_yticks(range(len(found)), texts, fontsize="small")
        for axis in self.axes_[1:]:
            axis.tick_params(labelleft=False)
        self.axes_[0].figure.colorbar(
            self.artists_[-1],
            ax=list(self.axes_),
            label="change, standard deviations",
            shrink=min(1.0, 2.5 / height + 0.3),
        )

    def _draw_panel(
        self,
        line: int,
        found: list[Column],
        changes: NDArray[Any],
        is_number: NDArray[Any],
        limit: float,
        style: dict[str, Any],
    ) -> AxesImage:
        axis: Axes = self.axes_[line]
        n_steps = np.shape(self.Z)[1]
        # levels have no amount of change: their names stand there instead
        shown = np.where(is_number[:, None], changes, np.nan)
        look: dict[str, Any]
        look = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, "aspect": "auto"}
        image = axis.imshow(np.ma.masked_invalid(shown), **(look | style))
        for row, column in enumerate(found):
            values = column.parts[0].reshape(-1, n_steps)[line]
            if column.levels:
                write_levels(axis, row, values, column.levels)
            else:
                write_ends(axis, row, values)
        axis.set_title(shorten(self.line_names[line]), fontsize="medium")
        names = self._get_step_names(line)
        if names:
            if not isinstance(self.steps[0], str):
                axis.set_xlabel("value of the component", fontsize="small")
            few: Iterable[int]
            few = {0, n_steps // 2, n_steps - 1} if n_steps > 5 else range(n_steps)
            axis.set_xticks(sorted(few), [names[k] for k in sorted(few)])
        else:
            axis.set_xticks([])
        axis.tick_params(labelsize="small")
        return image
