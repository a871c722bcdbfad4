"""What changes in a row as one component of z changes."""

from itertools import pairwise

import numpy as np

from ._estimators import (
    check_components,
    check_positive,
    get_feature_names,
    get_latent,
    is_discrete,
    name_components,
    open_pipeline,
    rank_components,
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
from ._style import get_ink, make_axes, make_grid, set_title, shorten, show_number
from ._tables import choose_columns, read_columns, read_names

# rows drawn where no X is given
_N_DRAWN = 500
# components of images, and of tables
_MOST_LINES, _MOST_PANELS = 8, 4
_MOST_COLUMNS = 25
# images in a row; more are drawn below one another
_LONGEST_LINE = 12
# share of the rows below the first and above the last step
_TAIL = 0.02
# letters of a level that are worth writing
_LEAST_LETTERS = 6
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

    def __init__(
        self,
        Z,
        decoded,
        line_names,
        *,
        steps=None,
        spread=None,
        feature_names=None,
        image_shape=None,
        name=None,
    ):
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
        estimator,
        X=None,
        *,
        components=None,
        n_steps=9,
        random_state=0,
        image_shape=None,
        ax=None,
        name=None,
        **kwargs,
    ):
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
        make = _make_category_lines if is_discrete(model) else _make_lines
        Z, names, steps = make(model, places, components, n_steps, most)
        features = None if shape else get_feature_names(estimator, X)
        return cls._decode(model, Z, names, steps, X, features, shape, name).plot(
            ax, **kwargs
        )

    @classmethod
    def from_points(
        cls,
        estimator,
        Z,
        *,
        X=None,
        line_names=None,
        step_names=None,
        image_shape=None,
        ax=None,
        name=None,
        **kwargs,
    ):
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
        decoded,
        *,
        line_names=None,
        step_names=None,
        image_shape=None,
        ax=None,
        name=None,
        **kwargs,
    ):
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
            spread=[_measure(c) for c in read_columns([rows], read_names(rows))]
            if image_shape is None
            else None,
            feature_names=read_names(rows),
            image_shape=find_image_shape(None, image_shape),
            name=name,
        )
        return display.plot(ax, **kwargs)

    @classmethod
    def _decode(cls, model, Z, names, steps, X, features, shape, name):
        """Return the display of rows at points."""
        decoded = model.inverse_transform(Z.reshape(-1, Z.shape[-1]))
        spread = None
        if shape is None:
            tables = [decoded if X is None else X]
            spread = np.array([_measure(c) for c in read_columns(tables, features)])
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

    def plot(self, ax=None, *, name=None, columns=None, **kwargs):
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
            self._draw_images(ax, kwargs)
        else:
            self._draw_table(ax, columns, kwargs)
        set_title(self.axes_, ax, self.name if name is None else name)
        self.ax_ = self.axes_[0]
        self.figure_ = self.ax_.figure
        return self

    def _get_step_names(self, line):
        if self.steps is None:
            return []
        if isinstance(self.steps[0], str):
            return list(self.steps)
        return [show_number(value) for value in self.steps[line]]

    def _draw_images(self, ax, style):
        images = to_images(self.decoded, self.image_shape)
        n_lines, n_steps = np.shape(self.Z)[:2]
        rows, columns, titles = [shorten(text) for text in self.line_names], [], []
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
        size = find_sheet_size(*grid.shape[:2], grid.shape[2:4])
        axis = make_axes(ax, *size)
        sheet = Sheet(grid, titles)
        self.image_ = sheet.draw(axis, find_range(images), rows, columns, **style)
        self.axes_, self.artists_ = np.array([axis], dtype=object), [self.image_]

    def _draw_table(self, ax, columns, style):
        n_lines, n_steps = np.shape(self.Z)[:2]
        chosen = choose_columns(columns, self.feature_names)
        found = read_columns([self.decoded], self.feature_names, chosen)
        changes = np.array(
            [
                _find_change(column, self.spread[j], (n_lines, n_steps))
                for column, j in zip(found, chosen, strict=True)
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

    def _draw_panel(self, line, found, changes, is_number, limit, style):
        axis, n_steps = self.axes_[line], np.shape(self.Z)[1]
        # levels have no amount of change: their names stand there instead
        shown = np.where(is_number[:, None], changes, np.nan)
        look = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, "aspect": "auto"}
        image = axis.imshow(np.ma.masked_invalid(shown), **(look | style))
        for row, column in enumerate(found):
            values = column.parts[0].reshape(-1, n_steps)[line]
            if column.levels:
                _write_levels(axis, row, values, column.levels)
            else:
                _write_ends(axis, row, values)
        axis.set_title(shorten(self.line_names[line]), fontsize="medium")
        names = self._get_step_names(line)
        if names:
            if not isinstance(self.steps[0], str):
                axis.set_xlabel("value of the component", fontsize="small")
            few = {0, n_steps // 2, n_steps - 1} if n_steps > 5 else range(n_steps)
            axis.set_xticks(sorted(few), [names[k] for k in sorted(few)])
        else:
            axis.set_xticks([])
        axis.tick_params(labelsize="small")
        return image


def _make_lines(model, places, components, n_steps, most):
    """Return points along components, their names, and values at the steps."""
    n_components = places.shape[1]
    if components is None:
        ranked = rank_components(model, n_components)
        # layers that the decoder does not see change nothing
        split = getattr(get_latent(model), "split", None)
        if split is not None and n_components == model.n_components_:
            is_bottom = get_latent(model).decoder == "bottom"
            n_seen = split(n_components)[0] if is_bottom else n_components
            ranked = ranked[ranked < n_seen]
        components = np.sort(ranked[:most])
    chosen = check_components(components, n_components)
    # a row of the table: there may be none at the mean of them
    scale = places.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    distance = np.abs((places - np.median(places, axis=0)) / scale).sum(axis=1)
    middle = places[distance.argmin()]
    ends = np.quantile(places[:, chosen], [_TAIL, 1 - _TAIL], axis=0)
    steps = np.linspace(*ends, n_steps).T
    Z = np.tile(middle, (len(chosen), n_steps, 1))
    for line, component in enumerate(chosen):
        Z[line, :, component] = steps[line]
    names = name_components(model, n_components)
    return Z, [names[j] for j in chosen], steps


def _make_category_lines(model, places, variables, n_steps, most):
    """Return all categories of each variable, the others at their most frequent one."""
    n_categories = get_latent(model).n_categories or places.shape[1]
    shares = places.mean(axis=0).reshape(-1, n_categories)
    n_variables = len(shares)
    if variables is None:
        variables = np.arange(n_variables)[:most]
    chosen = check_components(variables, n_variables)
    one = np.eye(n_categories)
    Z = np.empty((len(chosen), n_categories, n_variables, n_categories))
    Z[:] = one[shares.argmax(axis=1)]
    for line, variable in enumerate(chosen):
        Z[line, :, variable] = one
    names = ["category" if n_variables == 1 else f"variable {v}" for v in chosen]
    steps = [str(k) for k in range(n_categories)]
    return Z.reshape(len(chosen), n_categories, -1), names, steps


def _measure(column):
    """Return the standard deviation of a column of numbers, 1 of others."""
    if column.levels:
        return 1.0
    known = column.get_known(0)
    deviation = known.std() if len(known) else 0.0
    return deviation if deviation > 0 else 1.0


def _find_change(column, spread, shape):
    """Return the change of a column from the middle of each line, ``shape``.

    Of levels it is 1 where the level is another one.
    """
    values = np.asarray(column.parts[0]).reshape(shape)
    middle = values[:, shape[1] // 2, None]
    if column.levels:
        return (values != middle).astype(float)
    return (values - middle) / spread


def _write_levels(axis, row, codes, levels):
    """Write the name of a level where it begins."""
    ends = [0, *(np.flatnonzero(np.diff(codes)) + 1), len(codes)]
    for first, last in pairwise(ends):
        # as many characters as there is room for
        room = max(2, int(42 * (last - first) / len(codes)) - 1)
        text = shorten(levels[codes[first]], room)
        style = {"ha": "center", "va": "center", "fontsize": "x-small"}
        if room >= _LEAST_LETTERS or "…" not in text:
            place = (first + last - 1) / 2
            axis.text(place, row, text, color=get_ink(axis), **style)
        if first:
            axis.plot(
                [first - 0.5] * 2, [row - 0.5, row + 0.5], color=get_ink(axis), lw=0.8
            )


def _write_ends(axis, row, values):
    """Write the first and last number of a row."""
    from matplotlib.patheffects import withStroke

    style = {"va": "center", "fontsize": "x-small", "color": "black"}
    style["path_effects"] = [withStroke(linewidth=2, foreground="white")]
    for place, side, value in (
        (-0.4, "left", values[0]),
        (len(values) - 0.6, "right", values[-1]),
    ):
        axis.text(place, row, show_number(value), ha=side, **style)
