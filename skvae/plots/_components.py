"""How much information every component of z carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._estimators import get_latent, is_discrete, open_pipeline, require
from ._style import COLORS, add_legend_below, get_muted, make_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from numpy.typing import ArrayLike, NDArray
    from sklearn.base import BaseEstimator
    from typing_extensions import Self

    from ._typing import AnyFigure

# nats, below which a component counts as unused
_ACTIVE_NATS = 0.01
# bars whose numbers have room below them
_MOST_TICKS = 60


class ComponentsDisplay:
    """Plot the KL of every component: the information it carries about a row.

    Use `from_estimator` or `from_kl` to make an instance. Unused components are gray.

    Parameters
    ----------
    kl : ndarray (n_components,)
        Mean KL of the components, nats.
    n_active : int, default=None
        Number of components that are used; None counts those above 0.01 nats.
    groups : sequence of str (n_components,), default=None
        Layer of a hierarchical latent, or variable of a categorical one, that a
        component belongs to.
    name : str, default=None
        Title of the plot.

    Attributes
    ----------
    order_ : ndarray of int (n_components,)
        Numbers of the components from left to right.
    bars_ : matplotlib BarContainer
        One bar per component.
    ax_ : matplotlib Axes
        Axes with the bars.
    figure_ : matplotlib Figure
        Figure with the axes.

    See Also
    --------
    LatentTraversalDisplay : Plot what a component changes.

    Examples
    --------
    >>> from skvae import VAETransformer
    >>> from skvae.datasets import make_factors
    >>> from skvae.plots import ComponentsDisplay
    >>> X, _ = make_factors(200, 5, 2, random_state=0)
    >>> vae = VAETransformer(2, density="joint", max_epochs=2, random_state=0).fit(X)
    >>> len(ComponentsDisplay.from_estimator(vae).bars_)
    2
    """

    order_: NDArray[np.intp]
    bars_: BarContainer
    ax_: Axes
    figure_: AnyFigure

    def __init__(
        self,
        kl: NDArray[Any],
        *,
        n_active: int | None = None,
        groups: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        self.kl = kl
        self.n_active = n_active
        self.groups = groups
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
        """Plot the components of a fitted estimator.

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
        ComponentsDisplay
            The display, with the plotted objects as attributes.
        """
        (model,) = open_pipeline(estimator)
        require(model, "kl_per_component_")
        display = cls(
            np.asarray(model.kl_per_component_),
            n_active=model.n_active_components_,
            groups=_find_groups(model),
            name=name,
        )
        return display.plot(ax, **kwargs)

    @classmethod
    def from_kl(
        cls,
        kl: ArrayLike,
        *,
        ax: Axes | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the KL of components.

        Parameters
        ----------
        kl : array-like (n_components,)
            Mean KL of the components, nats.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot.
        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        ComponentsDisplay
            The display, with the plotted objects as attributes.
        """
        return cls(np.asarray(kl, dtype=float), name=name).plot(ax, **kwargs)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        name: str | None = None,
        sort: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        name : str, default=None
            Title of the plot; None is that of the display.
        sort : bool, default=None
            Whether the largest is first. None sorts where there are no groups.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.bar`.

        Returns
        -------
        ComponentsDisplay
            This instance.
        """
        # wide enough for the numbers of many
        width = np.clip(0.16 * min(len(self.kl), _MOST_TICKS), 6.4, 12.0)
        ax = make_axes(ax, float(width))
        from matplotlib.patches import Patch

        kl, n_components = np.asarray(self.kl, dtype=float), len(self.kl)
        ranked = np.argsort(-kl, kind="stable")
        n_active = self.n_active
        n_active = int((kl > _ACTIVE_NATS).sum()) if n_active is None else n_active
        is_used = np.isin(np.arange(n_components), ranked[:n_active])
        sort = self.groups is None if sort is None else sort
        self.order_ = ranked if sort else np.arange(n_components)
        groups = self.groups or n_components * ["used"]
        names = list(dict.fromkeys(groups))
        shades = {name: COLORS[k % len(COLORS)] for k, name in enumerate(names)}
        gray = get_muted(ax, 0.35)
        colors = [shades[groups[j]] if is_used[j] else gray for j in self.order_]
        place = np.arange(n_components)
        style: dict[str, Any]
        style = {"color": colors, "width": 0.8 if n_components < 100 else 1} | kwargs
        self.bars_ = ax.bar(place, kl[self.order_], **style)
        handles = []
        for name_, color in shades.items():
            chosen = is_used & (np.array(groups) == name_)
            text = f"{name_}: {chosen.sum()}, {kl[chosen].sum():.3g} nats in all"
            handles.append(Patch(color=color, label=text))
        if not is_used.all():
            handles.append(Patch(color=gray, label=f"unused: {(~is_used).sum()}"))
        self._set_axes(ax, place, name)
        add_legend_below(ax, handles=handles)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _set_axes(self, ax: Axes, place: NDArray[Any], name: str | None) -> None:
        ax.set(xlabel="component", ylabel="information (KL), nats")
        if len(place) <= _MOST_TICKS:
            many = len(place) > 20
            size = "x-small" if many else "medium"
            ax.set_xticks(place, self.order_, fontsize=size, rotation=90 * many)
        elif not np.array_equal(self.order_, place):
            ax.set_xlabel("rank of the component")
        margin = 0.75 if len(place) > 1 else 1.5
        ax.set_xlim(-margin, len(place) - 1 + margin)
        if not np.any(self.kl):
            ax.set_ylim(0, 1)
        name = self.name if name is None else name
        if name is not None:
            ax.set_title(name)


def _find_groups(estimator: Any) -> list[str] | None:
    """Return the layer or variable of every component, or None."""
    # it imports torch
    from ..latents import Hierarchical

    latent, n_components = get_latent(estimator), len(estimator.kl_per_component_)
    if is_discrete(estimator):
        n_categories = latent.n_categories or n_components
        if n_categories == n_components:
            return None
        return [f"variable {j // n_categories}" for j in range(n_components)]
    if not isinstance(latent, Hierarchical):
        return None
    groups: list[str] = []
    for layer, size in enumerate(latent.split(n_components)):
        groups += size * [f"layer {layer}"]
    return groups
