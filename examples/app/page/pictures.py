"""Pictures of `skvae.plots` as PNG, in the colours of the page."""

import io
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from .models import LOCK, collect_warnings

COLOURS = {"light": ("#ffffff", "#31333f"), "dark": ("#0e1117", "#fafafa")}


def draw_picture(plot, theme="light", width=8.0, height=5.0, n_axes=1):
    """Return a PNG of what `plot(axes)` draws."""
    ground, ink = COLOURS.get(theme, COLOURS["light"])
    n_columns = min(n_axes, 3)
    n_rows = -(-n_axes // n_columns)
    style: dict[Any, Any] = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": ground,
        "figure.facecolor": ground,
        "legend.frameon": False,
        "font.size": 11,
    }
    inks = ("axes.edgecolor", "axes.labelcolor", "text.color", "axes.titlecolor")
    style |= dict.fromkeys([*inks, "xtick.color", "ytick.color"], ink)
    with LOCK, collect_warnings(), mpl.rc_context(style):
        figure = Figure(figsize=(width, height))
        figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
        axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for ax in axes[n_axes:]:
            ax.set_axis_off()
        plot(axes[0] if n_axes == 1 else axes[:n_axes])
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=144, transparent=True)
    return picture.getvalue()
