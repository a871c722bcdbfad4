"""How training went: scores of every epoch, and which epoch was kept."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ._estimators import open_pipeline, require
from ._style import COLORS, add_legend_below, get_ink, get_muted, make_axes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.lines import Line2D
    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator
    from typing_extensions import Self

    from ._typing import AnyFigure, Floats, MaybeNone

# how far the range of the first quarter may exceed that of the others, to be in view
_LARGEST_RATIO = 4.0


class TrainingCurveDisplay:
    """Plot the scores of training and held-out rows over the epochs.

    Use `from_estimator` or `from_history` to make an instance. Scores are negative
    losses in nats per row: higher is better. The loss has two parts, reconstruction and
    KL; the shaded area between reconstruction and score is what the KL costs.

    Parameters
    ----------
    epochs : ndarray of int (n_epochs,)
        Numbers of the epochs.
    train_scores : ndarray (n_epochs,)
        Negative losses of the training rows, nats per row.
    valid_scores : ndarray (n_epochs,)
        Negative losses of the held-out rows; NaN without such rows.
    reconstruction : ndarray (n_epochs,)
        Reconstruction of the held-out rows, or of the training rows without such rows.
    stages : sequence of str or None (n_epochs,)
        'map' or 'density' where training has both.
    best_epoch : int or None, default=None
        Epoch whose weights were kept. One less than the first epoch of the last stage
        stands for the weights with which the stage began, None for the last.
    has_other_terms : bool, default=False
        Whether the loss has terms beside reconstruction and KL.
    name : str, default=None
        Title of the plot.

    Attributes
    ----------
    train_line_ : matplotlib Line2D
        Scores of the training rows.
    valid_line_ : matplotlib Line2D or None
        Scores of the held-out rows.
    reconstruction_line_ : matplotlib Line2D
        Reconstruction.
    kl_area_ : matplotlib artist
        The area between reconstruction and score.
    best_line_ : matplotlib Line2D or None
        Line at the epoch whose weights were kept.
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure with the axes.

    See Also
    --------
    ComponentsDisplay : Plot the information in every component.

    Examples
    --------
    >>> from skvae import VAETransformer
    >>> from skvae.datasets import make_factors
    >>> from skvae.plots import TrainingCurveDisplay
    >>> X, _ = make_factors(200, 5, 2, random_state=0)
    >>> vae = VAETransformer(2, max_epochs=3, random_state=0).fit(X)
    >>> display = TrainingCurveDisplay.from_estimator(vae)
    >>> display.ax_.get_ylabel()
    'nats per row (higher is better)'
    """

    train_line_: Line2D
    valid_line_: Line2D | MaybeNone
    reconstruction_line_: Line2D
    kl_area_: PolyCollection
    best_line_: Line2D | MaybeNone
    ax_: Axes
    figure_: AnyFigure

    def __init__(
        self,
        epochs: NDArray[np.int_],
        train_scores: Floats,
        valid_scores: Floats,
        reconstruction: Floats,
        stages: Sequence[str | None],
        *,
        best_epoch: int | None = None,
        has_other_terms: bool = False,
        name: str | None = None,
    ) -> None:
        self.epochs = epochs
        self.train_scores = train_scores
        self.valid_scores = valid_scores
        self.reconstruction = reconstruction
        self.stages = stages
        self.best_epoch = best_epoch
        self.has_other_terms = has_other_terms
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        *,
        ax: Axes | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the training of a fitted estimator.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted, also at the end of a pipeline.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot.
        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        TrainingCurveDisplay
            The display, with the plotted objects as attributes.
        """
        (model,) = open_pipeline(estimator)
        require(model, "history_")
        kept = dict(model.net_.callbacks_)["best_weights"].best_epoch_
        return cls.from_history(
            model.history_, starts_best=kept == 0, ax=ax, name=name, **kwargs
        )

    @classmethod
    def from_history(
        cls,
        history: Sequence[Mapping[str, Any]],
        *,
        starts_best: bool = False,
        ax: Axes | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the history of a net.

        Parameters
        ----------
        history : skorch.history.History or list of dict
            One row per epoch, as in `VAETransformer.history_`.
        starts_best : bool, default=False
            Whether the weights with which the last stage began were kept.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot.
        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        TrainingCurveDisplay
            The display, with the plotted objects as attributes.
        """
        rows = [row for row in history if "train_loss" in row]

        def collect(name: str) -> Floats:
            return np.array([row.get(name, np.nan) for row in rows], dtype=float)

        valid = -collect("valid_loss")
        part = "train" if np.isnan(valid).all() else "valid"
        stages = [row.get("stage") for row in rows]
        epochs = np.array([row["epoch"] for row in rows], dtype=int)
        best = None
        # of the last stage; warm starts go through all stages again
        last = list(range(_list_parts(stages)[-1].start, len(rows)))
        if starts_best:
            best = int(epochs[last[0]]) - 1 if last else 0
        elif part == "valid":
            flagged = [k for k in last if rows[k].get("valid_loss_best")]
            best = int(epochs[flagged[-1]]) if flagged else None
        display = cls(
            epochs,
            -collect("train_loss"),
            valid,
            collect(f"{part}_reconstruction"),
            stages,
            best_epoch=best,
            has_other_terms=_has_other_terms(rows),
            name=name,
        )
        return display.plot(ax, **kwargs)

    def plot(
        self, ax: Axes | None = None, *, name: str | None = None, **kwargs: Any
    ) -> Self:
        """Plot the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot; None is that of the display.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.plot` for all lines.

        Returns
        -------
        TrainingCurveDisplay
            This instance.
        """
        ax = make_axes(ax)
        has_valid = not np.isnan(self.valid_scores).all()
        scores = self.valid_scores if has_valid else self.train_scores
        part = "held-out rows" if has_valid else "training rows"
        color = COLORS[1] if has_valid else COLORS[0]
        # a single epoch is not a line
        style = {"marker": "o" if len(self.epochs) < 3 else "", **kwargs}
        train = {"color": COLORS[0], "label": "score of training rows"} | style
        self.train_line_ = self._draw(ax, self.train_scores, train)
        self.valid_line_ = None
        if has_valid:
            valid = {"color": COLORS[1], "label": f"score of {part}"} | style
            self.valid_line_ = self._draw(ax, scores, valid)
        rest = {"color": color, "linestyle": ":", "label": f"reconstruction of {part}"}
        self.reconstruction_line_ = self._draw(ax, self.reconstruction, rest | style)
        self.kl_area_ = self._shade(ax, scores, color)
        self._mark_stages(ax)
        self._mark_best(ax)
        self._set_axes(ax, scores, name)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _split(self, values: Floats) -> tuple[Floats, Floats]:
        """Return epochs and values with a gap between the stages."""
        places = [part.start for part in _list_parts(self.stages)[1:]]
        epochs = np.insert(self.epochs.astype(float), places, np.nan)
        return epochs, np.insert(np.asarray(values, dtype=float), places, np.nan)

    def _draw(self, ax: Axes, values: Floats, style: dict[str, Any]) -> Line2D:
        return ax.plot(*self._split(values), **style)[0]

    def _shade(self, ax: Axes, scores: Floats, color: str) -> PolyCollection:
        epochs, low = self._split(scores)
        high = self._split(self.reconstruction)[1]
        text = "cost of the KL" + self.has_other_terms * " and other terms"
        return ax.fill_between(
            epochs, low, high, color=color, alpha=0.2, linewidth=0, label=text
        )

    def _mark_stages(self, ax: Axes) -> None:
        parts = [part for part in _list_parts(self.stages) if self.stages]
        for part in parts:
            stage = self.stages[part.start]
            if stage is None:
                continue
            if part.start:
                edge = self.epochs[part.start] - 0.5
                ax.axvline(edge, color=get_muted(ax), linewidth=0.8)
            middle = (self.epochs[part.start] + self.epochs[part.stop - 1]) / 2
            ax.text(
                middle,
                1.01,
                stage,
                transform=ax.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize="small",
                color=get_muted(ax, 0.7),
            )

    def _mark_best(self, ax: Axes) -> None:
        self.best_line_ = None
        if self.best_epoch is None or not len(self.epochs):
            return
        text = f"kept: epoch {self.best_epoch}"
        if self.best_epoch not in self.epochs[_list_parts(self.stages)[-1]]:
            text = "kept: before the first epoch"
            if len(_list_parts(self.stages)) > 1:
                text = f"kept: before the {self.stages[-1]}"
        self.best_line_ = ax.axvline(
            self.best_epoch, color=get_ink(ax), linestyle="--", linewidth=1, label=text
        )

    def _set_axes(self, ax: Axes, scores: Floats, name: str | None) -> None:
        from matplotlib.ticker import MaxNLocator

        ax.set(xlabel="epoch", ylabel="nats per row (higher is better)")
        name = self.name if name is None else name
        if name is not None:
            # above the names of stages
            ax.set_title(name, pad=18 if any(self.stages) else None)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        if not len(self.epochs):
            place: dict[str, Any]
            place = {"ha": "center", "transform": ax.transAxes, "color": get_ink(ax)}
            ax.text(0.5, 0.5, "no epoch was run", **place)
            ax.set(xticks=[], yticks=[])
            return
        self._set_limits(ax, scores)
        add_legend_below(ax)

    def _set_limits(self, ax: Axes, scores: Floats) -> None:
        """Leave out first epochs that are far below all others."""
        curves = [self.train_scores, scores, self.reconstruction]
        ends = [
            c[part][len(c[part]) // 4 :]
            for part in _list_parts(self.stages)
            for c in curves
        ]
        late = np.concatenate(ends)
        late = late[np.isfinite(late)]
        everything = np.concatenate(curves)
        everything = everything[np.isfinite(everything)]
        if not len(late):
            return
        low, high = late.min(), max(late.max(), everything.max())
        span = (high - low) or max(abs(high), 1.0) * 0.1
        if everything.min() < low - _LARGEST_RATIO * span:
            ax.set_ylim(low - 0.5 * span, high + 0.05 * span)


def _list_parts(stages: Sequence[str | None]) -> list[slice]:
    """Return slices of the epochs, one for each run of a stage."""
    n = len(stages)
    ends = [0, *(k for k in range(1, n) if stages[k] != stages[k - 1]), n]
    return [slice(*pair) for pair in pairwise(ends)]


def _has_other_terms(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether the loss has terms beside reconstruction and KL."""
    known = ("loss", "reconstruction", "kl", "batch_count", "batch_size")
    names = {name.removesuffix("_best") for row in rows for name in row}
    names = {name[6:] for name in names if name.startswith("train_")}
    return not names <= set(known)
