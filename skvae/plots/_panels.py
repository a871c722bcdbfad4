"""Panels of one or two columns: histograms, shares of levels, clouds of points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ._style import choose_size, get_muted, shorten, show_number, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.collections import PathCollection

    from ._tables import Column
    from ._typing import Floats

_MOST_BINS = 30
# integers with at most as many values between them have a bar each
_MOST_WHOLE = 40


def find_edges(column: Column) -> Floats:
    """Return edges of bars for the numbers of a column in all tables."""
    known = np.concatenate([column.get_known(k) for k in range(len(column.parts))])
    known = known[np.isfinite(known)]
    if not len(known):
        return np.array([-0.5, 0.5])
    low, high = known.min(), known.max()
    if low == high:
        return low + max(abs(low), 1.0) * np.array([-0.5, 0.5])
    if (known == known.round()).all() and high - low <= _MOST_WHOLE:
        return np.arange(low - 0.5, high + 1)
    ends = np.quantile(known, [0.01, 0.99])
    margin = 0.15 * (ends[1] - ends[0])
    if margin > 0:
        # a few values far off do not hide the others
        low, high = max(low, ends[0] - margin), min(high, ends[1] + margin)
    n_bins = int(np.clip(2 * len(known) ** 0.4, 5, _MOST_BINS))
    return np.linspace(low, high, n_bins + 1)


def draw_marginal(
    ax: Axes, column: Column, names: Sequence[str], colors: Sequence[str]
) -> list[Any]:
    """Draw how a column is distributed in each table; return the artists."""
    draw = _draw_levels if column.levels else _draw_numbers
    artists = draw(ax, column, names, colors)
    ax.set_title(shorten(column.name), fontsize="medium")
    ax.tick_params(labelsize="small")
    return artists


def _draw_numbers(
    ax: Axes, column: Column, names: Sequence[str], colors: Sequence[str]
) -> list[Any]:
    edges = find_edges(column)
    artists: list[Any] = []
    for part, (name, color) in enumerate(zip(names, colors, strict=True)):
        known = np.clip(column.get_known(part), edges[0], edges[-1])
        heights = np.histogram(known, edges)[0] / max(len(known), 1)
        if part == 0 and len(names) > 1:
            artists.append(
                ax.stairs(heights, edges, fill=True, color=color, alpha=0.6, label=name)
            )
        else:
            outline = ax.stairs(heights, edges, color=color, linewidth=1.6, label=name)
            artists.append(outline)
    ax.set(ylim=(0, None), yticks=[])
    ax.locator_params(axis="x", nbins=4)
    limit_offsets(ax.xaxis)
    return artists


def limit_offsets(axis: Axis) -> None:
    """Show large numbers of an axis as powers of ten, which are short."""
    formatter = axis.get_major_formatter()
    if hasattr(formatter, "set_powerlimits"):
        formatter.set_powerlimits((-3, 4))


def _draw_levels(
    ax: Axes, column: Column, names: Sequence[str], colors: Sequence[str]
) -> list[Any]:
    n_levels = len(column.levels or ())
    artists: list[Any] = []
    width = 0.8 / len(names)
    for part, (name, color) in enumerate(zip(names, colors, strict=True)):
        known = column.get_known(part)
        shares = np.bincount(known, minlength=n_levels) / max(len(known), 1)
        place = np.arange(n_levels) + (part - (len(names) - 1) / 2) * width
        artists.append(ax.barh(place, shares, width, color=color, label=name))
    set_levels(ax, "y", column)
    ax.invert_yaxis()
    ax.set(xlim=(0, None))
    ax.locator_params(axis="x", nbins=4)
    return artists


def set_levels(ax: Axes, axis: str, column: Column) -> None:
    """Name the levels of a column along an axis."""
    texts = [shorten(level, 12) for level in column.levels or ()]
    size = "small" if len(texts) < 7 else "x-small"
    is_long = axis == "x" and len("".join(texts)) > 16
    many: dict[str, Any] = {"rotation": 90} if is_long else {}
    set_ticks = ax.set_xticks if axis == "x" else ax.set_yticks
    set_ticks(range(len(texts)), texts, fontsize=size, **many)


def get_places(column: Column, part: int, dimension: int = 0) -> Floats:
    """Return where the rows of a table are along an axis of the column, NaN unknown."""
    if not column.levels:
        return np.asarray(column.parts[part], dtype=float)
    codes = column.parts[part]
    places = codes + 0.6 * spread(len(codes), dimension)
    return np.where(codes < 0, np.nan, places)


def draw_pair(
    ax: Axes, across: Column, up: Column, colors: Sequence[str]
) -> PathCollection:
    """Draw two columns of all tables as points, mixed so that none covers the other."""
    parts: list[Floats] = []
    shades: list[str] = []
    for part, color in enumerate(colors):
        places = get_places(across, part), get_places(up, part, 1)
        parts.append(np.column_stack(places))
        shades += len(parts[-1]) * [color]
    points = np.concatenate(parts)
    known = np.flatnonzero(np.isfinite(points).all(axis=1))
    order = known[np.argsort(spread(len(known)), kind="stable")]
    size, alpha = choose_size(4 * len(order))
    x, y = points[order].T
    mixed = [shades[k] for k in order]
    found = ax.scatter(x, y, size, mixed, alpha=alpha, linewidths=0)
    sides: tuple[tuple[Literal["x", "y"], Column], ...] = (("x", across), ("y", up))
    for axis, column in sides:
        if column.levels:
            set_levels(ax, axis, column)
        else:
            edges = find_edges(column)
            margin = 0.03 * (edges[-1] - edges[0])
            limits = edges[0] - margin, edges[-1] + margin
            (ax.set_xlim if axis == "x" else ax.set_ylim)(limits)
            ax.locator_params(axis=axis, nbins=3)
            limit_offsets(ax.xaxis if axis == "x" else ax.yaxis)
    ax.tick_params(labelsize="small")
    return found


def draw_agreement(ax: Axes, column: Column, color: str) -> tuple[Any, float]:
    """Draw a column against its reconstruction: parts 0 and 1; return artist, share."""
    if column.levels:
        return _draw_confusion(ax, column)
    real, rebuilt = column.parts
    known = ~np.isnan(real)
    real, rebuilt = real[known], rebuilt[known]
    size, alpha = choose_size(2 * len(real))
    ends = [real.min(), real.max()] if len(real) else [0.0, 1.0]
    ax.plot(ends, ends, color=get_muted(ax), linewidth=1, zorder=0)
    points = ax.scatter(real, rebuilt, s=size, alpha=alpha, color=color, linewidths=0)
    share = measure_agreement(column)
    ax.set_xlabel("value", fontsize="small")
    ax.set_ylabel("reconstructed", fontsize="small")
    sides: tuple[Literal["x", "y"], ...] = ("x", "y")
    for axis in sides:
        ax.locator_params(axis=axis, nbins=4)
        limit_offsets(ax.xaxis if axis == "x" else ax.yaxis)
    ax.tick_params(labelsize="small")
    text = "constant" if np.isnan(share) else f"R² {show_number(share)}"
    ax.set_title(f"{shorten(column.name)}: {text}", fontsize="medium")
    return points, share


def _draw_confusion(ax: Axes, column: Column) -> tuple[Any, float]:
    n_levels = len(column.levels or ())
    real, rebuilt = column.parts
    known = (real >= 0) & (rebuilt >= 0)
    counts = np.zeros((n_levels, n_levels))
    np.add.at(counts, (real[known], rebuilt[known]), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    if n_levels <= 5:
        for i, j in np.ndindex(*shares.shape):
            shade = "white" if shares[i, j] > 0.5 else "black"
            style: dict[str, Any]
            style = {"ha": "center", "va": "center", "fontsize": "small"}
            ax.text(j, i, f"{shares[i, j]:.0%}", color=shade, **style)
    set_levels(ax, "x", column)
    set_levels(ax, "y", column)
    ax.set_xlabel("reconstructed", fontsize="small")
    ax.set_ylabel("value", fontsize="small")
    share = measure_agreement(column)
    ax.set_title(f"{shorten(column.name)}: {share:.0%} right", fontsize="medium")
    return image, share


def measure_agreement(column: Column) -> float:
    """Return R² of numbers, the share of right levels; NaN where neither is defined."""
    real, rebuilt = column.parts
    if column.levels:
        known = real >= 0
        return float((real == rebuilt)[known].mean()) if known.any() else np.nan
    known = ~np.isnan(real)
    if not known.any():
        return np.nan
    real, rebuilt = real[known], rebuilt[known]
    total = ((real - real.mean()) ** 2).sum()
    if not total > 0:
        return np.nan
    return float(1 - ((real - rebuilt) ** 2).sum() / total)


def measure_difference(column: Column) -> float:
    """Return how far a column of two tables differs, 0 to 1.

    It is the largest difference of the distribution functions of numbers
    (Kolmogorov-Smirnov), and the total variation of levels.
    """
    first, second = column.get_known(0), column.get_known(1)
    if not len(first) or not len(second):
        return float(len(first) != len(second))
    if column.levels:
        n_levels = len(column.levels)
        shares = [np.bincount(v, minlength=n_levels) / len(v) for v in (first, second)]
        return float(np.abs(shares[0] - shares[1]).sum() / 2)
    grid = np.sort(np.concatenate([first, second]))
    below = [
        np.searchsorted(np.sort(v), grid, "right") / len(v) for v in (first, second)
    ]
    return float(np.abs(below[0] - below[1]).max())
