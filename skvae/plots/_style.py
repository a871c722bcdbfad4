"""What all plots share: axes, colours for any background, short names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._matplotlib import import_pyplot

if TYPE_CHECKING:
    from typing import TypeGuard

    from matplotlib.axes import Axes
    from matplotlib.gridspec import GridSpecBase
    from matplotlib.legend import Legend
    from numpy.typing import NDArray

    from ._typing import AnyFigure, AxesOrMany, Floats

# Petroff (2021), "Accessible color sequences for data visualization": ten colours that
# are told apart with and without colour blindness, on light and dark backgrounds
COLORS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
MARKERS = "o^sDvP"
GOOD, BAD = COLORS[0], COLORS[6]
# Roberts (2018): steps that fill an interval evenly, and a square where both are taken
_STEPS = (0.7548776662466927, 0.5698402909980532)
# characters of labels that stand side by side
_LONGEST_OF_TWO = 38


def make_axes(
    ax: AxesOrMany | None = None, width: float = 6.4, height: float = 4.8
) -> Axes:
    """Return the axes to draw on: of a new figure, or the first of those given."""
    if ax is not None:
        return ax if _is_axes(ax) else np.ravel(np.asarray(ax, dtype=object))[0]
    pyplot = import_pyplot()
    made: Axes = pyplot.subplots(figsize=(width, height), layout="constrained")[1]
    return made


def make_grid(
    n_axes: int,
    ax: AxesOrMany | None = None,
    n_columns: int = 3,
    width: float = 3.2,
    height: float = 2.6,
    share_y: bool = False,
) -> NDArray[Any]:
    """Return as many axes: of a new figure, those given, or parts of the one given."""
    import_pyplot()
    if not (ax is None or _is_axes(ax)):
        found = np.ravel(np.asarray(ax, dtype=object))
        if len(found) < n_axes:
            raise ValueError(f"ax has {len(found)} axes, but {n_axes} are drawn.")
        return found[:n_axes]
    n_columns = min(n_columns, n_axes)
    n_rows = -(-n_axes // n_columns)
    if ax is None:
        from matplotlib import pyplot

        size = max(width * n_columns, 4.0), max(height * n_rows, 2.8)
        figure: AnyFigure = pyplot.figure(figsize=size, layout="constrained")
        grid: GridSpecBase = figure.add_gridspec(n_rows, n_columns)
    else:
        place = ax.get_subplotspec()
        if place is None:
            raise ValueError(
                f"{n_axes} panels need axes of a grid; make ax with plt.subplots, or "
                "pass an array of axes."
            )
        ax.set_axis_off()
        figure = ax.figure
        grid = place.subgridspec(n_rows, n_columns)
    cells = [divmod(number, n_columns) for number in range(n_axes)]
    first = figure.add_subplot(grid[cells[0]])
    shared: dict[str, Any] = {"sharey": first} if share_y else {}
    rest = [figure.add_subplot(grid[cell], **shared) for cell in cells[1:]]
    return np.array([first, *rest], dtype=object)


def choose_width(n_panels: int) -> int:
    """Return how many panels stand side by side."""
    if n_panels in (2, 4):
        return 2
    return 4 if n_panels in (7, 8) or n_panels > 9 else 3


def set_title(axes: NDArray[Any], ax: AxesOrMany | None, name: str | None) -> None:
    """Set the title of panels: of their figure, or of the axes that they are in."""
    if name is None:
        return
    if len(axes) == 1:
        axes[0].set_title(name)
    elif ax is None:
        axes[0].figure.suptitle(name)
    elif _is_axes(ax):
        # above the titles of the panels
        ax.set_title(name, pad=22)


def _is_axes(ax: AxesOrMany) -> TypeGuard[Axes]:
    return hasattr(ax, "plot")


def get_ink(ax: Axes) -> Any:
    """Return the colour of text on the axes: dark on light, light on dark."""
    return ax.xaxis.label.get_color()


def get_muted(ax: Axes, share: float = 0.45) -> str:
    """Return a colour between those of text and background."""
    from matplotlib.colors import to_hex, to_rgb

    ink, ground = (np.array(to_rgb(c)) for c in (get_ink(ax), ax.get_facecolor()))
    mixed: Any = share * ink + (1 - share) * ground
    return to_hex(mixed)


def choose_size(n_points: int) -> tuple[float, float]:
    """Return area and opacity of the markers of as many points."""
    n_points = max(n_points, 1)
    size = float(np.clip(120 * n_points**-0.36, 3.0, 40.0))
    return size, float(np.clip(1.4 - 0.22 * np.log10(n_points), 0.45, 0.9))


def spread(n_points: int, dimension: int = 0) -> Floats:
    """Return numbers in (-0.5, 0.5) that are far from those next to them."""
    numbers: Floats = np.arange(1.0, n_points + 1)
    return (numbers * _STEPS[dimension]) % 1 - 0.5


def shorten(text: object, n_characters: int = 24) -> str:
    """Return a text of at most so many characters, cut in the middle."""
    text = " ".join(str(text).split())
    # dollars would begin a formula
    text = text.replace("$", r"\$")
    if text.startswith("_"):
        # legends would leave it out
        text = f" {text}"
    if len(text) <= n_characters:
        return text
    n_first = (n_characters - 1 + 1) // 2
    return f"{text[:n_first]}…{text[n_first - n_characters + 1 :]}"


def show_number(value: Any) -> str:
    """Return a number as a short text."""
    is_long = 1000 <= abs(value) < 1e7
    return (f"{value:,.0f}" if is_long else f"{value:.3g}").replace("-", "−")


def add_legend_below(ax: Axes, n_lines: int = 1, **kwargs: Any) -> Legend:
    """Add a legend below the name of the axis, which has as many lines."""
    from matplotlib.transforms import ScaledTranslation

    handles: list[Any] = kwargs.get("handles") or ax.get_legend_handles_labels()[0]
    is_long = any(len(handle.get_label()) > _LONGEST_OF_TWO for handle in handles)
    style: dict[str, Any] = {"fontsize": "small", "frameon": False}
    style |= {"ncols": 1 if is_long else 2, "labelcolor": get_ink(ax)}
    # in inches: axes may be low
    down = ScaledTranslation(0, -0.4 - 0.18 * n_lines, ax.figure.dpi_scale_trans)
    style |= {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0)}
    transform = ax.transAxes + down
    return ax.legend(bbox_transform=transform, borderaxespad=0, **style, **kwargs)
