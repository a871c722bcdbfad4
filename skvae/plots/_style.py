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
# steps of a golden ratio: they fill an interval evenly, whatever their number
_GOLDEN = (5**0.5 - 1) / 2


def make_axes(ax=None, width=6.4, height=4.8):
    """Return the axes to draw on, of a new figure if None are given."""
    if ax is not None:
        return ax
    pyplot = import_pyplot()
    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def make_grid(n_axes, ax=None, n_columns=3, width=3.2, height=2.6):
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
    return np.array([figure.add_subplot(grid[place]) for place in places])


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


def spread(n_points):
    """Return numbers in (-0.5, 0.5) that are far from those next to them."""
    return (np.arange(1, n_points + 1) * _GOLDEN) % 1 - 0.5


def shorten(text, n_characters=24):
    """Return a text of at most so many characters, cut in the middle."""
    text = " ".join(str(text).split())
    # dollars would begin a formula
    text = text.replace("$", r"\$")
    if len(text) <= n_characters:
        return text
    n_first = (n_characters - 1 + 1) // 2
    return f"{text[:n_first]}…{text[n_first - n_characters + 1 :]}"


def show_number(value):
    """Return a number as a short text."""
    return f"{value:.3g}".replace("-", "−")
