"""What all plots share: axes, colours for any background, short names."""

import numpy as np

from ._matplotlib import import_pyplot

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


def make_axes(ax=None, width=6.4, height=4.8):
    """Return the axes to draw on, of a new figure if None are given."""
    if ax is not None:
        return ax
    pyplot = import_pyplot()
    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def make_grid(n_axes, ax=None, n_columns=3, width=3.2, height=2.6, share_y=False):
    """Return as many axes: of a new figure, those given, or parts of the one given."""
    import_pyplot()
    if ax is not None and not hasattr(ax, "plot"):
        found = np.ravel(np.asarray(ax, dtype=object))
        if len(found) < n_axes:
            raise ValueError(f"ax has {len(found)} axes, but {n_axes} are drawn.")
        return found[:n_axes]
    n_columns = min(n_columns, n_axes)
    n_rows = -(-n_axes // n_columns)
    if ax is None:
        from matplotlib import pyplot

        size = max(width * n_columns, 4.0), max(height * n_rows, 2.8)
        figure = pyplot.figure(figsize=size, layout="constrained")
        grid = figure.add_gridspec(n_rows, n_columns)
    else:
        if ax.get_subplotspec() is None:
            raise ValueError(
                f"{n_axes} panels need axes of a grid; make ax with plt.subplots, or "
                "pass an array of axes."
            )
        ax.set_axis_off()
        figure = ax.figure
        grid = ax.get_subplotspec().subgridspec(n_rows, n_columns)
    places = [divmod(number, n_columns) for number in range(n_axes)]
    first = figure.add_subplot(grid[places[0]])
    shared = {"sharey": first} if share_y else {}
    rest = [figure.add_subplot(grid[place], **shared) for place in places[1:]]
    return np.array([first, *rest], dtype=object)


def choose_width(n_panels):
    """Return how many panels stand side by side."""
    if n_panels in (2, 4):
        return 2
    return 4 if n_panels in (7, 8) or n_panels > 9 else 3


def set_title(axes, ax, name):
    """Set the title of panels: of their figure, or of the axes that they are in."""
    if name is None:
        return
    if len(axes) == 1:
        axes[0].set_title(name)
    elif ax is None:
        axes[0].figure.suptitle(name)
    elif hasattr(ax, "plot"):
        # above the titles of the panels
        ax.set_title(name, pad=22)


def get_ink(ax):
    """Return the colour of text on the axes: dark on light, light on dark."""
    return ax.xaxis.label.get_color()


def get_muted(ax, share=0.45):
    """Return a colour between those of text and background."""
    from matplotlib.colors import to_hex, to_rgb

    ink, ground = (np.array(to_rgb(c)) for c in (get_ink(ax), ax.get_facecolor()))
    return to_hex(share * ink + (1 - share) * ground)


def choose_size(n_points):
    """Return area and opacity of the markers of as many points."""
    n_points = max(n_points, 1)
    size = float(np.clip(120 * n_points**-0.36, 3.0, 40.0))
    return size, float(np.clip(1.4 - 0.22 * np.log10(n_points), 0.45, 0.9))


def spread(n_points, dimension=0):
    """Return numbers in (-0.5, 0.5) that are far from those next to them."""
    return (np.arange(1, n_points + 1) * _STEPS[dimension]) % 1 - 0.5


def shorten(text, n_characters=24):
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


def show_number(value):
    """Return a number as a short text."""
    is_long = 1000 <= abs(value) < 1e7
    return (f"{value:,.0f}" if is_long else f"{value:.3g}").replace("-", "−")


def add_legend_below(ax, n_lines=1, **kwargs):
    """Add a legend below the name of the axis, which has as many lines."""
    from matplotlib.transforms import ScaledTranslation

    handles = kwargs.get("handles") or ax.get_legend_handles_labels()[0]
    is_long = any(len(handle.get_label()) > _LONGEST_OF_TWO for handle in handles)
    style = {"fontsize": "small", "frameon": False, "ncols": 1 if is_long else 2}
    style["labelcolor"] = get_ink(ax)
    # in inches: axes may be low
    down = ScaledTranslation(0, -0.4 - 0.18 * n_lines, ax.figure.dpi_scale_trans)
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "borderaxespad": 0}
    transform = ax.transAxes + down
    return ax.legend(bbox_transform=transform, **place, **style, **kwargs)
